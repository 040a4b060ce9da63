//! Leases from grant to expiry.

use super::*;
use etcd_client::{EventType, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, WatchOptions};
use std::time::{Duration, Instant};

fn with_lease(id: i64) -> Option<PutOptions> {
    Some(PutOptions::new().with_lease(id))
}

fn with_keys() -> Option<LeaseTimeToLiveOptions> {
    Some(LeaseTimeToLiveOptions::new().with_keys())
}

#[test]
fn grants_take_an_id_or_choose_one_and_refuse_as_etcd_does() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let chosen = client.lease_grant(600, None).await.unwrap();
        assert!(chosen.id() > 0 && chosen.ttl() == 600 && chosen.error().is_empty());
        let own = || Some(LeaseGrantOptions::new().with_id(424_242));
        let granted = client.lease_grant(600, own()).await.unwrap();
        assert_eq!((granted.id(), granted.ttl()), (424_242, 600));
        let exists = (FAILED_PRECONDITION, "etcdserver: lease already exists");
        assert_refused(client.lease_grant(600, own()).await, exists);
        let large = (OUT_OF_RANGE, "etcdserver: too large lease TTL");
        assert_refused(client.lease_grant(9_000_000_001, None).await, large);
        // Shorter ones are raised to 1.5 election timeouts, rounded up.
        for seconds in [0, 1] {
            assert_eq!(client.lease_grant(seconds, None).await.unwrap().ttl(), 2);
        }
        client.lease_revoke(424_242).await.unwrap();
        assert_refused(client.lease_revoke(424_242).await, NO_LEASE);
    });
}

#[test]
fn a_lease_knows_its_keys_and_takes_them_along_in_one_revision() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let lease = client.lease_grant(600, None).await.unwrap().id();
        let other = client.lease_grant(600, None).await.unwrap().id();
        for key in ["c", "a", "b"] {
            client.put(format!("rlease/{key}"), key, with_lease(lease)).await.unwrap();
        }
        client.put("rlease/moved", "1", with_lease(lease)).await.unwrap();
        client.put("rlease/moved", "2", with_lease(other)).await.unwrap();
        client.put("rlease/freed", "1", with_lease(lease)).await.unwrap();
        client.put("rlease/freed", "2", None).await.unwrap();
        let ttl = client.lease_time_to_live(lease, with_keys()).await.unwrap();
        assert_eq!((ttl.id(), ttl.granted_ttl()), (lease, 600));
        assert!((500..=600).contains(&ttl.ttl()), "{ttl:?}");
        let mut keys = ttl.keys().to_vec();
        keys.sort_unstable(); // etcd's come in any order
        assert_eq!(keys, [&b"rlease/a"[..], b"rlease/b", b"rlease/c"]);
        let ttl = client.lease_time_to_live(lease, None).await.unwrap();
        assert!(ttl.keys().is_empty(), "keys come on request");
        let before = revision(client.get("rlease/", None).await.unwrap().header());
        let revoked = client.lease_revoke(lease).await.unwrap();
        assert!(revision(revoked.header()) > before);
        assert_eq!(below(&mut client, "rlease/").await, ["rlease/freed=2", "rlease/moved=2"]);
        let gone = client.lease_time_to_live(lease, with_keys()).await.unwrap();
        assert_eq!((gone.ttl(), gone.granted_ttl(), gone.keys().len()), (-1, 0, 0));
        client.lease_revoke(other).await.unwrap();
        assert_eq!(below(&mut client, "rlease/").await, ["rlease/freed=2"]);
    });
}

#[test]
fn every_member_lists_the_leases_it_knows() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let id = client.lease_grant(600, None).await.unwrap().id();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            // A member's list may be behind its cluster's; a linearizable read waits for it.
            client.get("rlist", None).await.unwrap();
            let list = client.leases().await.unwrap();
            assert!(list.leases().iter().any(|lease| lease.id() == id), "{list:?}");
            assert!(revision(list.header()) > 0);
        }
    });
}

#[test]
fn keep_alives_through_any_member_outlive_the_lease_and_end_with_it() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let start = Instant::now();
        // Long enough for a busy machine to renew it in time.
        let id = client.lease_grant(5, None).await.unwrap().id();
        client.put("ralive/a", "1", with_lease(id)).await.unwrap();
        let mut streams = Vec::new();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            streams.push(within("a stream", client.lease_keep_alive(id)).await.unwrap());
        }
        let mut renewed = 0;
        while start.elapsed() < Duration::from_secs(11) {
            for (keeper, stream) in &mut streams {
                keeper.keep_alive().await.unwrap();
                let answer = within("an answer", stream.message()).await.unwrap().unwrap();
                assert_eq!((answer.id(), answer.ttl()), (id, 5), "renewal {renewed}");
                renewed += 1;
                // Paces the renewals well below the lease's time.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert_eq!(below(&mut client, "ralive/").await, ["ralive/a=1"]);
        client.lease_revoke(id).await.unwrap();
        for (keeper, stream) in &mut streams {
            keeper.keep_alive().await.unwrap();
            let answer = within("an answer", stream.message()).await.unwrap().unwrap();
            assert_eq!((answer.id(), answer.ttl()), (id, 0), "gone is no error");
        }
        let unknown = client.lease_keep_alive(id).await;
        assert!(matches!(unknown, Err(Error::LeaseKeepAliveError(_))), "{unknown:?}");
    });
}

#[test]
fn an_expired_lease_takes_its_keys_but_never_early() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let prefix = WatchOptions::new().with_prefix();
        let mut stream = client.watch("rexpire/", Some(prefix)).await.unwrap();
        within("the watch", stream.message()).await.unwrap();
        // The answer may come late: the lease is no older than the request for it.
        let asked = Instant::now();
        let id = client.lease_grant(4, None).await.unwrap().id();
        for key in ["b", "a"] {
            client.put(format!("rexpire/{key}"), "1", with_lease(id)).await.unwrap();
        }
        let (mut puts, mut deleted) = (0, Vec::new());
        while deleted.len() < 2 {
            let response = within("an event", stream.message()).await.unwrap().unwrap();
            for event in response.events() {
                let kv = event.kv().expect("a key");
                match event.event_type() {
                    EventType::Put => puts += 1,
                    EventType::Delete => deleted.push((kv.mod_revision(), kv.key().to_vec())),
                }
            }
        }
        let lived = asked.elapsed();
        assert!(lived >= Duration::from_secs(4), "only {lived:?}");
        assert_eq!(puts, 2);
        let at = deleted[0].0;
        assert_eq!(deleted, [(at, b"rexpire/a".to_vec()), (at, b"rexpire/b".to_vec())]);
        let gone = client.lease_time_to_live(id, None).await.unwrap();
        assert_eq!(gone.ttl(), -1);
        assert_refused(client.put("rexpire/c", "1", with_lease(id)).await, NO_LEASE);
    });
}
