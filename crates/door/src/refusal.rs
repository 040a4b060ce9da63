//! Why a request was not answered with its result.

use alloc::string::String;
use alloc::vec::Vec;
use cluster::ChangeError;
use core::fmt;
use mvcc::Error;

/// What a refusal means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed nothing and never will.
    NotApplied,
    /// It may have been applied, or may be yet.
    Unknown,
}

/// Why, in the field's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The data model refused it: deterministic.
    Store(Error),
    /// This member knows no leader.
    NoLeader,
    /// The leader changed while the request was under way.
    LeaderChanged,
    /// No answer within the time that a request may take.
    Timeout,
    /// The state that would tell came as a checkpoint, without this answer.
    InCheckpoint,
    /// Too much is pending already, or the answers so far lie unread.
    Overloaded,
    /// The member is stopping.
    Stopped,
    /// Only a leader can do what was asked, and this member is none.
    NotLeader,
    /// Target of a transfer of leadership that cannot take it.
    BadTransferee,
    /// Leadership did not move in time.
    TransferTimeout,
    /// The member's state differs from a quorum's, or cannot be applied any further.
    Diverged,
    /// The member votes and has no data.
    Witness,
    /// The time that the caller gave has passed, or the caller has left.
    Deadline,
    /// A member's URL that is unreadable, or leads nowhere.
    BadUrl,
    /// A change of members or quorum that was not begun.
    Change(ChangeError),
    /// A version that is needed cannot be read here: which, and where. Nothing else is wrong.
    Unreadable(String),
    /// Nothing here does what was asked.
    Unsupported,
}

/// Why a request was not answered with its result, what that means, and who could help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means for the request.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Name of the leader that the member follows.
    pub leader: Option<String>,
    /// Names of members whose return would help.
    pub missing: Vec<String>,
}

impl Refusal {
    /// Nothing was applied.
    pub const fn not_applied(reason: Reason) -> Self {
        Self { outcome: Outcome::NotApplied, reason, leader: None, missing: Vec::new() }
    }

    /// Nobody can tell what became of it.
    pub const fn unknown(reason: Reason) -> Self {
        Self { outcome: Outcome::Unknown, reason, leader: None, missing: Vec::new() }
    }

    /// What became of a request that the member forgot as it stopped.
    pub const fn stopped() -> Self {
        Self::unknown(Reason::Stopped)
    }

    /// Names whom the member follows, and whose return would help.
    #[must_use]
    pub fn knowing(mut self, leader: Option<String>, missing: Vec<String>) -> Self {
        (self.leader, self.missing) = (leader, missing);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::not_applied(Reason::Store(error))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(error) => return error.fmt(f),
            Self::Change(error) => return error.fmt(f),
            Self::NoLeader => "no leader",
            Self::LeaderChanged => "leader changed",
            Self::Timeout => "request timed out",
            Self::InCheckpoint => "the answer is lost in a checkpoint",
            Self::Overloaded => "too many requests",
            Self::Stopped => "the member stopped",
            Self::NotLeader => "not the leader",
            Self::BadTransferee => "that member cannot lead",
            Self::TransferTimeout => "leadership did not move in time",
            Self::Diverged => "the state differs from the cluster's",
            Self::Witness => "this member is a witness and has no data",
            Self::Deadline => "too late for the caller",
            Self::BadUrl => "a member's URL is invalid",
            Self::Unreadable(what) => return write!(f, "a value cannot be read: {what}"),
            Self::Unsupported => "not possible here",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::NotApplied => "not-applied",
            Outcome::Unknown => "unknown",
        };
        write!(f, "{} ({outcome})", self.reason)?;
        if let Some(leader) = &self.leader {
            write!(f, ", leader: {leader}")?;
        }
        let mut missing = self.missing.iter();
        if let Some(first) = missing.next() {
            write!(f, ", missing: {first}")?;
        }
        missing.try_for_each(|name| write!(f, ", {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_refusal_says_why_what_that_means_and_who_could_help() {
        let (leader, missing) = (Some("a".into()), Vec::from(["b".into(), "c".into()]));
        let refusal = Refusal::unknown(Reason::Timeout).knowing(leader, missing);
        let text = "request timed out (unknown), leader: a, missing: b, c";
        assert_eq!(refusal.to_string(), text);
        let refusal = Refusal::from(Error::Compacted);
        assert_eq!(refusal.outcome, Outcome::NotApplied);
        let text = "mvcc: required revision has been compacted (not-applied)";
        assert_eq!(refusal.to_string(), text);
    }
}
