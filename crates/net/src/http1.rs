//! HTTP/1.1 on the client port, by `hyper`: probes, scrapers, and whatever else a service answers
//! in plain HTTP, with request bodies, answers of known length and streams.

use super::limits::OPENING_MAX;
use super::premises::Premises;
use super::{HttpBody, HttpReply, HttpRequest, Service, Source, Status, Turn};
use base::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

/// Serves requests until the client closes, breaks the rules or takes too long, or the member
/// stops.
pub(super) async fn run(
    socket: TcpStream,
    server: &Premises,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), String> {
    let (service, bytes_max) = (Rc::clone(&server.service), server.limits.message_bytes_max());
    let serve = service_fn(move |request| answer(Rc::clone(&service), request, bytes_max));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Of an idle connection too: its client comes again when it has something to ask.
        .header_read_timeout(OPENING_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(Patient::new(socket)), serve);
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

async fn answer(
    service: Rc<dyn Service>,
    request: Request<Incoming>,
    bytes_max: usize,
) -> Result<Response<Out>, Infallible> {
    let (head, body) = request.into_parts();
    let reply = match timeout(OPENING_MAX, collect(body, bytes_max)).await {
        Err(_) => HttpReply::too_slow(),
        Ok(Err(reply)) => reply,
        Ok(Ok(body)) => {
            let method = head.method.as_str().to_owned();
            let target = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
            let reply = service.http(HttpRequest { method, target, body }).await;
            reply.unwrap_or_else(HttpReply::none)
        }
    };
    let response = Response::builder()
        .status(reply.code)
        .header(header::CONTENT_TYPE, reply.content_type)
        .body(Out(reply.body));
    Ok(response.expect("codes and types are constants of the service"))
}

async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, HttpReply> {
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| HttpReply::unreadable())?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > bytes_max {
            return Err(HttpReply::too_long());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

const TEXT: &str = "text/plain; charset=utf-8";

impl HttpReply {
    /// Nothing came of the request.
    pub(super) fn none() -> Self {
        Self::whole(500, TEXT, "no answer\n")
    }

    pub(super) fn too_long() -> Self {
        Self::whole(413, TEXT, "request body is too large\n")
    }

    fn too_slow() -> Self {
        Self::whole(408, TEXT, "request body is too slow\n")
    }

    fn unreadable() -> Self {
        Self::whole(400, TEXT, "request body is unreadable\n")
    }
}

/// The body of an answer; a stream is asked for a piece when there is room for it.
struct Out(HttpBody);

impl Body for Out {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let source = match &mut self.0 {
            HttpBody::Stream(source) => source,
            HttpBody::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            HttpBody::Whole(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
        };
        piece(&mut **source, cx).map(|piece| {
            let failed = |status: Status| Error::other(status.to_string());
            piece.map(|piece| piece.map(Frame::data).map_err(failed))
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, HttpBody::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match &self.0 {
            HttpBody::Whole(bytes) => hyper::body::SizeHint::with_exact(bytes.len() as u64),
            HttpBody::Stream(_) => hyper::body::SizeHint::default(),
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

/// A socket that gives up when nothing it was given has been taken for too long: a client that
/// does not read its answers is let go.
struct Patient {
    socket: TcpStream,
    /// Runs while bytes wait to be taken.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(socket: TcpStream) -> Self {
        Self { socket, timer: None }
    }

    fn watch<T>(
        &mut self,
        polled: Poll<std::io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<T>> {
        if polled.is_ready() {
            self.timer = None;
            return polled;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(OPENING_MAX)));
        timer.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
