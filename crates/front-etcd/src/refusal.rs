//! Refusals as etcd's codes and texts, with the outcome the client may rely on.

use api::error::{Code, EtcdError};
use cluster::ChangeError;
use door::{Door, Outcome, Reason, Refusal};
use mvcc::{Error, Values};
use net::Status;

/// etcd's text for a hand-over that did not end; it has no code there either.
const TRANSFER_TIMEOUT: &str = "etcdserver: request timed out, leader transfer took too long";
const WITNESS: &str = "etcdserver: this member is a witness and has no data, ask another one";

const fn store_error(error: Error) -> EtcdError {
    match error {
        Error::Compacted => EtcdError::Compacted,
        Error::FutureRevision => EtcdError::FutureRevision,
        Error::LeaseNotFound | Error::LeaseRenewed => EtcdError::LeaseNotFound,
        Error::LeaseExists => EtcdError::LeaseExists,
        Error::LeaseTtlTooLarge => EtcdError::LeaseTtlTooLarge,
        Error::KeyNotFound => EtcdError::KeyNotFound,
        Error::EmptyKey => EtcdError::EmptyKey,
        Error::DuplicateKey => EtcdError::DuplicateKey,
        Error::TooManyOps | Error::NotReadOnly => EtcdError::TooManyOps,
        Error::ValueProvided => EtcdError::ValueProvided,
        Error::LeaseProvided => EtcdError::LeaseProvided,
        Error::InvalidSort => EtcdError::InvalidSortOption,
        Error::NoSpace => EtcdError::NoSpace,
        Error::Corrupt => EtcdError::Corrupt,
    }
}

/// Code, text and reason of a change that was not begun.
fn change_error(error: &ChangeError) -> (Status, &'static str) {
    let error = match error {
        ChangeError::MemberNotFound => EtcdError::MemberNotFound,
        ChangeError::IdExists => EtcdError::MemberExists,
        ChangeError::PeerUrlsExist => EtcdError::PeerUrlsExist,
        ChangeError::NotLearner => EtcdError::NotLearner,
        ChangeError::LearnerNotReady => EtcdError::LearnerNotReady,
        ChangeError::TooManyLearners => EtcdError::TooManyLearners,
        ChangeError::NotEnoughStarted(_) => EtcdError::NotEnoughStarted,
        ChangeError::Invalid(why) => {
            return (Status::new(Code::FailedPrecondition, format!("etcdserver: {why}")), "");
        }
        ChangeError::Pending(why) => {
            let text = format!("etcdserver: another change of the cluster is under way: {why}");
            return (Status::new(Code::FailedPrecondition, text), "change-pending");
        }
    };
    (of(error), "change-refused")
}

/// One of etcd's errors.
pub(super) fn of(error: EtcdError) -> Status {
    Status::new(error.code(), error.text())
}

/// One of etcd's errors of a request that was not proposed.
pub(super) fn unproposed(error: EtcdError) -> Status {
    of(error).outcome(net::Outcome::NotApplied)
}

/// What a call is told that wants a leader where there is none.
pub(super) fn no_leader(door: &dyn Door) -> Status {
    let (leader, missing) = door.knows();
    status(&Refusal::not_applied(Reason::NoLeader).knowing(leader, missing))
}

/// A version that is to be told cannot be read here.
pub(super) fn unreadable(why: String) -> Status {
    status(&Refusal::not_applied(Reason::Unreadable(why)))
}

/// One was not at hand where all that can be read is.
pub(super) fn not_read(values: &mut dyn Values) -> Status {
    unreadable(values.take_trouble().expect("what can be read is read"))
}

