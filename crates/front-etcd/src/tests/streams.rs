//! What ends a call from outside: no leader, a state proven wrong, a deadline.

use super::client::{Client, status};
use super::{put, with_door};
use api::etcdserverpb as pb;
use net::{Limits, frame};
use std::time::{Duration, Instant};

const NO_LEADER: &str = "etcdserver: no leader";

#[test]
fn a_call_that_wants_a_leader_is_refused_at_once_without_one() {
    with_door(Limits::default(), |address, door| async move {
        door.leads.set(false);
        let mut client = Client::connect(address).await;
        let get = pb::RangeRequest { key: "k".into(), ..Default::default() };
        let body = frame(&get);
        let want = [("hasleader", "true")];
        let refused = client.call_with::<pb::RangeResponse>("KV/Range", &want, body.clone()).await;
        let headers = refused.unwrap_err();
        assert_eq!(status(&headers), Some((14, NO_LEADER.to_string())));
        assert_eq!(headers["quorate-outcome"], "not-applied");
        let mut watch = client.watch_with("Watch/Watch", &want).await;
        assert_eq!(watch.end().await, (14, NO_LEADER.to_string()));
        let served = client.call_with::<pb::RangeResponse>("KV/Range", &[], body).await;
        assert!(served.is_ok(), "without the metadata nothing changes");
    });
}

#[test]
fn streams_that_want_a_leader_are_cut_after_three_election_timeouts_without_one() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let want = [("hasleader", "true")];
        let mut watch = client.watch_with("Watch/Watch", &want).await;
        let mut renewals = client.watch_with("Lease/LeaseKeepAlive", &want).await;
        let mut other = client.watch_with("Watch/Watch", &[]).await;
        for watch in [&mut watch, &mut other] {
            let all = pb::WatchCreateRequest { range_end: "\0".into(), ..Default::default() };
            watch.send(&super::create(all));
            assert!(watch.next().await.created);
        }
        door.leads.set(false);
        let started = Instant::now();
        assert_eq!(watch.end().await, (14, NO_LEADER.to_string()));
        assert_eq!(renewals.end().await, (14, NO_LEADER.to_string()));
        assert!(started.elapsed() >= 2 * super::ELECTION_TIMEOUT, "not at once");
        let _: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
        assert_eq!(other.next().await.events.len(), 1, "a stream that asked for nothing goes on");
    });
}

#[test]
fn streams_end_when_the_state_of_their_member_is_proven_wrong() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        let mut renewals = client.watch_with("Lease/LeaseKeepAlive", &[]).await;
        let all = pb::WatchCreateRequest { range_end: "\0".into(), ..Default::default() };
        watch.send(&super::create(all));
        assert!(watch.next().await.created);
        door.diverged.set(true);
        let corrupt = (15, "etcdserver: corrupt cluster".to_string());
        assert_eq!(watch.end().await, corrupt);
        assert_eq!(renewals.end().await, corrupt);
        let mut late = client.watch_with("Lease/LeaseKeepAlive", &[]).await;
        assert_eq!(late.end().await, corrupt, "one that is opened afterwards too");
    });
}

#[test]
fn a_call_is_answered_when_its_own_deadline_passes() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let body = frame(&put("k", "v"));
        let soon = [("grpc-timeout", "60m")];
        let ample = [("grpc-timeout", "1M")];
        let answer = client.call_with::<pb::PutResponse>("KV/Put", &ample, body.clone()).await;
        assert!(answer.is_ok(), "what is answered in time is answered well");
        door.deaf.set(true);
        let started = Instant::now();
        let refused = client.call_with::<pb::PutResponse>("KV/Put", &soon, body.clone()).await;
        let headers = refused.unwrap_err();
        assert_eq!(status(&headers), Some((4, "context deadline exceeded".to_string())));
        assert_eq!(headers["quorate-outcome"], "unknown");
        assert!(started.elapsed() >= Duration::from_millis(60));
        // A later deadline must not delay an earlier one that comes after it.
        let mut second = Client::connect(address).await;
        let late = [("grpc-timeout", "1H")];
        let slow = async {
            let answer = second.call_with::<pb::PutResponse>("KV/Put", &late, body.clone());
            tokio::time::timeout(Duration::from_millis(300), answer).await
        };
        let quick = client.call_with::<pb::PutResponse>("KV/Put", &soon, body.clone());
        let (slow, quick) = tokio::join!(slow, quick);
        assert!(slow.is_err(), "an hour has not passed");
        assert!(quick.is_err());
    });
}

#[test]
fn a_stream_ends_at_its_deadline() {
    with_door(Limits::default(), |address, _| async move {
        let mut client = Client::connect(address).await;
        let soon = [("grpc-timeout", "50m")];
        let mut watch = client.watch_with("Watch/Watch", &soon).await;
        assert_eq!(watch.end().await, (4, "context deadline exceeded".to_string()));
    });
}
