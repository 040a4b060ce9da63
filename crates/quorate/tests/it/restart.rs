//! `kill -9` and what must survive it.

use super::member::{Cluster, ours};

#[test]
fn acknowledged_writes_survive_kill_9_of_every_member() {
    let mut cluster = Cluster::start(3);
    let all = cluster.endpoints();
    for n in 0..10 {
        let put = cluster.etcdctl(&all, &["put", &format!("key{n}"), &format!("value{n}")]);
        assert!(put.ok, "{put:?}");
    }
    cluster.kill(0);
    let put = cluster.etcdctl(&cluster.endpoint(1), &["put", "with-two", "yes"]);
    assert!(put.ok, "two of three are a quorum: {put:?}");
    cluster.kill(1);
    cluster.kill(2);
    (0..3).rev().for_each(|at| cluster.restart_without_waiting(at));
    cluster.await_all();
    for n in 0..10 {
        let get = cluster.etcdctl(&all, &["get", &format!("key{n}"), "--print-value-only"]);
        assert_eq!(get.out, format!("value{n}\n"), "{get:?}");
    }
    let get = cluster.etcdctl(&all, &["get", "with-two", "--print-value-only"]);
    assert_eq!(get.out, "yes\n", "{get:?}");
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    if ours(false, true) {
        return;
    }
    let cluster = Cluster::start(1);
    let output = cluster.run_again(0);
    assert!(!output.ok, "{output:?}");
    assert!(output.err.contains("lock") || output.out.contains("lock"), "{output:?}");
}
