//! Clients that leave before they are answered, and a member that leaves before its clients.

use super::client::{Client, status};
use super::{create, put, until, with_all, with_door};
use api::etcdserverpb as pb;
use net::{KeepAlive, Limits, frame};
use std::sync::mpsc;
use std::time::Duration;
use tokio::net::TcpStream;

fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_string().into(), ..Default::default() }
}

#[test]
fn reads_of_calls_that_were_reset_or_are_late_are_never_made() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
        door.hold();
        let body = frame(&get("k"));
        let reset: Vec<_> = (0..50).map(|_| client.begin("KV/Range", &[], body.clone())).collect();
        let late: Vec<_> = (0..50)
            .map(|_| client.begin("KV/Range", &[("grpc-timeout", "50m")], body.clone()))
            .collect();
        let kept = client.begin("KV/Range", &[], body);
        until(|| door.held() == 101).await;
        drop(reset);
        for answer in late {
            let answer = answer.await.unwrap();
            assert_eq!(status(answer.headers()).unwrap().0, 4);
        }
        let before = door.reads_made.get();
        door.release();
        assert!(status(kept.await.unwrap().headers()).is_none(), "it is answered");
        assert_eq!(door.reads_made.get() - before, 1);
    });
}

/// A client on a thread of its own, so that it lives while the server's thread stands still.
fn elsewhere<T: Send + 'static>(
    test: impl AsyncFnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test())
    })
}

#[test]
fn calls_whose_time_passed_while_the_process_stood_still_change_nothing() {
    with_door(Limits::default(), |address, _| async move {
        let (say, hear) = mpsc::channel();
        let client = elsewhere(async move || {
            let mut client = Client::connect(address).await;
            let _: pb::PutResponse = client.call("KV/Put", &put("first", "v")).await.unwrap();
            say.send(()).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let write = |key: &str| frame(&put(key, "v"));
            let late = client.begin("KV/Put", &[("grpc-timeout", "300m")], write("late"));
            let ample = client.begin("KV/Put", &[("grpc-timeout", "1M")], write("ample"));
            let (late, ample) = (late.await.unwrap(), ample.await.unwrap());
            assert!(status(ample.headers()).is_none(), "this one has time");
            assert_eq!(status(late.headers()).unwrap().0, 4);
            assert_eq!(late.headers()["quorate-outcome"], "not-applied");
            for (key, count) in [("late", 0), ("ample", 1)] {
                let found: pb::RangeResponse = client.call("KV/Range", &get(key)).await.unwrap();
                assert_eq!(found.count, count, "{key}");
            }
            let soon = [("grpc-timeout", "300m")];
            // On a machine that is busy enough, other standstills may follow.
            while client.call_with::<pb::PutResponse>("KV/Put", &soon, write("soon")).await.is_err()
            {
            }
        });
        until(|| hear.try_recv().is_ok()).await;
        std::thread::sleep(Duration::from_millis(1_000));
        until(|| client.is_finished()).await;
        client.join().unwrap();
    });
}

#[test]
fn a_server_that_stops_ends_streams_answers_what_is_pending_and_closes() {
    with_all(Limits::default(), KeepAlive::default(), |stage| async move {
        let super::Stage { address, door, server, .. } = stage;
        let mut client = Client::connect(address).await;
        let idle = Client::connect(address).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut watch = client.watch().await;
        let mut renewals = client.watch_with("Lease/LeaseKeepAlive", &[]).await;
        watch.send(&create(pb::WatchCreateRequest { key: "k".into(), ..Default::default() }));
        assert!(watch.next().await.created);
        door.deaf.set(true);
        let pending = client.begin("KV/Put", &[], frame(&put("k", "v")));
        until(|| door.unanswered() == 1).await;
        server.stop();
        let stopped = (14, "etcdserver: server stopped".to_string());
        assert_eq!(watch.end().await, stopped);
        assert_eq!(renewals.end().await, stopped);
        drop((watch, renewals));
        let closed = tokio::time::timeout(Duration::from_millis(300), server.closed()).await;
        assert!(closed.is_err(), "a call is pending");
        let refused = TcpStream::connect(address).await;
        assert!(refused.is_err(), "nobody listens any more");
        door.answer_late();
        let answer = pending.await.unwrap();
        assert_eq!(status(answer.headers()).unwrap().0, 14);
        server.closed().await;
        drop((client, idle, silent));
    });
}
