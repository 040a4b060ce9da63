//! The clients' thread: fronts, sockets, and the desk at which requests wait for their answers.
//!
//! It owns nothing that is voted on. A request gets a token and goes to the voter; what comes back
//! carries the token. Reads are carried out here or on the pool, from what the board shows.

mod chores;
mod door;
mod run;

pub use run::{Parts, spawn};

use crate::board::{Board, Picture};
use crate::config::Config;
use crate::metrics::{DiskMetrics, Metrics};
use crate::node::input::{Asked, Input, Told, Word};
use crate::pool::Pool;
use ::door::{
    Answer, Caller, ChangeListener, Door as _, Found, Freshness, MemberInfo, Query, Read, Reads,
    Reason, Refusal,
};
use base::limits::{ASKED_BYTES_MAX, ASKED_MAX};
use base::{NodeId, Prng, Token};
use later::{Asker, Promise};
use mvcc::{Changes, RangeRequest, RangeResponse, Response, View};
use net::Server;
use replica::{Event, RefusalReason};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::time::Instant;
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
}

impl Pending {
    fn fail(self, refusal: Refusal) {
        match self {
            Self::Write(answer) => answer.keep(Err(refusal)),
            Self::Read(read) => read.refuse(refusal),
            Self::Barrier(answer) | Self::Standing(answer) => answer.keep(Err(refusal)),
            Self::Change(answer) => answer.keep(Err(refusal)),
        }
    }

    fn asker(&self) -> &Asker {
        match self {
            Self::Write(answer) => answer.asker(),
            Self::Read(read) => read.asker(),
            Self::Barrier(answer) | Self::Standing(answer) => answer.asker(),
            Self::Change(answer) => answer.asker(),
        }
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
    pool: Rc<Pool>,
    /// Reads whose state is fresh enough.
    reads: Rc<Reads>,
    /// Each with the bytes that it has the voter hold.
    pending: RefCell<BTreeMap<u64, (Pending, usize)>>,
    /// The sum of those.
    held: Cell<usize>,
    next_token: Cell<u64>,
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
    /// Sends an event of this request's to the voter.
    fn ask(&self, pending: Pending, bytes: usize, event: impl FnOnce(Token) -> Event) {
        if self.ended.get() {
            let halted = self.board.look(|picture| picture.status.halted.is_some());
            let halted = halted.then(|| Refusal::not_applied(Reason::Diverged));
            return pending.fail(halted.unwrap_or_else(Refusal::stopped));
        }
        let (waiting, held) = (self.pending.borrow().len(), self.held.get());
        if waiting >= ASKED_MAX || (waiting > 0 && held + bytes > ASKED_BYTES_MAX) {
            let (leader, missing) = self.board.look(knows);
            let refusal = Refusal::not_applied(Reason::Overloaded).knowing(leader, missing);
            self.log_failure(&refusal);
            return pending.fail(refusal);
        }
        self.held.set(held + bytes);
        let token = self.next_token.get() + 1;
        self.next_token.set(token);
        let late_at = pending.asker().time_left().map(|left| Instant::now() + left);
        self.pending.borrow_mut().insert(token, (pending, bytes));
        let mut asked = self.asked.borrow_mut();
        if asked.is_empty() {
            self.flush.notify_one();
        }
        asked.push(Asked { event: event(Token(token)), late_at });
    }

    /// Hands over what was asked for, once whatever else is ready has asked: the voter wakes once
    /// for all of it, and decides on it together.
    async fn hand_over(self: Rc<Self>) {
        loop {
            self.flush.notified().await;
            // A voter that is gone has said so, or does next.
            let _ = self.voter.send(Input::Asked(self.asked.take()));
        }
    }

    /// The newest view of the data.
    fn newest(&self) -> Arc<View> {
        let view = self.board.view();
        self.shown.set(self.shown.get().max(view.revision()));
        view
    }

    /// Takes in what the voter, or whoever holds the handle, says.
    fn hear(&self, word: Word) {
        match word {
            Word::Batch { replies, changes, replaced } => {
                self.notice_leader();
                if !changes.is_empty() {
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
        let local = request.serializable;
        let fresh = if local { Freshness::Local } else { Freshness::Linearizable };
        let told = move |found: Result<Found, Refusal>| {
            let found = match found {
                Ok(Found::Range(range)) => Ok(range),
                Ok(other) => unreachable!("a range was asked for: {other:?}"),
                Err(refusal) => Err(refusal.to_string()),
            };
            let _ = reply.send(found);
        };
        let (asker, query) = (Asker::nobody(), Query::Range(request));
        let (read, later) = Read::new(asker, query, |_, found| found, told);
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
        self.held.set(self.held.get() - bytes);
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
        if self.stands.get() || !self.board.look(|picture| picture.current) {
            return;
        }
        self.stands.set(true);
        let waits =
            |_: &u64, (pending, _): &mut (Pending, usize)| matches!(pending, Pending::Standing(_));
        let ready: Vec<_> = self.pending.borrow_mut().extract_if(.., waits).collect();
        for (_, (pending, _)) in ready {
            if let Pending::Standing(answer) = pending {
                answer.keep(Ok(()));
            }
        }
    }

    /// Ends every wait when the member ends.
    fn fail_all(&self) {
        self.ended.set(true);
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

    /// Why there is no state to show, if so.
    fn no_data(&self, picture: &Picture) -> Option<Refusal> {
        if picture.status.halted.is_some() {
            return Some(Refusal::not_applied(Reason::Diverged));
        }
        match picture.no_data? {
            RefusalReason::Witness => Some(Refusal::not_applied(Reason::Witness)),
            RefusalReason::NoMember => {
                let (leader, missing) = knows(picture);
                Some(Refusal::not_applied(Reason::NoLeader).knowing(leader, missing))
            }
            RefusalReason::Diverged => Some(Refusal::not_applied(Reason::Diverged)),
            _ => None, // It is told call by call.
        }
    }
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
