//! Hostile bytes and hostile messages: refused or harmless, never a panic, never more memory than
//! the input is worth.

use super::harness::config::life;
use super::harness::configuration;
use base::codec::{Get, Put};
use base::{Ballot, Birth, Blob, Incarnation, LogIndex, Nanos, NodeId, Prng};
use cluster::{BallotRule, Configuration};
use consensus::raft::*;
use proptest::prelude::*;

/// Small numbers mostly, so that they meet; sometimes the extremes.
fn number(p: &mut Prng) -> u64 {
    match p.below(12) {
        0 => u64::MAX,
        1 => u64::MAX / 2,
        2 => p.next_u64(),
        _ => p.below(6),
    }
}

fn ballot(p: &mut Prng) -> Ballot {
    Ballot::new(number(p), p.below(5))
}

fn invite(p: &mut Prng) -> Invite {
    [Invite::Unknown, Invite::Founding, Invite::Named(Birth(p.below(3)))][p.below(3) as usize]
}

fn blob(p: &mut Prng) -> Blob {
    let len = p.below(30) as usize;
    Blob::from((0..len).map(|_| p.next_u64() as u8).collect::<Vec<_>>())
}

fn entry(p: &mut Prng, index: u64, ballot: Ballot) -> Entry {
    let kind = EntryKind::from_code(1 + p.below(3) as u8).unwrap();
    let payload = match kind {
        EntryKind::Config if p.below(2) == 0 => Blob::from(config(p).encode()),
        _ => blob(p),
    };
    Entry { index: LogIndex(index), ballot, kind, payload }
}

fn config(p: &mut Prng) -> Configuration {
    let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][p.below(2) as usize];
    let voters = 1 + p.below(5);
    let mut config = configuration(voters, p.below(3), "", rule);
    if p.below(2) == 0 {
        config.joint = Some(["n1", "(", "2 of (n1,n2,n3)"][p.below(3) as usize].into());
    }
    for member in &mut config.members {
        member.life = life(p.below(3));
    }
    config.change.founding = p.below(3) == 0;
    config.limits = vec![("quota".into(), number(p))];
    config
}

fn message(p: &mut Prng) -> Message {
    let ballot_ = ballot(p);
    let index = |p: &mut Prng| LogIndex(number(p));
    let body = match p.below(10) {
        0 => Body::PreVote { last: index(p), last_ballot: ballot(p), invite: invite(p) },
        1 => Body::PreVoteReply { of: ballot(p), granted: p.below(2) == 0 },
        2 => Body::Vote { last: index(p), last_ballot: ballot(p), invite: invite(p) },
        3 => Body::VoteReply { of: ballot(p), granted: p.below(2) == 0 },
        4 => {
            let (prev, prev_ballot) = (index(p), ballot(p));
            let (mut at, mut of) = (prev.0, prev_ballot);
            let mut entries = vec![];
            for _ in 0..p.below(4) {
                let Some(next) = at.checked_add(1) else { break };
                at = next;
                of = of.max(ballot(p));
                entries.push(entry(p, at, of));
            }
            Body::Append { prev, prev_ballot, commit: index(p), round: number(p), entries }
        }
        5 => {
            let outcome = match p.below(5) {
                0 => AppendOutcome::Matched(index(p)),
                1 => AppendOutcome::Rejected {
                    prev: index(p),
                    hint: index(p),
                    hint_ballot: ballot(p),
                },
                2 => AppendOutcome::Held(index(p)),
                3 => AppendOutcome::Lacking {
                    prev: index(p),
                    hint: index(p),
                    hint_ballot: ballot(p),
                },
                _ => AppendOutcome::Stale,
            };
            Body::AppendReply { of: ballot(p), round: number(p), outcome }
        }
        6 => Body::RoundAck { of: ballot(p), round: number(p) },
        7 => Body::ReadIndex {
            incarnation: Incarnation(number(p)),
            seq: number(p),
            vouches: p.below(2) == 0,
        },
        8 => Body::ReadIndexReply {
            of: ballot(p),
            incarnation: Incarnation(number(p)),
            seq: number(p),
            index: index(p),
        },
        _ => Body::TimeoutNow,
    };
    let from = if p.below(3) == 0 { NodeId(p.below(6)) } else { ballot_.node };
    let life = life(if p.below(4) == 0 { p.below(3) } else { from.0 });
    Message { from, to: NodeId(1), life, ballot: ballot_, body }
}

/// Flips, drops and inserts bytes, or writes a huge count over four of them.
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

/// What decodes is exactly what was written: nothing is guessed, nothing is lost.
fn check_message(bytes: &[u8]) -> bool {
    let mut get = Get::new(bytes);
    let Ok(message) = Message::decode(&mut get) else { return false };
    let mut again = vec![];
    message.encode(&mut again);
    assert_eq!(again, bytes[..bytes.len() - get.remaining()]);
    true
}

