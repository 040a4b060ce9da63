//! Connections between members that are up and deliver nothing.

use crate::cluster::{Cluster, until};
use server::config::{Config, Url};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Far below the 90 s that TCP takes to give up, far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

/// Stands before a member's peer port. What it freezes stays connected and delivers nothing.
struct Relay {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    accepted: AtomicU64,
    /// Connections with a lower number are frozen.
    frozen: AtomicU64,
}

impl Relay {
    fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // Ends with the process: blocked threads of a test hurt nobody.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let Ok(member) = TcpStream::connect(target) else { continue };
                let (Ok(back), Ok(forth)) = (stream.try_clone(), member.try_clone()) else {
                    return;
                };
                let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || pump(stream, forth, number, &one));
                std::thread::spawn(move || pump(member, back, number, &other));
            }
        });
        Self { port, state }
    }

    fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}", self.port)).expect("a URL")
    }

    /// Freezes what is connected; new connections pass.
    fn freeze(&self) {
        self.state.frozen.store(self.state.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Freezes all connections, for good.
    fn freeze_for_good(&self) {
        self.state.frozen.store(u64::MAX, Ordering::SeqCst);
    }

    fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, number: u64, state: &State) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if number < state.frozen.load(Ordering::SeqCst) {
            loop {
                std::thread::park(); // both sockets stay open
            }
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

/// Makes the others reach each member at two relays before its peer port.
fn advertise(configs: &mut [Config]) -> Vec<[Relay; 2]> {
    let mut all = Vec::new();
    for at in 0..configs.len() {
        let target = configs[at].listen_peer_urls[0].authority().parse().expect("an address");
        let mut relays = [Relay::start(target), Relay::start(target)];
        relays.sort_by_key(|relay| relay.port); // as a configuration has its URLs
        let urls = vec![relays[0].url(), relays[1].url()];
        configs[at].advertise_peer_urls.clone_from(&urls);
        configs.iter_mut().for_each(|c| c.initial_cluster[at].peer_urls.clone_from(&urls));
        all.push(relays);
    }
    all
}

fn cluster(test: &str) -> (Cluster, Vec<[Relay; 2]>) {
    let mut relays = Vec::new();
    let cluster = Cluster::start_as(test, &["a", "b", "c"], |configs| relays = advertise(configs));
    (cluster, relays)
}

/// How long it takes until a follower has what is put at the leader now.
fn follows(cluster: &Cluster, leader: usize, follower: usize, key: &str) -> Duration {
    let begun = Instant::now();
    cluster.put(leader, key, "v");
    let revision = cluster.node(leader).status().expect("it runs").revision;
    until("the frozen member follows again", || {
        let status = cluster.node(follower).status();
        status.is_some_and(|s| s.revision >= revision && s.leader.is_some())
    });
    begun.elapsed()
}

#[test]
fn a_connection_that_delivers_nothing_is_replaced_within_a_few_election_timeouts() {
    let (cluster, relays) = cluster("frozen");
    for round in 0..2 {
        let leader = cluster.leader();
        let follower = (leader + 1) % 3;
        follows(&cluster, leader, follower, &format!("before{round}"));
        let accepted = |relays: &[Relay; 2]| relays.iter().map(Relay::accepted).sum::<u64>();
        let before = accepted(&relays[follower]);
        relays[follower].iter().for_each(Relay::freeze);
        let took = follows(&cluster, leader, follower, &format!("after{round}"));
        assert!(took < SOON, "followed again after {took:?}");
        assert!(accepted(&relays[follower]) > before, "over a new connection");
    }
}

#[test]
fn a_url_that_delivers_nothing_is_passed_over_for_the_next_one() {
    let (cluster, relays) = cluster("frozen-url");
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    follows(&cluster, leader, follower, "before");
    relays[follower][0].freeze_for_good();
    relays[follower][1].freeze();
    let took = follows(&cluster, leader, follower, "after");
    assert!(took < SOON, "followed again after {took:?}");
}
