//! Background work of a node: automatic compaction, and the page of metrics.

use super::Node;
use crate::config::AutoCompaction;
use cluster::{Change, Member};
use door::{Caller, Door as _, Reason, Refusal};
use later::Promise;
use mvcc::{Command, Response};
use net::Page;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How soon what a member says of itself is known to all.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// How often the revision mode looks.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Compacts as configured for as long as the node runs; only a leader proposes.
pub(super) async fn auto_compact(node: Rc<Node>) {
    match node.config.auto_compaction {
        AutoCompaction::Off => {}
        AutoCompaction::Revision(keep) => loop {
            tokio::time::sleep(REVISION_INTERVAL).await;
            let revision = node.header().revision - keep;
            compact(&node, revision);
        },
        AutoCompaction::Periodic(span) => {
            let mut samples: VecDeque<(Instant, i64)> = VecDeque::new();
            let pause = (span / 10).clamp(Duration::from_secs(1), Duration::from_secs(3600));
            loop {
                tokio::time::sleep(pause).await;
                samples.push_back((Instant::now(), node.header().revision));
                while samples.front().is_some_and(|(at, _)| at.elapsed() >= span) {
                    let (_, revision) = samples.pop_front().expect("looked at above");
                    if samples.front().is_none_or(|(at, _)| at.elapsed() < span) {
                        compact(&node, revision);
                    }
                }
            }
        }
    }
}

/// A leader writes into the configuration what members say of themselves, its own word too: a
/// member that is down is then known to those who have not met it since they started.
pub(super) async fn publish(node: Rc<Node>) {
    loop {
        tokio::time::sleep(PUBLISH_INTERVAL).await;
        let unsaid = {
            let replica = node.replica.borrow();
            let raft = replica.raft();
            let ready = raft.leader_ready() && raft.config_is_committed();
            let config = raft.config();
            let news = |m: &Member| {
                let (name, client_urls) = node.said(m.id)?;
                let new = m.client_urls != client_urls;
                new.then_some(Change::Publish { id: m.id, name, client_urls })
            };
            let may = ready && config.joint.is_none();
            may.then(|| config.members.iter().find_map(news)).flatten()
        };
        if let Some(change) = unsaid {
            node.change(Caller::nobody(), change, Promise::to(|_| {}));
        }
    }
}

fn compact(node: &Rc<Node>, revision: i64) {
    let leads = node.replica.borrow().raft().is_leader();
    if !leads || revision <= node.replica.borrow().store().compact_revision() {
        return;
    }
    tracing::info!("auto compaction at revision {revision}");
    let answer = move |result: Option<Result<Response, Refusal>>| match result {
        None | Some(Ok(_)) => {}
        Some(Err(refusal)) => {
            if !matches!(refusal.reason, Reason::Store(_)) {
                tracing::warn!("auto compaction at {revision}: {refusal}");
            }
        }
    };
    node.write(Caller::nobody(), Command::Compact { revision }, Promise::to(answer));
}

impl Node {
    /// What only the node knows of itself, under etcd's names; the front adds the facts of
    /// `Door::status` before it.
    pub(super) fn metrics_page(&self) -> String {
        let page = Page::default();
        let replica = self.replica.borrow();
        let (status, store) = (replica.status(), replica.store());
        page.line("# TYPE etcd_server_id gauge");
        page.line(format_args!("etcd_server_id{{server_id=\"{:x}\"}} 1", status.id.0));
        page.counter("etcd_server_leader_changes_seen_total", self.metrics.leader_changes.get());
        page.gauge("etcd_server_proposals_pending", status.pending);
        page.counter("etcd_server_proposals_failed_total", self.metrics.proposals_failed.get());
        page.counter("etcd_server_read_indexes_failed_total", self.metrics.reads_failed.get());
        page.gauge("etcd_debugging_mvcc_compact_revision", store.compact_revision());
        self.disk_metrics.sync.write("etcd_disk_wal_fsync_duration_seconds", &page);
        let load = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        page.counter("etcd_disk_wal_write_bytes_total", load(&self.disk_metrics.write_bytes));
        page.counter("quorate_disk_wal_batches_total", load(&self.disk_metrics.batches));
        page.counter("quorate_disk_wal_entries_total", load(&self.disk_metrics.entries));
        page.gauge("quorate_repairing", u8::from(status.repairing));
        page.gauge("quorate_journal_bytes", self.checkpoint.borrow().journal_bytes);
        page.counter("etcd_network_peer_received_bytes_total", {
            self.peers.state.received_bytes.get()
        });
        page.line("# TYPE etcd_network_peer_sent_bytes_total counter");
        for link in self.peers.members.links() {
            let (id, n) = (link.peer.0, link.sent_bytes.get());
            page.line(format_args!("etcd_network_peer_sent_bytes_total{{To=\"{id:x}\"}} {n}"));
        }
        let peers = |name: &str, value: &dyn Fn(&crate::peer::Link) -> u8| {
            page.line(format_args!("# TYPE {name} gauge"));
            for link in self.peers.members.links() {
                let (local, remote, n) = (status.id.0, link.peer.0, value(&link));
                page.line(format_args!("{name}{{Local=\"{local:x}\",Remote=\"{remote:x}\"}} {n}"));
            }
        };
        peers("etcd_network_known_peers", &|_| 1);
        peers("etcd_network_active_peers", &|link| u8::from(link.is_connected()));
        page.into_text()
    }
}
