//! Configurations of the tests, and how they are proposed.

use base::{Birth, Incarnation, Life, LogIndex, Nanos, NodeId};
use cluster::{BallotRule, Configuration, Member, Protocol};
use consensus::raft::{NotLeader, NotLeaderReason, Raft, Ready};

pub fn member(id: NodeId, learner: bool) -> Member {
    let (slot, name) = (id.0 as u8 - 1, format!("n{id}"));
    let (peer_urls, client_urls, life) = (vec![], vec![], Life::UNKNOWN);
    Member { id, slot, name, learner, peer_urls, client_urls, life }
}

pub fn configuration(voters: u64, learners: u64, quorum: &str, rule: BallotRule) -> Configuration {
    let members = (1..=voters + learners).map(|id| member(NodeId(id), id > voters)).collect();
    let names: Vec<_> = (1..=voters).map(|i| format!("n{i}")).collect();
    let majority = format!("majority({})", names.join(","));
    let quorum = if quorum.is_empty() { majority } else { quorum.to_string() };
    let (protocol, change) = (Protocol::Raft, Default::default());
    Configuration { protocol, members, quorum, joint: None, rule, limits: vec![], change }
}

/// Proposes it as a leader gets it: one that does not compile is no configuration.
pub fn propose_config(
    raft: &mut Raft,
    now: Nanos,
    config: &Configuration,
    out: &mut Ready,
) -> Result<LogIndex, NotLeader> {
    let reason = NotLeaderReason::ConfigInvalid;
    let refused = NotLeader { leader: raft.leader(), reason };
    let compiled = config.clone().compile().map_err(|_| refused)?;
    raft.propose_config(now, &compiled, out)
}

/// The first directory of a node, at its first start.
pub fn life(id: u64) -> Life {
    Life { birth: Birth(id), incarnation: Incarnation(1) }
}

/// As it is once everybody has been met.
pub fn founded(mut config: Configuration) -> Configuration {
    config.members.iter_mut().for_each(|m| m.life = life(m.id.0));
    config
}
