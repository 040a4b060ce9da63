//! One watcher of a stream, in etcd's words: what its client asked for besides events.

use api::etcdserverpb as pb;
use api::etcdserverpb::watch_create_request::FilterType;
use base::Blob;
use door::Wanted;
use mvcc::KeyRange;

/// State of one watcher.
pub(super) struct Watcher {
    pub(super) progress_notify: bool,
    pub(super) fragment: bool,
    /// Something was sent since the last progress round.
    pub(super) active: bool,
}

impl Watcher {
    pub(super) fn new(request: &pb::WatchCreateRequest) -> Self {
        let (progress_notify, fragment) = (request.progress_notify, request.fragment);
        Self { progress_notify, fragment, active: false }
    }
}

/// The range a create request means: an empty key is the lowest one.
pub(super) fn range_of(request: &pb::WatchCreateRequest) -> KeyRange {
    let key: &[u8] = if request.key.is_empty() { b"\0" } else { &request.key };
    KeyRange::new(Blob::from(key), Blob::from(&request.range_end[..]))
}

/// The events that a create request means.
pub(super) fn wanted(request: &pb::WatchCreateRequest) -> Wanted {
    let has = |filter: FilterType| request.filters.contains(&(filter as i32));
    Wanted {
        range: range_of(request),
        prev_kv: request.prev_kv,
        no_put: has(FilterType::Noput),
        no_delete: has(FilterType::Nodelete),
    }
}
