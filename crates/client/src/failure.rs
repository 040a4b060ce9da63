//! Why a call did not succeed, and what follows from it.

use std::fmt;

use http::HeaderMap;

/// What a failure says about the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It had no effect and never will.
    NotApplied,
    /// It may have had its effect, or have it later, or never.
    Unknown,
}

/// A gRPC status other than OK, with what the trailers add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC code, 1 to 16; an HTTP status where the answer was not gRPC.
    pub code: u16,
    /// `grpc-message`, its percent-encoding undone.
    pub text: String,
    /// Trailers whose names start with `quorate-`, without that prefix; empty from an etcd.
    pub details: Vec<(String, String)>,
}

impl Status {
    /// The detail of that name.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why a request did not succeed; `Display` is short enough to be counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made, so nothing was sent.
    Connect(String),
    /// The connection or the stream broke before the answer was whole.
    Broken(String),
    /// The server answered with an error.
    Status(Status),
    /// No answer in time.
    Timeout,
}

impl Failure {
    /// What the caller may conclude about a write.
    ///
    /// Of a server's refusals only those count as not applied that say so, or whose code is
    /// given before anything is proposed: invalid argument, not found, already exists, out of
    /// range, failed precondition and unimplemented.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Connect(_) => Outcome::NotApplied,
            Self::Broken(_) | Self::Timeout => Outcome::Unknown,
            Self::Status(status) => match (status.detail("outcome"), status.code) {
                (Some("not-applied"), _) => Outcome::NotApplied,
                (None, 3 | 5 | 6 | 9 | 11 | 12) => Outcome::NotApplied,
                _ => Outcome::Unknown,
            },
        }
    }

    /// The gRPC code, if the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        if let Self::Status(status) = self { Some(status.code) } else { None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(out, "connect: {why}"),
            Self::Broken(why) => write!(out, "broken: {why}"),
            Self::Status(status) => {
                write!(out, "status {}: {}", status.code, status.text)?;
                status.detail("outcome").map_or(Ok(()), |said| write!(out, " [{said}]"))
            }
            Self::Timeout => write!(out, "timeout"),
        }
    }
}

impl std::error::Error for Failure {}

/// `Ok` when `grpc-status` is 0; an answer without one is not a gRPC answer.
pub(crate) fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map(|value| unescape(value.as_bytes()));
    match text("grpc-status").and_then(|code| code.parse::<u16>().ok()) {
        Some(0) => Ok(()),
        Some(code) => {
            let detail = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                let name = name.as_str().strip_prefix("quorate-")?;
                Some((name.to_owned(), unescape(value.as_bytes())))
            };
            Err(Failure::Status(Status {
                code,
                text: text("grpc-message").unwrap_or_default(),
                details: headers.iter().filter_map(detail).collect(),
            }))
        }
        None => Err(Failure::Broken("an answer without grpc-status".to_owned())),
    }
}

/// Undoes the percent-encoding of `grpc-message`.
fn unescape(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'%').then(|| tail.split_at_checked(2)).flatten();
        let decoded = digits.and_then(|(two, after)| {
            let value = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
            Some((value, after))
        });
        let (value, after) = decoded.unwrap_or((byte, tail));
        out.push(value);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| ((*k).parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn percent_encoding_is_undone_and_broken_escapes_stay() {
        assert_eq!(unescape(b"a%20b%"), "a b%");
        assert_eq!(unescape(b"%zz%E2%82%AC"), "%zz\u{20ac}");
    }

    #[test]
    fn a_status_keeps_its_details_and_decides_the_outcome() {
        let refused = status(&headers(&[
            ("grpc-status", "14"),
            ("grpc-message", "etcdserver: no leader"),
            ("quorate-outcome", "not-applied"),
        ]));
        let refused = refused.unwrap_err();
        assert_eq!(refused.outcome(), Outcome::NotApplied);
        assert_eq!(refused.to_string(), "status 14: etcdserver: no leader [not-applied]");
        let bare = status(&headers(&[("grpc-status", "14")])).unwrap_err();
        assert_eq!(bare.outcome(), Outcome::Unknown);
        assert_eq!(Failure::Timeout.outcome(), Outcome::Unknown);
        assert_eq!(Failure::Connect("refused".into()).outcome(), Outcome::NotApplied);
    }

    #[test]
    fn an_answer_without_a_status_is_broken() {
        assert!(matches!(status(&HeaderMap::new()), Err(Failure::Broken(_))));
        assert_eq!(status(&headers(&[("grpc-status", "0")])), Ok(()));
    }
}
