//! One watcher of a stream, in etcd's words: a cursor, and what its client asked for besides.

use super::super::convert;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_create_request::FilterType;
use base::Blob;
use door::{Batch, Cursor, Fragment, Wanted};
use mvcc::KeyRange;

/// State of one watcher.
pub(super) struct Watcher {
    pub(super) id: i64,
    pub(super) cursor: Cursor,
    pub(super) progress_notify: bool,
    fragment: bool,
    /// Something was sent since the last progress round.
    pub(super) active: bool,
}

/// The range a create request means: an empty key is the lowest one.
pub(super) fn range_of(request: &pb::WatchCreateRequest) -> KeyRange {
    let key: &[u8] = if request.key.is_empty() { b"\0" } else { &request.key };
    KeyRange::new(Blob::from(key), Blob::from(&request.range_end[..]))
}

impl Watcher {
    pub(super) fn new(id: i64, request: &pb::WatchCreateRequest, current: i64) -> Self {
        let has = |filter: FilterType| request.filters.contains(&(filter as i32));
        let wanted = Wanted {
            range: range_of(request),
            prev_kv: request.prev_kv,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
        };
        Self {
            id,
            cursor: Cursor::new(wanted, request.start_revision, current),
            progress_notify: request.progress_notify,
            fragment: request.fragment,
            active: false,
        }
    }

    /// The batch as responses: one, or several when the client asked for fragments.
    pub(super) fn responses(
        &self,
        batch: &Batch,
        mut header: pb::ResponseHeader,
        bytes_max: usize,
    ) -> Vec<pb::WatchResponse> {
        header.revision = batch.revision();
        let response = |part: Fragment<'_>| pb::WatchResponse {
            header: Some(header),
            watch_id: self.id,
            fragment: part.more,
            events: part.events().map(|(event, before)| convert::event(event, before)).collect(),
            ..Default::default()
        };
        if self.fragment {
            batch.fragments(bytes_max).map(response).collect()
        } else {
            vec![response(batch.whole())]
        }
    }
}
