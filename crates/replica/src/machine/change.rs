//! Changes of members and quorum: from whoever was asked to the leader's log, and on from there
//! by themselves. `docs/design/reconfiguration.md` has the whole walk.

use super::Replica;
use crate::dedupe::Dedupe;
use crate::{Effects, PeerBody, PeerMessage, RefusalReason, Reply, TraceKind, UnknownReason};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use base::limits::{CHANGES_PENDING_MAX as PENDING_MAX, CHANGES_REFUSED_MAX as REFUSED_MAX};
use base::{Ballot, Nanos, NodeId, RequestId, Token};
use cluster::{Change, ChangeError, Compiled, Configuration};
use consensus::raft::Entry;
use mvcc::Caller;

/// How soon a change is looked at again while the last entry of another is being committed.
const PAUSE: Nanos = Nanos::from_millis(10);
/// Entries a learner may lack when it becomes a voter: less than a round trip under load.
const SLACK: u64 = 1024;

/// A change asked for here.
struct Asked {
    token: Token,
    caller: Caller,
    change: Change,
    deadline: Nanos,
    /// When it is offered to the leader, again or for the first time.
    offer_at: Nanos,
    /// The last leader it was offered to, which is the highest.
    offered: Option<Ballot>,
}

/// What one leader refused. What was refused is never done later: not by a frame that comes
/// twice, and not when the answer itself is forgotten.
#[derive(Default)]
struct Refused {
    /// Of which reign.
    ballot: Ballot,
    last: VecDeque<(RequestId, ChangeError)>,
    all: Dedupe,
}

impl Refused {
    /// Another reign: a leader in between may have done what this one refused before.
    fn begin(&mut self, ballot: Ballot) {
        if self.ballot != ballot {
            *self = Self { ballot, ..Self::default() };
        }
    }

    fn push(&mut self, id: RequestId, error: ChangeError) {
        self.all.insert(id);
        self.last.push_back((id, error));
        if self.last.len() > REFUSED_MAX {
            self.last.pop_front();
        }
        assert!(self.last.len() <= REFUSED_MAX, "answers that are repeated are bounded");
        assert!(self.all.contains(id), "what was refused is never done");
    }
}

/// What a leader did with a change that it does not refuse.
enum Tried {
    /// Begun, now or before.
    Judged,
    /// Nothing yet.
    Later,
}

#[derive(Default)]
pub(super) struct Changes {
    asked: BTreeMap<u64, Asked>,
    refused: Refused,
}

impl Changes {
    pub fn deadline(&self) -> Option<Nanos> {
        self.asked.values().map(|a| a.deadline.min(a.offer_at)).min()
    }

    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// `seq_next` is above the number of every request of this member.
    pub fn check(&self, seq_next: u64) {
        assert!(self.asked.len() <= PENDING_MAX, "changes that wait are bounded");
        let last = self.asked.last_key_value().map_or(0, |(seq, _)| *seq);
        assert!(last < seq_next, "requests are numbered once");
        assert!(self.refused.last.len() <= REFUSED_MAX, "so are refusals that are remembered");
    }

    /// Another leader: everything is offered to it.
    pub fn offer_again(&mut self) {
        self.asked.values_mut().for_each(|a| a.offer_at = Nanos::ZERO);
    }
}

impl Replica {
    pub(super) fn on_change(
        &mut self,
        token: Token,
        (caller, change): (Caller, Change),
        out: &mut Effects,
    ) {
        if self.diverged || self.changes.len() >= PENDING_MAX {
            let reason =
                if self.diverged { RefusalReason::Diverged } else { RefusalReason::Overloaded };
            out.replies.push((token, self.refusal(reason)));
            return;
        }
        let seq = self.seq_next;
        self.seq_next += 1;
        let deadline = self.now.plus(self.settings.request_timeout);
        let asked = Asked { token, caller, change, deadline, offer_at: Nanos::ZERO, offered: None };
        let old = self.changes.asked.insert(seq, asked);
        assert!(old.is_none(), "requests are numbered once");
        self.emit(out, || TraceKind::Proposed { id: self.own_id(seq) });
    }

    pub(super) fn on_peer_change(
        &mut self,
        from: NodeId,
        id: RequestId,
        ballot: Ballot,
        (caller, change): (&Caller, &Change),
        out: &mut Effects,
    ) {
        let late = ballot != self.raft.ballot();
        if self.raft.config().member(from).is_none() {
            return; // it has left, and what it asked for before is not remembered
        }
        if id.seq == 0 || id.origin != from || late || !self.leads_firmly() {
            return; // it is offered again, to whoever leads then
        }
        if let Err(error) = self.try_change(id, caller, change, out) {
            let body = PeerBody::ChangeRefused { id, ballot, error };
            out.send.push(PeerMessage { from: self.settings.raft.id, to: from, body });
        }
    }

