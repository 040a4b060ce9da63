//! The outgoing side of one peer: keeps a connection, and a buffer that is written as it fills.

use super::addresses::addresses;
use super::frame::{self, Kind};
use super::limits;
use super::pulse::{self, Pulse};
use crate::metrics::LinkMetrics;
use crate::node::input::Input;
use base::NodeId;
use base::limits::{HELLO_BYTES_MAX, OUTGOING_BYTES_MAX};
use bytes::BytesMut;
use member::{Hello, Purpose, Unwelcome};
use replica::PeerMessage;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Resolves once a peer is remembered, or to why it is not the one that was meant.
pub type Met = Pin<Box<dyn Future<Output = Result<(), Unwelcome>>>>;

/// The member that a link belongs to.
pub trait Host {
    /// How it introduces itself.
    fn hello(&self, purpose: Purpose, to: NodeId) -> Hello;

    /// Looks at a member that was called and has answered, and remembers it.
    fn meet(self: Rc<Self>, hello: Hello) -> Met;

    /// A closed inbox means the node is stopping; nobody needs the input then.
    fn send(&self, input: Input);

    /// Says that a peer can be spoken to, once the connections of both directions stand.
    fn find(&self, peer: NodeId);

    /// A peer that answers nothing for this long is dialled again.
    fn silence_max(&self) -> Duration;
}

/// One peer's outgoing stream. Messages pushed while it is down are dropped: the protocol
/// repeats what matters.
pub struct Link {
    pub peer: NodeId,
    /// Where the configuration has it: `host:port`, tried in turn.
    addresses: RefCell<Vec<String>>,
    /// Where it says itself that it is. The configuration may be wrong, and be put right only
    /// with this very member; whoever answers there has to prove to be it.
    said: RefCell<Vec<String>>,
    /// Where it answered last.
    reached: RefCell<Option<String>>,
    out: RefCell<Vec<u8>>,
    /// Bytes of `out` the socket has taken.
    taken: Cell<usize>,
    stream: RefCell<Option<Rc<TcpStream>>>,
    pulse: Pulse,
    /// Bytes are left that the socket did not take at once.
    blocked: Notify,
    /// The peer was heard from: dial now, do not wait for the backoff.
    wake: Notify,
    pub metrics: Arc<LinkMetrics>,
}

impl Link {
    pub fn new(peer: NodeId, addresses: Vec<String>) -> Rc<Self> {
        assert!(!addresses.is_empty(), "every member has a peer URL");
        Rc::new(Self {
            peer,
            addresses: RefCell::new(addresses),
            said: RefCell::default(),
            reached: RefCell::default(),
            out: RefCell::default(),
            taken: Cell::new(0),
            stream: RefCell::default(),
            pulse: Pulse::default(),
            blocked: Notify::new(),
            wake: Notify::new(),
            metrics: LinkMetrics::new(peer),
        })
    }

    /// The configuration has it elsewhere now. A connection that works stays: it ends by itself
    /// when the member moves.
    pub fn readdress(&self, addresses: Vec<String>) {
        assert!(!addresses.is_empty(), "every member has a peer URL");
        if *self.addresses.borrow() != addresses {
            *self.addresses.borrow_mut() = addresses;
            self.wake();
        }
    }

