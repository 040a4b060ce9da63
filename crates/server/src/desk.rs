//! The clients' thread: fronts, sockets, and the desk at which requests wait for their answers.
//!
//! It owns nothing that is voted on. A request gets a token and goes to the voter; what comes back
//! carries the token. Reads are carried out here or on the pool, from what the board shows.

mod chores;
mod door;
mod held;
mod run;

pub use run::{MakeFront, Parts, Sockets, spawn};

use crate::board::{Board, Picture};
use crate::config::Config;
use crate::disk::Room;
use crate::metrics::{DiskMetrics, Metrics};
use crate::node::input::{Asked, Input, Told, Word};
use crate::pool::Pool;
use crate::record::Recording;
use ::door::{
    Answer, Caller, ChangeListener, Door as _, Finding, Found, Freshness, MemberInfo, Query, Read,
    Reads, Reason, Refusal, Rounds,
};
use base::{Nanos, NodeId, Prng, Token};
use held::Held;
use later::{Asker, Promise};
use member::Archive;
use mvcc::{Changes, RangeRequest, RangeResponse, Response, View};
use net::Server;
use replica::Event;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

/// A request that waits for its reply.
enum Pending {
    Write(Answer<Response>),
    /// A read that waits until the state is fresh enough.
    Read(Read),
    Barrier(Answer<()>),
    /// A barrier, or what the member finds on its own disk, whichever is first.
    Standing(Answer<()>),
    Change(Answer<Vec<MemberInfo>>),
    /// For the reads and barriers that share a round.
    Round,
}

impl Pending {
    fn fail(self, refusal: Refusal) {
        match self {
            Self::Round => {}
            Self::Write(answer) => answer.keep(Err(refusal)),
            Self::Read(read) => read.refuse(refusal),
            Self::Barrier(answer) | Self::Standing(answer) => answer.keep(Err(refusal)),
            Self::Change(answer) => answer.keep(Err(refusal)),
        }
    }

    /// Who waits, if it is one.
    fn asker(&self) -> Option<&Asker> {
        match self {
            Self::Write(answer) => Some(answer.asker()),
            Self::Read(read) => Some(read.asker()),
            Self::Barrier(answer) | Self::Standing(answer) => Some(answer.asker()),
            Self::Change(answer) => Some(answer.asker()),
            Self::Round => None,
        }
    }

    /// When it is late, if ever.
    fn late_at(&self) -> Option<Instant> {
        self.asker()?.time_left().map(|left| Instant::now() + left)
    }
}

/// The clients' side of one member; lives on its own thread.
pub struct Desk {
    me: Weak<Desk>,
    config: Arc<Config>,
    cluster: u64,
    member: NodeId,
    board: Arc<Board>,
    voter: UnboundedSender<Input>,
    metrics: Arc<Metrics>,
    disk_metrics: Arc<DiskMetrics>,
    room: Arc<Room>,
    recording: Arc<Recording>,
    pool: Rc<Pool>,
    archive: Archive,
    /// Reads whose state is fresh enough.
    reads: Rc<Reads>,
    /// Each with the bytes that it has the voter hold.
    pending: RefCell<BTreeMap<u64, (Pending, usize)>>,
    /// Requests in there, and those that wait for a round.
    held: RefCell<Held>,
    next_token: Cell<u64>,
    /// Reads and barriers that go together into the next round.
    rounds: RefCell<Rounds<Pending>>,
    /// The clock of those.
    start: Instant,
    /// Not handed over yet.
    asked: RefCell<Vec<Asked>>,
    flush: Notify,
    /// Nothing more is taken.
    ended: Cell<bool>,
    /// Those who waited for the member to be current have been served.
    stands: Cell<bool>,
    /// The newest revision that anybody was shown: no answer says less.
    shown: Cell<i64>,
    listeners: RefCell<Vec<ChangeListener>>,
    /// Whom the member followed when it last had something to say.
    leader: Cell<Option<NodeId>>,
    /// The failure logged last; forgotten when a leader appears.
    last_failure: RefCell<Option<Refusal>>,
    /// The client port, for as long as it has listeners or connections.
    server: RefCell<Weak<Server>>,
    random: RefCell<Prng>,
}

impl Desk {
    /// Counts a request in; or refuses it.
    fn admit(&self, pending: Pending, bytes: usize) -> Option<Pending> {
        if self.ended.get() {
            let halted = self.board.look(|picture| picture.status.halted.is_some());
            let halted = halted.then(|| Refusal::not_applied(Reason::Diverged));
            pending.fail(halted.unwrap_or(Refusal::not_applied(Reason::Stopped)));
            return None;
        }
        if !self.held.borrow_mut().take(whose(&pending), bytes) {
            let (leader, missing) = self.board.look(knows);
            let refusal = Refusal::not_applied(Reason::Overloaded).knowing(leader, missing);
            self.log_failure(&refusal);
            pending.fail(refusal);
            return None;
        }
        Some(pending)
    }

