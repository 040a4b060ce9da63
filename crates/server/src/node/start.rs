//! From a configuration to a running member.

use super::handle::{Handle, Phase};
use super::input::Input;
use super::{End, Node, chores, engine};
use crate::bootstrap;
use crate::config::{ClusterState, Config, ConfigError, Url};
use crate::disk::open::{Held, open};
use crate::disk::{Files, Log, Place, Wrap};
use crate::metrics::{DiskMetrics, Metrics};
use crate::peer::Members;
use crate::peer::listen::{self, Shared};
use crate::pool::{Pool, Threads};
use base::limits::{APPEND_BYTES_MAX, INFLIGHT_BYTES_MAX, PENDING_BYTES_MAX, PENDING_MAX};
use base::{Birth, Nanos, NodeId, Prng};
use cluster::Configuration;
use consensus::raft::Settings;
use door::Reads;
use front_etcd::Front;
use member::limits::{LIMIT_QUOTA, limit};
use member::meet::Said;
use member::{CheckpointState, Opened, Peers, Policy};
use net::{Limits, Server, Service};
use replica::ReplicaSettings;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};
use store::Identity;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The cluster to join could not be reached, or did not take the member.
    #[error("{0}")]
    Join(String),
    #[error("{0}")]
    Disk(String),
    #[error("cannot listen on {0}: {1} (--listen-client-urls and --listen-peer-urls say where)")]
    Listen(String, std::io::Error),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What the new thread tells its creator once it listens.
struct Started {
    id: NodeId,
    cluster: u64,
    client_addr: SocketAddr,
    peer_addr: SocketAddr,
}

pub(super) fn spawn(config: Config, wrap: Option<Wrap>) -> Result<Handle, StartError> {
    config.validate()?;
    let (inbox, queue) = unbounded_channel();
    let (phase_sender, phase) = watch::channel(Phase::Starting);
    let (report, started) = mpsc::channel();
    let name = config.name.clone();
    let sender = inbox.clone();
    let thread = std::thread::Builder::new().name(format!("quorate-{name}")).spawn(move || {
        let place = Place::new(config.data_dir.clone(), wrap);
        let end = live(config, &place, sender, queue, &phase_sender, &report);
        if let Err(error) = end {
            // The creator still waits for the first report.
            let _ = report.send(Err(error));
        }
    })?;
    match started.recv() {
        Ok(Ok(started)) => Ok(Handle {
            name,
            id: started.id,
            cluster: started.cluster,
            client_addr: started.client_addr,
            peer_addr: started.peer_addr,
            inbox,
            phase,
            thread: Some(thread),
        }),
        Ok(Err(error)) => {
            let _ = thread.join();
            Err(error)
        }
        Err(_) => Err(StartError::Disk("the member's thread panicked while starting".into())),
    }
}

