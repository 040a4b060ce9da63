//! From one configuration to the next.

use super::{Change, ChangeError, LEARNERS_MAX, Newcomer, REMOVED_MAX, label};
use crate::config::{BallotRule, ConfigError, Configuration, Member};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::{Life, NodeId, RequestId, planted};
use quorum::{Expr, NODES_MAX, NodeSet, SystemSpec, quoted, renamed};

impl Configuration {
    /// Whether its system is the plain majority of all voters, which follows the members.
    pub fn follows_members(&self) -> bool {
        let spec = |c: &Configuration| c.system().ok();
        let plain = Configuration { quorum: self.majority(), joint: None, ..self.clone() };
        self.joint.is_none() && spec(self).is_some() && spec(self) == spec(&plain)
    }

    /// The plain majority of the voters, as text.
    fn majority(&self) -> String {
        let voters = self.members.iter().filter(|m| !m.learner);
        let witnesses = self.witnesses();
        if witnesses.is_empty() {
            return Expr::majority(voters.map(|m| m.name.as_str())).to_string();
        }
        let word = |m: &Member| {
            if witnesses.contains(m.slot) {
                alloc::format!("witness({})", quoted(&m.name))
            } else {
                quoted(&m.name)
            }
        };
        let text = alloc::format!("majority({})", voters.map(word).collect::<Vec<_>>().join(", "));
        SystemSpec::parse(&text).map_or(text, |spec| spec.to_string())
    }

