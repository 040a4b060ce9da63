//! The thread of the desk.

use super::{Desk, chores, door};
use crate::aside;
use crate::board::Board;
use crate::config::Config;
use crate::disk::Room;
use crate::metrics::{DiskMetrics, Metrics};
use crate::node::input::{Input, Vital, Word};
use crate::pool::{Pool, Threads};
use crate::record::Recording;
use ::door::{Door, Reads, Stage};
use base::{Nanos, NodeId, Prng};
use member::Archive;
use net::{Host, Limits, Server, Service};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Words taken in at once.
const WORDS_MAX: usize = 256;
/// How long answers may take to leave when the member ends.
const PARTING: Duration = Duration::from_millis(20);

/// What serves clients at a door: made on their thread. It is told what of the member's own goes
/// to its pages, the limits of the client port, and how often idle watchers are told of progress.
pub type MakeFront =
    fn(Rc<dyn Door>, Rc<dyn Host>, Limits, watch_progress: Duration) -> Rc<dyn Service>;

/// What a desk is made of.
pub struct Parts {
    pub config: Arc<Config>,
    pub front: MakeFront,
    pub cluster: u64,
    pub member: NodeId,
    pub seed: u64,
    pub board: Arc<Board>,
    pub voter: UnboundedSender<Input>,
    pub words: UnboundedReceiver<Word>,
    pub sockets: Sockets,
    pub threads: Arc<Threads>,
    pub archive: Archive,
    pub metrics: Arc<Metrics>,
    pub disk_metrics: Arc<DiskMetrics>,
    pub room: Arc<Room>,
    pub recording: Arc<Recording>,
}

/// Starts the thread; it ends at [`Word::Close`], or when nobody is left to say it.
///
/// Where clients come, and who has come before anybody served them.
pub type Sockets = (Vec<TcpListener>, Vec<TcpStream>);

/// # Errors
/// When the system gives no thread.
pub fn spawn(parts: Parts) -> io::Result<JoinHandle<()>> {
    aside::spawn("quorate-clients", move || {
        let _vital = Vital("clients'", parts.voter.clone());
        if let Err(error) = live(parts) {
            tracing::error!("the clients' thread: {error}");
        }
    })
}

fn live(parts: Parts) -> io::Result<()> {
    let voter = parts.voter.clone();
    let served = serve(parts);
    if let Err(error) = &served {
        let _ = voter.send(Input::Failed(format!("clients cannot be served: {error}")));
    }
    served
}

fn serve(parts: Parts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let front = parts.front;
        let (desk, words, sockets) = Desk::new(parts);
        let desk = Closing(desk);
        desk.0.serve(front, sockets)?;
        if desk.0.run(words).await {
            desk.0.fail_all();
            tokio::time::sleep(PARTING).await;
        }
        Ok(())
    })
}

/// Lets go of those who wait, however the thread ends: what makes their answers holds the desk
/// that holds them.
struct Closing(Rc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.ended.set(true);
        let (pending, waiting) = (self.0.pending.take(), self.0.rounds.borrow_mut().take());
        drop((pending, waiting));
    }
}

/// A task without which clients are not served: a panic ends the member, as one of the thread does.
pub(super) fn spawn_vital(
    voter: &UnboundedSender<Input>,
    task: impl Future<Output = ()> + 'static,
) {
    let vital = Vital("clients'", voter.clone());
    tokio::task::spawn_local(async move {
        let _vital = vital;
        task.await;
    });
}

impl Desk {
    pub(super) fn new(parts: Parts) -> (Rc<Self>, UnboundedReceiver<Word>, Sockets) {
        let desk = Rc::new_cyclic(|me: &Weak<Self>| {
            let stage: Weak<dyn Stage> = me.clone();
            let start = Instant::now();
            let nanos = move || u64::try_from(start.elapsed().as_nanos()).expect("below 584 years");
            Self {
                me: me.clone(),
                config: parts.config,
                cluster: parts.cluster,
                member: parts.member,
                board: parts.board,
                voter: parts.voter,
                metrics: parts.metrics,
                disk_metrics: parts.disk_metrics,
                room: parts.room,
                recording: parts.recording,
                pool: Pool::new(parts.threads),
                archive: parts.archive,
                reads: Reads::new(stage, move || Nanos(nanos())),
                pending: RefCell::default(),
                held: RefCell::default(),
                rounds: RefCell::default(),
                start,
                next_token: Cell::new(0),
                asked: RefCell::default(),
                flush: Notify::new(),
                ended: Cell::new(false),
                stands: Cell::new(false),
                shown: Cell::new(0),
                listeners: RefCell::default(),
                leader: Cell::new(None),
                last_failure: RefCell::default(),
                server: RefCell::default(),
                random: RefCell::new(Prng::new(parts.seed)),
            }
        });
        (desk, parts.words, parts.sockets)
    }

    fn serve(self: &Rc<Self>, make: MakeFront, (listeners, early): Sockets) -> io::Result<()> {
        let vital = |task: Pin<Box<dyn Future<Output = ()>>>| spawn_vital(&self.voter, task);
        vital(Box::pin(Rc::clone(self).hand_over()));
        vital(Box::pin(chores::auto_compact(Rc::clone(self))));
        vital(Box::pin(chores::look_after_room(Rc::clone(self))));
        let request_bytes_max = self.config.max_request_bytes;
        let limits = Limits { request_bytes_max, ..Limits::default() };
        let host = Rc::clone(self) as Rc<dyn Host>;
        let progress = self.config.watch_progress_interval;
        let front = make(door::door(self), host, limits, progress);
        let election = Duration::from_millis(self.config.election_timeout_ms);
        vital(Box::pin(look(Rc::clone(&front), election)));
        vital(Box::pin(pump(Rc::clone(&self.reads))));
        vital(Box::pin(Rc::clone(&self.pool).tend()));
        let server = Server::new(front, limits, self.config.keep_alive);
        *self.server.borrow_mut() = Rc::downgrade(&server);
        for socket in early {
            let served = Rc::clone(&server).serve_socket(tokio::net::TcpStream::from_std(socket)?);
            tokio::task::spawn_local(served);
        }
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            vital(Box::pin(Rc::clone(&server).serve(listener)));
        }
        Ok(())
    }

    /// Hears words until the member ends; true when what waits is to be answered before.
    async fn run(&self, mut words: UnboundedReceiver<Word>) -> bool {
        let mut heard = Vec::new();
        loop {
            if words.recv_many(&mut heard, WORDS_MAX).await == 0 {
                return false;
            }
            for word in heard.drain(..) {
                match word {
                    Word::Close { at_once } => return !at_once,
                    word => self.hear(word),
                }
            }
        }
    }
}

/// Has the front look after its streams once every election timeout.
async fn look(front: Rc<dyn Service>, election_timeout: Duration) {
    loop {
        tokio::time::sleep(election_timeout).await;
        front.look();
    }
}

/// Serves reads that had to wait.
async fn pump(reads: Rc<Reads>) {
    poll_fn(|cx| {
        reads.turn(cx);
        Poll::Pending
    })
    .await
}
