//! Carries faults out on real processes and undoes them.

mod estrange;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use base::Prng;
use rustix::process::Signal;

use super::aftermath::{FORGOT, HALTED};
use super::load::Shared;
use super::schedule::{Fault, Loss, Shape, Step, Target};
use super::watcher::Leaders;
use crate::cluster::Cluster;
use crate::proxy::{Net, Path};

/// How long a leader may be looked for before a fault that needs one is given up.
const LEADER_MAX: Duration = Duration::from_millis(1500);

/// What undoes a fault that struck.
enum Heal {
    Start(Vec<usize>),
    Continue(usize),
    Unblock,
}

/// The member whose directory was emptied, or put back to an older copy.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub at: usize,
    /// It was counted with the directory that is gone: it must never come back by itself.
    pub stays_out: bool,
    /// It was removed and added again since.
    pub back: bool,
}

/// The one who hurts a cluster.
pub struct Nemesis {
    pub cluster: Cluster,
    net: Arc<Net>,
    shared: Arc<Shared>,
    leaders: Arc<Leaders>,
    random: Prng,
    /// At most one directory a round.
    pub lost: Option<Lost>,
    /// Faults that took effect, by kind.
    pub struck: BTreeMap<&'static str, u64>,
    /// What happened when, for the one who looks into a failure.
    pub diary: Vec<String>,
}

impl Nemesis {
    pub fn new(
        cluster: Cluster,
        net: Arc<Net>,
        shared: Arc<Shared>,
        leaders: Arc<Leaders>,
        random: Prng,
    ) -> Self {
        let (lost, struck, diary) = (None, BTreeMap::new(), Vec::new());
        Self { cluster, net, shared, leaders, random, lost, struck, diary }
    }

    /// Carries out steps one after the other and heals everything.
    ///
    /// # Errors
    /// A process that cannot be started, or one that ended by itself.
    pub async fn run(&mut self, steps: &[Step]) -> Result<()> {
        let mut open: Vec<(Heal, Fault, u64)> = Vec::new();
        for step in steps {
            let before = self.net.hindered();
            let healed = open.len();
            match self.strike(step.fault).await? {
                Some(heal) => open.push((heal, step.fault, before)),
                None => self.note(&format!("{} found no target", step.fault)),
            }
            tokio::time::sleep(step.hold).await;
            let last = if step.overlaps { healed } else { open.len() };
            for (heal, fault, before) in open.drain(..last).collect::<Vec<_>>() {
                self.heal(heal, fault, before)?;
            }
            tokio::time::sleep(step.rest).await;
            self.nobody_ended()?;
        }
        for (heal, fault, before) in open {
            self.heal(heal, fault, before)?;
        }
        Ok(())
    }

    /// Writes a line into the diary.
    pub fn note(&mut self, what: &str) {
        let at = Duration::from_nanos(self.shared.recorder.now());
        self.diary.push(format!("{:9.3} {what}", at.as_secs_f64()));
    }

    /// Fails if a member's process ended without our doing, or stands still for good. One that
    /// forgot may, if it says so.
    ///
    /// # Errors
    /// Its exit status.
    pub fn nobody_ended(&mut self) -> Result<()> {
        for at in 0..self.cluster.len() {
            let forgot = self.lost.is_some_and(|lost| lost.at == at);
            if !forgot && self.cluster.says(at, HALTED)? {
                bail!("n{} halted by itself; see {}", at + 1, self.cluster.log(at).display());
            }
            if let Some(status) = self.cluster.ended(at)? {
                if self.is_out(at) && self.cluster.says(at, FORGOT)? {
                    self.note(&format!("n{} forgot and ended: {status}", at + 1));
                    self.down(at);
                    continue;
                }
                bail!(
                    "n{} ended by itself: {status}; see {}",
                    at + 1,
                    self.cluster.log(at).display()
                );
            }
        }
        Ok(())
    }

    /// Whether the member forgot what it knew and was not added again.
    fn is_out(&self, at: usize) -> bool {
        self.lost.is_some_and(|lost| lost.at == at && !lost.back)
    }

    /// Members that run and still have their data.
    fn sound(&self) -> Vec<usize> {
        let sound = |&at: &usize| self.cluster.is_running(at) && !self.is_out(at);
        (0..self.cluster.len()).filter(sound).collect()
    }

