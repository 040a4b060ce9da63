//! What a unary call is answered with, written at once where it is short and bit by bit where not.

use super::parts::{self, Part};
use super::writer::Writer;
use super::{convert, refusal};
use api::Message;
use api::etcdserverpb as pb;
use base::Blob;
use base::limits::ROOMLESS_BYTES_MAX;
use bytes::Bytes;
use door::{AT_ONCE_BYTES_MAX, Door, Refusal, apart, frees};
use later::{Asker, Later, Promise};
use mvcc::{DeleteResponse, RangeResponse, TxnResponse};
use net::{Body, DRAIN_MAX, Form, Source, Status, Turn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// An answer before it is written.
pub(super) trait Reply {
    type Message: Message;
    /// All of it.
    fn message(self) -> Self::Message;
    /// The same in parts.
    fn parts(self, parts: &mut Vec<Part>);
}

/// An answer that does not grow with data.
pub(super) struct Short<M>(pub M);

impl<M: Message> Reply for Short<M> {
    type Message = M;

    fn message(self) -> M {
        self.0
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts.push(Part::Fields(self.0.encode_to_vec()));
    }
}

impl Reply for (pb::ResponseHeader, RangeResponse) {
    type Message = pb::RangeResponse;

    fn message(self) -> pb::RangeResponse {
        convert::range_response(&self.1, Some(self.0))
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts::range(parts, self.0, self.1);
    }
}

impl Reply for (pb::ResponseHeader, DeleteResponse) {
    type Message = pb::DeleteRangeResponse;

    fn message(self) -> pb::DeleteRangeResponse {
        convert::delete_response(&self.1, Some(self.0))
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts::delete(parts, self.0, self.1);
    }
}

impl Reply for (pb::ResponseHeader, TxnResponse) {
    type Message = pb::TxnResponse;

    fn message(self) -> pb::TxnResponse {
        convert::txn_response(&self.1, Some(self.0))
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts::txn(parts, self.0, self.1);
    }
}

/// A lease, and its keys.
impl Reply for (pb::LeaseTimeToLiveResponse, Vec<Blob>) {
    type Message = pb::LeaseTimeToLiveResponse;

    fn message(self) -> pb::LeaseTimeToLiveResponse {
        let keys = self.1.iter().map(convert::bytes).collect();
        pb::LeaseTimeToLiveResponse { keys, ..self.0 }
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts::lease(parts, &self.0, self.1);
    }
}

/// Ids of leases.
impl Reply for (pb::ResponseHeader, Vec<i64>) {
    type Message = pb::LeaseLeasesResponse;

    fn message(self) -> pb::LeaseLeasesResponse {
        let leases = self.1.into_iter().map(|id| pb::LeaseStatus { id }).collect();
        pb::LeaseLeasesResponse { header: Some(self.0), leases }
    }

    fn parts(self, parts: &mut Vec<Part>) {
        parts::leases(parts, self.0, self.1);
    }
}

/// The answer in the form of its call; `bytes` is its length, about. One of some length is written
/// down only once its client has room for it: till then it is what was found, in references.
pub(super) fn body(
    (door, form): (&Rc<dyn Door>, &Form),
    reply: impl Reply,
    bytes: usize,
    has_room: bool,
) -> Result<Body, Status> {
    let at_once = if has_room { AT_ONCE_BYTES_MAX } else { ROOMLESS_BYTES_MAX };
    if bytes <= at_once {
        return form.encode(&reply.message()).map(Body::Whole);
    }
    let mut parts = Vec::new();
    reply.parts(&mut parts);
    let writer = Box::new(Writer::new(form.shape(), parts));
    let rest = if has_room { Rest::Making(make(&**door, writer)) } else { Rest::Unbegun(writer) };
    Ok(Body::Pieces(Box::new(Pieces { door: Rc::clone(door), rest }), bytes))
}

/// A chunk, and who writes the rest, if there is one.
type Made = (Result<Bytes, Status>, Option<Box<Writer>>);

/// Has the next chunk written apart. Who waits for it is the stream of the call, which drops this
/// when the client has left.
fn make(door: &dyn Door, writer: Box<Writer>) -> Later<Made> {
    let mut writer = Some(writer);
    apart(door, Asker::nobody(), move |values| {
        let chunk = writer.as_mut()?.step(values)?;
        let rest = writer.take().filter(|rest| chunk.is_ok() && !rest.is_done());
        Some((chunk, rest))
    })
}

/// The chunks of a long answer. One is ready while the one before it is taken, so that this and
/// references to what was found are all that a slow client holds.
struct Pieces {
    door: Rc<dyn Door>,
    rest: Rest,
}

enum Rest {
    /// Until there is room for the first chunk.
    Unbegun(Box<Writer>),
    Making(Later<Made>),
    Made(Made),
    Nothing,
}

impl Source for Pieces {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Rest::Making(making) = &mut self.rest {
            let Poll::Ready(made) = Pin::new(making).poll(cx) else { return Poll::Pending };
            let stopped = || (Err(refusal::status(&Refusal::stopped())), None);
            self.rest = Rest::Made(made.unwrap_or_else(stopped));
        }
        Poll::Ready(match &self.rest {
            Rest::Made((Err(status), _)) => Turn::End(Err(status.clone())),
            Rest::Made(_) | Rest::Unbegun(_) => Turn::Message,
            Rest::Making(_) | Rest::Nothing => Turn::End(Ok(())),
        })
    }

    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        let (chunk, rest) = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Made((chunk, rest)) => (Some(chunk), rest),
            Rest::Unbegun(writer) => (None, Some(writer)),
            Rest::Making(_) | Rest::Nothing => unreachable!("a chunk was announced"),
        };
        if let Some(writer) = rest {
            self.rest = Rest::Making(make(&*self.door, writer));
        }
        chunk
    }

    /// What was found is held until it is taken: not for a client that gives no window.
    fn unread_max(&self) -> Option<Duration> {
        Some(DRAIN_MAX)
    }
}

impl Drop for Pieces {
    /// Letting go of all that was found takes long.
    fn drop(&mut self) {
        let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
        if let Rest::Made((_, Some(writer))) | Rest::Unbegun(writer) = rest {
            self.door.run(frees(writer), Promise::to(|_| ()));
        }
    }
}
