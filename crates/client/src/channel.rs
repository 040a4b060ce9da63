//! One HTTP/2 connection and unary calls on it.

use std::sync::Mutex;
use std::time::Duration;

use api::Message;
use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::net::TcpStream;

use crate::failure::status;
use crate::{Duplex, Failure, frame};

/// Receive windows wide enough that flow control never limits a load of small answers.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `host:port` of an endpoint as a user writes it.
///
/// # Errors
/// What is wrong with it: TLS, or no port.
pub fn authority(endpoint: &str) -> Result<String, String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    if endpoint.starts_with("https://") {
        return Err(format!("{endpoint}: TLS is not supported by this client"));
    }
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    if !authority.contains(':') {
        return Err(format!("{authority}: expected host:port"));
    }
    Ok(authority.to_owned())
}

/// A method and its metadata, made once and used for many calls.
#[derive(Clone, Debug)]
pub struct Call {
    uri: Uri,
    headers: HeaderMap,
}

impl Call {
    /// Adds a metadata pair.
    ///
    /// # Panics
    /// If name or value is not a legal header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("metadata names are constants");
        self.headers.insert(name, value.parse().expect("metadata values are printable"));
        self
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// A connection that is made when needed and again when it broke; shared by many callers.
pub struct Channel {
    authority: String,
    sender: Mutex<Option<SendRequest<Bytes>>>,
    connecting: tokio::sync::Mutex<()>,
}

impl Channel {
    /// A channel to `host:port`; nothing is sent yet.
    #[must_use]
    pub fn new(authority: &str) -> Self {
        let authority = authority.to_owned();
        Self { authority, sender: Mutex::new(None), connecting: tokio::sync::Mutex::new(()) }
    }

    /// The endpoint's `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Prepares calls of a method; its path is one of [`crate::method`].
    ///
    /// # Panics
    /// If endpoint and path make no URI.
    #[must_use]
    pub fn prepare(&self, path: &str) -> Call {
        let uri = format!("http://{}{path}", self.authority).parse().expect("host:port and path");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        Call { uri, headers }
    }

    /// Connects unless a connection stands.
    ///
    /// # Errors
    /// [`Failure::Connect`].
    pub async fn connect(&self) -> Result<(), Failure> {
        self.sender().await.map(drop)
    }

    /// One unary call.
    ///
    /// # Errors
    /// Every [`Failure`] but a timeout: wrap the future for that.
    pub async fn call<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Failure> {
        frame::whole(self.raw(&self.prepare(path), frame::encode(request)).await?)
    }

    /// [`Self::call`] that gives up after `timeout`.
    ///
    /// # Errors
    /// Every [`Failure`].
    pub async fn call_within<A: Message + Default>(
        &self,
        timeout: Duration,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Failure> {
        let work = self.call(path, request);
        tokio::time::timeout(timeout, work).await.unwrap_or(Err(Failure::Timeout))
    }

    /// One unary call: the framed request in, the framed answer out.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn raw(&self, call: &Call, message: Bytes) -> Result<Bytes, Failure> {
        let (answer, mut body) = self.open(call.request(), false).await?;
        // An answer may come before the body went out (a refusal by its headers); it counts.
        let sent = body.send_data(message, true);
        let answer = answer.await.map_err(|why| self.broken(&why))?;
        let (head, stream) = answer.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(Failure::Broken(format!("HTTP status {}", head.status.as_u16())));
        }
        let bytes = self.receive(&head.headers, stream).await?;
        sent.map_err(|why| self.broken(&why))?;
        Ok(bytes)
    }

    /// Opens a stream in both directions; its first answer may come much later.
    ///
    /// # Errors
    /// No connection, or it broke.
    pub async fn stream<A: Message + Default>(&self, call: &Call) -> Result<Duplex<A>, Failure> {
        let (answer, body) = self.open(call.request(), false).await?;
        Ok(Duplex::new(answer, body))
    }

    /// A page of plain HTTP: its status, and what it holds.
    ///
    /// # Errors
    /// No connection, or it broke.
    ///
    /// # Panics
    /// If endpoint and target make no URI.
    pub async fn get(&self, target: &str) -> Result<(u16, Bytes), Failure> {
        let mut request = Request::new(());
        let uri = format!("http://{}{target}", self.authority);
        *request.uri_mut() = uri.parse().expect("host:port and path");
        let (answer, _) = self.open(request, true).await?;
        let answer = answer.await.map_err(|why| self.broken(&why))?;
        let code = answer.status().as_u16();
        let (page, _) = self.collect(answer.into_body()).await?;
        Ok((code, page))
    }

    async fn open(
        &self,
        request: Request<()>,
        ended: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Failure> {
        let sender = self.sender().await?;
        let mut sender = sender.ready().await.map_err(|why| self.broken(&why))?;
        sender.send_request(request, ended).map_err(|why| self.broken(&why))
    }

    /// The live sender; connects when there is none. Only one caller connects at a time.
    async fn sender(&self) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(sender) = self.live() {
            return Ok(sender);
        }
        let _guard = self.connecting.lock().await;
        if let Some(sender) = self.live() {
            return Ok(sender);
        }
        let sender = match tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await {
            Ok(made) => made?,
            Err(_) => return Err(Failure::Connect("timeout".to_owned())),
        };
        *self.slot() = Some(sender.clone());
        Ok(sender)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.sender.lock().expect("no holder panics")
    }

    fn live(&self) -> Option<SendRequest<Bytes>> {
        self.slot().clone()
    }

    async fn dial(&self) -> Result<SendRequest<Bytes>, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::Connect(why.to_string());
        let socket = TcpStream::connect(&self.authority).await.map_err(|why| failed(&why))?;
        socket.set_nodelay(true).map_err(|why| failed(&why))?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(socket)
            .await
            .map_err(|why| failed(&why))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn receive(&self, headers: &HeaderMap, stream: RecvStream) -> Result<Bytes, Failure> {
        let (bytes, trailers) = self.collect(stream).await?;
        status(trailers.as_ref().unwrap_or(headers))?;
        Ok(bytes)
    }

    async fn collect(&self, mut stream: RecvStream) -> Result<(Bytes, Option<HeaderMap>), Failure> {
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
        if rest.is_empty() {
            return Ok((first, trailers));
        }
        let mut whole = BytesMut::from(&first[..]);
        whole.extend_from_slice(&rest);
        Ok((whole.freeze(), trailers))
    }

    /// Names the failure; the next call connects again when the whole connection is gone.
    fn broken(&self, why: &h2::Error) -> Failure {
        let stream_only = why.is_reset() && !why.is_go_away();
        if !stream_only {
            *self.slot() = None;
        }
        Failure::Broken(why.to_string())
    }
}
