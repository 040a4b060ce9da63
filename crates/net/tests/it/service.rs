//! A service that answers in plain HTTP: `/echo` the body, `/pieces` a stream, `/endless` one
//! without an end, `/broken` one that ends badly, `/never` nothing. In gRPC it answers `/t/Long`
//! at some length, and `/t/Stream` each message with an empty one.

use bytes::Bytes;
use later::{Later, Promise, promise};
use net::{
    Answer, Call, CallStats, HttpBody, HttpReply, HttpRequest, KeepAlive, Kind, Limits, Opening,
    Requests, Server, Service, Source, Status, Turn,
};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;

pub struct Plain {
    stats: Rc<CallStats>,
    /// Pieces made so far.
    pub made: Rc<Cell<usize>>,
    /// Messages that were handed to it.
    pub asked: Rc<Cell<usize>>,
    kept: RefCell<Vec<Promise<HttpReply>>>,
}

/// An answer to `/t/Long`.
pub const LONG_BYTES: usize = 100_000;

/// gRPC's prefix and so many bytes.
pub fn message(bytes: usize) -> Bytes {
    let [a, b, c, d] = u32::try_from(bytes).unwrap().to_be_bytes();
    [&[0, a, b, c, d][..], &vec![b'm'; bytes]].concat().into()
}

/// An empty message for each that comes.
struct Echoes {
    requests: Box<dyn Requests>,
    asked: Rc<Cell<usize>>,
}

impl Source for Echoes {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.requests.poll_next(cx).map(|next| match next {
            Some(Ok(_)) => {
                self.asked.set(self.asked.get() + 1);
                Turn::Message
            }
            Some(Err(status)) => Turn::End(Err(status)),
            None => Turn::End(Ok(())),
        })
    }

    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        Some(Ok(message(0)))
    }
}

pub const PIECE_BYTES: usize = 1000;

struct Pieces {
    left: usize,
    well: bool,
    made: Rc<Cell<usize>>,
}

impl Source for Pieces {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Turn> {
        Poll::Ready(match self.left {
            0 if self.well => Turn::End(Ok(())),
            0 => Turn::End(Err(Status::new(13_u32, "broken"))),
            _ => Turn::Message,
        })
    }

    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        self.left -= 1;
        self.made.set(self.made.get() + 1);
        Some(Ok(vec![b'x'; PIECE_BYTES].into()))
    }
}

impl Plain {
    /// An answer is waited for.
    pub fn has_promised(&self) -> bool {
        !self.kept.borrow().is_empty()
    }

    /// Forgets what it promised.
    pub fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    fn pieces(&self, left: usize, well: bool) -> Later<HttpReply> {
        let body = HttpBody::Stream(Box::new(Pieces { left, well, made: Rc::clone(&self.made) }));
        Later::now(HttpReply { code: 200, content_type: "text/plain", body })
    }
}

impl Service for Plain {
    fn method(&self, path: &str) -> Result<(u16, Kind), Status> {
        match path {
            "/t/Long" => Ok((0, Kind::Unary)),
            "/t/Stream" => Ok((1, Kind::Bidi)),
            _ => Err(Status::new(12_u32, path.to_owned())),
        }
    }
    fn stats(&self) -> &Rc<CallStats> {
        &self.stats
    }
    fn stopped(&self) -> Status {
        Status::new(14_u32, "stopped")
    }
    fn unary(&self, _: Call, _: Bytes) -> Answer {
        self.asked.set(self.asked.get() + 1);
        Later::now(Ok(message(LONG_BYTES).into()))
    }
    fn server_stream(&self, _: Call, _: Bytes) -> Opening {
        unreachable!("there is no such method")
    }
    fn bidi(&self, _: Call, requests: Box<dyn Requests>) -> Opening {
        Later::now(Ok(Box::new(Echoes { requests, asked: Rc::clone(&self.asked) })))
    }

    fn http(&self, request: HttpRequest) -> Later<HttpReply> {
        match &request.target[..] {
            "/pieces" => self.pieces(3, true),
            "/endless" => self.pieces(usize::MAX, true),
            "/broken" => self.pieces(2, false),
            "/never" => {
                let (answer, later) = promise(later::Asker::nobody(), |reply| reply);
                self.kept.borrow_mut().push(answer);
                later
            }
            target => {
                let head = format!("{} {target} ", request.method);
                Later::now(HttpReply::whole(
                    200,
                    "text/plain",
                    [head.as_bytes(), &request.body].concat(),
                ))
            }
        }
    }
}

/// Waits until it holds; a test that waits for ever is ended by who runs it.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// A server of it under test.
pub struct Stage {
    pub address: SocketAddr,
    pub service: Rc<Plain>,
    pub server: Rc<Server>,
}

/// Requests have at most so many bytes, and what gRPC adds.
pub const REQUEST_BYTES_MAX: usize = 1000;

/// Runs `test` against a fresh server on this thread.
pub fn with_server<F: Future<Output = ()>>(test: impl FnOnce(Stage) -> F) {
    with_limits(Limits::default(), test);
}

/// As [`with_server`], with other limits.
pub fn with_limits<F: Future<Output = ()>>(limits: Limits, test: impl FnOnce(Stage) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stats, made, asked) = (CallStats::new(2), Rc::default(), Rc::default());
        let service = Rc::new(Plain { stats, made, asked, kept: RefCell::default() });
        let limits = Limits { request_bytes_max: REQUEST_BYTES_MAX, ..limits };
        let served = Rc::clone(&service) as Rc<dyn Service>;
        let server = Server::new(served, limits, KeepAlive::default());
        tokio::task::spawn_local(Rc::clone(&server).serve(listener));
        test(Stage { address, service, server }).await;
    });
}