    /// The leader of `ballot` refused. It had committed an entry of its own, so what a leader
    /// before it has in its log, and it does not, is never committed. One after it may have begun
    /// the change all the same, and answers for itself.
    pub(super) fn on_change_refused(
        &mut self,
        id: RequestId,
        ballot: Ballot,
        error: ChangeError,
        out: &mut Effects,
    ) {
        let offered = self.changes.asked.get(&id.seq).and_then(|asked| asked.offered);
        if id == self.own_id(id.seq)
            && offered == Some(ballot)
            && let Some(asked) = self.changes.asked.remove(&id.seq)
        {
            self.reply_change(id, asked.token, Reply::ChangeRefused(error), out);
        }
    }

    /// The leader says that this member is out: what it asked for itself is done.
    pub(super) fn on_removed(&mut self, from: NodeId, out: &mut Effects) {
        if self.raft.leader() != Some(from) && self.raft.config().member(from).is_none() {
            return;
        }
        let config = self.raft.config().clone();
        for (seq, asked) in core::mem::take(&mut self.changes.asked) {
            let own = matches!(asked.change, Change::Remove { id, .. }
                if id == self.settings.raft.id);
            let reply = if own {
                Reply::Changed { index: self.applied, config: Box::new(config.done()) }
            } else {
                self.given_up(&asked)
            };
            self.reply_change(self.own_id(seq), asked.token, reply, out);
        }
        out.removed = true;
    }

    /// Offers what is pending, and at a leader takes the change under way one step further.
    pub(super) fn drive_changes(&mut self, out: &mut Effects) {
        self.offer_changes(out);
        if !self.raft.config().is_changing() || !self.leads_firmly() {
            return;
        }
        if !self.raft.config_is_committed() {
            return;
        }
        let live = self.raft.live();
        let next = self.raft.config().advance(live, |id| self.raft.has_caught_up(id, SLACK));
        // What cannot go on now can later, when more of its members are alive.
        if let Ok(Some(next)) = next {
            self.append_config(&next, None, out);
        }
    }

    /// When there is something to offer, to give up, or to go on with.
    pub(super) fn changes_deadline(&self) -> Option<Nanos> {
        let firm = self.leads_firmly();
        if firm && self.raft.config().joint.is_some() && self.raft.config_is_committed() {
            return Some(self.now);
        }
        let heard = self.raft.leader().is_some_and(|l| l != self.settings.raft.id || firm);
        self.changes.deadline().filter(|_| heard)
    }

    fn leads_firmly(&self) -> bool {
        self.raft.leader_ready() && self.raft.takes_proposals() && !self.diverged
    }

    fn offer_changes(&mut self, out: &mut Effects) {
        let (now, me) = (self.now, self.settings.raft.id);
        let Some(ballot) = self.raft.leader_ballot() else { return };
        let leader = ballot.node;
        if leader != me {
            self.drop_published(out);
        } else if !self.leads_firmly() {
            return;
        }
        let again = now.plus(self.settings.raft.election_timeout_min);
        let mut due: Vec<(u64, Caller, Change)> = Vec::new();
        for (seq, asked) in &mut self.changes.asked {
            if asked.offer_at <= now {
                assert!(asked.offered <= Some(ballot), "leaders that are followed rise");
                asked.offer_at = again;
                due.push((*seq, asked.caller.clone(), asked.change.clone()));
            }
        }
        for (seq, caller, change) in due {
            let id = self.own_id(seq);
            if leader != me {
                self.note_offered(seq, ballot);
                let body = PeerBody::Change { id, ballot, caller, change };
                out.send.push(PeerMessage { from: me, to: leader, body });
                continue;
            }
            let tried = self.try_change(id, &caller, &change, out);
            if let Ok(Tried::Later) = tried {
                if let Some(asked) = self.changes.asked.get_mut(&seq) {
                    asked.offer_at = now.plus(PAUSE);
                }
                continue;
            }
            self.note_offered(seq, ballot);
            if let Err(error) = tried {
                self.on_change_refused(id, ballot, error, out);
            }
        }
    }

    fn note_offered(&mut self, seq: u64, ballot: Ballot) {
        if let Some(asked) = self.changes.asked.get_mut(&seq) {
            asked.offered = Some(ballot);
        }
    }

    /// What is true of one that nobody waits for any more: none but an offered one can be begun.
    fn given_up(&self, asked: &Asked) -> Reply {
        match asked.offered {
            Some(_) => Reply::Unknown(UnknownReason::Timeout),
            None => self.refusal(RefusalReason::NoLeader),
        }
    }

