//! Machines for the tests of their parts, brought into a state at once.

use crate::raft::message::EntryKind;
use crate::raft::progress::Peer;
use crate::raft::{Entry, Raft, Ready, Recovered, Role, Settings};
use alloc::string::ToString;
use alloc::vec::Vec;
use base::{Ballot, Birth, Blob, Incarnation, Life, LogIndex, Nanos, NodeId};
use cluster::{BallotRule, ChangeState, Compiled, Configuration, Member, Protocol};
use quorum::NodeSet;

pub(crate) const TIMEOUT: Nanos = Nanos::from_millis(100);
/// Of the leader that [`leads`] makes.
pub(crate) const REIGN: Ballot = Ballot::new(2, 1);
pub(crate) const MAJORITY: &str = "majority(n1, n2, n3)";
pub(crate) const ONE_WITNESS: &str = "majority(n1, n2, witness(n3))";

/// The first start of a member's first directory.
pub(crate) fn life(id: u64) -> Life {
    Life { birth: Birth(id), incarnation: Incarnation(1) }
}

/// Member `nK` has slot K - 1, votes and is written down.
pub(crate) fn config(voters: u64, quorum: &str) -> Configuration {
    let member = |id: u64| Member {
        id: NodeId(id),
        slot: id as u8 - 1,
        name: alloc::format!("n{id}"),
        learner: false,
        peer_urls: Vec::new(),
        client_urls: Vec::new(),
        life: life(id),
    };
    Configuration {
        protocol: Protocol::Raft,
        members: (1..=voters).map(member).collect(),
        quorum: quorum.to_string(),
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: Vec::new(),
        change: ChangeState::default(),
    }
}

/// The same before anybody was met, but for these.
pub(crate) fn met(config: Configuration, ids: &[u64]) -> Configuration {
    let mut config = config;
    let others = config.members.iter_mut().filter(|m| !ids.contains(&m.id.0));
    others.for_each(|m| m.life = Life::UNKNOWN);
    config
}

/// The same as a leader writes it that founds the cluster.
pub(crate) fn founding(config: Configuration) -> Configuration {
    let change = ChangeState { founding: true, ..config.change };
    Configuration { change, ..config }
}

pub(crate) fn compiled(config: Configuration) -> Compiled {
    config.compile().expect("a sound configuration")
}

/// The same with these members marked out.
pub(crate) fn marked(config: Configuration, out: &[u64]) -> Configuration {
    let out = out.iter().map(|id| NodeId(*id)).collect();
    let change = ChangeState { out, ..config.change };
    Configuration { change, ..config }
}

/// A follower of nobody with an empty log, that has promised 1.1.
pub(crate) fn raft(id: u64, base_config: Configuration) -> Raft {
    let settings = Settings {
        id: NodeId(id),
        birth: Birth(id),
        incarnation: Incarnation(1),
        election_timeout_min: TIMEOUT,
        heartbeat_interval: Nanos::from_millis(20),
        seed: 1,
        append_bytes_max: 1000,
        inflight_bytes_max: 1000,
    };
    let recovered = Recovered {
        ballot: Ballot::new(1, 1),
        base: LogIndex::ZERO,
        base_ballot: Ballot::ZERO,
        base_config,
        entries: Vec::new(),
        commit: LogIndex::ZERO,
    };
    Raft::new(settings, recovered, Nanos::ZERO).expect("a sound start")
}

/// Member 1 leads at 2.1 by the votes of members 1 and 2; its log has entries up to `last`, all of
/// that ballot and on its disk.
pub(crate) fn leads(config: Configuration, last: u64) -> Raft {
    leads_over(config, 0, last)
}

/// Appends entries up to `last`.
pub(crate) fn grow(raft: &mut Raft, last: u64) {
    for _ in raft.log.last_index().0..last {
        raft.append_own(EntryKind::Data, Blob::from(&b"x"[..]));
    }
}

/// A follower takes this configuration as its next entry, of ballot 1.1.
pub(crate) fn takes(raft: &mut Raft, config: Configuration) {
    let (index, ballot) = (raft.log.last_index().next(), Ballot::new(1, 1));
    let payload = Blob::from(config.encode());
    raft.log.push(Entry { index, ballot, kind: EntryKind::Config, payload });
    raft.configs.push(index, compiled(config));
}

/// Everything so far is durable; what was sent is gone.
pub(crate) fn on_disk(raft: &mut Raft) {
    let mut out = Ready::default();
    raft.finish(&mut out);
    if let Some(write) = out.persist.last() {
        raft.persisted(raft.now, write.ticket, &mut out);
    }
}

pub(crate) fn peer(raft: &mut Raft, id: u64) -> &mut Peer {
    let Role::Leader(leader) = &mut raft.role else { panic!("it does not lead") };
    leader.peer_mut(NodeId(id)).expect("a peer")
}

/// Pipelined, with the log held up to `matched`.
pub(crate) fn holds(raft: &mut Raft, id: u64, matched: u64) {
    let peer = peer(raft, id);
    peer.matched = LogIndex(matched);
    peer.replicate();
}

/// As a bit set: slot 0 is 1, slot 1 is 2, slot 2 is 4.
pub(crate) fn bits(set: NodeSet) -> u64 {
    set.iter().map(|slot| 1 << slot).sum()
}

/// As [`leads`], and up to `old` the entries are of ballot 1.1.
pub(crate) fn leads_over(config: Configuration, old: u64, last: u64) -> Raft {
    let (mut raft, mut out) = (raft(1, config), Ready::default());
    for index in (1..=old).map(LogIndex) {
        let (kind, payload) = (EntryKind::Data, Blob::from(&b"old"[..]));
        raft.log.push(Entry { index, ballot: Ballot::new(1, 1), kind, payload });
    }
    raft.promise.grant(raft.rule(), REIGN);
    let voters = [(NodeId(1), life(1)), (NodeId(2), life(2))];
    raft.become_leader(REIGN, NodeSet::new(), &voters, &mut out);
    grow(&mut raft, last);
    on_disk(&mut raft);
    raft
}
