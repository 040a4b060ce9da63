//! Members as processes: started, awaited, and always stopped by their process id.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Cluster {
    root: PathBuf,
    ports: Vec<(u16, u16)>,
    children: Vec<Option<Child>>,
    starting: Vec<Receiver<String>>,
}

impl Cluster {
    pub fn start(count: usize) -> Self {
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("quorate-it-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&root).expect("a temporary directory");
        let held: Vec<_> = (0..2 * count)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let port = |n: usize| held[n].local_addr().expect("bound").port();
        let ports = (0..count).map(|n| (port(2 * n), port(2 * n + 1))).collect();
        drop(held);
        let children = (0..count).map(|_| None).collect();
        let mut cluster = Self { root, ports, children, starting: Vec::new() };
        let ready: Vec<_> = (0..count).map(|n| cluster.spawn(n)).collect();
        ready.into_iter().for_each(await_ready);
        cluster
    }

    pub fn endpoint(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at].0)
    }

    pub fn endpoints(&self) -> String {
        (0..self.ports.len()).map(|n| self.endpoint(n)).collect::<Vec<_>>().join(",")
    }

    fn spawn(&mut self, at: usize) -> Receiver<String> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = self.ports[at];
        let initial: Vec<_> =
            (0..self.ports.len()).map(|n| format!("n{}={}", n + 1, url(self.ports[n].1))).collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .arg("serve")
            .args(["--name", &format!("n{}", at + 1)])
            .arg("--data-dir")
            .arg(self.root.join(format!("n{}", at + 1)))
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-token", "it"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (sender, receiver) = channel();
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        for stream in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // The reader may have stopped listening; the pipe must still be drained.
                    let _ = sender.send(line);
                }
            });
        }
        self.children[at] = Some(child);
        receiver
    }

    /// `kill -9`.
    pub fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("the member runs");
        child.kill().expect("a signal to our own child");
        child.wait().expect("our own child ends");
    }

    pub fn restart_without_waiting(&mut self, at: usize) {
        assert!(self.children[at].is_none(), "the member is down");
        let ready = self.spawn(at);
        self.starting.push(ready);
    }

    /// Waits until every restarted member is ready.
    pub fn await_all(&mut self) {
        self.starting.drain(..).for_each(await_ready);
    }

    /// Runs a second process over a member's directory and waits for its end.
    pub fn run_again(&self, at: usize) -> Output {
        let url = "http://127.0.0.1:0";
        let output = Command::new("timeout")
            .args(["20", env!("CARGO_BIN_EXE_quorate"), "serve", "--name", "n1", "--data-dir"])
            .arg(self.root.join(format!("n{}", at + 1)))
            .args(["--listen-client-urls", url, "--listen-peer-urls", url])
            .output()
            .expect("the binary starts");
        Output::from(output)
    }

    /// Runs etcdctl against the given endpoints; a missing etcdctl fails the test.
    pub fn etcdctl(&self, endpoints: &str, args: &[&str]) -> Output {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoints, "--command-timeout", "20s"])
            .args(args)
            .output()
            .expect("etcdctl is installed (Debian package etcd-client)");
        Output::from(output)
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

#[derive(Debug)]
pub struct Output {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

fn await_ready(lines: Receiver<String>) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut said = Vec::new();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let ready = line.contains("ready to serve client requests");
        said.push(line);
        if ready {
            return;
        }
    }
    panic!("a member did not become ready within 30 s; it said: {said:#?}");
}
