//! A range read in slices.

use crate::budget::Budget;
use crate::check;
use crate::command::Error;
use crate::index::Facts;
use crate::key_range::KeyRange;
use crate::layers::KeyRef;
use crate::sorter::{Order, Sorter};
use crate::types::{KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};
use crate::view::View;
use alloc::vec::Vec;
use base::{Blob, LogIndex, planted};
use rest::Rest;

mod rest;

pub use rest::Counted;

/// One range read, begun and not ended. It holds no view: whoever runs it gives it the one that it
/// began on, each time.
pub struct RangeWork {
    request: RangeRequest,
    range: KeyRange,
    /// The revision read.
    revision: i64,
    /// The newest revision there is, for the reader.
    current: i64,
    applied: LogIndex,
    /// Keys wanted; none when all are.
    limit: Option<usize>,
    /// Live keys looked at for more than their number.
    fetch: usize,
    /// Live keys so far.
    count: usize,
    /// Those of them that pass the filters.
    found: usize,
    /// The last key looked at.
    after: Option<Blob>,
    stage: Stage,
    /// How keys are counted that need not be looked at.
    rest: Rest,
    sorter: Option<Sorter<KeyValue>>,
    kvs: Vec<KeyValue>,
}

/// Versions are read so many at once: where they stand is no order, and the processor fetches many
/// places while it waits for one.
const READ_AHEAD: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Scan,
    Count,
    Sort,
    /// Of what only the sort needed; up to this place it is done.
    Strip(usize),
    Done,
}

impl RangeWork {
    /// A plain range of what `view` holds, the way `KV.Range` answers it.
    ///
    /// # Errors
    /// `EmptyKey`, `Compacted`, `FutureRevision`.
    pub fn start(view: &View, request: &RangeRequest) -> Result<Self, Error> {
        check::range(request)?;
        Self::at(view, request, view.revision)
    }

    /// With `current` as the newest revision (one ahead inside a transaction that wrote).
    pub(crate) fn at(view: &View, r: &RangeRequest, current: i64) -> Result<Self, Error> {
        let ahead = current - view.revision;
        assert!((0..=1).contains(&ahead), "a command makes one revision at most");
        if r.revision > current {
            return Err(Error::FutureRevision);
        }
        let revision = if r.revision <= 0 { current } else { r.revision };
        if revision < view.compact_revision {
            return Err(Error::Compacted);
        }
        assert!(0 < revision && revision <= current, "what is read is there");
        let limit = usize::try_from(r.limit).ok().filter(|limit| *limit > 0);
        // One more than asked tells `more`. etcd limits before a sort whose order is NONE.
        let fetch = limit.filter(|_| is_in_key_order(r) && !has_filters(r));
        let fetch = if r.count_only { 0 } else { fetch.map_or(usize::MAX, |limit| limit + 1) };
        let order = order_of(r).filter(|_| !r.count_only);
        let sorter = order.map(|order| Sorter::new(order, limit.unwrap_or(usize::MAX)));
        let range = KeyRange::new(r.key.clone(), r.range_end.clone());
        Ok(Self {
            rest: Rest::new(view, &range, revision, current),
            range,
            request: r.clone(),
            revision,
            current,
            applied: view.applied,
            limit,
            fetch,
            count: 0,
            found: 0,
            after: None,
            stage: Stage::Scan,
            sorter,
            kvs: Vec::new(),
        })
    }

    /// An earlier read of the same revision and the same end has counted from a key at or below the
    /// first one: what this one does not answer need not be looked at. To be said before it runs.
    pub fn knowing(mut self, view: &View, counted: Counted) -> Self {
        assert!(self.count == 0 && self.stage == Stage::Scan, "it has not begun");
        self.rest = self.rest.knowing(view, &self.range, counted);
        self
    }

    /// Goes on for as long as the budget lasts; the answer once it is whole.
    ///
    /// Panics when `view` is not the one that the work began on, and after the answer.
    pub fn run(&mut self, view: &View, budget: &mut Budget) -> Option<RangeResponse> {
        assert_eq!(view.applied, self.applied, "a range is read from one view");
        assert!(self.stage != Stage::Done, "it was answered");
        if self.stage == Stage::Scan {
            self.stage = self.scan(view, budget)?;
        }
        if self.stage == Stage::Count {
            let live = self.rest.count(view, (&self.range, self.revision), budget)?;
            self.count = self.count.max(live);
            self.stage = Stage::Sort;
        }
        if self.stage == Stage::Sort {
            if let Some(sorter) = &mut self.sorter {
                self.kvs = sorter.finish(budget)?;
            }
            self.stage = Stage::Strip(0);
        }
        if let Stage::Strip(from) = self.stage
            && self.sorter.is_some()
            && self.request.keys_only
        {
            let upto = self.kvs.len().min(from.saturating_add(budget.batch(usize::MAX)));
            assert!(from <= upto, "a value is stripped once");
            self.kvs[from..upto].iter_mut().for_each(|kv| strip(&self.request, kv));
            budget.spend((upto - from) as u64);
            self.stage = Stage::Strip(upto);
            if upto < self.kvs.len() {
                return None;
            }
        }
        self.stage = Stage::Done;
        self.check_answer();
        Some(RangeResponse {
            revision: self.current,
            kvs: core::mem::take(&mut self.kvs),
            more: self.limit.is_some_and(|limit| self.found > limit),
            count: i64::try_from(self.count).expect("fits memory"),
        })
    }

