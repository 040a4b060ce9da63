//! Checkpoints that come late.

use super::cluster::{Cluster, command_put};
use base::Nanos;
use mvcc::Caller;
use replica::{Event, Reply};

fn put(c: &mut Cluster, leader: usize, key: &str) -> base::Token {
    c.event(leader, |t| Event::Propose {
        token: t,
        caller: Caller::nobody(),
        command: command_put(key, "v"),
    })
}

/// The follower's log passes everything the leader's checkpoint holds, but the leader cannot hear
/// it: it offers the checkpoint. Without an answer it waited four election timeouts, and again
/// after each (simulator, seed 5570 of the swarm).
#[test]
fn a_checkpoint_that_the_log_has_passed_is_answered_so_that_the_leader_goes_on() {
    for seed in 0..20 {
        let mut c = Cluster::new(3, seed);
        let leader = c.run_until_leader();
        let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
        c.cut.insert((follower, leader));
        for i in 0..40 {
            put(&mut c, leader, &format!("k{i}"));
            c.run_for(Nanos::from_millis(5));
        }
        c.event(leader, |_| Event::TakeCheckpoint);
        c.run_for(Nanos::from_millis(200));
        assert_eq!(c.status(follower).applied, c.status(leader).applied, "it hears the leader");
        let id = base::NodeId(follower as u64 + 1);
        c.event(leader, |_| Event::PeerLost(id));
        c.cut.clear();
        c.run_for(Nanos::from_millis(60));
        c.crash(third);
        let token = put(&mut c, leader, "after");
        c.run_for(Nanos::from_millis(500));
        let replies = c.replies.get(&(leader, token));
        let applied = replies.is_some_and(|r| matches!(r[0], Reply::Applied { .. }));
        assert!(applied, "seed {seed}: the leader waits for an answer: {replies:?}");
        assert_eq!(c.installs, 0, "seed {seed}: nothing had to be installed");
    }
}
