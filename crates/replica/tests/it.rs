//! Clusters of whole replicas under virtual time: encoded frames, seeded delays and losses, and
//! crashes that lose what was not persisted.

#[path = "it/changes.rs"]
mod changes;
#[path = "it/checkpoints.rs"]
mod checkpoints;
#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/script.rs"]
mod script;
#[path = "it/slices.rs"]
mod slices;
#[path = "it/storm.rs"]
mod storm;

use base::{Blob, Nanos, Token};
use cluster::{Cluster, Told, command_put, range_of};
use mvcc::Caller;
use replica::{Event, RefusalReason, Reply, TraceKind};

fn applied_revision(reply: &Reply) -> i64 {
    match reply {
        Reply::Applied { result: Ok(mvcc::Response::Put(put)), .. } => put.revision,
        other => panic!("not an applied put: {other:?}"),
    }
}

#[test]
fn a_write_at_any_member_is_applied_everywhere_with_equal_hashes() {
    let mut c = Cluster::new(5, 1);
    c.run_until_leader();
    for node in 0..5 {
        let token = c.event(node, |t| Event::Propose {
            token: t,
            caller: Caller::nobody(),
            command: command_put("k", "v"),
        });
        assert_eq!(applied_revision(&c.await_reply(node, token)), node as i64 + 2);
    }
    c.run_for(Nanos::from_millis(500));
    let hashes: Vec<_> = (0..5).map(|n| (c.status(n).applied, c.status(n).chain_hash)).collect();
    assert!(hashes.windows(2).all(|w| w[0] == w[1]), "{hashes:?}");
}

#[test]
fn a_linearizable_read_at_a_follower_sees_an_acknowledged_write() {
    let mut c = Cluster::new(3, 2);
    let leader = c.run_until_leader();
    let put = c.event(leader, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: command_put("a", "1"),
    });
    c.await_reply(leader, put);
    let follower = (leader + 1) % 3;
    let read = c.read(follower, range_of("a"));
    let range = c.await_range(follower, read);
    assert_eq!(range.count, 1);
    assert_eq!(range.kvs[0].value, Blob::from(&b"1"[..]));
}

#[test]
fn nothing_acknowledged_is_lost_when_leaders_crash_in_a_row() {
    for seed in 0..20 {
        let mut c = Cluster::new(5, seed);
        c.loss_percent = 5;
        for round in 0..4i64 {
            let leader = c.run_until_leader();
            let key = format!("k{round}");
            let token = c.event(leader, |t| Event::Propose {
                token: t,
                caller: Caller::nobody(),
                command: command_put(&key, "v"),
            });
            let reply = c.await_reply(leader, token);
            let acknowledged = matches!(reply, Reply::Applied { result: Ok(_), .. });
            c.crash(leader);
            c.run_until_leader();
            c.restart(leader);
            c.run_for(Nanos::from_millis(3000));
            let at = (leader + 2) % 5;
            let read = c.read(at, range_of(&key));
            let range = c.await_range(at, read);
            assert!(!acknowledged || range.count == 1, "seed {seed} round {round} lost a write");
        }
        c.loss_percent = 0;
        c.run_for(Nanos::from_millis(5000));
        let all: Vec<_> = (0..5).map(|n| (c.status(n).applied, c.status(n).chain_hash)).collect();
        assert!(all.windows(2).all(|w| w[0] == w[1]), "seed {seed}: {all:?}");
    }
}

#[test]
fn without_a_quorum_a_new_write_is_refused_and_names_who_is_missing() {
    let mut c = Cluster::new(3, 4);
    let leader = c.run_until_leader();
    let (a, b) = ((leader + 1) % 3, (leader + 2) % 3);
    c.crash(a);
    c.crash(b);
    c.run_for(Nanos::from_millis(5000));
    let token = c.event(leader, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: command_put("x", "y"),
    });
    match c.await_reply(leader, token) {
        Reply::Refused(refusal) => {
            assert_eq!(refusal.reason, RefusalReason::NoLeader);
            assert_eq!(refusal.missing.len(), 2, "{refusal:?}");
        }
        other => panic!("a write without a quorum got {other:?}"),
    }
}

