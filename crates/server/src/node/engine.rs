//! The node as its request layer sees it: callbacks by token, answers out of the replica.

use super::Node;
use super::input::Input;
use crate::front::engine::{
    ChangeListener, Done, Engine, Failure, Header, LeaseInfo, MemberInfo, Status, Why,
};
use crate::grpc::Caller;
use base::{NodeId, Token};
use cluster::{Change, Configuration, label};
use mvcc::{Command, Error, RangeRequest, RangeResponse, Response, TxnRequest, TxnResponse, View};
use replica::{Event, RefusalReason, Reply, UnknownReason};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// etcd's text for a hand-over that did not end; it has no code there either.
const TRANSFER_TIMEOUT: &str = "etcdserver: request timed out, leader transfer took too long";

/// A request that waits for its reply, and who wants it.
pub(super) struct Waiting {
    caller: Caller,
    pending: Pending,
}

enum Pending {
    Write(Done<Response>),
    Range(Done<RangeResponse>),
    Barrier(Done<()>),
    /// A barrier, or what the member finds on its own disk, whichever is first.
    Standing(Done<()>),
    Change(Done<Vec<MemberInfo>>),
}

impl Pending {
    fn fail(self, failure: Failure) {
        match self {
            Self::Write(done) => done(Err(failure)),
            Self::Range(done) => done(Err(failure)),
            Self::Barrier(done) | Self::Standing(done) => done(Err(failure)),
            Self::Change(done) => done(Err(failure)),
        }
    }
}

impl Node {
    fn wait(&self, caller: Caller, pending: Pending) -> Option<Token> {
        if self.ended.get() {
            let halted = self.halted.borrow().is_some();
            pending.fail(if halted { Failure::Corrupt } else { Failure::Stopped });
            return None;
        }
        let token = self.next_token.get() + 1;
        self.next_token.set(token);
        self.pending.borrow_mut().insert(token, Waiting { caller, pending });
        Some(Token(token))
    }

    /// False when whoever asked has left meanwhile: nothing is begun for them. This is the last
    /// look before the replica has it, after all queues.
    pub(super) fn is_wanted(&self, event: &Event) -> bool {
        let token = match event {
            Event::Propose { token, .. } | Event::ReadBarrier { token } => token.0,
            _ => return true,
        };
        let mut pending = self.pending.borrow_mut();
        if !pending.get(&token).is_some_and(|waiting| waiting.caller.has_left()) {
            return true;
        }
        let waiting = pending.remove(&token).expect("it was just found");
        drop(pending);
        waiting.pending.fail(Failure::Late);
        false
    }

    fn enqueue(&self, event: Event) {
        let _ = self.inbox.send(Input::Event(event));
    }

    /// Hands a reply to whoever waits for it; a requester that left is no error.
    pub(super) fn answer(&self, token: Token, reply: Reply) {
        let waiting = self.pending.borrow_mut().remove(&token.0);
        let Some(Waiting { pending, .. }) = waiting else { return };
        let failure = match (reply, pending) {
            (Reply::Applied { result, .. }, Pending::Write(done)) => {
                return done(result.map_err(Failure::Store));
            }
            (Reply::Range(result), Pending::Range(done)) => {
                return done(result.map_err(Failure::Store));
            }
            (Reply::Barrier, Pending::Barrier(done) | Pending::Standing(done)) => {
                return done(Ok(()));
            }
            (Reply::Changed { config, .. }, Pending::Change(done)) => {
                return done(Ok(self.members_of(&config)));
            }
            (Reply::ChangeRefused(error), Pending::Change(done)) => {
                tracing::warn!("change refused: {error}");
                return done(Err(Failure::Change(error)));
            }
            (Reply::Refused(refusal), pending) => {
                let leader = refusal.leader.map(|leader| self.name_of(leader));
                let why = Why { leader, missing: refusal.missing };
                let failure = match refusal.reason {
                    RefusalReason::NoLeader | RefusalReason::NoMember => Failure::NoLeader(why),
                    RefusalReason::Timeout => Failure::ReadTimeout(why),
                    RefusalReason::Overloaded => Failure::Overloaded(why),
                    RefusalReason::Diverged => Failure::Corrupt,
                    RefusalReason::Witness => Failure::Witness,
                };
                (pending, failure)
            }
            (Reply::Unknown(UnknownReason::Timeout), pending) => {
                (pending, Failure::Timeout(self.why()))
            }
            (Reply::Unknown(UnknownReason::InCheckpoint), pending) => {
                (pending, Failure::InCheckpoint)
            }
            (reply, _) => unreachable!("a reply of another kind than its request: {reply:?}"),
        };
        match failure.0 {
            Pending::Write(_) => self.metrics.proposals_failed.add(1),
            _ => self.metrics.reads_failed.add(1),
        }
        self.log_failure(&failure.1);
        failure.0.fail(failure.1);
    }

