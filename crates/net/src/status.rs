//! A call's final status and how it travels in trailers.

use http::{HeaderMap, HeaderValue, Response};
use std::borrow::Cow;

/// The codes of gRPC that this crate uses itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

impl From<Code> for u32 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

/// Whether a request that failed may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    NotApplied,
    Unknown,
}

impl Outcome {
    const fn text(self) -> &'static str {
        match self {
            Self::NotApplied => "not-applied",
            Self::Unknown => "unknown",
        }
    }
}

/// How a call failed: gRPC code, text, and whether the request may have been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC code number.
    pub code: u32,
    pub text: Cow<'static, str>,
    /// Sent as the trailer `quorate-outcome`.
    pub outcome: Option<Outcome>,
    /// Further trailers, ready to send: why, and who could help.
    pub explained: Vec<(&'static str, String)>,
}

impl Status {
    pub fn new(code: impl Into<u32>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), text: text.into(), outcome: None, explained: Vec::new() }
    }

    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Adds the trailers `quorate-reason`, and where known `quorate-leader` and
    /// `quorate-missing`: names, separated by commas, percent-encoded.
    #[must_use]
    pub fn reason(mut self, reason: &str, leader: Option<&str>, missing: &[String]) -> Self {
        self.explained.push(("quorate-reason", reason.to_string()));
        if let Some(leader) = leader {
            self.explained.push(("quorate-leader", encoded_name(leader)));
        }
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(|name| encoded_name(name)).collect();
            self.explained.push(("quorate-missing", names.join(",")));
        }
        self
    }

    /// Adds `grpc-status`, `grpc-message`, the outcome and the explanation.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(self.code));
        let message = HeaderValue::from_bytes(&percent_encode(&self.text));
        headers.insert("grpc-message", message.expect("percent-encoded text is printable ASCII"));
        if let Some(outcome) = self.outcome {
            headers.insert("quorate-outcome", HeaderValue::from_static(outcome.text()));
        }
        for (name, text) in &self.explained {
            let value = HeaderValue::from_str(text);
            headers.insert(*name, value.expect("percent-encoded text is printable ASCII"));
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if let Some(outcome) = self.outcome {
            write!(f, " ({})", outcome.text())?;
        }
        self.explained.iter().try_for_each(|(name, value)| write!(f, ", {name}: {value}"))
    }
}

/// What a call is told whose deadline passed.
pub(super) fn exceeded() -> Status {
    late(Outcome::Unknown)
}

/// What a call is told whose deadline passed before anything was done for it.
pub(super) fn too_late() -> Status {
    late(Outcome::NotApplied)
}

fn late(outcome: Outcome) -> Status {
    let status = Status::new(Code::DeadlineExceeded, "context deadline exceeded");
    status.outcome(outcome).reason("deadline", None, &[])
}

/// What a call is told whose request cannot be read.
pub(super) fn undecodable() -> Status {
    Status::new(Code::Internal, "grpc: error unmarshalling request")
}

/// A member's name inside a list.
fn encoded_name(name: &str) -> String {
    let bytes = percent_encode(name);
    String::from_utf8(bytes).expect("it is printable ASCII").replace(',', "%2C")
}

/// gRPC's encoding of `grpc-message`: printable ASCII without `%` stays, the rest is `%XX`.
fn percent_encode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

pub(super) fn head() -> Response<()> {
    let mut response = Response::new(());
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    response
}

/// A response without a message: the status rides in the headers ("Trailers-Only").
pub(super) fn failed_head(status: &Status) -> Response<()> {
    let mut response = head();
    status.write(response.headers_mut());
    response
}

pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_outside_printable_ascii_are_percent_encoded() {
        assert_eq!(percent_encode("a %\n\u{e9}"), b"a %25%0A%C3%A9");
    }
}
