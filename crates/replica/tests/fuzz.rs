//! Every decoder of this room under arbitrary and damaged bytes: refused, or read back exactly.

use base::codec::{Get, Put};
use base::{Ballot, Blob, ClusterTime, Incarnation, LogIndex, Nanos, NodeId, Prng, RequestId};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::{Body, Message, Recovered, Settings};
use mvcc::Caller;
use proptest::prelude::*;
use replica::dedupe::{Dedupe, ORIGINS_MAX, SEEN_MAX};
use replica::envelope::{Envelope, EnvelopeBody};
use replica::{Forwarded, PeerBody, PeerMessage, Replica, ReplicaRecovered, ReplicaSettings};

fn id(p: &mut Prng) -> RequestId {
    let (origin, incarnation) = (NodeId(1 + p.below(3)), Incarnation(p.below(3)));
    let seq = if p.below(20) == 0 { u64::MAX - p.below(2) } else { 1 + p.below(40) };
    RequestId { origin, incarnation, seq }
}

fn blob(p: &mut Prng) -> Blob {
    let len = p.below(40) as usize;
    Blob::from((0..len).map(|_| p.next_u64() as u8).collect::<Vec<_>>())
}

fn caller(p: &mut Prng) -> Caller {
    let user = if p.below(2) == 0 { Blob::default() } else { blob(p) };
    Caller::new(user, p.below(9)).expect("it is short")
}

fn forwarded(p: &mut Prng) -> Forwarded {
    Forwarded { id: id(p), caller: caller(p), command: blob(p) }
}

fn peer_message(p: &mut Prng) -> PeerMessage {
    let body = match p.below(3) {
        0 => PeerBody::Raft(Message {
            from: NodeId(p.next_u64()),
            to: NodeId(p.below(4)),
            life: base::Life::UNKNOWN,
            ballot: Ballot::new(p.next_u64(), p.below(4)),
            body: Body::ReadIndex {
                incarnation: Incarnation(p.below(9)),
                seq: p.next_u64(),
                vouches: p.below(2) == 0,
            },
        }),
        1 => PeerBody::Forward((0..p.below(5)).map(|_| forwarded(p)).collect()),
        _ => PeerBody::StateHash { index: LogIndex(p.next_u64()), chain: p.next_u64() },
    };
    PeerMessage { from: NodeId(p.below(4)), to: NodeId(p.below(4)), body }
}

fn dedupe(p: &mut Prng) -> Dedupe {
    let mut dedupe = Dedupe::default();
    for _ in 0..p.below(60) {
        dedupe.insert(id(p));
    }
    dedupe
}

/// As a checkpoint carries it.
fn extra(p: &mut Prng) -> Vec<u8> {
    let mut out = vec![2];
    out.put_u64(p.next_u64());
    out.put_ballot(Ballot::new(1 + p.below(9), p.below(9)));
    dedupe(p).encode(&mut out);
    out
}

fn mutate(bytes: &mut Vec<u8>, p: &mut Prng) {
    for _ in 0..=p.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = p.below(bytes.len() as u64) as usize;
        match p.below(5) {
            0 => bytes[at] ^= 1 << p.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, p.next_u64() as u8),
            3 => drop(bytes.remove(at)),
            _ => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xFF),
        }
    }
}

fn check_peer(bytes: &[u8]) -> bool {
    let Ok(message) = PeerMessage::decode(bytes) else { return false };
    let mut again = vec![];
    message.encode(&mut again);
    assert_eq!(again, bytes);
    true
}

fn check_envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(bytes) else { return false };
    assert_eq!(*envelope.encode(), *bytes);
    true
}

fn check_dedupe(bytes: &[u8]) -> bool {
    let mut get = Get::new(bytes);
    let Ok(mut dedupe) = Dedupe::decode(&mut get) else { return false };
    let mut again = vec![];
    dedupe.encode(&mut again);
    assert_eq!(again, bytes[..bytes.len() - get.remaining()]);
    for seq in [1, 2, 41, u64::MAX - 1, u64::MAX] {
        let id = RequestId { origin: NodeId(1), incarnation: Incarnation(2), seq };
        let known = dedupe.contains(id);
        assert_eq!(dedupe.insert(id), !known);
        assert!(dedupe.contains(id), "a number is applied at most once");
    }
    true
}

