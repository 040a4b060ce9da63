//! What a server is started with, after flags, environment and defaults have been merged.

use crate::record::RECORD_MAX;
use base::limits::{REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MAX};
pub use net::KeepAlive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
pub use store::OnDamage;
pub use url::{Url, parse_urls, resolve, same_urls};

mod url;

/// Why a configuration cannot be used: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// `--initial-cluster-state`; ignored once the data directory exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

/// `--auto-compaction-mode` and `--auto-compaction-retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    /// Keep the history of this span.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(i64),
}

/// One member named by `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    pub name: String,
    pub peer_urls: Vec<Url>,
}

/// Everything a server needs to start. Units are in the field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    pub listen_client_urls: Vec<Url>,
    pub advertise_client_urls: Vec<Url>,
    pub listen_peer_urls: Vec<Url>,
    pub advertise_peer_urls: Vec<Url>,
    pub initial_cluster: Vec<InitialMember>,
    pub cluster_state: ClusterState,
    pub cluster_token: String,
    /// Quorum system text in member names; `None` means a majority of the initial members.
    pub quorum: Option<String>,
    pub heartbeat_interval_ms: u64,
    pub election_timeout_ms: u64,
    /// Floor, in log entries, between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept in memory below a checkpoint, so that a slow peer needs no transfer.
    pub snapshot_catchup_entries: u64,
    /// Journal bytes below which no checkpoint is taken, however many entries there are.
    pub checkpoint_bytes_min: u64,
    /// Versions in maps before they are merged with the others into files, at least, or bytes of
    /// keys and values, whichever comes first. About twice as many bytes are in memory at most, as
    /// more is made while they are merged.
    pub settle_versions: usize,
    pub settle_bytes: usize,
    /// Values in memory beside those that were made lately.
    pub cache_bytes: u64,
    /// What grows the data is refused while fewer bytes are free on its disk; none: 256 MiB, or a
    /// twentieth of the disk where that is less.
    pub min_free_bytes: Option<u64>,
    /// In which everything that is kept is read once, to find damage; zero: never.
    pub scrub_interval: Duration,
    pub quota_backend_bytes: u64,
    pub auto_compaction: AutoCompaction,
    pub max_txn_ops: usize,
    pub max_request_bytes: usize,
    /// Whether a member whose disk is damaged fetches what it lost from the others.
    pub on_damage: OnDamage,
    /// How often a quiet watcher that asked for it hears of progress.
    pub watch_progress_interval: Duration,
    /// How clients that went silent are found.
    pub keep_alive: KeepAlive,
    /// Longest a planned stop may wait: for another leader, and for clients to go elsewhere.
    pub stop_grace: Duration,
    /// Trace events kept for `/debug/trace`, the last so many; 0 keeps none.
    pub record: usize,
}

impl Config {
    /// The configuration of `serve` without flags: one durable member on etcd's ports.
    pub fn single(name: &str) -> Self {
        let url = |port| Url { host: "localhost".to_string(), port };
        Self {
            name: name.to_string(),
            data_dir: PathBuf::from(format!("{name}.quorate")),
            listen_client_urls: vec![url(2379)],
            advertise_client_urls: vec![url(2379)],
            listen_peer_urls: vec![url(2380)],
            advertise_peer_urls: vec![url(2380)],
            initial_cluster: vec![InitialMember {
                name: name.to_string(),
                peer_urls: vec![url(2380)],
            }],
            cluster_state: ClusterState::New,
            cluster_token: "etcd-cluster".to_string(),
            quorum: None,
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            checkpoint_bytes_min: 64 << 20,
            settle_versions: 1 << 16,
            settle_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            min_free_bytes: None,
            scrub_interval: Duration::from_secs(7 * 24 * 3600),
            quota_backend_bytes: 2 << 30,
            auto_compaction: AutoCompaction::Off,
            max_txn_ops: 128,
            max_request_bytes: REQUEST_BYTES_DEFAULT,
            on_damage: OnDamage::Repair,
            watch_progress_interval: Duration::from_secs(600),
            keep_alive: KeepAlive::default(),
            stop_grace: Duration::from_secs(5),
            record: 0,
        }
    }

    /// The shortest lease this member grants, seconds: one and a half election timeouts, counted
    /// in whole heartbeats as etcd does (`server/etcdserver/server.go`, `minTTL`).
    pub fn lease_ttl_min(&self) -> i64 {
        assert!(self.heartbeat_interval_ms > 0, "a checked configuration has heartbeats");
        let beats = 3 * (self.election_timeout_ms / self.heartbeat_interval_ms) / 2;
        i64::try_from((beats * self.heartbeat_interval_ms).div_ceil(1000)).unwrap_or(i64::MAX)
    }

