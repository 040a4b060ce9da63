//! Whole replicas under crashes, restarts, partitions, slow disks, lost and repeated frames,
//! checkpoints and hand-overs. Every write has a key of its own, so that what became of it can be
//! asked: an acknowledged one is there, a refused one is not, and none was applied twice.

use super::cluster::{Cluster, command_put, range_of};
use base::{Nanos, NodeId, Token};
use cluster::Change;
use mvcc::Caller;
use replica::{Event, Reply};

/// How many seeds: QUORATE_STORM_SEEDS, or what is quick.
fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let from = number("QUORATE_STORM_FROM").unwrap_or(0);
    from..from + number("QUORATE_STORM_SEEDS").unwrap_or(quick)
}

#[derive(Default)]
pub struct Tally {
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    read: u64,
    installs: usize,
}

struct Storm {
    c: Cluster,
    seed: u64,
    /// A member is removed half way, while what it sent is still on its way.
    leaves: bool,
    nodes: usize,
    /// Node, token and key of every write.
    writes: Vec<(usize, Token, String)>,
    /// Node, token, and a key that was acknowledged before the read began.
    reads: Vec<(usize, Token, String)>,
}

impl Storm {
    fn acknowledged(&self, node: usize, token: Token) -> bool {
        let replies = self.c.replies.get(&(node, token));
        replies.is_some_and(|r| matches!(r[0], Reply::Applied { result: Ok(_), .. }))
    }

    fn write(&mut self, node: usize) {
        let key = format!("w{}", self.writes.len());
        let command = command_put(&key, &key);
        let token =
            self.c.event(node, |token| Event::Propose { token, caller: Caller::nobody(), command });
        self.writes.push((node, token, key));
    }

    fn read(&mut self, node: usize) {
        let done = self.writes.iter().rev().find(|(n, t, _)| self.acknowledged(*n, *t));
        let Some((_, _, key)) = done.cloned() else { return };
        let token = self.c.read(node, range_of(&key));
        self.reads.push((node, token, key));
    }

    fn split(&mut self) {
        let one = self.c.prng.below(1 << self.nodes);
        for a in 0..self.nodes {
            for b in 0..self.nodes {
                if (one >> a) & 1 != (one >> b) & 1 {
                    self.c.cut.insert((a, b));
                }
            }
        }
    }

    fn fault(&mut self, a: usize, b: usize) {
        match self.c.prng.below(20) {
            0 | 1 if self.c.runs(a) => self.c.crash(a),
            2..=4 if !self.c.runs(a) && !self.c.removed.contains(&a) => self.c.restart(a),
            5 => self.split(),
            6 if a != b => drop(self.c.cut.insert((a, b))),
            7 | 8 => self.c.cut.clear(),
            9 => drop(self.c.stalled.insert(a)),
            10 | 11 => self.c.unstall(a),
            12 | 13 => drop(self.c.event(a, |_| Event::TakeCheckpoint)),
            14 => {
                let to = Some(NodeId(b as u64 + 1));
                self.c.event(a, |_| Event::TransferLeader { to });
            }
            15 => drop(self.c.event(a, |_| Event::PeerLost(NodeId(b as u64 + 1)))),
            _ => {}
        }
    }

    /// Some member that does not lead is removed; what it asked for may come late.
    fn remove_one(&mut self) {
        self.mend();
        let leader = self.c.run_until_leader();
        let others: Vec<usize> =
            (0..self.nodes).filter(|n| *n != leader && self.c.runs(*n)).collect();
        let Some(gone) = others.get(self.c.prng.below(others.len().max(1) as u64) as usize) else {
            return;
        };
        let gone = *gone;
        (0..20).for_each(|_| self.write(gone));
        self.c.run_for(Nanos::from_millis(100));
        let change = Change::Remove { id: NodeId(gone as u64 + 1), quorum: None };
        self.c.event(leader, |token| Event::Change { token, caller: Caller::nobody(), change });
        for _ in 0..20 {
            if self.c.runs(gone) {
                self.write(gone);
            }
            self.c.run_for(Nanos::from_millis(100));
        }
    }

    /// Nodes that have not heard that they left.
    fn stay(&self) -> Vec<usize> {
        (0..self.nodes).filter(|n| !self.c.removed.contains(n)).collect()
    }

    fn run(&mut self) {
        for step in 0..160 {
            if self.leaves && step == 80 {
                self.remove_one();
            }
            let (a, b) = (self.c.prng.below(5) as usize, self.c.prng.below(5) as usize);
            let (a, b) = (a % self.nodes, b % self.nodes);
            self.fault(a, b);
            for _ in 0..self.c.prng.below(6) {
                let node = self.c.prng.below(self.nodes as u64) as usize;
                if self.c.runs(node) {
                    self.write(node);
                }
            }
            if self.c.runs(b) {
                self.read(b);
            }
            let ms = 1 + self.c.prng.below(400);
            self.c.run_for(Nanos::from_millis(ms));
        }
    }

