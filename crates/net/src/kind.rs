//! How many messages go each way in a call.

/// How a method moves messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unary,
    /// One request, a stream of answers.
    ServerStream,
    /// Streams both ways.
    Bidi,
}