fn check_config(bytes: &[u8]) {
    if let Ok(config) = Configuration::decode(bytes) {
        assert_eq!(config.encode(), bytes);
        // Whatever it says, it compiles or is refused.
        drop(config.compile());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_are_no_message_entry_or_configuration_by_luck(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        code in 0u8..14,
    ) {
        let mut framed = vec![1, code];
        framed.extend(&bytes);
        check_message(&framed);
        check_message(&bytes);
        check_config(&bytes);
        let mut get = Get::new(&bytes);
        if let Ok(entry) = Entry::decode(&mut get) {
            let mut again = vec![];
            entry.encode(&mut again);
            prop_assert_eq!(&again, &bytes[..bytes.len() - get.remaining()]);
            prop_assert_eq!(entry.size(), again.len());
        }
    }

    #[test]
    fn valid_messages_and_configurations_come_back_and_damaged_ones_do_not_panic(
        seed in any::<u64>(),
    ) {
        come_back(seed);
    }

    #[test]
    fn a_machine_survives_any_messages_in_any_role(seed in any::<u64>()) {
        survive(seed);
    }
}

/// A message and a configuration, whole and then damaged.
fn come_back(seed: u64) {
    let mut p = Prng::new(seed);
    let mut bytes = vec![];
    message(&mut p).encode(&mut bytes);
    assert!(check_message(&bytes));
    mutate(&mut bytes, &mut p);
    check_message(&bytes);
    let mut bytes = config(&mut p).encode();
    assert!(Configuration::decode(&bytes).is_ok());
    mutate(&mut bytes, &mut p);
    check_config(&bytes);
}

#[test]
fn a_configuration_in_a_later_versions_form_than_it_needs_is_refused() {
    come_back(16_392_224_080_948_460_105);
}

/// Sixty inputs to one machine, most of them from the network and nonsense.
fn survive(seed: u64) {
    let mut p = Prng::new(seed);
    let settings = Settings {
        id: NodeId(1),
        birth: Birth(1),
        incarnation: Incarnation(1),
        election_timeout_min: Nanos::from_millis(100),
        heartbeat_interval: Nanos::from_millis(20),
        seed,
        append_bytes_max: 100,
        inflight_bytes_max: 200,
    };
    let mut base_config = configuration(3, 0, "", BallotRule::SharedTerms);
    if p.below(2) == 0 {
        base_config.rule = BallotRule::TermAndNode;
    }
    let recovered = Recovered {
        ballot: Ballot::ZERO,
        base: LogIndex(0),
        base_ballot: Ballot::ZERO,
        base_config,
        entries: vec![],
        commit: LogIndex(0),
    };
    let mut raft = Raft::new(settings, recovered, Nanos(0)).unwrap();
    let (mut out, mut now) = (Ready::default(), Nanos(0));
    for step in 0..60 {
        match p.below(8) {
            0 => {
                now = raft.deadline().min(now.plus(Nanos::from_millis(500)));
                raft.tick(now, &mut out);
            }
            1 => {
                let upto = out.persist.last().map_or(base::Ticket::ZERO, |p| p.ticket);
                raft.persisted(now, upto, &mut out);
            }
            // A friend helps it to be a leader sometimes: votes for what it asks.
            2 | 3 => {
                let of = raft.ballot();
                let granted = true;
                let bodies = [
                    Body::PreVoteReply { of: Ballot::new(of.term.0 + 1, 1), granted },
                    Body::VoteReply { of, granted },
                ];
                for body in bodies {
                    let (from, to, life) = (NodeId(2), NodeId(1), life(2));
                    let message = Message { from, to, life, ballot: of, body };
                    raft.receive(now, message, &mut out);
                }
            }
            4 => {
                let data = [(EntryKind::Data, blob(&mut p))];
                let _ = raft.propose(now, data.into_iter(), &mut out);
            }
            5 => assert!(raft.read(now, step, &mut out), "there is room for so few"),
            _ => raft.receive(now, message(&mut p), &mut out),
        }
    }
    assert!(raft.commit() <= raft.last().0);
}

#[test]
fn nonsense_that_once_broke_a_machine_does_not() {
    [9_601_287_135_960_570_258].into_iter().for_each(survive);
}

#[test]
fn a_forged_count_is_refused_before_anything_is_reserved_for_it() {
    let append = Body::Append {
        prev: LogIndex(1),
        prev_ballot: Ballot::new(1, 1),
        commit: LogIndex(1),
        round: 0,
        entries: vec![],
    };
    let (from, to, life, ballot) = (NodeId(1), NodeId(2), life(1), Ballot::new(1, 1));
    let message = Message { from, to, life, ballot, body: append };
    let mut bytes = vec![];
    message.encode(&mut bytes);
    let at = bytes.len() - 4;
    bytes.truncate(at);
    bytes.put_u32(u32::MAX);
    bytes.extend([0; 1000]);
    assert!(Message::decode(&mut Get::new(&bytes)).is_err());
}
