//! One HTTP/2 client connection.

use super::authority::Blanked;
use super::deadline::{self, Deadlines};
use super::message::Assembler;
use super::{
    GrpcLimits, Kind, Metadata, OPENING_MAX, RequestStream, Responder, Service, Status,
    StreamSender,
};
use api::error::Code;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Request bytes one stream may have under way.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Request bytes one connection may have under way; also bounds what unread bodies can hold.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Calls a client may cancel before they were looked at; a burst of timeouts is not an attack.
const CANCELLED_UNSEEN_MAX: usize = 8 * 1024;

/// Serves the connection until it ends; the text says why when that was not the client's wish.
pub(super) async fn run(
    socket: TcpStream,
    service: Rc<dyn Service>,
    limits: GrpcLimits,
) -> Result<(), String> {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(CANCELLED_UNSEEN_MAX);
    let socket = Blanked::new(socket);
    let opened = timeout(OPENING_MAX, builder.handshake::<_, Bytes>(socket)).await;
    let mut connection = opened.map_err(|_| "HTTP/2: half a preface")?.map_err(closed)?;
    let deadlines = Rc::new(Deadlines::default());
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(timer);
    loop {
        let mut next = pin!(connection.accept());
        let accepted = poll_fn(|cx| {
            deadlines.poll(timer.as_mut(), cx);
            next.as_mut().poll(cx)
        });
        let Some(accepted) = accepted.await else { return Ok(()) };
        match accepted {
            Ok((request, send)) => accept(&service, limits, &deadlines, request, send),
            // A client that leaves is no news; one whose frames make no sense is.
            Err(error) if error.is_io() || (error.is_go_away() && error.is_remote()) => {
                return Ok(());
            }
            Err(error) => return Err(closed(error)),
        }
    }
}

fn closed(error: h2::Error) -> String {
    format!("HTTP/2: {error}")
}

fn accept(
    service: &Rc<dyn Service>,
    limits: GrpcLimits,
    deadlines: &Rc<Deadlines>,
    request: Request<RecvStream>,
    send: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    if !is_grpc(&head.headers) {
        return plain_http(service, &head, send);
    }
    let path = head.uri.path();
    let Some((method, kind)) = service.method(path) else {
        return Responder::uncounted(send).fail(&unknown_method(path));
    };
    let tally = service.stats().begin(method);
    let metadata = Metadata {
        has_leader: header_is(&head.headers, "hasleader", b"true"),
        deadline: head.headers.get("grpc-timeout").and_then(|v| deadline::parse(v.as_bytes())),
    };
    let assembler = Assembler::for_call(&head.headers, limits.message_bytes_max());
    let answer = match (kind, metadata.deadline) {
        (Kind::Bidi, _) => {
            let input = RequestStream::new(body, assembler);
            return service.bidi(method, metadata, input, StreamSender::new(send, tally));
        }
        (Kind::ServerStream, _) => Answer::Stream(StreamSender::new(send, tally)),
        (Kind::Unary, None) => Answer::Unary(Responder::new(send, tally)),
        (Kind::Unary, Some(at)) => Answer::Unary(Responder::timed(deadlines.add(at, send), tally)),
    };
    let call = Call { method, metadata, answer };
    let unary = matches!(call.answer, Answer::Unary(_));
    let mut reading = Reading { body, assembler, unary };
    // The common case: the whole body came with the headers, and no task is needed.
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(message) => call.dispatch(&**service, message),
        Poll::Pending => {
            let service = service.clone();
            tokio::task::spawn_local(async move {
                let message = poll_fn(|cx| reading.poll(cx)).await;
                call.dispatch(&*service, message);
            });
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

/// The services that clients of etcd know, served or not.
const SERVICES: [&str; 9] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
];

/// grpc-go's wording for a path it does not serve.
fn unknown_method(path: &str) -> Status {
    let text = match path.strip_prefix('/').and_then(|p| p.rsplit_once('/')) {
        Some((service, method)) if SERVICES.contains(&service) => {
            format!("unknown method {method} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {path:?}"),
    };
    Status::new(Code::Unimplemented, text)
}

/// Where the answers of a call with one request go.
enum Answer {
    Unary(Responder),
    Stream(StreamSender),
}

struct Call {
    method: u16,
    metadata: Metadata,
    answer: Answer,
}

impl Call {
    /// `None`: the client went away before its request was complete.
    fn dispatch(self, service: &dyn Service, message: Option<Result<Bytes, Status>>) {
        let (method, metadata) = (self.method, self.metadata);
        match (message, self.answer) {
            (None, Answer::Unary(responder)) => responder.forget(),
            (None, Answer::Stream(_)) => {}
            (Some(Err(status)), Answer::Unary(responder)) => responder.fail(&status),
            (Some(Err(status)), Answer::Stream(out)) => out.fail(&status),
            (Some(Ok(message)), Answer::Unary(responder)) => {
                service.unary(method, metadata, message, responder);
            }
            (Some(Ok(message)), Answer::Stream(out)) => {
                service.server_stream(method, metadata, message, out);
            }
        }
    }
}

const NO_REQUEST: &str =
    "cardinality violation: received no request message from non-client-streaming RPC";
const MANY_REQUESTS: &str =
    "cardinality violation: received multiple request messages for non-client-streaming RPC";

/// The one request message of a call.
struct Reading {
    body: RecvStream,
    assembler: Assembler,
    /// One answer follows, not a stream of them.
    unary: bool,
}

impl Reading {
    /// Ready with the message once the client has half-closed, or with a refusal at once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(data))) => {
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.assembler.push(data);
                    if let Err(status) = self.assembler.peek() {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Some(self.finish())),
            }
        }
    }

    /// grpc-go's answers to one message, to none and to more, as the real etcd gave them: a unary
    /// call reads one message and no further, a stream of answers wants exactly one.
    fn finish(&mut self) -> Result<Bytes, Status> {
        let code = if self.unary { Code::Unknown } else { Code::Internal };
        match self.assembler.next()? {
            Some(message) if self.unary || !matches!(self.assembler.next(), Ok(Some(_))) => {
                Ok(message)
            }
            Some(_) => Err(Status::new(Code::Internal, MANY_REQUESTS)),
            None if self.assembler.has_head() => Err(Status::new(code, "unexpected EOF")),
            None if self.unary => Err(Status::new(code, "EOF")),
            None => Err(Status::new(code, NO_REQUEST)),
        }
    }
}

/// `GET /health` and friends also arrive over HTTP/2.
fn plain_http(
    service: &Rc<dyn Service>,
    head: &http::request::Parts,
    mut send: SendResponse<Bytes>,
) {
    let target = head.uri.path_and_query().map_or("/", |p| p.as_str());
    let done = Box::new(move |reply: super::HttpReply| {
        let response = Response::builder()
            .status(reply.code)
            .header(http::header::CONTENT_TYPE, reply.content_type)
            .body(())
            .expect("codes and types are constants of this server");
        if let Ok(mut body) = send.send_response(response, false) {
            let _ = body.send_data(reply.body.into(), true);
        }
    });
    service.http(head.method.as_str(), target, done);
}
