//! A configuration for the tests of this room.

use base::NodeId;
use cluster::{BallotRule, ChangeState, Configuration, Member, Protocol};

/// Members 1, 2, 3, .. of these names, at the slots of those numbers.
pub fn configuration(names: &[&str], quorum: &str) -> Configuration {
    let member = |(id, name): (u8, &&str)| Member {
        id: NodeId(id.into()),
        slot: id,
        name: (*name).to_string(),
        learner: false,
        peer_urls: vec![format!("http://h:{id}")],
        client_urls: Vec::new(),
        life: base::Life::UNKNOWN,
    };
    Configuration {
        members: (1..).zip(names).map(member).collect(),
        quorum: quorum.to_string(),
        joint: None,
        rule: BallotRule::SharedTerms,
        protocol: Protocol::Raft,
        limits: Vec::new(),
        change: ChangeState::default(),
    }
}
