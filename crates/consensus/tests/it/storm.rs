//! Random schedules: crashes, cuts, slow disks, checkpoints, hand-overs and changes of members
//! and quorum systems. The harness checks the invariants on the way; at the end everything is
//! healed and the cluster must commit again.

use super::harness::{Cluster, configuration, member, propose_config};
use base::{Blob, Life, NodeId};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::EntryKind;

#[path = "storm/changes.rs"]
mod changes;
#[path = "storm/quiet.rs"]
mod quiet;

pub use changes::named;
use changes::{change, config_of, follow_members, one_step, propose, reconfigure, swap};

/// What a schedule may do.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub voters: u64,
    /// Nodes outside the first configuration; above zero, the configuration changes too.
    pub spares: u64,
    pub quorum: &'a str,
    pub rule: BallotRule,
    /// A quorum text that is in no force: whom it calls a witness comes in as one.
    pub marks: &'a str,
}

/// Names the seed when a schedule fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the schedule that failed: seed {}", self.0);
        }
    }
}

/// How many seeds a test plays: QUORATE_STORM_SEEDS, or what is quick.
pub fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let from = number("QUORATE_STORM_FROM").unwrap_or(0);
    from..from + number("QUORATE_STORM_SEEDS").unwrap_or(quick)
}

/// What happened in a schedule.
pub struct Played {
    /// Configurations committed.
    pub configs: usize,
    /// Disks damaged, and repaired by the end.
    pub damaged: usize,
}

/// Plays one schedule.
pub fn play(seed: u64, plan: Plan<'_>) -> Played {
    let name = Seed(seed);
    let c = play_on(seed, plan);
    drop(name);
    Played { configs: c.configs_committed, damaged: c.damaged }
}

/// Plays one schedule, and then every member is lost for a while, one after the other, and its
/// disk damaged: the others go on.
pub fn play_and_lose_each(seed: u64, plan: Plan<'_>) {
    let name = Seed(seed);
    let mut c = play_on(seed, plan);
    for lost in (1..=plan.voters).map(NodeId) {
        c.crash(lost);
        c.damage(lost);
        c.run(2000);
        goes_on(&mut c, &format!("without n{lost}"));
        c.start(lost);
        c.run(1000);
    }
    drop(name);
}

fn play_on(seed: u64, plan: Plan<'_>) -> Cluster {
    let mut config = configuration(plan.voters, 0, plan.quorum, plan.rule);
    config.change.quorum = Some(plan.marks.to_string()).filter(|text| !text.is_empty());
    let mut c = Cluster::new(config, seed);
    (1..=plan.spares).for_each(|i| c.spare(NodeId(plan.voters + i)));
    let nodes = plan.voters + plan.spares;
    if let Some(schedule) = special(seed, plan) {
        schedule(&mut c, plan);
        end(&mut c, nodes, plan);
        return c;
    }
    c.noise = (5, 5, 8);
    c.lanes = seed % 2 == 1;
    let churn = !seed.is_multiple_of(3);
    if churn {
        // Leaders are struck, messages come late, and logs grow entry by entry.
        c.ambush = [5, 20, 50][(seed / 3 % 3) as usize];
        (c.late, c.append_bytes_max) = (seed / 9 % 3 * 5, [1, 200][(seed / 27 % 2) as usize]);
        c.slow = [0, 20, 80][(seed / 5 % 3) as usize];
    }
    for step in 0..150u64 {
        let ms = 1 + c.prng.below(80);
        c.run(ms);
        if churn {
            everybody_asks(&mut c, step, plan);
        }
        relapse(&mut c, plan);
        let (a, b) = (NodeId(1 + c.prng.below(nodes)), NodeId(1 + c.prng.below(nodes)));
        match c.prng.below(17) {
            16 => try_to_damage(&mut c, a, plan),
            0 => c.crash(a),
            1 | 2 => {
                c.start(a);
                meet(&mut c, a);
            }
            3 if a != b => drop(c.cut.insert((a.0, b.0))),
            4 => c.cut.clear(),
            5 => c.nodes.get_mut(&a).unwrap().stalled = true,
            6 | 7 => c.unstall(a),
            8 => c.compact(a),
            9 if c.nodes[&a].raft.is_some() => c.read_next(a),
            10 => drop(c.with(a, |r, now, out| r.transfer(now, Some(b), out))),
            11 => drop(c.with(a, |r, now, out| r.peer_lost(now, b, out))),
            12 | 13 if plan.spares > 0 => {
                if let Some(leader) = c.leader() {
                    reconfigure(&mut c, leader, plan.rule);
                }
            }
            _ => {
                let text = format!("v{step}");
                if let Some(leader) = c.leader() {
                    c.with(leader, |r, now, out| {
                        let _ = r.propose(now, [data(&text), data("more")].into_iter(), out);
                    });
                }
            }
        }
    }
    end(&mut c, nodes, plan);
    c
}

