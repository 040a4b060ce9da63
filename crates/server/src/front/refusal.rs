//! Refusals as etcd's codes and texts, with the outcome the client may rely on.

use super::engine::Failure;
use crate::grpc::Status;
use api::error::{Code, EtcdError};
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

/// The status a failed request is answered with.
pub fn status(failure: Failure) -> Status {
    let (error, outcome) = match failure {
        Failure::Store(error) => (store_error(error), "not-applied"),
        Failure::NoLeader => (EtcdError::NoLeader, "not-applied"),
        Failure::LeaderChanged => (EtcdError::LeaderChanged, "unknown"),
        Failure::Timeout => (EtcdError::Timeout, "unknown"),
        Failure::Overloaded => (EtcdError::TooManyRequests, "not-applied"),
        Failure::Stopped => (EtcdError::Stopped, "unknown"),
        Failure::NotLeader => (EtcdError::NotLeader, "not-applied"),
        Failure::BadTransferee => (EtcdError::BadLeaderTransferee, "not-applied"),
        Failure::Learner => (EtcdError::LearnerUnsupported, "not-applied"),
        Failure::Corrupt => (EtcdError::Corrupt, "not-applied"),
        Failure::Status(code, text) => {
            return Status { code, ..Status::new(Code::Unknown, text) };
        }
    };
    Status::from(error).outcome(outcome)
}
