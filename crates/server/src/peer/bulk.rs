//! Checkpoints to a peer that fell behind the log: a connection and a thread of their own on
//! both sides, so that heartbeats never queue behind them.

use super::frame::{self, Kind};
use super::greet::{greet_one, invalid};
use super::limits;
use super::link::Host as _;
use super::mend;
use super::shared::Shared;
use crate::disk::Files;
use crate::node::input::Input;
use base::NodeId;
use base::codec::Get;
use base::limits::{CHECKPOINT_BYTES_MAX, CHECKPOINT_CHUNK_BYTES, CHECKPOINTS_TAKEN_MAX};
use bytes::{Bytes, BytesMut};
use member::checkpoints::{Incoming, Offered, decode_offer, encode_offer};
use member::{Purpose, Sending};
use std::fmt;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// Why a checkpoint did not reach its peer.
#[derive(Debug)]
enum Failed {
    /// The connection or the peer.
    There(io::Error),
    /// The file here: no other attempt with it can succeed.
    Here(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::There(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(error) => error.fmt(f),
            Self::Here(why) => write!(f, "the checkpoint here cannot be sent: {why}"),
        }
    }
}

/// Sends the latest checkpoint; the outcome comes as `Input::SnapshotSent`, after
/// `Input::CheckpointUnfit` where this member's own file is to blame.
pub fn send(sending: Sending, shared: &Rc<Shared>) {
    let Sending { to, written, .. } = sending;
    let addresses = match shared.members.link(to) {
        Some(link) => link.candidates(),
        None => Vec::new(),
    };
    let hello = shared.hello(Purpose::Bulk, to);
    let (files, inbox) = (shared.files.clone(), shared.inbox.clone());
    let seen = shared.met.borrow().seen();
    let work = move || {
        // What is sent is made first, which may take long: who is greeted waits for no more than a
        // moment.
        let offered = sending.offer(&files.place, &files.archive);
        let sent = offered.map_err(|error| Failed::Here(error.to_string())).and_then(|offered| {
            let greeted = greet_one(&addresses, &hello, &seen).map_err(Failed::There)?;
            transfer(greeted, offered, &files, sending)
        });
        match &sent {
            Ok(bytes) => tracing::info!("checkpoint of {bytes} bytes sent to {:x}", to.0),
            Err(error) => tracing::warn!("checkpoint to {:x}: {error}", to.0),
        }
        if let Err(Failed::Here(_)) = &sent {
            let _ = inbox.send(Input::CheckpointUnfit { written });
        }
        let _ = inbox.send(Input::SnapshotSent { to, ok: sent.is_ok() });
    };
    if crate::aside::spawn("quorate-send", work).is_err() {
        shared.send(Input::SnapshotSent { to, ok: false });
    }
}

fn transfer(
    (mut stream, mut buffer): (TcpStream, BytesMut),
    (offer, mut file): Offered,
    files: &Files,
    sending: Sending,
) -> Result<u64, Failed> {
    stream.set_read_timeout(Some(limits::STALL_MAX))?;
    let mut out = Vec::new();
    let size = offer.len;
    frame::encode(Kind::BulkBegin, &mut out, |out| encode_offer(&offer, out));
    stream.write_all(&out)?;
    let mut sent = match await_word(&mut stream, &mut buffer)? {
        (Kind::BulkBegin, body) => Get::new(&body).u64().map_err(|e| invalid(e.to_string()))?,
        (kind, _) => return Err(invalid(format!("unexpected {kind:?}")).into()),
    };
    let mut chunk = vec![0; CHECKPOINT_CHUNK_BYTES];
    while sent < size {
        let want = chunk.len().min(usize::try_from(size - sent).unwrap_or(usize::MAX));
        let got = file.read_at(sent, &mut chunk[..want]);
        let got = got.map_err(|error| Failed::Here(format!("{}: {error}", offer.name)))?;
        if got < want {
            return Err(Failed::Here(format!("{} ends at byte {}", offer.name, sent)));
        }
        out.clear();
        frame::encode(Kind::BulkChunk, &mut out, |out| out.extend_from_slice(&chunk[..want]));
        stream.write_all(&out)?;
        sent += want as u64;
    }
    out.clear();
    frame::encode(Kind::BulkEnd, &mut out, |_| {});
    stream.write_all(&out)?;
    match await_word(&mut stream, &mut buffer)? {
        (Kind::BulkDone, body) if body.first() == Some(&1) => Ok(size),
        (Kind::BulkDone, body) => {
            if let Some(error) = sending.look_again(&files.place, &offer, &files.archive) {
                return Err(Failed::Here(error.to_string()));
            }
            let text = body.get(1..).unwrap_or_default();
            Err(invalid(String::from_utf8_lossy(text).into_owned()).into())
        }
        (kind, _) => Err(invalid(format!("unexpected {kind:?}")).into()),
    }
}

