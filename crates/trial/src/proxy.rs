//! Loopback proxies between peers: one in front of each member, which tells the dialer from its
//! handshake, so that each ordered pair of members can be cut apart on its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::beside::Beside;

/// What happens to bytes from one member to another. A peer connection carries messages from
/// its dialer only, so a pair stands for one direction; its handshake answer shares its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Open,
    /// Nothing passes; what was sent arrives after the heal, late.
    Held,
    /// Bytes vanish, also handshakes; connections that lost some are reset at the heal.
    Lossy,
    /// Connections are reset, new ones end at once.
    Cut,
}

/// Longest hello: it holds at most 64 short URLs.
const HELLO_BYTES_MAX: usize = 64 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// All pairs of one cluster, shared by its proxies and by whoever cuts them.
pub struct Net {
    count: usize,
    paths: Vec<watch::Sender<Path>>,
    /// Whether the member's peer port can be dialled: a dead process refuses connections.
    up: Vec<watch::Sender<bool>>,
    /// Times that traffic of a pair was held, lost or cut.
    hindered: Vec<AtomicU64>,
    /// Connections whose dialer could not be told.
    pub strangers: AtomicU64,
}

impl Net {
    /// Everybody reaches everybody.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            count,
            paths: (0..count * count).map(|_| watch::channel(Path::Open).0).collect(),
            up: (0..count).map(|_| watch::channel(true).0).collect(),
            hindered: (0..count * count).map(|_| AtomicU64::new(0)).collect(),
            strangers: AtomicU64::new(0),
        })
    }

    fn pair(&self, from: usize, to: usize) -> usize {
        assert!(from < self.count && to < self.count, "two members");
        from * self.count + to
    }

    /// Sets what happens from one member to another.
    pub fn set(&self, from: usize, to: usize, path: Path) {
        self.paths[self.pair(from, to)].send_replace(path);
    }

    /// Opens every path.
    pub fn heal(&self) {
        for path in &self.paths {
            path.send_replace(Path::Open);
        }
    }

    /// Opens or closes the port in front of a member.
    pub fn set_up(&self, at: usize, up: bool) {
        self.up[at].send_replace(up);
    }

    /// How often traffic was hindered so far, over all pairs.
    pub fn hindered(&self) -> u64 {
        self.hindered.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

/// Proxies of one cluster; they run on a thread of their own until this is dropped.
pub struct Proxies {
    pub net: Arc<Net>,
    _beside: Beside,
}

impl Proxies {
    /// Listens on `ports[n]` for member n, whose peer port is `targets[n]` and whose client URL
    /// contains `endpoints[n]`.
    ///
    /// # Errors
    /// A port that is taken.
    pub fn start(ports: &[u16], targets: &[SocketAddr], endpoints: &[String]) -> Result<Self> {
        let net = Net::new(ports.len());
        let beside = Beside::start()?;
        let endpoints: Arc<[String]> = endpoints.into();
        let fronts: Arc<[String]> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        for (at, (&port, &target)) in ports.iter().zip(targets).enumerate() {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let listener = beside.wait(TcpListener::bind(address));
            let listener = listener.with_context(|| format!("proxy port {port}"))?;
            let endpoints = Arc::clone(&endpoints);
            let front = Front { at, address, target, endpoints, fronts: Arc::clone(&fronts) };
            beside.handle().spawn(Arc::new(front).accept(listener, Arc::clone(&net)));
        }
        Ok(Self { net, _beside: beside })
    }
}

/// The proxy in front of one member.
struct Front {
    at: usize,
    address: SocketAddr,
    target: SocketAddr,
    endpoints: Arc<[String]>,
    /// Where members are reached by their peers.
    fronts: Arc<[String]>,
}

impl Front {
    async fn accept(self: Arc<Self>, first: TcpListener, net: Arc<Net>) {
        let mut up = net.up[self.at].subscribe();
        let mut listener = Some(first);
        loop {
            if !*up.borrow_and_update() {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(self.address).await.ok();
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await.map(|(stream, _)| stream),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = up.changed() => if changed.is_err() { return },
                stream = accepted => if let Ok(stream) = stream {
                    let (front, net) = (Arc::clone(&self), Arc::clone(&net));
                    tokio::spawn(async move { drop(front.carry(stream, &net).await) });
                },
            }
        }
    }

    /// One connection from its hello to its end.
    async fn carry(&self, mut dialer: TcpStream, net: &Net) -> io::Result<()> {
        dialer.set_nodelay(true)?;
        let hello = read_hello(&mut dialer).await?;
        let Some(from) = self.who(&hello) else {
            net.strangers.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let pair = net.pair(from, self.at);
        let mut path = net.paths[pair].subscribe();
        let counter = &net.hindered[pair];
        loop {
            let now = *path.borrow_and_update();
            if now == Path::Open {
                break;
            }
            counter.fetch_add(1, Ordering::Relaxed);
            if now == Path::Cut {
                return Ok(());
            }
            path.changed().await.map_err(io::Error::other)?;
            if now == Path::Lossy {
                return Ok(());
            }
        }
        let mut member = TcpStream::connect(self.target).await?;
        member.set_nodelay(true)?;
        member.write_all(&hello).await?;
        let (from_dialer, to_dialer) = dialer.into_split();
        let (from_member, to_member) = member.into_split();
        // The end of one direction ends both: dropping the halves closes the sockets.
        tokio::select! {
            () = pump(from_dialer, to_member, path.clone(), counter) => {}
            () = pump(from_member, to_dialer, path, counter) => {}
        }
        Ok(())
    }

    /// The dialer announces its client URL; a newcomer that asks who it is, its peer URL only,
    /// where a hello holds everybody's. All ports of [`crate::cluster::free_ports`] have five
    /// digits, so no address is the beginning of another's.
    fn who(&self, hello: &[u8]) -> Option<usize> {
        let holds = |text: &String| hello.windows(text.len()).any(|part| part == text.as_bytes());
        let known = self.endpoints.iter().position(holds);
        known.or_else(|| self.fronts.iter().position(holds))
    }
}

/// The first frame, whole: `len u32 | crc u32 | body`.
async fn read_hello(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 8];
    stream.read_exact(&mut frame).await?;
    let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(io::Error::other("no hello"));
    }
    frame.resize(8 + length, 0);
    stream.read_exact(&mut frame[8..]).await?;
    Ok(frame)
}

