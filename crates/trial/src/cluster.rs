//! Members as processes: started, awaited, hurt, and always stopped by their process id.

use std::fmt;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a member may take until its client port answers `/health`-style probes.
const READY_MAX: Duration = Duration::from_secs(60);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What to run.
#[derive(Clone, Debug)]
pub enum Program {
    /// `quorate serve` of this binary.
    Quorate(PathBuf),
    /// The real etcd that the crate `etcd-bin-vendored` carries.
    Etcd,
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if matches!(self, Self::Etcd) { "etcd" } else { "quorate" })
    }
}

impl Program {
    /// The program, ready for its flags.
    ///
    /// # Errors
    /// A binary that is missing.
    pub fn command(&self) -> Result<Command> {
        match self {
            Self::Quorate(path) => {
                ensure!(path.exists(), "{} is missing: build it first", path.display());
                let mut command = Command::new(path);
                command.arg("serve");
                Ok(command)
            }
            Self::Etcd => {
                let path = etcd_bin_vendored::etcd_bin_path().map_err(|why| anyhow!("{why}"))?;
                Ok(Command::new(path))
            }
        }
    }
}

/// The release binary of this workspace.
pub fn quorate_binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("release/quorate")
}

struct Member {
    client: u16,
    /// Where the member listens for peers.
    peer: u16,
    /// Where its peers reach it: `peer`, or a proxy in front of it.
    peer_seen: u16,
    child: Option<Child>,
    stopped: bool,
    /// Whether it asks a running cluster who it is, instead of founding one.
    joins: bool,
}

impl Member {
    /// One that does not run, at its client and its peer port.
    fn at(ports: &[u16], joins: bool) -> Self {
        let (client, peer) = (ports[0], ports[1]);
        Self { client, peer, peer_seen: peer, child: None, stopped: false, joins }
    }
}

/// Processes of one cluster, with their directories; dropped, all are killed and removed.
pub struct Cluster {
    program: Program,
    root: PathBuf,
    token: String,
    flags: Vec<String>,
    members: Vec<Member>,
    /// Members at bootstrap; those after them join a running cluster.
    initial: usize,
    keep: bool,
}

impl Cluster {
    /// Starts `count` members named `n1`.. and waits until all serve.
    ///
    /// # Errors
    /// A binary that is missing, or a member that is not ready within a minute.
    pub fn start(program: &Program, count: usize, flags: &[&str]) -> Result<Self> {
        let mut cluster = Self::prepare(program, count, flags)?;
        for at in 0..count {
            cluster.spawn(at)?;
        }
        cluster.await_ready()?;
        Ok(cluster)
    }

    /// Chooses ports and directories, starts nothing; proxies may then be put in front of peers.
    ///
    /// # Errors
    /// No free port or no temporary directory.
    pub fn prepare(program: &Program, count: usize, flags: &[&str]) -> Result<Self> {
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("trial-{}-{unique}", std::process::id());
        let root = std::env::temp_dir().join(&token);
        std::fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let ports = free_ports(2 * count)?;
        let members = ports.chunks(2).map(|ports| Member::at(ports, false)).collect();
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (program, initial) = (program.clone(), count);
        Ok(Self { program, root, token, flags, members, initial, keep: false })
    }

    /// Room for one more member, which joins the running cluster when it is started.
    ///
    /// # Errors
    /// No free port.
    pub fn reserve(&mut self) -> Result<usize> {
        self.members.push(Member::at(&free_ports(2)?, true));
        Ok(self.members.len() - 1)
    }

