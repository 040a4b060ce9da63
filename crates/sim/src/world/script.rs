//! A world driven by hand, for stories and scripted tests: no clients, no planned faults.

use super::World;
use crate::Violation;
use crate::client::{Ask, Outcome};
use crate::disk::Loss;
use crate::fault::{Fault, Kind};
use crate::knobs::{Knobs, Profile};
use crate::node::{Process, Stage};
use crate::plan::{self, Plan};
use crate::tracer::Tracer;
use base::{Ballot, Blob, LogIndex, Nanos};
use cluster::BallotRule;
use mvcc::{Command, PutRequest, RangeRequest};
use quorum::NodeSet;

/// How long a script waits for anything, in longest election timeouts.
const PATIENCE: u64 = 20;

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Answered; a read's value if there is one.
    Done,
    NotApplied,
    Unknown,
}

/// A member as it stands.
#[derive(Clone, Debug)]
pub struct Picture {
    pub name: String,
    pub state: String,
    pub ballot: Ballot,
    pub last: LogIndex,
    pub commit: LogIndex,
    pub applied: LogIndex,
    pub durable: LogIndex,
    pub revision: i64,
    pub leads: bool,
}

impl World {
    /// A calm cluster of named members with nothing to do.
    ///
    /// # Errors
    /// An unsafe quorum system.
    pub fn scripted(nodes: usize, quorum: &str, knobs: Knobs) -> Result<Self, String> {
        let mut knobs = knobs;
        (knobs.watchers, knobs.think_max) = (0, Nanos(1));
        let plan = Plan {
            seed: 1,
            profile: Profile::Calm,
            nodes,
            quorum: quorum.to_owned(),
            rule: BallotRule::SharedTerms,
            ops: 0,
            clients: 1,
            knobs,
            faults: Vec::new(),
            life: plan::LIFE,
            misled: Vec::new(),
        };
        Self::new(plan, Tracer::full())
    }

    /// Members that each go by a text of their own, as if nothing had compared or checked them:
    /// what a system that is refused would do. The judge goes by majorities.
    ///
    /// # Errors
    /// No member.
    pub fn misled(texts: &[&str]) -> Result<Self, String> {
        let mut plan = Self::scripted(texts.len(), &plan::majority(texts.len()), Knobs::calm())?;
        plan.plan.misled = texts.iter().map(|text| (*text).to_owned()).collect();
        Self::new(plan.plan, Tracer::full())
    }

    /// What was violated first, and forgotten with that: the world goes on.
    pub fn forgive(&mut self) -> Option<Violation> {
        self.judge.violation.take()
    }

    pub fn wait(&mut self, millis: u64) {
        self.run_until(self.now.plus(Nanos::from_millis(millis)));
    }

    pub fn pause_for(&mut self, time: Nanos) {
        self.run_until(self.now.plus(time));
    }

    fn patience(&self) -> Nanos {
        self.now.plus(Nanos(self.plan.knobs.election.0 * 2 * PATIENCE))
    }

    /// Waits until a member leads among those given, and has committed in its own ballot.
    pub fn until_leader(&mut self, among: &[usize]) -> Option<usize> {
        let until = self.patience();
        while self.now < until && self.judge.violation.is_none() {
            let ready =
                |n: &&usize| self.nodes[**n].up().is_some_and(|m| m.replica.raft().leader_ready());
            let leaders = among.iter().filter(ready);
            let highest =
                leaders.max_by_key(|n| self.nodes[**n].up().map(|m| m.replica.raft().ballot()));
            if let Some(leader) = highest {
                return Some(*leader);
            }
            self.wait(20);
        }
        None
    }

    /// Waits for an operation that was begun.
    pub fn told(&mut self, op: u32) -> Told {
        let until = self.now.plus(self.plan.knobs.client_timeout);
        while self.outcome(op) == Outcome::Waiting && self.now <= until {
            if self.judge.violation.is_some() {
                break;
            }
            self.wait(5);
        }
        match self.outcome(op) {
            Outcome::Done => Told::Done,
            Outcome::Refused => Told::NotApplied,
            Outcome::Waiting | Outcome::Unknown => Told::Unknown,
        }
    }

    /// A put through one member only; it is not tried elsewhere.
    pub fn put(&mut self, node: usize, key: &str) -> Told {
        let op = self.put_later(node, key);
        self.told(op)
    }

    /// As [`World::put`], without waiting for the answer.
    pub fn put_later(&mut self, node: usize, key: &str) -> u32 {
        let number = self.op_count();
        let value = Blob::from(format!("{number:08x}-0").as_bytes());
        let key = Blob::from(key.as_bytes());
        let put = PutRequest { key, value, ..PutRequest::default() };
        self.begin_here(node, Ask::Write(Command::Put(put)))
    }

    /// A read through one member only.
    pub fn get(&mut self, node: usize, key: &str, serializable: bool) -> Told {
        let key = Blob::from(key.as_bytes());
        let range = RangeRequest { key, serializable, ..RangeRequest::default() };
        let op = self.begin_here(node, Ask::Range(range));
        self.told(op)
    }

    /// Cuts every link between the two sides, both ways.
    pub fn part(&mut self, side: &[usize]) {
        self.cut_pairs(|a, b| side.contains(&a) != side.contains(&b));
    }

