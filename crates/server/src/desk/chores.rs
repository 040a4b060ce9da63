//! Background work of the desk: automatic compaction, a disk that runs full, and the member's own
//! pages.

use super::Desk;
use crate::config::AutoCompaction;
use crate::node::input::Input;
use crate::record;
use base::Nanos;
use door::{Caller, Door as _, Reason, Refusal};
use later::{Asker, Later, Promise};
use member::compaction::{Compactor, REVISION_INTERVAL, Rule, Seen};
use member::room::{self, Act, Keeper, LOOK_INTERVAL};
use mvcc::{Command, Response};
use net::{Host, HttpReply, HttpRequest, Page};
use replica::Event;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn since(start: Instant) -> Nanos {
    u64::try_from(start.elapsed().as_nanos()).map_or(Nanos(u64::MAX), Nanos)
}

/// Has what grows refused while the disk is low, for as long as the member runs.
pub(super) async fn look_after_room(desk: Rc<Desk>) {
    let (start, mut keeper) = (Instant::now(), Keeper::default());
    let asked = Rc::new(());
    loop {
        tokio::time::sleep(Duration::from_nanos(LOOK_INTERVAL.0)).await;
        let (own, is_low) = (desk.member, desk.room.is_low());
        let seen = desk.board.look(|picture| {
            let (leads, words) = (picture.leads, picture.words.clone());
            room::Seen { is_low, leads, own, words }
        });
        let Some(act) = keeper.look(since(start), &seen) else { continue };
        let to = match act {
            Act::HandOver(to) => Some(to),
            _ => None,
        };
        match act.command() {
            // The one before may wait for room itself.
            Some(_) if Rc::strong_count(&asked) > 1 => {}
            Some(command) => {
                ask_itself(&desk, ("the alarm of a low disk", Rc::clone(&asked)), command);
            }
            None => {
                tracing::error!("the disk is low: another member is to lead");
                let _ = desk.voter.send(Input::Event(Event::TransferLeader { to }));
            }
        }
    }
}

/// Compacts as configured for as long as the member runs.
pub(super) async fn auto_compact(desk: Rc<Desk>) {
    let start = Instant::now();
    let now = || since(start);
    let mut compactor = Compactor::new(rule(desk.config.auto_compaction), now());
    while let Some(due) = compactor.due() {
        tokio::time::sleep(Duration::from_nanos(due.since(now()).0)).await;
        let revision = desk.header().revision;
        let seen = desk.board.look(|picture| Seen {
            revision,
            compacted: picture.compact_revision,
            leads: picture.leads,
        });
        if let Some(revision) = compactor.look(now(), seen) {
            tracing::info!("auto compaction at revision {revision}");
            let once = Rc::new(());
            ask_itself(&desk, ("auto compaction", once), Command::Compact { revision });
        }
    }
}

fn rule(mode: AutoCompaction) -> Rule {
    match mode {
        AutoCompaction::Off => Rule::Off,
        AutoCompaction::Revision(keep) => Rule::Revision { keep, every: REVISION_INTERVAL },
        AutoCompaction::Periodic(span) => {
            let span = u64::try_from(span.as_nanos()).map_or(Nanos(u64::MAX), Nanos);
            Rule::Periodic { span }
        }
    }
}

