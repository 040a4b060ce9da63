//! HTTP/1.1 on the client port, by `hyper`: probes, scrapers, and whatever else a service answers
//! in plain HTTP, with request bodies, answers of known length and streams.

use super::inflow::{Held, Inflow};
use super::limits::OPENING_MAX;
use super::outflow::{Chunk, Outflow};
use super::patient::Patient;
use super::premises::Premises;
use super::waiting::Waiting;
use super::{HttpBody, HttpReply, HttpRequest, Service, Source, Status, Turn};
use base::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Error;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// Serves requests until the client closes, breaks the rules or takes too long, or the member
/// stops.
pub(super) async fn run(
    socket: TcpStream,
    server: &Premises,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), String> {
    let office = Rc::new(Office {
        service: Rc::clone(&server.service),
        outflow: Outflow::new(Rc::clone(&server.unsent)),
        inflow: Inflow::new(Rc::clone(&server.requests)),
        bytes_max: server.limits.message_bytes_max(),
    });
    let socket = Patient::new(socket, Rc::clone(&office.outflow), Rc::clone(&server.pulse));
    let serve = service_fn(move |request| answer(Rc::clone(&office), request));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Of an idle connection too: its client comes again when it has something to ask.
        .header_read_timeout(OPENING_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(socket), serve);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.wait_for(|stopping| *stopping) => {
            // What is under way is answered, and nothing more is taken.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.or_else(|error| {
        let no_news = error.is_incomplete_message() || error.is_timeout();
        if no_news { Ok(()) } else { Err(format!("HTTP/1.1: {error}")) }
    })
}

/// What the requests of one connection share.
struct Office {
    service: Rc<dyn Service>,
    outflow: Rc<Outflow>,
    inflow: Rc<Inflow>,
    bytes_max: usize,
}

async fn answer(
    office: Rc<Office>,
    request: Request<Incoming>,
) -> Result<Response<Out>, Infallible> {
    let (head, body) = request.into_parts();
    let mut held = office.inflow.begin();
    let collected = timeout(OPENING_MAX, collect(body, office.bytes_max, &mut held)).await;
    let waiting = Waiting::new(Rc::clone(&office.outflow));
    let reply = match collected {
        Err(_) => HttpReply::too_slow(),
        Ok(Err(reply)) => reply,
        Ok(Ok(body)) => {
            // Whoever sends one request after the other takes the answers, too.
            Waiting::new(Rc::clone(&office.outflow)).room().await;
            let method = head.method.as_str().to_owned();
            let target = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
            let reply = office.service.http(HttpRequest { method, target, body }).await;
            reply.unwrap_or_else(HttpReply::none)
        }
    };
    let body = match reply.body {
        HttpBody::Whole(bytes) => {
            Out::Whole((!bytes.is_empty()).then(|| office.outflow.chunk(bytes)))
        }
        HttpBody::Stream(source) => Out::Stream(source, waiting, Rc::clone(&office.outflow)),
    };
    let response = Response::builder()
        .status(reply.code)
        .header(header::CONTENT_TYPE, reply.content_type)
        .body(body);
    Ok(response.expect("codes and types are constants of the service"))
}

async fn collect(
    mut body: Incoming,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Bytes, HttpReply> {
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| HttpReply::unreadable())?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > bytes_max {
            return Err(HttpReply::too_long());
        }
        held.grow(data.len()).map_err(|_| HttpReply::too_many())?;
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// The body of an answer, counted until the socket has taken it; a stream is asked for a piece
/// when there is room for it.
enum Out {
    Whole(Option<Chunk>),
    Stream(Box<dyn Source>, Waiting, Rc<Outflow>),
}

impl Body for Out {
    type Data = Chunk;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Error>>> {
        let (source, waiting, outflow) = match &mut *self {
            Self::Stream(source, waiting, outflow) => (source, waiting, outflow),
            Self::Whole(chunk) => return Poll::Ready(chunk.take().map(|all| Ok(Frame::data(all)))),
        };
        if !waiting.poll(cx) {
            return Poll::Pending;
        }
        piece(&mut **source, cx).map(|piece| {
            let failed = |status: Status| Error::other(status.to_string());
            let framed = |bytes| Frame::data(outflow.chunk(bytes));
            piece.map(|piece| piece.map(framed).map_err(failed))
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(chunk) => {
                let bytes = chunk.as_ref().map_or(0, Buf::remaining);
                hyper::body::SizeHint::with_exact(bytes as u64)
            }
            Self::Stream(..) => hyper::body::SizeHint::default(),
        }
    }
}

/// The next piece of a stream; none at its end.
fn piece(source: &mut dyn Source, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
    loop {
        match std::task::ready!(source.poll(cx)) {
            Turn::End(end) => return Poll::Ready(end.err().map(Err)),
            Turn::Message => match source.make() {
                // An empty piece would be taken for the end.
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(made) => return Poll::Ready(Some(made)),
                None => {}
            },
        }
    }
}
