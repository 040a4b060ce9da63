//! An answer as a sequence of parts, of which the long ones are shared with the store until they
//! are written. Written one after the other they are the message, byte for byte.

use super::convert;
use api::Message;
use api::etcdserverpb as pb;
use base::Blob;
use door::{Batch, Place};
use mvcc::{
    Before, DeleteResponse, Event, KeyValue, NotAtHand, RangeResponse, ResponseOp, TxnResponse,
    Values, View,
};
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
    Events(Box<Events>),
}

/// Events of a watcher, which are found in their revisions as they are measured and written. What
/// was before them is looked up once, to be measured: what is written is the same then, and the
/// view is held no longer than that, however slowly a client takes the message.
pub(super) struct Events {
    batch: Arc<Batch>,
    /// None where nobody looks back, and once all is measured.
    view: Option<View>,
    /// Of what is measured and not written yet, where somebody looks back.
    before: VecDeque<Before>,
    /// In front of what is not measured yet, and how many those are.
    measured: Place,
    unmeasured: usize,
    /// In front of what is not written yet, and how many those are.
    written: Place,
    left: usize,
}

impl Events {
    /// How many are not written yet.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn looks_back(&self) -> bool {
        self.batch.looks_back()
    }

    /// The next one to be measured; there is one.
    pub(super) fn measure(
        &mut self,
        values: &mut dyn Values,
    ) -> Result<(&Event, Before), NotAtHand> {
        let event = self.batch.next(&mut self.measured).expect("so many were found");
        let looked_up = self.before.get(self.left - self.unmeasured);
        let before = match looked_up {
            Some(before) => before.clone(),
            None => self.batch.before(event, self.view.as_ref(), values)?,
        };
        if self.batch.looks_back() && looked_up.is_none() {
            self.before.push_back(before.clone());
        }
        self.unmeasured -= 1;
        if self.unmeasured == 0 {
            self.view = None;
        }
        Ok((event, before))
    }

    /// The next one to be written, once all are measured.
    pub(super) fn write(&mut self) -> Option<(&Event, Before)> {
        assert!(self.unmeasured == 0, "what is written was measured");
        self.left = self.left.checked_sub(1)?;
        let event = self.batch.next(&mut self.written)?;
        let before = self.before.pop_front();
        assert_eq!(before.is_some(), self.batch.looks_back(), "it was looked up once");
        Some((event, before.unwrap_or_default()))
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

/// So many events behind a place of a batch, with what was before them: as far as it was looked up
/// already, and as the view has it.
pub(super) fn events(
    head: &pb::WatchResponse,
    (batch, place): (Arc<Batch>, Place),
    (count, before): (usize, Vec<Before>),
    view: Option<&View>,
) -> Vec<Part> {
    assert!(head.events.is_empty() && count <= batch.left(&place), "they are there, and once");
    assert!(count > 0, "a message is made of something");
    assert!(before.is_empty() || before.len() == count, "of all or of none");
    let events = Events {
        view: view.filter(|_| batch.looks_back()).cloned(),
        batch,
        before: before.into(),
        measured: place,
        unmeasured: count,
        written: place,
        left: count,
    };
    vec![fields(head), Part::Items(11, Items::Events(Box::new(events)))]
}