    fn mend(&mut self) {
        self.c.cut.clear();
        for node in self.stay() {
            if !self.c.runs(node) {
                self.c.restart(node);
            }
            self.c.unstall(node);
        }
    }

    fn heal(&mut self) {
        (self.c.loss_percent, self.c.duplicate_percent) = (0, 0);
        self.mend();
        self.c.run_for(Nanos::from_millis(20_000));
        let leader = self.c.run_until_leader();
        // Enough that all compare what they hold, whatever the storm let through.
        for _ in 0..if self.c.corrupt.is_some() { 300 } else { 0 } {
            self.write(leader);
            self.c.run_for(Nanos::from_millis(5));
        }
        self.c.run_for(Nanos::from_millis(1_000));
    }

    fn judge(&mut self) -> Tally {
        let (seed, mut tally) = (self.seed, Tally::default());
        assert!(self.c.replies.values().all(|r| r.len() == 1), "seed {seed}: answered twice");
        let at = self.c.run_until_leader();
        for (node, token, key) in self.writes.clone() {
            let asked = self.c.read(at, range_of(&key));
            let range = self.c.await_range(at, asked);
            let versions = range.kvs.first().map_or(0, |kv| kv.version);
            assert!(versions <= 1, "seed {seed}: {key} was applied {versions} times");
            let reply = self.c.replies.get(&(node, token)).map(|r| &r[0]);
            match reply {
                Some(Reply::Applied { result: Ok(_), .. }) => {
                    tally.acknowledged += 1;
                    assert_eq!(versions, 1, "seed {seed}: {key} was acknowledged and is gone");
                }
                Some(Reply::Refused(_)) => {
                    tally.refused += 1;
                    assert_eq!(versions, 0, "seed {seed}: {key} was refused and is there");
                }
                // Also a member that crashed before it could answer.
                Some(Reply::Unknown(_)) | None => tally.unknown += 1,
                Some(other) => panic!("seed {seed}: {key} got {other:?}"),
            }
        }
        for (node, token, key) in &self.reads {
            if let Some(found) = self.c.found.get(&(*node, *token)) {
                tally.read += 1;
                assert_eq!(
                    found[0].count, 1,
                    "seed {seed}: a read did not see {key}, acknowledged before"
                );
            }
        }
        let config = self.c.config(at);
        let all: Vec<_> =
            config.members.iter().map(|m| self.c.status(m.id.0 as usize - 1)).collect();
        let hashes = |s: &replica::Status| (s.applied, s.chain_hash, s.content_hash);
        assert!(all.windows(2).all(|w| hashes(&w[0]) == hashes(&w[1])), "seed {seed}: {all:?}");
        tally.installs = self.c.installs;
        tally
    }
}

/// One storm, its heal and its verdict: over majorities, some of which lose a member for good, and
/// where one member commits, with a corrupt one among them.
pub fn life(seed: u64) -> Tally {
    let (corrupt, leaves) = (seed % 8 == 3, seed % 4 == 1);
    let nodes = if corrupt || seed.is_multiple_of(3) { 3 } else { 5 };
    let quorum =
        if corrupt { "elect = all of (ALL); commit = 1 of (ALL)" } else { "majority(ALL)" };
    let mut c = Cluster::with_quorum(nodes, seed, quorum);
    (c.loss_percent, c.duplicate_percent) = (seed % 7, seed % 11);
    if leaves {
        (c.duplicate_percent, c.late_percent) = (10 + seed % 11, 50);
    }
    c.run_until_leader();
    c.corrupt = corrupt.then(|| c.prng.below(nodes as u64) as usize);
    let mut storm = Storm { c, seed, leaves, nodes, writes: vec![], reads: vec![] };
    storm.run();
    storm.heal();
    assert!(!corrupt || storm.c.lies > 0, "seed {seed}: nobody compared");
    storm.judge()
}

#[test]
fn in_any_storm_acknowledged_writes_survive_refused_ones_do_not_apply_and_none_applies_twice() {
    let (mut sum, mut lives) = (Tally::default(), 0);
    for seed in seeds(60) {
        let tally = life(seed);
        lives += 1;
        sum.acknowledged += tally.acknowledged;
        sum.refused += tally.refused;
        sum.unknown += tally.unknown;
        sum.read += tally.read;
        sum.installs += tally.installs;
    }
    // Not idle: all three outcomes, reads and installed checkpoints happen.
    assert!(sum.acknowledged > 100 * lives, "{} acknowledged", sum.acknowledged);
    assert!(sum.refused > lives && sum.unknown > lives, "{} {}", sum.refused, sum.unknown);
    assert!(sum.read > 20 * lives, "{} reads", sum.read);
    assert!(sum.installs as u64 * 4 > lives, "{} installs", sum.installs);
}