    /// Cuts the directed links that `cut` names.
    pub fn cut_pairs(&mut self, cut: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if from != to && cut(from, to) {
                    let pair = self.links.pair(from, to);
                    self.links.cut(pair);
                }
            }
        }
    }

    pub fn mend_all(&mut self) {
        self.links.clear();
        (0..self.nodes.len()).for_each(|node| self.meet(node));
    }

    /// Stops a member: its process only, or its machine with everything unsynced.
    pub fn halt(&mut self, node: usize, power: bool) {
        self.stop(node, if power { Loss::Whole } else { Loss::None }, "script");
    }

    /// Starts a member; false and the reason when it refuses.
    pub fn boot(&mut self, node: usize) -> Result<(), String> {
        if matches!(self.nodes[node].process, Process::Refused(_)) {
            self.nodes[node].process = Process::Down;
        }
        self.start(node);
        match &self.nodes[node].process {
            Process::Up(_) => Ok(()),
            Process::Refused(why) => Err(why.clone()),
            Process::Down => Err("down".to_owned()),
        }
    }

    /// Empties a stopped member's disk.
    pub fn erase(&mut self, node: usize) {
        self.nodes[node].disk.machine().erase();
        self.nodes[node].met.clear();
        self.nodes[node].shun();
    }

    /// Flips a bit of a stopped member's disk that a later write vouches for.
    pub fn rot(&mut self, node: usize, pick: u64) -> Option<String> {
        let place = self.nodes[node].disk.machine().rot(pick);
        self.nodes[node].damaged |= place.is_some();
        place
    }

    /// Whether a member runs without a vote, because its disk was damaged.
    pub fn is_repairing(&self, node: usize) -> bool {
        self.nodes[node].up().is_some_and(|member| member.replica.status().repairing)
    }

    /// Begins a write whose bytes reach the disk only in part before the power goes.
    pub fn tear(&mut self, node: usize) {
        self.stop(node, Loss::Prefix, "script");
    }

    pub fn slow_disk(&mut self, node: usize, times: u64) {
        self.nodes[node].slow = times.max(1);
    }

    /// Strikes with one fault of a kind; false when it could not take effect.
    pub fn hit(&mut self, kind: Kind, span_ms: u64, pick: u64) -> bool {
        let before = self.stats.faults.get(kind.name()).copied().unwrap_or(0);
        let span = Nanos::from_millis(span_ms);
        self.strike(&Fault { at: self.now, kind, span, pick });
        self.stats.faults.get(kind.name()).copied().unwrap_or(0) > before
    }

    /// Faults of everything so far that took effect, disks included.
    pub fn fault_counts(&self) -> crate::Stats {
        let mut stats = self.stats.clone();
        for node in &self.nodes {
            stats.disk(&node.disk.machine().counts);
        }
        stats
    }

    /// Machines so far, newcomers and those that left included.
    pub fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The quorum in force or about to be, and the one it goes over to.
    pub fn quorum(&self) -> (String, Option<String>) {
        let config = &self.judge.configs.newest().config;
        (config.quorum.clone(), config.joint.clone())
    }

    pub fn picture(&self, node: usize) -> Picture {
        let place = &self.nodes[node];
        let durable = place.ledger.last().max(place.ledger.covered);
        let Some(member) = place.up() else {
            let state = match &place.process {
                Process::Refused(why) => format!("refuses: {why}"),
                _ if place.stage == Stage::Left => "has left".to_owned(),
                _ if place.stage != Stage::Member => "waits to join".to_owned(),
                _ => "down".to_owned(),
            };
            return Picture {
                name: place.name.clone(),
                state,
                ballot: place.ledger.promise,
                last: durable,
                commit: LogIndex::ZERO,
                applied: LogIndex::ZERO,
                durable,
                revision: 0,
                leads: false,
            };
        };
        let status = member.replica.status();
        let state = match (status.is_leader, status.leader) {
            _ if place.paused => "paused".to_owned(),
            (true, _) => "leads".to_owned(),
            (false, Some(_)) if status.repairing => "repairs".to_owned(),
            (false, Some(leader)) => format!("follows n{leader}"),
            (false, None) => "asks around".to_owned(),
        };
        Picture {
            name: place.name.clone(),
            state,
            ballot: status.ballot,
            last: status.last,
            commit: status.commit,
            applied: status.applied,
            durable,
            revision: status.revision,
            leads: status.is_leader,
        }
    }

    /// Who durably holds the leader's last entry, and what is missing for a commit.
    pub fn acknowledged(&self) -> Option<(LogIndex, NodeSet, NodeSet)> {
        let leader = self.nodes[self.leader()?].up()?;
        let (last, _) = leader.replica.raft().last();
        let acked = leader.replica.raft().acked(last);
        let ruling = self.judge.configs.of(leader.replica.status().id)?;
        let missing = ruling.system.commit().what_is_missing(acked);
        Some((last, ruling.places(acked), ruling.places(missing)))
    }

    /// Ends a script: the faults stop, and everything must hold.
    pub fn conclude(&mut self) -> Option<String> {
        if self.judge.violation.is_none() {
            self.finish();
        }
        self.judge.violation.as_ref().map(|v| format!("{}: {}", v.rule, v.what))
    }
}