    /// The configuration a change begins with, or why it may not. `live` are the slots of the
    /// members known to be alive; `caught_up` says whether a learner has the leader's log.
    pub fn begin(
        &self,
        change: &Change,
        request: RequestId,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Configuration, ChangeError> {
        self.refuse_second(change)?;
        let next = self.first_step(change, request, live, caught_up)?;
        self.refuse_new_roles(&next)?;
        Ok(next)
    }

    fn first_step(
        &self,
        change: &Change,
        request: RequestId,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Configuration, ChangeError> {
        let mut next = self.clone();
        next.change.request = request;
        next.change.founding = false;
        match change {
            Change::Add { member, learner, quorum } => {
                if *learner && self.learners() >= LEARNERS_MAX {
                    return Err(ChangeError::TooManyLearners);
                }
                next.take_in(member)?;
                if *learner {
                    return Ok(next);
                }
                next.change.promote = Some(member.id);
                next.change.quorum.clone_from(quorum);
                next.rehearse(live)
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
                next.rehearse(live)
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
                next.join(live)
            }
            Change::Remove { id, quorum } => next.begin_removal(*id, quorum.as_ref(), live),
            Change::Update { id, peer_urls } => {
                next.refuse_taken_urls(peer_urls, *id)?;
                let member = next.members.iter_mut().find(|m| m.id == *id);
                member.ok_or(ChangeError::MemberNotFound)?.peer_urls.clone_from(peer_urls);
                Ok(next)
            }
            Change::Quorum { text } => {
                next.change.quorum = Some(text.clone());
                next.join(live)
            }
            Change::Publish { id, name, client_urls } => next.publish(*id, name, client_urls),
        }
    }

    /// The configuration that follows this one, once this one is committed: none when nothing is
    /// left to do, or a learner has not caught up yet.
    pub fn advance(
        &self,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Option<Configuration>, ChangeError> {
        if self.joint.is_some() {
            return Ok(Some(self.done()));
        }
        match self.change.promote {
            Some(id) if self.is_named(id) && caught_up(id) => self.clone().join(live).map(Some),
            _ => Ok(None),
        }
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
    fn refuse_new_roles(&self, next: &Configuration) -> Result<(), ChangeError> {
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
    pub fn changes_a_role(&self, next: &Configuration) -> Option<&Member> {
        let (before, after) = (self.witnesses(), next.witnesses());
        let both = self.members.iter().filter(|m| next.member(m.id).is_some());
        let mut both = both.filter(|m| before.contains(m.slot) != after.contains(m.slot));
        both.next()
    }

    /// Whether its system is refused for one reason only: elect sets that do not meet each other,
    /// where terms are shared.
    fn needs_other_ballots(&self) -> bool {
        let other = Configuration { rule: BallotRule::TermAndNode, ..self.clone() };
        self.rule == BallotRule::SharedTerms && self.system().is_err() && other.system().is_ok()
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

    fn begin_removal(
        mut self,
        id: NodeId,
        quorum: Option<&String>,
        live: NodeSet,
    ) -> Result<Configuration, ChangeError> {
        let member = self.member(id).ok_or(ChangeError::MemberNotFound)?;
        let (learner, name) = (member.learner, member.name.clone());
        if learner {
            if self.change.promote == Some(id) {
                // Called off, with everything that came along.
                (self.change.promote, self.change.quorum) = (None, None);
            }
            self.change.remove = Some(id);
            return Ok(self.done());
        }
        if self.members.iter().filter(|m| !m.learner).count() <= 1 {
            let why = "it is the last voting member".to_string();
            return Err(ChangeError::NotEnoughStarted(why));
        }
        self.change.remove = Some(id);
        self.change.quorum = quorum.cloned();
        let named = |text: &str| {
            SystemSpec::parse(text).is_ok_and(|spec| spec.names().contains(&name.as_str()))
        };
        if quorum.is_none() && !self.follows_members() && !named(&self.quorum) {
            self.change.quorum = Some(self.quorum.clone());
        }
        self.join(live)
    }

    fn publish(
        mut self,
        id: NodeId,
        name: &str,
        client_urls: &[String],
    ) -> Result<Configuration, ChangeError> {
        let free = !name.is_empty() && self.members.iter().all(|m| m.name != name);
        let fixed = self.change.quorum.is_some();
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.ok_or(ChangeError::MemberNotFound)?;
        member.client_urls = client_urls.to_vec();
        // Only a learner's name stands in no quorum text.
        if member.learner && !fixed && free && member.name == label(id) {
            member.name = name.to_string();
        }
        Ok(self)
    }

    /// Checks a promotion that is to come, with the newcomer counted as alive.
    fn rehearse(self, live: NodeSet) -> Result<Configuration, ChangeError> {
        let mut then = live;
        self.change.promote.and_then(|id| self.slot_of(id)).map(|slot| then.insert(slot));
        self.clone().join(then)?;
        Ok(self)
    }

    /// The joint of this configuration and the one its change asks for; the latter at once when
    /// both decide alike.
    fn join(mut self, live: NodeSet) -> Result<Configuration, ChangeError> {
        let (follows, before) = (self.follows_members(), self.clone());
        let promoted = self.change.promote.take();
        let mut target = self.clone();
        for config in [&mut self, &mut target] {
            let member = config.members.iter_mut().find(|m| Some(m.id) == promoted);
            member.into_iter().for_each(|m| m.learner = false);
        }
        let leaving = self.change.remove;
        target.members.retain(|m| Some(m.id) != leaving);
        target.quorum = match self.change.quorum.take() {
            Some(text) => text,
            None if follows => target.majority(),
            None => {
                return Err(ChangeError::Invalid(alloc::format!(
                    "the quorum {} names its members: say which one the cluster is to have with \
                     --quorum",
                    self.quorum
                )));
            }
        };
        before.refuse_new_roles(&target)?;
        let invalid = |e: ConfigError| ChangeError::Invalid(e.to_string());
        let system = target.system().map_err(|e| {
            if target.needs_other_ballots() {
                ChangeError::Invalid(alloc::format!(
                    "{e}: such a system needs (term, node) ballots, and this cluster shares terms \
             since it was bootstrapped; that cannot change while it runs"
                ))
            } else {
                invalid(e)
            }
        })?;
        if !system.commit().is_quorum(live) || !system.elect().is_quorum(live) {
            let dead = |m: &&Member| !m.learner && !live.contains(m.slot);
            let dead: Vec<_> = target.members.iter().filter(dead).map(|m| &m.name[..]).collect();
            let (text, dead) = (&target.quorum, dead.join(", "));
            let why = alloc::format!("no quorum of {text} is alive: {dead} not heard from");
            return Err(ChangeError::NotEnoughStarted(why));
        }
        let (old, new) = (SystemSpec::parse(&self.quorum), SystemSpec::parse(&target.quorum));
        self.joint = Some(target.quorum);
        if old.is_ok() && old == new {
            return Ok(self.done());
        }
        self.system().map_err(invalid)?;
        Ok(self)
    }

    /// The way back from a joint configuration: the members and the quorum before it, but a
    /// newcomer stays, as a learner. It names no request: what was asked for is not done.
    pub fn called_off(&self) -> Configuration {
        let mut back = self.clone();
        let text = back.joint.take().unwrap_or_default();
        let names = |text: &str| -> Vec<String> {
            let spec = SystemSpec::parse(text);
            spec.map_or(Vec::new(), |s| s.names().into_iter().map(String::from).collect())
        };
        let (old, new) = (names(&back.quorum), names(&text));
        for member in &mut back.members {
            member.learner |= new.contains(&member.name) && !old.contains(&member.name);
        }
        back.change.request = RequestId::default();
        (back.change.promote, back.change.remove, back.change.quorum) = (None, None, None);
        // Who came in as a witness stays one.
        if self.witnesses() != back.witnesses() {
            back.change.quorum = self.change.quorum.clone().or(Some(text));
        }
        back
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
        }
        end
    }
}
