//! Members and the quorum change while the life goes on: an operator asks, newcomers join, and
//! who has left stops.

use super::World;
use crate::agenda::What;
use crate::client::{Ask, Outcome};
use crate::disk::Loss;
use crate::families::{self, Group};
use crate::fault::Kind;
use crate::judge::place;
use crate::node::{Node, Process, Stage};
use crate::plan;
use base::{Nanos, NodeId, Prng};
use cluster::{Change, ChangeError, Compiled, Newcomer};
use quorum::NodeSet;
use replica::Reply;

/// The client that asks for changes.
pub(super) const OPERATOR: u16 = u16::MAX - 2;
/// Voters an operator goes up to.
const VOTERS_MAX: usize = 7;

impl World {
    /// Members clients and operators know of: those that joined and have not left.
    pub(super) fn doors(&self) -> Vec<u8> {
        let open = self.nodes.iter().filter(|node| node.stage == Stage::Member);
        open.map(|node| node.slot).collect()
    }

    /// One change is asked for; false when there is nothing of its kind to ask.
    pub(super) fn change(&mut self, kind: Kind, random: &mut Prng) -> bool {
        if self.now < self.change_after {
            return false; // who is lost for good still seems alive to the leader
        }
        // One whose damage has not been found yet would be relied on.
        let found = |n: &Node| n.shunned || matches!(n.process, Process::Refused(_));
        if self.nodes.iter().any(|n| n.damaged && !found(n)) {
            return false;
        }
        let config = self.judge.configs.committed().config.clone();
        let change = match kind {
            Kind::ChangeAdd | Kind::ChangeLearner => {
                self.add(&config, kind == Kind::ChangeLearner, random)
            }
            Kind::ChangePromote => self.promote(&config, random),
            Kind::ChangeRemove => self.remove(&config, random),
            Kind::ChangeReplace => self.replace(&config, random),
            Kind::ChangeCancel => {
                config.change.promote.map(|id| Change::Remove { id, quorum: None })
            }
            _ => Some(Change::Quorum { text: self.other_quorum(&config, random) }),
        };
        let Some(change) = change else { return false };
        let wait = if self.now < self.change_after { self.change_after } else { self.now };
        let number = self.asks.put(change);
        self.agenda.push(wait, What::Ask(number));
        true
    }

    /// The operator asks some member.
    pub(super) fn ask(&mut self, number: u32) {
        let Some(change) = self.asks.take(number) else { return };
        if self.closing || self.healed {
            return;
        }
        let doors = self.doors();
        let node = doors[self.random.node.below(doors.len() as u64) as usize];
        self.stats.change("change-proposed");
        let op = self.begin(OPERATOR, Ask::Change(change.clone()), node);
        if let Some(id) = newcomer_of(&change) {
            self.nodes[place(id)].stage = Stage::Newcomer { asked: op };
            let wait = Nanos::from_millis(self.random.node.below(4000));
            self.restart_in(place(id), wait);
        }
    }

    fn names(config: &Compiled, but: Option<NodeId>) -> Vec<String> {
        let voters = config.members.iter().filter(|m| !m.learner && Some(m.id) != but);
        voters.map(|m| m.name.clone()).collect()
    }

    /// A text for these voters. In a life with witnesses those stay what they are, but for one
    /// text in eight, which is refused; a newcomer is one in every third case.
    fn draw(&self, config: &Compiled, names: &[String], random: &mut Prng) -> String {
        if !self.plan.quorum.contains("witness(") || random.below(8) == 0 {
            return families::draw(Group::All, names, config.rule, random);
        }
        let mut is_one = |name: &String| match config.members.iter().find(|m| m.name == *name) {
            Some(member) if !member.learner => config.is_witness(member.id),
            Some(_) => false,
            None => random.below(3) == 0,
        };
        let witnesses: Vec<String> = names.iter().filter(|name| is_one(name)).cloned().collect();
        families::draw_marked(names, &witnesses, config.rule, random)
    }

    /// A text for these voters, where one is needed or wanted.
    fn text(
        &self,
        config: &Compiled,
        names: &[String],
        one_in: u64,
        random: &mut Prng,
    ) -> Option<String> {
        let wanted = !config.follows_members() || random.below(one_in) == 0;
        wanted.then(|| self.draw(config, names, random))
    }

