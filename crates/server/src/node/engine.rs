//! The node as its fronts see it: promises by token, answers out of the replica.

use super::Node;
use super::input::Input;
use crate::config::Url;
use base::limits::{MEMBER_TEXT_BYTES_MAX, URLS_MAX};
use base::{NodeId, Token};
use cluster::{Change, Configuration, label};
use door::{
    Answer, Caller, ChangeListener, Door, Freshness, Header, Made, MemberInfo, Query, Read,
    Reading, Reason, Refusal, Stage, Status, Work,
};
use later::Promise;
use mvcc::{AlarmKind, Command, RangeRequest, RangeResponse, Response, View};
use replica::{Event, RefusalReason, Reply, UnknownReason};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A request that waits for its reply.
pub(super) enum Pending {
    Write(Answer<Response>),
    Range(Answer<RangeResponse>),
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
            Self::Range(answer) => answer.keep(Err(refusal)),
            Self::Read(read) => read.refuse(refusal),
            Self::Barrier(answer) | Self::Standing(answer) => answer.keep(Err(refusal)),
            Self::Change(answer) => answer.keep(Err(refusal)),
        }
    }

    fn is_wanted(&self) -> bool {
        match self {
            Self::Write(answer) => answer.is_wanted(),
            Self::Range(answer) => answer.is_wanted(),
            Self::Read(read) => read.is_wanted(),
            Self::Barrier(answer) | Self::Standing(answer) => answer.is_wanted(),
            Self::Change(answer) => answer.is_wanted(),
        }
    }
}

impl Node {
    fn wait(&self, pending: Pending) -> Option<Token> {
        if self.ended.get() {
            let halted = self.halted.borrow().is_some();
            let halted = halted.then(|| Refusal::not_applied(Reason::Diverged));
            pending.fail(halted.unwrap_or_else(Refusal::stopped));
            return None;
        }
        let token = self.next_token.get() + 1;
        self.next_token.set(token);
        self.pending.borrow_mut().insert(token, pending);
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
        if pending.get(&token).is_none_or(Pending::is_wanted) {
            return true;
        }
        let waiting = pending.remove(&token).expect("it was just found");
        drop(pending);
        waiting.fail(Refusal::not_applied(Reason::Deadline));
        false
    }

    fn enqueue(&self, event: Event) {
        let _ = self.inbox.send(Input::Event(event));
    }