/// As a client of nobody; `held` is let go of with the answer.
fn ask_itself(desk: &Rc<Desk>, (what, held): (&'static str, Rc<()>), command: Command) {
    let answer = move |result: Option<Result<Response, Refusal>>| match result {
        None | Some(Ok(_)) => drop(held),
        Some(Err(refusal)) => {
            if !matches!(refusal.reason, Reason::Store(_)) {
                tracing::warn!("{what}: {refusal}");
            }
        }
    };
    desk.write(Caller::nobody(), command, Promise::to(answer));
}

impl Host for Desk {
    /// The recording is read and written down apart.
    fn page(&self, request: &HttpRequest) -> Option<Later<HttpReply>> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if request.method != "GET" || path != record::PATH {
            return None;
        }
        let (recording, query) = (Arc::clone(&self.recording), query.to_owned());
        let made =
            door::apart(self, Asker::nobody(), move |_| Some(record::page(&recording, &query)));
        let reply = |(code, text): (u16, String)| {
            let content_type =
                if code == 200 { "application/jsonl" } else { "text/plain; charset=utf-8" };
            Later::now(HttpReply::whole(code, content_type, text))
        };
        Some(made.then(Asker::nobody(), reply))
    }

    /// What only the member knows of itself, under etcd's names; the front adds the facts of
    /// `Door::status` before it.
    fn metrics(&self) -> String {
        let page = Page::default();
        let picture = self.board.look(Clone::clone);
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let own = self.member.0;
        page.line("# TYPE etcd_server_id gauge");
        page.line(format_args!("etcd_server_id{{server_id=\"{own:x}\"}} 1"));
        page.counter("etcd_server_leader_changes_seen_total", self.metrics.leader_changes.get());
        page.gauge("etcd_server_proposals_pending", picture.pending);
        page.counter("etcd_server_proposals_failed_total", self.metrics.proposals_failed.get());
        page.counter("etcd_server_read_indexes_failed_total", self.metrics.reads_failed.get());
        page.gauge("etcd_debugging_mvcc_compact_revision", picture.compact_revision);
        self.disk_metrics.sync.write("etcd_disk_wal_fsync_duration_seconds", &page);
        page.counter("etcd_disk_wal_write_bytes_total", load(&self.disk_metrics.write_bytes));
        page.counter("quorate_disk_wal_batches_total", load(&self.disk_metrics.batches));
        page.counter("quorate_disk_wal_entries_total", load(&self.disk_metrics.entries));
        let cache = self.archive.cache().stats();
        page.gauge("quorate_value_cache_bytes", cache.bytes);
        page.gauge("quorate_value_cache_versions", cache.versions);
        page.counter("quorate_value_cache_hits_total", cache.found);
        page.counter("quorate_value_cache_misses_total", cache.missed);
        page.gauge("quorate_value_files", self.archive.count());
        page.gauge("quorate_value_file_bytes", self.archive.bytes());
        page.gauge("quorate_damaged_ranges", self.archive.wounds().len());
        page.counter("quorate_scrub_bytes_total", load(&self.disk_metrics.scrub_bytes));
        page.counter("quorate_scrub_passes_total", load(&self.disk_metrics.scrubs));
        page.gauge("quorate_scrub_last_timestamp_seconds", load(&self.disk_metrics.scrub_last));
        page.gauge("quorate_disk_free_bytes", self.room.free_bytes());
        page.gauge("quorate_disk_low", u8::from(self.room.is_low()));
        page.gauge("quorate_repairing", u8::from(picture.repairing));
        page.counter("quorate_trace_events_total", self.recording.recorded.get());
        page.counter("quorate_trace_dropped_total", self.recording.dropped.get());
        page.gauge("quorate_journal_bytes", load(&self.disk_metrics.journal_bytes));
        let received = self.metrics.received_bytes.get();
        page.counter("etcd_network_peer_received_bytes_total", received);
        let links = self.metrics.links();
        page.line("# TYPE etcd_network_peer_sent_bytes_total counter");
        for link in &links {
            let (id, n) = (link.peer.0, link.sent_bytes.get());
            page.line(format_args!("etcd_network_peer_sent_bytes_total{{To=\"{id:x}\"}} {n}"));
        }
        let peers = |name: &str, value: &dyn Fn(&crate::metrics::LinkMetrics) -> u8| {
            page.line(format_args!("# TYPE {name} gauge"));
            for link in &links {
                let (remote, n) = (link.peer.0, value(link));
                page.line(format_args!("{name}{{Local=\"{own:x}\",Remote=\"{remote:x}\"}} {n}"));
            }
        };
        peers("etcd_network_known_peers", &|_| 1);
        peers("etcd_network_active_peers", &|link| u8::from(link.is_connected()));
        page.into_text()
    }
}
