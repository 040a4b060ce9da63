//! The incoming side: accepts members, checks who they are, and hands their frames on.

use super::births::Unwelcome;
use super::frame::{self, Kind};
use super::hello::{Hello, PROTOCOL, Purpose};
use super::join::{self, Ask, Introduction};
use super::link::{fill, read_frame, write_all};
use super::members::Members;
use super::pulse::{self, Answers};
use super::{Births, bulk, limits};
use crate::disk::Files;
use crate::node::input::Input;
use base::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use base::{Incarnation, NodeId};
use bytes::BytesMut;
use cluster::Configuration;
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
    pub incarnation: Incarnation,
    pub birth: u64,
    /// A peer that answers nothing for this long is dialled again: the election timeout.
    pub silence_max: Duration,
    /// The bootstrap configuration.
    pub config: Arc<Configuration>,
    pub name: String,
    pub client_urls: Vec<String>,
    pub peer_urls: Vec<String>,
    pub births: Births,
    pub files: Files,
    pub inbox: UnboundedSender<Input>,
    pub members: Members,
    pub state: State,
}

/// What connections learn; starts empty.
#[derive(Default)]
pub struct State {
    pub incoming: RefCell<BTreeMap<NodeId, AbortHandle>>,
    /// Names and client URLs as the peers announced them.
    pub announced: RefCell<BTreeMap<NodeId, (String, Vec<String>)>>,
    pub received_bytes: Cell<u64>,
    last_refusal: RefCell<String>,
}

impl Shared {
    pub fn hello(&self, purpose: Purpose, to: NodeId) -> Hello {
        Hello {
            purpose,
            protocol: PROTOCOL,
            cluster: self.cluster,
            member: self.member,
            to,
            incarnation: self.incarnation,
            birth: self.birth,
            config: Arc::clone(&self.config),
            name: self.name.clone(),
            client_urls: self.client_urls.clone(),
            peer_urls: self.peer_urls.clone(),
        }
    }

    /// A closed inbox means the node is stopping; nobody needs the input then.
    pub fn send(&self, input: Input) {
        let _ = self.inbox.send(input);
    }

    /// Why `hello` may not come in, in words.
    fn refusal(&self, hello: &Hello) -> Option<(Kind, String)> {
        let mine = self.hello(hello.purpose, hello.member);
        if let Some(difference) = mine.difference(hello) {
            return Some((Kind::Refuse, difference));
        }
        if let Some(name) = self.members.gone(hello.member) {
            let (id, cluster) = (hello.member.0, self.cluster);
            let text = format!("member {name} ({id:x}) was removed from cluster {cluster:x}");
            return Some((Kind::Gone, text));
        }
        self.meet(hello).err().map(|unwelcome| match unwelcome {
            Unwelcome::PutBack(text) => (Kind::PutBack, text),
            Unwelcome::Other(text) => (Kind::Refuse, text),
        })
    }

    /// Checks the peer's birth and incarnation, and learns where it serves clients.
    pub fn meet(&self, hello: &Hello) -> Result<(), Unwelcome> {
        let written = self.members.life_of(hello.member);
        self.births.check(hello.member, hello.birth, hello.incarnation, written)?;
        let said = (hello.name.clone(), hello.client_urls.clone());
        self.state.announced.borrow_mut().insert(hello.member, said);
        Ok(())
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
        Ok(ask) => shared.members.introduce(ask, &shared.births).map(|member| Introduction {
            cluster: shared.cluster,
            member,
            config: Configuration::clone(&shared.config),
        }),
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
            let counter = &shared.state.received_bytes;
            counter.set(counter.get() + body.len() as u64 + 10);
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
