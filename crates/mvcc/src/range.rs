//! A range read in slices.

use crate::budget::Budget;
use crate::check;
use crate::command::Error;
use crate::index::Facts;
use crate::key_range::KeyRange;
use crate::layers::KeyRef;
use crate::sorter::{Order, Sorter};
use crate::types::{KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};
use crate::values::{InMemory, Values};
use crate::version::Record;
use crate::view::{self, View};
use alloc::sync::Arc;
use alloc::vec::{self, Vec};
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
    sorter: Option<Sorter<Item>>,
    /// In its order, and still to be answered.
    sorted: vec::IntoIter<Item>,
    /// Versions of which the value is still to be read.
    ahead: Vec<Facts>,
    kvs: Vec<KeyValue>,
}

/// A version on its way through a sort, its value with it only where the order is that of values.
struct Item {
    kv: KeyValue,
    facts: Facts,
}

/// Versions are read so many at once: where they stand is no order, and the processor fetches many
/// places while it waits for one.
const READ_AHEAD: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Scan,
    /// All keys are looked at, the last values are to be read; then whether the rest is counted.
    Read(bool),
    Count,
    Sort,
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
            sorted: Vec::new().into_iter(),
            ahead: Vec::new(),
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

    /// Goes on for as long as the budget lasts, and the values that it needs are at hand; the
    /// answer once it is whole.
    ///
    /// Panics when `view` is not the one that the work began on, and after the answer.
    pub fn run(
        &mut self,
        view: &View,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<RangeResponse> {
        assert_eq!(view.applied, self.applied, "a range is read from one view");
        assert!(self.stage != Stage::Done, "it was answered");
        if self.stage == Stage::Scan {
            self.stage = Stage::Read(self.scan(view, values, budget)?);
        }
        if let Stage::Read(counts) = self.stage {
            self.read(view, values)?;
            self.stage = if counts { Stage::Count } else { Stage::Sort };
        }
        if self.stage == Stage::Count {
            let live = self.rest.count(view, (&self.range, self.revision), values, budget)?;
            self.count = self.count.max(live);
            self.stage = Stage::Sort;
        }
        if self.stage == Stage::Sort {
            self.sort(view, values, budget)?;
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

    /// Looks at the keys of the range; at its end whether the rest is counted.
    fn scan(&mut self, view: &View, values: &mut dyn Values, budget: &mut Budget) -> Option<bool> {
        if self.ahead.len() == READ_AHEAD {
            self.read(view, values)?;
        }
        if self.range.single().is_some() {
            // Nothing is gone through for one key.
            let key = self.range.first().clone();
            budget.spend(1);
            if let Some(facts) = view.live_at(&key, self.revision) {
                self.found_live(facts, || key);
            }
            return Some(false);
        }
        let (range, mut last) = (self.range.clone(), None);
        for (key, facts) in view.live(&range, self.after.clone(), self.revision, self.current) {
            if self.count >= self.fetch && !matches!(self.rest, Rest::Looked) {
                return Some(true);
            }
            if !budget.is_left() {
                if let Some(last) = last {
                    self.after = Some(KeyRef::key(&last));
                }
                return None;
            }
            budget.spend(1);
            if let Some(facts) = facts {
                self.found_live(facts, || key.key());
            }
            if self.ahead.len() == READ_AHEAD && self.read(view, values).is_none() {
                self.after = Some(key.key());
                return None;
            }
            last = Some(key);
        }
        Some(false)
    }

    fn found_live(&mut self, facts: Facts, key: impl FnOnce() -> Blob) {
        self.count += 1;
        if self.count <= self.fetch && passes(&self.request, &facts) {
            self.found += 1;
            self.take(key, facts);
        }
    }

    fn take(&mut self, key: impl FnOnce() -> Blob, facts: Facts) {
        let is_wanted = self.limit.is_none_or(|limit| self.found <= limit);
        let by_value = self.request.sort_target == SortTarget::Value;
        match &mut self.sorter {
            None if !is_wanted => {}
            // No value is looked for that nobody wants.
            None if self.request.keys_only => {
                let mut kv = facts.key_value(key());
                strip(&self.request, &mut kv);
                self.kvs.push(kv);
            }
            Some(sorter) if !by_value => {
                sorter.push(Item { kv: facts.key_value(key()), facts });
            }
            _ => self.ahead.push(facts),
        }
    }

    /// Takes in those whose values were to be read, all or none: they are looked for together.
    fn read(&mut self, view: &View, values: &mut dyn Values) -> Option<()> {
        if let ([facts], None) = (&self.ahead[..], &self.sorter) {
            self.kvs.push(view.version(facts, values)?.kv.clone());
            self.ahead.clear();
            return Some(());
        }
        let records = read(view, &self.ahead, values)?;
        for (record, facts) in records.into_iter().zip(self.ahead.drain(..)) {
            let kv = record.kv.clone();
            match &mut self.sorter {
                Some(sorter) => sorter.push(Item { kv, facts }),
                None => self.kvs.push(kv),
            }
        }
        Some(())
    }

    /// What is sorted comes into its order, and into the answer a few at a time, with the values
    /// that are answered and were not needed before.
    fn sort(&mut self, view: &View, values: &mut dyn Values, budget: &mut Budget) -> Option<()> {
        if let Some(sorter) = &mut self.sorter {
            self.sorted = sorter.finish(budget)?.into_iter();
            self.sorter = None;
        }
        let keys_only = self.request.keys_only;
        let lacks_values = self.request.sort_target != SortTarget::Value && !keys_only;
        while self.sorted.len() > 0 {
            let some = self.sorted.len().min(budget.batch(READ_AHEAD));
            if some == 0 {
                return None;
            }
            budget.spend(some as u64);
            if lacks_values {
                let next = self.sorted.as_slice()[..some].iter();
                let facts: Vec<Facts> = next.map(|item| item.facts).collect();
                let records = read(view, &facts, values)?;
                self.kvs.extend(records.into_iter().map(|record| record.kv.clone()));
                self.sorted.by_ref().take(some).for_each(drop);
            } else {
                let request = &self.request;
                let told = self.sorted.by_ref().take(some).map(|mut item| {
                    if keys_only {
                        strip(request, &mut item.kv);
                    }
                    item.kv
                });
                self.kvs.extend(told);
            }
        }
        Some(())
    }
}

/// The versions with these facts, unless one of them is not at hand; then all have been asked for.
fn read(view: &View, ahead: &[Facts], values: &mut dyn Values) -> Option<Vec<Arc<Record>>> {
    let places: Vec<_> = ahead.iter().map(|facts| view.made(facts.mod_revision)).collect();
    let both = places.iter().zip(ahead);
    let records: Vec<_> = both.map(|(place, facts)| view::of(place, facts, values)).collect();
    records.into_iter().collect()
}

impl View {
    /// A plain range, the way `KV.Range` answers it, of a store that has all in memory.
    ///
    /// # Errors
    /// `EmptyKey`, `Compacted`, `FutureRevision`.
    pub fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        let mut work = RangeWork::start(self, request)?;
        Ok(work.run(self, &mut InMemory, &mut Budget::endless()).expect("the budget is endless"))
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
fn order_of(r: &RangeRequest) -> Option<Order<Item>> {
    let is_down = r.sort_order == SortOrder::Descend;
    Some(match (r.sort_target, is_down) {
        (SortTarget::Key, false) => return None,
        (SortTarget::Key, true) => |a, b| b.kv.key.cmp(&a.kv.key),
        (SortTarget::Version, false) => |a, b| a.kv.version.cmp(&b.kv.version),
        (SortTarget::Version, true) => |a, b| b.kv.version.cmp(&a.kv.version),
        (SortTarget::Create, false) => |a, b| a.kv.create_revision.cmp(&b.kv.create_revision),
        (SortTarget::Create, true) => |a, b| b.kv.create_revision.cmp(&a.kv.create_revision),
        (SortTarget::Mod, false) => |a, b| a.kv.mod_revision.cmp(&b.kv.mod_revision),
        (SortTarget::Mod, true) => |a, b| b.kv.mod_revision.cmp(&a.kv.mod_revision),
        (SortTarget::Value, false) => |a, b| a.kv.value.cmp(&b.kv.value),
        (SortTarget::Value, true) => |a, b| b.kv.value.cmp(&a.kv.value),
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
