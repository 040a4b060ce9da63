//! The wire vocabulary: etcd v3 protobuf messages and etcd's exact error codes and texts.
//!
//! It decides nothing: it is words. What they mean, and which of them is said when, is
//! `front-etcd`'s; it never reaches behind the door.
//!
//! `src/gen` is written by `cargo xtask codegen` from `/proto`; do not edit it by hand.

pub mod error;
pub mod quoratepb;

pub use prost::Message;

/// `etcdserverpb`: KV, Watch, Lease, Cluster, Maintenance, Auth.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/etcdserverpb.rs"]
pub mod etcdserverpb;

/// `mvccpb`: key-value pairs and events.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/mvccpb.rs"]
pub mod mvccpb;

/// `authpb`: users, roles, permissions.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/authpb.rs"]
pub mod authpb;

/// `v3lockpb`: the lock service.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/v3lockpb.rs"]
pub mod v3lockpb;

/// `v3electionpb`: the election service.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/v3electionpb.rs"]
pub mod v3electionpb;

/// `grpc.health.v1`: the standard health service.
#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "gen/grpc.health.v1.rs"]
pub mod health;
