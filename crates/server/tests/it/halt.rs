//! A member that cannot apply what is committed stands still and says why, until it is stopped.

use crate::cluster::{Cluster, get, until};
use base::LogIndex;
use server::node::End;

/// Writes a record into a stopped member's journal that no build can read, and that is committed.
fn spoil(data: &std::path::Path) -> LogIndex {
    let disk = wal::RealDisk::new(data.join("journal")).expect("a directory");
    let (mut journal, found) = wal::Journal::open(disk, wal::Options::default()).expect("whole");
    let mut record = found.records.last().expect("it wrote something").clone();
    record.index = record.index.next();
    record.kind = consensus::raft::EntryKind::Data.code(); // the last may be a configuration
    record.payload = base::Blob::from(&b"\xff\xff\xff"[..]);
    let (index, entries) = (record.index, [record]);
    let ballot = found.ballot;
    let batch = wal::Batch { ballot, truncate_from: None, entries: &entries, commit: index };
    journal.append(&[batch]).expect("room");
    journal.mark().expect("durable");
    index
}

#[test]
fn a_member_that_cannot_apply_what_is_committed_says_so_until_it_is_stopped() {
    let mut cluster = Cluster::start("halt", &["solo"]);
    cluster.put(0, "k", "v");
    cluster.kill(0);
    let index = spoil(&cluster.configs[0].data_dir);
    let node = crate::cluster::start(&cluster.configs[0]);
    let at = node.client_addr;
    until("the halt", || get(at, "/metrics").contains("\nquorate_halted 1\n"));
    let health = get(at, "/health");
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(health.contains(&format!("HALTED entry {index}")), "{health}");
    assert!(get(at, "/livez").starts_with("HTTP/1.1 200"), "a restart would not help it");
    let End::Failed(why) = node.stop() else { panic!("it had halted") };
    assert!(why.contains(&format!("entry {index}")), "{why}");
}
