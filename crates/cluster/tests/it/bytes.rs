//! The form in bytes: exact, bounded, of one encoding each.

use super::*;
use base::Prng;
use base::codec::{DecodeError, Get};
use cluster::{ChangeState, LIMITS_MAX, REMOVED_MAX};

fn text(p: &mut Prng) -> String {
    let texts = ["", "a", "majority(a, b)", "é", "two words", "x:1"];
    texts[p.below(texts.len() as u64) as usize].into()
}

fn texts(p: &mut Prng) -> Vec<String> {
    (0..p.below(3)).map(|_| text(p)).collect()
}

fn some<T>(p: &mut Prng, value: impl FnOnce(&mut Prng) -> T) -> Option<T> {
    if p.below(2) == 0 { Some(value(p)) } else { None }
}

fn random_life(p: &mut Prng) -> Life {
    life(p.below(3), p.below(3))
}

/// Any content, sensible or not.
fn random(p: &mut Prng) -> Configuration {
    let node = |p: &mut Prng| NodeId(1 + p.below(9));
    let lives = p.below(2) == 0;
    let member = |p: &mut Prng| Member {
        id: node(p),
        slot: p.below(64) as u8,
        name: text(p),
        learner: p.below(2) == 0,
        peer_urls: texts(p),
        client_urls: texts(p),
        life: if lives { random_life(p) } else { Life::UNKNOWN },
    };
    let change = |p: &mut Prng| ChangeState {
        request: request(p.below(3)),
        promote: some(p, node),
        remove: some(p, node),
        quorum: some(p, text),
        removed: (0..p.below(3)).map(|_| (node(p), text(p))).collect(),
        out: (0..p.below(3)).map(|_| node(p)).collect(),
        founding: p.below(2) == 0,
        slot_last: some(p, |p| p.below(64) as u8),
    };
    Configuration {
        protocol: Protocol::Raft,
        members: (0..p.below(4)).map(|_| member(p)).collect(),
        quorum: text(p),
        joint: some(p, text),
        rule: [BallotRule::SharedTerms, BallotRule::TermAndNode][p.below(2) as usize],
        limits: (0..p.below(3)).map(|_| (text(p), p.next_u64())).collect(),
        change: some(p, change).unwrap_or_default(),
    }
}

#[test]
fn what_is_written_is_read_and_nothing_shorter_or_longer_is() {
    let mut p = Prng::new(1);
    for _ in 0..2000 {
        let config = random(&mut p);
        let mut bytes = config.encode();
        assert_eq!(Configuration::decode(&bytes).as_ref(), Ok(&config));
        let cut = p.below(bytes.len() as u64) as usize;
        assert!(Configuration::decode(&bytes[..cut]).is_err(), "{config:?} at {cut}");
        bytes.push(0);
        assert!(Configuration::decode(&bytes).is_err(), "{config:?} and more");
    }
}

/// Contents that make sense but for one or two fields.
#[test]
fn whatever_a_change_under_way_says_it_compiles_or_is_refused() {
    let mut p = Prng::new(3);
    let (mut compiled, mut led) = (0, 0);
    for _ in 0..4000 {
        let names = ["a b c", "a b", "a"][p.below(3) as usize];
        let quorum = ["majority(a, b)", "a", "all of (a, b)", "1 of (a)"][p.below(4) as usize];
        let mut config = shared(names, quorum);
        let texts = ["a", "b", "majority(a, b, witness(c))", "majority(", "any of (a, b)"];
        let text = |p: &mut Prng| texts[p.below(5) as usize].to_string();
        let id = |p: &mut Prng| NodeId(1 + p.below(4));
        config.members.iter_mut().for_each(|m| m.learner = p.below(3) == 0);
        config.joint = some(&mut p, text).filter(|_| quorum != "1 of (a)");
        config.change.promote = some(&mut p, id);
        config.change.remove = some(&mut p, id);
        config.change.quorum = some(&mut p, text);
        config.change.out = vec![id(&mut p)];
        let Ok(one) = config.compile() else { continue };
        compiled += 1;
        check(&one);
        if let Ok(Some(next)) = one.advance(NodeSet::first(64), |_| true) {
            led += 1;
            check(&next);
        }
        if one.joint.is_some() {
            check(&one.called_off());
        }
    }
    assert!(compiled > 500 && led > 100, "{compiled} compile, {led} lead on");
}

