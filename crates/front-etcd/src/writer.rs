//! Writes the parts of a long answer in slices: first their length, which stands before all of
//! them, then chunk after chunk.

use super::parts::{Items, Part};
use super::refusal;
use base::Blob;
pub(super) use base::limits::CHUNK_BYTES;
use bytes::Bytes;
use mvcc::{Before, Event, EventKind, KeyValue, NotAtHand, Values};
use net::{Shape, Status};
use std::collections::VecDeque;

/// Items that are measured or written in one slice, at most a millisecond.
const SLICE_ITEMS: usize = 16_384;
/// Of them, one that is looked up in the store.
const LOOKED_UP_ITEMS: usize = 16;

/// Where fields go: to be written, or only to be measured, so that both are told of them once.
trait Out {
    fn byte(&mut self, byte: u8);
    fn bytes(&mut self, bytes: &[u8]);

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// What stands before a field of that number and length.
    fn head(&mut self, field: u8, length: usize) {
        debug_assert!(field < 16, "its number fits into one byte");
        self.byte(field << 3 | 2);
        self.varint(length as u64);
    }

    fn blob(&mut self, field: u8, blob: &Blob) {
        if !blob.is_empty() {
            self.head(field, blob.len());
            self.bytes(blob);
        }
    }

    fn int(&mut self, field: u8, value: i64) {
        if value != 0 {
            self.byte(field << 3);
            self.varint(value.cast_unsigned());
        }
    }

    /// `mvccpb.KeyValue`.
    fn key_value(&mut self, kv: &KeyValue) {
        self.blob(1, &kv.key);
        self.int(2, kv.create_revision);
        self.int(3, kv.mod_revision);
        self.int(4, kv.version);
        self.blob(5, &kv.value);
        self.int(6, kv.lease);
    }

    /// One of a repeated field, which is there when it is empty too.
    fn key_value_item(&mut self, field: u8, kv: &KeyValue) {
        let mut length = Length(0);
        length.key_value(kv);
        self.head(field, length.0);
        self.key_value(kv);
    }

    /// `mvccpb.Event`.
    fn event(&mut self, event: &Event, before: &Before) {
        self.int(1, i64::from(event.kind == EventKind::Delete));
        self.key_value_item(2, &event.kv);
        if let Some(before) = before.as_ref() {
            self.key_value_item(3, before);
        }
    }

    fn event_item(&mut self, field: u8, (event, before): (&Event, Before)) {
        let mut length = Length(0);
        length.event(event, &before);
        self.head(field, length.0);
        self.event(event, &before);
    }

    /// `LeaseStatus`.
    fn lease_item(&mut self, field: u8, id: i64) {
        let mut length = Length(0);
        length.int(1, id);
        self.head(field, length.0);
        self.int(1, id);
    }

    fn key_item(&mut self, field: u8, key: &Blob) {
        self.head(field, key.len());
        self.bytes(key);
    }
}

struct Length(usize);

impl Out for Length {
    fn byte(&mut self, _: u8) {
        self.0 += 1;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Out for Vec<u8> {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Self::KeyValues(kvs) => kvs.len(),
            Self::Keys(keys) => keys.len(),
            Self::Leases(ids) => ids.len(),
            Self::Events(events) => events.left(),
        }
    }

    /// What it costs to measure one.
    fn cost(&self) -> usize {
        match self {
            Self::Events(events) if events.looks_back() => LOOKED_UP_ITEMS,
            _ => 1,
        }
    }

    /// Bytes of `count` of them from the one at `from` on, or of all that are left. It is asked
    /// for one stretch behind the other.
    fn measure(
        &mut self,
        field: u8,
        (from, count): (usize, usize),
        values: &mut dyn Values,
    ) -> Result<usize, NotAtHand> {
        let to = self.len().min(from + count);
        let mut length = Length(0);
        match self {
            Self::KeyValues(kvs) => {
                kvs.as_slice()[from..to].iter().for_each(|kv| length.key_value_item(field, kv));
            }
            Self::Keys(keys) => {
                keys.as_slice()[from..to].iter().for_each(|key| length.key_item(field, key));
            }
            Self::Leases(ids) => {
                ids.as_slice()[from..to].iter().for_each(|id| length.lease_item(field, *id));
            }
            Self::Events(events) => {
                for _ in from..to {
                    length.event_item(field, events.measure(values)?);
                }
            }
        }
        Ok(length.0)
    }

    /// Writes the next one and lets go of it; false when there was none.
    fn write(&mut self, field: u8, out: &mut Vec<u8>) -> bool {
        match self {
            Self::KeyValues(kvs) => kvs.next().map(|kv| out.key_value_item(field, &kv)),
            Self::Keys(keys) => keys.next().map(|key| out.key_item(field, &key)),
            Self::Leases(ids) => ids.next().map(|id| out.lease_item(field, id)),
            Self::Events(events) => events.write().map(|event| out.event_item(field, event)),
        }
        .is_some()
    }
}