/// Somebody leads and commits.
fn goes_on(c: &mut Cluster, who: &str) {
    let leader = c.leader().unwrap_or_else(|| panic!("{who}: they elect one"));
    let first = c.with(leader, |r, now, out| r.propose(now, [data("on")].into_iter(), out));
    let first = first.unwrap().expect("it takes proposals");
    c.run(200);
    let commit = c.nodes[&leader].raft.as_ref().unwrap().commit();
    assert!(commit >= first, "{who}: at {commit}, not {first}");
}

/// All is mended; in some of the schedules it is looked at for a while.
fn end(c: &mut Cluster, nodes: u64, plan: Plan<'_>) {
    heal(c, nodes);
    if c.prng.below(3) == 0 {
        quiet::quiet(c, plan);
    }
}

/// For settings that a member reads when it starts.
fn restart(c: &mut Cluster, ids: &[NodeId]) {
    ids.iter().for_each(|id| {
        c.crash(*id);
        c.start(*id);
    });
}

/// What some seeds play instead.
fn special(seed: u64, plan: Plan<'_>) -> Option<fn(&mut Cluster, Plan<'_>)> {
    match (seed % 5, plan.spares) {
        (4, _) => Some(short_reigns),
        (3, 0) if !plan.quorum.contains("witness") => Some(repairs_without_end),
        (3, 1..) if plan.marks.is_empty() => Some(lonely_candidates),
        _ => None,
    }
}

/// Every leader is lost soon after its election, and most reach few or nobody before; some of the
/// lost come back. Logs are sent entry by entry (Raft, figures 7 and 8).
fn short_reigns(c: &mut Cluster, plan: Plan<'_>) {
    let mut ids: Vec<NodeId> = c.nodes.keys().copied().collect();
    c.append_bytes_max = 1;
    restart(c, &ids);
    c.noise = (0, 0, c.prng.below(3));
    for reign in 0..60 {
        let Some(leader) = await_leader(c) else {
            ids.iter().for_each(|id| c.start(*id));
            continue;
        };
        for i in (1..ids.len()).rev() {
            ids.swap(i, c.prng.below(i as u64 + 1) as usize);
        }
        let reached = [0, 1, 2, ids.len()][c.prng.below(4) as usize];
        let peers = ids.iter().filter(|id| **id != leader);
        c.cut.extend(peers.skip(reached).map(|peer| (leader.0, peer.0)));
        if c.prng.below(2) == 0 {
            let text = format!("r{reign}");
            c.with(leader, |r, now, out| r.propose(now, [data(&text)].into_iter(), out).is_ok());
        }
        if plan.spares > 0 {
            reconfigure(c, leader, plan.rule);
        }
        let ms = 1 + c.prng.below(30);
        c.run(ms);
        c.crash(leader);
        if c.prng.below(8) == 0 {
            damage(c, leader, plan);
        }
        c.cut.clear();
        for id in &ids {
            if c.prng.below(2) == 0 {
                c.start(*id);
            }
        }
    }
}

/// Some member repairs all the time and is damaged again before it is through, while its leader
/// reaches few others and has more in its log than is committed.
fn repairs_without_end(c: &mut Cluster, plan: Plan<'_>) {
    let ids: Vec<NodeId> = c.nodes.keys().copied().collect();
    (c.noise, c.append_bytes_max) = ((2, 2, c.prng.below(8)), 1);
    restart(c, &ids);
    for _ in 0..25 {
        c.cut.clear();
        let Some(leader) = await_leader(c) else {
            ids.iter().for_each(|id| c.start(*id));
            continue;
        };
        let others: Vec<NodeId> = ids.iter().copied().filter(|id| *id != leader).collect();
        let victim = others[c.prng.below(others.len() as u64) as usize];
        if c.prng.below(2) == 0 {
            struck_at_the_end(c, leader, victim, plan);
            continue;
        }
        c.crash(victim);
        damage(c, victim, plan);
        for peer in others.iter().filter(|id| **id != victim) {
            if c.prng.below(2) == 0 {
                c.cut.insert((leader.0, peer.0));
            }
        }
        c.late = [0, 20, 50][c.prng.below(3) as usize];
        c.slow = [0, 20][c.prng.below(2) as usize];
        c.start(victim);
        for i in 0..2 + c.prng.below(6) {
            let some = (0..1 + c.prng.below(12)).map(|n| data(&format!("r{i} {n}")));
            let some: Vec<_> = some.collect();
            c.with(leader, |r, now, out| r.propose(now, some.into_iter(), out).is_ok());
            let ms = 1 + c.prng.below(25);
            c.run(ms);
            relapse(c, plan);
        }
        c.late = 0;
        let ms = c.prng.below(150);
        c.run(ms);
    }
}

