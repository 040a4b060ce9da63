//! What can be said of operations of unknown outcome before the search: which of them were seen
//! to take effect, and which nobody can tell apart.
//!
//! 1. A value that only one request writes, seen at a revision, tells that this request took
//!    effect and made that revision. In every order that explains the answers it did.
//! 2. A value that nobody saw and nothing compares with is as good as any other that nobody saw:
//!    in an order that uses the one the other can stand in its place. All get one name, so that
//!    the search counts such writes of a key instead of telling them apart.

use std::collections::{HashMap, HashSet};

use base::Blob;

use super::EtcdOperation;
use super::types::{Reply, Request, Response, Seen, SortTarget, Target};
use crate::FoldState;

type Pair = (Blob, Blob);

/// What is known of all requests and answers together.
pub struct Narrow {
    /// How many requests write a value to a key.
    writers: HashMap<Pair, u32, FoldState>,
    /// At which revision a value was seen; none where that was not recorded, or differs.
    seen: HashMap<Pair, Option<i64>, FoldState>,
    /// Some request keeps a value that another wrote.
    keeps: bool,
    /// Some request depends on the order of values.
    compares: bool,
    /// The name of all unseen values.
    unseen: Blob,
}

impl Narrow {
    /// `held`: keys and values before the first operation.
    pub fn new(ops: &[EtcdOperation], held: impl IntoIterator<Item = Pair>) -> Self {
        let mut all = Self {
            writers: HashMap::default(),
            seen: HashMap::default(),
            keeps: false,
            compares: false,
            unseen: Blob::default(),
        };
        for pair in held {
            *all.writers.entry(pair).or_insert(0) += 1;
        }
        for op in ops {
            all.read_request(&op.input);
            if let Some(reply) = op.output.as_ref().and_then(|response| response.reply.as_ref()) {
                all.read_reply(reply);
            }
        }
        all
    }

    /// Somebody saw this, in an answer or on a watch.
    pub fn read_seen(&mut self, seen: &Seen) {
        let Some(value) = &seen.value else { return };
        let known = self.seen.entry((seen.key.clone(), value.clone())).or_insert(seen.mod_revision);
        if *known != seen.mod_revision {
            *known = None;
        }
    }

    /// The same operations, with what is known of them. Revisions that are told so are added to
    /// `claimed`.
    pub fn apply(
        mut self,
        ops: &[EtcdOperation],
        claimed: &mut HashSet<i64, FoldState>,
    ) -> Vec<EtcdOperation> {
        let mut name = b"unseen".to_vec();
        let values: HashSet<&Blob> = self.seen.keys().map(|(_, value)| value).collect();
        while values.contains(&Blob::from(name.as_slice())) {
            name.push(b'*');
        }
        self.unseen = Blob::from(name.as_slice());
        let mut ops = ops.to_vec();
        for op in &mut ops {
            if op.output.as_ref().is_none_or(|response| response.revision.is_none())
                && let Some(revision) = self.revision(&op.input)
            {
                let output = op.output.get_or_insert_with(|| {
                    // Nobody waits for an answer of it.
                    op.returned = None;
                    Response::default()
                });
                output.revision = Some(revision);
                claimed.insert(revision);
            }
            if op.is_unknown() && !self.compares {
                self.rename(&mut op.input);
            }
        }
        ops
    }

    fn read_request(&mut self, request: &Request) {
        match request {
            Request::Range(range) => self.compares |= range.sort_target == SortTarget::Value,
            Request::Put(put) if put.ignore_value => self.keeps = true,
            Request::Put(put) => {
                *self.writers.entry((put.key.clone(), put.value.clone())).or_insert(0) += 1;
            }
            Request::Txn(txn) => {
                let by_value = |target: &Target| matches!(target, Target::Value(_));
                self.compares |= txn.compare.iter().any(|compare| by_value(&compare.target));
                txn.success.iter().chain(&txn.failure).for_each(|nested| self.read_request(nested));
            }
            Request::Delete(_) | Request::Revoke { .. } => {}
        }
    }

    fn read_reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Range { kvs, .. } => kvs.iter().for_each(|seen| self.read_seen(seen)),
            Reply::Put { prev: Some(Some(seen)) } => self.read_seen(seen),
            Reply::Delete { prev: Some(seen), .. } => {
                seen.iter().for_each(|seen| self.read_seen(seen));
            }
            Reply::Txn { replies, .. } => replies.iter().for_each(|nested| self.read_reply(nested)),
            Reply::Put { .. } | Reply::Delete { .. } | Reply::Revoke => {}
        }
    }

    /// The revision that this request certainly made, by what it wrote.
    fn revision(&self, request: &Request) -> Option<i64> {
        match request {
            _ if self.keeps => None,
            Request::Put(put) => {
                let pair = (put.key.clone(), put.value.clone());
                let alone = self.writers.get(&pair) == Some(&1);
                self.seen.get(&pair).copied().flatten().filter(|_| alone)
            }
            Request::Txn(txn) => {
                txn.success.iter().chain(&txn.failure).find_map(|nested| self.revision(nested))
            }
            Request::Range(_) | Request::Delete(_) | Request::Revoke { .. } => None,
        }
    }

    fn rename(&self, request: &mut Request) {
        match request {
            Request::Put(put) if !put.ignore_value => {
                let pair = (put.key.clone(), put.value.clone());
                if !self.seen.contains_key(&pair) {
                    put.value = self.unseen.clone();
                }
            }
            Request::Txn(txn) => {
                txn.success.iter_mut().chain(&mut txn.failure).for_each(|x| self.rename(x));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Put, Range};
    use super::*;

    fn put(key: &str, value: &str) -> Request {
        let blob = |text: &str| Blob::from(text.as_bytes());
        Request::Put(Put { key: blob(key), value: blob(value), ..Put::default() })
    }

    fn op(input: Request, output: Option<Response>) -> EtcdOperation {
        let returned = output.is_some().then_some(9);
        EtcdOperation { process: 0, input, output, invoked: 1, returned }
    }

    fn read(value: &str, mod_revision: i64) -> EtcdOperation {
        let (key, value) = (Blob::from(&b"k"[..]), Some(Blob::from(value.as_bytes())));
        let mod_revision = Some(mod_revision);
        let kvs = vec![Seen { key, value, mod_revision, ..Seen::default() }];
        let reply = Some(Reply::Range { kvs, count: None, more: None });
        op(Request::Range(Range::default()), Some(Response { revision: None, reply }))
    }

    #[test]
    fn what_was_seen_is_known_and_what_was_not_is_alike() {
        let ops = [
            op(put("k", "a"), None),
            op(put("k", "b"), None),
            op(put("k", "c"), None),
            op(put("k", "twice"), None),
            op(put("k", "twice"), None),
            read("a", 7),
            read("twice", 8),
        ];
        let mut claimed = HashSet::default();
        let known = Narrow::new(&ops, []).apply(&ops, &mut claimed);
        assert_eq!(known[0].output.as_ref().and_then(|output| output.revision), Some(7));
        assert_eq!(claimed.into_iter().collect::<Vec<_>>(), [7]);
        assert_eq!(known[1].input, known[2].input);
        assert_ne!(known[1].input, ops[1].input);
        assert_eq!(known[3..], ops[3..], "two may have written it, and it was seen");
    }

    #[test]
    fn values_that_are_compared_keep_their_names() {
        let by_value = Range { sort_target: SortTarget::Value, ..Range::default() };
        let ops = [op(put("k", "a"), None), op(Request::Range(by_value), None)];
        assert_eq!(Narrow::new(&ops, []).apply(&ops, &mut HashSet::default()), ops);
    }
}