/// The life of the thread. Errors are only those from before it reported.
fn live(
    mut config: Config,
    place: &Place,
    inbox: UnboundedSender<Input>,
    queue: UnboundedReceiver<Input>,
    phase: &watch::Sender<Phase>,
    report: &mpsc::Sender<Result<Started, StartError>>,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    if !place.has("journal") {
        // A first start that is told nonsense, or cannot listen, leaves nothing behind.
        if config.cluster_state == ClusterState::New {
            bootstrap::from_flags(&config)?;
        }
        drop(local.block_on(&runtime, Listeners::bind(&config))?);
    }
    let Held { lock, opened } = open(&config, place)?;
    // The directory's name, which quorum texts use; the flag's may be another by now.
    if let Some(member) = opened.bootstrap.member(opened.identity.member) {
        config.name.clone_from(&member.name);
    }
    let end = local.block_on(&runtime, async {
        let listeners = Listeners::bind(&config).await?;
        let started = Started {
            id: opened.identity.member,
            cluster: opened.identity.cluster,
            client_addr: listeners.client[0].local_addr()?,
            peer_addr: listeners.peer[0].local_addr()?,
        };
        let node = build(config, place, opened, inbox, phase.clone())?;
        serve(&node, listeners);
        // A creator that is gone drops the handle, which ends the node.
        let _ = report.send(Ok(started));
        let end = Rc::clone(&node).run(queue).await;
        if end != End::Killed {
            node.fail_all();
            // Lets the answers leave.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if end != End::Killed
            && let Some(index) = node.replica.borrow().whole()
        {
            node.disk.know(index);
        }
        node.disk.stop();
        Ok::<End, StartError>(end)
    })?;
    drop(local);
    drop(runtime);
    drop(lock);
    if let End::Failed(text) | End::Removed(text) = &end {
        tracing::error!("stopped: {text}");
    }
    phase.send_replace(Phase::Ended(end));
    Ok(())
}

struct Listeners {
    client: Vec<TcpListener>,
    peer: Vec<TcpListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, StartError> {
        async fn all(urls: &[Url]) -> Result<Vec<TcpListener>, StartError> {
            let mut listeners = Vec::new();
            let mut bound = Vec::new();
            for url in urls {
                let named = |error| StartError::Listen(url.to_string(), error);
                let found = tokio::net::lookup_host(url.authority()).await.map_err(named)?;
                let mut addresses: Vec<SocketAddr> = found.collect();
                // `localhost` is two addresses; clients that try only one try the old one.
                addresses.sort_by_key(SocketAddr::is_ipv6);
                addresses.dedup();
                let first = addresses.first().copied();
                for address in addresses {
                    // The same URL twice, or in two spellings.
                    if url.port != 0 && bound.contains(&address) {
                        continue;
                    }
                    bound.push(address);
                    match TcpListener::bind(address).await {
                        Ok(listener) => listeners.push(listener),
                        Err(error) if Some(address) == first => return Err(named(error)),
                        Err(_) => {}
                    }
                    if url.port == 0 {
                        break;
                    }
                }
            }
            Ok(listeners)
        }
        Ok(Self {
            client: all(&config.listen_client_urls).await?,
            peer: all(&config.listen_peer_urls).await?,
        })
    }
}

fn serve(node: &Rc<Node>, listeners: Listeners) {
    for listener in listeners.peer {
        tokio::task::spawn_local(listen::run(listener, Rc::clone(&node.peers)));
    }
    node.follow_configuration();
    tokio::task::spawn_local(chores::publish(Rc::clone(node)));
    tokio::task::spawn_local(chores::auto_compact(Rc::clone(node)));
    let limits = Limits { request_bytes_max: node.config.max_request_bytes, ..Limits::default() };
    let own = Rc::clone(node);
    let front = Front::new(engine::door(node), limits, move || own.metrics_page());
    front.set_watch_progress_interval(node.config.watch_progress_interval);
    let election = Duration::from_millis(node.config.election_timeout_ms);
    tokio::task::spawn_local(look(Rc::clone(&front), election));
    tokio::task::spawn_local(pump(Rc::clone(node)));
    tokio::task::spawn_local(Rc::clone(&node.pool).tend());
    let server = Server::new(front as Rc<dyn Service>, limits, node.config.keep_alive);
    *node.server.borrow_mut() = Rc::downgrade(&server);
    for listener in listeners.client {
        tokio::task::spawn_local(Rc::clone(&server).serve(listener));
    }
}

/// Has the front look after its streams once every election timeout.
async fn look(front: Rc<Front>, election_timeout: Duration) {
    loop {
        tokio::time::sleep(election_timeout).await;
        front.look();
    }
}

/// Serves reads that had to wait.
async fn pump(node: Rc<Node>) {
    poll_fn(|cx| {
        node.reads.turn(cx);
        Poll::Pending
    })
    .await
}

/// Units of work on committed entries in one step: a few milliseconds.
const APPLY_UNITS_MAX: u64 = 1000;

fn replica_settings(config: &Config, identity: &Identity, seed: u64) -> ReplicaSettings {
    let raft = Settings {
        id: identity.member,
        birth: Birth(identity.birth),
        incarnation: identity.incarnation,
        election_timeout_min: Nanos::from_millis(config.election_timeout_ms),
        heartbeat_interval: Nanos::from_millis(config.heartbeat_interval_ms),
        seed,
        append_bytes_max: APPEND_BYTES_MAX,
        inflight_bytes_max: INFLIGHT_BYTES_MAX,
    };
    let timeout_ms = 5_000 + 2 * config.election_timeout_ms;
    ReplicaSettings {
        raft,
        pending_max: PENDING_MAX,
        pending_bytes_max: PENDING_BYTES_MAX,
        request_timeout: Nanos::from_millis(timeout_ms),
        leaderless_wait: Nanos::from_millis(2 * config.election_timeout_ms),
        catchup_entries: config.snapshot_catchup_entries,
        apply_budget: APPLY_UNITS_MAX,
        trace: config.trace,
    }
}

fn shared(
    config: &Config,
    place: &Place,
    identity: &Identity,
    bootstrap: Configuration,
    inbox: UnboundedSender<Input>,
) -> Result<Rc<Shared>, StartError> {
    let texts = |urls: &[Url]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
    let said = Said {
        name: config.name.clone(),
        client_urls: texts(&config.advertise_client_urls),
        peer_urls: texts(&config.advertise_peer_urls),
    };
    let (name, client_urls) = (said.name.clone(), said.client_urls.clone());
    let first = Arc::new(bootstrap);
    let met = Peers::new(place.disk("")?, identity.clone(), Arc::clone(&first), said);
    Ok(Rc::new(Shared {
        cluster: identity.cluster,
        member: identity.member,
        silence_max: Duration::from_millis(config.election_timeout_ms),
        config: first,
        name,
        client_urls,
        met: RefCell::new(met),
        files: Files { place: place.clone() },
        inbox,
        members: Members::default(),
        state: listen::State::default(),
    }))
}

/// The queue of reads whose state is fresh enough.
fn reads(node: Weak<Node>) -> Rc<Reads> {
    let start = Instant::now();
    let nanos = move || u64::try_from(start.elapsed().as_nanos()).expect("below 584 years");
    Reads::new(node, move || Nanos(nanos()))
}

fn build(
    config: Config,
    place: &Place,
    opened: Opened,
    inbox: UnboundedSender<Input>,
    phase: watch::Sender<Phase>,
) -> Result<Rc<Node>, StartError> {
    let identity = opened.identity;
    let seed = entropy();
    let settings = replica_settings(&config, &identity, seed);
    let raft = &opened.recovered.raft;
    let quota_bytes = limit(&raft.base_config, LIMIT_QUOTA, config.quota_backend_bytes);
    let policy = Policy { entries: config.snapshot_count, bytes_min: config.checkpoint_bytes_min };
    let (base, bytes) = (raft.base, opened.checkpoint_bytes);
    let checkpoint = CheckpointState::new(policy, base, bytes, opened.journal.bytes());
    let replica = member::open::revive(settings, opened.recovered, opened.repair.as_ref());
    let replica = replica.map_err(StartError::Disk)?;
    let disk_metrics = Arc::new(DiskMetrics::default());
    let disk = Log::start(opened.journal, place.clone(), inbox.clone(), Arc::clone(&disk_metrics))?;
    let threads = Arc::new(Threads::start()?);
    let peers = shared(&config, place, &identity, opened.bootstrap, inbox.clone())?;
    Ok(Rc::new_cyclic(|me| Node {
        me: me.clone(),
        config,
        replica: RefCell::new(replica),
        disk,
        peers,
        inbox,
        started: Instant::now(),
        pending: RefCell::default(),
        next_token: Cell::new(0),
        pool: Pool::new(threads),
        reads: reads(me.clone()),
        stands: Cell::new(false),
        listeners: RefCell::default(),
        traces: RefCell::default(),
        cut: RefCell::default(),
        sending: RefCell::default(),
        checkpoint: RefCell::new(checkpoint),
        replaced: Cell::new(false),
        leader: Cell::new(None),
        last_failure: RefCell::default(),
        ended: Cell::new(false),
        halted: RefCell::default(),
        stop: Cell::default(),
        server: RefCell::default(),
        random: RefCell::new(Prng::new(seed ^ identity.birth)),
        quota_bytes,
        metrics: Metrics::default(),
        disk_metrics,
        phase,
    }))
}

/// Unpredictable enough for timeouts, births and lease ids; never for secrets.
pub fn entropy() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
