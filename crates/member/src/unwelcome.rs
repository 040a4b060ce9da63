//! What a peer that may not come in is told.

/// Why a peer may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwelcome {
    /// It has left the cluster: it is told so, and stops.
    Gone(String),
    /// A later life of its directory was met: it must never start again.
    PutBack(String),
    /// This member cannot write down whom it meets: its disk fails.
    Unremembered(String),
    /// It is here by mistake, or not the member any more that it was.
    Other(String),
}

impl Unwelcome {
    pub fn text(self) -> String {
        match self {
            Self::Gone(text)
            | Self::PutBack(text)
            | Self::Unremembered(text)
            | Self::Other(text) => text,
        }
    }
}
