//! A minimal gRPC client.

use crate::grpc::{FRAME_HEAD_BYTES, frame};
use api::Message;
use api::etcdserverpb as pb;
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub struct Client {
    send: SendRequest<Bytes>,
}

fn request(path: &str) -> Request<()> {
    Request::post(format!("http://x/etcdserverpb.{path}"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

fn status(headers: &HeaderMap) -> Option<(u32, String)> {
    let code = headers.get("grpc-status")?.to_str().unwrap().parse().unwrap();
    let text = headers.get("grpc-message").map_or("", |v| v.to_str().unwrap());
    Some((code, text.to_string()))
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::task::spawn_local(connection);
        Self { send }
    }

    pub async fn call<M: Message + Default>(
        &mut self,
        path: &str,
        message: &impl Message,
    ) -> Result<M, (u32, String)> {
        let (response, mut body) = self.send.send_request(request(path), false).unwrap();
        body.send_data(frame(message), true).unwrap();
        let response = response.await.unwrap();
        if let Some(status) = status(response.headers()) {
            return Err(status);
        }
        let (mut body, mut all) = (response.into_body(), BytesMut::new());
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            all.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(status(&trailers).unwrap().0, 0);
        Ok(M::decode(&all[FRAME_HEAD_BYTES..]).unwrap())
    }

    pub async fn watch(&mut self) -> Watch {
        let (response, send) = self.send.send_request(request("Watch/Watch"), false).unwrap();
        let body = response.await.unwrap().into_body();
        Watch { send, body, buffer: BytesMut::new() }
    }
}

pub struct Watch {
    send: SendStream<Bytes>,
    body: RecvStream,
    buffer: BytesMut,
}

impl Watch {
    pub fn send(&mut self, request: &pb::WatchRequest) {
        self.send.send_data(frame(request), false).unwrap();
    }

    pub async fn next(&mut self) -> pb::WatchResponse {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<FRAME_HEAD_BYTES>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if rest.len() >= length {
                    let message = self.buffer.split_to(FRAME_HEAD_BYTES + length);
                    return pb::WatchResponse::decode(&message[FRAME_HEAD_BYTES..]).unwrap();
                }
            }
            let data = self.body.data().await.unwrap().unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.buffer.extend_from_slice(&data);
        }
    }
}
