//! Members die and come back under a client that knows them all.

use super::*;
use etcd_client::{PutOptions, WatchOptions};
use std::time::{Duration, Instant};

/// The place of the leader that the member at `from` names; waits until there is one.
async fn leader(cluster: &Cluster, alive: &[usize]) -> usize {
    let find = async {
        loop {
            for at in alive {
                let mut client = client_at(cluster, *at).await;
                let status = client.status().await.expect("a status");
                let own = status.header().expect("a header").member_id();
                if status.leader() == own {
                    return *at;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("a leader", find).await
}

/// Longer than a member lets a request wait: of tries given up earlier one could take effect
/// after a later one.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Puts again and again until it succeeds: the outcome of a failed try is unknown, and putting
/// the same value twice is harmless here.
async fn put_until_it_succeeds(client: &mut Client, key: &str, value: &str) {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let put = tokio::time::timeout(ANSWER_MAX, client.put(key, value, None));
        match put.await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => assert!(Instant::now() < end, "{error}"),
            Err(_) => assert!(Instant::now() < end, "no answer"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_client_of_all_members_works_on_when_the_leader_is_killed() {
    run(async {
        let mut cluster = Cluster::start(3);
        let mut client = client(&cluster).await;
        for n in 0..20 {
            client.put(format!("before/{n:02}"), n.to_string(), None).await.unwrap();
        }
        let lease = client.lease_grant(600, None).await.unwrap().id();
        let leased = Some(PutOptions::new().with_lease(lease));
        client.put("leased", "1", leased).await.unwrap();
        let dead = leader(&cluster, &[0, 1, 2]).await;
        let alive: Vec<_> = (0..3).filter(|at| *at != dead).collect();
        // A watch at a survivor goes through all of it.
        let mut survivor = client_at(&cluster, alive[0]).await;
        let prefix = WatchOptions::new().with_prefix();
        let mut watch = survivor.watch("after/", Some(prefix)).await.unwrap();
        within("the watch", watch.message()).await.unwrap();
        cluster.kill(dead);
        for n in 0..20 {
            put_until_it_succeeds(&mut client, &format!("after/{n:02}"), &n.to_string()).await;
        }
        let next = leader(&cluster, &alive).await;
        assert_ne!(next, dead);
        let mut seen = Vec::new();
        while seen.last() != Some(&19) {
            let response = within("an event", watch.message()).await.unwrap().unwrap();
            for event in response.events() {
                let value = event.kv().expect("a key").value_str().expect("text");
                seen.push(value.parse::<u32>().expect("a number"));
            }
        }
        seen.dedup(); // a repeated put is a second event
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        for at in &alive {
            let mut client = client_at(&cluster, *at).await;
            assert_eq!(below(&mut client, "before/").await.len(), 20);
            assert_eq!(below(&mut client, "after/").await.len(), 20);
            let ttl = client.lease_time_to_live(lease, None).await.unwrap();
            assert!(ttl.ttl() > 500, "the lease lives on: {ttl:?}");
        }
        // The dead one comes back and catches up.
        cluster.restart_without_waiting(dead);
        cluster.await_all();
        let mut back = client_at(&cluster, dead).await;
        let caught_up = async {
            while !back.get("after/19", None).await.is_ok_and(|get| get.count() == 1) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("the restarted member", caught_up).await;
        let mut hashes = Vec::new();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            client.get("leased", None).await.unwrap();
            hashes.push(client.hash_kv(0).await.unwrap().hash());
        }
        assert_eq!(hashes, [hashes[0]; 3]);
    });
}

#[test]
fn without_a_quorum_only_the_members_own_state_is_readable() {
    run(async {
        let mut cluster = Cluster::start(3);
        let mut client = client_at(&cluster, 0).await;
        client.put("k", "1", None).await.unwrap();
        cluster.kill(1);
        cluster.kill(2);
        let local = etcd_client::GetOptions::new().with_serializable();
        let get = within("a local read", client.get("k", Some(local))).await.unwrap();
        assert_eq!(pairs(get.kvs()), ["k=1"]);
        // Neither is answered with success; whether in time or not is another matter.
        let patience = Duration::from_secs(3);
        let put = tokio::time::timeout(patience, client.put("k", "2", None)).await;
        assert!(!matches!(put, Ok(Ok(_))), "{put:?}");
        let get = tokio::time::timeout(patience, client.get("k", None)).await;
        assert!(!matches!(get, Ok(Ok(_))), "{get:?}");
        cluster.restart_without_waiting(1);
        cluster.await_all();
        put_until_it_succeeds(&mut client, "k", "3").await;
        assert_eq!(pairs(client.get("k", None).await.unwrap().kvs()), ["k=3"]);
    });
}
