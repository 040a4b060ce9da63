//! What answers tell of the revisions between those they name: where a key was left alone, and
//! how many writes it still needs. A write of unknown outcome that contradicts this is not tried.
//!
//! 1. A read at revision R that found a key last written at M says that nothing wrote the key in
//!    (M, R].
//! 2. A version counts the writes of one life of a key. Of those between two revisions the
//!    answered ones are known, so it is known how many are missing: not less than none, and not
//!    more than there are revisions which somebody unknown may have made.
//! 3. A key that lives and is not there later was deleted in between, by somebody known or not.

use std::collections::{BTreeMap, HashMap};

use base::Blob;

use super::types::{Reply, Request};
use crate::FoldState;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Between {
    /// Of each key: the revision that wrote it, and the last at which nothing had since.
    quiet: HashMap<Blob, BTreeMap<i64, i64>, FoldState>,
    /// Of each key: revisions that certainly put it, ascending.
    puts: HashMap<Blob, Vec<i64>, FoldState>,
    /// Revisions of which it is known what they put, ascending.
    told: Vec<i64>,
    /// Of each key: revisions at which it was not there, ascending.
    gone: HashMap<Blob, Vec<i64>, FoldState>,
    /// Of each key: revisions that certainly deleted it alone, ascending.
    deaths: HashMap<Blob, Vec<i64>, FoldState>,
    /// Revisions that deleted something, and it is not said here what, ascending.
    wide: Vec<i64>,
}

impl Between {
    /// `key` was last written at `written` when the store was at `until`.
    pub fn saw(&mut self, key: &Blob, written: i64, until: i64) {
        if written < until {
            let ends = self.quiet.entry(key.clone()).or_default().entry(written).or_insert(until);
            *ends = until.max(*ends);
        }
    }

    /// `key` was not there when the store was at `revision`.
    pub fn missed(&mut self, key: &Blob, revision: i64) {
        self.gone.entry(key.clone()).or_default().push(revision);
    }

    /// A request with this answer made this revision.
    pub fn made(&mut self, revision: i64, request: &Request, reply: Option<&Reply>) {
        match request {
            Request::Delete(delete) if delete.range_end.is_empty() => {
                self.deaths.entry(delete.key.clone()).or_default().push(revision);
            }
            Request::Put(_) => {}
            _ => self.wide.push(revision),
        }
        let mut puts = Puts::default();
        let told = puts.add(request, reply);
        // A key that is deleted and put in one revision begins a life at it: better not told.
        if told && (!puts.deletes || puts.keys.is_empty()) {
            for key in puts.keys {
                self.puts.entry(key.clone()).or_default().push(revision);
            }
            self.told.push(revision);
        }
    }

    /// After the last [`Self::made`].
    pub fn sort(&mut self) {
        let own = [&mut self.puts, &mut self.gone, &mut self.deaths];
        let own = own.into_iter().flat_map(HashMap::values_mut);
        for revisions in own.chain([&mut self.told, &mut self.wide]) {
            revisions.sort_unstable();
            revisions.dedup();
        }
    }

    /// The first revision after `after`, and not after `to`, at which `key` was not there.
    pub fn gone_by(&self, key: &Blob, after: i64, to: i64) -> Option<i64> {
        let gone = self.gone.get(key)?;
        let first = gone.get(gone.partition_point(|&at| at <= after)).copied()?;
        (first <= to).then_some(first)
    }

    /// Deletes that nobody answered for, if `key` lives at `after` and is gone by `to`; none if
    /// that cannot be.
    pub fn death_missing(&self, key: &Blob, after: i64, to: i64) -> Option<i64> {
        let deaths = self.deaths.get(key).map_or(0, |deaths| inside(deaths, after, to));
        if deaths + inside(&self.wide, after, to) > 0 {
            return Some(0);
        }
        (self.open(after, to) > 0).then_some(1)
    }

    /// Whether nothing can have written `key` at `revision`.
    pub fn is_quiet(&self, key: &Blob, revision: i64) -> bool {
        let before = self.quiet.get(key).and_then(|all| all.range(..revision).next_back());
        before.is_some_and(|(_, &until)| until >= revision)
    }

    /// Of `writes` of a key in (`after`, `to`], how many nobody answered for; none if that
    /// cannot be.
    pub fn missing(&self, key: &Blob, after: i64, to: i64, writes: i64) -> Option<i64> {
        let known = self.puts.get(key).map_or(0, |puts| inside(puts, after, to));
        let missing = writes - known;
        (0..=self.open(after, to)).contains(&missing).then_some(missing)
    }

