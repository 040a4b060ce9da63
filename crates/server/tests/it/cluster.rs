//! A cluster of members in one process.

use base::Blob;
use front_etcd::Front;
use mvcc::{Command, PutRequest, RangeRequest, RangeResponse};
use server::config::{ClusterState, Config, local_cluster};
use server::node::{Handle, Node};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for anything; generous, because two cores may be busy with other tests.
pub const WAIT: Duration = Duration::from_secs(60);

/// Asks `done` until it says yes. What follows from something that was answered, but at another
/// member or on a helper thread, comes a moment later: wait for it, do not assert it.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < end, "{what} in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tries until it succeeds: any call may fall into an election, on a busy machine also into one
/// that no test asked for, and is refused when that lasts.
#[track_caller]
pub fn eventually<T, E: std::fmt::Display>(
    what: impl std::fmt::Display,
    mut call: impl FnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + WAIT;
    loop {
        match call() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "{what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct Cluster {
    root: PathBuf,
    pub configs: Vec<Config>,
    pub nodes: Vec<Option<Handle>>,
}

impl Cluster {
    pub fn start(test: &str, names: &[&str]) -> Self {
        Self::start_with(test, names, |_| {})
    }

    pub fn start_with(test: &str, names: &[&str], change: impl Fn(&mut Config)) -> Self {
        Self::start_as(test, names, |configs| configs.iter_mut().for_each(&change))
    }

    /// `change` sees all configurations at once.
    pub fn start_as(test: &str, names: &[&str], change: impl FnOnce(&mut [Config])) -> Self {
        let root = std::env::temp_dir().join(format!("quorate-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let mut configs = local_cluster(names, &root).expect("free ports");
        change(&mut configs);
        let nodes = configs.iter().map(|config| Some(start(config))).collect();
        let cluster = Self { root, configs, nodes };
        for node in cluster.nodes.iter().flatten() {
            assert!(node.wait_ready(WAIT), "{} knows a leader", node.name);
        }
        // Who was not there at the founding is no spare before it is written down.
        until("everybody is written down", || {
            let mut all = cluster.nodes.iter().flatten();
            all.all(|node| node.status().is_some_and(|status| status.seated))
        });
        cluster
    }

    /// Starts a member that the cluster took in.
    pub fn join(&mut self, newcomer: Config) -> usize {
        self.nodes.push(Some(start(&newcomer)));
        self.configs.push(newcomer);
        self.nodes.len() - 1
    }

    /// The configuration of one more member, which knows the others.
    pub fn newcomer(&self, name: &str) -> Config {
        let mut newcomer = local_cluster(&[name], &self.root).expect("free ports").remove(0);
        let first = &self.configs[0];
        newcomer.initial_cluster.extend(first.initial_cluster.iter().cloned());
        newcomer.cluster_state = ClusterState::Existing;
        newcomer.checkpoint_bytes_min = first.checkpoint_bytes_min;
        newcomer.snapshot_count = first.snapshot_count;
        newcomer.snapshot_catchup_entries = first.snapshot_catchup_entries;
        newcomer
    }

    pub fn node(&self, at: usize) -> &Handle {
        self.nodes[at].as_ref().expect("the member runs")
    }

    /// A client's connection to one member.
    pub fn channel(&self, at: usize) -> client::Channel {
        client::Channel::new(&self.node(at).client_addr.to_string())
    }

    pub fn kill(&mut self, at: usize) {
        self.nodes[at].take().expect("the member runs").kill();
    }

    pub fn restart(&mut self, at: usize) {
        assert!(self.nodes[at].is_none());
        self.nodes[at] = Some(start(&self.configs[at]));
    }

    pub fn leader(&self) -> usize {
        let leads = |node: &Option<Handle>| {
            node.as_ref().and_then(Handle::status).is_some_and(|status| status.is_leader)
        };
        let mut leader = None;
        until("a leader", || {
            leader = self.nodes.iter().position(leads);
            leader.is_some()
        });
        leader.expect("just seen")
    }

    /// Puts until it is acknowledged. Where a try's outcome is unknown it may count twice.
    #[track_caller]
    pub fn put(&self, at: usize, key: &str, value: &str) {
        eventually(format_args!("put {key} at {at}"), || self.try_put(at, key, value));
    }

    pub fn try_put(&self, at: usize, key: &str, value: &str) -> Result<mvcc::Response, String> {
        let request = PutRequest {
            key: Blob::from(key.as_bytes()),
            value: Blob::from(value.as_bytes()),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        self.node(at).remote().propose(Command::Put(request))
    }

    pub fn all(&self, at: usize) -> RangeResponse {
        let request = RangeRequest {
            key: Blob::from(&b"\0"[..]),
            range_end: Blob::from(&b"\0"[..]),
            ..RangeRequest::default()
        };
        eventually("a linearizable read", || self.node(at).remote().range(request.clone()))
    }

    /// Finished checkpoints that a member keeps; a helper thread writes them.
    pub fn checkpoints(&self, at: usize) -> Vec<PathBuf> {
        let dir = self.configs[at].data_dir.join("checkpoints");
        let entries = std::fs::read_dir(dir).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|e| e == "qc")).collect();
        paths.sort();
        paths
    }

    #[track_caller]
    pub fn await_checkpoint(&self, at: usize) {
        until("a checkpoint", || !self.checkpoints(at).is_empty());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// A probe's whole answer, head and body.
pub fn get(at: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(at).expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("read");
    text
}

pub fn start(config: &Config) -> Handle {
    Node::start(config.clone(), Front::service)
        .unwrap_or_else(|error| panic!("{}: {error}", config.name))
}

/// Runs calls to members from outside.
pub fn outside<F: Future>(calls: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(3 * WAIT, calls).await.expect("the calls end in time")
    })
}
