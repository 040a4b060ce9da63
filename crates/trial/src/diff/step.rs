//! What is sent to both servers. Revisions are symbolic until they are sent, so that a sequence
//! means the same on a server with another past.

use api::etcdserverpb as pb;
use bytes::Bytes;
use pb::request_op::Request;

/// `CURRENT + n` means n revisions after the newest one, `COMPACTED + n` n after the last
/// compaction. Any number this far from both is what it says.
pub const CURRENT: i64 = 1 << 40;
pub const COMPACTED: i64 = 1 << 42;
const NEAR: i64 = 1 << 30;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Range(pb::RangeRequest),
    RangeStream(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    Grant(pb::LeaseGrantRequest),
    /// A grant without an id: the server draws one, and it is revoked at once.
    GrantAny {
        ttl: i64,
    },
    Revoke(pb::LeaseRevokeRequest),
    KeepAlive(Vec<i64>),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    /// A short lease with this key attached, and the wait until both are gone.
    Expire {
        id: i64,
        key: Bytes,
    },
    Leases,
    HashKv(pb::HashKvRequest),
    Hash,
    Status,
    Alarm(pb::AlarmRequest),
    Defragment,
    Members {
        linearizable: bool,
    },
    MoveLeader {
        target: u64,
    },
    /// On one of a few streams; the first request of a stream opens it.
    Watch {
        stream: usize,
        request: pb::WatchRequest,
    },
    /// Ends every stream, after all they are owed has come.
    WatchEnd,
    /// A GET of HTTP/1.
    Probe {
        target: &'static str,
    },
    /// Bytes that no client library would send.
    Raw {
        path: &'static str,
        what: &'static str,
        body: Body,
    },
}

/// A message made when it is sent, so that a long one need not be printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Bytes(&'static [u8]),
    /// What follows the headers, without a frame around it.
    Wire(&'static [u8]),
    /// A put of this key and a value of so many bytes.
    Put {
        key: Bytes,
        value_bytes: usize,
    },
    /// A range up to a key so long, alone or in a transaction.
    BigRead {
        key: Bytes,
        value_bytes: usize,
    },
}

/// The newest and the compacted revision, as the last answers told them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub current: i64,
    pub compacted: i64,
}

impl Clock {
    /// Of a fresh server.
    pub const FRESH: Self = Self { current: 1, compacted: 0 };

    fn fix(self, revision: &mut i64) {
        if (*revision - CURRENT).abs() < NEAR {
            *revision = self.current + (*revision - CURRENT);
        } else if (*revision - COMPACTED).abs() < NEAR {
            *revision = self.compacted + (*revision - COMPACTED);
        }
    }

    fn fix_range(self, range: &mut pb::RangeRequest) {
        for revision in [
            &mut range.revision,
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ] {
            self.fix(revision);
        }
    }

    fn fix_txn(self, txn: &mut pb::TxnRequest) {
        use pb::compare::TargetUnion;
        for compare in &mut txn.compare {
            if let Some(TargetUnion::CreateRevision(at) | TargetUnion::ModRevision(at)) =
                &mut compare.target_union
            {
                self.fix(at);
            }
        }
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            match &mut op.request {
                Some(Request::RequestRange(range)) => self.fix_range(range),
                Some(Request::RequestTxn(nested)) => self.fix_txn(nested),
                _ => {}
            }
        }
    }

    /// The step with real revisions.
    pub fn resolve(self, step: &Step) -> Step {
        let mut step = step.clone();
        match &mut step {
            Step::Range(range) | Step::RangeStream(range) => self.fix_range(range),
            Step::Txn(txn) => self.fix_txn(txn),
            Step::Compact(compact) => self.fix(&mut compact.revision),
            Step::HashKv(hash) => self.fix(&mut hash.revision),
            Step::Watch { stream, request } => {
                use pb::watch_request::RequestUnion::CreateRequest;
                if let Some(CreateRequest(create)) = &mut request.request_union {
                    self.fix(&mut create.start_revision);
                    if *stream == 0 {
                        // Watchers of the future have another stream.
                        create.start_revision = create.start_revision.min(self.current);
                    }
                }
            }
            _ => {}
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_revisions_become_real_ones_and_plain_ones_stay() {
        let clock = Clock { current: 50, compacted: 20 };
        let resolved = |revision| {
            let Step::HashKv(hash) = clock.resolve(&Step::HashKv(pb::HashKvRequest { revision }))
            else {
                panic!("the same kind of step")
            };
            hash.revision
        };
        assert_eq!(resolved(CURRENT - 3), 47);
        assert_eq!(resolved(COMPACTED + 1), 21);
        assert_eq!([resolved(0), resolved(-1), resolved(7)], [0, -1, 7]);
    }
}
