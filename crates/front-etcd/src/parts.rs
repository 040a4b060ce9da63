//! An answer as a sequence of parts, of which the long ones are shared with the store until they
//! are written. Written one after the other they are the message, byte for byte.

use super::convert;
use api::Message;
use api::etcdserverpb as pb;
use base::Blob;
use door::{Batch, Place};
use mvcc::{Before, DeleteResponse, Event, KeyValue, RangeResponse, ResponseOp, TxnResponse, View};
use std::collections::VecDeque;
use std::sync::Arc;

/// One part of a message.
pub(super) enum Part {
    /// Fields that do not grow with data.
    Fields(Vec<u8>),
    /// A repeated field, by its number.
    Items(u8, Items),
    /// A message in a field of that number; the next so many parts are what it holds.
    Message(u8, usize),
}

/// What a repeated field holds.
pub(super) enum Items {
    KeyValues(std::vec::IntoIter<KeyValue>),
    Keys(std::vec::IntoIter<Blob>),
    /// Ids, each a message of its own.
    Leases(std::vec::IntoIter<i64>),
    Events(Events),
}

/// Events of a watcher, which are found in their revisions as they are measured and written.
pub(super) struct Events {
    pub(super) batch: Arc<Batch>,
    /// In front of what is not measured yet.
    pub(super) measured: Place,
    /// In front of what is not written yet, and how many those are.
    pub(super) written: Place,
    pub(super) left: usize,
    /// Where it is looked up what was before them; none once all are measured.
    pub(super) view: Option<Box<View>>,
    /// What was before those that are measured and not written, if their watcher wants that.
    pub(super) befores: VecDeque<Before>,
}

impl Events {
    /// Bytes of the next so many, each as `length` says.
    pub(super) fn measure(
        &mut self,
        count: usize,
        mut length: impl FnMut(&Event, &Before) -> usize,
    ) -> usize {
        let Self { batch, measured, view, befores, .. } = self;
        let mut bytes = 0;
        for _ in 0..count {
            let event = batch.next(measured).expect("so many were found");
            let before = batch.before(event, view.as_deref());
            bytes += length(event, &before);
            if view.is_some() {
                befores.push_back(before);
            }
        }
        if befores.len() == self.left {
            *view = None;
        }
        bytes
    }

    /// The next one, with what was before it.
    pub(super) fn next(&mut self) -> Option<(&Event, Before)> {
        self.left = self.left.checked_sub(1)?;
        let event = self.batch.next(&mut self.written).expect("so many were found");
        Some((event, self.befores.pop_front().unwrap_or_default()))
    }
}

fn fields(message: &impl Message) -> Part {
    Part::Fields(message.encode_to_vec())
}

fn key_values(field: u8, kvs: Vec<KeyValue>) -> Part {
    Part::Items(field, Items::KeyValues(kvs.into_iter()))
}

/// The parts that `inside` adds, as a message in a field.
fn message(parts: &mut Vec<Part>, field: u8, inside: impl FnOnce(&mut Vec<Part>)) {
    let at = parts.len();
    parts.push(Part::Message(field, 0));
    inside(parts);
    parts[at] = Part::Message(field, parts.len() - at - 1);
}

pub(super) fn range(parts: &mut Vec<Part>, header: pb::ResponseHeader, range: RangeResponse) {
    let RangeResponse { kvs, more, count, .. } = range;
    parts.push(fields(&pb::RangeResponse { header: Some(header), ..Default::default() }));
    parts.push(key_values(2, kvs));
    parts.push(fields(&pb::RangeResponse { more, count, ..Default::default() }));
}

pub(super) fn delete(parts: &mut Vec<Part>, header: pb::ResponseHeader, delete: DeleteResponse) {
    let (header, deleted) = (Some(header), delete.deleted);
    parts.push(fields(&pb::DeleteRangeResponse { header, deleted, prev_kvs: Vec::new() }));
    parts.push(key_values(3, delete.prev_kvs));
}

pub(super) fn txn(parts: &mut Vec<Part>, header: pb::ResponseHeader, txn: TxnResponse) {
    let (header, succeeded) = (Some(header), txn.succeeded);
    parts.push(fields(&pb::TxnResponse { header, succeeded, responses: Vec::new() }));
    for op in txn.responses {
        message(parts, 3, |parts| response_op(parts, op));
    }
}

fn response_op(parts: &mut Vec<Part>, op: ResponseOp) {
    let header = convert::inner_header;
    match op {
        ResponseOp::Range(r) => message(parts, 1, |parts| range(parts, header(r.revision), r)),
        ResponseOp::Put(r) => message(parts, 2, |parts| {
            parts.push(fields(&convert::put_response(&r, Some(header(r.revision)))));
        }),
        ResponseOp::Delete(r) => message(parts, 3, |parts| delete(parts, header(r.revision), r)),
        ResponseOp::Txn(r) => message(parts, 4, |parts| txn(parts, header(r.revision), r)),
    }
}

pub(super) fn lease(parts: &mut Vec<Part>, lease: &pb::LeaseTimeToLiveResponse, keys: Vec<Blob>) {
    parts.push(fields(lease));
    parts.push(Part::Items(5, Items::Keys(keys.into_iter())));
}

pub(super) fn leases(parts: &mut Vec<Part>, header: pb::ResponseHeader, ids: Vec<i64>) {
    parts.push(fields(&pb::LeaseLeasesResponse { header: Some(header), leases: Vec::new() }));
    parts.push(Part::Items(2, Items::Leases(ids.into_iter())));
}

/// So many events behind a place of a batch.
pub(super) fn events(
    head: &pb::WatchResponse,
    (batch, place): (Arc<Batch>, Place),
    count: usize,
    view: Option<View>,
) -> Vec<Part> {
    assert!(head.events.is_empty() && count <= batch.left(&place), "they are there, and once");
    assert_eq!(batch.wants_before(), view.is_some(), "what was before is looked up");
    let (view, befores) = (view.map(Box::new), VecDeque::new());
    let events = Events { batch, measured: place, written: place, left: count, view, befores };
    vec![fields(head), Part::Items(11, Items::Events(events))]
}
