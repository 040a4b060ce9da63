//! Changes of members and quorum systems, drawn.

use super::*;

/// Slots of a schedule's members: about as many as members, so that they change hands often.
const SLOTS_DRAWN: u8 = 8;

/// One change at a leader, if it is let through: learners in and out, promotions, and joint
/// moves to another system over other members.
pub(super) fn reconfigure(c: &mut Cluster, leader: NodeId, rule: BallotRule) {
    let mut config = config_of(c, leader);
    // Here ids come back, and who was a witness has no data: a change called off keeps no mark of
    // who is no member.
    config.change.quorum.clone_from(&c.genesis.change.quorum);
    let all: Vec<NodeId> = c.nodes.keys().copied().collect();
    match (config.joint.take(), c.prng.below(6)) {
        (Some(next), _) => {
            config.quorum = next;
            let named = named(&config.quorum);
            if c.prng.below(2) == 0 {
                config.members.retain(|m| m.learner || named.contains(&m.name));
            } else {
                config.members.iter_mut().for_each(|m| m.learner |= !named.contains(&m.name));
            }
        }
        (None, 0) => {
            for id in all.iter().filter(|id| config.member(**id).is_none()).collect::<Vec<_>>() {
                let slot = free_slot(c, &config);
                config.members.push(Member { slot, ..member(*id, true) });
            }
        }
        (None, 1) => config.members.iter_mut().for_each(|m| m.learner = false),
        (None, 2) => config.members.retain(|m| !m.learner),
        (None, 3) => one_step(c, &mut config),
        _ => {
            let mut names: Vec<String> =
                config.members.iter().filter(|m| !m.learner).map(|m| m.name.clone()).collect();
            let keep = 1 + c.prng.below(names.len() as u64) as usize;
            while names.len() > keep.max(2) {
                names.remove(c.prng.below(names.len() as u64) as usize);
            }
            let witnesses = witnesses(&config);
            let only = |name: &String| witnesses.contains(name);
            config.joint = Some(if names.iter().any(only) {
                with_witnesses(c, &names, only)
            } else {
                system(c, &names, rule)
            });
        }
    }
    if c.prng.below(8) == 0
        && let Some(next) = config.joint.take()
    {
        // Without a joint phase: refused unless the two systems meet.
        config.quorum = next;
        let named = named(&config.quorum);
        config.members.iter_mut().for_each(|m| m.learner |= !named.contains(&m.name));
    }
    propose(c, leader, &config);
}

/// One change of this kind at a leader, if it is let through and none is under way.
pub(super) fn change(
    c: &mut Cluster,
    leader: NodeId,
    step: impl Fn(&mut Cluster, &mut Configuration),
) {
    let mut config = config_of(c, leader);
    if config.joint.is_none() {
        step(c, &mut config);
        propose(c, leader, &config);
    }
}

pub(super) fn propose(c: &mut Cluster, leader: NodeId, config: &Configuration) {
    c.with(leader, |r, now, out| propose_config(r, now, config, out).is_ok());
}

/// The configuration a leader goes by.
pub(super) fn config_of(c: &Cluster, leader: NodeId) -> Configuration {
    Configuration::clone(c.nodes[&leader].raft.as_ref().unwrap().config())
}

/// Who is called a witness by the text in force, or by the one of the schedule.
fn witnesses(config: &Configuration) -> Vec<String> {
    let texts = [Some(&config.quorum), config.change.quorum.as_ref()].into_iter().flatten();
    let specs = texts.map(|text| quorum::SystemSpec::parse(text).unwrap());
    specs.flat_map(|s| s.witnesses().into_iter().map(String::from).collect::<Vec<_>>()).collect()
}

/// A slot that nobody has now, though somebody may have had it a moment ago.
fn free_slot(c: &mut Cluster, config: &Configuration) -> u8 {
    let taken = |slot: &u8| config.members.iter().any(|m| m.slot == *slot);
    let free: Vec<u8> = (0..SLOTS_DRAWN).filter(|slot| !taken(slot)).collect();
    free[c.prng.below(free.len() as u64) as usize]
}

