//! Which keys a range holds, and what a read of it answers.

use std::cmp::Ordering;
use std::sync::Arc;

use base::Blob;

use super::types::{KeyValue, Range, Seen, SortOrder, SortTarget};
use crate::map::Map;

/// The living keys.
pub type Keys = Map<Blob, Arc<KeyValue>>;

/// Whether `key` lies in `[from, end)` as etcd writes ranges: an empty `end` means `from` alone,
/// `"\0"` means no end.
pub fn contains(from: &[u8], end: &[u8], key: &[u8]) -> bool {
    if end.is_empty() { key == from } else { key >= from && before_end(end, key) }
}

fn before_end(end: &[u8], key: &[u8]) -> bool {
    end == b"\0" || key < end
}

/// The keys of a range, ascending.
pub fn within<'a>(
    keys: &'a Keys,
    from: &Blob,
    end: &'a Blob,
) -> impl Iterator<Item = &'a Arc<KeyValue>> {
    let single = if end.is_empty() { keys.get(from) } else { None };
    let many = (!end.is_empty()).then(|| keys.iter_from(from)).into_iter().flatten();
    let many = many.map(|(_, kv)| kv).take_while(move |kv| before_end(end, &kv.key));
    single.into_iter().chain(many)
}

/// Whether a read of `keys` may answer this.
pub fn answers(
    keys: &Keys,
    range: &Range,
    kvs: &[Seen],
    count: Option<i64>,
    more: Option<bool>,
) -> bool {
    let mut found: Vec<&KeyValue> = Vec::new();
    let all = within(keys, &range.key, &range.range_end);
    found.extend(all.map(|kv| &**kv));
    if count.is_some_and(|count| count != found.len() as i64) {
        return false;
    }
    if range.count_only {
        return kvs.is_empty();
    }
    let limit = usize::try_from(range.limit).ok().filter(|&limit| limit > 0);
    if let Some(limit) = limit
        && range.sort_order == SortOrder::None
        && !filters(range)
    {
        // etcd fetches one more than asked for, and only then sorts (`txn/range.go`).
        found.truncate(limit.saturating_add(1));
    }
    found.retain(|kv| passes(range, kv));
    let order = order_of(range);
    found.sort_by(|a, b| compare(range.sort_target, order, a, b));
    let cut = limit.is_some_and(|limit| found.len() > limit);
    if more.is_some_and(|more| more != cut) {
        return false;
    }
    let length = limit.map_or(found.len(), |limit| limit.min(found.len()));
    kvs.len() == length && fit(range, kvs, &found, order)
}

fn filters(range: &Range) -> bool {
    let bounds = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    bounds.iter().any(|&bound| bound != 0)
}

fn passes(range: &Range, kv: &KeyValue) -> bool {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(kv.mod_revision, range.min_mod_revision, range.max_mod_revision)
        && within(kv.create_revision, range.min_create_revision, range.max_create_revision)
}

/// A target other than the key sorts even without an order.
fn order_of(range: &Range) -> SortOrder {
    match (range.sort_order, range.sort_target) {
        (SortOrder::None, SortTarget::Key) => SortOrder::None,
        (SortOrder::None, _) => SortOrder::Ascend,
        (order, _) => order,
    }
}

fn compare(target: SortTarget, order: SortOrder, a: &KeyValue, b: &KeyValue) -> Ordering {
    let natural = match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match order {
        SortOrder::None => Ordering::Equal,
        SortOrder::Ascend => natural,
        SortOrder::Descend => natural.reverse(),
    }
}

/// Whether `kvs` are the first of `found`. Keys that sort alike may come in any order, and
/// any of them may be the ones that a limit leaves.
fn fit(range: &Range, kvs: &[Seen], found: &[&KeyValue], order: SortOrder) -> bool {
    let same = |seen: &Seen, kv: &KeyValue| {
        if !range.keys_only {
            return seen.fits(kv);
        }
        // Values are left out, and since 3.7 leases are too.
        let bare = Seen { value: None, lease: None, ..seen.clone() };
        seen.value.as_ref().is_none_or(|value| value.is_empty()) && bare.fits(kv)
    };
    if range.sort_target == SortTarget::Key {
        return kvs.iter().zip(found).all(|(seen, kv)| same(seen, kv));
    }
    let mut unused: Vec<bool> = vec![true; found.len()];
    for (seen, expected) in kvs.iter().zip(found) {
        let tied =
            |kv: &KeyValue| compare(range.sort_target, order, kv, expected) == Ordering::Equal;
        let first = found.partition_point(|kv| {
            compare(range.sort_target, order, kv, expected) == Ordering::Less
        });
        let place = (first..found.len())
            .take_while(|&at| tied(found[at]))
            .find(|&at| unused[at] && same(seen, found[at]));
        match place {
            Some(at) => unused[at] = false,
            None => return false,
        }
    }
    true
}
