//! One HTTP/2 client connection.

use super::authority::Blanked;
use super::deadline::{self, Deadlines};
use super::frames::Assembler;
use super::guard::{Fate, Guard};
use super::inflow::{Held, Inflow};
use super::limits::OPENING_MAX;
use super::outbox::Outbox;
use super::outflow::{Chunk, Outflow};
use super::premises::Premises;
use super::reading::{Read, Reading};
use super::status::too_late;
use super::stream::{RequestStream, StreamSender};
use super::streams::Streams;
use super::traffic::Traffic;
use super::unary::{Unary, refuse};
use super::{Call, Form, Kind, Metadata, Service, drive, plain};
use base::limits::{
    CANCELLED_UNSEEN_MAX, CONNECTION_WINDOW_BYTES, HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES,
};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request};
use later::{Asker, Asking};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a client to take the last word of a connection that is cut.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

type Wire = h2::server::Connection<Blanked, Chunk>;

/// Serves the connection until it ends; the text says why when that was not the client's wish.
pub(super) async fn run(socket: TcpStream, server: &Premises) -> Result<(), String> {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // Ours is the bound that answers. This one makes clients queue in silence, so it is far.
        .max_concurrent_streams(server.limits.streams_max.saturating_mul(2))
        .max_pending_accept_reset_streams(CANCELLED_UNSEEN_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX);
    let traffic = Rc::new(Traffic::default());
    let (reader, writer) = socket.into_split();
    let outbox = Rc::new(Outbox::new(writer));
    let socket = Blanked::new(reader, Rc::clone(&outbox), Rc::clone(&traffic));
    let opened = timeout(OPENING_MAX, builder.handshake::<_, Chunk>(socket)).await;
    let mut wire = opened.map_err(|_| "HTTP/2: half a preface")?.map_err(closed)?;
    let office = Office {
        server,
        deadlines: Rc::default(),
        outflow: Outflow::new(Rc::clone(&server.unsent)),
        inflow: Inflow::new(Rc::clone(&server.requests)),
        streams: Streams::new(server.limits.streams_max, server.service.stopped()),
    };
    let pings = wire.ping_pong().expect("asked for once");
    let (outflow, streams) = (Rc::clone(&office.outflow), Rc::clone(&office.streams));
    let mut guard = Guard::new(server, Rc::clone(&traffic), outflow, streams, pings);
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(timer);
    outbox.hold(true);
    loop {
        let turn = {
            let mut next = pin!(wire.accept());
            poll_fn(|cx| {
                office.deadlines.poll(timer.as_mut(), cx);
                if let Poll::Ready(accepted) = next.as_mut().poll(cx) {
                    return Poll::Ready(Ok(accepted.transpose()));
                }
                if traffic.paused.replace(false) {
                    cx.waker().wake_by_ref();
                }
                // Who can be sent nothing any more is found gone when it is read next.
                let _ = outbox.poll_send(cx);
                guard.poll(cx).map(Err)
            })
            .await
        };
        match turn {
            Ok(Ok(Some((request, send)))) => office.accept(request, send),
            Ok(Ok(None)) | Err(Fate::Done) => return Ok(()),
            // A client that leaves is no news; one whose frames make no sense is.
            Ok(Err(e)) if e.is_io() || (e.is_go_away() && e.is_remote()) => {
                return Ok(());
            }
            Ok(Err(error)) => return Err(closed(error)),
            Err(Fate::Goodbye) => {
                wire.graceful_shutdown();
                office.streams.stop();
            }
            Err(Fate::Cut(why)) => {
                traffic.abandoned.set(true);
                return Err(why.to_string());
            }
            Err(Fate::Calm(why)) => {
                outbox.hold(false);
                calm(wire, &traffic).await;
                return Err(why.to_string());
            }
        }
    }
}

/// Ends a connection with a word about the reason, which its client may not want to hear.
async fn calm(mut wire: Wire, traffic: &Traffic) {
    wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    // Nothing it says is of interest any more; but a socket closed with unread bytes in it would
    // take our last word back.
    traffic.unheard.set(true);
    let last = poll_fn(|cx| {
        traffic.paused.set(true);
        wire.poll_closed(cx)
    });
    if timeout(FAREWELL_MAX, last).await.is_err() {
        traffic.abandoned.set(true);
    }
}

fn closed(error: h2::Error) -> String {
    format!("HTTP/2: {error}")
}

/// What the calls of one connection share.
struct Office<'a> {
    server: &'a Premises,
    deadlines: Rc<Deadlines>,
    outflow: Rc<Outflow>,
    inflow: Rc<Inflow>,
    streams: Rc<Streams>,
}