    /// Waits until some running member says that it leads.
    async fn leader(&self) -> Option<usize> {
        let deadline = Instant::now() + LEADER_MAX;
        while Instant::now() < deadline {
            if let Some(at) = self.leaders.current().filter(|&at| self.cluster.is_running(at)) {
                return Some(at);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    async fn pick(&mut self, target: Target) -> Option<usize> {
        let leader = self.leader().await;
        if target == Target::Leader {
            return leader;
        }
        let others: Vec<_> = self.sound().into_iter().filter(|&at| Some(at) != leader).collect();
        if others.is_empty() { None } else { Some(others[self.below(others.len())]) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// Makes the fault happen; none if there was nobody to hit.
    async fn strike(&mut self, fault: Fault) -> Result<Option<Heal>> {
        let target = match fault {
            Fault::Kill(target)
            | Fault::Stop(target)
            | Fault::Restart(target)
            | Fault::Empty(target) => target,
            Fault::KillMany => return Ok(self.kill_many()),
            Fault::Partition(shape, loss) => return Ok(self.partition(shape, loss).await),
        };
        let Some(at) = self.pick(target).await else { return Ok(None) };
        self.note(&format!("{fault} on n{}", at + 1));
        match fault {
            Fault::Stop(_) => {
                self.cluster.signal(at, Signal::STOP);
                return Ok(Some(Heal::Continue(at)));
            }
            Fault::Restart(_) => {
                self.cluster.terminate(at)?;
                self.down(at);
            }
            _ => self.kill(at),
        }
        if matches!(fault, Fault::Kill(Target::Leader)) {
            self.await_other_leader(at).await;
        }
        if matches!(fault, Fault::Empty(_)) {
            ensure!(self.lost.is_none(), "one directory a round");
            self.cluster.empty(at)?;
            self.lost = Some(Lost { at, stays_out: true, back: false });
        }
        Ok(Some(Heal::Start(vec![at])))
    }

    fn start(&mut self, at: usize) -> Result<()> {
        self.net.set_up(at, true);
        self.cluster.spawn(at)
    }

    fn down(&mut self, at: usize) {
        self.shared.lives[at].fetch_add(1, Ordering::SeqCst);
        self.net.set_up(at, false);
        self.leaders.forget(at);
    }

    fn kill(&mut self, at: usize) {
        self.cluster.kill(at);
        self.down(at);
    }

    /// Gives those that are left the time to elect, if they can.
    async fn await_other_leader(&mut self, old: usize) {
        if 2 * self.sound().len() <= self.cluster.len() {
            return;
        }
        let deadline = Instant::now() + LEADER_MAX;
        while Instant::now() < deadline && self.leaders.current().is_none_or(|at| at == old) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills until fewer than half are left, so that no quorum is.
    fn kill_many(&mut self) -> Option<Heal> {
        let mut running = self.sound();
        let mut dead = Vec::new();
        while 2 * running.len() >= self.cluster.len() {
            let at = running.swap_remove(self.random.below(running.len() as u64) as usize);
            self.kill(at);
            dead.push(at);
        }
        self.note(&format!("KillMany on {dead:?} (from 0)"));
        (!dead.is_empty()).then_some(Heal::Start(dead))
    }

    async fn partition(&mut self, shape: Shape, loss: Loss) -> Option<Heal> {
        let leader = self.leader().await?;
        let count = self.cluster.len();
        let side: u64 = 1 + self.random.below((1 << count) - 2);
        let one = self.below(count);
        let other = (one + 1 + self.below(count - 1)) % count;
        let closed = |from: usize, to: usize| match shape {
            Shape::Leader => from == leader || to == leader,
            Shape::LeaderMute => from == leader,
            Shape::LeaderDeaf => to == leader,
            Shape::Split => (side >> from) & 1 != (side >> to) & 1,
            Shape::OnePair => (from, to) == (one, other),
            Shape::Chain => from.abs_diff(to) > 1,
        };
        let path = match loss {
            Loss::Held => Path::Held,
            Loss::Lossy => Path::Lossy,
            Loss::Cut => Path::Cut,
        };
        let pairs: BTreeSet<(usize, usize)> = (0..count)
            .flat_map(|from| (0..count).map(move |to| (from, to)))
            .filter(|&(from, to)| from != to && closed(from, to))
            .collect();
        pairs.iter().for_each(|&(from, to)| self.net.set(from, to, path));
        self.note(&format!("{shape:?} {loss:?}, leader n{}: {pairs:?} (from 0)", leader + 1));
        Some(Heal::Unblock)
    }

    /// Undoes a fault, and counts it if it took effect: a partition does when traffic met it.
    fn heal(&mut self, heal: Heal, fault: Fault, hindered_before: u64) -> Result<()> {
        self.note(&format!("heal of {fault}"));
        let mut effect = true;
        match heal {
            Heal::Start(members) => {
                for at in members {
                    self.start(at)?;
                }
            }
            Heal::Continue(at) if self.cluster.pid(at).is_some() => {
                self.cluster.signal(at, Signal::CONT);
            }
            // It was killed while it was stopped.
            Heal::Continue(_) => {}
            Heal::Unblock => {
                effect = self.net.hindered() > hindered_before;
                self.net.heal();
            }
        }
        if effect {
            *self.struck.entry(fault.kind()).or_default() += 1;
        }
        Ok(())
    }
}
