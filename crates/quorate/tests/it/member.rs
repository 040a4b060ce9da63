//! Members as processes: started, awaited, and always stopped by their process id.

use super::interactive::{WAIT_MAX, lines_of};
use server::config::free_ports;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

static NEXT: AtomicU32 = AtomicU32::new(0);
static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The etcd binary that these tests run against instead of Quorate, if any.
fn etcd() -> Option<std::ffi::OsString> {
    std::env::var_os("QUORATE_IT_ETCD")
}

/// The expected value where Quorate differs from etcd on purpose.
pub fn ours<T>(ours: T, etcds: T) -> T {
    if etcd().is_some() { etcds } else { ours }
}

/// The program and the arguments that come before the flags.
fn server() -> Command {
    match etcd() {
        Some(etcd) => Command::new(etcd),
        None => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
            command.arg("serve");
            command
        }
    }
}

pub struct Cluster {
    root: PathBuf,
    ports: Vec<(u16, u16)>,
    children: Vec<Option<Child>>,
    /// Behind a lock only so that tests may share the cluster.
    starting: Mutex<Vec<Receiver<String>>>,
    flags: Vec<String>,
    /// Members at bootstrap; later ones join.
    initial: usize,
}

impl Cluster {
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// Starts members that all get these flags too.
    pub fn start_with(count: usize, flags: &[&str]) -> Self {
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("quorate-it-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&root).expect("a temporary directory");
        let ports = free_ports(2 * count).expect("free ports");
        let ports = ports.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let children = (0..count).map(|_| None).collect();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut cluster =
            Self { root, ports, children, starting: Mutex::default(), flags, initial: count };
        let ready: Vec<_> = (0..count).map(|n| cluster.spawn(n)).collect();
        ready.into_iter().for_each(await_ready);
        cluster
    }

    /// Room for one more member, which is not started.
    pub fn reserve(&mut self) -> usize {
        let ports = free_ports(2).expect("free ports");
        self.ports.push((ports[0], ports[1]));
        self.children.push(None);
        self.ports.len() - 1
    }

    pub fn peer_url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at].1)
    }

    /// Waits for a member's own end; true when it left with success.
    pub fn await_end(&mut self, at: usize) -> bool {
        let mut child = self.children[at].take().expect("the member was started");
        let end = Instant::now() + WAIT_MAX;
        while Instant::now() < end {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status.success();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = (child.kill(), child.wait());
        panic!("member {at} did not end within {WAIT_MAX:?}");
    }

    /// The directory of a member is emptied.
    pub fn wipe(&self, at: usize) {
        let dir = self.root.join(format!("n{}", at + 1));
        std::fs::remove_dir_all(dir).expect("it was there");
    }

    /// Starts a member with state `existing` and waits for its end; what it said.
    pub fn run_to_end(&self, at: usize) -> Output {
        let child = self.command(at, true).spawn().expect("the binary starts");
        Output::from(child.wait_with_output().expect("our own child"))
    }

    /// Three members that tests running at the same time use together: each has its own keys,
    /// none compacts or raises alarms. Stopped when the last of them is done.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(3));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    pub fn endpoint(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at].0)
    }

    pub fn len(&self) -> usize {
        self.ports.len()
    }

    pub fn endpoints(&self) -> String {
        (0..self.ports.len()).map(|n| self.endpoint(n)).collect::<Vec<_>>().join(",")
    }

    /// A file name in the cluster's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn command(&self, at: usize, existing: bool) -> Command {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = self.ports[at];
        let initial: Vec<_> =
            (0..self.ports.len()).map(|n| format!("n{}={}", n + 1, url(self.ports[n].1))).collect();
        let mut command = server();
        command
            .args(["--name", &format!("n{}", at + 1)])
            .arg("--data-dir")
            .arg(self.root.join(format!("n{}", at + 1)))
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-token", "it"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if existing {
            command.args(["--initial-cluster-state", "existing"]);
        }
        command
    }

    fn spawn(&mut self, at: usize) -> Receiver<String> {
        let mut child = self.command(at, at >= self.initial).spawn().expect("the binary starts");
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        self.children[at] = Some(child);
        lines_of([Box::new(out), Box::new(err)])
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
        self.starting.get_mut().expect("no test panicked in it").push(ready);
    }

    /// Waits until every restarted member is ready.
    pub fn await_all(&mut self) {
        let starting = self.starting.get_mut().expect("no test panicked in it");
        starting.drain(..).for_each(await_ready);
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
        super::etcdctl::run(endpoints, args, "")
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
    let end = Instant::now() + WAIT_MAX;
    let mut said = Vec::new();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let ready = line.contains("ready to serve client requests");
        said.push(line);
        if ready {
            return;
        }
    }
    panic!("a member did not become ready within {WAIT_MAX:?}; it said: {said:#?}");
}