/// Another majority in one step: one voter more, or one fewer; some come from outside, and go.
pub(super) fn one_step(c: &mut Cluster, config: &mut Configuration) {
    let grow = c.prng.below(2) == 0;
    let at = c.prng.below(config.members.len() as u64) as usize;
    let voters = config.members.iter().filter(|m| !m.learner).count();
    let strangers = c.nodes.keys().copied().filter(|id| config.member(*id).is_none());
    let strangers: Vec<NodeId> = strangers.collect();
    // A text with witnesses says who they are.
    let outside = c.genesis.change.quorum.is_none() && c.prng.below(2) == 0;
    if grow && outside && !strangers.is_empty() && is_written(config) {
        let id = strangers[c.prng.below(strangers.len() as u64) as usize];
        let slot = free_slot(c, config);
        let life = c.life_of(id);
        config.members.push(Member { slot, life, ..member(id, false) });
    } else if config.members[at].learner == grow && (grow || voters > 2) {
        if !grow && outside {
            drop(config.members.remove(at))
        } else {
            config.members[at].learner = !grow
        }
    }
    follow_members(config);
}

/// `gone` leaves, and somebody else comes in.
pub(super) fn swap(c: &mut Cluster, config: &mut Configuration, gone: NodeId) {
    let strangers = c.nodes.keys().copied().filter(|id| config.member(*id).is_none());
    let strangers: Vec<NodeId> = strangers.collect();
    let voters = config.members.iter().filter(|m| !m.learner).count();
    if config.member(gone).is_some() && voters > 2 {
        config.members.retain(|m| m.id != gone);
    } else if !strangers.is_empty() && is_written(config) {
        let id = strangers[c.prng.below(strangers.len() as u64) as usize];
        let slot = free_slot(c, config);
        let life = c.life_of(id);
        config.members.push(Member { slot, life, ..member(id, false) });
    }
    follow_members(config);
}

/// Every voter takes part, so that one more does not stand in the way until it does too.
fn is_written(config: &Configuration) -> bool {
    config.members.iter().all(|m| m.learner || m.life != Life::UNKNOWN)
}

pub(super) fn follow_members(config: &mut Configuration) {
    let names = config.members.iter().filter(|m| !m.learner).map(|m| m.name.clone());
    config.quorum = format!("majority({})", names.collect::<Vec<_>>().join(","));
}

/// Names in a quorum text.
pub fn named(text: &str) -> Vec<String> {
    let spec = quorum::SystemSpec::parse(text).unwrap();
    spec.names().into_iter().map(String::from).collect()
}

/// Some threshold system over the names. What has too little data is refused by the leader.
fn with_witnesses(c: &mut Cluster, names: &[String], only: impl Fn(&String) -> bool) -> String {
    let word = |m: &String| if only(m) { format!("witness({m})") } else { m.clone() };
    let (n, list) = (names.len(), names.iter().map(word).collect::<Vec<_>>().join(","));
    let most = (n / 2 + 1 + c.prng.below((n - n / 2) as u64) as usize).min(n);
    let rest = n + 1 - most;
    match c.prng.below(3) {
        0 => format!("elect = {most} of ({list}); commit = {rest} of ({list})"),
        _ => format!("{most} of ({list})"),
    }
}

/// Some system over the names. What does not suit the ballot rule is refused by the leader.
fn system(c: &mut Cluster, names: &[String], rule: BallotRule) -> String {
    let (n, list) = (names.len(), names.join(","));
    let most = n / 2 + 1 + c.prng.below((n - n / 2) as u64) as usize;
    let (most, rest) = (most.min(n), n + 1 - most.min(n));
    let rows = |at: usize| [names[..at].join(" "), names[at..].join(" ")].join(" / ");
    match c.prng.below(7) {
        0 => format!("elect = {most} of ({list}); commit = {rest} of ({list})"),
        1 if rule == BallotRule::TermAndNode || c.ambush > 0 => {
            format!("elect = {rest} of ({list}); commit = {most} of ({list})")
        }
        2 if n >= 4 => format!("grid({})", rows(n / 2)),
        3 if n >= 4 && rule == BallotRule::TermAndNode => {
            format!("elect = cover({0}); commit = row({0})", rows(n / 2))
        }
        4 if n >= 5 => {
            let zone = |i: usize, names: &[String]| format!("z{i}{{{}}}", names.join(","));
            let zones = [zone(1, &names[..2]), zone(2, &names[2..4]), zone(3, &names[4..])];
            format!("zones({})", zones.join(", "))
        }
        5 => {
            let weights = names.iter().map(|m| format!("{m}:{}", 1 + c.prng.below(3)));
            format!("weighted{{{}}}", weights.collect::<Vec<_>>().join(", "))
        }
        _ => format!("majority({list})"),
    }
}