    /// Sends an event of this request's to the voter.
    fn ask(&self, pending: Pending, bytes: usize, event: impl FnOnce(Token) -> Event) {
        if let Some(pending) = self.admit(pending, bytes) {
            self.send(pending, bytes, event);
        }
    }

    fn send(&self, pending: Pending, bytes: usize, event: impl FnOnce(Token) -> Event) -> u64 {
        let token = self.next_token.get() + 1;
        self.next_token.set(token);
        let late_at = pending.late_at();
        self.pending.borrow_mut().insert(token, (pending, bytes));
        let mut asked = self.asked.borrow_mut();
        if asked.is_empty() {
            self.flush.notify_one();
        }
        asked.push(Asked { event: event(Token(token)), late_at });
        token
    }

    /// Has the request served once what was committed before is applied here.
    fn ask_barrier(&self, pending: Pending) {
        let Some(pending) = self.admit(pending, 0) else { return };
        if self.rounds.borrow_mut().join(pending) {
            self.flush.notify_one();
        }
    }

    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).expect("below 584 years"))
    }

    /// Asks for a round for all that wait, unless they wait for the one before.
    fn ask_round(&self) {
        let token = Token(self.next_token.get() + 1);
        if self.rounds.borrow_mut().begin(self.now(), token) {
            let sent = self.send(Pending::Round, 0, |token| Event::ReadBarrier { token });
            assert_eq!(sent, token.0, "the round has the token it was begun with");
        }
    }

    /// Hands over what was asked for, once whatever else is ready has asked: the voter wakes once
    /// for all of it, and decides on it together.
    async fn hand_over(self: Rc<Self>) {
        loop {
            let due = self.rounds.borrow().due();
            match due {
                Some(due) => {
                    let end = (self.start + Duration::from_nanos(due.0)).into();
                    let _ = tokio::time::timeout_at(end, self.flush.notified()).await;
                }
                None => self.flush.notified().await,
            }
            self.ask_round();
            let asked = self.asked.take();
            if !asked.is_empty() {
                // A voter that is gone has said so, or does next.
                let _ = self.voter.send(Input::Asked(asked));
            }
        }
    }

    /// The newest view of the data.
    fn newest(&self) -> Arc<View> {
        self.newest_with(|_| ()).0
    }

    /// The newest view, and how the member stood when it was put up.
    fn newest_with<T>(&self, at: impl FnOnce(&Picture) -> T) -> (Arc<View>, T) {
        let (view, looked) = self.board.view_with(at);
        self.shown.set(self.shown.get().max(view.revision()));
        (view, looked)
    }

    /// Takes in what the voter, or whoever holds the handle, says.
    fn hear(&self, word: Word) {
        match word {
            Word::Batch { replies, changes, replaced } => {
                self.notice_leader();
                if !changes.is_empty() {
                    self.board.heard(&changes);
                    self.tell(&changes);
                }
                if replaced {
                    self.tell(&[]);
                }
                replies.into_iter().for_each(|(token, told)| self.answer(token, told));
                self.notice_standing();
            }
            Word::Propose(command, reply) => self.write(Caller::nobody(), command, to(reply)),
            Word::Range(request, reply) => self.range(request, reply),
            Word::Drain => self.drain(),
            Word::Halted => self.fail_all(),
            Word::Close { .. } => unreachable!("it ends the loop"),
        }
    }

    /// A range for whoever holds the handle.
    fn range(&self, request: RangeRequest, reply: mpsc::Sender<Result<RangeResponse, String>>) {
        let fresh = if request.serializable { Freshness::Local } else { Freshness::Linearizable };
        let told = move |found: Result<Finding, Refusal>| {
            let found = match found.map(|finding| finding.found) {
                Ok(Found::Range(range)) => Ok(range),
                Ok(other) => unreachable!("a range was asked for: {other:?}"),
                Err(refusal) => Err(refusal.to_string()),
            };
            let _ = reply.send(found);
        };
        let (asker, query) = (Asker::nobody(), Query::Range(request));
        let (read, later) = Read::new(asker, query, told);
        self.read(Caller::nobody(), fresh, read);
        // It is wanted for as long as somebody holds on to it.
        tokio::task::spawn_local(later);
    }

    fn tell(&self, changes: &[Arc<Changes>]) {
        let listeners = self.listeners.borrow().clone();
        listeners.iter().for_each(|listener| listener(changes));
    }

    /// Hands a reply to whoever waits for it; a requester that left is no error.
    fn answer(&self, token: Token, told: Told) {
        let Some((pending, bytes)) = self.pending.borrow_mut().remove(&token.0) else { return };
        if !matches!(pending, Pending::Round) {
            return self.end(pending, bytes, told);
        }
        let all = self.rounds.borrow_mut().came(token);
        if self.rounds.borrow().due().is_some() {
            self.flush.notify_one(); // for those who came meanwhile
        }
        for one in all {
            self.end(one, 0, told.clone());
        }
    }

    fn end(&self, pending: Pending, bytes: usize, told: Told) {
        self.give_back(&pending, bytes);
        let refusal = match told {
            Told::Refused(refusal) => refusal,
            Told::Late => return pending.fail(Refusal::not_applied(Reason::Deadline)),
            told => return serve(&self.reads, pending, told),
        };
        match pending {
            Pending::Write(_) => self.metrics.proposals_failed.add(1),
            _ => self.metrics.reads_failed.add(1),
        }
        self.log_failure(&refusal);
        pending.fail(refusal);
    }

    fn give_back(&self, pending: &Pending, bytes: usize) {
        self.held.borrow_mut().give(whose(pending), bytes);
    }

    /// One line for each new kind of failure, however many requests share it.
    fn log_failure(&self, failure: &Refusal) {
        let mut last = self.last_failure.borrow_mut();
        if last.as_ref() != Some(failure) {
            tracing::warn!("requests fail: {failure}");
            *last = Some(failure.clone());
        }
    }

    fn notice_leader(&self) {
        let leader = self.board.look(|picture| picture.status.leader);
        if leader != self.leader.replace(leader) && leader.is_some() {
            *self.last_failure.borrow_mut() = None;
        }
    }

    /// Serves those who waited until this member stood where it stood before its start.
    fn notice_standing(&self) {
        if self.stands.get() || !self.board.look(|picture| picture.sight.current) {
            return;
        }
        self.stands.set(true);
        let waits =
            |_: &u64, (pending, _): &mut (Pending, usize)| matches!(pending, Pending::Standing(_));
        let ready: Vec<_> = self.pending.borrow_mut().extract_if(.., waits).collect();
        for (_, (pending, bytes)) in ready {
            self.give_back(&pending, bytes);
            if let Pending::Standing(answer) = pending {
                answer.keep(Ok(()));
            }
        }
    }

    /// Ends every wait when the member ends.
    fn fail_all(&self) {
        self.ended.set(true);
        let (not_asked, asked) = self.rounds.borrow_mut().take();
        let refusal = Refusal::not_applied(Reason::Stopped);
        not_asked.into_iter().for_each(|pending| pending.fail(refusal.clone()));
        asked.into_iter().for_each(|pending| pending.fail(Refusal::stopped()));
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        pending.into_values().for_each(|(pending, _)| pending.fail(Refusal::stopped()));
    }

    /// Sends the clients away; the voter hears when all have gone.
    fn drain(&self) {
        let voter = self.voter.clone();
        let Some(server) = self.server.borrow().upgrade() else {
            let _ = voter.send(Input::Drained);
            return;
        };
        server.stop();
        tokio::task::spawn_local(async move {
            server.closed().await;
            let _ = voter.send(Input::Drained);
        });
    }

    /// Whoever is refused for want of a leader is told who could help.
    fn knowing(&self, refusal: Refusal) -> Refusal {
        if refusal.reason != Reason::NoLeader {
            return refusal;
        }
        let (leader, missing) = self.board.look(knows);
        refusal.knowing(leader, missing)
    }
}