#[test]
fn damaged_bytes_are_refused_or_are_another_configuration_of_one_encoding() {
    let mut p = Prng::new(2);
    for _ in 0..2000 {
        let mut bytes = random(&mut p).encode();
        let at = p.below(bytes.len() as u64) as usize;
        bytes[at] = p.next_u64() as u8;
        if let Ok(config) = Configuration::decode(&bytes) {
            assert_eq!(config.encode(), bytes);
            let compiled = config.compile();
            compiled.iter().for_each(check);
        }
    }
}

#[test]
fn each_content_has_the_lowest_version_that_says_it() {
    let version = |edit: &dyn Fn(&mut Configuration)| {
        let mut config = shared("a b", "all of (a, b)");
        edit(&mut config);
        let bytes = config.encode();
        // Said in another version, the same content is refused.
        for other in (1..=6).filter(|v| *v != bytes[0]) {
            let said = [&[other][..], &bytes[1..]].concat();
            assert!(Configuration::decode(&said).is_err(), "{config:?} in version {other}");
        }
        bytes[0]
    };
    assert_eq!(version(&|_| ()), 1);
    assert_eq!(version(&|c| c.change.request = request(1)), 2);
    assert_eq!(version(&|c| c.change.out = vec![NodeId(2)]), 3);
    assert_eq!(version(&|c| c.change.founding = true), 4);
    assert_eq!(version(&|c| c.members[1].life = life(1, 1)), 4);
    assert_eq!(version(&|c| c.change.slot_last = Some(0)), 5);
}

#[test]
fn a_version_a_protocol_and_a_rule_of_another_build_are_named() {
    let bytes = shared("a", "a").encode();
    let what = |bytes: &[u8]| Configuration::decode(bytes).unwrap_err();
    let unknown = |what, value| DecodeError::Unknown { what, value };
    for version in [0, 7, 255] {
        let other = [&[version][..], &bytes[1..]].concat();
        assert_eq!(what(&other), unknown("configuration version", u64::from(version)));
    }
    for protocol in [0, 2, 255] {
        let other = [&[6, protocol][..], &bytes[1..]].concat();
        assert_eq!(what(&other), unknown("protocol", u64::from(protocol)));
    }
    // Raft has no need of version 6.
    let mut change = Vec::new();
    change.extend([0; 24 + 8 + 8 + 1 + 4 + 4]);
    let raft = [&[6, 1][..], &bytes[1..], &change, &[0], &[0; 16], &[0]].concat();
    assert_eq!(what(&raft), DecodeError::Invalid { what: "configuration version" });
    let other = [&[bytes[0], 3][..], &bytes[2..]].concat();
    assert_eq!(what(&other), unknown("ballot rule", 3));
}

#[test]
fn lists_and_slots_are_bounded() {
    let list = DecodeError::Invalid { what: "list length" };
    let refused = |config: &Configuration| Configuration::decode(&config.encode()).unwrap_err();
    let fits = |config: &Configuration| {
        assert_eq!(Configuration::decode(&config.encode()).as_ref(), Ok(config));
    };
    let mut config = shared("a", "a");
    config.limits = vec![("x".into(), 1); LIMITS_MAX];
    fits(&config);
    config.limits.push(("x".into(), 1));
    assert_eq!(refused(&config), list);
    let mut config = shared("a", "a");
    config.change.removed = vec![(NodeId(3), "x".into()); REMOVED_MAX];
    fits(&config);
    config.change.removed.push((NodeId(3), "x".into()));
    assert_eq!(refused(&config), list);
    let mut config = shared("a", "a");
    config.members = vec![member(1, "a"); 64];
    config.change.out = vec![NodeId(1); 64];
    fits(&config);
    config.members.push(member(1, "a"));
    assert_eq!(refused(&config), list);
    config.members.pop();
    config.change.out.push(NodeId(1));
    assert_eq!(refused(&config), list);
    let mut config = shared("a", "a");
    config.change.slot_last = Some(63);
    fits(&config);
    config.change.slot_last = Some(64);
    assert_eq!(refused(&config), DecodeError::Invalid { what: "slot given last" });
}