    fn other_quorum(&self, config: &Compiled, random: &mut Prng) -> String {
        let mut names = Self::names(config, None);
        match random.below(12) {
            0 => format!("1 of ({})", names.join(", ")),
            1 => format!("majority({}, nobody)", names.join(", ")),
            2 | 3 if names.len() > 3 => {
                names.remove(random.below(names.len() as u64) as usize);
                self.draw(config, &names, random)
            }
            _ => self.draw(config, &names, random),
        }
    }

    fn add(&mut self, config: &Compiled, learner: bool, random: &mut Prng) -> Option<Change> {
        let mut names = Self::names(config, None);
        if names.len() >= VOTERS_MAX {
            return None;
        }
        let mut member = self.newcomer()?;
        names.push(member.name.clone());
        let quorum = if learner { None } else { self.text(config, &names, 4, random) };
        self.forget_name(&mut member, quorum.as_ref(), random);
        Some(Change::Add { member, learner, quorum })
    }

    fn promote(&self, config: &Compiled, random: &mut Prng) -> Option<Change> {
        let learner = config.members.iter().find(|m| m.learner)?;
        let mut names = Self::names(config, None);
        names.push(learner.name.clone());
        Some(Change::Promote { id: learner.id, quorum: self.text(config, &names, 4, random) })
    }

    fn remove(&self, config: &Compiled, random: &mut Prng) -> Option<Change> {
        let id = self.victim(config, random);
        let names = Self::names(config, Some(id));
        let quorum = if names.is_empty() { None } else { self.text(config, &names, 4, random) };
        Some(Change::Remove { id, quorum })
    }

    /// Often a member that will not come back, if there is one.
    fn victim(&self, config: &Compiled, random: &mut Prng) -> NodeId {
        let lost = |id: NodeId| {
            let node = &self.nodes[place(id)];
            node.shunned || matches!(node.process, Process::Refused(_))
        };
        let dead = config.members.iter().find(|m| lost(m.id));
        let any = &config.members[random.below(config.members.len() as u64) as usize];
        dead.filter(|_| random.below(4) > 0).unwrap_or(any).id
    }

    fn replace(&mut self, config: &Compiled, random: &mut Prng) -> Option<Change> {
        let old = self.victim(config, random);
        let mut member = self.newcomer()?;
        let mut names = Self::names(config, Some(old));
        names.push(member.name.clone());
        let text = self.draw(config, &names, random);
        let quorum = (random.below(5) == 0).then_some(text);
        if random.below(2) == 0 {
            self.lose(place(old));
        }
        self.forget_name(&mut member, quorum.as_ref(), random);
        Some(Change::Replace { old, member, quorum })
    }

    /// As etcd's clients add members: one in three, which no text names, says its name itself.
    fn forget_name(&mut self, member: &mut Newcomer, quorum: Option<&String>, random: &mut Prng) {
        if self.plan.knobs.publishes && quorum.is_none() && random.below(3) == 0 {
            member.name.clear();
            self.stats.change("change-unnamed");
        }
    }

    /// Somebody's change may still come to a leader.
    pub(super) fn change_is_asked(&self) -> bool {
        let patience = Nanos(self.plan.knobs.election.0 * 12);
        let recent = self.ops.iter().rev().take_while(|op| op.invoked.plus(patience) > self.now);
        let open = |op: &&crate::client::Op| {
            matches!(op.ask, Ask::Change(_))
                && matches!(op.outcome, Outcome::Waiting | Outcome::Unknown)
        };
        recent.filter(open).count() > 0
    }

    /// A machine is gone for good, if the others can afford it.
    fn lose(&mut self, node: usize) {
        if !self.nodes[node].runs() || !self.affordable(NodeSet::from_iter([node as u8])) {
            return;
        }
        self.stop(node, Loss::Whole, "lost");
        self.nodes[node].process = Process::Refused("its machine is gone".to_owned());
        self.nodes[node].damaged = true;
        self.stats.fault("machine-lost");
        self.operator_waits();
    }

