//! Ranges, worked out in etcd's order: filter, sort, limit, strip.

use super::Model;
use mvcc::{KeyRange, KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};
use std::cmp::Ordering;

impl Model {
    /// Live keys of a range at a revision, in key order.
    pub fn live(&self, range: &KeyRange, revision: i64) -> Vec<&KeyValue> {
        if let Some(key) = range.single() {
            return self.at(key, revision).into_iter().collect();
        }
        let from = self.keys.range::<[u8], _>((
            std::ops::Bound::Included(range.start()),
            std::ops::Bound::Unbounded,
        ));
        from.filter(|(key, _)| range.matches(key))
            .filter_map(|(key, _)| self.at(key, revision))
            .collect()
    }

    /// What a range answers when the newest revision is `current`.
    pub fn range(&self, request: &RangeRequest, current: i64) -> RangeResponse {
        let revision = if request.revision <= 0 { current } else { request.revision };
        let keys = KeyRange::new(request.key.clone(), request.range_end.clone());
        let all = self.live(&keys, revision);
        let count = all.len() as i64;
        let mut out = RangeResponse { revision: current, count, ..RangeResponse::default() };
        if request.count_only {
            return out;
        }
        let mut kvs: Vec<KeyValue> =
            all.into_iter().filter(|kv| passes(request, kv)).cloned().collect();
        if request.sort_order == SortOrder::Descend {
            kvs.sort_by(|a, b| order(request.sort_target, b, a));
        } else if request.sort_order == SortOrder::Ascend {
            kvs.sort_by(|a, b| order(request.sort_target, a, b));
        }
        let limit = usize::try_from(request.limit).unwrap_or(0);
        if limit > 0 && kvs.len() > limit {
            kvs.truncate(limit);
            out.more = true;
        }
        if request.keys_only {
            for kv in &mut kvs {
                kv.value = Default::default();
                if request.sort_target != SortTarget::Value {
                    kv.lease = 0;
                }
            }
        }
        out.kvs = kvs;
        out
    }
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let low = |value: i64, min: i64| min == 0 || value >= min;
    let high = |value: i64, max: i64| max == 0 || value <= max;
    low(kv.mod_revision, request.min_mod_revision)
        && high(kv.mod_revision, request.max_mod_revision)
        && low(kv.create_revision, request.min_create_revision)
        && high(kv.create_revision, request.max_create_revision)
}

fn order(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
