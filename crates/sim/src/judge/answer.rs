//! What clients are told: right at its place in the one order, and no older than what any client
//! knew when it asked. Revisions give the order, so this is linearizability, checked answer by
//! answer.

use super::Judge;
use crate::client::{Ask, Op};
use base::{LogIndex, Nanos};
use door::{Found, Reason, Refusal};
use mvcc::{
    Command, Error, EventKind, KeyRange, RangeRequest, RangeResponse, Response, TxnRequest,
    TxnResponse,
};
use replica::Reply;

type Verdict = Result<(), (&'static str, String)>;

impl Judge {
    /// Checks what a member answers in a step after which it shows data of this revision, if any.
    pub fn answer(&mut self, at: Nanos, op: &Op, reply: &Reply, shown: Option<i64>) {
        self.checks += 1;
        let verdict = match (reply, &op.ask) {
            (Reply::Applied { index, .. }, Ask::Write(_)) if *index == LogIndex::ZERO => Ok(()),
            (Reply::Applied { index, result }, Ask::Write(command)) => {
                self.applied_answer(op, command, *index, result)
            }
            (Reply::Barrier, Ask::Range(_) | Ask::ReadTxn(_)) => self.barrier_answer(op, shown),
            (Reply::Barrier, Ask::Confirm) => self.confirm_answer(op),
            (Reply::Changed { .. }, Ask::Change(change)) => self.changed_answer(change),
            (Reply::ChangeRefused(_), Ask::Change(_)) => Ok(()),
            (Reply::Refused(_), _) if op.effect.is_some() => Err((
                "refused is not applied",
                format!("refused, and it is revision {:?}", op.effect),
            )),
            (Reply::Refused(_) | Reply::Unknown(_), _) => Ok(()),
            _ => Err(("an answer fits its question", format!("{reply:?}"))),
        };
        self.pass(at, op, verdict);
    }

    /// Checks what was found for an operation before its client sees it.
    pub fn found(&mut self, at: Nanos, op: &Op, found: &Result<Found, Refusal>) {
        self.checks += 1;
        let verdict = match (found, &op.ask) {
            (Ok(Found::Range(range)), Ask::Range(request)) => self.range_answer(op, request, range),
            (Ok(Found::Txn(txn)), Ask::ReadTxn(request)) => self.read_txn_answer(op, request, txn),
            (Err(Refusal { reason: Reason::Store(error), .. }), Ask::Range(request)) => {
                self.read_error(op, request, *error)
            }
            (Err(Refusal { reason: Reason::Store(error), .. }), _) => {
                Err(("an answer is what the state gives", format!("{error}")))
            }
            (Err(_), _) => Ok(()),
            _ => Err(("an answer fits its question", format!("{found:?}"))),
        };
        self.pass(at, op, verdict);
    }

    fn pass(&mut self, at: Nanos, op: &Op, verdict: Verdict) {
        if let Err((rule, what)) = verdict {
            self.blame(at, rule, format!("{:?}: {what}", op.ask));
        }
    }

    /// A view that is taken once the barrier is passed is linearizable, so it is at once.
    fn barrier_answer(&self, op: &Op, shown: Option<i64>) -> Verdict {
        match shown.filter(|shown| *shown < op.floor.revision) {
            Some(shown) => {
                let what = format!("read at {shown}; {} was known before", op.floor.revision);
                Err(("linearizable", what))
            }
            None => Ok(()),
        }
    }

    fn confirm_answer(&self, op: &Op) -> Verdict {
        if self.confirmed_at >= op.invoked {
            return Ok(());
        }
        let what = format!("asked at {}, the last round was at {}", op.invoked, self.confirmed_at);
        Err(("a quorum confirms a read", what))
    }

    /// A client has this answer: nothing that starts now may be older.
    pub fn heard(&mut self, op: &Op, reply: &Reply) {
        let floor = &mut self.floor;
        match (reply, &op.ask) {
            (Reply::Applied { index, result }, _) if *index > LogIndex::ZERO => {
                floor.index = floor.index.max(*index);
                let at = usize::try_from(index.0 - 1).unwrap_or(usize::MAX);
                let after = self.entries.get(at).map_or(1, |entry| entry.revision);
                floor.revision = floor.revision.max(after);
                if let (Ok(_), Ask::Write(Command::Compact { revision })) = (result, &op.ask) {
                    floor.compacted = floor.compacted.max(*revision);
                }
            }
            _ => {}
        }
    }

    /// As [`Judge::heard`], of what was found for it; what was read here and now is no floor.
    pub fn heard_found(&mut self, op: &Op, found: &Found) {
        let revision = match (found, &op.ask) {
            (Found::Range(range), Ask::Range(request)) if !request.serializable => range.revision,
            (Found::Txn(txn), _) => txn.revision,
            _ => return,
        };
        self.floor.revision = self.floor.revision.max(revision);
    }

    fn applied_answer(
        &mut self,
        op: &Op,
        command: &Command,
        index: LogIndex,
        result: &Result<Response, Error>,
    ) -> Verdict {
        if index <= op.floor.index || index > self.applied() {
            let what = format!("applied at {index}, {} was known before", op.floor.index);
            return Err(("linearizable", what));
        }
        let (before, after) = (self.revision_at(index.prev()), self.revision_at(index));
        if after < op.floor.revision {
            return Err(("linearizable", format!("{after} after {}", op.floor.revision)));
        }
        let wrong = |what: String| ("an answer is what the state gives", what);
        self.alarms.check(index, command, result).map_err(wrong)?;
        let response = match result {
            Ok(response) => response,
            Err(error) if before != after => {
                let what = format!("refused with {error}, and it made revision {after}");
                return Err(("refused is not applied", what));
            }
            Err(error) => return self.write_error(command, *error, index).map_err(wrong),
        };
        match (command, response) {
            (Command::LeaseGrant { id, .. }, Response::LeaseGrant { ttl, .. }) => self
                .leases
                .promised(*id, index, op.invoked, *ttl)
                .map_err(|what| ("lease not early", what)),
            (Command::LeaseRenew { .. }, Response::LeaseRenew { ttls }) => {
                for (id, ttl) in ttls {
                    let lives = self.leases.lives_at(*id, index).unwrap_or(0);
                    if lives != *ttl {
                        return Err(wrong(format!("lease {id} has {lives} s, told {ttl}")));
                    }
                    if *ttl > 0 {
                        let kept = self.leases.promised(*id, index, op.invoked, *ttl);
                        kept.map_err(|what| ("lease not early", what))?;
                    }
                }
                Ok(())
            }
            _ => self.write_answer(command, response, before, after).map_err(wrong),
        }
    }

    fn write_error(&self, command: &Command, error: Error, index: LogIndex) -> Result<(), String> {
        let fits = match (command, error) {
            (_, Error::NoSpace) => true, // as the alarms were checked
            (Command::Put(put), Error::LeaseNotFound) => {
                self.leases.lives_at(put.lease, index).is_none()
            }
            (Command::LeaseRevoke { id, .. }, Error::LeaseNotFound) => {
                self.leases.lives_at(*id, index).is_none()
            }
            (Command::Compact { revision }, Error::Compacted) => *revision <= self.model.compacted,
            (Command::Compact { revision }, Error::FutureRevision) => {
                *revision > self.revision_at(index)
            }
            (Command::Txn(_), Error::DuplicateKey | Error::Compacted | Error::FutureRevision) => {
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{error} at {index}")) }
    }

    fn write_answer(
        &self,
        command: &Command,
        response: &Response,
        before: i64,
        after: i64,
    ) -> Result<(), String> {
        let changes = self.model.changes(after).filter(|_| after > before);
        let puts = || {
            let events = changes.iter().flat_map(|changes| &changes.events);
            events.filter(|event| event.kind == EventKind::Put)
        };
        match (command, response) {
            (Command::Put(put), Response::Put(got)) => {
                let mut here = puts();
                let event = here.next().ok_or("it made no revision")?;
                let alone = here.next().is_none() && got.revision == after;
                if !alone || event.kv.key != put.key || event.kv.value != put.value {
                    return Err(format!("revision {after} is {event:?}"));
                }
                let prev = self.model.at(&put.key, before).filter(|_| put.prev_kv);
                if got.prev_kv.as_ref() != prev {
                    return Err(format!("previous {:?}, expected {prev:?}", got.prev_kv));
                }
                Ok(())
            }
            (Command::Delete(delete), Response::Delete(got)) => {
                let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
                let live = self.model.live(&range, before);
                if got.deleted != live.len() as i64 || got.revision != after {
                    return Err(format!("{got:?}, {} keys were there", live.len()));
                }
                if delete.prev_kv && got.prev_kvs.iter().ne(live) {
                    return Err(format!("previous {:?}", got.prev_kvs));
                }
                Ok(())
            }
            (Command::Txn(request), Response::Txn(got)) => {
                if got.revision != after {
                    return Err(format!("says revision {}, it is {after}", got.revision));
                }
                let answer = self.model.check_txn(request, got, before, after)?;
                for (key, value) in &answer.puts {
                    if !puts().any(|e| e.kv.key == *key && e.kv.value == *value) {
                        return Err(format!("revision {after} lacks {key:?}"));
                    }
                }
                if !answer.puts.is_empty() && after == before {
                    return Err("it put keys and made no revision".to_owned());
                }
                Ok(())
            }
            (Command::Compact { .. }, Response::Compact { .. })
            | (Command::Alarm { .. }, Response::Alarm { .. })
            | (Command::LeaseRevoke { .. }, Response::LeaseRevoke { .. }) => Ok(()),
            _ => Err(format!("answered by {response:?}")),
        }
    }

    fn range_answer(&self, op: &Op, request: &RangeRequest, response: &RangeResponse) -> Verdict {
        let current = response.revision;
        if !request.serializable && current < op.floor.revision {
            let what = format!("read at {current}; {} was known before", op.floor.revision);
            return Err(("linearizable", what));
        }
        if current > self.model.revision() {
            return Err(("linearizable", format!("read at {current}, from the future")));
        }
        if !request.serializable && request.revision > 0 && request.revision < op.floor.compacted {
            let what = format!("read below the compaction at {}", op.floor.compacted);
            return Err(("compacted is gone", what));
        }
        let want = self.model.range(request, current);
        if *response != want {
            let what = format!("{response:?}, expected {want:?}");
            return Err(("an answer is what the state gives", what));
        }
        Ok(())
    }

    fn read_error(&self, op: &Op, request: &RangeRequest, error: Error) -> Verdict {
        let fits = match error {
            Error::Compacted => request.revision > 0 && request.revision < self.model.compacted,
            Error::FutureRevision => request.serializable || request.revision > op.floor.revision,
            _ => false,
        };
        if fits { Ok(()) } else { Err(("an answer is what the state gives", format!("{error}"))) }
    }

    fn read_txn_answer(&self, op: &Op, request: &TxnRequest, response: &TxnResponse) -> Verdict {
        let current = response.revision;
        if current < op.floor.revision || current > self.model.revision() {
            let what = format!("read at {current}; {} was known before", op.floor.revision);
            return Err(("linearizable", what));
        }
        let checked = self.model.check_txn(request, response, current, current);
        checked.map(|_| ()).map_err(|what| ("an answer is what the state gives", what))
    }
}
