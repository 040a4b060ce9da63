//! Members that leave as planned, and clients that have left.

use super::cluster::{Cluster, WAIT};
use api::etcdserverpb as pb;
use client::{Channel, Failure, Outcome, frame, method};
use front_etcd::Front;
use server::node::{End, Node};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn put(key: String) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: vec![b'v'; 100].into(), ..Default::default() }
}

/// What a client may try again elsewhere as if it had not asked: nothing was sent, the connection
/// was told to go before the call was looked at, or the answer says that nothing was done.
fn was_not_begun(failure: &Failure) -> bool {
    match failure {
        Failure::Connect(_) => true,
        Failure::Broken(why) => why.contains("not a result of an error"),
        failure => failure.outcome() == Outcome::NotApplied,
    }
}

/// Writes through whichever endpoint works, until told to stop; what failed for good.
async fn writer(id: u64, endpoints: Vec<String>, stop: Arc<AtomicBool>) -> (u64, Vec<Failure>) {
    let channels: Vec<_> = endpoints.iter().map(|endpoint| Channel::new(endpoint)).collect();
    let (mut at, mut done, mut failed) = (id as usize, 0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let request = put(format!("{id}/{done}"));
        loop {
            let channel = &channels[at % channels.len()];
            match channel.call::<pb::PutResponse>(method::kv::PUT, &request).await {
                Ok(_) => break,
                Err(failure) if was_not_begun(&failure) && began.elapsed() < WAIT => at += 1,
                Err(failure) => {
                    failed.push(failure);
                    break;
                }
            }
        }
        done += 1;
    }
    (done, failed)
}

#[test]
fn a_rolling_restart_of_all_members_fails_no_request() {
    let mut cluster = Cluster::start("rolling", &["a", "b", "c"]);
    let endpoints: Vec<String> =
        cluster.nodes.iter().flatten().map(|n| n.client_addr.to_string()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (told, endpoints) = (Arc::clone(&stop), endpoints);
    let clients = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let spawn = |id| tokio::spawn(writer(id, endpoints.clone(), Arc::clone(&told)));
            let writers: Vec<_> = (0..16).map(spawn).collect();
            let mut all = (0, Vec::new());
            for writer in writers {
                let (done, failed) = writer.await.expect("no panic");
                all.0 += done;
                all.1.extend(failed);
            }
            all
        })
    });
    for at in 0..3 {
        std::thread::sleep(Duration::from_millis(300)); // some load on every configuration
        let began = Instant::now();
        assert_eq!(cluster.nodes[at].take().expect("runs").stop(), End::Stopped);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let node = Node::start(cluster.configs[at].clone(), Front::service).expect("starts again");
        assert!(node.wait_ready(WAIT));
        cluster.nodes[at] = Some(node);
    }
    stop.store(true, Ordering::Relaxed);
    let (done, failed) = clients.join().expect("no panic");
    assert!(failed.is_empty(), "{} of {done} failed: {failed:?}", failed.len());
    assert!(done > 100, "{done} writes say little");
}

#[test]
fn calls_that_were_late_when_the_member_got_to_them_are_not_proposed() {
    let mut cluster = Cluster::start("late", &["a"]);
    let node = cluster.nodes[0].as_ref().expect("runs");
    let channel = Arc::new(Channel::new(&node.client_addr.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        runtime.block_on(async {
            channel.connect().await.expect("it listens");
            let call = |key: String, timeout: &str| {
                let channel = Arc::clone(&channel);
                let prepared = channel.prepare(method::kv::PUT).with("grpc-timeout", timeout);
                let body = frame::encode(&put(key));
                tokio::spawn(async move { channel.raw(&prepared, body).await })
            };
            let asleep = Arc::new(AtomicBool::new(false));
            let sleeps = Arc::clone(&asleep);
            // The thread that votes stands still inside this call.
            let sleep = move |_: &replica::Replica| {
                sleeps.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_secs(1));
            };
            scope.spawn(move || node.look(sleep));
            while !asleep.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let first = call("first".into(), "1M");
            let late: Vec<_> = (0..50).map(|n| call(format!("late/{n}"), "300m")).collect();
            for answer in late {
                let answer = answer.await.expect("no panic");
                let Err(Failure::Status(status)) = answer else { panic!("{answer:?}") };
                // Who serves the client had handed it over in time, and cannot tell.
                assert_eq!((status.code, status.detail("outcome")), (4, Some("unknown")));
            }
            assert!(first.await.expect("no panic").is_ok());
            let (key, range_end) = ("late/".into(), "late0".into());
            let range = pb::RangeRequest { key, range_end, ..Default::default() };
            let found: pb::RangeResponse = channel.call(method::kv::RANGE, &range).await.unwrap();
            assert_eq!(found.count, 0);
        });
    });
    assert_eq!(cluster.nodes[0].take().expect("runs").stop(), End::Stopped);
}