    /// What members say a leader publishes by what it knows itself. Another one may know better,
    /// and is not offered what was true before its reign.
    fn drop_published(&mut self, out: &mut Effects) {
        let published = |_: &u64, asked: &mut Asked| matches!(asked.change, Change::Publish { .. });
        let all: Vec<_> = self.changes.asked.extract_if(.., published).collect();
        for (seq, asked) in all {
            let reply = self.given_up(&asked);
            self.reply_change(self.own_id(seq), asked.token, reply, out);
        }
    }

    /// At a leader: begins the change, unless it was begun or refused before. Judged also when it
    /// is under way or done: whoever asked hears of that when it applies the entry.
    fn try_change(
        &mut self,
        id: RequestId,
        caller: &Caller,
        change: &Change,
        out: &mut Effects,
    ) -> Result<Tried, ChangeError> {
        // In the log, or applied: also when the entry of another change has followed.
        if self.raft.has_config_of(id) || self.dedupe.contains(id) {
            return Ok(Tried::Judged);
        }
        self.changes.refused.begin(self.raft.ballot());
        if let Some((_, error)) = self.changes.refused.last.iter().find(|(old, _)| *old == id) {
            return Err(error.clone());
        }
        if self.changes.refused.all.contains(id) {
            return Ok(Tried::Judged);
        }
        if self.raft.config().joint.is_none() && !self.raft.config_is_committed() {
            // A moment later it is, and then this can be judged.
            return Ok(Tried::Later);
        }
        let begun = if self.raft.config_is_committed() {
            let live = self.raft.live();
            let close = |id| self.raft.has_caught_up(id, SLACK);
            self.raft.config().begin(change, id, live, close)
        } else {
            Err(ChangeError::Pending("another change is not committed yet".into()))
        };
        let begun = begun.and_then(|next| {
            let refused = || ChangeError::Invalid("it does not meet the quorum in force".into());
            self.append_config(&next, Some(caller), out).ok_or_else(refused)
        });
        if let Err(error) = &begun {
            self.changes.refused.push(id, error.clone());
        }
        begun.map(|()| Tried::Judged)
    }

    /// `by` asked for it; none for a further step of what was asked before.
    fn append_config(
        &mut self,
        next: &Compiled,
        by: Option<&Caller>,
        out: &mut Effects,
    ) -> Option<()> {
        let index = self.raft.propose_config(self.now, next, &mut self.ready).ok()?;
        assert!(index > self.applied, "what was just appended is not applied");
        let (ballot, id) = (self.raft.ballot(), next.change.request);
        self.emit(out, || TraceKind::Logged { id, index, ballot });
        self.emit(out, || {
            let (quorum, joint) = (next.quorum.clone(), next.joint.clone());
            let by = by.map(Caller::user).filter(|user| !user.is_empty());
            let by = by.map(|user| String::from_utf8_lossy(user).into_owned());
            TraceKind::Changing { id, index, by, quorum, joint }
        });
        Some(())
    }

    /// A configuration entry was applied: it joins the window, answers, and says farewell.
    pub(super) fn apply_config(&mut self, entry: &Entry, out: &mut Effects) {
        // Cheap beside a change, and what follows borrows the rest of the machine.
        let config = self.raft.config_at(entry.index).clone();
        debug_assert_eq!(Configuration::decode(&entry.payload).as_ref(), Ok(&config), "it is it");
        let before = self.raft.config_at(entry.index.prev());
        let me = self.settings.raft.id;
        let gone: Vec<NodeId> = before.members.iter().map(|m| m.id).collect();
        let gone = gone.into_iter().filter(|id| config.member(*id).is_none());
        let mut removed = false;
        for to in gone {
            removed |= to == me;
            if to != me && self.raft.is_leader() {
                out.send.push(PeerMessage { from: me, to, body: PeerBody::Removed });
            }
        }
        let asked_before = before.change.request;
        let called_off = before.joint.as_ref().filter(|text| {
            config.joint.is_none() && config.change.request.seq == 0 && config.quorum != **text
        });
        if let Some(text) = called_off
            && asked_before == self.own_id(asked_before.seq)
            && let Some(asked) = self.changes.asked.remove(&asked_before.seq)
        {
            let why = alloc::format!("called off: no quorum of {text} was heard from");
            let reply = Reply::ChangeRefused(ChangeError::NotEnoughStarted(why));
            self.reply_change(asked_before, asked.token, reply, out);
        }
        self.dedupe.keep(|id| config.member(id).is_some());
        let id = config.change.request;
        if id.seq > 0 && config.member(id.origin).is_some() {
            self.dedupe.insert(id);
        }
        if config.joint.is_none()
            && id == self.own_id(id.seq)
            && let Some(asked) = self.changes.asked.remove(&id.seq)
        {
            let reply = Reply::Changed { index: entry.index, config: Box::new(config) };
            self.reply_change(id, asked.token, reply, out);
        }
        out.removed |= removed;
    }

