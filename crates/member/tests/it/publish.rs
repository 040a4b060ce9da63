//! A leader publishes what members say of themselves, one change after the other.

use crate::meet::committed;
use base::{Birth, Incarnation, Life, Nanos, NodeId};
use cluster::{BallotRule, Change, ChangeState, Configuration, Member, Protocol};
use member::publish::{OWN, PUBLISH_INTERVAL};
use member::{Publisher, Word};
use replica::{Effects, Event, Replica, Reply};

const OWN_LIFE: Life = Life { birth: Birth(5), incarnation: Incarnation(1 << 32) };

/// The only member of a cluster, which has written it down.
fn alone() -> Replica {
    let member = Member {
        id: NodeId(1),
        slot: 0,
        name: "n1".to_string(),
        learner: false,
        peer_urls: Vec::new(),
        client_urls: Vec::new(),
        life: OWN_LIFE,
    };
    let config = Configuration {
        protocol: Protocol::Raft,
        members: vec![member],
        quorum: "majority(n1)".to_string(),
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: Vec::new(),
        change: ChangeState::default(),
    };
    committed(config, OWN_LIFE)
}

/// Steps with a disk that is done at once; what is replied to the member itself.
fn step(replica: &mut Replica, now: Nanos, event: Event) -> Vec<Reply> {
    let (mut events, mut replies) = (vec![event], Vec::new());
    while !events.is_empty() {
        let mut effects = Effects::default();
        replica.step_batch(now, events.drain(..), &mut effects);
        events.extend(effects.persist.drain(..).map(|persist| Event::Persisted(persist.ticket)));
        let own = effects.replies.drain(..).filter(|(token, _)| *token == OWN);
        replies.extend(own.map(|(_, reply)| reply));
    }
    replies
}

#[test]
fn a_leader_publishes_one_word_at_a_time_and_looks_once_an_interval() {
    let (mut replica, mut publisher) = (alone(), Publisher::default());
    let word = |url: &str| Word {
        name: "n1".to_string(),
        client_urls: vec![url.to_string()],
        life: OWN_LIFE,
    };
    let (first, second) = (word("http://first"), word("http://second"));
    assert_eq!(publisher.due(replica.raft()), None, "it does not lead");
    assert!(publisher.look(Nanos(9), replica.raft(), |_| Some(&first)).is_none());
    let mut now = Nanos::ZERO;
    while !replica.raft().leader_ready() {
        now = replica.deadline().max(now.plus(Nanos(1)));
        assert!(now < Nanos::from_millis(60_000), "it elects itself");
        assert!(step(&mut replica, now, Event::Tick).is_empty());
    }
    assert_eq!(publisher.due(replica.raft()), Some(Nanos::ZERO), "at once");
    assert!(publisher.look(now, replica.raft(), |_| None).is_none(), "nobody has said anything");
    assert_eq!(publisher.due(replica.raft()), Some(now.plus(PUBLISH_INTERVAL)));
    assert!(publisher.look(now, replica.raft(), |_| Some(&first)).is_none(), "too early");
    now = now.plus(PUBLISH_INTERVAL);
    let event = publisher.look(now, replica.raft(), |_| Some(&first)).expect("it is time");
    let Event::Change { token, change: Change::Publish { id, client_urls, .. }, .. } = &event
    else {
        panic!("it publishes")
    };
    assert_eq!((*token, *id, client_urls), (OWN, NodeId(1), &first.client_urls));
    let later = now.plus(PUBLISH_INTERVAL);
    assert!(publisher.look(later, replica.raft(), |_| Some(&second)).is_none(), "not answered");
    let replies = step(&mut replica, later, event);
    assert!(matches!(replies[..], [Reply::Changed { .. }]), "{replies:?}");
    assert_eq!(replica.raft().config().members[0].client_urls, first.client_urls);
    publisher.answered();
    now = later.plus(PUBLISH_INTERVAL);
    assert!(publisher.look(now, replica.raft(), |_| Some(&first)).is_none(), "it says so");
    now = now.plus(PUBLISH_INTERVAL);
    assert!(publisher.look(now, replica.raft(), |_| Some(&second)).is_some());
}

#[test]
#[should_panic(expected = "what is answered was asked for")]
fn nothing_is_answered_that_was_not_asked_for() {
    Publisher::default().answered();
}