    /// Members, running or not.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// `host:port` of a member's client port.
    pub fn endpoint(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.members[at].client)
    }

    /// Client endpoints of all members, running or not.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|at| self.endpoint(at)).collect()
    }

    /// Where a member listens for its peers.
    pub fn peer_address(&self, at: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.members[at].peer))
    }

    /// Makes the others reach this member at `port`; before the first start only.
    pub fn put_proxy(&mut self, at: usize, port: u16) {
        assert!(self.members.iter().all(|m| m.child.is_none()), "proxies come before members");
        self.members[at].peer_seen = port;
    }

    /// Removes everything a member that does not run had on its disk.
    ///
    /// # Errors
    /// The file system.
    pub fn empty(&mut self, at: usize) -> Result<()> {
        assert!(self.members[at].child.is_none(), "a running member keeps its directory");
        let dir = self.data_dir(at);
        std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
    }

    /// Copies what a member that does not run has on its disk, for [`Self::put_back`].
    ///
    /// # Errors
    /// The file system.
    pub fn keep_image(&self, at: usize) -> Result<()> {
        assert!(self.members[at].child.is_none(), "a running member writes");
        copy_dir(&self.data_dir(at), &self.image(at))
    }

    /// Puts the copy in the place of a directory.
    ///
    /// # Errors
    /// The file system, or there is no copy.
    pub fn put_back(&mut self, at: usize) -> Result<()> {
        self.empty(at)?;
        let image = self.image(at);
        std::fs::rename(&image, self.data_dir(at)).with_context(|| image.display().to_string())
    }

    fn image(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}.image", at + 1))
    }

    /// From its next start on the member joins the running cluster, as one that was added does.
    pub fn rejoin(&mut self, at: usize) {
        assert!(self.members[at].child.is_none(), "flags are read at a start");
        self.members[at].joins = true;
    }

    /// Whether a member's log, over all its lives, has a line with `text`.
    ///
    /// # Errors
    /// The file system.
    pub fn says(&self, at: usize, text: &str) -> Result<bool> {
        let log = self.log(at);
        let said = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        Ok(said.contains(text))
    }

    /// The URL under which its peers know a member.
    pub fn peer_url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[at].peer_seen)
    }

    /// `/health` of a member, right now.
    pub fn is_healthy(&self, at: usize) -> bool {
        healthy(self.members[at].client)
    }

    /// A member's data directory.
    pub fn data_dir(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}", at + 1))
    }

    /// A member's log: everything it printed, over all its lives.
    pub fn log(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}.log", at + 1))
    }

    /// Keeps directories and logs after the end, for somebody to look at.
    pub fn keep(&mut self) -> &Path {
        self.keep = true;
        &self.root
    }

    /// The process id of a running member.
    pub fn pid(&self, at: usize) -> Option<u32> {
        self.members[at].child.as_ref().map(Child::id)
    }

    /// Whether the member runs and is not stopped by a signal.
    pub fn is_running(&self, at: usize) -> bool {
        self.members[at].child.is_some() && !self.members[at].stopped
    }

    /// Starts a member that does not run.
    ///
    /// # Errors
    /// The binary or the log file.
    pub fn spawn(&mut self, at: usize) -> Result<()> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        // Whoever founds the cluster must say what the others said, also with an empty directory.
        let known = if self.members[at].joins { self.members.len() } else { self.initial };
        let initial: Vec<_> =
            (0..known).map(|n| format!("n{}={}", n + 1, self.peer_url(n))).collect();
        let log = File::options().create(true).append(true).open(self.log(at))?;
        let member = &self.members[at];
        assert!(member.child.is_none(), "the member runs already");
        let mut command = self.program.command()?;
        command
            .args(["--name", &format!("n{}", at + 1)])
            .arg("--data-dir")
            .arg(self.data_dir(at))
            .args(["--listen-client-urls", &url(member.client)])
            .args(["--advertise-client-urls", &url(member.client)])
            .args(["--listen-peer-urls", &url(member.peer)])
            .args(["--initial-advertise-peer-urls", &url(member.peer_seen)])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-token", &self.token])
            .args(&self.flags)
            .args(member.joins.then_some("--initial-cluster-state=existing"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("start {}", self.program))?;
        self.members[at].child = Some(child);
        Ok(())
    }

    /// Waits until every running member's client port accepts and the cluster elected a leader.
    ///
    /// # Errors
    /// A member that ended, or a minute passed; its log is named.
    pub fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        for at in 0..self.members.len() {
            while self.is_running(at) && !healthy(self.members[at].client) {
                let log = self.log(at);
                let child = self.members[at].child.as_mut().expect("it runs");
                if let Some(status) = child.try_wait()? {
                    bail!("n{} ended ({status}): {}", at + 1, tail(&log));
                }
                ensure!(Instant::now() < deadline, "n{} is not ready: {}", at + 1, tail(&log));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Sends a signal to a running member.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&mut self, at: usize, signal: Signal) {
        let pid = self.pid(at).expect("the member runs");
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
        // Our own child, not yet waited for: the id cannot belong to another process.
        kill_process(pid, signal).expect("a signal to our own child");
        match signal {
            Signal::STOP => self.members[at].stopped = true,
            Signal::CONT => self.members[at].stopped = false,
            _ => {}
        }
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self, at: usize) {
        let mut child = self.members[at].child.take().expect("the member runs");
        child.kill().expect("a signal to our own child");
        child.wait().expect("our own child ends");
        self.members[at].stopped = false;
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// It did not end in a minute.
    pub fn terminate(&mut self, at: usize) -> Result<()> {
        self.signal(at, Signal::TERM);
        let deadline = Instant::now() + READY_MAX;
        let child = self.members[at].child.as_mut().expect("it was just signalled");
        while child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "n{} does not stop", at + 1);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.members[at].child = None;
        Ok(())
    }

    /// The member's exit, if it ended by itself.
    ///
    /// # Errors
    /// The system call.
    pub fn ended(&mut self, at: usize) -> Result<Option<std::process::ExitStatus>> {
        let Some(child) = self.members[at].child.as_mut() else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.members[at].child = None;
        }
        Ok(status)
    }

    /// CPU time the running members used so far, user and system.
    ///
    /// # Errors
    /// No `/proc`.
    pub fn cpu_used(&self) -> Result<Duration> {
        let running = self.members.iter().filter_map(|m| m.child.as_ref());
        running.map(|child| cpu_of(&child.id().to_string())).sum()
    }
}