    fn check_answer(&self) {
        let (kvs, found) = (self.kvs.len(), self.found);
        assert!(kvs <= found, "only what was found is answered");
        assert!(self.limit.is_none_or(|limit| kvs <= limit), "no more than was asked for");
        assert!(!self.request.count_only || found == 0, "who counts looks at nothing else");
        let blind = planted!(TxnReadMissesOwnWrite);
        assert!(found <= self.count || blind, "what passes the filters is live");
        let whole = self.limit.is_some() || self.request.count_only || kvs == found;
        assert!(whole, "without a limit all that was found is answered");
    }

    /// Looks at the keys of the range; at its end says what comes next.
    fn scan(&mut self, view: &View, budget: &mut Budget) -> Option<Stage> {
        let mut ahead = Vec::new();
        let stage = self.scan_ahead(view, budget, &mut ahead);
        self.read(view, &mut ahead);
        stage
    }

    /// Leaves in `ahead` of which versions the values are still to be read.
    fn scan_ahead(
        &mut self,
        view: &View,
        budget: &mut Budget,
        ahead: &mut Vec<Facts>,
    ) -> Option<Stage> {
        let (range, mut last) = (self.range.clone(), None);
        for (key, facts) in view.live(&range, self.after.clone(), self.revision, self.current) {
            if self.count >= self.fetch && !matches!(self.rest, Rest::Looked) {
                return Some(Stage::Count);
            }
            if !budget.is_left() {
                if let Some(last) = last {
                    self.after = Some(KeyRef::key(&last));
                }
                return None;
            }
            budget.spend(1);
            if let Some(facts) = facts {
                self.count += 1;
                if self.count <= self.fetch && passes(&self.request, &facts) {
                    self.found += 1;
                    self.take(view, &key, facts, ahead);
                }
            }
            last = Some(key);
        }
        Some(Stage::Sort)
    }

    fn take(&mut self, view: &View, key: &KeyRef<'_>, facts: Facts, ahead: &mut Vec<Facts>) {
        let is_wanted = self.limit.is_none_or(|limit| self.found <= limit);
        match &self.sorter {
            None if !is_wanted => {}
            // No value is looked for that nobody wants.
            None if self.request.keys_only => {
                let mut kv = facts.key_value(key.key());
                strip(&self.request, &mut kv);
                self.kvs.push(kv);
            }
            _ => ahead.push(facts),
        }
        if ahead.len() == READ_AHEAD {
            self.read(view, ahead);
        }
    }

    fn read(&mut self, view: &View, ahead: &mut Vec<Facts>) {
        let made: Vec<_> = ahead.iter().map(|facts| view.made(facts.mod_revision)).collect();
        let records =
            made.into_iter().zip(&*ahead).map(|(made, facts)| view.record_of(made, facts));
        let records: Vec<_> = records.collect();
        let kvs = records.into_iter().map(|record| record.kv.clone());
        match &mut self.sorter {
            Some(sorter) => kvs.for_each(|kv| sorter.push(kv)),
            None => self.kvs.extend(kvs),
        }
        ahead.clear();
    }
}

impl View {
    /// A plain range, the way `KV.Range` answers it.
    ///
    /// # Errors
    /// `EmptyKey`, `Compacted`, `FutureRevision`.
    pub fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        let mut work = RangeWork::start(self, request)?;
        Ok(work.run(self, &mut Budget::endless()).expect("the budget is endless"))
    }

    /// The same as [`View::read`].
    ///
    /// # Errors
    /// As `read`.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.read(request)
    }
}

/// What is limited before it is sorted, if it is sorted at all.
fn is_in_key_order(r: &RangeRequest) -> bool {
    let by_key = r.sort_order == SortOrder::Ascend && r.sort_target == SortTarget::Key;
    r.sort_order == SortOrder::None || by_key
}

fn has_filters(r: &RangeRequest) -> bool {
    let filters =
        [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision];
    filters.iter().any(|revision| *revision != 0)
}

fn passes(r: &RangeRequest, kv: &Facts) -> bool {
    let within = |x: i64, min: i64, max: i64| (min == 0 || x >= min) && (max == 0 || x <= max);
    within(kv.mod_revision, r.min_mod_revision, r.max_mod_revision)
        && within(kv.create_revision, r.min_create_revision, r.max_create_revision)
}

/// None for the order of keys. A target other than the key with order NONE sorts ascending. Equal
/// ones stay in the order of keys.
fn order_of(r: &RangeRequest) -> Option<Order<KeyValue>> {
    let is_down = r.sort_order == SortOrder::Descend;
    Some(match (r.sort_target, is_down) {
        (SortTarget::Key, false) => return None,
        (SortTarget::Key, true) => |a, b| b.key.cmp(&a.key),
        (SortTarget::Version, false) => |a, b| a.version.cmp(&b.version),
        (SortTarget::Version, true) => |a, b| b.version.cmp(&a.version),
        (SortTarget::Create, false) => |a, b| a.create_revision.cmp(&b.create_revision),
        (SortTarget::Create, true) => |a, b| b.create_revision.cmp(&a.create_revision),
        (SortTarget::Mod, false) => |a, b| a.mod_revision.cmp(&b.mod_revision),
        (SortTarget::Mod, true) => |a, b| b.mod_revision.cmp(&a.mod_revision),
        (SortTarget::Value, false) => |a, b| a.value.cmp(&b.value),
        (SortTarget::Value, true) => |a, b| b.value.cmp(&a.value),
    })
}

/// etcd strips values after the sort.
fn strip(r: &RangeRequest, kv: &mut KeyValue) {
    assert!(r.keys_only, "values go only when nobody wants them");
    kv.value = Blob::default();
    // etcd 3.7 answers these from its index, which knows no lease.
    if r.sort_target != SortTarget::Value {
        kv.lease = 0;
    }
}
