//! The incoming side: accepts members, checks who they are, and hands their frames on.

use super::addresses::canonical;
use super::frame::{self, Kind};
use super::intake::{Intake, Unhandled};
use super::link::{Host as _, fill, read_frame, refused, write_all};
use super::pulse::{self, Answers};
use super::shared::Shared;
use super::{bulk, limits};
use crate::metrics::Metrics;
use crate::node::input::Input;
use base::NodeId;
use base::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use bytes::BytesMut;
use member::join::{self, Ask};
use member::{Hello, Purpose};
use replica::PeerMessage;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Accepts until aborted.
pub async fn run(listener: TcpListener, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let handshakes = Rc::clone(&shared.handshakes);
                let shared = Rc::clone(&shared);
                handshakes.begin(async move {
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
    shared: &Rc<Shared>,
) -> io::Result<Option<(TcpStream, Hello, BytesMut)>> {
    pulse::prepare(&stream)?;
    let mut buffer = BytesMut::new();
    let (kind, body) = read_frame(&stream, &mut buffer, HELLO_BYTES_MAX).await?;
    if kind == Kind::Ask {
        return answer_newcomer(&stream, &body, shared).await.map(|()| None);
    }
    if kind != Kind::Hello {
        return Err(refused(format!("first frame is {kind:?}, not a hello")));
    }
    let mut answer = Vec::new();
    let checked = match Hello::decode(&body) {
        Ok(hello) => match shared.refusal(&hello).await {
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
            Err(refused(text))
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
    // It may have left while it was answered.
    if !shared.has_place(from) {
        return;
    }
    shared.learn_way_back(hello);
    if let Some(link) = shared.members.link(from) {
        link.wake();
    }
    match hello.purpose {
        Purpose::Bulk => bulk::receive(stream, from, buffer, shared),
        Purpose::Stream => {
            let reader = Rc::clone(shared);
            let task = tokio::task::spawn_local(async move {
                let hand = |body: &[u8], room| take(body, room, from, &reader);
                let intake = Intake::default();
                let Err(error) =
                    read_messages(stream, buffer, &intake, &reader.metrics, hand).await;
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

/// Reads as long as there is room for what it hands on.
async fn read_messages(
    stream: TcpStream,
    mut buffer: BytesMut,
    intake: &Intake,
    metrics: &Metrics,
    hand: impl Fn(&[u8], Unhandled) -> io::Result<()>,
) -> io::Result<Infallible> {
    let mut answers = Answers::default();
    loop {
        while let Some((kind, body)) =
            frame::decode(&mut buffer, FRAME_BYTES_MAX).map_err(invalid)?
        {
            metrics.received_bytes.add(body.len() as u64 + 10);
            match kind {
                Kind::Message => hand(&body, intake.take(body.len()).await)?,
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

fn take(body: &[u8], room: Unhandled, from: NodeId, shared: &Shared) -> io::Result<()> {
    let message = PeerMessage::decode(body).map_err(invalid)?;
    if message.from != from || message.to != shared.member {
        return Err(invalid("message under a false name"));
    }
    shared.send(Input::Peer(message, room));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::task::yield_now;

    const BODY: [u8; 1000] = [7; 1000];

    #[tokio::test]
    async fn a_peer_is_not_read_while_too_much_of_it_is_unhandled_and_loses_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let sender = TcpStream::connect(address).await.expect("connects");
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut bytes = Vec::new();
        for number in 0..10 {
            frame::encode(Kind::Message, &mut bytes, |out| {
                out.extend_from_slice(&BODY);
                out.push(number);
            });
        }
        write_all(&sender, &bytes).await.expect("it fits the kernel");
        let handed = RefCell::new(Vec::new());
        let hand = |body: &[u8], room| {
            handed.borrow_mut().push((body[BODY.len()], room));
            Ok(())
        };
        let (intake, metrics) = (Intake::of(3, 1001), Metrics::default());
        let reading = read_messages(stream, BytesMut::new(), &intake, &metrics, hand);
        let handling = async {
            let mut seen = Vec::new();
            while seen.len() < 10 {
                while handed.borrow().len() < 3.min(10 - seen.len()) {
                    yield_now().await;
                }
                for _ in 0..100 {
                    yield_now().await;
                    assert!(handed.borrow().len() <= 3, "the room is for three");
                }
                seen.extend(handed.borrow_mut().drain(..).map(|(number, _)| number));
            }
            seen
        };
        let seen = tokio::select! {
            end = reading => panic!("the stream ended: {end:?}"),
            seen = handling => seen,
        };
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }
}