/// A machine that starts from these bytes, or says why not.
fn start(extra: Vec<u8>) -> bool {
    let member = Member {
        id: NodeId(1),
        slot: 0,
        name: "n1".into(),
        learner: false,
        peer_urls: vec![],
        client_urls: vec![],
        life: base::Life::UNKNOWN,
    };
    let settings = ReplicaSettings {
        raft: Settings {
            id: NodeId(1),
            birth: base::Birth(1),
            incarnation: Incarnation(1),
            election_timeout_min: Nanos::from_millis(1000),
            heartbeat_interval: Nanos::from_millis(100),
            seed: 1,
            append_bytes_max: 1000,
            inflight_bytes_max: 1000,
        },
        pending_max: 10,
        pending_bytes_max: 1 << 20,
        request_timeout: Nanos::from_millis(1000),
        leaderless_wait: Nanos::from_millis(1000),
        catchup_entries: 10,
        apply_budget: 1000,
        settle_versions: 20,
        settle_bytes: usize::MAX,
        trace: false,
    };
    let raft = Recovered {
        ballot: Ballot::ZERO,
        base: LogIndex(5),
        base_ballot: Ballot::new(1, 1),
        base_config: Configuration {
            protocol: cluster::Protocol::Raft,
            members: vec![member],
            quorum: "n1".into(),
            joint: None,
            rule: BallotRule::SharedTerms,
            limits: vec![],
            change: Default::default(),
        },
        entries: vec![],
        commit: LogIndex(5),
    };
    let mut store = mvcc::Store::new(mvcc::Limits::default());
    store.advance(raft.base, ClusterTime::ZERO);
    let recovered = ReplicaRecovered { raft, store, extra, known: LogIndex::ZERO };
    Replica::new(settings, recovered, Nanos(1)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_are_refused_or_read_back_exactly(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        kind in 0u8..6,
    ) {
        check_peer(&bytes);
        let mut framed = vec![1];
        framed.extend([7; 16]);
        framed.push(kind);
        framed.extend(&bytes);
        check_peer(&framed);
        check_envelope(&bytes);
        let mut framed = vec![1, 1, 0];
        framed.extend(&bytes);
        check_envelope(&framed);
        check_dedupe(&bytes);
        start([&[1], &bytes[..]].concat());
    }

    #[test]
    fn own_bytes_come_back_and_damaged_ones_do_not_panic(seed in any::<u64>()) {
        let mut p = Prng::new(seed);
        let mut bytes = vec![];
        peer_message(&mut p).encode(&mut bytes);
        prop_assert!(check_peer(&bytes));
        mutate(&mut bytes, &mut p);
        check_peer(&bytes);

        let (stamp, command) = (ClusterTime(p.next_u64()), blob(&mut p));
        let mark = p.below(2) == 0;
        let body = if mark { EnvelopeBody::Mark } else { EnvelopeBody::Command(&command) };
        let (id, caller) = (id(&mut p), caller(&mut p));
        let mut bytes = Envelope { id, stamp, caller, body }.encode().to_vec();
        prop_assert!(check_envelope(&bytes));
        mutate(&mut bytes, &mut p);
        check_envelope(&bytes);

        let mut bytes = extra(&mut p);
        prop_assert!(check_dedupe(&bytes[25..]));
        prop_assert!(start(bytes.clone()));
        let older = [&[1], &bytes[1..9], &bytes[25..]].concat();
        prop_assert!(!start(older), "another version is refused");
        mutate(&mut bytes, &mut p);
        start(bytes);
    }
}

#[test]
fn a_window_larger_than_any_that_is_written_is_refused() {
    for (origins, seen) in [(ORIGINS_MAX as u32 + 1, 0), (1, SEEN_MAX as u32 + 1)] {
        let mut bytes = vec![];
        bytes.put_u32(origins);
        [1, 1, 0].iter().for_each(|x| bytes.put_u64(*x));
        bytes.put_u32(seen);
        (1..100_000u64).for_each(|x| bytes.put_u64(x));
        assert!(Dedupe::decode(&mut Get::new(&bytes)).is_err());
    }
}
