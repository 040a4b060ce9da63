//! One watcher: a range, its filters, and the next revision it has not seen.

use super::super::convert;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_create_request::FilterType;
use api::{Message, mvccpb};
use base::Blob;
use mvcc::{Error, EventKind, KeyRange, Recent, View};

/// Revisions read at once; as in etcd, which syncs 1,000 a response.
const REVISIONS_MAX: usize = 1_000;
/// Revisions looked at before other work gets its turn, whether they concern the watcher or not.
const SCAN_MAX: usize = 10_000;
/// A response is closed once it holds this much, at a revision's end; bytes.
const RESPONSE_BYTES_TARGET: usize = 1024 * 1024;

/// State of one watcher.
pub(super) struct Cursor {
    pub(super) id: i64,
    range: KeyRange,
    /// First revision not yet seen.
    pub(super) next: i64,
    /// It has been up to date once: what it gets from then on is live.
    synced: bool,
    prev_kv: bool,
    no_put: bool,
    no_delete: bool,
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

impl Cursor {
    pub(super) fn new(id: i64, request: &pb::WatchCreateRequest, current: i64) -> Self {
        let has = |filter: FilterType| request.filters.contains(&(filter as i32));
        let live = request.start_revision == 0;
        Self {
            id,
            range: range_of(request),
            next: if live { current + 1 } else { request.start_revision },
            synced: live || request.start_revision > current,
            prev_kv: request.prev_kv,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
            progress_notify: request.progress_notify,
            fragment: request.fragment,
            active: false,
        }
    }

    /// True when it has seen everything up to `revision`.
    pub(super) fn in_sync(&self, revision: i64) -> bool {
        self.next > revision
    }

    /// What it sees next, as one event list and the revision to put in the header; none when
    /// nothing that was looked at concerns it. Moves the cursor, at most by `SCAN_MAX` revisions.
    ///
    /// # Errors
    /// `Compacted` when what it should see next is gone.
    pub(super) fn advance(&mut self, view: &View, recent: &Recent) -> Result<Option<Batch>, Error> {
        if self.in_sync(view.revision()) {
            return Ok(None);
        }
        let place = (self.next, self.synced);
        let page = recent.page(view, place, &self.range, REVISIONS_MAX, SCAN_MAX)?;
        let (changes, mut next) = (page.changes, page.next);
        let (mut events, mut bytes, mut last) = (Vec::new(), 0, self.next);
        for (place, change) in changes.iter().enumerate() {
            for event in change.matching(&self.range).filter(|e| !self.filtered(e.kind)) {
                let event = convert::event(event, self.prev_kv);
                bytes += event.encoded_len();
                events.push(event);
            }
            last = change.revision;
            if bytes >= RESPONSE_BYTES_TARGET && place + 1 < changes.len() {
                next = last + 1;
                break;
            }
        }
        assert!(last >= self.next, "history never goes backwards");
        assert!(next > self.next, "every page is progress");
        let complete = next > view.revision();
        let revision = if complete && !self.synced { view.revision() } else { last };
        self.next = next;
        self.synced |= complete;
        if events.is_empty() {
            return Ok(None);
        }
        self.active = true;
        Ok(Some(Batch { events, revision }))
    }

    fn filtered(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        }
    }

    /// The batch as responses: one, or several when the client asked for fragments.
    pub(super) fn responses(
        &self,
        batch: Batch,
        mut header: pb::ResponseHeader,
        bytes_max: usize,
    ) -> Vec<pb::WatchResponse> {
        header.revision = batch.revision;
        let response = |events| pb::WatchResponse {
            header: Some(header),
            watch_id: self.id,
            events,
            ..Default::default()
        };
        if !self.fragment {
            return vec![response(batch.events)];
        }
        let (mut out, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for event in batch.events {
            let size = event.encoded_len();
            if bytes + size > bytes_max && !part.is_empty() {
                out.push(response(std::mem::take(&mut part)));
                bytes = 0;
            }
            bytes += size;
            part.push(event);
        }
        out.push(response(part));
        let last = out.len() - 1;
        out[..last].iter_mut().for_each(|response| response.fragment = true);
        out
    }
}

/// Events for one watcher.
pub(super) struct Batch {
    events: Vec<mvccpb::Event>,
    revision: i64,
}
