//! Python's etcd3, unchanged: `tests/python/stock_client.py`, one class a test.

use super::member::{Cluster, ours};
use std::path::Path;
use std::process::Command;

/// Runs a class of the script; a missing client fails the test.
#[track_caller]
fn run(cluster: &Cluster, class: &str, tests: usize) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().and_then(Path::parent).expect("crates/quorate is two levels down");
    let python = root.join("target/ci-venv/bin/python");
    assert!(
        python.exists() && root.join("target/ci-venv/requirements.txt").exists(),
        "Python's etcd3 is not installed in target/ci-venv: run .ci/tools"
    );
    let output = Command::new("timeout")
        .arg("180")
        .arg(python)
        .args(["-B", "-m", "unittest", "-v", &format!("stock_client.{class}")])
        .current_dir(here.join("tests/python"))
        .env("QUORATE_IT_ENDPOINTS", cluster.endpoints())
        .env("QUORATE_IT_VERSION", ours("3.7.0", "3.7.2"))
        .output()
        .expect("python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let ran = format!("Ran {tests} test");
    assert!(said.contains(&ran), "{tests} tests should run: {said}");
    let skipped = said.contains("skipped");
    assert_eq!(skipped, ours(false, class == "Admin"), "none is skipped: {said}");
}

#[test]
fn pythons_etcd3_puts_gets_and_deletes() {
    run(&Cluster::shared(), "Kv", 3);
}

#[test]
fn pythons_etcd3_runs_transactions_and_nested_ones() {
    run(&Cluster::shared(), "Transactions", 4);
}

#[test]
fn pythons_etcd3_watches() {
    run(&Cluster::shared(), "Watch", 4);
}

#[test]
fn pythons_etcd3_holds_leases_and_locks() {
    run(&Cluster::shared(), "Lease", 4);
}

#[test]
fn pythons_etcd3_maintains_the_cluster() {
    run(&Cluster::start(3), "Admin", 4);
}