/// Moves bytes as long as the path lets them; returns when the connection must end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut path: watch::Receiver<Path>,
    hindered: &AtomicU64,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut start, mut end) = (0, 0);
    let mut lost = false;
    loop {
        let now = *path.borrow_and_update();
        if now == Path::Cut || (lost && now != Path::Lossy) {
            hindered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let moved = tokio::select! {
            changed = path.changed() => {
                if changed.is_err() { return }
                continue;
            }
            moved = async {
                match now {
                    Path::Held => {
                        if from.readable().await.is_ok() {
                            hindered.fetch_add(1, Ordering::Relaxed);
                        }
                        std::future::pending().await
                    }
                    Path::Open if start < end => to.write(&buffer[start..end]).await,
                    _ => from.read(&mut buffer).await,
                }
            } => moved,
        };
        let Ok(count @ 1..) = moved else { return };
        if now == Path::Open && start < end {
            start += count;
            continue;
        }
        // What was sent after the path changed must not slip through because both were ready.
        match *path.borrow() {
            Path::Open if !lost => (start, end) = (0, count),
            Path::Held if !lost => {
                hindered.fetch_add(1, Ordering::Relaxed);
                (start, end) = (0, count);
            }
            Path::Lossy => {
                hindered.fetch_add(1, Ordering::Relaxed);
                lost = true;
            }
            // The next round ends it.
            Path::Open | Path::Held | Path::Cut => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    /// Longer than anything takes on a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Long enough to see that nothing comes.
    const QUIET: Duration = Duration::from_millis(50);

    /// Two members; the second one's port is ours, behind its proxy.
    struct Pair {
        proxies: Proxies,
        member: TcpListener,
        front: u16,
        endpoints: Vec<String>,
    }

    fn pair() -> Pair {
        let member = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = member.local_addr().expect("bound");
        let ports = crate::cluster::free_ports(2).expect("ports");
        let endpoints: Vec<_> = [1, 2].map(|n| format!("127.0.0.1:1000{n}")).into();
        let proxies = Proxies::start(&ports, &[target, target], &endpoints).expect("starts");
        Pair { proxies, member, front: ports[1], endpoints }
    }

    impl Pair {
        /// A connection of the first member to the second, its hello sent.
        fn dial(&self) -> TcpStream {
            let mut stream = TcpStream::connect(("127.0.0.1", self.front)).expect("connects");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let body = format!("hello of http://{}", self.endpoints[0]);
            let length = u32::try_from(body.len()).expect("short").to_le_bytes();
            stream.write_all(&[&length, &[0; 4], body.as_bytes()].concat()).expect("sent");
            stream
        }

        /// The member's end, its hello read.
        fn accept(&self) -> TcpStream {
            let (mut stream, _) = self.member.accept().expect("accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut hello = vec![0; 8 + format!("hello of http://{}", self.endpoints[0]).len()];
            stream.read_exact(&mut hello).expect("a hello");
            stream
        }

        fn await_hindered(&self) {
            let deadline = Instant::now() + PATIENCE;
            while self.proxies.net.hindered() == 0 {
                assert!(Instant::now() < deadline, "traffic met no partition");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn is_quiet(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(QUIET)).expect("a timeout");
        let quiet = stream.read(&mut [0]).is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        quiet
    }

    #[test]
    fn a_held_path_delivers_late_and_the_way_back_of_another_pair_stays_open() {
        let pair = pair();
        let (mut dialer, mut member) = (pair.dial(), pair.accept());
        dialer.write_all(b"a").expect("sent");
        member.read_exact(&mut [0]).expect("an open path");
        pair.proxies.net.set(1, 0, Path::Cut);
        pair.proxies.net.set(0, 1, Path::Held);
        dialer.write_all(b"b").expect("sent");
        pair.await_hindered();
        assert!(is_quiet(&mut member));
        pair.proxies.net.heal();
        let mut byte = [0];
        member.read_exact(&mut byte).expect("late");
        assert_eq!(&byte, b"b");
    }

    #[test]
    fn a_newcomer_that_asks_who_it_is_is_known_by_its_peer_url() {
        let pair = pair();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let fronts = [20_001, 20_002].map(|port| format!("127.0.0.1:{port}"));
        let endpoints = pair.endpoints.as_slice().into();
        let front =
            Front { at: 0, address: nowhere, target: nowhere, endpoints, fronts: fronts.into() };
        assert_eq!(front.who(b"ask of http://127.0.0.1:20002"), Some(1));
        assert_eq!(front.who(b"ask of http://127.0.0.1:20003"), None);
        let hello = b"http://127.0.0.1:20001 http://127.0.0.1:20002, I am http://127.0.0.1:10002";
        assert_eq!(front.who(hello), Some(1), "a hello names everybody's peer URLs");
    }

    #[test]
    fn a_lossy_path_swallows_and_resets_at_the_heal() {
        let pair = pair();
        let (mut dialer, mut member) = (pair.dial(), pair.accept());
        pair.proxies.net.set(0, 1, Path::Lossy);
        dialer.write_all(b"a").expect("sent");
        pair.await_hindered();
        assert!(is_quiet(&mut member));
        pair.proxies.net.heal();
        assert!(matches!(member.read(&mut [0]), Ok(0) | Err(_)), "the byte is gone for good");
        drop(pair.dial());
        pair.accept();
    }

    #[test]
    fn a_cut_path_ends_connections_and_a_closed_port_refuses_them() {
        let pair = pair();
        let (mut dialer, _member) = (pair.dial(), pair.accept());
        pair.proxies.net.set(0, 1, Path::Cut);
        assert!(matches!(dialer.read(&mut [0]), Ok(0) | Err(_)), "cut");
        assert!(matches!(pair.dial().read(&mut [0]), Ok(0) | Err(_)), "cut again");
        pair.proxies.net.heal();
        pair.proxies.net.set_up(1, false);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", pair.front)).is_ok() {
            assert!(Instant::now() < deadline, "a closed port accepts");
            std::thread::sleep(Duration::from_millis(1));
        }
        pair.proxies.net.set_up(1, true);
        while TcpStream::connect(("127.0.0.1", pair.front)).is_err() {
            assert!(Instant::now() < deadline, "an open port refuses");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(pair.proxies.net.strangers.load(Ordering::Relaxed), 0);
    }
}
