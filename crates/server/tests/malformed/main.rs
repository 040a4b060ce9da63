//! Nonsense on both ports: the connection is closed, one line is logged, the member lives.
//! A process of its own, because the log is the process's.

use front_etcd::Front;
use member::{Hello, Purpose};
use server::config::{Config, local_cluster};
use server::node::{Handle, Node};
use server::peer::frame::{self, Kind};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(60);

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().expect("no panic inside").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines() -> Vec<String> {
    let bytes = LOG.lock().expect("no panic inside").clone();
    String::from_utf8_lossy(&bytes).lines().map(str::to_string).collect()
}

/// The lines with `part`, once there are any.
fn lines_with(part: &str) -> Vec<String> {
    let until = Instant::now() + WAIT;
    loop {
        let found: Vec<_> = lines().into_iter().filter(|line| line.contains(part)).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(Instant::now() < until, "no line with {part:?} in {:#?}", lines());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends bytes and waits until the member closes; returns the own port.
fn closed_after(to: SocketAddr, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(to).expect("connects");
    stream.set_read_timeout(Some(WAIT)).expect("set");
    stream.write_all(bytes).expect("sent");
    closes(&mut stream);
    stream.local_addr().expect("bound").port()
}

fn closes(stream: &mut TcpStream) {
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("it must close, not {error}"),
        }
    }
}

fn lives(nodes: &[Handle]) {
    let key = base::Blob::from(&b"k"[..]);
    let request = mvcc::RangeRequest { key, ..mvcc::RangeRequest::default() };
    let end = Instant::now() + WAIT;
    for node in nodes {
        // A read may fall into an election.
        while let Err(why) = node.remote().range(request.clone()) {
            assert!(Instant::now() < end, "the member answers: {why}");
        }
    }
}

fn hello_of(config: &Config, to: &Handle) -> Hello {
    let born = server::bootstrap::from_flags(config).expect("valid");
    Hello {
        purpose: Purpose::Stream,
        protocol: member::hello::PROTOCOL,
        cluster: born.cluster,
        member: born.member,
        to: to.id,
        incarnation: base::Incarnation(1),
        birth: 4711,
        config: std::sync::Arc::new(born.config),
        client_urls: Vec::new(),
        name: config.name.clone(),
        peer_urls: Vec::new(),
    }
}

fn sent_as(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(Kind::Hello, &mut bytes, |out| hello.encode(out));
    bytes
}

fn nonsense_on_the_client_port(node: &Handle) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let huge_frame = [&preface[..], &[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0], &[1; 64]].concat();
    let cases = [&b"\x00\xff\x13nonsense\r\n\r\n"[..], &huge_frame];
    for bytes in cases {
        let port = closed_after(node.client_addr, bytes);
        let found = lines_with(&format!("127.0.0.1:{port}"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("client connection closed"), "{}", found[0]);
    }
}

fn nonsense_on_the_peer_port(nodes: &[Handle], third: &Config) {
    let at = nodes[0].peer_addr;
    closed_after(at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    closed_after(at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let found = lines_with("frame of 542393671 bytes");
    assert_eq!(found.len(), 1, "the same stranger is one line: {found:#?}");
    let mut flipped = sent_as(&hello_of(third, &nodes[0]));
    *flipped.last_mut().expect("not empty") ^= 1;
    closed_after(at, &flipped);
    assert_eq!(lines_with("frame checksum does not match").len(), 1);
    let strict = Config { quorum: Some("all of (a, b, c)".into()), ..third.clone() };
    closed_after(at, &sent_as(&hello_of(&strict, &nodes[0])));
    let named = "quorum \"majority(a, b, c)\" here, \"all of (a, b, c)\" there";
    assert_eq!(lines_with(named).len(), 1);
    let quota = Config { quota_backend_bytes: 1 << 20, ..third.clone() };
    closed_after(at, &sent_as(&hello_of(&quota, &nodes[0])));
    let named = "limit quota_bytes: 2147483648 here, 1048576 there";
    assert_eq!(lines_with(named).len(), 1);
}

/// A member that is let in and then breaks the protocol.
fn nonsense_of_a_member(nodes: &[Handle], third: &Config) {
    let hello = hello_of(third, &nodes[0]);
    let mut bytes = sent_as(&hello);
    let mut message = Vec::new();
    frame::encode(Kind::Message, &mut message, |out| out.extend_from_slice(b"\x01nonsense"));
    bytes.extend_from_slice(&message);
    closed_after(nodes[0].peer_addr, &bytes);
    let found = lines_with(&format!("stream of member {:x} closed", hello.member.0));
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn nonsense_closes_its_connection_with_one_line_and_the_member_lives() {
    let subscriber = tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    let root = std::env::temp_dir().join(format!("quorate-malformed-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    let configs = local_cluster(&["a", "b", "c"], &root).expect("free ports");
    let start = |config: &Config| Node::start(config.clone(), Front::service).expect("starts");
    let nodes: Vec<Handle> = configs[..2].iter().map(start).collect();
    assert!(nodes.iter().all(|node| node.wait_ready(WAIT)));
    nonsense_on_the_client_port(&nodes[0]);
    nonsense_on_the_peer_port(&nodes, &configs[2]);
    nonsense_of_a_member(&nodes, &configs[2]);
    lives(&nodes);
    drop(nodes);
    let _ = std::fs::remove_dir_all(&root);
}
