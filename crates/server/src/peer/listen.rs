//! The incoming side: accepts members, checks who they are, and hands their frames on.

use super::frame::{self, Kind};
use super::link::{fill, read_frame, write_all};
use super::members::{Members, canonical};
use super::pulse::{self, Answers};
use super::{bulk, limits};
use crate::disk::Files;
use crate::metrics::Metrics;
use crate::node::input::Input;
use base::NodeId;
use base::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use bytes::BytesMut;
use cluster::Configuration;
use member::join::{self, Ask};
use member::{Hello, Peers, Purpose, Unwelcome};
use replica::PeerMessage;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// What every connection of this member needs to know.
pub struct Shared {
    pub cluster: u64,
    pub member: NodeId,
    /// A peer that answers nothing for this long is dialled again: the election timeout.
    pub silence_max: Duration,
    /// The bootstrap configuration.
    pub config: Arc<Configuration>,
    pub name: String,
    pub client_urls: Vec<String>,
    /// The others, as far as this member knows them.
    pub met: RefCell<Peers>,
    pub files: Files,
    pub inbox: UnboundedSender<Input>,
    pub metrics: Arc<Metrics>,
    pub members: Members,
    pub state: State,
}

/// What connections learn; starts empty.
#[derive(Default)]
pub struct State {
    pub incoming: RefCell<BTreeMap<NodeId, AbortHandle>>,
    /// Names and client URLs as the peers announced them.
    pub announced: RefCell<BTreeMap<NodeId, (String, Vec<String>)>>,
    /// The configuration, or what a peer says of itself, is another than when last looked at.
    pub news: Cell<bool>,
    last_refusal: RefCell<String>,
}

impl Shared {
    pub fn hello(&self, purpose: Purpose, to: NodeId) -> Hello {
        self.met.borrow().hello(purpose, to)
    }

    /// A closed inbox means the node is stopping; nobody needs the input then.
    pub fn send(&self, input: Input) {
        let _ = self.inbox.send(input);
    }

    /// Why `hello` may not come in, in words.
    fn refusal(&self, hello: &Hello) -> Option<(Kind, String)> {
        let Err(unwelcome) = self.met.borrow_mut().admit(hello) else {
            self.learn(hello);
            return None;
        };
        Some(match unwelcome {
            Unwelcome::Gone(text) => (Kind::Gone, text),
            Unwelcome::PutBack(text) => (Kind::PutBack, text),
            Unwelcome::Unremembered(text) | Unwelcome::Other(text) => (Kind::Refuse, text),
        })
    }

    /// Looks at a member that was called and has answered.
    pub fn meet(&self, hello: &Hello) -> Result<(), Unwelcome> {
        self.met.borrow_mut().meet(hello.member, hello.life())?;
        self.learn(hello);
        Ok(())
    }

    /// Where it serves clients, and under which name.
    fn learn(&self, hello: &Hello) {
        let said = (hello.name.clone(), hello.client_urls.clone());
        let before = self.state.announced.borrow_mut().insert(hello.member, said.clone());
        if before != Some(said) {
            self.state.news.set(true);
        }
    }

    /// Name and client URLs as the member itself gave them, if it has spoken since the start here.
    pub fn said(&self, id: NodeId) -> Option<(String, Vec<String>)> {
        if id == self.member {
            return Some((self.name.clone(), self.client_urls.clone()));
        }
        self.state.announced.borrow().get(&id).cloned()
    }

    /// Says that a peer can be spoken to, once the connections of both directions stand.
    pub fn find(&self, peer: NodeId) {
        let heard = self.state.incoming.borrow().get(&peer).is_some_and(|task| !task.is_finished());
        if heard && self.members.link(peer).is_some_and(|link| link.is_connected()) {
            self.send(Input::PeerFound(peer));
        }
    }

    /// Logs a refusal once, however often the peer comes back with it.
    fn log_refusal(&self, from: &str, text: &str) {
        let line = format!("refused {from}: {text}");
        if *self.state.last_refusal.borrow() != line {
            tracing::error!("{line}");
            *self.state.last_refusal.borrow_mut() = line;
        }
    }
}

