//! A call's final status and how it travels in trailers.

use api::error::{Code, EtcdError};
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;

/// How a call failed: gRPC code, text, and whether the request may have been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC code number.
    pub code: u32,
    pub text: Cow<'static, str>,
    /// `not-applied` or `unknown`; sent as the trailer `quorate-outcome`.
    pub outcome: Option<&'static str>,
}

impl From<EtcdError> for Status {
    fn from(error: EtcdError) -> Self {
        Self { code: error.code() as u32, text: error.text().into(), outcome: None }
    }
}

impl Status {
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code as u32, text: text.into(), outcome: None }
    }

    /// etcd's answer to a method it does not have.
    pub fn unimplemented(what: &str) -> Self {
        Self::new(Code::Unimplemented, format!("{what} is not implemented by this server"))
    }

    #[must_use]
    pub fn outcome(mut self, outcome: &'static str) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Adds `grpc-status`, `grpc-message` and the outcome.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(self.code));
        let message = HeaderValue::from_bytes(&percent_encode(&self.text));
        headers.insert("grpc-message", message.expect("percent-encoded text is printable ASCII"));
        if let Some(outcome) = self.outcome {
            headers.insert("quorate-outcome", HeaderValue::from_static(outcome));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_outside_printable_ascii_are_percent_encoded() {
        assert_eq!(percent_encode("a %\n\u{e9}"), b"a %25%0A%C3%A9");
    }
}