    /// One line for each new kind of failure, however many requests share it.
    fn log_failure(&self, failure: &Failure) {
        let mut last = self.last_failure.borrow_mut();
        if last.as_ref() != Some(failure) {
            tracing::warn!("requests fail: {failure}");
            *last = Some(failure.clone());
        }
    }

    /// Serves those who waited until this member stood where it stood before its start.
    pub(super) fn notice_standing(&self) {
        if self.stands.get() || !self.replica.borrow().is_current() {
            return;
        }
        self.stands.set(true);
        let waits =
            |_: &u64, waiting: &mut Waiting| matches!(waiting.pending, Pending::Standing(_));
        let ready: Vec<_> = self.pending.borrow_mut().extract_if(.., waits).collect();
        for (_, waiting) in ready {
            if let Pending::Standing(done) = waiting.pending {
                done(Ok(()));
            }
        }
    }

    /// Ends every wait when the node ends.
    pub(super) fn fail_all(&self) {
        self.ended.set(true);
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        pending.into_values().for_each(|waiting| waiting.pending.fail(Failure::Stopped));
    }

    pub(super) fn name_of(&self, id: NodeId) -> String {
        let replica = self.replica.borrow();
        let member = replica.raft().config().members.iter().find(|member| member.id == id);
        member.map_or_else(|| "unknown".to_string(), |member| member.name.clone())
    }

    /// Name and client URLs as the member itself gave them, if it has spoken since the start here.
    pub(super) fn said(&self, id: NodeId) -> Option<(String, Vec<String>)> {
        if id == self.peers.member {
            return Some((self.peers.name.clone(), self.peers.client_urls.clone()));
        }
        self.peers.state.announced.borrow().get(&id).cloned()
    }

    /// A configuration as clients see it; who has not said its name yet has none. Client
    /// URLs that stand in no committed configuration yet are those the member itself has said.
    fn members_of(&self, config: &Configuration) -> Vec<MemberInfo> {
        let replica = self.replica.borrow();
        let committed = replica.raft().config_at(replica.raft().commit());
        let info = |member: &cluster::Member| {
            let said = self.said(member.id);
            let unnamed = member.name == label(member.id);
            let name = match &said {
                Some((name, _)) if unnamed => name.clone(),
                None if unnamed => String::new(),
                _ => member.name.clone(),
            };
            let kept = committed.member(member.id).unwrap_or(member).client_urls.clone();
            let own = member.id == self.peers.member;
            MemberInfo {
                id: member.id.0,
                name,
                peer_urls: member.peer_urls.clone(),
                client_urls: match said {
                    Some((_, urls)) if own || kept.is_empty() => urls,
                    _ => kept,
                },
                learner: member.learner,
            }
        };
        config.members.iter().map(info).collect()
    }

    pub(super) fn propose_for(
        &self,
        command: Command,
        reply: mpsc::Sender<Result<Response, String>>,
    ) {
        self.submit(
            Caller::nobody(),
            command,
            Box::new(move |result| {
                let _ = reply.send(result.map_err(|failure| failure.to_string()));
            }),
        );
    }

    pub(super) fn range_for(
        &self,
        request: RangeRequest,
        reply: mpsc::Sender<Result<RangeResponse, String>>,
    ) {
        let done = Box::new(move |result: Result<RangeResponse, Failure>| {
            let _ = reply.send(result.map_err(|failure| failure.to_string()));
        });
        if let Some(token) = self.wait(Caller::nobody(), Pending::Range(done)) {
            self.enqueue(Event::Read { token, request });
        }
    }
}

impl Engine for Node {
    fn submit(&self, caller: Caller, command: Command, done: Done<Response>) {
        if let Some(token) = self.wait(caller, Pending::Write(done)) {
            self.enqueue(Event::Propose { token, command });
        }
    }

    fn barrier(&self, caller: Caller, done: Done<()>) {
        if let Some(token) = self.wait(caller, Pending::Barrier(done)) {
            self.enqueue(Event::ReadBarrier { token });
        }
    }

    fn view(&self) -> View {
        self.replica.borrow().store().view()
    }

    fn read_txn_local(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        self.replica.borrow().store().read_txn(request)
    }

    fn header(&self) -> Header {
        let replica = self.replica.borrow();
        Header {
            cluster_id: self.peers.cluster,
            member_id: self.peers.member.0,
            revision: replica.store().revision(),
            raft_term: replica.raft().ballot().term.0,
        }
    }

    fn txn_ops_max(&self) -> usize {
        self.replica.borrow().store().limits().max_txn_ops
    }