    /// Refuses values no server could run with; the rules are etcd's.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |text: String| Err(ConfigError(text));
        if self.heartbeat_interval_ms == 0 || self.election_timeout_ms == 0 {
            return fail("heartbeat-interval and election-timeout must be above 0 ms".into());
        }
        if self.election_timeout_ms < 5 * self.heartbeat_interval_ms {
            return fail(format!(
                "election-timeout {} ms must be at least 5 times heartbeat-interval {} ms",
                self.election_timeout_ms, self.heartbeat_interval_ms
            ));
        }
        if self.election_timeout_ms > 50_000 {
            return fail("election-timeout must be at most 50000 ms".into());
        }
        if self.snapshot_count == 0 || self.max_txn_ops == 0 || self.max_request_bytes == 0 {
            return fail("snapshot-count, max-txn-ops, max-request-bytes must be above 0".into());
        }
        if self.max_request_bytes > REQUEST_BYTES_MAX {
            return fail(format!("max-request-bytes must be at most {REQUEST_BYTES_MAX}"));
        }
        if self.listen_client_urls.is_empty() || self.listen_peer_urls.is_empty() {
            return fail("at least one client URL and one peer URL to listen on".into());
        }
        if self.record > RECORD_MAX {
            return fail(format!("--record must be at most {RECORD_MAX} events"));
        }
        if self.name.is_empty() {
            return fail("--name must not be empty".into());
        }
        let told = [
            ("--advertise-client-urls", &self.advertise_client_urls, "clients"),
            ("--initial-advertise-peer-urls", &self.advertise_peer_urls, "members"),
        ];
        for (flag, urls, who) in told {
            if let Some(url) = urls.iter().find(|url| url.is_wildcard()) {
                return fail(format!(
                    "{flag}: {url} means every address of a machine and leads {who} nowhere: name \
                     one that they can reach"
                ));
            }
        }
        let peers: Vec<Url> = self.listen_peer_urls.iter().map(Url::canonical).collect();
        let twice = |url: &&Url| url.port != 0 && peers.contains(&url.canonical());
        if let Some(url) = self.listen_client_urls.iter().find(twice) {
            return fail(format!(
                "--listen-client-urls and --listen-peer-urls both name {url}: clients and peers \
                 need a port each"
            ));
        }
        Ok(())
    }
}

/// Parses `name=url,name=url`; a name may be repeated to give it several URLs.
pub fn parse_initial_cluster(text: &str) -> Result<Vec<InitialMember>, ConfigError> {
    let mut members: Vec<InitialMember> = Vec::new();
    let bad = |why: String| ConfigError(format!("--initial-cluster {text:?}: {why}"));
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, url) =
            part.split_once('=').ok_or_else(|| bad(format!("{part:?} must be name=url")))?;
        let url = Url::parse(url.trim()).map_err(|error| bad(error.0))?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url),
            None => members.push(InitialMember { name: name.into(), peer_urls: vec![url] }),
        }
    }
    if members.is_empty() {
        return Err(ConfigError("initial-cluster names no member".into()));
    }
    for member in &mut members {
        member.peer_urls.sort();
    }
    Ok(members)
}

/// Ports of this machine that nothing listens on. They lie below the range that outgoing
/// connections take theirs from, and no call in one process gives one again: a port from the
/// system's own hand may be somebody else's by the time it is bound, or bound again.
///
/// # Errors
/// So many are not free.
pub fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    const FIRST: u32 = 12_000;
    const SPAN: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(131);
    let mut ports = Vec::new();
    for _ in 0..SPAN {
        if ports.len() == count {
            return Ok(ports);
        }
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SPAN;
        let port = u16::try_from(FIRST + offset).expect("below 32,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    Err(std::io::Error::other(format!("no {count} free ports")))
}

/// Configurations of `names.len()` members on this machine on [`free_ports`], data directories
/// below `root`; for demonstrations and tests.
///
/// # Errors
/// When there are not enough ports.
pub fn local_cluster(names: &[&str], root: &Path) -> std::io::Result<Vec<Config>> {
    let mut ports = free_ports(2 * names.len())?.into_iter();
    let mut port = || ports.next().expect("two for each member");
    let url = |port| Url { host: "127.0.0.1".to_string(), port };
    let mut configs = Vec::new();
    for name in names {
        let mut config = Config::single(name);
        config.data_dir = root.join(format!("{name}.quorate"));
        config.listen_client_urls = vec![url(port())];
        config.advertise_client_urls = config.listen_client_urls.clone();
        config.listen_peer_urls = vec![url(port())];
        config.advertise_peer_urls = config.listen_peer_urls.clone();
        configs.push(config);
    }
    let cluster: Vec<InitialMember> = configs
        .iter()
        .map(|c| InitialMember { name: c.name.clone(), peer_urls: c.advertise_peer_urls.clone() })
        .collect();
    for config in &mut configs {
        config.initial_cluster = cluster.clone();
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initial_cluster_groups_urls_by_name() {
        let members =
            parse_initial_cluster("a=http://h:2,b=http://i:3,a=http://h:1").expect("parses");
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].peer_urls[0].port, 1);
        let spaced = parse_initial_cluster("a= http://h:2 , b=http://i:3").expect("as etcd");
        assert_eq!((&spaced[0].peer_urls[0].host[..], &spaced[1].name[..]), ("h", "b"));
        assert!(parse_initial_cluster("").is_err());
        assert!(parse_initial_cluster("a").is_err());
    }

    #[test]
    fn the_shortest_lease_follows_the_timeouts_as_the_real_etcd_counts_them() {
        let min = |heartbeat_interval_ms, election_timeout_ms| {
            let single = Config::single("a");
            Config { heartbeat_interval_ms, election_timeout_ms, ..single }.lease_ttl_min()
        };
        assert_eq!([min(100, 1_000), min(10, 100), min(400, 2_100)], [2, 1, 3]);
        assert_eq!(min(100, 50_000), 75);
    }

    #[test]
    fn requests_that_no_frame_between_members_could_hold_cannot_be_allowed() {
        let of = |max_request_bytes| Config { max_request_bytes, ..Config::single("a") }.validate();
        assert_eq!(of(REQUEST_BYTES_MAX), Ok(()));
        assert!(of(REQUEST_BYTES_MAX + 1).expect_err("refused").0.contains("max-request-bytes"));
    }

    #[test]
    fn ports_are_given_once_and_not_from_the_range_of_outgoing_connections() {
        let ports = [free_ports(20).expect("free"), free_ports(20).expect("free")].concat();
        let different: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), 40);
        assert!(ports.iter().all(|port| (12_000..32_000).contains(port)), "{ports:?}");
    }
}
