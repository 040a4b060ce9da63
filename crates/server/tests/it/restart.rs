//! Where a restarted member stands when it answers first.

use crate::cluster::{Cluster, outside, until};
use api::etcdserverpb as pb;
use client::{Channel, method};
use std::time::Duration;

fn serializable() -> pb::RangeRequest {
    let (key, range_end) = (b"\0".to_vec().into(), b"\0".to_vec().into());
    pb::RangeRequest { key, range_end, serializable: true, count_only: true, ..Default::default() }
}

async fn revision(to: &Channel) -> Option<i64> {
    let answer: Result<pb::RangeResponse, _> =
        to.call_within(Duration::from_secs(10), method::kv::RANGE, &serializable()).await;
    Some(answer.ok()?.header?.revision)
}

#[test]
fn the_first_answer_after_a_kill_is_no_older_than_the_last_one_before_it() {
    let mut cluster = Cluster::start("standing", &["a", "b", "c"]);
    for round in 0..3 {
        let mut last = 0;
        for n in 0..40 {
            cluster.put(0, "k", &format!("{round}.{n}"));
            if let Some(now) = outside(async { revision(&cluster.channel(1)).await }) {
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        }
        (0..3).for_each(|at| cluster.kill(at));
        (0..3).for_each(|at| cluster.restart(at));
        let first = outside(async {
            let to = cluster.channel(1);
            loop {
                if let Some(revision) = revision(&to).await {
                    break revision;
                }
            }
        });
        assert!(first >= last, "it said {last} and says {first}");
    }
}

#[test]
fn a_member_that_stopped_in_a_pause_serves_its_own_state_though_nobody_else_is_there() {
    let mut cluster = Cluster::start("standing-alone", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    let last = cluster.all(0).revision;
    until("all have it", || {
        (0..3).all(|at| cluster.node(at).status().is_some_and(|status| status.revision == last))
    });
    // The journal's mark of a pause says that there is nothing more; a busy machine writes it late.
    let mut found = None;
    for pause_ms in [300, 1000, 4000, 16_000] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        (0..3).for_each(|at| cluster.kill(at));
        cluster.restart(2);
        found = outside(async { revision(&cluster.channel(2)).await });
        if found.is_some() {
            break;
        }
        (0..2).for_each(|at| cluster.restart(at));
        cluster.put(0, "k", "v");
    }
    assert!(found >= Some(last), "{found:?} after {last}");
}

#[test]
fn a_member_stopped_in_order_serves_its_own_state_at_once() {
    let mut cluster = Cluster::start("standing-stopped", &["a", "b"]);
    for n in 0..20 {
        cluster.put(0, "k", &n.to_string());
    }
    let leader = cluster.leader();
    let follower = 1 - leader;
    let last = cluster.all(follower).revision;
    cluster.nodes[follower].take().expect("it runs").stop();
    cluster.kill(leader);
    cluster.restart(follower);
    let found = outside(async { revision(&cluster.channel(follower)).await });
    assert_eq!(found, Some(last));
}
