//! What is left of a member that has ended.

use crate::cluster::{Cluster, outside};
use api::etcdserverpb as pb;
use base::Blob;
use client::method;
use mvcc::{Command, PutRequest};
use server::node::End;
use std::sync::mpsc;
use std::time::Duration;

/// Longer than any request waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Pending writes end with their member: the clients' with their sockets, and whoever asked
/// through the handle is told.
#[test]
fn a_member_that_is_killed_leaves_nobody_waiting_for_an_answer() {
    let mut cluster = Cluster::start("killed", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    (1..3).for_each(|at| cluster.kill(at));
    let remote = cluster.node(0).remote();
    let (tell, told) = mpsc::channel();
    outside(async {
        // Nobody is left to commit anything.
        let channel = cluster.channel(0);
        let put = pb::PutRequest { key: "k".into(), ..Default::default() };
        let call = channel.call::<pb::PutResponse>(method::kv::PUT, &put);
        let waits = tokio::time::timeout(Duration::from_millis(300), call).await;
        assert!(waits.is_err(), "it waits for a quorum");
        let waits = tokio::spawn(async move {
            let put = pb::PutRequest { key: "k".into(), ..Default::default() };
            channel.call::<pb::PutResponse>(method::kv::PUT, &put).await.is_err()
        });
        std::thread::spawn(move || {
            let put = PutRequest { key: Blob::from(&b"k"[..]), ..PutRequest::default() };
            let _ = tell.send(remote.propose(Command::Put(put)));
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!waits.is_finished() && told.try_recv().is_err(), "they wait for a quorum");
        cluster.kill(0);
        assert!(waits.await.expect("no panic"), "its connection has ended");
    });
    let answer = told.recv_timeout(ANSWER_MAX).expect("it hears that the member has ended");
    assert!(answer.is_err());
}

#[test]
fn with_a_panic_of_the_voting_thread_all_ends_and_its_ports_are_free() {
    let mut cluster = Cluster::start("panicked", &["solo"]);
    cluster.put(0, "k", "v");
    for _ in 0..5 {
        let node = cluster.nodes[0].take().expect("it runs");
        let remote = node.remote();
        let _: Option<()> = node.look(|_| panic!("on purpose"));
        let put = PutRequest { key: Blob::from(&b"k"[..]), ..PutRequest::default() };
        assert!(remote.propose(Command::Put(put)).is_err(), "it hears of the end");
        let End::Failed(why) = node.stop() else { panic!("it panicked") };
        assert!(why.contains("panicked"), "{why}");
        let at = &cluster.configs[0].listen_client_urls[0];
        let bound = std::net::TcpListener::bind(at.authority());
        drop(bound.unwrap_or_else(|error| panic!("{at:?}: {error}")));
        cluster.restart(0);
        cluster.put(0, "k", "v");
    }
}