/// A long answer: measured, then written.
pub(super) struct Writer {
    shape: Shape,
    stage: Stage,
}

enum Stage {
    Measuring(Measure),
    /// The first is the next to be written; so many bytes are left.
    Writing(VecDeque<Part>, usize),
}

/// How far the parts are measured.
struct Measure {
    parts: Vec<Part>,
    /// Bytes of each; those of the one that is measured, so far.
    lengths: Vec<usize>,
    /// Items of it that are measured.
    items: usize,
}

impl Measure {
    /// Goes on for one slice; true once all is measured.
    fn run(&mut self, values: &mut dyn Values) -> Result<bool, NotAtHand> {
        let mut left = SLICE_ITEMS;
        while left > 0 {
            let Some(part) = self.parts.get_mut(self.lengths.len() - 1) else { return Ok(true) };
            let (more, is_whole) = match part {
                Part::Fields(bytes) => (bytes.len(), true),
                Part::Message(..) => (0, true),
                Part::Items(field, items) => {
                    let cost = items.cost();
                    let count = left.div_ceil(cost).min(items.len() - self.items);
                    let more = items.measure(*field, (self.items, count), values)?;
                    self.items += count;
                    left = left.saturating_sub(count * cost);
                    (more, self.items == items.len())
                }
            };
            *self.lengths.last_mut().expect("one is measured") += more;
            if is_whole {
                self.lengths.push(0);
                self.items = 0;
            }
        }
        Ok(false)
    }

    /// The parts with a head in place of each message, and the length of all.
    fn resolve(self) -> (VecDeque<Part>, usize) {
        let Self { parts, lengths, .. } = self;
        // Of a part and all that follow it.
        let mut sums = vec![0; parts.len() + 1];
        let mut resolved = VecDeque::with_capacity(parts.len());
        for (at, part) in parts.into_iter().enumerate().rev() {
            let (part, length) = match part {
                Part::Message(field, inside) => {
                    let mut head = Vec::new();
                    head.head(field, sums[at + 1] - sums[at + 1 + inside]);
                    let length = head.len();
                    (Part::Fields(head), length)
                }
                part => (part, lengths[at]),
            };
            sums[at] = sums[at + 1] + length;
            if length > 0 {
                resolved.push_front(part);
            }
        }
        (resolved, sums[0])
    }
}

impl Writer {
    pub(super) fn new(shape: Shape, parts: Vec<Part>) -> Self {
        let measure = Measure { parts, lengths: vec![0], items: 0 };
        Self { shape, stage: Stage::Measuring(measure) }
    }

    /// Nothing is left to be written.
    pub(super) fn is_done(&self) -> bool {
        matches!(&self.stage, Stage::Writing(parts, _) if parts.is_empty())
    }

    /// One slice; the next chunk once that is written. The first begins with what stands before
    /// a message in the form of the call.
    ///
    /// # Errors
    /// The answer is too long, or a version that it tells cannot be read.
    pub(super) fn step(&mut self, values: &mut dyn Values) -> Option<Result<Bytes, Status>> {
        let mut out = Vec::new();
        if let Stage::Measuring(measure) = &mut self.stage {
            match measure.run(values) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(NotAtHand) => return Some(Err(refusal::not_read(values))),
            }
            let nothing = Measure { parts: Vec::new(), lengths: Vec::new(), items: 0 };
            let (parts, length) = std::mem::replace(measure, nothing).resolve();
            match self.shape.head(length) {
                Ok(head) => out.extend_from_slice(&head),
                Err(status) => return Some(Err(status)),
            }
            self.stage = Stage::Writing(parts, length);
        }
        let Stage::Writing(parts, left) = &mut self.stage else { unreachable!("it is measured") };
        let before = out.len();
        write(parts, *left, &mut out);
        *left = left.checked_sub(out.len() - before).expect("no more is written than was measured");
        assert_eq!(parts.is_empty(), *left == 0, "all is written that was measured");
        Some(Ok(out.into()))
    }
}

/// Adds a chunk of the parts, of which `left` bytes are left, to `out`.
fn write(parts: &mut VecDeque<Part>, left: usize, out: &mut Vec<u8>) {
    out.reserve_exact(left.min(CHUNK_BYTES + CHUNK_BYTES / 4));
    let mut items_left = SLICE_ITEMS;
    while let Some(part) = parts.front_mut() {
        let is_whole = match part {
            Part::Fields(bytes) => {
                out.extend_from_slice(bytes);
                true
            }
            Part::Items(field, items) => {
                items_left = items_left.saturating_sub(1);
                items.write(*field, out);
                items.len() == 0
            }
            Part::Message(..) => unreachable!("each was given its head"),
        };
        if is_whole {
            parts.pop_front();
        }
        if out.len() >= CHUNK_BYTES || items_left == 0 {
            return;
        }
    }
}
