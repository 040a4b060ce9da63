//! Refusals as etcd's codes and texts, with the outcome the client may rely on.

use super::engine::Failure;
use crate::grpc::Status;
use api::error::{Code, EtcdError};
use cluster::ChangeError;
use mvcc::Error;

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

const fn change_error(error: &ChangeError) -> EtcdError {
    match error {
        ChangeError::MemberNotFound => EtcdError::MemberNotFound,
        ChangeError::IdExists => EtcdError::MemberExists,
        ChangeError::PeerUrlsExist => EtcdError::PeerUrlsExist,
        ChangeError::NotLearner => EtcdError::NotLearner,
        ChangeError::LearnerNotReady => EtcdError::LearnerNotReady,
        ChangeError::TooManyLearners => EtcdError::TooManyLearners,
        ChangeError::NotEnoughStarted(_) | ChangeError::Invalid(_) => EtcdError::NotEnoughStarted,
        ChangeError::Pending(_) => EtcdError::Unhealthy,
    }
}

/// The status a failed request is answered with.
pub fn status(failure: Failure) -> Status {
    let (error, outcome, reason) = match &failure {
        Failure::Store(error) => (store_error(*error), "not-applied", ""),
        Failure::NoLeader(_) => (EtcdError::NoLeader, "not-applied", "no-leader"),
        Failure::LeaderChanged => (EtcdError::LeaderChanged, "unknown", "leader-changed"),
        Failure::Timeout(_) => (EtcdError::Timeout, "unknown", "timeout"),
        Failure::ReadTimeout(_) => (EtcdError::Timeout, "not-applied", "timeout"),
        Failure::InCheckpoint => (EtcdError::Timeout, "unknown", "in-checkpoint"),
        Failure::Overloaded(_) => (EtcdError::TooManyRequests, "not-applied", "overloaded"),
        Failure::Stopped => (EtcdError::Stopped, "unknown", "stopped"),
        Failure::NotLeader => (EtcdError::NotLeader, "not-applied", "not-leader"),
        Failure::BadTransferee => (EtcdError::BadLeaderTransferee, "not-applied", "bad-target"),
        Failure::Learner => (EtcdError::LearnerUnsupported, "not-applied", "learner"),
        Failure::Corrupt => (EtcdError::Corrupt, "not-applied", "diverged"),
        Failure::Witness => {
            let text = "etcdserver: this member is a witness and has no data, ask another one";
            let status = Status::new(Code::Unavailable, text).outcome("not-applied");
            return status.reason("witness", None, &[]);
        }
        Failure::Deadline => {
            let text = "context deadline exceeded";
            let status = Status::new(Code::DeadlineExceeded, text).outcome("unknown");
            return status.reason("deadline", None, &[]);
        }
        Failure::Late => {
            let text = "context deadline exceeded";
            let status = Status::new(Code::DeadlineExceeded, text).outcome("not-applied");
            return status.reason("deadline", None, &[]);
        }
        Failure::Change(ChangeError::Invalid(why)) => {
            let text = format!("etcdserver: {why}");
            return Status::new(Code::FailedPrecondition, text).outcome("not-applied");
        }
        Failure::Change(ChangeError::Pending(why)) => {
            let text = format!("etcdserver: another change of the cluster is under way: {why}");
            let status = Status::new(Code::FailedPrecondition, text).outcome("not-applied");
            return status.reason("change-pending", None, &[]);
        }
        Failure::Change(error) => (change_error(error), "not-applied", "change-refused"),
        Failure::Status(code, text) => {
            return Status { code: *code, ..Status::new(Code::Unknown, text.clone()) };
        }
    };
    let status = Status::from(error).outcome(outcome);
    match failure {
        _ if reason.is_empty() => status,
        Failure::NoLeader(why)
        | Failure::Timeout(why)
        | Failure::ReadTimeout(why)
        | Failure::Overloaded(why) => status.reason(reason, why.leader.as_deref(), &why.missing),
        _ => status.reason(reason, None, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::engine::Why;

    #[test]
    fn a_refusal_names_its_reason_and_who_is_missing_and_keeps_etcds_code_and_text() {
        let why = Why { leader: None, missing: vec!["c".into(), "d, of Malm\u{f6}".into()] };
        let status = status(Failure::NoLeader(why));
        assert_eq!((status.code, &status.text[..]), (14, "etcdserver: no leader"));
        let mut headers = http::HeaderMap::new();
        status.write(&mut headers);
        assert_eq!(headers["quorate-outcome"], "not-applied");
        assert_eq!(headers["quorate-reason"], "no-leader");
        assert_eq!(headers["quorate-missing"], "c,d%2C of Malm%C3%B6");
        assert!(!headers.contains_key("quorate-leader"));
    }

    #[test]
    fn a_read_that_timed_out_has_etcds_text_and_changed_nothing() {
        let status = status(Failure::ReadTimeout(Why::default()));
        assert_eq!((status.code, &status.text[..]), (14, "etcdserver: request timed out"));
        assert_eq!(status.outcome, Some("not-applied"));
    }

    #[test]
    fn what_went_into_a_checkpoint_unseen_is_unknown() {
        let status = status(Failure::InCheckpoint);
        assert_eq!((status.code, &status.text[..]), (14, "etcdserver: request timed out"));
        assert_eq!(status.outcome, Some("unknown"));
        let mut headers = http::HeaderMap::new();
        status.write(&mut headers);
        assert_eq!(headers["quorate-reason"], "in-checkpoint");
    }

    #[test]
    fn a_write_that_timed_out_under_a_leader_names_the_leader() {
        let why = Why { leader: Some("a".into()), missing: Vec::new() };
        let mut headers = http::HeaderMap::new();
        status(Failure::Timeout(why)).write(&mut headers);
        assert_eq!(headers["quorate-outcome"], "unknown");
        assert_eq!(headers["quorate-leader"], "a");
        assert!(!headers.contains_key("quorate-missing"));
    }
}
