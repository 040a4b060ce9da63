//! A client for one call at a time, over a real socket.

use anyhow::Context;
use api::Message;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;
use tokio::net::TcpStream;

/// How a call failed: the gRPC code and text, or a broken connection.
#[derive(Clone, Debug)]
pub enum Failure {
    Status { code: u16, text: String, outcome: Option<String> },
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status { code, text, outcome } => {
                write!(f, "gRPC {code} {text}")?;
                outcome.as_ref().map_or(Ok(()), |o| write!(f, " [{o}]"))
            }
            Self::Broken(why) => write!(f, "connection: {why}"),
        }
    }
}

/// Calls `path` at `endpoint` (`host:port`) and decodes the answer.
pub async fn call<A: Message + Default>(
    endpoint: &str,
    path: &str,
    request: &impl Message,
    timeout: Duration,
) -> Result<A, Failure> {
    let work = exchange(endpoint, path, request.encode_to_vec());
    let bytes = match tokio::time::timeout(timeout, work).await {
        Ok(done) => done?,
        Err(_) => return Err(Failure::Broken(format!("no answer in {} s", timeout.as_secs()))),
    };
    A::decode(bytes).map_err(|why| Failure::Broken(why.to_string()))
}

async fn exchange(endpoint: &str, path: &str, message: Vec<u8>) -> Result<Bytes, Failure> {
    let broken = |why: &dyn std::fmt::Display| Failure::Broken(why.to_string());
    let socket = TcpStream::connect(endpoint).await.map_err(|why| broken(&why))?;
    let (mut sender, connection) =
        h2::client::handshake(socket).await.map_err(|why| broken(&why))?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{endpoint}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .context("a request is well formed")
        .map_err(|why| broken(&why))?;
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).map_err(|why| broken(&why))?);
    framed.put_slice(&message);
    let (answer, mut body) = sender.send_request(request, false).map_err(|why| broken(&why))?;
    body.send_data(framed.freeze(), true).map_err(|why| broken(&why))?;
    let (head, mut stream) = answer.await.map_err(|why| broken(&why))?.into_parts();
    let mut data = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.map_err(|why| broken(&why))?;
        stream.flow_control().release_capacity(chunk.len()).map_err(|why| broken(&why))?;
        data.extend_from_slice(&chunk);
    }
    let trailers = stream.trailers().await.map_err(|why| broken(&why))?;
    driver.abort();
    let headers = trailers.unwrap_or(head.headers);
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(unescape);
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) if data.len() >= 5 => Ok(data.freeze().slice(5..)),
        Some(0) => Err(Failure::Broken("an answer without a message".into())),
        Some(code) => Err(Failure::Status {
            code,
            text: text("grpc-message").unwrap_or_default(),
            outcome: text("quorate-outcome"),
        }),
        None => Err(Failure::Broken("an answer without grpc-status".into())),
    }
}

/// Undoes the percent-encoding of `grpc-message`.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
