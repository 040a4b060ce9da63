//! `quoratepb`: what etcd has no word for. Written by hand after `docs/quorate-api.md`.

use crate::etcdserverpb::Member;

/// A change of members or quorum. `kind`: 1 add, 2 remove, 3 promote, 4 replace, 5 set quorum.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ChangeRequest {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The member that is removed, promoted or replaced.
    #[prost(uint64, tag = "2")]
    pub id: u64,
    /// The newcomer's.
    #[prost(string, tag = "3")]
    pub name: ::prost::alloc::string::String,
    #[prost(string, repeated, tag = "4")]
    pub peer_urls: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    #[prost(bool, tag = "5")]
    pub learner: bool,
    /// The quorum the cluster is to have afterwards; empty: as the rules say.
    #[prost(string, tag = "6")]
    pub quorum: ::prost::alloc::string::String,
}

/// Asks for the state below.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct DescribeRequest {}

/// Members and quorum after the change, or now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeResponse {
    /// The member the change was about.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub quorum: ::prost::alloc::string::String,
    /// The quorum being moved to, or empty.
    #[prost(string, tag = "3")]
    pub joint: ::prost::alloc::string::String,
    #[prost(message, repeated, tag = "4")]
    pub members: ::prost::alloc::vec::Vec<Member>,
}