/// The connection of a request.
fn whose(pending: &Pending) -> usize {
    pending.asker().expect("one request has one asker").whose()
}

fn knows(picture: &Picture) -> (Option<String>, Vec<String>) {
    let leader = picture.status.leader.map(|leader| picture.facts.name_of(leader));
    (leader, picture.missing.to_vec())
}

/// Answers with what the replica gave.
fn serve(reads: &Reads, pending: Pending, told: Told) {
    match (told, pending) {
        (Told::Applied(result), Pending::Write(answer)) => {
            answer.keep(result.map_err(Refusal::from));
        }
        (Told::Barrier, Pending::Read(read)) => reads.serve(read),
        (Told::Barrier, Pending::Barrier(answer) | Pending::Standing(answer)) => {
            answer.keep(Ok(()));
        }
        (Told::Members(members), Pending::Change(answer)) => answer.keep(Ok(members)),
        (told, _) => unreachable!("a reply of another kind than its request: {told:?}"),
    }
}

/// An answer that goes to another thread.
fn to<T: 'static>(reply: mpsc::Sender<Result<T, String>>) -> Answer<T> {
    Promise::to(move |result: Option<Result<T, Refusal>>| {
        let result = result.unwrap_or_else(|| Err(Refusal::stopped()));
        let _ = reply.send(result.map_err(|refusal| refusal.to_string()));
    })
}

#[cfg(test)]
mod tests;
