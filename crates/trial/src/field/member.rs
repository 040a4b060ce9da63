//! One member as a process: its flags as they would be typed, its memory bounded, always stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::stage::{READY_MAX, until};
use crate::cluster::Program;

/// How long a process may take to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(30);
const PROBE_MAX: Duration = Duration::from_secs(1);
/// Lines of a log that are shown.
const TAIL_LINES: usize = 2;

/// A member, running or not; dropped, its process is killed.
pub struct Member {
    program: Program,
    pub name: String,
    pub client: u16,
    pub peer: u16,
    flags: BTreeMap<String, String>,
    dir: PathBuf,
    log: PathBuf,
    /// Bytes of its log that earlier lives wrote.
    said_before: usize,
    memory_bytes_max: u64,
    child: Option<Child>,
}

impl Member {
    pub fn new(program: Program, name: &str, root: &Path, ports: &[u16], memory: u64) -> Self {
        Self {
            program,
            name: name.to_owned(),
            client: ports[0],
            peer: ports[1],
            flags: BTreeMap::new(),
            dir: root.join(format!("{name}-{}", ports[0])),
            log: root.join(format!("{name}-{}.log", ports[0])),
            said_before: 0,
            memory_bytes_max: memory,
            child: None,
        }
    }

    /// Sets a flag of the next start.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.flags.insert(flag.to_owned(), value.to_owned());
    }

    /// Leaves a flag of the next start out.
    pub fn unset(&mut self, flag: &str) {
        self.flags.remove(flag);
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `host:port` for clients.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    pub fn client_url(&self) -> String {
        format!("http://{}", self.endpoint())
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    /// Starts the process and bounds its memory.
    pub fn start(&mut self) -> Result<()> {
        assert!(self.child.is_none(), "the member runs already");
        let log = File::options().create(true).append(true).open(&self.log)?;
        self.said_before = usize::try_from(log.metadata()?.len())?;
        let mut command = self.program.command()?;
        command.args(self.flags.iter().map(|(name, value)| format!("--{name}={value}")));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(command.spawn().context("start the member")?);
        let most = Some(self.memory_bytes_max);
        let limit = Rlimit { current: most, maximum: most };
        // It may have ended already, as one with refused flags does.
        let _ = prlimit(Some(pid_of(child)), Resource::As, limit);
        Ok(())
    }

    /// Starts, and waits until it serves.
    pub fn start_ready(&mut self) -> Result<()> {
        self.start()?;
        self.await_ready()
    }

    /// Waits until `/health` says that it serves and has a leader.
    pub fn await_ready(&mut self) -> Result<()> {
        let what = format!("{} serves", self.name);
        until(&what, READY_MAX, || {
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}): {}", self.name, self.tail());
            }
            Ok(self.is_healthy().then_some(()))
        })
        .with_context(|| self.tail())
    }

    /// Whether it serves within `bound`; the end of its process is a no.
    pub fn serves_within(&mut self, bound: Duration) -> Result<bool> {
        let deadline = Instant::now() + bound;
        while Instant::now() < deadline {
            if self.is_healthy() {
                return Ok(true);
            }
            if self.ended()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// `/health`, right now.
    pub fn is_healthy(&self) -> bool {
        self.http("/health").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// One GET; none when there was no answer within a second.
    pub fn http(&self, path: &str) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.client));
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect_timeout(&address, PROBE_MAX)?;
            socket.set_read_timeout(Some(PROBE_MAX))?;
            write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        ask().ok()
    }

    /// Whether the process runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits until it ends by itself.
    pub fn await_end(&mut self, bound: Duration) -> Result<ExitStatus> {
        until(&format!("{} ends", self.name), bound, || self.ended())
    }

    pub fn signal(&mut self, signal: Signal) {
        let child = self.child.as_ref().expect("the member runs");
        // Our own child, not yet waited for: the id cannot belong to another process.
        kill_process(pid_of(child), signal).expect("a signal to our own child");
    }

    /// SIGSTOP, and waits until every thread stands still: the first to hear of it tells the
    /// others, and on a busy machine they go on meanwhile.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::STOP);
        let pid = self.child.as_ref().expect("the member runs").id();
        let stands = |thread: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        until(&format!("{} stands still", self.name), END_MAX, || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?;
            let all = threads.flatten().all(stands);
            Ok(all.then_some(()))
        })
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal to our own child");
            child.wait().expect("our own child ends");
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM);
        self.await_end(END_MAX).map(drop)
    }

    /// Everything this life printed.
    pub fn said(&self) -> String {
        let all = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(all.get(self.said_before..).unwrap_or_default()).into_owned()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Files below its directory, with their lengths and content hashes.
    pub fn files(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut rest = vec![self.dir.clone()];
        while let Some(dir) = rest.pop() {
            for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    rest.push(path);
                } else {
                    found.insert(path.clone(), std::fs::read(&path)?);
                }
            }
        }
        ensure!(!found.is_empty(), "{} is empty", self.dir.display());
        Ok(found)
    }
}

/// Its memory.
impl Member {
    /// Bounds the address space of the next start; quorate's only, Go reserves what it likes.
    pub fn bound_memory(&mut self, bytes_max: u64) {
        if !matches!(self.program, Program::Etcd) {
            self.memory_bytes_max = bytes_max;
        }
    }

    /// Sockets the process holds.
    pub fn sockets(&self) -> Result<usize> {
        let pid = self.pid().context("the member does not run")?;
        let mut count = 0;
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One that is closed meanwhile is no socket any more.
            let link = entry.and_then(|entry| std::fs::read_link(entry.path()));
            count += usize::from(link.is_ok_and(|to| to.to_string_lossy().starts_with("socket:")));
        }
        Ok(count)
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_kib("VmRSS:").map(|kib| kib << 10)
    }

    /// The most memory that was ever resident, in bytes.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status_kib("VmHWM:").map(|kib| kib << 10)
    }

    fn status_kib(&self, field: &str) -> Result<u64> {
        let pid = self.pid().context("the member does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("/proc/{pid}/status has no {field}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Also while panicking: nothing of ours may stay behind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    let id = i32::try_from(child.id()).expect("process ids are small");
    Pid::from_raw(id).expect("a process id is not zero")
}
