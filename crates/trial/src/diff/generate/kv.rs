//! Random requests of the KV service.

use api::etcdserverpb as pb;
use bytes::Bytes;
use pb::compare::{CompareTarget, TargetUnion};
use pb::request_op::Request;

use super::Generator;
use crate::diff::side::TXN_OPS_MAX;
use crate::diff::step::{COMPACTED, CURRENT};

const VALUES: [&[u8]; 6] =
    [b"", b"1", b"2", b"12", b"\0\xff", b"a longer value, of forty bytes or so"];
/// Leases of the sequences; the last is never granted.
pub const LEASES: [i64; 6] = [1, 2, 3, 7_777, i64::MAX, 4_040_404];

impl Generator {
    pub(super) fn value(&mut self) -> Bytes {
        Bytes::from_static(self.pick(&VALUES))
    }

    pub(super) fn lease(&mut self) -> i64 {
        let leases = if self.chance(5) { &LEASES[..] } else { &LEASES[..5] };
        self.pick(leases)
    }

    /// A revision somewhere around the interesting ones; 0 most often.
    fn revision(&mut self) -> i64 {
        let back = i64::try_from(self.below(12)).expect("small");
        match self.below(20) {
            0..8 => 0,
            8..14 => CURRENT - back,
            14..16 => CURRENT + 1 - back / 6,
            16 => COMPACTED,
            17 => COMPACTED + back / 4 - 1,
            18 => -1 - back,
            _ => 1 + back,
        }
    }

    /// One key most often, else a range in every form.
    pub(super) fn span(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let end: Bytes = match self.below(20) {
            0..6 => Bytes::new(),
            6..9 => Bytes::from_static(b"\0"),
            9..14 => prefix_end(&key),
            14 => return (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            15 => return (Bytes::from_static(b"k/"), Bytes::from_static(b"k0")),
            _ => self.key(),
        };
        (key, end)
    }

    /// `faulty` times in a hundred it breaks a rule.
    pub(super) fn range(&mut self, faulty: u64) -> pb::RangeRequest {
        let mut request = self.plain_range(faulty);
        if self.chance(30) {
            request.sort_order = self.pick(&[0, 1, 2, 1, 2]);
            request.sort_target = self.pick(&[0, 1, 2, 3, 4]);
        }
        if self.chance(faulty) {
            request.sort_order = self.pick(&[0, 0, 3, -1]);
            request.sort_target = self.pick(&[5, -2, 0]);
        }
        if self.chance(20) {
            for at in 0..4 {
                let bound = if self.chance(40) { self.revision() } else { 0 };
                *[
                    &mut request.min_mod_revision,
                    &mut request.max_mod_revision,
                    &mut request.min_create_revision,
                    &mut request.max_create_revision,
                ][at] = bound;
            }
        }
        request
    }

    /// What `RangeStream` serves, and now and then what it does not.
    pub(super) fn stream_range(&mut self) -> pb::RangeRequest {
        let mut request = if self.chance(92) { self.range(4) } else { self.plain_range(3) };
        if self.chance(4) {
            request.max_mod_revision = CURRENT;
        }
        request
    }

    fn plain_range(&mut self, faulty: u64) -> pb::RangeRequest {
        let (mut key, range_end) = self.span();
        if self.chance(faulty) {
            key = Bytes::new();
        }
        let limit = i64::try_from(self.below(5)).expect("small") - 1;
        pb::RangeRequest {
            key,
            range_end,
            limit: if self.chance(70) { limit } else { 0 },
            revision: if self.chance(40) { self.revision() } else { 0 },
            serializable: self.chance(15),
            keys_only: self.chance(15),
            count_only: self.chance(10),
            ..pb::RangeRequest::default()
        }
    }

    /// `faulty` times in a hundred it breaks a rule.
    pub(super) fn put(&mut self, faulty: u64) -> pb::PutRequest {
        let mut request = pb::PutRequest {
            key: self.key(),
            value: self.value(),
            lease: if self.chance(20) { self.lease() } else { 0 },
            prev_kv: self.chance(25),
            ..pb::PutRequest::default()
        };
        if self.chance(8) {
            request.ignore_value = true;
            request.value = Bytes::new();
        }
        if self.chance(8) {
            request.ignore_lease = true;
            request.lease = 0;
        }
        if self.chance(faulty) {
            match self.below(3) {
                0 => request.key = Bytes::new(),
                1 => (request.ignore_value, request.value) = (true, Bytes::from_static(b"v")),
                _ => (request.ignore_lease, request.lease) = (true, 1),
            }
        }
        request
    }

    pub(super) fn delete(&mut self, faulty: u64) -> pb::DeleteRangeRequest {
        let (mut key, mut range_end) = self.span();
        if self.chance(60) {
            range_end = Bytes::new();
        }
        if self.chance(faulty) {
            key = Bytes::new();
        }
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.chance(40) }
    }

