//! Transactions: which branch, and what its operations must have answered.

use super::Model;
use mvcc::{
    Compare, CompareOp, CompareTarget, DeleteRequest, KeyRange, KeyValue, PutRequest, RequestOp,
    ResponseOp, TxnRequest, TxnResponse,
};
use std::cmp::Ordering;

/// What one answer shows about the state it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Keys it wrote, for the revision that must hold exactly these.
    pub puts: Vec<(base::Blob, base::Blob)>,
    pub deletes: Vec<base::Blob>,
}

impl Model {
    /// Checks a transaction's answer: compares see the state at `before`, reads that precede
    /// every write see it too.
    pub fn check_txn(
        &self,
        request: &TxnRequest,
        response: &TxnResponse,
        before: i64,
        current: i64,
    ) -> Result<Answer, String> {
        let mut answer = Answer { puts: Vec::new(), deletes: Vec::new() };
        self.check_level(request, response, before, current, &mut answer)?;
        Ok(answer)
    }

    fn check_level(
        &self,
        request: &TxnRequest,
        response: &TxnResponse,
        before: i64,
        current: i64,
        answer: &mut Answer,
    ) -> Result<(), String> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare, before));
        if response.succeeded != succeeded {
            return Err(format!("compares at {before} give {succeeded}: {:?}", request.compare));
        }
        let ops = if succeeded { &request.success } else { &request.failure };
        if ops.len() != response.responses.len() {
            return Err(format!("{} operations, {} answers", ops.len(), response.responses.len()));
        }
        for (op, got) in ops.iter().zip(&response.responses) {
            match (op, got) {
                (RequestOp::Range(request), ResponseOp::Range(got)) => {
                    if answer.puts.is_empty() && answer.deletes.is_empty() {
                        let want = self.range(request, before);
                        if *got != want {
                            return Err(format!("range at {before}: {got:?}, expected {want:?}"));
                        }
                    }
                }
                (RequestOp::Put(request), ResponseOp::Put(got)) => {
                    self.check_put(request, got.prev_kv.as_ref(), got.revision, current)?;
                    answer.puts.push((request.key.clone(), request.value.clone()));
                }
                (RequestOp::Delete(request), ResponseOp::Delete(got)) => {
                    let untouched = answer.puts.is_empty() && answer.deletes.is_empty();
                    self.check_delete(request, got, before, untouched, answer)?;
                }
                (RequestOp::Txn(request), ResponseOp::Txn(got)) => {
                    self.check_level(request, got, before, current, answer)?;
                }
                _ => return Err(format!("{op:?} was answered by {got:?}")),
            }
        }
        Ok(())
    }

    fn check_put(
        &self,
        request: &PutRequest,
        prev: Option<&KeyValue>,
        revision: i64,
        current: i64,
    ) -> Result<(), String> {
        if revision != current {
            return Err(format!("a put of revision {current} says {revision}"));
        }
        if !request.prev_kv && prev.is_some() {
            return Err("a previous value nobody asked for".to_owned());
        }
        Ok(())
    }

    fn check_delete(
        &self,
        request: &DeleteRequest,
        got: &mvcc::DeleteResponse,
        before: i64,
        untouched: bool,
        answer: &mut Answer,
    ) -> Result<(), String> {
        if !untouched {
            // Keys put earlier in the same transaction may be among them.
            return Ok(());
        }
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let live = self.live(&range, before);
        if got.deleted != live.len() as i64 {
            return Err(format!("{} deleted, {} were there at {before}", got.deleted, live.len()));
        }
        if request.prev_kv && got.prev_kvs.iter().ne(live.iter().copied()) {
            return Err(format!("deleted {:?}, expected {live:?}", got.prev_kvs));
        }
        answer.deletes.extend(live.into_iter().map(|kv| kv.key.clone()));
        Ok(())
    }

    fn holds(&self, compare: &Compare, revision: i64) -> bool {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        let live = self.live(&range, revision);
        if live.is_empty() {
            let is_value = matches!(compare.target, CompareTarget::Value(_));
            return !is_value && holds_for(compare, &KeyValue::default());
        }
        live.into_iter().all(|kv| holds_for(compare, kv))
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let found = match &compare.target {
        CompareTarget::Version(x) => kv.version.cmp(x),
        CompareTarget::Create(x) => kv.create_revision.cmp(x),
        CompareTarget::Mod(x) => kv.mod_revision.cmp(x),
        CompareTarget::Value(x) => kv.value.cmp(x),
        CompareTarget::Lease(x) => kv.lease.cmp(x),
    };
    match compare.op {
        CompareOp::Equal => found == Ordering::Equal,
        CompareOp::NotEqual => found != Ordering::Equal,
        CompareOp::Greater => found == Ordering::Greater,
        CompareOp::Less => found == Ordering::Less,
    }
}
