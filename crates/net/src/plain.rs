//! Plain HTTP over HTTP/2: `GET /health` and friends arrive on gRPC's connections too.

use super::inflow::Held;
use super::limits::OPENING_MAX;
use super::outflow::{Chunk, Outflow};
use super::premises::Premises;
use super::stream::StreamSender;
use super::streams::Place;
use super::waiting::Waiting;
use super::{HttpBody, HttpReply, HttpRequest, drive};
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Response, request};
use later::Later;
use std::rc::Rc;
use tokio::time::timeout;

/// Serves one request on a task of its own.
pub(super) fn serve(
    server: &Premises,
    head: &request::Parts,
    (body, mut held): (RecvStream, Held),
    send: SendResponse<Chunk>,
    outflow: &Rc<Outflow>,
    place: Place,
) {
    let method = head.method.as_str().to_owned();
    let target = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let (service, outflow) = (Rc::clone(&server.service), Rc::clone(outflow));
    let bytes_max = server.limits.message_bytes_max();
    tokio::task::spawn_local(async move {
        let reply = match timeout(OPENING_MAX, collect(body, bytes_max, &mut held)).await {
            Err(_) | Ok(Err(Unread::CutOff)) => return,
            Ok(Err(Unread::Refused(reply))) => reply,
            Ok(Ok(body)) => {
                // Whoever takes no answers asks for no more.
                Waiting::new(Rc::clone(&outflow)).room().await;
                let reply = service.http(HttpRequest { method, target, body }).await;
                reply.unwrap_or_else(HttpReply::none)
            }
        };
        drop(held);
        answer(reply, send, outflow, place).await;
    });
}

async fn answer(
    reply: HttpReply,
    mut send: SendResponse<Chunk>,
    outflow: Rc<Outflow>,
    place: Place,
) {
    let head = head_of(&reply);
    match reply.body {
        HttpBody::Whole(body) => {
            if let Ok(mut out) = send.send_response(head, false) {
                let _ = out.send_data(outflow.chunk(body), true);
            }
        }
        HttpBody::Stream(source) => {
            let out = StreamSender::plain(send, head, outflow, place);
            drive::run(Later::now(Ok(source)), None, out).await;
        }
    }
}

fn head_of(reply: &HttpReply) -> Response<()> {
    let response = Response::builder().status(reply.code);
    let response = response.header(http::header::CONTENT_TYPE, reply.content_type);
    response.body(()).expect("codes and types are constants of the service")
}

enum Unread {
    CutOff,
    Refused(HttpReply),
}

async fn collect(mut body: RecvStream, bytes_max: usize, held: &mut Held) -> Result<Bytes, Unread> {
    let mut all = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| Unread::CutOff)?;
        let _ = body.flow_control().release_capacity(data.len());
        if all.len() + data.len() > bytes_max {
            return Err(Unread::Refused(HttpReply::too_long()));
        }
        held.grow(data.len()).map_err(|_| Unread::Refused(HttpReply::too_many()))?;
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}