impl Office<'_> {
    fn accept(&self, request: Request<RecvStream>, send: SendResponse<Chunk>) {
        let (head, body) = request.into_parts();
        let service = &self.server.service;
        if !is_grpc(&head.headers) {
            return match self.streams.place(false) {
                Ok(place) => {
                    let held = self.inflow.begin();
                    plain::serve(self.server, &head, (body, held), send, &self.outflow, place);
                }
                Err(status) => refuse(send, &self.outflow, &status),
            };
        }
        let (method, kind) = match service.method(head.uri.path()) {
            Ok(found) => found,
            Err(status) => return refuse(send, &self.outflow, &status),
        };
        let place = match self.streams.place(kind != Kind::Unary) {
            Ok(place) => place,
            Err(status) => return refuse(send, &self.outflow, &status),
        };
        let tally = service.stats().begin(method);
        let metadata = Metadata {
            has_leader: header_is(&head.headers, "hasleader", b"true"),
            deadline: self.deadline(&head.headers),
        };
        let deadline = metadata.deadline;
        let assembler = Assembler::for_call(&head.headers, self.server.limits.message_bytes_max());
        let outflow = Rc::clone(&self.outflow);
        let (to, asker) = match kind {
            Kind::Unary => {
                let call = Unary::new(send, tally, outflow, deadline, place);
                if let Some(at) = deadline {
                    call.hold(self.deadlines.add(at, Rc::clone(&call) as _));
                }
                let asker = Asker::new(Rc::clone(&call) as _);
                (To::Unary(call), asker)
            }
            Kind::ServerStream | Kind::Bidi => {
                let out = StreamSender::new(send, tally, outflow, place);
                (To::Stream(Box::new(out)), Asker::nobody())
            }
        };
        let call = Call { method, metadata, form: Form::grpc(asker) };
        match to {
            To::Stream(out) if kind == Kind::Bidi => {
                let requests = RequestStream::new(body, assembler, self.inflow.begin());
                let opening = service.bidi(call, Box::new(requests));
                tokio::task::spawn_local(drive::run(opening, deadline, *out));
            }
            to => self.read(Asked { call, to }, body, assembler),
        }
    }

    /// When a call that is read now has to be answered.
    fn deadline(&self, headers: &HeaderMap) -> Option<Instant> {
        let value = headers.get("grpc-timeout")?;
        let time = deadline::parse(value.as_bytes())?;
        let now = Instant::now();
        // Which of them lay here while the process stood still nobody can tell: see `pulse`.
        if time <= self.server.pulse.standstill(now) { Some(now) } else { now.checked_add(time) }
    }

    fn read(&self, asked: Asked, body: RecvStream, assembler: Assembler) {
        let unary = matches!(asked.to, To::Unary(_));
        let mut reading = Reading::new(body, assembler, unary, self.inflow.begin());
        let service = Rc::clone(&self.server.service);
        // The common case: the whole body came with the headers, and no task is needed.
        match reading.poll_body(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(message) if !unary || self.outflow.has_room() => {
                asked.dispatch(&*service, message, reading.held());
            }
            first => drop(tokio::task::spawn_local(asked.wait(service, reading, first))),
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    value.is_some_and(|v| v.starts_with(b"application/grpc"))
}

fn header_is(headers: &HeaderMap, name: &'static str, value: &[u8]) -> bool {
    headers.get(name).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(value))
}

/// Where the answers of a call with one request go.
enum To {
    Unary(Rc<Unary>),
    Stream(Box<StreamSender>),
}

/// A call whose one request is being read.
struct Asked {
    call: Call,
    to: To,
}

impl Asked {
    /// Goes on once the request is whole and its connection may ask for more: what that is sent
    /// and does not take has a bound, whatever it asks for.
    async fn wait(self, service: Rc<dyn Service>, mut reading: Reading, first: Poll<Read>) {
        let message = match first {
            Poll::Ready(message) => message,
            Poll::Pending => poll_fn(|cx| reading.poll(cx)).await,
        };
        if let (Some(Ok(_)), To::Unary(unary)) = (&message, &self.to)
            && !unary.may_begin().await
        {
            return if unary.is_late() { unary.fail(&too_late()) } else { unary.forget() };
        }
        self.dispatch(&*service, message, reading.held());
    }

    fn dispatch(self, service: &dyn Service, message: Read, request: Held) {
        let Self { call, to } = self;
        match (message, to) {
            (None, To::Unary(unary)) => unary.forget(),
            (None, To::Stream(_)) => {}
            (Some(Err(status)), To::Unary(unary)) => unary.fail(&status),
            (Some(Err(status)), To::Stream(out)) => out.end(&Err(status)),
            (Some(Ok(message)), To::Unary(unary)) => {
                if call.form.asker().is_late() {
                    return unary.fail(&too_late());
                }
                match service.unary(call, message).at_once() {
                    Ok(answer) => unary.answer(Some(answer)),
                    Err(later) => {
                        unary.waits(request);
                        later.deliver(unary);
                    }
                }
            }
            (Some(Ok(message)), To::Stream(out)) => {
                let deadline = call.metadata.deadline;
                let opening = service.server_stream(call, message);
                tokio::task::spawn_local(async move {
                    drive::run(opening, deadline, *out).await;
                    drop(request);
                });
            }
        }
    }
}
