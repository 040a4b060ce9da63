//! `/metrics` under the names etcd's alerts and dashboards use.

use crate::cluster::{Cluster, get, outside, until};
use api::etcdserverpb as pb;
use client::method;

fn page(cluster: &Cluster, at: usize) -> String {
    let text = get(cluster.node(at).client_addr, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    text
}

fn value(page: &str, name: &str) -> f64 {
    let found: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix(name)).collect();
    let [rest] = found.as_slice() else { panic!("{name} is there once, not {found:?}") };
    rest.trim().parse().unwrap_or_else(|_| panic!("{name}: {rest}"))
}

#[test]
fn the_metrics_that_alerts_are_made_of_are_there_and_move() {
    let cluster = Cluster::start("metrics", &["a", "b", "c"]);
    let leader = cluster.leader();
    let put = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    let handled = |code: &str| format!("grpc_server_handled_total{{grpc_code=\"{code}\",{put}}} ");
    let before = page(&cluster, leader);
    outside(async {
        let to = cluster.channel(leader);
        for key in ["a", "b", ""] {
            let request = pb::PutRequest { key: key.into(), ..Default::default() };
            let answer = to.call::<pb::PutResponse>(method::kv::PUT, &request).await;
            assert_eq!(answer.is_ok(), !key.is_empty());
        }
    });
    // A leader may answer when others have it durable, before its own disk has.
    until("the leader's own fsync", || {
        let fsyncs = |page: &str| value(page, "etcd_disk_wal_fsync_duration_seconds_count ");
        let written = |page: &str| value(page, "etcd_disk_wal_write_bytes_total ");
        let now = page(&cluster, leader);
        fsyncs(&now) >= fsyncs(&before) + 1.0 && written(&now) > written(&before)
    });
    let after = page(&cluster, leader);
    assert_eq!(value(&before, &handled("OK")), 0.0);
    assert_eq!(value(&after, &handled("OK")), 2.0);
    assert_eq!(value(&after, &handled("InvalidArgument")), 1.0);
    assert_eq!(value(&after, &format!("grpc_server_started_total{{{put}}} ")), 3.0);
    let grew = |name: &str| value(&after, name) - value(&before, name);
    assert!(grew("etcd_server_proposals_committed_total ") >= 2.0);
    assert!(grew("etcd_server_proposals_applied_total ") >= 2.0);
    assert!(grew("etcd_mvcc_db_total_size_in_bytes ") > 0.0);
    assert_eq!(grew("etcd_debugging_mvcc_current_revision "), 2.0);
    assert_eq!(value(&after, "etcd_server_has_leader "), 1.0);
    assert_eq!(value(&after, "etcd_server_is_leader "), 1.0);
    assert!(value(&after, "etcd_server_leader_changes_seen_total ") >= 1.0);
    assert_eq!(value(&after, "etcd_server_proposals_failed_total "), 0.0);
    assert_eq!(value(&after, "etcd_server_proposals_pending "), 0.0);
    assert!(value(&after, "etcd_mvcc_db_total_size_in_use_in_bytes ") > 0.0);
    let peers = after.lines().filter(|line| line.starts_with("etcd_network_active_peers{")).count();
    assert_eq!(peers, 2);
    let typed = after.lines().filter(|line| line.starts_with("# TYPE "));
    let mut names: Vec<&str> = typed.filter_map(|line| line.split(' ').nth(2)).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "every metric is typed once");
}
