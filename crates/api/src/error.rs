//! etcd's error table (`api/v3rpc/rpctypes/error.go`): clients match both code and text.

/// gRPC status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl From<Code> for u32 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

/// Every refusal etcd's clients know by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdError {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    InvalidClientApiVersion,
    InvalidSortOption,
    MemberBadUrls,
    RequestTooLarge,
    LeaseNotFound,
    MemberNotFound,
    PermissionDenied,
    InvalidAuthToken,
    NoSpace,
    TooManyRequests,
    LeaseExists,
    MemberExists,
    PeerUrlsExist,
    NotEnoughStarted,
    NotLearner,
    LearnerNotReady,
    TooManyLearners,
    ClusterIdMismatch,
    AuthNotEnabled,
    NotLeader,
    NotCapable,
    LearnerUnsupported,
    BadLeaderTransferee,
    Compacted,
    FutureRevision,
    LeaseTtlTooLarge,
    NoLeader,
    LeaderChanged,
    Stopped,
    Timeout,
    TimeoutLeaderFailure,
    TimeoutConnectionLost,
    TimeoutApply,
    Unhealthy,
    WatchCanceled,
    RequestCanceled,
    Corrupt,
}

impl EtcdError {
    /// The gRPC code etcd sends.
    pub const fn code(self) -> Code {
        self.row().0
    }

    /// The exact text etcd sends, prefix included.
    pub const fn text(self) -> &'static str {
        self.row().1
    }

    #[rustfmt::skip]
    const fn row(self) -> (Code, &'static str) {
        match self {
            Self::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Self::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
            Self::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOps => (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
            ),
            Self::DuplicateKey => (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ),
            Self::InvalidClientApiVersion => (
                Code::InvalidArgument,
                "etcdserver: invalid client api version",
            ),
            Self::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
            Self::MemberBadUrls => (
                Code::InvalidArgument,
                "etcdserver: given member URLs are invalid",
            ),
            Self::RequestTooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
            Self::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
            Self::MemberNotFound => (Code::NotFound, "etcdserver: member not found"),
            Self::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
            Self::InvalidAuthToken => (Code::Unauthenticated, "etcdserver: invalid auth token"),
            Self::NoSpace => (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            Self::TooManyRequests => (Code::ResourceExhausted, "etcdserver: too many requests"),
            Self::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
            Self::MemberExists => (
                Code::FailedPrecondition,
                "etcdserver: member ID already exist",
            ),
            Self::PeerUrlsExist => (
                Code::FailedPrecondition,
                "etcdserver: Peer URLs already exists",
            ),
            Self::NotEnoughStarted => (
                Code::FailedPrecondition,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            Self::NotLearner => (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member",
            ),
            Self::LearnerNotReady => (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            Self::TooManyLearners => (
                Code::FailedPrecondition,
                "etcdserver: too many learner members in cluster",
            ),
            Self::ClusterIdMismatch => (
                Code::FailedPrecondition,
                "etcdserver: cluster ID mismatch",
            ),
            Self::AuthNotEnabled => (
                Code::FailedPrecondition,
                "etcdserver: authentication is not enabled",
            ),
            Self::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
            Self::NotCapable => (Code::FailedPrecondition, "etcdserver: not capable"),
            Self::LearnerUnsupported => (
                Code::FailedPrecondition,
                "etcdserver: rpc not supported for learner",
            ),
            Self::BadLeaderTransferee => (
                Code::FailedPrecondition,
                "etcdserver: bad leader transferee",
            ),
            Self::Compacted => (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            Self::FutureRevision => (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            Self::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
            Self::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
            Self::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
            Self::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
            Self::Timeout => (Code::Unavailable, "etcdserver: request timed out"),
            Self::TimeoutLeaderFailure => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            Self::TimeoutConnectionLost => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            Self::TimeoutApply => (
                Code::Unavailable,
                "etcdserver: request timed out, waiting for the applied index took too long",
            ),
            Self::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
            Self::WatchCanceled => (Code::Canceled, "etcdserver: watch canceled"),
            Self::RequestCanceled => (Code::Canceled, "etcdserver: request canceled"),
            Self::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_carry_the_prefix_and_codes_are_grpcs_numbers() {
        assert_eq!(EtcdError::Compacted.code() as u32, 11);
        assert_eq!(
            EtcdError::Compacted.text(),
            "etcdserver: mvcc: required revision has been compacted"
        );
        assert_eq!(Code::Unauthenticated as u32, 16);
        assert_eq!(EtcdError::NoLeader.code() as u32, 14);
    }
}
