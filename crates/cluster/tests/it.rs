//! What a cluster agrees to be, and how one such agreement becomes the next.

#[path = "it/bytes.rs"]
mod bytes;
#[path = "it/change.rs"]
mod change;
#[path = "it/compiled.rs"]
mod compiled;
#[path = "it/follow.rs"]
pub mod follow;
#[path = "it/kept.rs"]
mod kept;
#[path = "it/lives.rs"]
mod lives;

use base::{Birth, Incarnation, Life, NodeId, RequestId};
use cluster::{
    BallotRule, Change, ChangeError, Compiled, Configuration, Member, Newcomer, Protocol,
};
use quorum::NodeSet;

pub fn member(id: u64, name: &str) -> Member {
    Member {
        id: NodeId(id),
        slot: id as u8 - 1,
        name: name.into(),
        learner: false,
        peer_urls: vec![format!("http://{name}:1")],
        client_urls: vec![format!("http://{name}:2")],
        life: Life::UNKNOWN,
    }
}

/// Members a, b, c, .. with the ids 1, 2, 3, ..
pub fn over(names: &str, quorum: &str, rule: BallotRule) -> Configuration {
    let members = (1..).zip(names.split_whitespace()).map(|(id, name)| member(id, name));
    Configuration {
        protocol: Protocol::Raft,
        members: members.collect(),
        quorum: quorum.into(),
        joint: None,
        rule,
        limits: vec![("quota".into(), 1 << 31)],
        change: Default::default(),
    }
}

pub fn shared(names: &str, quorum: &str) -> Configuration {
    over(names, quorum, BallotRule::SharedTerms)
}

pub fn majority_of_three() -> Compiled {
    shared("a b c", "majority(a, b, c)").compile().unwrap()
}

pub fn request(seq: u64) -> RequestId {
    RequestId { origin: NodeId(1), incarnation: Incarnation(1), seq }
}

pub fn life(birth: u64, start: u64) -> Life {
    Life { birth: Birth(birth), incarnation: Incarnation(start) }
}

pub fn newcomer(id: u64, name: &str) -> Newcomer {
    Newcomer { id: NodeId(id), name: name.into(), peer_urls: vec![format!("http://new{id}:1")] }
}

pub fn slots(slots: &[u8]) -> NodeSet {
    slots.iter().copied().collect()
}

/// Everybody is alive and has caught up.
pub fn begin(config: &Compiled, change: &Change) -> Result<Compiled, ChangeError> {
    let begun = config.begin(change, request(9), NodeSet::first(64), |_| true);
    begun.iter().for_each(check);
    begun
}

pub fn advance(config: &Compiled) -> Option<Compiled> {
    let next = config.advance(NodeSet::first(64), |_| true).unwrap();
    next.iter().for_each(check);
    next
}

/// Begins a change and goes on while there is something to do.
pub fn walk(config: &Compiled, change: &Change) -> Vec<Compiled> {
    let mut steps = vec![begin(config, change).unwrap()];
    while let Some(next) = advance(steps.last().unwrap()) {
        assert!(steps.last().unwrap().may_be_followed_by(&next), "each step meets the next");
        steps.push(next);
    }
    steps
}

/// What was made from compiled parts is what its bytes compile to.
pub fn check(config: &Compiled) {
    let read = Configuration::decode(&config.encode()).unwrap();
    assert_eq!(read, *config.config());
    assert_eq!(read.compile().unwrap(), *config);
}

pub fn invalid(result: Result<Compiled, ChangeError>) -> String {
    match result {
        Err(ChangeError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}
