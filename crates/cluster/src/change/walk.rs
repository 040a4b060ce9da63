//! From one configuration to the next.

use super::{Change, ChangeError, Newcomer};
use crate::Compiled;
use crate::config::{BallotRule, Configuration, Member};
use crate::error::ConfigError;
use crate::label::label;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::limits::{LEARNERS_MAX, REMOVED_MAX};
use base::{Life, NodeId, RequestId, planted};
use quorum::{Expr, NODES_MAX, NodeSet, renamed};

impl Compiled {
    /// The configuration a change begins with, or why it may not. `live` are the slots of the
    /// members known to be alive; `caught_up` says whether a learner has the leader's log.
    ///
    /// # Errors
    /// What is asked contradicts the members, another change is under way, or the system asked
    /// for is unsafe or has too few members alive. Nothing was begun.
    pub fn begin(
        &self,
        change: &Change,
        request: RequestId,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Compiled, ChangeError> {
        self.refuse_second(change)?;
        let edited = self.same_texts(self.first_step(change, request, caught_up)?)?;
        let next = match change {
            Change::Add { .. } | Change::Replace { .. } => edited.rehearsed(live)?,
            Change::Promote { .. } | Change::Quorum { .. } => edited.join()?.alive(live)?,
            // A voter; a learner has left already.
            Change::Remove { .. } if edited.change.remove.is_some() => {
                edited.join()?.alive(live)?
            }
            Change::Remove { .. } | Change::Update { .. } | Change::Publish { .. } => edited,
        };
        self.refuse_new_roles(&next)?;
        assert_eq!(next.change.request, request, "the next one names who asked for it");
        Ok(next)
    }

    /// The change written down, and nothing of it done that touches a quorum.
    fn first_step(
        &self,
        change: &Change,
        request: RequestId,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Configuration, ChangeError> {
        let mut next = self.config().clone();
        next.change.request = request;
        next.change.founding = false;
        match change {
            Change::Add { member, learner, quorum } => {
                if *learner && self.learners() >= LEARNERS_MAX {
                    return Err(ChangeError::TooManyLearners);
                }
                next.take_in(member)?;
                if !learner {
                    next.change.promote = Some(member.id);
                    next.change.quorum.clone_from(quorum);
                }
            }
            Change::Replace { old, member, quorum } => {
                let leaving = self.member(*old).ok_or(ChangeError::MemberNotFound)?;
                next.take_in(member)?;
                next.change.promote = Some(member.id);
                next.change.remove = Some(*old);
                next.change.quorum.clone_from(quorum);
                let marks = !self.witnesses().is_empty();
                if quorum.is_none() && (marks || !self.follows_members()) {
                    let name = &next.members.last().expect("just taken in").name;
                    next.change.quorum = Some(renamed(&self.quorum, &leaving.name, name));
                }
            }
            Change::Promote { id, quorum } => {
                let member = self.member(*id).ok_or(ChangeError::MemberNotFound)?;
                if !member.learner {
                    return Err(ChangeError::NotLearner);
                }
                if !caught_up(*id) {
                    return Err(ChangeError::LearnerNotReady);
                }
                next.change.promote = Some(*id);
                if quorum.is_some() {
                    next.change.quorum.clone_from(quorum);
                }
            }
            Change::Remove { id, quorum } => return self.begin_removal(next, *id, quorum.as_ref()),
            Change::Update { id, peer_urls } => {
                next.refuse_taken_urls(peer_urls, *id)?;
                let member = next.members.iter_mut().find(|m| m.id == *id);
                member.ok_or(ChangeError::MemberNotFound)?.peer_urls.clone_from(peer_urls);
            }
            Change::Quorum { text } => next.change.quorum = Some(text.clone()),
            Change::Publish { id, name, client_urls } => next.publish(*id, name, client_urls)?,
        }
        Ok(next)
    }

    /// The configuration that follows this one, once this one is committed: none when nothing is
    /// left to do, or a learner has not caught up yet. Only looks at what was prepared.
    ///
    /// # Errors
    /// Why the change under way cannot go on as things are.
    pub fn advance(
        &self,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Option<Compiled>, ChangeError> {
        let waits = |id: NodeId| !self.is_named(id) || !caught_up(id);
        if self.joint.is_none() && self.change.promote.is_none_or(waits) {
            return Ok(None);
        }
        let next = self.next().expect("prepared where a change is under way");
        let next = next.as_deref().map_err(ChangeError::clone)?;
        let next = next.clone();
        assert_eq!(next.change.request, self.change.request, "it is still the same change");
        if self.joint.is_some() { Ok(Some(next)) } else { next.alive(live).map(Some) }
    }

    /// One change at a time. What is under way can be called off before its joint entry, by
    /// removing the newcomer.
    fn refuse_second(&self, change: &Change) -> Result<(), ChangeError> {
        let name = |id: NodeId| self.member(id).map_or_else(|| label(id), |m| m.name.clone());
        match (self.change.promote, change) {
            _ if self.joint.is_some() => {
                let text = self.joint.as_deref().unwrap_or_default();
                let why = alloc::format!("the change to quorum {text} is not done yet");
                Err(ChangeError::Pending(why))
            }
            (None, _) | (Some(_), Change::Publish { .. }) => Ok(()),
            (Some(new), Change::Remove { id, .. } | Change::Promote { id, .. }) if new == *id => {
                Ok(())
            }
            (Some(new), _) => Err(ChangeError::Pending(alloc::format!(
                "member {} ({:x}) has not caught up yet; start it, or remove it",
                name(new),
                new.0
            ))),
        }
    }

    /// A member whose log has no data can hold none, and one that has data keeps it.
    fn refuse_new_roles(&self, next: &Compiled) -> Result<(), ChangeError> {
        let Some(member) = self.changes_a_role(next) else { return Ok(()) };
        let (is, other) = if self.is_witness(member.id) {
            ("is a witness", "hold data")
        } else {
            ("holds data", "be a witness")
        };
        Err(ChangeError::Invalid(alloc::format!(
            "member {} ({:x}) {is} and cannot {other} in place: remove it, and add a new member",
            member.name,
            member.id.0
        )))
    }

    /// A member of both configurations that is a witness in one of them only.
    pub fn changes_a_role(&self, next: &Compiled) -> Option<&Member> {
        let (before, after) = (self.witnesses(), next.witnesses());
        let both = self.members.iter().filter(|m| next.member(m.id).is_some());
        let mut both = both.filter(|m| before.contains(m.slot) != after.contains(m.slot));
        both.next()
    }

    /// `next`, which has this one in it as a voter that leaves, or as a learner that just goes.
    fn begin_removal(
        &self,
        mut next: Configuration,
        id: NodeId,
        quorum: Option<&String>,
    ) -> Result<Configuration, ChangeError> {
        let member = self.member(id).ok_or(ChangeError::MemberNotFound)?;
        next.change.remove = Some(id);
        if member.learner {
            if next.change.promote == Some(id) {
                // Called off, with everything that came along.
                (next.change.promote, next.change.quorum) = (None, None);
            }
            let next = next.done();
            assert!(next.member(id).is_none(), "a learner leaves at once");
            return Ok(next);
        }
        if self.members.iter().filter(|m| !m.learner).count() <= 1 {
            let why = "it is the last voting member".to_string();
            return Err(ChangeError::NotEnoughStarted(why));
        }
        next.change.quorum = quorum.cloned();
        let named = self.old().spec.names().contains(&member.name.as_str());
        if quorum.is_none() && !self.follows_members() && !named {
            next.change.quorum = Some(self.quorum.clone());
        }
        Ok(next)
    }

    /// Checks a promotion that is to come, with the newcomer counted as alive.
    fn rehearsed(self, live: NodeSet) -> Result<Compiled, ChangeError> {
        let Some(id) = self.change.promote else { return Ok(self) };
        let mut then = live;
        self.slot_of(id).map(|slot| then.insert(slot));
        let next = self.next().expect("prepared where a change is under way");
        next.as_deref().map_err(ChangeError::clone)?.refuse_dead(then)?;
        Ok(self)
    }

    /// The joint of this configuration and the one its change asks for; the latter at once when
    /// both decide alike.
    pub(crate) fn join(&self) -> Result<Compiled, ChangeError> {
        assert!(self.joint.is_none(), "one change at a time");
        let mut joint = self.without_waiting();
        let text = joint.change.quorum.take();
        let follows = text.is_none();
        let leaving = joint.change.remove;
        let mut target = joint.clone();
        target.members.retain(|m| Some(m.id) != leaving);
        if target.voters().is_empty() {
            let why = "nobody would be left to vote".to_string();
            return Err(ChangeError::NotEnoughStarted(why));
        }
        target.quorum = match text {
            Some(text) => text,
            None if self.follows_members() => target.majority(self.witnesses()),
            None => {
                return Err(ChangeError::Invalid(alloc::format!(
                    "the quorum {} names its members: say which one the cluster is to have with \
                     --quorum",
                    self.quorum
                )));
            }
        };
        let goal = target.clone().compile().map_err(|e| target.why_not(&e))?;
        assert!(!follows || goal.follows_members(), "the plain majority goes on as one");
        self.refuse_new_roles(&goal)?;
        joint.joint = Some(target.quorum);
        joint.check_members()?;
        let done = Compiled::of(joint.done(), goal.old().clone(), None);
        assert_eq!(done.voters(), goal.voters(), "the end is what was proved");
        if self.old().spec == goal.old().spec {
            return Ok(done);
        }
        let joint = Compiled::of(joint, self.old().clone(), Some(goal.old().clone()));
        assert!(self.voters().is_subset(joint.voters()), "nobody leaves before the end");
        assert!(done.voters().is_subset(joint.voters()), "nobody comes in after the joint");
        Ok(joint.leading_to(done))
    }

    /// The newcomer that was waited for is a voter.
    fn without_waiting(&self) -> Configuration {
        let mut joint = self.config().clone();
        let promoted = joint.change.promote.take();
        let newcomer = joint.members.iter_mut().find(|m| Some(m.id) == promoted);
        newcomer.into_iter().for_each(|m| m.learner = false);
        joint
    }

    /// The joint of this configuration and the one with `text`.
    pub(crate) fn joined(&self, text: String) -> Configuration {
        let mut joint = self.without_waiting();
        (joint.change.quorum, joint.joint) = (None, Some(text));
        joint
    }

    /// Itself, unless those alive are no quorum of the system it moves to.
    fn alive(self, live: NodeSet) -> Result<Compiled, ChangeError> {
        self.refuse_dead(live)?;
        Ok(self)
    }

    fn refuse_dead(&self, live: NodeSet) -> Result<(), ChangeError> {
        let goal = self.goal();
        if goal.commit().is_quorum(live) && goal.elect().is_quorum(live) {
            return Ok(());
        }
        let stays = |m: &&Member| !m.learner && Some(m.id) != self.change.remove;
        let dead = self.members.iter().filter(stays).filter(|m| !live.contains(m.slot));
        let dead = dead.map(|m| &m.name[..]).collect::<Vec<_>>().join(", ");
        let text = self.joint.as_ref().unwrap_or(&self.quorum);
        let why = alloc::format!("no quorum of {text} is alive: {dead} not heard from");
        Err(ChangeError::NotEnoughStarted(why))
    }

    /// The way back from a joint configuration: the members and the quorum before it, but a
    /// newcomer stays, as a learner. It names no request: what was asked for is not done.
    pub fn called_off(&self) -> Compiled {
        let mut back = self.config().clone();
        let text = back.joint.take();
        assert!(text.is_some(), "only a joint configuration is called off");
        let [old, new] = [self.sides().next(), self.sides().nth(1)];
        let [old, new] = [old, new].map(|side| side.map_or(Vec::new(), |s| s.spec.names()));
        for member in &mut back.members {
            let name = member.name.as_str();
            member.learner |= new.contains(&name) && !old.contains(&name);
        }
        back.change.request = RequestId::default();
        (back.change.promote, back.change.remove, back.change.quorum) = (None, None, None);
        let plain = Compiled::of(back, self.old().clone(), None);
        assert_eq!(plain.system(), &self.old().system, "decisions are as before");
        assert!(plain.voters().is_subset(self.voters()), "nobody begins to vote on the way back");
        if plain.witnesses() == self.witnesses() {
            return plain;
        }
        // Who came in as a witness stays one.
        let mut back = plain.config().clone();
        back.change.quorum = self.change.quorum.clone().or(text);
        Compiled::of(back, self.old().clone(), None)
    }
}

impl Configuration {
    /// The plain majority of the voters, as text; those in `witnesses` keep no data.
    fn majority(&self, witnesses: NodeSet) -> String {
        let voters = self.members.iter().filter(|m| !m.learner);
        let voters = voters.map(|m| (m.name.as_str(), witnesses.contains(m.slot)));
        Expr::majority_marked(voters).to_string()
    }

    /// Says of a system that is refused whether it is for one reason only: elect sets that do not
    /// meet each other, where terms are shared.
    fn why_not(&self, error: &ConfigError) -> ChangeError {
        let other = Configuration { rule: BallotRule::TermAndNode, ..self.clone() };
        let shared = self.rule == BallotRule::SharedTerms;
        if !shared || other.compile().is_err() {
            return ChangeError::Invalid(error.to_string());
        }
        ChangeError::Invalid(alloc::format!(
            "{error}: such a system needs (term, node) ballots, and this cluster shares terms \
             since it was bootstrapped; that cannot change while it runs"
        ))
    }

    /// A voter's name is for good, so a newcomer says its own first.
    fn is_named(&self, id: NodeId) -> bool {
        let said = |m: &Member| m.name != label(id) || !m.client_urls.is_empty();
        self.member(id).is_some_and(said)
    }

    /// True while a change is under way.
    pub fn is_changing(&self) -> bool {
        self.joint.is_some() || self.change.promote.is_some()
    }

    /// Learners that stay learners until somebody promotes them.
    fn learners(&self) -> usize {
        let stays = |m: &&Member| m.learner && self.change.promote != Some(m.id);
        self.members.iter().filter(stays).count()
    }

    fn refuse_taken_urls(&self, urls: &[String], own: NodeId) -> Result<(), ChangeError> {
        let others = self.members.iter().filter(|m| m.id != own);
        if others.flat_map(|m| &m.peer_urls).any(|url| urls.contains(url)) {
            Err(ChangeError::PeerUrlsExist)
        } else {
            Ok(())
        }
    }

    fn take_in(&mut self, new: &Newcomer) -> Result<(), ChangeError> {
        self.refuse_taken_urls(&new.peer_urls, NodeId::ZERO)?;
        let known = self.member(new.id).is_some();
        let left = self.change.removed.iter().any(|(id, _)| *id == new.id);
        if known || left || new.id == NodeId::ZERO {
            return Err(ChangeError::IdExists);
        }
        let name = if new.name.is_empty() { label(new.id) } else { new.name.clone() };
        if self.members.iter().any(|m| m.name == name) {
            let why = alloc::format!("a member is called {name:?} already");
            return Err(ChangeError::Invalid(why));
        }
        let slot = self.next_slot().ok_or(ChangeError::Invalid("too many members".into()))?;
        assert!(usize::from(slot) < NODES_MAX && self.id_of(slot).is_none(), "the slot is free");
        self.change.slot_last = Some(slot);
        self.members.push(Member {
            id: new.id,
            slot,
            name,
            learner: true,
            peer_urls: new.peer_urls.clone(),
            client_urls: Vec::new(),
            life: Life::UNKNOWN,
        });
        Ok(())
    }

    /// Slots are given in a circle, so that one that was left is given again only after all
    /// others: nothing late is said in the name of another member.
    fn next_slot(&self) -> Option<u8> {
        let highest = self.members.iter().map(|m| m.slot).max()?;
        let last = self.change.slot_last.filter(|_| !planted!(SlotGivenAtOnce));
        let last = usize::from(last.unwrap_or(highest));
        let mut around = (1..=NODES_MAX).map(|step| ((last + step) % NODES_MAX) as u8);
        let taken = |s: &u8| self.members.iter().any(|m| m.slot == *s);
        around.find(|slot| !taken(slot))
    }

    fn publish(
        &mut self,
        id: NodeId,
        name: &str,
        client_urls: &[String],
    ) -> Result<(), ChangeError> {
        let free = !name.is_empty() && self.members.iter().all(|m| m.name != name);
        let fixed = self.change.quorum.is_some();
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.ok_or(ChangeError::MemberNotFound)?;
        member.client_urls = client_urls.to_vec();
        // Only a learner's name stands in no quorum text.
        if member.learner && !fixed && free && member.name == label(id) {
            member.name = name.to_string();
        }
        Ok(())
    }

    /// The end of the change under way.
    pub fn done(&self) -> Configuration {
        let mut end = self.clone();
        if let Some(text) = end.joint.take() {
            end.quorum = text;
        }
        let leaving = end.change.remove.take();
        if let Some(at) = end.members.iter().position(|m| Some(m.id) == leaving) {
            let highest = end.members.iter().map(|m| m.slot).max();
            end.change.slot_last = end.change.slot_last.or(highest);
            let gone = end.members.remove(at);
            end.change.removed.push((gone.id, gone.name));
            let surplus = end.change.removed.len().saturating_sub(REMOVED_MAX);
            end.change.removed.drain(..surplus);
            end.change.out.retain(|id| *id != gone.id);
            assert!(end.change.removed.len() <= REMOVED_MAX, "the oldest are forgotten");
        }
        assert!(end.joint.is_none() && end.change.remove.is_none(), "nothing is left of the step");
        end
    }
}