/// Accepts until aborted.
pub async fn run(listener: TcpListener, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    let welcome = timeout(limits::HANDSHAKE_MAX, welcome(stream, &shared)).await;
                    match welcome {
                        Ok(Ok(Some((stream, hello, buffer)))) => {
                            start(stream, &hello, buffer, &shared);
                        }
                        Ok(Ok(None)) => {}
                        Ok(Err(error)) => {
                            shared.log_refusal(&address.ip().to_string(), &error.to_string());
                        }
                        Err(_) => tracing::debug!("{address} sent no handshake"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!("accepting members: {error}");
                tokio::time::sleep(limits::RECONNECT_MIN).await;
            }
        }
    }
}

/// None after a newcomer's question was answered.
async fn welcome(
    stream: TcpStream,
    shared: &Shared,
) -> io::Result<Option<(TcpStream, Hello, BytesMut)>> {
    pulse::prepare(&stream)?;
    let mut buffer = BytesMut::new();
    let (kind, body) = read_frame(&stream, &mut buffer, HELLO_BYTES_MAX).await?;
    let refuse = |text: String| io::Error::new(io::ErrorKind::PermissionDenied, text);
    if kind == Kind::Ask {
        return answer_newcomer(&stream, &body, shared).await.map(|()| None);
    }
    if kind != Kind::Hello {
        return Err(refuse(format!("first frame is {kind:?}, not a hello")));
    }
    let mut answer = Vec::new();
    let checked = match Hello::decode(&body) {
        Ok(hello) => match shared.refusal(&hello) {
            None => Ok(hello),
            Some(refusal) => Err(refusal),
        },
        Err(error) => Err((Kind::Refuse, error.to_string())),
    };
    match checked {
        Ok(hello) => {
            let mine = shared.hello(hello.purpose, hello.member);
            frame::encode(Kind::Welcome, &mut answer, |out| mine.encode(out));
            write_all(&stream, &answer).await?;
            Ok(Some((stream, hello, buffer)))
        }
        Err((kind, text)) => {
            frame::encode(kind, &mut answer, |out| out.extend_from_slice(text.as_bytes()));
            write_all(&stream, &answer).await?;
            Err(refuse(text))
        }
    }
}

async fn answer_newcomer(stream: &TcpStream, body: &[u8], shared: &Shared) -> io::Result<()> {
    let ask = Ask::decode(body);
    let answer = match &ask {
        Ok(ask) => shared.met.borrow().introduce(ask, &canonical),
        Err(error) => Err(join::No::Never(error.to_string())),
    };
    let mut out = Vec::new();
    frame::encode(Kind::Answer, &mut out, |out| join::encode_answer(&answer, out));
    write_all(stream, &out).await
}

fn start(stream: TcpStream, hello: &Hello, buffer: BytesMut, shared: &Rc<Shared>) {
    let from = hello.member;
    shared.learn_way_back(hello);
    if let Some(link) = shared.members.link(from) {
        link.wake();
    }
    match hello.purpose {
        Purpose::Bulk => bulk::receive(stream, from, buffer, shared),
        Purpose::Stream => {
            let reader = Rc::clone(shared);
            let task = tokio::task::spawn_local(async move {
                let Err(error) = read_messages(stream, from, buffer, &reader).await;
                if error.kind() == io::ErrorKind::InvalidData {
                    tracing::error!("stream of member {:x} closed: {error}", from.0);
                } else {
                    tracing::debug!("stream of member {:x} ended: {error}", from.0);
                }
            });
            let old = shared.state.incoming.borrow_mut().insert(from, task.abort_handle());
            // A member has one stream; an older one is a leftover of a lost connection.
            if let Some(old) = old {
                old.abort();
            }
            shared.find(from);
        }
    }
}

async fn read_messages(
    stream: TcpStream,
    from: NodeId,
    mut buffer: BytesMut,
    shared: &Shared,
) -> io::Result<Infallible> {
    let mut answers = Answers::default();
    loop {
        while let Some((kind, body)) =
            frame::decode(&mut buffer, FRAME_BYTES_MAX).map_err(invalid)?
        {
            shared.metrics.received_bytes.add(body.len() as u64 + 10);
            match kind {
                Kind::Message => take(&body, from, shared)?,
                Kind::Ping => {}
                kind => return Err(invalid(format!("unexpected {kind:?}"))),
            }
        }
        if fill(&stream, &mut buffer).await? {
            answers.answer(&stream)?;
        }
    }
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

fn take(body: &[u8], from: NodeId, shared: &Shared) -> io::Result<()> {
    let message = PeerMessage::decode(body).map_err(invalid)?;
    if message.from != from || message.to != shared.member {
        return Err(invalid("message under a false name"));
    }
    shared.send(Input::Peer(message));
    Ok(())
}
