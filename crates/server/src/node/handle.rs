//! The outside of a running member, usable from any thread.

use super::End;
use super::input::{Control, Input, Word};
use crate::record::TraceSink;
use base::NodeId;
use mvcc::{Command, RangeRequest, RangeResponse, Response};
use replica::Replica;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It listens, and knows no leader yet.
    Starting,
    /// It has known a leader.
    Ready,
    Ended(End),
}

/// A running member. Dropping it kills the member.
pub struct Handle {
    pub name: String,
    pub id: NodeId,
    pub cluster: u64,
    pub client_addr: SocketAddr,
    pub peer_addr: SocketAddr,
    /// Where the times of its trace begin.
    pub started: Instant,
    pub(super) inbox: UnboundedSender<Input>,
    pub(super) desk: UnboundedSender<Word>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// How long the handle's own requests wait for an answer of the node's thread.
const ANSWER_MAX: Duration = Duration::from_secs(10);

impl Handle {
    /// Hands over leadership, sends clients away, answers what is pending, and ends, within
    /// `Config::stop_grace`; returns how it ended.
    pub fn stop(mut self) -> End {
        self.control(Control::Stop);
        self.join()
    }

    /// Ends at once, like `kill -9`: no hand-over, no answer, sockets closed.
    pub fn kill(mut self) {
        self.control(Control::Kill);
        self.join();
    }

    /// Drops, from now on, everything to and from these members without closing connections.
    pub fn cut(&self, peers: &[NodeId]) {
        self.control(Control::Cut(peers.to_vec()));
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.control(Control::Heal);
    }

    /// Keeps the last so many trace events from now on, for `GET /debug/trace`; 0 keeps none.
    pub fn record(&self, events_max: usize) {
        self.control(Control::Record(events_max));
    }

    /// Calls `sink` for every trace event that is still recorded and for every one from now on, on
    /// the recorder's thread. What it is too slow for is dropped, which leaves a gap in the
    /// numbers. With `Config::record` above 0 nothing since the start is missed.
    pub fn subscribe_trace(&self, sink: TraceSink) {
        self.control(Control::Trace(sink));
    }

    /// `None` when the member has ended.
    pub fn status(&self) -> Option<replica::Status> {
        self.look(Replica::status)
    }

    /// Calls `look` on the thread that votes, which stands still meanwhile. `None` when the member
    /// has ended, or is too busy.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        let look = move |replica: &Replica| {
            let _ = reply.send(look(replica)); // Nobody may wait any more.
        };
        self.control(Control::Look(Box::new(look)));
        answer.recv_timeout(ANSWER_MAX).ok()
    }

    /// A sender of requests that other threads may keep.
    pub fn remote(&self) -> Remote {
        Remote { desk: self.desk.clone() }
    }

    /// Waits until the member has known a leader; false when time ran out or it ended.
    pub fn wait_ready(&self, max: Duration) -> bool {
        let until = Instant::now() + max;
        loop {
            match &*self.phase.borrow() {
                Phase::Ready => return true,
                Phase::Ended(_) => return false,
                Phase::Starting => {}
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Follows the phase; for an async caller.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    fn control(&self, control: Control) {
        // A member that has ended needs no control.
        let _ = self.inbox.send(Input::Control(control));
    }

    fn join(&mut self) -> End {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            return End::Failed("the member's thread panicked".to_string());
        }
        match &*self.phase.borrow() {
            Phase::Ended(end) => end.clone(),
            _ => End::Failed("the member's thread left without a word".to_string()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.control(Control::Kill);
            self.join();
        }
    }
}

/// Sends requests to a member from any thread, without a socket.
#[derive(Clone)]
pub struct Remote {
    desk: UnboundedSender<Word>,
}

impl Remote {
    /// Proposes and waits. Errors are the request layer's failure, as text.
    pub fn propose(&self, command: Command) -> Result<Response, String> {
        let (reply, answer) = mpsc::channel();
        self.ask(Word::Propose(command, reply), &answer)
    }

    /// A linearizable range (unless the request says serializable).
    pub fn range(&self, request: RangeRequest) -> Result<RangeResponse, String> {
        let (reply, answer) = mpsc::channel();
        self.ask(Word::Range(request, reply), &answer)
    }

    fn ask<T>(&self, word: Word, answer: &mpsc::Receiver<Result<T, String>>) -> Result<T, String> {
        let gone = || "the member has ended".to_string();
        self.desk.send(word).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}