    /// Hands a reply to whoever waits for it; a requester that left is no error.
    pub(super) fn answer(&self, token: Token, reply: Reply) {
        let Some(pending) = self.pending.borrow_mut().remove(&token.0) else { return };
        let (pending, refusal) = match (reply, pending) {
            (Reply::Applied { result, .. }, Pending::Write(answer)) => {
                return answer.keep(result.map_err(Refusal::from));
            }
            (Reply::Range(result), Pending::Range(answer)) => {
                return answer.keep(result.map_err(Refusal::from));
            }
            (Reply::Barrier, Pending::Read(read)) => return self.reads.serve(read),
            (Reply::Barrier, Pending::Barrier(answer) | Pending::Standing(answer)) => {
                return answer.keep(Ok(()));
            }
            (Reply::Changed { config, .. }, Pending::Change(answer)) => {
                return answer.keep(Ok(self.members_of(&config)));
            }
            (Reply::ChangeRefused(error), Pending::Change(answer)) => {
                tracing::warn!("change refused: {error}");
                return answer.keep(Err(Refusal::not_applied(Reason::Change(error))));
            }
            (Reply::Refused(refusal), pending) => {
                let leader = refusal.leader.map(|leader| self.name_of(leader));
                let refused = |reason| Refusal::not_applied(reason);
                let knowing = |reason| refused(reason).knowing(leader, refusal.missing);
                let refusal = match refusal.reason {
                    RefusalReason::NoLeader | RefusalReason::NoMember => knowing(Reason::NoLeader),
                    RefusalReason::Timeout => knowing(Reason::Timeout),
                    RefusalReason::Overloaded => knowing(Reason::Overloaded),
                    RefusalReason::Diverged => refused(Reason::Diverged),
                    RefusalReason::Witness => refused(Reason::Witness),
                };
                (pending, refusal)
            }
            (Reply::Unknown(UnknownReason::Timeout), pending) => {
                let (leader, missing) = self.knows();
                (pending, Refusal::unknown(Reason::Timeout).knowing(leader, missing))
            }
            (Reply::Unknown(UnknownReason::InCheckpoint), pending) => {
                (pending, Refusal::unknown(Reason::InCheckpoint))
            }
            (reply, _) => unreachable!("a reply of another kind than its request: {reply:?}"),
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

    /// Serves those who waited until this member stood where it stood before its start.
    pub(super) fn notice_standing(&self) {
        if self.stands.get() || !self.replica.borrow().is_current() {
            return;
        }
        self.stands.set(true);
        let waits = |_: &u64, pending: &mut Pending| matches!(pending, Pending::Standing(_));
        let ready: Vec<_> = self.pending.borrow_mut().extract_if(.., waits).collect();
        for (_, pending) in ready {
            if let Pending::Standing(answer) = pending {
                answer.keep(Ok(()));
            }
        }
    }

    /// Ends every wait when the node ends.
    pub(super) fn fail_all(&self) {
        self.ended.set(true);
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        pending.into_values().for_each(|pending| pending.fail(Refusal::stopped()));
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
                id: member.id,
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
        self.write(Caller::nobody(), command, told(reply));
    }

    pub(super) fn range_for(
        &self,
        request: RangeRequest,
        reply: mpsc::Sender<Result<RangeResponse, String>>,
    ) {
        if let Some(token) = self.wait(Pending::Range(told(reply))) {
            self.enqueue(Event::Read { token, request });
        }
    }
}

impl Stage for Node {
    fn begin(&self, query: &Query) -> Result<Reading, Refusal> {
        if let Some(refusal) = self.serves_no_data().filter(|r| query.is_refused_by(r)) {
            return Err(refusal);
        }
        let replica = self.replica.borrow();
        let (store, now) = (replica.store(), replica.cluster_time());
        query.begin(store.view(), now, store.limits().max_txn_ops).map_err(Refusal::from)
    }

    fn header(&self) -> Header {
        Door::header(self)
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.pool.run(work, answer);
    }
}

/// An answer that goes to another thread.
fn told<T: 'static>(reply: mpsc::Sender<Result<T, String>>) -> Answer<T> {
    Promise::to(move |result: Option<Result<T, Refusal>>| {
        let result = result.unwrap_or_else(|| Err(Refusal::stopped()));
        let _ = reply.send(result.map_err(|refusal| refusal.to_string()));
    })
}

/// The change with its URLs in one spelling and order; none that is empty, unreadable or leads
/// nowhere. Members refuse to read a longer list from each other.
fn checked(mut change: Change) -> Result<Change, Refusal> {
    let urls = match &mut change {
        Change::Add { member, .. } | Change::Replace { member, .. } => &mut member.peer_urls,
        Change::Update { peer_urls, .. } => peer_urls,
        Change::Promote { .. }
        | Change::Remove { .. }
        | Change::Quorum { .. }
        | Change::Publish { .. } => return Ok(change),
    };
    let bad = || Refusal::not_applied(Reason::BadUrl);
    if urls.len() > URLS_MAX || urls.iter().any(|text| text.len() > MEMBER_TEXT_BYTES_MAX) {
        return Err(bad());
    }
    let parsed = urls.iter().map(|text| Url::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut parsed = parsed.map_err(|_| bad())?;
    parsed.sort();
    if parsed.is_empty() || parsed.iter().any(Url::is_wildcard) {
        return Err(bad());
    }
    *urls = parsed.iter().map(ToString::to_string).collect();
    Ok(change)
}

impl Door for Node {
    fn write(&self, caller: Caller, command: Command, answer: Answer<Response>) {
        if let Some(token) = self.wait(Pending::Write(answer)) {
            self.enqueue(Event::Propose { token, caller, command });
        }
    }

    fn read(&self, _: Caller, fresh: Freshness, read: Read) {
        if fresh == Freshness::Local {
            return self.reads.serve(read);
        }
        if let Some(token) = self.wait(Pending::Read(read)) {
            self.enqueue(Event::ReadBarrier { token });
        }
    }

    fn barrier(&self, answer: Answer<()>) {
        if let Some(token) = self.wait(Pending::Barrier(answer)) {
            self.enqueue(Event::ReadBarrier { token });
        }
    }

    fn when_current(&self, answer: Answer<()>) {
        if let Some(token) = self.wait(Pending::Standing(answer)) {
            self.enqueue(Event::ReadBarrier { token });
        }
    }

    fn change(&self, _: Caller, change: Change, answer: Answer<Vec<MemberInfo>>) {
        let change = match checked(change) {
            Ok(change) => change,
            Err(refusal) => return answer.keep(Err(refusal)),
        };
        if let Some(token) = self.wait(Pending::Change(answer)) {
            self.enqueue(Event::Change { token, change });
        }
    }

    fn move_leader(&self, _: Caller, target: NodeId, answer: Answer<()>) {
        let refuse = |answer: Answer<()>, reason| answer.keep(Err(Refusal::not_applied(reason)));
        {
            let replica = self.replica.borrow();
            if !replica.raft().is_leader() {
                drop(replica);
                return refuse(answer, Reason::NotLeader);
            }
            let members = &replica.raft().config().members;
            let witness = replica.raft().config().is_witness(target);
            if witness || !members.iter().any(|m| m.id == target && !m.learner) {
                drop(replica);
                return refuse(answer, Reason::BadTransferee);
            }
        }
        if target == self.peers.member {
            return answer.keep(Ok(()));
        }
        self.enqueue(Event::TransferLeader { to: Some(target) });
        let until = Instant::now() + 2 * Duration::from_millis(self.config.election_timeout_ms);
        let Some(node) = self.me.upgrade() else { return answer.keep(Err(Refusal::stopped())) };
        tokio::task::spawn_local(async move {
            while Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if node.replica.borrow().raft().leader() == Some(target) {
                    return answer.keep(Ok(()));
                }
            }
            answer.keep(Err(Refusal::unknown(Reason::TransferTimeout)));
        });
    }

    fn on_changes(&self, listener: ChangeListener) {
        self.listeners.borrow_mut().push(listener);
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.pool.run(work, answer);
    }

    fn view(&self) -> View {
        self.replica.borrow().store().view()
    }

    fn header(&self) -> Header {
        let replica = self.replica.borrow();
        Header {
            cluster: self.peers.cluster,
            member: self.peers.member,
            revision: replica.store().revision(),
            term: replica.raft().ballot().term,
        }
    }

    fn status(&self) -> Status {
        let replica = self.replica.borrow();
        let status = replica.status();
        Status {
            leader: status.leader,
            commit: status.commit.0,
            applied: status.applied.0,
            size_bytes: replica.store().size_bytes(),
            quota_bytes: self.quota_bytes,
            learner: replica.raft().config().member(status.id).is_none_or(|m| m.learner),
            diverged: status.diverged,
            halted: self.halted.borrow().clone(),
        }
    }

    fn members(&self) -> Vec<MemberInfo> {
        let replica = self.replica.borrow();
        self.members_of(replica.raft().config())
    }

    fn quorum(&self) -> (String, Option<String>) {
        let replica = self.replica.borrow();
        let config = replica.raft().config();
        (config.quorum.clone(), config.joint.clone())
    }

    fn alarms(&self) -> Vec<(NodeId, AlarmKind)> {
        let replica = self.replica.borrow();
        replica.store().alarms().into_iter().map(|(id, kind)| (NodeId(id), kind)).collect()
    }

    fn leases(&self) -> Vec<i64> {
        self.replica.borrow().store().leases()
    }

    fn knows(&self) -> (Option<String>, Vec<String>) {
        let (leader, missing) = {
            let replica = self.replica.borrow();
            (replica.raft().leader(), replica.missing())
        };
        (leader.map(|leader| self.name_of(leader)), missing)
    }

    fn serves_no_data(&self) -> Option<Refusal> {
        if self.halted.borrow().is_some() {
            return Some(Refusal::not_applied(Reason::Diverged));
        }
        let reason = self.replica.borrow().serves_no_data();
        match reason? {
            RefusalReason::Witness => Some(Refusal::not_applied(Reason::Witness)),
            RefusalReason::NoMember => {
                let (leader, missing) = self.knows();
                Some(Refusal::not_applied(Reason::NoLeader).knowing(leader, missing))
            }
            RefusalReason::Diverged => Some(Refusal::not_applied(Reason::Diverged)),
            _ => None, // It is told call by call.
        }
    }

    fn is_current(&self) -> bool {
        self.replica.borrow().is_current()
    }

    fn txn_ops_max(&self) -> usize {
        self.replica.borrow().store().limits().max_txn_ops
    }

    fn lease_ttl_min(&self) -> i64 {
        self.config.lease_ttl_min()
    }

    fn fresh_id(&self) -> i64 {
        let mut random = self.random.borrow_mut();
        loop {
            let id = (random.next_u64() >> 1).cast_signed();
            if id != 0 {
                return id;
            }
        }
    }
}

/// Shares the node with its fronts.
pub(super) fn door(node: &Rc<Node>) -> Rc<dyn Door> {
    Rc::clone(node) as Rc<dyn Door>
}