    /// A leader counts who answered within an election timeout as alive, and what a lost member
    /// said may still be on its way.
    pub(super) fn operator_waits(&mut self) {
        let late = self.plan.knobs.spike_max.0 + self.plan.knobs.election.0 * 4;
        let paused = self.nodes.iter().any(|node| node.paused);
        let more = if paused { 9_000_000_000 } else { 0 };
        self.change_after = self.change_after.max(self.now.plus(Nanos(late + more)));
    }

    /// A machine that stands ready, with an empty disk.
    fn newcomer(&mut self) -> Option<Newcomer> {
        let place = self.nodes.len();
        if place >= self.links.places() {
            return None;
        }
        let mut node = super::node(place, &self.plan, &mut self.random);
        node.stage = Stage::Newcomer { asked: u32::MAX };
        let id = node.id;
        self.nodes.push(node);
        let peer_urls = vec![format!("http://n{id}")];
        Some(Newcomer { id, name: plan::name(place), peer_urls })
    }

    /// Whether an operation was refused: it has no effect, now or later.
    pub(super) fn is_refused(&self, op: u32) -> bool {
        self.outcome(op) == Outcome::Refused
    }

    /// A member was told that it is out.
    pub(super) fn leave(&mut self, node: usize) {
        let id = self.nodes[node].id;
        if !self.judge.configs.may_leave(id) {
            let what = format!("n{} stops, and no configuration is without it", node + 1);
            self.blame("only who was removed leaves", what);
        }
        self.stop(node, Loss::None, "removed");
        self.nodes[node].process = Process::Down;
        self.nodes[node].stage = Stage::Left;
        self.stats.change("member-left");
    }

    /// The operator hears.
    pub(super) fn change_told(&mut self, number: u32, reply: &Reply) {
        self.stats.change(match reply {
            Reply::Changed { .. } => "change-done",
            Reply::ChangeRefused(error) => match error {
                ChangeError::MemberNotFound => "change-refused-not-found",
                ChangeError::IdExists => "change-refused-id-exists",
                ChangeError::PeerUrlsExist => "change-refused-urls-exist",
                ChangeError::NotLearner => "change-refused-not-learner",
                ChangeError::LearnerNotReady => "change-refused-not-ready",
                ChangeError::TooManyLearners => "change-refused-too-many-learners",
                ChangeError::NotEnoughStarted(_) => "change-refused-not-alive",
                ChangeError::Pending(_) => "change-refused-pending",
                ChangeError::Invalid(_) => "change-refused-invalid",
            },
            _ => return,
        });
        self.tracer.line(self.now, || {
            let told = match reply {
                Reply::ChangeRefused(error) => error.to_string(),
                _ => "done".to_owned(),
            };
            trace::What::Operator { op: u64::from(number), told }
        });
    }

    /// Once faults have stopped nothing is asked, and what can go on does.
    pub(super) fn ends_changes(&mut self) {
        self.comes_to_an_end("changes end", CHANGE_TIMEOUTS_MAX, Self::change_left);
    }

    /// What a leader could still take further.
    fn change_left(&self) -> Option<String> {
        let leader = match self.leader().and_then(|n| self.nodes[n].up()) {
            Some(leader) => leader.replica.raft(),
            None => return Some("nobody leads".to_owned()),
        };
        let config = leader.config();
        if !leader.config_is_committed() || config.joint.is_some() {
            return Some(format!("{} to {:?} is not done", config.quorum, config.joint));
        }
        let present = self.present();
        let live = config.members.iter().filter(|m| present.contains(place(m.id) as u8));
        let live: NodeSet = live.map(|m| m.slot).collect();
        let is_there = |id: NodeId| present.contains(place(id) as u8);
        match config.advance(live, is_there) {
            Ok(Some(next)) => Some(format!("{:?} waits for {:?}", config, next.members.len())),
            Ok(None) | Err(_) => None,
        }
    }
}

/// Longest time until a change under way is done, in longest election timeouts.
const CHANGE_TIMEOUTS_MAX: u64 = 24;

/// The member a change brings in.
pub(crate) fn newcomer_of(change: &Change) -> Option<NodeId> {
    match change {
        Change::Add { member, .. } | Change::Replace { member, .. } => Some(member.id),
        _ => None,
    }
}
