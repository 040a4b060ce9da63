//! Random requests of the Lease, Watch, Cluster and Maintenance services, and raw ones.

use api::etcdserverpb as pb;
use bytes::Bytes;
use pb::watch_request::RequestUnion;

use super::Generator;
use super::kv::LEASES;
use crate::diff::side::REQUEST_BYTES_MAX;
use crate::diff::step::{Body, COMPACTED, CURRENT, Step};
use crate::diff::wanted::{NOT_YET, UNDECODABLE};
use crate::diff::watch::progress_request;

/// Longer than any sequence takes: no lease of a sequence expires in it.
const TTL: i64 = 3_000;
/// The longest that etcd grants.
const TTL_MAX: i64 = 9_000_000_000;
/// What gRPC takes beyond the request limit.
const GRPC_EXTRA_BYTES: usize = 512 << 10;
/// So many values of this size are more than one fragment holds.
const BIG_VALUES: usize = 13;
const BIG_VALUE_BYTES: usize = 48 << 10;

const SERVICES_TO_COME: [(&str, &[u8]); 10] = [
    ("/etcdserverpb.Cluster/MemberRemove", b"\x08\x63"),
    ("/etcdserverpb.Cluster/MemberPromote", b"\x08\x63"),
    ("/etcdserverpb.Cluster/MemberUpdate", b"\x08\x63\x12\x0ehttp://[::1]:9"),
    ("/etcdserverpb.Auth/UserList", b""),
    ("/etcdserverpb.Auth/RoleList", b""),
    ("/etcdserverpb.Auth/AuthEnable", b""),
    ("/etcdserverpb.Auth/Authenticate", b"\x0a\x01x"),
    ("/etcdserverpb.Maintenance/Snapshot", b""),
    ("/etcdserverpb.Maintenance/Downgrade", b""),
    ("/v3electionpb.Election/Leader", b"\x0a\x01x"),
];

/// In place of one frame: nothing, a part of its head, a part of its body, a compressed one, one of
/// an unknown kind, a length of 4 GiB, two messages, one and a part.
const FRAMES: [&[u8]; 8] = [
    b"",
    b"\0\0\0",
    b"\0\0\0\0\x05\x0a",
    b"\x01\0\0\0\x03\x0a\x01x",
    b"\x07\0\0\0\x03\x0a\x01x",
    b"\0\xff\xff\xff\xff\x0a",
    b"\0\0\0\0\x03\x0a\x01x\0\0\0\0\x03\x0a\x01y",
    b"\0\0\0\0\x03\x0a\x01x\0\0",
];

/// What is asked over HTTP/1; answers with more than one reason depend on the order of a Go map.
const PROBES: [&str; 12] = [
    "/health",
    "/health",
    "/health?exclude=NOSPACE",
    "/health?exclude=CORRUPT",
    "/health?serializable=true",
    "/livez?verbose",
    "/readyz",
    "/readyz?verbose",
    "/readyz?exclude=data_corruption",
    "/readyz/data_corruption",
    "/readyz/nope",
    "/livez/linearizable_read",
];

