//! From a configuration to a running member.

use super::End;
use super::asked::{Inputs, Queue};
use super::handle::{Handle, Phase};
use super::helpers;
use super::input::{Input, Word};
use super::show::Shown;
use super::voter::Voter;
use crate::bootstrap;
use crate::config::{ClusterState, Config, Url};
use crate::desk::{self, MakeFront};
use crate::disk::open::{claim, open};
use crate::disk::{Files, Log, Notes, Place, Wrap};
use crate::early::Early;
use crate::entropy::entropy;
use crate::error::StartError;
use crate::metrics::{DiskMetrics, Metrics};
use crate::peer::handshakes::Handshakes;
use crate::peer::listen;
use crate::peer::shared::State;
use crate::peer::{Members, Shared};
use crate::record::{self, Recording, Tap};
use base::limits::{APPEND_BYTES_MAX, HANDSHAKES_MAX, INFLIGHT_BYTES_MAX};
use base::limits::{PENDING_BYTES_MAX, PENDING_MAX};
use base::{Birth, Nanos, NodeId};
use cluster::Configuration;
use consensus::raft::{Recovered, Settings};
use member::limits::{LIMIT_QUOTA, limit};
use member::meet::Said;
use member::{Archive, CheckpointState, Opened, Peers, Policy, Publisher, Stop, Transfers};
use replica::{Replica, ReplicaRecovered, ReplicaSettings};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Identity;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use trace::What;

/// What the new thread tells its creator once it listens.
struct Started {
    id: NodeId,
    cluster: u64,
    client_addr: SocketAddr,
    peer_addr: SocketAddr,
    started: Instant,
}

pub(super) fn spawn(
    config: Config,
    front: MakeFront,
    wrap: Option<Wrap>,
) -> Result<Handle, StartError> {
    config.validate()?;
    let (inbox, queue) = unbounded_channel();
    let (desk, words) = unbounded_channel();
    let (phase_sender, phase) = watch::channel(Phase::Starting);
    let (report, started) = mpsc::channel();
    let name = config.name.clone();
    let ends = Ends { inbox: inbox.clone(), queue, desk: desk.clone(), words };
    let thread = std::thread::Builder::new().name(format!("quorate-{name}")).spawn(move || {
        let place = Place::new(config.data_dir.clone(), wrap);
        let end = live((config, front), &place, ends, &phase_sender, &report);
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
            started: started.started,
            inbox,
            desk,
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

/// Both ends of both ways: to the voter, and to the desk.
struct Ends {
    inbox: UnboundedSender<Input>,
    queue: UnboundedReceiver<Input>,
    desk: UnboundedSender<Word>,
    words: UnboundedReceiver<Word>,
}

/// The life of the thread. Errors are only those from before it reported.
fn live(
    (mut config, front): (Config, MakeFront),
    place: &Place,
    ends: Ends,
    phase: &watch::Sender<Phase>,
    report: &mpsc::Sender<Result<Started, StartError>>,
) -> Result<(), StartError> {
    // Dropped last, also when what follows panics: until then somebody may write here.
    let held_lock;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let bind = || local.block_on(&runtime, Listeners::bind(&config));
    let mut listeners = None;
    if !place.has("journal") {
        // A first start that is told nonsense, or cannot listen, leaves nothing behind.
        if config.cluster_state == ClusterState::New {
            bootstrap::from_flags(&config)?;
        }
        listeners = Some(bind()?);
    }
    held_lock = claim(&config, place)?;
    let Listeners { client, peer } = listeners.map_or_else(bind, Ok)?;
    let (opened, early) = load(&config, place, &client)?;
    // The directory's name, which quorum texts use; the flag's may be another by now.
    if let Some(member) = opened.bootstrap.member(opened.identity.member) {
        config.name.clone_from(&member.name);
    }
    let end = local.block_on(&runtime, async {
        let started = Started {
            id: opened.identity.member,
            cluster: opened.identity.cluster,
            client_addr: client[0].local_addr()?,
            peer_addr: peer[0].local_addr()?,
            started: Instant::now(),
        };
        let clock = started.started;
        let mut clients = Joined(None);
        let (mut voter, desk, mut queue) =
            build((config, front), (place, opened), ends, (client, early), phase, clock)?;
        for listener in peer {
            let listener = TcpListener::from_std(listener)?;
            tokio::task::spawn_local(listen::run(listener, Rc::clone(&voter.peers)));
        }
        clients.0 = Some(desk::spawn(desk)?);
        // A creator that is gone drops the handle, which ends the member.
        let _ = report.send(Ok(started));
        let end = voter.run(&mut queue).await;
        let at_once = end == End::Killed;
        // Answers leave before the disk is closed; nobody is asked anything in between.
        let _ = voter.desk.send(Word::Close { at_once });
        drop(clients);
        if !at_once && let Some(index) = member::stop::last_word(&voter.replica) {
            voter.disk.know(index);
        }
        voter.disk.stop();
        voter.peers.notes.stop();
        voter.helpers.scrubber.stop();
        Ok::<End, StartError>(end)
    })?;
    drop(local);
    drop(runtime);
    drop(held_lock);
    if let End::Failed(text) | End::Removed(text) = &end {
        tracing::error!("stopped: {text}");
    }
    phase.send_replace(Phase::Ended(end));
    Ok(())
}

/// A thread that is waited for, also when this one panics: its ports are free after that.
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("the clients' thread panicked");
        }
    }
}