    /// Where the configuration has it.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.borrow().clone()
    }

    /// What it says of itself.
    pub fn says(&self, addresses: Vec<String>) {
        *self.said.borrow_mut() = addresses;
    }

    /// Where it may be, in an order that stays.
    pub fn candidates(&self) -> Vec<String> {
        let mut all = self.addresses.borrow().clone();
        for address in self.said.borrow().iter().chain(self.reached.borrow().iter()) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    pub fn is_connected(&self) -> bool {
        self.stream.borrow().is_some()
    }

    /// The peer has left: what was written is still delivered, nothing more is.
    pub fn disconnect(&self) {
        self.hold(None);
    }

    fn hold(&self, stream: Option<Rc<TcpStream>>) {
        self.metrics.set_connected(stream.is_some());
        *self.stream.borrow_mut() = stream;
        // A new connection starts at a frame's first byte.
        self.out.borrow_mut().clear();
        self.taken.set(0);
    }

    /// The peer just connected to us, so it is up.
    pub fn wake(&self) {
        if !self.is_connected() {
            self.wake.notify_one();
        }
    }

    /// Encodes straight into the outgoing buffer; `flush` follows once per batch.
    pub fn push(&self, message: &PeerMessage) {
        let mut out = self.out.borrow_mut();
        if !self.is_connected() || out.len() - self.taken.get() > OUTGOING_BYTES_MAX {
            return;
        }
        frame::encode(Kind::Message, &mut out, |out| message.encode(out));
    }

    /// Writes what the socket takes now; the rest goes out when it becomes writable.
    pub fn flush(&self) {
        let Some(stream) = self.stream.borrow().clone() else { return };
        // Errors are seen again, and dealt with, by the task that is woken.
        if self.write(&stream).is_err() || !self.out.borrow().is_empty() {
            self.blocked.notify_one();
        }
    }

    fn write(&self, stream: &TcpStream) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        if out.is_empty() {
            return Ok(());
        }
        let n = stream.try_write(&out[self.taken.get()..])?;
        self.metrics.sent_bytes.add(n as u64);
        self.pulse.wrote();
        let taken = self.taken.get() + n;
        assert!(taken <= out.len(), "a socket takes what it was given");
        self.taken.set(taken);
        if taken == out.len() {
            out.clear();
            out.shrink_to(1 << 20);
            self.taken.set(0);
        } else if taken > out.len() / 2 {
            // What is gone goes, also of a link that never has nothing to write.
            out.drain(..taken);
            self.taken.set(0);
        }
        Ok(())
    }

    /// Keeps the connection up until the task is aborted.
    pub async fn run(self: Rc<Self>, host: Rc<dyn Host>) {
        let mut pause = Duration::ZERO;
        let mut last_error = String::new();
        let mut was_up = false;
        for attempt in 0usize.. {
            if !pause.is_zero() {
                let _ = timeout(pause, self.wake.notified()).await;
            }
            let mut candidates = self.candidates();
            let address = candidates.swap_remove(attempt % candidates.len());
            match self.dial(&address, &host).await {
                Ok(stream) => {
                    *self.reached.borrow_mut() = Some(address.clone());
                    tracing::info!("connected to member {:x} at {address}", self.peer.0);
                    last_error.clear();
                    let end = self.serve(stream, &*host).await;
                    tracing::info!("connection to member {:x} {end}", self.peer.0);
                    (was_up, pause) = (true, Duration::ZERO);
                }
                Err(error) => {
                    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                    if was_up && refused {
                        was_up = false;
                        host.send(Input::PeerLost(self.peer));
                    }
                    match error.get_ref().and_then(|e| e.downcast_ref()) {
                        Some(Farewell::Gone(text)) => host.send(Input::Removed(text.clone())),
                        Some(Farewell::PutBack(text)) => host.send(Input::PutBack(text.clone())),
                        None => {}
                    }
                    let text = error.to_string();
                    if text != last_error {
                        tracing::warn!("member {:x} at {address}: {text}", self.peer.0);
                        last_error = text;
                    }
                    pause = (pause * 2).clamp(limits::RECONNECT_MIN, limits::RECONNECT_MAX);
                }
            }
        }
    }

    async fn dial(&self, address: &str, host: &Rc<dyn Host>) -> io::Result<TcpStream> {
        let dial = async {
            let stream = TcpStream::connect(address).await?;
            pulse::prepare(&stream)?;
            let mut bytes = Vec::new();
            let hello = host.hello(Purpose::Stream, self.peer);
            frame::encode(Kind::Hello, &mut bytes, |out| hello.encode(out));
            write_all(&stream, &bytes).await?;
            let mut buffer = BytesMut::new();
            let (kind, body) = read_frame(&stream, &mut buffer, HELLO_BYTES_MAX).await?;
            let other = check_answer(&hello, kind, &body)?;
            self.says(addresses(&other.peer_urls));
            let met = Rc::clone(host).meet(other).await;
            met.map_err(|unwelcome| refused(unwelcome.text()))?;
            Ok(stream)
        };
        let max = host.silence_max().clamp(limits::HANDSHAKE_MIN, limits::HANDSHAKE_MAX);
        timeout(max, dial)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake")))
    }

    /// Ends when the peer closes, an error comes, or no byte is taken or answered for too long;
    /// says which.
    async fn serve(&self, stream: TcpStream, host: &dyn Host) -> &'static str {
        let stream = Rc::new(stream);
        self.pulse.begin();
        self.hold(Some(Rc::clone(&stream)));
        host.find(self.peer);
        let end = tokio::select! {
            () = self.hear(&stream) => "ended",
            () = self.push_out(&stream) => "takes nothing and was closed",
            () = self.pulse.stops(host.silence_max(), || self.ping()) => {
                "answers nothing and was closed"
            }
        };
        self.hold(None);
        end
    }

    /// Resolves when the peer closes, or says anything but that it hears.
    async fn hear(&self, stream: &TcpStream) {
        let mut buffer = BytesMut::new();
        while let Ok((Kind::Pong, _)) = read_frame(stream, &mut buffer, PONG_LEN).await {
            self.pulse.answered();
        }
    }

    /// Asks for a sign of life, unless other bytes wait to do so.
    fn ping(&self) {
        if self.out.borrow().is_empty() {
            frame::encode(Kind::Ping, &mut self.out.borrow_mut(), |_| {});
            self.flush();
        }
    }

    /// Ends when the socket fails. It must: a failed socket counts as writable, so trying again
    /// would never yield to the other tasks of the thread.
    async fn push_out(&self, stream: &TcpStream) {
        loop {
            self.blocked.notified().await;
            while !self.out.borrow().is_empty() {
                let writable = timeout(limits::STALL_MAX, stream.writable()).await;
                if !matches!(writable, Ok(Ok(()))) {
                    return;
                }
                match self.write(stream) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// Length of a frame without a payload.
const PONG_LEN: usize = 2;

/// A member says why this one has to stop.
#[derive(Debug, thiserror::Error)]
enum Farewell {
    /// It has left.
    #[error("{0}")]
    Gone(String),
    /// Its directory is an older image.
    #[error("{0}")]
    PutBack(String),
}

/// The connection ends for this reason.
pub fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// What the dialer makes of the acceptor's first frame: who answered, still to be looked at.
pub fn check_answer(hello: &Hello, kind: Kind, body: &[u8]) -> io::Result<Hello> {
    match kind {
        Kind::Welcome => {
            let other = Hello::decode(body).map_err(|error| refused(error.to_string()))?;
            hello.is_answered_by(&other).map_err(refused)?;
            Ok(other)
        }
        Kind::Gone | Kind::PutBack => {
            let text = String::from_utf8_lossy(body).into_owned();
            let farewell = match kind {
                Kind::Gone => Farewell::Gone(text),
                _ => Farewell::PutBack(text),
            };
            Err(io::Error::new(io::ErrorKind::PermissionDenied, farewell))
        }
        Kind::Refuse => Err(refused(format!("refused us: {}", String::from_utf8_lossy(body)))),
        _ => Err(refused("unexpected frame in the handshake".to_string())),
    }
}

/// Writes everything through a shared stream.
pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until one whole frame of at most `len_max` is there; surplus bytes stay in `buffer`.
pub async fn read_frame(
    stream: &TcpStream,
    buffer: &mut BytesMut,
    len_max: usize,
) -> io::Result<(Kind, bytes::Bytes)> {
    loop {
        let frame = frame::decode(buffer, len_max)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(frame) = frame {
            return Ok(frame);
        }
        fill(stream, buffer).await?;
    }
}

/// Waits for bytes and appends what has come; false when that was nothing after all.
pub async fn fill(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<bool> {
    stream.readable().await?;
    buffer.reserve(64 * 1024);
    match stream.try_read_buf(buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Incarnation, RequestId};
    use replica::{Forwarded, PeerBody};
    use std::sync::mpsc;

    #[test]
    fn a_link_whose_connection_was_reset_gives_up_and_does_not_spin() {
        let (done, ended) = mpsc::channel();
        // On a thread of its own: a loop that never yields cannot be timed out from inside.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("bound");
                let stream = TcpStream::connect(address).await.expect("connects");
                drop(listener.accept().await.expect("accepts"));
                let link = Link::new(NodeId(1), vec![address.to_string()]);
                // The first write to a closed socket is answered by a reset, later ones fail.
                let broken = |error: io::Error| error.kind() == io::ErrorKind::BrokenPipe;
                while !stream.try_write(b"x").is_err_and(broken) {
                    stream.writable().await.expect("writable");
                }
                link.out.borrow_mut().extend_from_slice(b"a frame");
                link.blocked.notify_one();
                link.push_out(&stream).await;
            });
            let _ = done.send(());
        });
        ended.recv_timeout(Duration::from_secs(20)).expect("the link gives up");
    }

    #[tokio::test]
    async fn what_a_peer_has_taken_counts_for_nothing_also_where_something_always_waits() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let link = Link::new(NodeId(1), vec![address.to_string()]);
        let stream = Rc::new(TcpStream::connect(address).await.expect("connects"));
        let (peer, _) = listener.accept().await.expect("accepts");
        link.hold(Some(Rc::clone(&stream)));
        let mut sent = 0;
        let mut into = vec![0; 1 << 20];
        while sent < 2 * OUTGOING_BYTES_MAX {
            // More than the socket takes at once, each time before all is taken.
            let frame = [7; 1 << 20];
            link.out.borrow_mut().extend_from_slice(&frame);
            sent += frame.len();
            let _ = link.write(&stream);
            assert!(link.out.borrow().len() <= 64 << 20, "what is gone goes");
            // Both sides go on by trying: neither is to wait for the other.
            while link.out.borrow().len() - link.taken.get() > 4 << 20 {
                let _ = peer.try_read(&mut into);
                let _ = link.write(&stream);
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_peer_that_takes_nothing_is_bounded() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let link = Link::new(NodeId(1), vec![address.to_string()]);
        let command = base::Blob::from(vec![7; 16 << 20]);
        let id = RequestId { origin: NodeId(2), incarnation: Incarnation(1), seq: 1 };
        let write = Forwarded { id, caller: mvcc::Caller::default(), command };
        let body = PeerBody::Forward(vec![write]);
        let message = PeerMessage { from: NodeId(2), to: NodeId(1), body };
        link.push(&message);
        assert!(link.out.borrow().is_empty(), "nothing is kept for who is not there");
        link.hold(Some(Rc::new(TcpStream::connect(address).await.expect("connects"))));
        let mut before = 0;
        for pushed in 1.. {
            link.push(&message);
            let len = link.out.borrow().len();
            if len == before {
                assert!(pushed > OUTGOING_BYTES_MAX / (17 << 20), "it took what may wait");
                break;
            }
            assert!(len <= OUTGOING_BYTES_MAX + (17 << 20), "one message overshoots");
            before = len;
        }
    }
}