/// The status a failed request is answered with.
pub(super) fn status(refusal: &Refusal) -> Status {
    let (status, reason) = match &refusal.reason {
        Reason::Store(error) => (of(store_error(*error)), ""),
        Reason::NoLeader => (of(EtcdError::NoLeader), "no-leader"),
        Reason::LeaderChanged => (of(EtcdError::LeaderChanged), "leader-changed"),
        Reason::Timeout => (of(EtcdError::Timeout), "timeout"),
        Reason::InCheckpoint => (of(EtcdError::Timeout), "in-checkpoint"),
        Reason::Overloaded => (of(EtcdError::TooManyRequests), "overloaded"),
        Reason::Stopped => (of(EtcdError::Stopped), "stopped"),
        Reason::NotLeader => (of(EtcdError::NotLeader), "not-leader"),
        Reason::BadTransferee => (of(EtcdError::BadLeaderTransferee), "bad-target"),
        Reason::TransferTimeout => return Status::new(Code::Unknown, TRANSFER_TIMEOUT),
        Reason::Diverged => (of(EtcdError::Corrupt), "diverged"),
        Reason::Witness => (Status::new(Code::Unavailable, WITNESS), "witness"),
        Reason::Deadline => {
            (Status::new(Code::DeadlineExceeded, "context deadline exceeded"), "deadline")
        }
        Reason::BadUrl => (of(EtcdError::MemberBadUrls), ""),
        Reason::Change(error) => change_error(error),
        Reason::Unreadable(what) => {
            let text = format!("etcdserver: a value cannot be read on this member: {what}");
            (Status::new(Code::DataLoss, text), "unreadable")
        }
        Reason::Unsupported => (Status::new(Code::Unimplemented, "not possible here"), ""),
    };
    let status = status.outcome(match refusal.outcome {
        Outcome::NotApplied => net::Outcome::NotApplied,
        Outcome::Unknown => net::Outcome::Unknown,
    });
    if reason.is_empty() {
        return status;
    }
    status.reason(reason, refusal.leader.as_deref(), &refusal.missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refusal: &Refusal) -> (u32, String, http::HeaderMap) {
        let (status, mut headers) = (status(refusal), http::HeaderMap::new());
        status.write(&mut headers);
        (status.code, status.text.into_owned(), headers)
    }

    #[test]
    fn a_refusal_names_its_reason_and_who_is_missing_and_keeps_etcds_code_and_text() {
        let missing = vec!["c".into(), "d, of Malm\u{f6}".into()];
        let refusal = Refusal::not_applied(Reason::NoLeader).knowing(None, missing);
        let (code, text, headers) = told(&refusal);
        assert_eq!((code, &text[..]), (14, "etcdserver: no leader"));
        assert_eq!(headers["quorate-outcome"], "not-applied");
        assert_eq!(headers["quorate-reason"], "no-leader");
        assert_eq!(headers["quorate-missing"], "c,d%2C of Malm%C3%B6");
        assert!(!headers.contains_key("quorate-leader"));
    }

    #[test]
    fn a_read_that_timed_out_has_etcds_text_and_changed_nothing() {
        let (code, text, headers) = told(&Refusal::not_applied(Reason::Timeout));
        assert_eq!((code, &text[..]), (14, "etcdserver: request timed out"));
        assert_eq!(headers["quorate-outcome"], "not-applied");
    }

    #[test]
    fn what_went_into_a_checkpoint_unseen_is_unknown() {
        let (code, text, headers) = told(&Refusal::unknown(Reason::InCheckpoint));
        assert_eq!((code, &text[..]), (14, "etcdserver: request timed out"));
        assert_eq!(headers["quorate-outcome"], "unknown");
        assert_eq!(headers["quorate-reason"], "in-checkpoint");
    }

    #[test]
    fn a_write_that_timed_out_under_a_leader_names_the_leader() {
        let refusal = Refusal::unknown(Reason::Timeout).knowing(Some("a".into()), Vec::new());
        let (_, _, headers) = told(&refusal);
        assert_eq!(headers["quorate-outcome"], "unknown");
        assert_eq!(headers["quorate-leader"], "a");
        assert!(!headers.contains_key("quorate-missing"));
    }
}