#[test]
fn a_read_that_a_known_leader_does_not_confirm_times_out_and_does_not_blame_a_missing_leader() {
    let mut c = Cluster::new(3, 9);
    let leader = c.run_until_leader();
    let mute = (leader + 1) % 3;
    c.cut.insert((mute, leader));
    c.run_for(Nanos::from_millis(1000));
    let token = c.read(mute, range_of("k"));
    match c.await_reply(mute, token) {
        Reply::Refused(refusal) => {
            assert_eq!(refusal.reason, RefusalReason::Timeout);
            assert!(refusal.leader.is_some(), "{refusal:?}");
        }
        other => panic!("a read without confirmation got {other:?}"),
    }
}

#[test]
fn a_write_in_the_log_of_a_leader_without_quorum_is_unknown() {
    let mut c = Cluster::new(3, 5);
    let leader = c.run_until_leader();
    c.crash((leader + 1) % 3);
    c.crash((leader + 2) % 3);
    let token = c.event(leader, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: command_put("x", "y"),
    });
    let reply = c.await_reply(leader, token);
    assert!(matches!(reply, Reply::Unknown(_)), "{reply:?}");
}

#[test]
fn a_forward_that_is_repeated_applies_once() {
    let mut c = Cluster::new(3, 6);
    let leader = c.run_until_leader();
    c.duplicate_percent = 100;
    let follower = (leader + 1) % 3;
    let token = c.event(follower, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: command_put("d", "1"),
    });
    assert_eq!(applied_revision(&c.await_reply(follower, token)), 2);
    c.run_for(Nanos::from_millis(3000));
    assert_eq!(c.status(leader).revision, 2, "the duplicate was applied again");
}

#[test]
fn a_tokens_answer_comes_exactly_once() {
    let mut c = Cluster::new(3, 7);
    c.run_until_leader();
    let mut tokens = Vec::new();
    for i in 0..50usize {
        let node = i % 3;
        let value = i.to_string();
        let token = c.event(node, |t| Event::Propose {
            token: t,
            caller: Caller::nobody(),
            command: command_put("k", &value),
        });
        tokens.push((node, token));
    }
    for (node, token) in tokens {
        applied_revision(&c.await_reply(node, token));
    }
    assert!(c.replies.values().all(|replies| replies.len() == 1));
    assert!(!c.replies.contains_key(&(0, Token(u64::MAX))));
}

#[test]
fn what_is_compacted_is_removed_while_nobody_writes() {
    let mut c = Cluster::new(3, 8);
    let leader = c.run_until_leader();
    for i in 0..1000 {
        let value = i.to_string();
        c.event(leader, |t| Event::Propose {
            token: t,
            caller: Caller::nobody(),
            command: command_put("k", &value),
        });
        c.run_for(Nanos::from_millis(1));
    }
    c.run_for(Nanos::from_millis(1000));
    let compact = mvcc::Command::Compact { revision: 1001 };
    let token = c.event(leader, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: compact,
    });
    let reply = c.await_reply(leader, token);
    assert!(matches!(reply, Reply::Applied { result: Ok(_), .. }), "{reply:?}");
    c.run_for(Nanos::from_millis(5000));
    let before = c.status(leader).last;
    for node in 0..3 {
        let store = c.store(node);
        assert!(!store.is_sweeping(), "node {node} waits for a writer");
        assert!(store.size_bytes() < 1000, "one version is left");
    }
    c.run_for(Nanos::from_millis(5000));
    assert_eq!(c.status(leader).last, before, "no more marks than needed");
}

#[test]
fn events_come_while_somebody_listens_and_not_after() {
    let mut c = Cluster::new(3, 10);
    let leader = c.run_until_leader();
    let mut events = |on: bool| {
        c.set_tracing(on);
        c.told.clear();
        let token = c.event(leader, |t| Event::Propose {
            token: t,
            caller: Caller::nobody(),
            command: command_put("k", "v"),
        });
        applied_revision(&c.await_reply(leader, token));
        let kind = |(_, _, told)| if let Told::Trace(kind) = told { Some(kind) } else { None };
        std::mem::take(&mut c.told).into_iter().filter_map(kind).collect::<Vec<_>>()
    };
    for on in [true, false, true] {
        let events = events(on);
        let own = events.iter().filter(|kind| matches!(kind, TraceKind::Applied { .. })).count();
        let rafts = events.iter().filter(|kind| matches!(kind, TraceKind::Raft(_))).count();
        assert_eq!((own > 0, rafts > 0, events.is_empty()), (on, on, !on), "{events:?}");
    }
}