/// A repair whose end is not durable yet is struck once the member holds more than is committed,
/// and what it said of that arrives while it repairs anew.
fn struck_at_the_end(c: &mut Cluster, leader: NodeId, victim: NodeId, plan: Plan<'_>) {
    let last = |c: &Cluster, id| c.nodes[&id].disk.entries.last().map_or(0, |e| e.index.0);
    let ids: Vec<NodeId> = c.nodes.keys().copied().collect();
    (c.noise, c.late) = ((0, 0, 2), 0);
    c.run(60);
    let committed = last(c, leader);
    for id in ids.iter().filter(|id| **id != victim && **id != leader) {
        if c.prng.below(3) > 0 {
            c.nodes.get_mut(id).unwrap().stalled = true;
        }
    }
    c.crash(victim);
    damage(c, victim, plan);
    let more: Vec<_> = (0..3 + c.prng.below(20)).map(|n| data(&format!("p{n}"))).collect();
    c.with(leader, |r, now, out| r.propose(now, more.into_iter(), out).is_ok());
    c.start(victim);
    for _ in 0..60 {
        c.run(1);
        if c.nodes[&victim].repair.is_none() {
            break;
        }
        if last(c, victim) > committed {
            (c.late, c.late_ms) = (80, 60);
            let ms = 1 + c.prng.below(5);
            c.run(ms);
            break;
        }
    }
    (c.late, c.late_ms) = (0, 400);
    if c.nodes[&victim].repair.is_some() {
        c.crash(victim);
        damage(c, victim, plan);
        c.start(victim);
    }
    let ms = 20 + c.prng.below(100);
    c.run(ms);
    ids.iter().for_each(|id| c.unstall(*id));
}

/// A member is handed over to that reaches one friend only, and what is answered comes late and
/// again; its leader goes on with other members and other weights, and its checkpoint comes while
/// the votes are still counted.
fn lonely_candidates(c: &mut Cluster, _: Plan<'_>) {
    let ids: Vec<NodeId> = c.nodes.keys().copied().collect();
    for _ in 0..30 {
        c.cut.clear();
        (c.noise, c.late) = ((0, 0, 2), 0);
        let Some(leader) = await_leader(c) else {
            ids.iter().for_each(|id| c.start(*id));
            continue;
        };
        c.run(25);
        let config = config_of(c, leader);
        let voters = config.members.iter().filter(|m| !m.learner && m.id != leader);
        let voters: Vec<NodeId> = voters.map(|m| m.id).collect();
        if voters.is_empty() {
            continue;
        }
        let lonely = voters[c.prng.below(voters.len() as u64) as usize];
        let friend = voters[c.prng.below(voters.len() as u64) as usize];
        let seat = config.slot_of(friend);
        let deaf = ids.iter().filter(|id| **id != friend && **id != lonely);
        c.cut.extend(deaf.map(|id| (lonely.0, id.0)));
        c.cut.insert((friend.0, leader.0));
        (c.noise, c.late) = ((0, 50, 2), 60);
        c.hand_over(leader, lonely);
        c.run(5);
        (c.noise, c.late) = ((0, 0, 2), 0);
        let straight = c.prng.below(2) == 0;
        for _ in 0..12 {
            let leads = |n: &super::harness::Node| n.raft.as_ref().is_some_and(|r| r.is_leader());
            if !leads(&c.nodes[&leader]) {
                break;
            }
            c.with(leader, |r, now, out| r.propose(now, [data("on")].into_iter(), out).is_ok());
            match (straight, c.prng.below(2)) {
                (true, _) => take_over(c, leader, lonely, friend, seat),
                (false, 0) => change(c, leader, one_step),
                (false, _) => change(c, leader, |c, config| swap(c, config, friend)),
            }
            let ms = 4 + c.prng.below(6);
            c.run(ms);
            c.compact(leader);
            if c.prng.below(3) == 0 {
                c.send_checkpoint(leader, lonely);
            }
        }
        c.cut.clear();
        let ms = c.prng.below(100);
        c.run(ms);
    }
}

