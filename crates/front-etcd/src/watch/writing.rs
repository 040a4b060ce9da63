//! Batches on their way to be written, as their client takes them: on any thread, a slice at a
//! time, and never more of it than a chunk.

use super::super::parts;
use super::super::refusal;
use super::super::writer::{CHUNK_BYTES, Writer};
use api::etcdserverpb as pb;
use bytes::Bytes;
use door::{Batch, Place};
use mvcc::{NotAtHand, Values, View};
use net::{Shape, Status};
use std::collections::VecDeque;
use std::sync::Arc;

/// A batch, whose it is, and whether its client takes it in parts.
pub(super) struct Owed {
    pub(super) watcher: i64,
    pub(super) in_parts: bool,
    pub(super) batch: Batch,
}

/// Batches as messages, one after the other. What is held of them is references, and between two
/// pieces no view.
pub(super) struct Writing {
    shape: Shape,
    header: pb::ResponseHeader,
    /// Bytes of a message to a client that takes parts.
    part_bytes_max: usize,
    /// The first is the one that is written.
    owed: VecDeque<(i64, bool, Arc<Batch>)>,
    /// How far the first is given to messages.
    place: Option<Place>,
    message: Option<Writer>,
    /// What is written and not handed over.
    ready: Vec<u8>,
    /// Where whoever looks back does, until this piece is written.
    view: Option<View>,
}

impl Writing {
    pub(super) fn new(
        (shape, header): (Shape, pb::ResponseHeader),
        part_bytes_max: usize,
        owed: Vec<Owed>,
        view: Option<View>,
    ) -> Self {
        let owed = owed.into_iter().map(|o| (o.watcher, o.in_parts, Arc::new(o.batch))).collect();
        let ready = Vec::new();
        Self { shape, header, part_bytes_max, owed, place: None, message: None, ready, view }
    }

    /// All is handed over.
    pub(super) fn is_done(&self) -> bool {
        self.message.is_none() && self.owed.is_empty() && self.ready.is_empty()
    }

    /// A message may begin in the next piece that needs a view, and there is none.
    pub(super) fn lacks_view(&self) -> bool {
        self.view.is_none() && self.owed.iter().any(|(_, _, batch)| batch.looks_back())
    }

    /// What was before the events of the next piece is as this view has it.
    pub(super) fn see(&mut self, view: View) {
        assert!(self.view.is_none(), "a piece has one view");
        self.view = Some(view);
    }

    /// One slice; the next piece once there is enough, which may be several messages and may end
    /// inside one.
    ///
    /// # Errors
    /// A message is too long, or a version that it tells cannot be read.
    pub(super) fn step(&mut self, values: &mut dyn Values) -> Option<Result<Bytes, Status>> {
        assert!(!self.is_done() && !self.lacks_view(), "it can go on");
        let piece = self.go_on(values)?;
        self.view = None;
        Some(piece)
    }

    fn go_on(&mut self, values: &mut dyn Values) -> Option<Result<Bytes, Status>> {
        while self.ready.len() < CHUNK_BYTES {
            let Some(message) = &mut self.message else {
                match self.begin(values) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(NotAtHand) => return Some(Err(refusal::not_read(values))),
                }
            };
            let chunk = match message.step(values)? {
                Ok(chunk) => chunk,
                Err(status) => return Some(Err(status)),
            };
            if message.is_done() {
                self.message = None;
            }
            if self.ready.is_empty() && chunk.len() >= CHUNK_BYTES {
                return Some(Ok(chunk));
            }
            self.ready.extend_from_slice(&chunk);
        }
        Some(Ok(std::mem::take(&mut self.ready).into()))
    }

    /// Begins the next message; false when there is none.
    fn begin(&mut self, values: &mut dyn Values) -> Result<bool, NotAtHand> {
        let Some((watcher, in_parts, batch)) = self.owed.front() else { return Ok(false) };
        let view = self.view.as_ref();
        let from = self.place.unwrap_or_else(|| batch.start());
        let (events, behind) = if *in_parts {
            let part = batch.part(from, self.part_bytes_max, view, values)?;
            let (part, behind) = part.expect("it has events left");
            let behind = Some(behind).filter(|_| part.more);
            ((part.count(), part.into_before()), behind)
        } else {
            ((batch.count(), Vec::new()), None)
        };
        let head = pb::WatchResponse {
            header: Some(pb::ResponseHeader { revision: batch.revision(), ..self.header }),
            watch_id: *watcher,
            fragment: behind.is_some(),
            ..Default::default()
        };
        let parts = parts::events(&head, (Arc::clone(batch), from), events, view);
        self.message = Some(Writer::new(self.shape, parts));
        self.place = behind;
        if behind.is_none() {
            self.owed.pop_front();
        }
        Ok(true)
    }
}
