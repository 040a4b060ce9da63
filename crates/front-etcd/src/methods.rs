//! The method table: every path this server knows.

use api::error::Code;
use net::{Kind, Status};

macro_rules! methods {
    ($($name:ident $kind:ident $path:literal),+ $(,)?) => {
        /// A served method; its number is its place in the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Method { $($name),+ }

        const TABLE: &[(Method, Kind, &str)] =
            &[$((Method::$name, Kind::$kind, $path)),+];
    };
}

methods! {
    Range Unary "/etcdserverpb.KV/Range",
    Put Unary "/etcdserverpb.KV/Put",
    Txn Unary "/etcdserverpb.KV/Txn",
    DeleteRange Unary "/etcdserverpb.KV/DeleteRange",
    Compact Unary "/etcdserverpb.KV/Compact",
    RangeStream ServerStream "/etcdserverpb.KV/RangeStream",
    Watch Bidi "/etcdserverpb.Watch/Watch",
    LeaseGrant Unary "/etcdserverpb.Lease/LeaseGrant",
    LeaseRevoke Unary "/etcdserverpb.Lease/LeaseRevoke",
    LeaseKeepAlive Bidi "/etcdserverpb.Lease/LeaseKeepAlive",
    LeaseTimeToLive Unary "/etcdserverpb.Lease/LeaseTimeToLive",
    LeaseLeases Unary "/etcdserverpb.Lease/LeaseLeases",
    MemberList Unary "/etcdserverpb.Cluster/MemberList",
    MemberAdd Unary "/etcdserverpb.Cluster/MemberAdd",
    MemberRemove Unary "/etcdserverpb.Cluster/MemberRemove",
    MemberUpdate Unary "/etcdserverpb.Cluster/MemberUpdate",
    MemberPromote Unary "/etcdserverpb.Cluster/MemberPromote",
    ClusterChange Unary "/quoratepb.Cluster/Change",
    ClusterDescribe Unary "/quoratepb.Cluster/Describe",
    Alarm Unary "/etcdserverpb.Maintenance/Alarm",
    Status Unary "/etcdserverpb.Maintenance/Status",
    Defragment Unary "/etcdserverpb.Maintenance/Defragment",
    Hash Unary "/etcdserverpb.Maintenance/Hash",
    HashKv Unary "/etcdserverpb.Maintenance/HashKV",
    MoveLeader Unary "/etcdserverpb.Maintenance/MoveLeader",
    AuthStatus Unary "/etcdserverpb.Auth/AuthStatus",
    HealthCheck Unary "/grpc.health.v1.Health/Check",
}

impl Method {
    /// Whether its answer depends on keys, leases or alarms: a witness has none.
    pub const fn needs_data(self) -> bool {
        !matches!(
            self,
            Self::MemberList
                | Self::MemberAdd
                | Self::MemberRemove
                | Self::MemberUpdate
                | Self::MemberPromote
                | Self::ClusterChange
                | Self::ClusterDescribe
                | Self::Status
                | Self::Defragment
                | Self::MoveLeader
                | Self::AuthStatus
                | Self::HealthCheck
        )
    }

    /// Whether its answer tells where the member stands: all do but those that have no header.
    pub const fn shows_revision(self) -> bool {
        !matches!(self, Self::ClusterDescribe | Self::HealthCheck)
    }

    /// Whether it tells how data differs, which a member whose data differs has to tell too.
    pub const fn compares_data(self) -> bool {
        matches!(self, Self::Hash | Self::HashKv)
    }
}

/// Paths and kinds, by number.
pub fn table() -> impl ExactSizeIterator<Item = (&'static str, Kind)> {
    TABLE.iter().map(|(_, kind, path)| (*path, *kind))
}

/// The number and kind of a path.
pub fn find(path: &str) -> Option<(u16, Kind)> {
    let place = TABLE.iter().position(|(_, _, p)| *p == path)?;
    let number = u16::try_from(place).expect("the table is short");
    Some((number, TABLE[place].1))
}

/// The services that clients of etcd know, served or not.
const SERVICES: [&str; 9] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
];

/// grpc-go's wording for a path it does not serve.
pub fn unknown(path: &str) -> Status {
    let text = match path.strip_prefix('/').and_then(|p| p.rsplit_once('/')) {
        Some((service, method)) if SERVICES.contains(&service) => {
            format!("unknown method {method} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {path:?}"),
    };
    Status::new(Code::Unimplemented, text)
}

/// The method with this number; only numbers that [`find`] gave are asked for.
pub fn method(number: u16) -> Method {
    TABLE[usize::from(number)].0
}