#[test]
fn equal_configurations_have_equal_hashes_and_others_differ() {
    let (a, b) = (shared("a b", "all of (a, b)"), shared("a b", "any of (a, b)"));
    assert_eq!(a.hash(), a.clone().hash());
    assert_ne!(a.hash(), b.hash());
    // Both halves, so that more than 32 bits tell two of them apart.
    assert_ne!(a.hash() >> 32, b.hash() >> 32);
    assert_ne!(a.hash() as u32, b.hash() as u32);
    assert_ne!(a.hash() >> 32, a.hash() & u64::from(u32::MAX));
    assert_eq!(
        a.hash(),
        17_953_067_463_355_992_671,
        "compared between builds: it stays what it is"
    );
}

fn changes() -> Vec<Change> {
    let (member, quorum) = (newcomer(7, "g"), Some("majority(a, g)".to_string()));
    let (id, old) = (NodeId(7), NodeId(2));
    let urls = vec!["http://x:1".to_string(), "http://y:1".to_string()];
    vec![
        Change::Add { member: member.clone(), learner: true, quorum: None },
        Change::Add { member: member.clone(), learner: false, quorum: quorum.clone() },
        Change::Promote { id, quorum: None },
        Change::Promote { id, quorum: quorum.clone() },
        Change::Remove { id, quorum: None },
        Change::Remove { id, quorum: quorum.clone() },
        Change::Update { id, peer_urls: urls.clone() },
        Change::Replace { old, member: member.clone(), quorum: None },
        Change::Replace { old, member, quorum },
        Change::Quorum { text: "any of (a, b)".into() },
        Change::Publish { id, name: "g".into(), client_urls: urls },
    ]
}

#[test]
fn a_change_is_read_as_it_was_written() {
    for change in changes() {
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        let mut get = Get::new(&bytes);
        assert_eq!(Change::decode(&mut get).as_ref(), Ok(&change));
        assert_eq!(get.remaining(), 0);
        for cut in 0..bytes.len() {
            assert!(Change::decode(&mut Get::new(&bytes[..cut])).is_err(), "{change:?} at {cut}");
        }
    }
    for kind in [0, 8, 255] {
        let unknown = DecodeError::Unknown { what: "change", value: u64::from(kind) };
        assert_eq!(Change::decode(&mut Get::new(&[kind; 64])), Err(unknown));
    }
}

#[test]
fn a_refusal_is_read_as_it_was_written_and_says_why() {
    let why = || "because".to_string();
    let refusals = [
        (ChangeError::MemberNotFound, "member not found"),
        (ChangeError::IdExists, "member id already exists"),
        (ChangeError::PeerUrlsExist, "peer URLs already exist"),
        (ChangeError::NotLearner, "only a learner can be promoted"),
        (ChangeError::LearnerNotReady, "the learner has not caught up with the leader"),
        (ChangeError::TooManyLearners, "too many learners"),
        (ChangeError::NotEnoughStarted(why()), "because"),
        (ChangeError::Pending(why()), "because"),
        (ChangeError::Invalid(why()), "because"),
    ];
    for (error, text) in refusals {
        let mut bytes = Vec::new();
        error.encode(&mut bytes);
        assert_eq!(ChangeError::decode(&mut Get::new(&bytes)).as_ref(), Ok(&error));
        assert_eq!(error.to_string(), text);
        assert!(ChangeError::decode(&mut Get::new(&bytes[..bytes.len() - 1])).is_err());
    }
    for kind in [0, 10, 255] {
        let unknown = DecodeError::Unknown { what: "change error", value: u64::from(kind) };
        assert_eq!(ChangeError::decode(&mut Get::new(&[kind, 0, 0, 0, 0])), Err(unknown));
    }
}

#[test]
fn a_protocol_has_a_name_that_people_read() {
    assert_eq!(Protocol::Raft.to_string(), "raft");
}
