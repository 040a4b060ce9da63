//! A minimal gRPC client.

use api::Message;
use api::etcdserverpb as pb;
use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use net::{FRAME_HEAD_BYTES, frame};
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub struct Client {
    send: SendRequest<Bytes>,
}

/// Metadata of a call.
pub type Headers<'a> = &'a [(&'static str, &'a str)];

fn request(path: &str, headers: Headers<'_>) -> Request<()> {
    let mut request = Request::post(format!("http://x/etcdserverpb.{path}"))
        .header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub fn status(headers: &HeaderMap) -> Option<(u32, String)> {
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
        let answer = self.call_with(path, &[], frame(message)).await;
        answer.map_err(|headers| status(&headers).unwrap())
    }

    /// The answer, or the headers of a refusal. `body` is sent as it is.
    pub async fn call_with<M: Message + Default>(
        &mut self,
        path: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Result<M, HeaderMap> {
        let (response, mut send) = self.send.send_request(request(path, headers), false).unwrap();
        send.send_data(body, true).unwrap();
        let response = response.await.unwrap();
        if status(response.headers()).is_some() {
            return Err(response.headers().clone());
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

    pub fn new(send: SendRequest<Bytes>) -> Self {
        Self { send }
    }

    /// As [`Self::begin`], on a connection that may have ended.
    pub fn try_begin(&mut self, path: &str, body: Bytes) -> Result<ResponseFuture, h2::Error> {
        let (response, mut send) = self.send.send_request(request(path, &[]), false)?;
        send.send_data(body, true)?;
        Ok(response)
    }

    /// Begins a call and does not wait for its answer; dropped, it is reset.
    pub fn begin(&mut self, path: &str, headers: Headers<'_>, body: Bytes) -> ResponseFuture {
        let (response, mut send) = self.send.send_request(request(path, headers), false).unwrap();
        send.send_data(body, true).unwrap();
        response
    }

    pub async fn watch(&mut self) -> Watch {
        self.watch_with("Watch/Watch", &[]).await
    }

    /// Opens a stream of requests; its answers are taken for watch answers.
    pub async fn watch_with(&mut self, path: &str, headers: Headers<'_>) -> Watch {
        let (response, send) = self.send.send_request(request(path, headers), false).unwrap();
        Watch { send, response: Some(response), body: None, buffer: BytesMut::new() }
    }
}

pub struct Watch {
    send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    buffer: BytesMut,
}

impl Watch {
    pub fn send(&mut self, request: &impl Message) {
        self.send.send_data(frame(request), false).unwrap();
    }

    /// Says that no more requests follow.
    pub fn half_close(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    async fn body(&mut self) -> &mut RecvStream {
        if let Some(response) = self.response.take() {
            self.body = Some(response.await.unwrap().into_body());
        }
        self.body.as_mut().unwrap()
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
            let body = self.body().await;
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            self.buffer.extend_from_slice(&data);
        }
    }

    /// Takes what the server sends without giving it window for more, until that is so many
    /// bytes at least; returns how many.
    pub async fn fill(&mut self, bytes: usize) -> usize {
        let mut taken = 0;
        while taken < bytes {
            let data = self.body().await.data().await.unwrap().unwrap();
            taken += data.len();
            self.buffer.extend_from_slice(&data);
        }
        taken
    }

    /// As [`Self::fill`], until nothing has come for a while.
    pub async fn stall(&mut self, quiet: std::time::Duration) -> usize {
        let mut unread = Vec::new();
        while let Ok(data) = tokio::time::timeout(quiet, self.body().await.data()).await {
            unread.push(data.unwrap().unwrap());
        }
        let bytes = unread.iter().map(Bytes::len).sum();
        for data in unread {
            self.buffer.extend_from_slice(&data);
        }
        bytes
    }

    /// Gives back the window for `bytes` that [`Self::stall`] took.
    pub async fn resume(&mut self, bytes: usize) {
        self.body().await.flow_control().release_capacity(bytes).unwrap();
    }

    /// The status that ends the stream; answers before it are dropped.
    pub async fn end(&mut self) -> (u32, String) {
        if let Some(response) = self.response.take() {
            let response = response.await.unwrap();
            if let Some(status) = status(response.headers()) {
                return status;
            }
            self.body = Some(response.into_body());
        }
        let body = self.body.as_mut().unwrap();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        status(&body.trailers().await.unwrap().unwrap()).unwrap()
    }
}