    /// Revisions in (`after`, `to`] of which it is not known what they put.
    pub fn open(&self, after: i64, to: i64) -> i64 {
        to.saturating_sub(after) - inside(&self.told, after, to)
    }
}

fn inside(ascending: &[i64], after: i64, to: i64) -> i64 {
    let until = |end: i64| ascending.partition_point(|&at| at <= end);
    until(to).saturating_sub(until(after)) as i64
}

/// What a request put, and whether it deleted anything.
#[derive(Default)]
struct Puts<'a> {
    keys: Vec<&'a Blob>,
    deletes: bool,
}

impl<'a> Puts<'a> {
    /// False if it is not known what a request with this answer put.
    fn add(&mut self, request: &'a Request, reply: Option<&Reply>) -> bool {
        match (request, reply) {
            (Request::Put(put), _) => self.keys.push(&put.key),
            (Request::Delete(_), _) => self.deletes = true,
            (Request::Range(_), _) => {}
            (Request::Txn(txn), Some(Reply::Txn { succeeded, replies })) => {
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                let mut pairs = branch.iter().zip(replies);
                return branch.len() == replies.len()
                    && pairs.all(|(request, reply)| self.add(request, Some(reply)));
            }
            (Request::Txn(_) | Request::Revoke { .. }, _) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Put, Range, Txn};
    use super::*;

    fn key(text: &str) -> Blob {
        Blob::from(text.as_bytes())
    }

    fn put(text: &str) -> Request {
        Request::Put(Put { key: key(text), ..Put::default() })
    }

    #[test]
    fn a_key_is_quiet_from_its_write_to_the_last_read_that_found_it() {
        let mut between = Between::default();
        between.saw(&key("a"), 4, 9);
        between.saw(&key("a"), 4, 7);
        between.saw(&key("a"), 12, 12);
        let quiet: Vec<i64> = (1..15).filter(|at| between.is_quiet(&key("a"), *at)).collect();
        assert_eq!(quiet, [5, 6, 7, 8, 9]);
        assert!(!between.is_quiet(&key("b"), 5));
    }

    #[test]
    fn a_key_that_is_gone_later_was_deleted_by_somebody_known_or_not() {
        let delete = |text: &str, end: &str| {
            Request::Delete(super::super::types::Delete { key: key(text), range_end: key(end) })
        };
        let mut between = Between::default();
        between.missed(&key("a"), 9);
        between.missed(&key("a"), 4);
        between.made(3, &delete("a", ""), None);
        between.made(6, &delete("b", ""), None);
        between.made(7, &put("c"), None);
        between.made(12, &delete("a", "c"), None);
        between.sort();
        let (a, b) = (key("a"), key("b"));
        assert_eq!(between.gone_by(&a, 4, 20), Some(9));
        assert_eq!((between.gone_by(&a, 4, 8), between.gone_by(&a, 9, 20)), (None, None));
        assert_eq!(between.death_missing(&a, 2, 3), Some(0), "it is known");
        assert_eq!(between.death_missing(&a, 5, 7), None, "it is another key's");
        assert_eq!(between.death_missing(&b, 6, 8), Some(1), "8 is open");
        assert_eq!(between.death_missing(&b, 11, 12), Some(0), "it may be that one");
    }

    #[test]
    fn what_a_version_says_beyond_the_answered_writes_is_missing() {
        let mut between = Between::default();
        let txn =
            Txn { success: vec![put("a"), Request::Range(Range::default())], ..Txn::default() };
        let some = Reply::Range { kvs: vec![], count: None, more: None };
        let replies = vec![Reply::Put { prev: None }, some];
        let reply = Reply::Txn { succeeded: true, replies };
        between.made(7, &Request::Txn(txn.clone()), Some(&reply));
        between.made(5, &put("a"), None);
        between.made(6, &put("b"), None);
        between.made(9, &Request::Txn(txn), None);
        between.sort();
        // Of 5 to 10 the revisions 8, 9 and 10 are open, and two writes of "a" are known.
        assert_eq!(between.open(4, 10), 3);
        assert_eq!(between.missing(&key("a"), 4, 10, 2), Some(0));
        assert_eq!(between.missing(&key("a"), 4, 10, 5), Some(3));
        assert_eq!(between.missing(&key("a"), 4, 10, 6), None, "more than are open");
        assert_eq!(between.missing(&key("a"), 4, 10, 1), None, "fewer than are known");
    }
}
