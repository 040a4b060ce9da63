//! One HTTP/2 connection and one unary gRPC call on it.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::net::TcpStream;

/// Receive windows wide enough that flow control never limits a load of small answers.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request did not succeed; `Display` is the key under which it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect(String),
    /// The connection or the stream broke before the answer was whole.
    Broken(String),
    /// The server answered with this gRPC status and message.
    Status(u16, String),
    /// No answer in time.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(out, "connect: {why}"),
            Self::Broken(why) => write!(out, "broken: {why}"),
            Self::Status(code, message) => write!(out, "status {code}: {message}"),
            Self::Timeout => write!(out, "timeout"),
        }
    }
}

impl std::error::Error for Failure {}

/// `host:port` of an endpoint as the user wrote it.
pub fn authority(endpoint: &str) -> anyhow::Result<String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    if endpoint.starts_with("https://") {
        bail!("{endpoint}: TLS is not supported by the load generator");
    }
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    ensure!(authority.contains(':'), "{authority}: expected host:port");
    Ok(authority.to_owned())
}

/// A method of the KV service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Put,
    Range,
}

/// A connection that is made again when it breaks. Shared by many clients of one thread.
pub struct Connection {
    authority: String,
    put: Uri,
    range: Uri,
    headers: HeaderMap,
    sender: RefCell<Option<SendRequest<Bytes>>>,
    connecting: tokio::sync::Mutex<()>,
}

impl Connection {
    /// A connection to `authority` (`host:port`), not made yet.
    pub fn new(authority: &str) -> anyhow::Result<Self> {
        let uri = |method: &str| {
            format!("http://{authority}/etcdserverpb.KV/{method}")
                .parse::<Uri>()
                .with_context(|| format!("endpoint {authority}"))
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        Ok(Self {
            authority: authority.to_owned(),
            put: uri("Put")?,
            range: uri("Range")?,
            headers,
            sender: RefCell::new(None),
            connecting: tokio::sync::Mutex::new(()),
        })
    }

    /// The live sender; connects when there is none. Only one caller connects at a time.
    pub async fn sender(&self) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(sender) = self.sender.borrow().as_ref() {
            return Ok(sender.clone());
        }
        let _guard = self.connecting.lock().await;
        if let Some(sender) = self.sender.borrow().as_ref() {
            return Ok(sender.clone());
        }
        let made = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let sender = match made {
            Ok(sender) => sender.map_err(|why| Failure::Connect(why.to_string()))?,
            Err(_) => return Err(Failure::Connect("timeout".to_owned())),
        };
        *self.sender.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Bytes>> {
        let socket = TcpStream::connect(&self.authority).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake::<_, Bytes>(socket)
            .await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    /// One unary call: the framed request in, the framed answer out.
    pub async fn call(&self, method: Call, message: Bytes) -> Result<Bytes, Failure> {
        let sender = self.sender().await?;
        let mut sender = sender.ready().await.map_err(|why| self.broken(&why))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = match method {
            Call::Put => self.put.clone(),
            Call::Range => self.range.clone(),
        };
        *request.headers_mut() = self.headers.clone();
        let (answer, mut body) =
            sender.send_request(request, false).map_err(|why| self.broken(&why))?;
        body.send_data(message, true).map_err(|why| self.broken(&why))?;
        let answer = answer.await.map_err(|why| self.broken(&why))?;
        let (head, stream) = answer.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(Failure::Status(head.status.as_u16(), "HTTP status".to_owned()));
        }
        self.receive(&head.headers, stream).await
    }

    async fn receive(
        &self,
        headers: &HeaderMap,
        mut stream: h2::RecvStream,
    ) -> Result<Bytes, Failure> {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.map_err(|why| self.broken(&why))?;
            // A closed stream has no window left to give back; that is not a failure.
            let _ = stream.flow_control().release_capacity(chunk.len());
            if first.is_empty() {
                first = chunk;
            } else {
                rest.extend_from_slice(&chunk);
            }
        }
        let trailers = stream.trailers().await.map_err(|why| self.broken(&why))?;
        status(trailers.as_ref().unwrap_or(headers))?;
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::from(&first[..]);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    }

    /// Names the failure; the next call connects again when the whole connection is gone.
    fn broken(&self, why: &h2::Error) -> Failure {
        let stream_only = why.is_reset() && !why.is_go_away();
        if !stream_only {
            *self.sender.borrow_mut() = None;
        }
        Failure::Broken(why.to_string())
    }
}

/// `Ok` when `grpc-status` is 0; an answer without one is not a gRPC answer.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let code = headers
        .get("grpc-status")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u16>().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) => {
            let text = headers.get("grpc-message").and_then(|value| value.to_str().ok());
            Err(Failure::Status(code, text.unwrap_or("").to_owned()))
        }
        None => Err(Failure::Broken("answer without grpc-status".to_owned())),
    }
}
