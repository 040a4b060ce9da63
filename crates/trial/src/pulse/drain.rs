//! A client that reads large answers without keeping them, as fast as it can or slowly.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use api::Message;
use bytes::Bytes;
use client::frame;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Windows of a stream and of the connection.
const FAST_WINDOWS: (u32, u32) = (1 << 20, 16 << 20);
/// The least a stream can have without asking for less than HTTP/2 begins with.
const SLOW_WINDOWS: (u32, u32) = (65_535, 1 << 20);

/// How an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Fast,
    Slow { bytes_per_s: u32 },
}

/// One connection; made when first used, and again after a call on it failed.
pub struct Drain {
    endpoint: String,
    pace: Pace,
    sender: Mutex<Option<SendRequest<Bytes>>>,
}

impl Drain {
    pub fn new(endpoint: &str, pace: Pace) -> Self {
        Self { endpoint: endpoint.to_owned(), pace, sender: Mutex::new(None) }
    }

    /// A unary call; the bytes of its answer, which has the status OK.
    ///
    /// # Errors
    /// No connection, it broke, or another status.
    pub async fn call(&self, path: &str, request: &impl Message) -> Result<u64> {
        self.open(path, request, true).await
    }

    /// Opens a stream with one message and reads until it ends, which it may never do.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn follow(&self, path: &str, request: &impl Message) -> Result<u64> {
        self.open(path, request, false).await
    }

    async fn open(&self, path: &str, request: &impl Message, ends: bool) -> Result<u64> {
        let result = self.exchange(path, frame::encode(request), ends).await;
        if result.is_err() {
            *self.sender.lock().await = None;
        }
        result
    }

    async fn exchange(&self, path: &str, message: Bytes, ends: bool) -> Result<u64> {
        let head = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.endpoint))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender().await?.ready().await?;
        let (answer, mut body) = sender.send_request(head, false)?;
        body.send_data(message, ends)?;
        let (head, mut stream) = answer.await?.into_parts();
        ensure!(head.status == http::StatusCode::OK, "HTTP status {}", head.status);
        let mut total = 0;
        while let Some(chunk) = stream.data().await {
            let bytes = chunk?.len();
            total += bytes as u64;
            if let Pace::Slow { bytes_per_s } = self.pace {
                let pause = bytes as f64 / f64::from(bytes_per_s);
                tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            }
            // A closed stream has no window left to give back; that is not a failure.
            let _ = stream.flow_control().release_capacity(bytes);
        }
        let trailers = stream.trailers().await?;
        accepted(trailers.as_ref().unwrap_or(&head.headers))?;
        Ok(total)
    }

    async fn sender(&self) -> Result<SendRequest<Bytes>> {
        let mut slot = self.sender.lock().await;
        if let Some(sender) = &*slot {
            return Ok(sender.clone());
        }
        let socket = TcpStream::connect(&self.endpoint).await.context("connect")?;
        socket.set_nodelay(true)?;
        let (stream, connection) =
            if self.pace == Pace::Fast { FAST_WINDOWS } else { SLOW_WINDOWS };
        let (sender, driver) = h2::client::Builder::new()
            .initial_window_size(stream)
            .initial_connection_window_size(connection)
            .enable_push(false)
            .handshake::<_, Bytes>(socket)
            .await?;
        tokio::spawn(driver);
        *slot = Some(sender.clone());
        Ok(sender)
    }
}

fn accepted(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| {
        let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        value.map(std::borrow::Cow::into_owned)
    };
    match text("grpc-status").as_deref() {
        Some("0") => Ok(()),
        Some(code) => bail!("status {code}: {}", text("grpc-message").unwrap_or_default()),
        None => bail!("no grpc-status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_ok_is_an_answer() {
        let mut headers = HeaderMap::new();
        assert!(accepted(&headers).is_err(), "an answer that was cut");
        headers.insert("grpc-status", "0".parse().expect("a value"));
        assert!(accepted(&headers).is_ok());
        headers.insert("grpc-status", "8".parse().expect("a value"));
        headers.insert("grpc-message", "too much".parse().expect("a value"));
        assert_eq!(accepted(&headers).unwrap_err().to_string(), "status 8: too much");
    }
}