    fn status(&self) -> Status {
        let replica = self.replica.borrow();
        let (store, status) = (replica.store(), replica.status());
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Status {
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.commit.0,
            raft_applied_index: status.applied.0,
            db_size: signed(store.size_bytes()),
            // Space is reclaimed as it is freed: all that is held is in use.
            db_size_in_use: signed(store.size_bytes()),
            db_size_quota: signed(self.quota_bytes),
            learner: replica.raft().config().member(status.id).is_none_or(|m| m.learner),
            diverged: status.diverged,
            halted: self.halted.borrow().clone(),
        }
    }

    fn serves_no_data(&self) -> Option<Failure> {
        if self.halted.borrow().is_some() {
            return Some(Failure::Corrupt);
        }
        let reason = self.replica.borrow().serves_no_data();
        match reason? {
            RefusalReason::Witness => Some(Failure::Witness),
            RefusalReason::NoMember => Some(Failure::NoLeader(self.why())),
            RefusalReason::Diverged => Some(Failure::Corrupt),
            _ => None, // The engine tells, call by call.
        }
    }

    fn is_current(&self) -> bool {
        self.replica.borrow().is_current()
    }

    fn when_current(&self, caller: Caller, done: Done<()>) {
        if let Some(token) = self.wait(caller, Pending::Standing(done)) {
            self.enqueue(Event::ReadBarrier { token });
        }
    }

    fn members(&self) -> Vec<MemberInfo> {
        let replica = self.replica.borrow();
        self.members_of(replica.raft().config())
    }

    fn change(&self, change: Change, done: Done<Vec<MemberInfo>>) {
        if let Some(token) = self.wait(Caller::nobody(), Pending::Change(done)) {
            self.enqueue(Event::Change { token, change });
        }
    }

    fn quorum(&self) -> (String, Option<String>) {
        let replica = self.replica.borrow();
        let config = replica.raft().config();
        (config.quorum.clone(), config.joint.clone())
    }

    fn alarms(&self) -> Vec<(u64, i32)> {
        let replica = self.replica.borrow();
        let number = |kind| match kind {
            mvcc::AlarmKind::None => 0,
            mvcc::AlarmKind::NoSpace => 1,
            mvcc::AlarmKind::Corrupt => 2,
        };
        replica.store().alarms().into_iter().map(|(id, kind)| (id, number(kind))).collect()
    }

    fn why(&self) -> Why {
        let (leader, missing) = {
            let replica = self.replica.borrow();
            (replica.raft().leader(), replica.missing())
        };
        Why { leader: leader.map(|leader| self.name_of(leader)), missing }
    }

    fn lease_ttl(&self, id: i64, keys: bool) -> Option<LeaseInfo> {
        let replica = self.replica.borrow();
        let store = replica.store();
        let ttl = store.lease_ttl(id, replica.cluster_time())?;
        let keys = if keys { store.lease_keys(id) } else { Vec::new() };
        Some(LeaseInfo { ttl: ttl.remaining, granted_ttl: ttl.granted, keys })
    }

    fn leases(&self) -> Vec<i64> {
        self.replica.borrow().store().leases()
    }

    fn lease_ttl_min(&self) -> i64 {
        self.config.lease_ttl_min()
    }

    fn fresh_lease_id(&self) -> i64 {
        let mut random = self.random.borrow_mut();
        loop {
            let id = (random.next_u64() >> 1).cast_signed();
            if id != 0 {
                return id;
            }
        }
    }

    fn move_leader(&self, target: u64, done: Done<()>) {
        let target = NodeId(target);
        {
            let replica = self.replica.borrow();
            if !replica.raft().is_leader() {
                drop(replica);
                return done(Err(Failure::NotLeader));
            }
            let members = &replica.raft().config().members;
            let witness = replica.raft().config().is_witness(target);
            if witness || !members.iter().any(|m| m.id == target && !m.learner) {
                drop(replica);
                return done(Err(Failure::BadTransferee));
            }
        }
        if target == self.peers.member {
            return done(Ok(()));
        }
        self.enqueue(Event::TransferLeader { to: Some(target) });
        let until = Instant::now() + 2 * Duration::from_millis(self.config.election_timeout_ms);
        let Some(node) = self.me.upgrade() else { return done(Err(Failure::Stopped)) };
        tokio::task::spawn_local(async move {
            while Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if node.replica.borrow().raft().leader() == Some(target) {
                    return done(Ok(()));
                }
            }
            done(Err(Failure::Status(2, TRANSFER_TIMEOUT.into())));
        });
    }

    fn on_changes(&self, listener: ChangeListener) {
        self.listeners.borrow_mut().push(listener);
    }

    fn metrics(&self) -> String {
        self.metrics_page()
    }
}

/// Shares the node with the request layer.
pub(super) fn engine(node: &Rc<Node>) -> Rc<dyn Engine> {
    Rc::clone(node) as Rc<dyn Engine>
}
