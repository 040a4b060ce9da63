//! A gRPC server that answers without doing anything: what a client costs by itself.

use std::net::SocketAddr;

use api::etcdserverpb::{PutResponse, RangeResponse, ResponseHeader};
use api::mvccpb::KeyValue;
use bytes::Bytes;
use client::{frame, method};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// The constant answers.
#[derive(Clone)]
struct Answers {
    put: Bytes,
    range: Bytes,
}

/// Serves until the process ends; prints the bound address as its first line.
pub async fn serve(listen: SocketAddr, val_size: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("null server listening on {}", listener.local_addr()?);
    accept(listener, val_size).await
}

/// Serves every connection of `listener` on the current thread.
pub async fn accept(listener: TcpListener, val_size: usize) -> anyhow::Result<()> {
    let header = Some(ResponseHeader { revision: 1, ..Default::default() });
    let value = vec![7; val_size].into();
    let pair = KeyValue { key: Bytes::from_static(b"key"), value, ..Default::default() };
    let answers = Answers {
        put: frame::encode(&PutResponse { header, prev_kv: None }),
        range: frame::encode(&RangeResponse {
            header,
            kvs: vec![pair],
            count: 1,
            ..Default::default()
        }),
    };
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::task::spawn_local(connection(socket, answers.clone()));
    }
}

async fn connection(socket: TcpStream, answers: Answers) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(8 << 20)
        .initial_connection_window_size(256 << 20)
        .max_concurrent_streams(100_000)
        .handshake::<_, Bytes>(socket)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::task::spawn_local(answer(request, respond, answers.clone()));
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answers: Answers,
) -> Result<(), h2::Error> {
    let reply = match request.uri().path() {
        method::kv::PUT => Some(answers.put),
        method::kv::RANGE => Some(answers.range),
        _ => None,
    };
    let mut body = request.into_body();
    while let Some(chunk) = body.data().await {
        let length = chunk?.len();
        let _ = body.flow_control().release_capacity(length);
    }
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", grpc);
    let Some(reply) = reply else {
        // 12 is UNIMPLEMENTED; a lone header block is gRPC's "trailers only" answer.
        head.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
        respond.send_response(head, true)?;
        return Ok(());
    };
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(reply, false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