impl Generator {
    pub(super) fn lease_step(&mut self) -> Step {
        let id = self.lease();
        match self.below(100) {
            0..30 => {
                let ttl = match self.below(10) {
                    0 | 3 => TTL_MAX + 1,
                    1 => TTL_MAX,
                    2 => i64::MAX,
                    _ => TTL + i64::try_from(self.below(50)).expect("small"),
                };
                Step::Grant(pb::LeaseGrantRequest { ttl, id })
            }
            30..38 => Step::GrantAny { ttl: self.pick(&[-5, 0, 1, 2, 3, 100]) },
            38..54 => Step::Revoke(pb::LeaseRevokeRequest { id }),
            54..68 => {
                let ids = 1 + self.below(3);
                Step::KeepAlive((0..ids).map(|_| self.pick(&LEASES)).collect())
            }
            68..92 => {
                let id = self.pick(&LEASES);
                Step::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys: self.chance(60) })
            }
            _ => Step::Leases,
        }
    }

    pub(super) fn short_lease(&mut self) -> Vec<Step> {
        let id = 0x5eed;
        let short = Step::Grant(pb::LeaseGrantRequest { ttl: self.pick(&[-3, 0, 1]), id });
        vec![short, Step::Revoke(pb::LeaseRevokeRequest { id })]
    }

    pub(super) fn expiry(&mut self) -> Step {
        Step::Expire { id: 0xdead, key: self.key() }
    }

    pub(super) fn watch_step(&mut self) -> Step {
        match self.below(100) {
            0..64 => self.watch_create(),
            64..87 => {
                let stream = usize::from(self.chance(30));
                let watch_id = i64::try_from(self.below(4)).expect("small");
                let cancel = pb::WatchCancelRequest { watch_id };
                let union = RequestUnion::CancelRequest(cancel);
                let request = pb::WatchRequest { request_union: Some(union) };
                Step::Watch { stream, request }
            }
            87..93 => Step::Watch { stream: 0, request: progress_request() },
            _ => Step::WatchEnd,
        }
    }

    fn watch_create(&mut self) -> Step {
        let (mut key, mut range_end) = self.span();
        let back = i64::try_from(self.below(30)).expect("small");
        let mut start_revision = match self.below(20) {
            0..6 => 0,
            6..12 => CURRENT - back,
            12 => CURRENT,
            13 => COMPACTED,
            14 => COMPACTED + back / 8,
            15 | 16 => COMPACTED - 1 - back / 8,
            17 => 1,
            _ => CURRENT + 1 + back,
        };
        match self.below(20) {
            0 => (key, range_end) = (Bytes::from_static(b"b"), Bytes::from_static(b"a")),
            1 => (key, range_end) = (Bytes::from_static(b"b"), Bytes::from_static(b"b")),
            2 | 3 => start_revision = -1 - back,
            4 => key = Bytes::new(),
            _ => {}
        }
        let future = (CURRENT + 1..CURRENT + 1_000).contains(&start_revision);
        let stream = usize::from(future || (start_revision == 0 && self.chance(30)));
        let mut filters = Vec::new();
        for filter in [0, 1, 7] {
            if self.chance(12) {
                filters.push(filter);
            }
        }
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.chance(20),
            filters,
            // On a stream that cannot promise progress, a compaction may come before the answer.
            prev_kv: stream == 0 && self.chance(40),
            watch_id: if self.chance(40) { self.pick(&[1, 1, 2, 1_000]) } else { 0 },
            fragment: self.chance(20),
        };
        let union = RequestUnion::CreateRequest(create);
        Step::Watch { stream, request: pb::WatchRequest { request_union: Some(union) } }
    }

    pub(super) fn maintenance_step(&mut self) -> Step {
        let back = i64::try_from(self.below(20)).expect("small");
        match self.below(100) {
            0..10 => Step::HashKv(pb::HashKvRequest { revision: self.pick(&[0, 0, -1]) }),
            10..30 => {
                let revision = match self.below(6) {
                    0 => CURRENT + 1 + back,
                    1 => COMPACTED,
                    2 => COMPACTED + back - 1,
                    _ => CURRENT - back,
                };
                Step::HashKv(pb::HashKvRequest { revision })
            }
            30..42 => Step::Hash,
            42..58 => Step::Status,
            58..68 => Step::Defragment,
            68..78 => Step::Members { linearizable: false },
            78..88 => Step::Members { linearizable: true },
            _ if self.single => Step::MoveLeader { target: 1 + self.below(1_000) },
            _ => Step::Status,
        }
    }

    /// Alarms come in pairs: one on, and after a few requests off again.
    pub(super) fn alarm_on(&mut self) -> Step {
        let kind = self.pick(&[1, 2]);
        let member = self.pick(&[7, 1 << 40]);
        self.alarm = Some((kind, member, 2 + self.below(5)));
        alarm(1, kind, member)
    }

    /// The alarm's end, when its time has come.
    pub(super) fn alarm_off(&mut self) -> Option<Step> {
        let (kind, member, left) = self.alarm.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let step = alarm(2, *kind, *member);
        self.alarm = None;
        Some(step)
    }

    pub(super) fn alarm_odd(&mut self) -> Step {
        match self.below(4) {
            0..3 => alarm(0, self.pick(&[0, 1, 2]), self.pick(&[0, 7])),
            _ => alarm(2, self.pick(&[0, 1, 2]), 99),
        }
    }

    pub(super) fn probe(&mut self) -> Step {
        Step::Probe { target: self.pick(&PROBES) }
    }

    pub(super) fn raw_step(&mut self) -> Step {
        let put = |key: Bytes, value_bytes| Step::Raw {
            path: "/etcdserverpb.KV/Put",
            what: "a big put",
            body: Body::Put { key, value_bytes },
        };
        let bytes = |path, what, bytes| Step::Raw { path, what, body: Body::Bytes(bytes) };
        match self.below(8) {
            7 => {
                let path = self.pick(&["/etcdserverpb.KV/Put", "/etcdserverpb.KV/RangeStream"]);
                let body = Body::Wire(self.pick(&FRAMES));
                Step::Raw { path, what: "a frame that is none", body }
            }
            0 => bytes("/etcdserverpb.KV/Nope", "no such method", b""),
            1 => bytes("/nope.Nope/Nope", "no such service", b""),
            2 => bytes("/etcdserverpb.KV/Put", UNDECODABLE, b"\x0a\xff"),
            3 => put(self.key(), REQUEST_BYTES_MAX + 1_000),
            4 => put(self.key(), REQUEST_BYTES_MAX + GRPC_EXTRA_BYTES + 1_000),
            5 => {
                let (path, body) = self.pick(&SERVICES_TO_COME);
                bytes(path, NOT_YET, body)
            }
            _ => {
                let key = self.key();
                let path = self.pick(&["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn"]);
                let value_bytes = REQUEST_BYTES_MAX + 1_000;
                Step::Raw { path, what: "a big read", body: Body::BigRead { key, value_bytes } }
            }
        }
    }

    /// More bytes than one watch answer may have, seen by late and by live watchers.
    pub(super) fn big_block(&mut self) -> Vec<Step> {
        let mut steps = vec![Step::WatchEnd];
        steps.extend((0..BIG_VALUES).map(|at| Step::Raw {
            path: "/etcdserverpb.KV/Put",
            what: "a put within the limit",
            body: Body::Put {
                key: self.keys[at % self.keys.len()].clone(),
                value_bytes: BIG_VALUE_BYTES,
            },
        }));
        for (fragment, prev_kv) in [(true, true), (false, true), (true, false), (true, true)] {
            let create = pb::WatchCreateRequest {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
                start_revision: CURRENT - 12,
                fragment,
                prev_kv,
                ..pb::WatchCreateRequest::default()
            };
            let union = RequestUnion::CreateRequest(create);
            let request = pb::WatchRequest { request_union: Some(union) };
            steps.push(Step::Watch { stream: 0, request });
        }
        steps.push(Step::Watch { stream: 0, request: progress_request() });
        steps.push(super::delete_everything());
        steps.push(Step::WatchEnd);
        steps
    }
}

fn alarm(action: i32, alarm: i32, member_id: u64) -> Step {
    Step::Alarm(pb::AlarmRequest { action, member_id, alarm })
}
