//! What clients are told: right at its place in the one order, and no older than what any client
//! knew when it asked. Revisions give the order, so this is linearizability, checked answer by
//! answer.

use super::Judge;
use crate::client::{Ask, Op};
use base::{LogIndex, Nanos};
use mvcc::{
    Command, Error, EventKind, KeyRange, RangeRequest, RangeResponse, Response, TxnResponse,
};
use replica::Reply;

impl Judge {
    /// Checks an answer before its client sees it.
    pub fn answer(&mut self, at: Nanos, op: &Op, reply: &Reply) {
        self.checks += 1;
        let verdict = match (reply, &op.ask) {
            (Reply::Applied { index, .. }, Ask::Write(_)) if *index == LogIndex::ZERO => Ok(()),
            (Reply::Applied { index, result }, Ask::Write(command)) => {
                self.applied_answer(op, command, *index, result)
            }
            (Reply::Range(result), Ask::Range(request)) => self.range_answer(op, request, result),
            (Reply::Txn(result), Ask::ReadTxn(_)) => self.read_txn_answer(op, result),
            (Reply::Changed { .. }, Ask::Change(change)) => self.changed_answer(change),
            (Reply::ChangeRefused(_), Ask::Change(_)) => Ok(()),
            (Reply::Refused(_), _) if op.effect.is_some() => Err((
                "refused is not applied",
                format!("refused, and it is revision {:?}", op.effect),
            )),
            (Reply::Refused(_) | Reply::Unknown(_), _) => Ok(()),
            _ => Err(("an answer fits its question", format!("{reply:?}"))),
        };
        if let Err((rule, what)) = verdict {
            self.blame(at, rule, format!("{:?}: {what}", op.ask));
        }
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
            (Reply::Range(Ok(response)), Ask::Range(request)) if !request.serializable => {
                floor.revision = floor.revision.max(response.revision);
            }
            (Reply::Txn(Ok(response)), _) => {
                floor.revision = floor.revision.max(response.revision);
            }
            _ => {}
        }
    }

    fn applied_answer(
        &mut self,
        op: &Op,
        command: &Command,
        index: LogIndex,
        result: &Result<Response, Error>,
    ) -> Result<(), (&'static str, String)> {
        if index <= op.floor.index || index > self.applied() {
            let what = format!("applied at {index}, {} was known before", op.floor.index);
            return Err(("linearizable", what));
        }
        let (before, after) = (self.revision_at(index.prev()), self.revision_at(index));
        if after < op.floor.revision {
            return Err(("linearizable", format!("{after} after {}", op.floor.revision)));
        }
        let wrong = |what: String| ("an answer is what the state gives", what);
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
            | (Command::LeaseRevoke { .. }, Response::LeaseRevoke { .. }) => Ok(()),
            _ => Err(format!("answered by {response:?}")),
        }
    }

    fn range_answer(
        &self,
        op: &Op,
        request: &RangeRequest,
        result: &Result<RangeResponse, Error>,
    ) -> Result<(), (&'static str, String)> {
        let current = match result {
            Ok(response) => response.revision,
            Err(error) => return self.read_error(op, request, *error),
        };
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
        if result.as_ref().ok() != Some(&want) {
            let what = format!("{result:?}, expected {want:?}");
            return Err(("an answer is what the state gives", what));
        }
        Ok(())
    }

    fn read_error(
        &self,
        op: &Op,
        request: &RangeRequest,
        error: Error,
    ) -> Result<(), (&'static str, String)> {
        let fits = match error {
            Error::Compacted => request.revision > 0 && request.revision < self.model.compacted,
            Error::FutureRevision => request.serializable || request.revision > op.floor.revision,
            _ => false,
        };
        if fits { Ok(()) } else { Err(("an answer is what the state gives", format!("{error}"))) }
    }

    fn read_txn_answer(
        &self,
        op: &Op,
        result: &Result<TxnResponse, Error>,
    ) -> Result<(), (&'static str, String)> {
        let Ask::ReadTxn(request) = &op.ask else { unreachable!("the caller matched it") };
        let response = match result {
            Ok(response) => response,
            Err(error) => return Err(("an answer is what the state gives", format!("{error}"))),
        };
        let current = response.revision;
        if current < op.floor.revision || current > self.model.revision() {
            let what = format!("read at {current}; {} was known before", op.floor.revision);
            return Err(("linearizable", what));
        }
        let checked = self.model.check_txn(request, response, current, current);
        checked.map(|_| ()).map_err(|what| ("an answer is what the state gives", what))
    }
}