/// The next step of: `friend` leaves, a stranger gets its seat, and has with `lonely` the weight
/// that commits and elects.
fn take_over(c: &mut Cluster, leader: NodeId, lonely: NodeId, friend: NodeId, seat: Option<u8>) {
    let mut config = config_of(c, leader);
    let Some(seat) = seat.filter(|_| config.member(lonely).is_some()) else { return };
    let newcomer = config.members.iter().find(|m| m.slot == seat && m.id != friend);
    if let Some(next) = config.joint.take() {
        config.quorum = next;
    } else if let Some(newcomer) = newcomer {
        let heavy = [newcomer.id, lonely];
        let voters = config.members.iter().filter(|m| !m.learner);
        let weights =
            voters.map(|m| format!("{}:{}", m.name, [1, 3][usize::from(heavy.contains(&m.id))]));
        config.joint = Some(format!("weighted{{{}}}", weights.collect::<Vec<_>>().join(", ")));
    } else if config.member(friend).is_some() {
        config.members.retain(|m| m.id != friend);
        follow_members(&mut config);
    } else if let Some(id) =
        c.nodes.keys().copied().find(|id| config.member(*id).is_none() && *id != friend)
    {
        config.members.push(Member { slot: seat, life: c.life_of(id), ..member(id, false) });
        follow_members(&mut config);
    }
    propose(c, leader, &config);
}

/// A member loses a part of its disk, or goes on if the others cannot do without it.
fn try_to_damage(c: &mut Cluster, id: NodeId, plan: Plan<'_>) {
    let before = c.damaged;
    c.crash(id);
    damage(c, id, plan);
    if c.damaged == before {
        c.start(id);
    }
}

/// Beside a member marked out, damage to what took its place is a second loss.
fn damage(c: &mut Cluster, id: NodeId, plan: Plan<'_>) {
    if plan.spares == 0 && !plan.quorum.contains("witness") {
        c.damaged += usize::from(c.damage(id));
    }
}

/// What was damaged is damaged again before its repair is over, while what it said meanwhile is
/// still on its way.
fn relapse(c: &mut Cluster, plan: Plan<'_>) {
    let repairs = c.nodes.iter().find(|(_, n)| n.repair.is_some()).map(|(id, _)| *id);
    if let Some(id) = repairs.filter(|_| c.prng.below(3) == 0) {
        c.crash(id);
        damage(c, id, plan);
        c.start(id);
    }
}

/// The next leader, at its first millisecond if somebody is elected at all.
fn await_leader(c: &mut Cluster) -> Option<NodeId> {
    for _ in 0..600 {
        if let Some(leader) = c.leader() {
            return Some(leader);
        }
        c.run(1);
    }
    None
}

/// Whoever believes to lead is given an entry and at times a change; members read, and some write
/// a checkpoint.
/// Connections of a node that has just started, as far as they are not cut.
fn meet(c: &mut Cluster, node: NodeId) {
    for peer in c.nodes.keys().copied().filter(|peer| *peer != node).collect::<Vec<_>>() {
        let (there, back) = ((node.0, peer.0), (peer.0, node.0));
        if c.nodes[&peer].raft.is_some() && !c.cut.contains(&there) && !c.cut.contains(&back) {
            c.with(node, |r, now, out| r.peer_found(now, peer, out));
            c.with(peer, |r, now, out| r.peer_found(now, node, out));
        }
    }
}

fn everybody_asks(c: &mut Cluster, step: u64, plan: Plan<'_>) {
    let ids: Vec<NodeId> = c.nodes.keys().copied().collect();
    for id in &ids {
        let text = format!("c{step}");
        c.with(*id, |r, now, out| r.propose(now, [data(&text)].into_iter(), out).is_ok());
    }
    for _ in 0..3 {
        let at = ids[c.prng.below(ids.len() as u64) as usize];
        if c.nodes[&at].raft.is_some() {
            c.read_next(at);
        }
    }
    if c.prng.below(6) == 0 {
        let at = ids[c.prng.below(ids.len() as u64) as usize];
        c.compact(at);
    }
    for id in ids {
        let leads = c.nodes[&id].raft.as_ref().is_some_and(|r| r.is_leader());
        if plan.spares > 0 && leads && c.prng.below(2) == 0 {
            reconfigure(c, id, plan.rule);
        }
    }
}

fn heal(c: &mut Cluster, nodes: u64) {
    c.noise = (0, 0, 0);
    (c.late, c.ambush) = (0, 0);
    c.cut.clear();
    (1..=nodes).for_each(|id| {
        c.start(NodeId(id));
        c.unstall(NodeId(id));
    });
    c.run(3000);
    let leader = c.leader().expect("a leader after the heal");
    let first = c.with(leader, |r, now, out| r.propose(now, [data("end")].into_iter(), out));
    let first = first.unwrap().expect("a healed leader takes proposals");
    c.run(500);
    c.check_log_matching();
    let config = config_of(c, leader);
    for m in &config.members {
        let raft = c.nodes[&m.id].raft.as_ref().unwrap();
        assert!(!raft.is_repairing(), "{} votes again", m.name);
        let commit = raft.commit();
        assert!(commit >= first, "{} is at {commit}, not {first}", m.name);
    }
}

fn data(text: &str) -> (EntryKind, Blob) {
    (EntryKind::Data, Blob::from(text.as_bytes()))
}
