//! Long entries: applied in slices, while everything that is not ordered behind them goes on.

use super::cluster::{Cluster, command_put};
use base::{Blob, Nanos, Token};
use mvcc::{Caller, Command, DeleteRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use replica::{Event, Reply};

const KEYS: u64 = 1000;

fn all() -> RangeRequest {
    RangeRequest {
        key: Blob::from(&b"k"[..]),
        range_end: Blob::from(&b"l"[..]),
        count_only: true,
        ..RangeRequest::default()
    }
}

fn propose(c: &mut Cluster, node: usize, command: Command) -> Token {
    c.event(node, |token| Event::Propose { token, caller: Caller::nobody(), command })
}

fn delete_all() -> Command {
    let RangeRequest { key, range_end, .. } = all();
    Command::Delete(DeleteRequest { key, range_end, prev_kv: false })
}

fn shown(c: &Cluster, node: usize) -> i64 {
    assert!(c.replica(node).is_current());
    c.store(node).view().read(&all()).expect("a plain range").count
}

fn replied(c: &Cluster, node: usize, token: Token) -> Option<Reply> {
    c.replies.get(&(node, token)).map(|replies| replies[0].clone())
}

/// A thousand keys at three members that do one unit a step.
fn filled(seed: u64) -> (Cluster, usize) {
    let mut c = Cluster::new(3, seed);
    for node in 0..3 {
        c.crash(node);
    }
    c.apply_budget = 1;
    (0..3).for_each(|node| c.restart(node));
    let leader = c.run_until_leader();
    for part in 0..KEYS / 100 {
        let put = |n: u64| {
            let key = Blob::from(format!("k{:04}", part * 100 + n).as_bytes());
            RequestOp::Put(PutRequest { key, ..PutRequest::default() })
        };
        let txn = TxnRequest { success: (0..100).map(put).collect(), ..TxnRequest::default() };
        let token = propose(&mut c, leader, Command::Txn(txn));
        assert!(matches!(c.await_reply(leader, token), Reply::Applied { result: Ok(_), .. }));
    }
    c.run_for(Nanos::from_millis(500));
    (c, leader)
}

/// From here on these take 5 ms for a step, and five seconds for the delete of all.
fn slow_down(c: &mut Cluster, nodes: impl IntoIterator<Item = usize>) {
    c.apply_pause = nodes.into_iter().map(|node| (node, Nanos::from_millis(5))).collect();
}

#[test]
fn while_a_thousand_keys_are_deleted_a_leader_keeps_its_office_and_shows_the_state_before() {
    for seed in 0..6 {
        let (mut c, leader) = filled(seed);
        slow_down(&mut c, 0..3);
        let follower = (leader + 1) % 3;
        let before: Vec<_> = (0..3).map(|node| c.status(node)).collect();
        let deleted = propose(&mut c, leader, delete_all());
        c.run_for(Nanos::from_millis(50));
        let behind = propose(&mut c, follower, command_put("behind", "it"));
        let linearizable = [leader, follower].map(|node| (node, c.read(node, all())));
        // Some election timeouts; the events that come in between are steps too.
        for _ in 0..25 {
            c.run_for(Nanos::from_millis(100));
            for (node, was) in before.iter().enumerate() {
                let status = c.status(node);
                assert_eq!(status.ballot, was.ballot, "seed {seed}: nobody campaigns");
                assert_eq!(status.leader, was.leader, "seed {seed}: everybody hears the leader");
                assert_eq!((status.applied, status.revision), (was.applied, was.revision));
                assert_eq!(status.chain_hash, was.chain_hash);
                assert!(status.commit > status.applied && c.replica(node).is_applying());
                assert_eq!(shown(&c, node), KEYS as i64, "seed {seed}: all of it, or nothing");
            }
            for node in [leader, follower] {
                let token = c.event(node, |token| Event::Confirm { token });
                c.run_for(Nanos::from_millis(20));
                let confirmed = replied(&c, node, token).expect("who leads is confirmed meanwhile");
                assert!(matches!(confirmed, Reply::Barrier), "{confirmed:?}");
            }
            assert!(replied(&c, leader, deleted).is_none());
            assert!(replied(&c, follower, behind).is_none());
            for (node, token) in linearizable {
                assert!(replied(&c, node, token).is_none(), "seed {seed}: it is ordered behind");
            }
        }
        let Reply::Applied { result: Ok(mvcc::Response::Delete(answer)), .. } =
            c.await_reply(leader, deleted)
        else {
            panic!("seed {seed}: not deleted")
        };
        assert_eq!(answer.deleted, KEYS as i64);
        assert!(matches!(c.await_reply(follower, behind), Reply::Applied { result: Ok(_), .. }));
        for (node, token) in linearizable {
            assert_eq!(c.await_range(node, token).count, 0, "seed {seed}");
        }
        c.run_for(Nanos::from_millis(500));
        for node in 0..3 {
            assert!(!c.replica(node).is_applying(), "a member with nothing to do does not spin");
        }
    }
}

#[test]
fn a_checkpoint_taken_meanwhile_is_of_the_last_applied_entry_and_a_restart_begins_again() {
    let (mut c, leader) = filled(7);
    slow_down(&mut c, 0..3);
    let follower = (leader + 1) % 3;
    let before = c.status(follower);
    let deleted = propose(&mut c, leader, delete_all());
    c.run_for(Nanos::from_millis(1000));
    assert!(c.replica(follower).is_applying());
    c.event(follower, |_| Event::TakeCheckpoint);
    c.run_for(Nanos::from_millis(200));
    assert_eq!(c.checkpointed(follower), Some((before.applied, before.revision)));
    c.crash(follower);
    c.restart(follower);
    c.await_reply(leader, deleted);
    // Had the window of the checkpoint held the delete it would count as a repetition.
    c.apply_pause.clear();
    c.run_for(Nanos::from_millis(3000));
    let (one, other) = (c.status(leader), c.status(follower));
    assert_eq!((one.applied, one.content_hash), (other.applied, other.content_hash));
    let token = c.read(follower, all());
    assert_eq!(c.await_range(follower, token).count, 0);
}

#[test]
fn a_checkpoint_that_is_installed_meanwhile_takes_the_place_of_the_entry_under_way() {
    for seed in 0..6 {
        let (mut c, leader) = filled(seed);
        let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
        slow_down(&mut c, [follower]);
        let deleted = propose(&mut c, leader, delete_all());
        c.await_reply(leader, deleted);
        c.run_for(Nanos::from_millis(200));
        assert!(c.replica(follower).is_applying());
        for other in [leader, third] {
            c.cut.insert((other, follower));
            c.cut.insert((follower, other));
        }
        // The others forget what the follower has not.
        for n in 0..30 {
            let token = propose(&mut c, leader, command_put(&format!("k{n}"), "later"));
            c.await_reply(leader, token);
        }
        c.event(leader, |_| Event::TakeCheckpoint);
        c.run_for(Nanos::from_millis(100));
        assert!(c.replica(follower).is_applying() && c.installs == 0);
        c.cut.clear();
        c.run_for(Nanos::from_millis(2000));
        assert_eq!(c.installs, 1, "seed {seed}");
        assert!(!c.replica(follower).is_applying(), "seed {seed}: that entry is in the checkpoint");
        let (one, other) = (c.status(leader), c.status(follower));
        assert_eq!((one.applied, one.content_hash), (other.applied, other.content_hash));
        assert_eq!(one.chain_hash, other.chain_hash);
    }
}