/// What the receiver says next, which may take it long: it says meanwhile that it is at work.
fn await_word(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<(Kind, Bytes)> {
    let begun = Instant::now();
    while begun.elapsed() < limits::BULK_STALL_MAX {
        match frame::read_blocking(stream, buffer)? {
            (Kind::Pong, _) => {}
            word => return Ok(word),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Runs `work`, and says once a second that it goes on.
fn at_work<T>(stream: &TcpStream, work: impl FnOnce() -> T) -> T {
    let mut sign = Vec::new();
    frame::encode(Kind::Pong, &mut sign, |_| {});
    let (done, waits) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pause = || waits.recv_timeout(limits::SIGN_INTERVAL);
            let mut stream = stream;
            // A sender that is gone is noticed when it is answered.
            while pause() == Err(mpsc::RecvTimeoutError::Timeout) && stream.write_all(&sign).is_ok()
            {
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Room for one more checkpoint, until it is dropped.
fn place(taking: &Arc<()>) -> Option<Arc<()>> {
    (Arc::strong_count(taking) <= CHECKPOINTS_TAKEN_MAX).then(|| Arc::clone(taking))
}

/// Takes over an accepted connection after its handshake.
pub fn receive(stream: tokio::net::TcpStream, from: NodeId, buffer: BytesMut, shared: &Shared) {
    let (files, inbox) = (shared.files.clone(), shared.inbox.clone());
    // Closed, the sender begins again later.
    let Some(place) = place(&shared.state.taking) else {
        return tracing::warn!("checkpoint from {:x}: too many are coming in", from.0);
    };
    let work = move || {
        let _place = place;
        let taken = stream.into_std().and_then(|stream| {
            stream.set_nonblocking(false)?;
            take(stream, buffer, (&files, &inbox))
        });
        match taken {
            // It asked for something.
            Ok(None) => {}
            Ok(Some(installed)) => {
                tracing::info!("checkpoint at {} taken from {:x}", installed.index, from.0);
                let _ = inbox.send(Input::Installed(Box::new(installed)));
            }
            Err(error) => tracing::warn!("checkpoint from {:x}: {error}", from.0),
        }
    };
    if let Err(error) = crate::aside::spawn("quorate-take", work) {
        tracing::warn!("checkpoint from {:x}: {error}", from.0);
    }
}

fn take(
    mut stream: TcpStream,
    mut buffer: BytesMut,
    (files, inbox): (&Files, &UnboundedSender<Input>),
) -> io::Result<Option<replica::Installed>> {
    stream.set_read_timeout(Some(limits::STALL_MAX))?;
    let (kind, body) = frame::read_blocking(&mut stream, &mut buffer)?;
    if kind == Kind::MendAsk {
        mend::serve(&mut stream, &mut buffer, body, (files, inbox))?;
        return Ok(None);
    }
    let result = take_file(&mut stream, &mut buffer, (kind, &body), files);
    tell(&mut stream, result).map(Some)
}

/// The sender hears how it went if it still can. What was taken is in place either way, and the
/// replica must go by it.
fn tell(
    stream: &mut impl io::Write,
    result: io::Result<replica::Installed>,
) -> io::Result<replica::Installed> {
    let mut out = Vec::new();
    frame::encode(Kind::BulkDone, &mut out, |out| match &result {
        Ok(_) => out.push(1),
        Err(error) => {
            out.push(0);
            out.extend_from_slice(error.to_string().as_bytes());
        }
    });
    if let Err(error) = stream.write_all(&out) {
        tracing::warn!("how the checkpoint went cannot be told to its sender: {error}");
    }
    result
}

fn take_file(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    (kind, body): (Kind, &[u8]),
    files: &Files,
) -> io::Result<replica::Installed> {
    let offer = match kind {
        Kind::BulkBegin => decode_offer(body).map_err(|error| invalid(error.to_string()))?,
        kind => return Err(invalid(format!("unexpected {kind:?}"))),
    };
    if offer.len > CHECKPOINT_BYTES_MAX {
        return Err(invalid(format!("checkpoint of {} bytes is too large", offer.len)));
    }
    let begun = at_work(stream, || Incoming::begin(&files.place, &offer));
    let mut incoming = begun.map_err(io::Error::other)?;
    let mut out = Vec::new();
    let offset = incoming.offset();
    frame::encode(Kind::BulkBegin, &mut out, |out| out.extend_from_slice(&offset.to_le_bytes()));
    stream.write_all(&out)?;
    loop {
        match frame::read_blocking(stream, buffer)? {
            (Kind::BulkChunk, body) => incoming.write(&body).map_err(io::Error::other)?,
            (Kind::BulkEnd, _) => {
                let finished = at_work(stream, || incoming.finish(&files.place, &files.archive));
                return finished.map_err(io::Error::other);
            }
            (kind, _) => return Err(invalid(format!("unexpected {kind:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_checkpoints_are_taken_in_at_once_and_no_more() {
        let all = Arc::new(());
        let mut places: Vec<_> = (0..CHECKPOINTS_TAKEN_MAX).map_while(|_| place(&all)).collect();
        assert_eq!(places.len(), CHECKPOINTS_TAKEN_MAX);
        assert!(place(&all).is_none());
        places.pop();
        assert!(place(&all).is_some(), "one has ended");
    }

    struct Gone;

    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_checkpoint_that_is_in_place_reaches_the_replica_when_its_sender_is_gone() {
        let config = crate::bootstrap::from_flags(&crate::config::Config::single("a"));
        let installed = replica::Installed {
            index: base::LogIndex(7),
            ballot: base::Ballot::new(1, 2),
            config: config.expect("one member").config,
            store: mvcc::Store::new(mvcc::Limits::default()),
            extra: Vec::new(),
        };
        let told = tell(&mut Gone, Ok(installed)).expect("it is there");
        assert_eq!(told.index, base::LogIndex(7));
        assert!(tell(&mut Gone, Err(invalid("damaged"))).is_err());
    }

    #[test]
    fn a_checkpoint_larger_than_any_is_refused_before_a_byte_of_it_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut sender = TcpStream::connect(address).expect("connects");
        let (mut stream, _) = listener.accept().expect("accepts");
        let offer = store::CheckpointFile {
            name: String::new(),
            index: base::LogIndex(7),
            ballot: base::Ballot::new(1, 2),
            len: CHECKPOINT_BYTES_MAX + 1,
            digest: 0,
        };
        let mut out = Vec::new();
        frame::encode(Kind::BulkBegin, &mut out, |out| encode_offer(&offer, out));
        sender.write_all(&out).expect("it fits the kernel");
        let place = crate::disk::Place::new("/nowhere".into(), None);
        let files = Files { place, archive: member::Archive::new(0), room: Arc::default() };
        let mut buffer = BytesMut::new();
        let (kind, body) = frame::read_blocking(&mut stream, &mut buffer).expect("an offer");
        let taken = take_file(&mut stream, &mut buffer, (kind, &body), &files);
        let error = taken.err().expect("it is refused");
        assert_eq!(error.to_string(), "checkpoint of 1099511627777 bytes is too large");
    }
}
