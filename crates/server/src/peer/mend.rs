//! Damaged values: other members are asked for them, on a connection and a thread of their own, and
//! asked again while nobody has them.

use super::frame::{self, Kind};
use super::greet::{greet_one, invalid};
use super::limits;
use super::link::Host as _;
use super::shared::Shared;
use crate::disk::Files;
use crate::node::input::{Control, Input};
use base::NodeId;
use base::limits::MEND_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use cluster::Compiled;
use member::meet::Seen;
use member::mend::{Asking, answer, decode_ask, encode_ask};
use member::{Hello, Purpose};
use mvcc::View;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Between two rounds that ask everybody, at first and at last.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether the member has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the voter may take to give a view.
const VIEW_MAX: Duration = Duration::from_secs(5);

/// A member that holds data.
struct Peer {
    id: NodeId,
    addresses: Vec<String>,
    hello: Hello,
}

/// Asks every member that holds data, after a pause; the outcome comes as `Input::Mended`.
pub fn begin(config: &Compiled, pause: Duration, shared: &Rc<Shared>) {
    let others = config.config().members.iter().map(|member| member.id);
    let others = others.filter(|id| *id != shared.member && !config.is_witness(*id));
    let peers: Vec<Peer> = others
        .filter_map(|id| {
            let addresses = shared.members.link(id)?.candidates();
            Some(Peer { id, addresses, hello: shared.hello(Purpose::Bulk, id) })
        })
        .collect();
    let (files, inbox) = (shared.files.clone(), shared.inbox.clone());
    let seen = shared.met.borrow().seen();
    let failed = inbox.clone();
    let work = move || {
        let until = Instant::now() + pause;
        while Instant::now() < until && !inbox.is_closed() {
            std::thread::sleep(until.duration_since(Instant::now()).min(LOOK_INTERVAL));
        }
        let mut gave = false;
        for peer in &peers {
            if !files.archive.wounds().asks() || inbox.is_closed() {
                break;
            }
            match ask(peer, &seen, &files, &inbox) {
                Ok(ranges) => {
                    gave |= ranges > 0;
                    let from = peer.id.0;
                    tracing::info!("{ranges} ranges of damaged values came from {from:x}");
                }
                Err(error) => tracing::warn!("damaged values, asking {:x}: {error}", peer.id.0),
            }
        }
        if !gave {
            files.archive.wounds().in_vain();
        }
        let _ = inbox.send(Input::Mended { gave, pause });
    };
    if crate::aside::spawn("quorate-mend", work).is_err() {
        let _ = failed.send(Input::Mended { gave: false, pause });
    }
}

/// The newest data, from the thread that votes.
fn view(inbox: &UnboundedSender<Input>) -> io::Result<View> {
    let (tell, told) = mpsc::channel();
    let look = Box::new(move |replica: &replica::Replica| {
        let _ = tell.send(replica.store().view());
    });
    let _ = inbox.send(Input::Control(Control::Look(look)));
    told.recv_timeout(VIEW_MAX).map_err(|_| io::ErrorKind::TimedOut.into())
}

/// Asks one for everything; how many ranges of revisions it gave.
fn ask(
    peer: &Peer,
    seen: &Seen,
    files: &Files,
    inbox: &UnboundedSender<Input>,
) -> io::Result<usize> {
    let (mut stream, mut buffer) = greet_one(&peer.addresses, &peer.hello, seen)?;
    stream.set_read_timeout(Some(limits::STALL_MAX))?;
    let (mut ranges, mut asking) = (0, Asking::new(files.archive.wounds()));
    while let Some(ask) = asking.next_ask() {
        let mut out = Vec::new();
        frame::encode(Kind::MendAsk, &mut out, |out| encode_ask(&ask, out));
        stream.write_all(&out)?;
        let (kind, body) = frame::read_blocking(&mut stream, &mut buffer)?;
        if kind != Kind::MendAnswer {
            return Err(invalid(format!("unexpected {kind:?}")));
        }
        let gave = asking.take(&ask, &view(inbox)?, &body);
        ranges += usize::from(gave.map_err(|error| invalid(error.to_string()))?);
    }
    Ok(ranges)
}

/// Answers a peer whose first question is `body`, until it has no more.
pub fn serve(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    mut body: Bytes,
    (files, inbox): (&Files, &UnboundedSender<Input>),
) -> io::Result<()> {
    let mut shelf = files.archive.reader(&files.place).map_err(io::Error::other)?;
    loop {
        let ask = decode_ask(&body).map_err(|error| invalid(error.to_string()))?;
        let answer = answer(&view(inbox)?, &ask, MEND_BYTES_MAX, &mut shelf);
        let mut out = Vec::new();
        frame::encode(Kind::MendAnswer, &mut out, |out| out.extend_from_slice(&answer));
        stream.write_all(&out)?;
        body = match frame::read_blocking(stream, buffer) {
            Ok((Kind::MendAsk, body)) => body,
            Ok((kind, _)) => return Err(invalid(format!("unexpected {kind:?}"))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
    }
}