/// Opens the directory, while probes are told how far that is. What a client has said meanwhile is
/// kept for those who serve it.
fn load(
    config: &Config,
    place: &Place,
    client: &[StdListener],
) -> Result<(Opened, Vec<StdStream>), StartError> {
    let archive = Archive::new(usize::try_from(config.cache_bytes).unwrap_or(usize::MAX));
    let loading = archive.clone();
    let doing = move || match loading.loading() {
        (_, 0) => "reading the directory".to_owned(),
        (read, of) if read < of => format!("reading the index, {} %", read * 100 / of),
        _ => "reading the journal".to_owned(),
    };
    let early = Early::start(client, Arc::new(doing))?;
    let opened = open(config, place, archive)?;
    Ok((opened, early.stop()))
}

/// They stay open from before the directory is read.
struct Listeners {
    client: Vec<StdListener>,
    peer: Vec<StdListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, StartError> {
        async fn all(urls: &[Url]) -> Result<Vec<StdListener>, StartError> {
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
                        Ok(listener) => listeners.push(listener.into_std()?),
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
        settle_versions: config.settle_versions,
        settle_bytes: config.settle_bytes,
        trace: config.record > 0,
    }
}

fn shared(
    config: &Config,
    files: &Files,
    identity: &Identity,
    bootstrap: Configuration,
    inbox: &UnboundedSender<Input>,
    metrics: &Arc<Metrics>,
) -> Result<Rc<Shared>, StartError> {
    let texts = |urls: &[Url]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
    let said = Said {
        name: config.name.clone(),
        client_urls: texts(&config.advertise_client_urls),
        peer_urls: texts(&config.advertise_peer_urls),
    };
    let first = Arc::new(bootstrap);
    let met = Peers::new(identity.clone(), Arc::clone(&first), said);
    let notes = Notes::start(files.place.clone(), inbox.clone())?;
    Ok(Rc::new(Shared {
        cluster: identity.cluster,
        member: identity.member,
        silence_max: Duration::from_millis(config.election_timeout_ms),
        config: first,
        met: RefCell::new(met),
        files: files.clone(),
        notes,
        inbox: inbox.clone(),
        metrics: Arc::clone(metrics),
        members: Members::default(),
        handshakes: Handshakes::new(HANDSHAKES_MAX),
        state: State::default(),
    }))
}

/// Both ends of what it records, which begins with what it found on its disk.
fn record(
    config: &Config,
    (identity, first): (&Identity, &Configuration),
    raft: &Recovered,
    started: Instant,
) -> Result<(Arc<Recording>, Tap), StartError> {
    let head = record::head(first, (identity.member, &config.name), started);
    let recording = Recording::new(head, config.record);
    let mut tap = Tap::new(Arc::clone(&recording), config.name.clone())?;
    tap.say(Nanos::ZERO, || What::Restart {
        life: u32::try_from(identity.incarnation.number()).unwrap_or(u32::MAX),
        incarnation: identity.incarnation.0,
        promise: raft.ballot,
        base: raft.base.0,
        last: raft.entries.last().map_or(raft.base, |entry| entry.index).0,
    });
    Ok((recording, tap))
}

/// When the next checkpoint is.
fn due(config: &Config, opened: &Opened) -> CheckpointState {
    let policy = Policy { entries: config.snapshot_count, bytes_min: config.checkpoint_bytes_min };
    let base = opened.recovered.raft.base;
    CheckpointState::new(policy, base, opened.checkpoint_bytes, opened.journal.bytes())
}

fn revived(
    settings: ReplicaSettings,
    recovered: ReplicaRecovered,
    repair: Option<&store::Repair>,
) -> Result<Replica, StartError> {
    member::open::revive(settings, recovered, repair).map_err(StartError::Disk)
}

/// Both sides of a member that was opened, and what the voter hears from.
fn build(
    (config, front): (Config, MakeFront),
    (place, opened): (&Place, Opened),
    ends: Ends,
    sockets: desk::Sockets,
    phase: &watch::Sender<Phase>,
    started: Instant,
) -> Result<(Voter, desk::Parts, UnboundedReceiver<Input>), StartError> {
    let Ends { inbox, queue, desk, words } = ends;
    let (identity, seed, config) = (opened.identity.clone(), entropy(), Arc::new(config));
    let (raft, checkpoint) = (&opened.recovered.raft, due(&config, &opened));
    let quota_bytes = limit(&raft.base_config, LIMIT_QUOTA, config.quota_backend_bytes);
    let (recording, tap) = record(&config, (&identity, &opened.bootstrap), raft, started)?;
    let settings = replica_settings(&config, &identity, seed);
    let replica = revived(settings, opened.recovered, opened.repair.as_ref())?;
    let (metrics, disk_metrics) = (Arc::<Metrics>::default(), Arc::<DiskMetrics>::default());
    let files = Files { place: place.clone(), archive: opened.archive, room: Arc::default() };
    let disk = Log::start(opened.journal, &files, &inbox, &disk_metrics)?;
    let peers = shared(&config, &files, &identity, opened.bootstrap, &inbox, &metrics)?;
    peers.follow(replica.raft());
    let (shown, board) = Shown::begin(&replica, &peers, quota_bytes);
    let (threads, helpers) = helpers::start(&config, &files, &disk_metrics, &inbox)?;
    let parts = desk::Parts {
        config: Arc::clone(&config),
        front,
        cluster: identity.cluster,
        member: identity.member,
        seed: seed ^ identity.birth,
        board: Arc::clone(&board),
        voter: inbox.clone(),
        words,
        sockets,
        threads: Arc::clone(&threads),
        archive: files.archive.clone(),
        metrics: Arc::clone(&metrics),
        disk_metrics,
        recording,
        room: Arc::clone(&files.room),
    };
    let voter = Voter {
        config,
        replica,
        disk,
        peers,
        inbox,
        desk,
        board,
        shown,
        threads,
        helpers,
        started,
        tap,
        cut: BTreeSet::new(),
        transfers: Transfers::default(),
        mending: false,
        checkpoint,
        replaced: false,
        stands: false,
        leader: None,
        publisher: Publisher::default(),
        stop: Stop::default(),
        quota_bytes,
        metrics,
        phase: phase.clone(),
        inputs: Inputs::default(),
        asked: Queue::default(),
        late: Vec::new(),
    };
    Ok((voter, parts, queue))
}
