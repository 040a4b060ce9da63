//! The Maintenance service of a running cluster.

use crate::cluster::{Cluster, WAIT, outside};
use api::etcdserverpb as pb;
use client::{Channel, Failure, method};
use std::time::{Duration, Instant};

async fn move_leader(to: &Channel, target: u64) -> Result<pb::MoveLeaderResponse, Failure> {
    let request = pb::MoveLeaderRequest { target_id: target };
    to.call(method::maintenance::MOVE_LEADER, &request).await
}

const SLOW: &str = "etcdserver: request timed out, leader transfer took too long";

/// Moves leadership to a healthy follower. The product gives that two election timeouts; a busy
/// machine may need more.
async fn hand_over(cluster: &Cluster, from: usize, to: usize) {
    let end = Instant::now() + WAIT;
    while let Err(why) = move_leader(&cluster.channel(from), cluster.node(to).id.0).await {
        assert!(matches!(&why, Failure::Status(status) if status.text == SLOW), "{why}");
        assert!(Instant::now() < end, "a healthy follower takes over");
        if cluster.leader() == to {
            return;
        }
    }
}

fn refusal(result: Result<pb::MoveLeaderResponse, Failure>) -> (u16, String) {
    match result {
        Err(Failure::Status(status)) => (status.code, status.text),
        other => panic!("a refusal, got {other:?}"),
    }
}

#[test]
fn leadership_moves_where_it_is_sent_and_only_by_the_leader() {
    let cluster = Cluster::start("move", &["a", "b", "c"]);
    let leader = cluster.leader();
    let (target, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = |at: usize| cluster.node(at).id.0;
    outside(async {
        let to_leader = cluster.channel(leader);
        let unknown = refusal(move_leader(&to_leader, 4711).await);
        assert_eq!(unknown, (9, "etcdserver: bad leader transferee".to_string()));
        let follower = refusal(move_leader(&cluster.channel(third), id(target)).await);
        assert_eq!(follower, (9, "etcdserver: not leader".to_string()));
        let same = move_leader(&to_leader, id(leader)).await.expect("it leads already");
        assert_eq!(same.header, None, "as etcd's");
        hand_over(&cluster, leader, target).await;
        let old = refusal(move_leader(&to_leader, id(third)).await);
        assert_eq!(old.1, "etcdserver: not leader", "it gave leadership away");
    });
    assert_eq!(cluster.leader(), target);
    cluster.put(third, "k", "v");
}

#[test]
fn leadership_sent_to_a_member_that_is_down_is_an_error_and_stays() {
    let mut cluster = Cluster::start("move-down", &["a", "b", "c"]);
    let leader = cluster.leader();
    let down = (leader + 1) % 3;
    let id = cluster.node(down).id.0;
    cluster.kill(down);
    let failed = outside(async { refusal(move_leader(&cluster.channel(leader), id).await) });
    assert_eq!(failed, (2, SLOW.to_string()));
    cluster.put(leader, "k", "v");
}

#[test]
fn all_members_agree_on_both_hashes() {
    let cluster = Cluster::start("hash", &["a", "b", "c"]);
    (0..20).for_each(|n| cluster.put(n % 3, &format!("k{}", n % 7), &n.to_string()));
    let revision = cluster.all(0).revision;
    let until = Instant::now() + WAIT;
    outside(async {
        loop {
            let mut hashes = Vec::new();
            for at in 0..3 {
                let to = cluster.channel(at);
                let hash: pb::HashResponse =
                    to.call(method::maintenance::HASH, &pb::HashRequest {}).await.expect("a hash");
                let request = pb::HashKvRequest { revision: 0 };
                let kv: pb::HashKvResponse =
                    to.call(method::maintenance::HASH_KV, &request).await.expect("a hash");
                hashes.push((hash.hash, kv.hash, kv.hash_revision));
            }
            // A follower applies a moment after the client was answered.
            if hashes.iter().all(|hash| *hash == hashes[0] && hash.2 == revision) {
                return assert_ne!(hashes[0].0, 0);
            }
            assert!(Instant::now() < until, "{hashes:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