    /// Requests whose entry went into a checkpoint that was installed here: done, if the last
    /// change is theirs, else done or called off. One that is still to end is answered then.
    pub(super) fn changes_in_checkpoint(&mut self, out: &mut Effects) {
        let config = self.raft.config_at(self.applied).clone();
        let seqs: Vec<u64> = self.changes.asked.keys().copied().collect();
        for seq in seqs {
            let id = self.own_id(seq);
            let last = config.change.request == id;
            if (last && config.joint.is_some()) || !self.dedupe.contains(id) {
                continue;
            }
            let Some(asked) = self.changes.asked.remove(&seq) else { continue };
            let reply = if last {
                Reply::Changed { index: self.applied, config: Box::new(config.clone()) }
            } else {
                Reply::Unknown(UnknownReason::InCheckpoint)
            };
            self.reply_change(id, asked.token, reply, out);
        }
    }

    pub(super) fn expire_changes(&mut self, out: &mut Effects) {
        let now = self.now;
        let leaderless = self.leaderless_since.is_some_and(|since| {
            self.raft.leader().is_none() && now >= since.plus(self.settings.leaderless_wait)
        });
        let over = |a: &Asked| a.deadline <= now || (leaderless && a.offered.is_none());
        let due: Vec<u64> =
            self.changes.asked.iter().filter(|(_, a)| over(a)).map(|(seq, _)| *seq).collect();
        for seq in due {
            let asked = self.changes.asked.remove(&seq).expect("listed above");
            let reply = self.given_up(&asked);
            self.reply_change(self.own_id(seq), asked.token, reply, out);
        }
    }

    fn reply_change(&self, id: RequestId, token: Token, reply: Reply, out: &mut Effects) {
        let refused = matches!(reply, Reply::ChangeRefused(_) | Reply::Refused(_));
        out.replies.push((token, reply));
        if refused {
            self.emit(out, || TraceKind::ChangeRefused { id });
        }
        self.emit(out, || TraceKind::Replied { id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_one_reign() {
        let id = |seq| RequestId { seq, ..RequestId::default() };
        let mut refused = Refused::default();
        refused.begin(Ballot::new(1, 1));
        refused.push(id(1), ChangeError::Invalid("no".into()));
        refused.begin(Ballot::new(1, 1));
        assert_eq!((refused.last.len(), refused.all.contains(id(1))), (1, true));
        refused.begin(Ballot::new(2, 1));
        assert_eq!((refused.last.len(), refused.all.contains(id(1))), (0, false));
        refused.push(id(2), ChangeError::Invalid("no".into()));
        refused.begin(Ballot::new(2, 1));
        assert_eq!(refused.last.len(), 1);
    }

    #[test]
    #[should_panic(expected = "requests are numbered once")]
    fn a_change_under_a_number_that_is_still_to_be_given_out_is_noticed() {
        let asked = Asked {
            token: Token(1),
            caller: Caller::nobody(),
            change: Change::Remove { id: NodeId(2), quorum: None },
            deadline: Nanos(9),
            offer_at: Nanos::ZERO,
            offered: None,
        };
        let mut changes = Changes::default();
        changes.asked.insert(3, asked);
        assert_eq!((changes.len(), changes.deadline()), (1, Some(Nanos::ZERO)));
        changes.check(4);
        changes.check(3);
    }

    #[test]
    fn only_a_change_that_was_offered_may_have_been_begun() {
        let mut alone = super::super::tests::leaderless();
        let change = Change::Remove { id: NodeId(2), quorum: None };
        alone.now = Nanos::from_millis(500);
        alone.step(crate::Event::Change { token: Token(3), caller: Caller::nobody(), change });
        let (seq, _) = alone.replica.changes.asked.first_key_value().expect("it waits");
        let seq = *seq;
        let given_up = |replica: &Replica| replica.given_up(&replica.changes.asked[&seq]);
        let not_begun = RefusalReason::NoLeader;
        let reply = given_up(&alone.replica);
        assert!(matches!(reply, Reply::Refused(refusal) if refusal.reason == not_begun));
        alone.replica.note_offered(seq, Ballot::new(1, 2));
        assert!(matches!(given_up(&alone.replica), Reply::Unknown(UnknownReason::Timeout)));
        alone.replica.changes.asked.get_mut(&seq).expect("it waits").offered = None;
        let mut out = Effects::default();
        alone.replica.on_removed(NodeId(2), &mut out);
        let (_, reply) = out.replies.pop().expect("its answer");
        assert!(out.removed && matches!(reply, Reply::Refused(_)), "{reply:?}");
    }
}