/// CPU time a process used so far, user and system; `self` is this one.
///
/// # Errors
/// No `/proc`, or the process is gone.
pub fn cpu_of(process: &str) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|m| m.child.as_mut()) {
            // It may have ended by itself; either way it must not outlive us.
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.keep {
            eprintln!("kept: {}", self.root.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// Ports that nothing listens on, below those the system gives to outgoing connections: a port
/// from that range could be taken while its member is down.
///
/// # Errors
/// None is free.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    const FIRST: u32 = 12_000;
    const RANGE: u32 = 20_000;
    static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(613);
    let mut ports = Vec::new();
    for _ in 0..RANGE {
        let offset = start.wrapping_add(NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % RANGE;
        let port = u16::try_from(FIRST + offset).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    bail!("no {count} free ports")
}

/// `/health` answers 200 once a member serves and knows a leader; both servers have it.
fn healthy(port: u16) -> bool {
    use std::io::{Read, Write};
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_put_back_is_as_it_was_when_it_was_copied() -> Result<()> {
        let mut cluster = Cluster::prepare(&Program::Etcd, 1, &[])?;
        let file = cluster.data_dir(0).join("journal/1");
        std::fs::create_dir_all(cluster.data_dir(0).join("journal"))?;
        std::fs::write(&file, "before")?;
        cluster.keep_image(0)?;
        std::fs::write(&file, "after")?;
        std::fs::write(cluster.data_dir(0).join("later"), "")?;
        cluster.put_back(0)?;
        assert_eq!(std::fs::read_to_string(&file)?, "before");
        assert!(!cluster.data_dir(0).join("later").exists(), "what came after is gone");
        assert!(cluster.put_back(0).is_err(), "a copy is put back once");
        Ok(())
    }
}