    pub(super) fn compact(&mut self) -> pb::CompactionRequest {
        let back = i64::try_from(self.below(40)).expect("small");
        let revision = match self.below(10) {
            0..4 => CURRENT - back,
            4 => CURRENT,
            5..7 => CURRENT + 1 + back,
            7 => COMPACTED,
            8 => COMPACTED - back,
            _ => self.pick(&[0, -1, 1]),
        };
        pb::CompactionRequest { revision, physical: self.chance(40) }
    }

    pub(super) fn txn(&mut self) -> pb::TxnRequest {
        let mut txn = self.txn_of(2);
        if self.chance(6) {
            let extra = TXN_OPS_MAX + 1;
            match self.below(2) {
                0 => txn.compare = (0..extra).map(|_| self.compare()).collect(),
                _ => txn.success = (0..extra).map(|_| self.op(0)).collect(),
            }
        }
        txn
    }

    fn txn_of(&mut self, depth: u64) -> pb::TxnRequest {
        let compares = self.pick(&[0, 1, 1, 1, 2, 3]);
        let (success, failure) = (self.pick(&[0, 1, 1, 2, 3, 4]), self.pick(&[0, 0, 1, 2, 3]));
        let read_only = self.chance(20);
        let ops = |count: u64, me: &mut Self| -> Vec<pb::RequestOp> {
            (0..count).map(|_| if read_only { me.range_op() } else { me.op(depth) }).collect()
        };
        let (success, failure) = (ops(success, self), ops(failure, self));
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success,
            failure,
        }
    }

    fn range_op(&mut self) -> pb::RequestOp {
        pb::RequestOp { request: Some(Request::RequestRange(self.range(1))) }
    }

    fn op(&mut self, depth: u64) -> pb::RequestOp {
        let request = match self.below(100) {
            0..45 => Request::RequestPut(self.put(1)),
            45..65 => Request::RequestRange(self.range(1)),
            65..80 => Request::RequestDeleteRange(self.delete(1)),
            80..98 if depth > 0 => Request::RequestTxn(self.txn_of(depth - 1)),
            80..98 => Request::RequestPut(self.put(1)),
            98 => Request::RequestPut(self.put(0)),
            _ => return pb::RequestOp { request: None },
        };
        pb::RequestOp { request: Some(request) }
    }

    fn compare(&mut self) -> pb::Compare {
        let small = i64::try_from(self.below(4)).expect("small");
        let target_union = match self.below(6) {
            0 => TargetUnion::Version(small),
            1 => TargetUnion::CreateRevision(if small == 0 { 0 } else { CURRENT - small }),
            2 => TargetUnion::ModRevision(if small == 0 { 0 } else { CURRENT - small + 1 }),
            3 | 4 => TargetUnion::Value(self.value()),
            _ => TargetUnion::Lease(if small < 3 { 0 } else { self.lease() }),
        };
        let target = match &target_union {
            TargetUnion::Version(_) => CompareTarget::Version,
            TargetUnion::CreateRevision(_) => CompareTarget::Create,
            TargetUnion::ModRevision(_) => CompareTarget::Mod,
            TargetUnion::Value(_) => CompareTarget::Value,
            TargetUnion::Lease(_) => CompareTarget::Lease,
        };
        let (mut key, mut range_end) = self.span();
        if self.chance(70) {
            range_end = Bytes::new();
        }
        if self.chance(1) {
            key = Bytes::new();
        }
        let mut compare = pb::Compare {
            result: self.pick(&[0, 0, 0, 1, 2, 3]),
            target: target as i32,
            key,
            range_end,
            target_union: Some(target_union),
        };
        if self.chance(6) {
            // The operand is of another kind than the target, or one of the numbers is unknown.
            match self.below(4) {
                0 => compare.target_union = None,
                1 => compare.target = self.pick(&[0, 1, 2, 3, 4]),
                2 => compare.target = 9,
                _ => compare.result = 9,
            }
        }
        compare
    }
}

/// The first key past all that start with `prefix`; `\0`, which means none, when all are `0xff`.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_carries_and_runs_out() {
        assert_eq!(prefix_end(b"a"), &b"b"[..]);
        assert_eq!(prefix_end(b"a\xff"), &b"b"[..]);
        assert_eq!(prefix_end(b"\xff\xff"), &b"\0"[..]);
    }
}
