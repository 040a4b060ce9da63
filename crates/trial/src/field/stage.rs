//! Where a scenario plays: a directory, a runtime on its own thread, members of one program.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Handle;

use super::asked::Client;
use super::member::Member;
use crate::beside::Beside;
use crate::cluster::{Program, free_ports};

/// Address space of a quorate under trial, unless a scenario says otherwise.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Go reserves address space it never touches, and etcd maps 10 GiB for its file at once.
const ETCD_MEMORY_BYTES_MAX: u64 = 24 << 30;
/// How long a member may take to serve.
pub const READY_MAX: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);
/// Longest that one wrong is told; the logs have the rest.
const WRONG_CHARS_MAX: usize = 400;
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a program did, and what of it should not be.
#[derive(Debug, Default)]
pub struct Seen {
    pub did: Vec<String>,
    /// Whether it must hold what is asked; of others it is told where they do not.
    pub judged: bool,
    pub wrong: Vec<String>,
    /// Where logs and directories stay, if they do.
    pub kept: Option<PathBuf>,
}

impl Seen {
    /// Something worth a word.
    pub fn did(&mut self, what: impl Into<String>) {
        self.did.push(what.into());
    }

    /// What must hold; `why` says what was seen where it does not.
    pub fn must(&mut self, holds: bool, why: impl Into<String>) {
        if !holds {
            self.wrong.push(why.into().chars().take(WRONG_CHARS_MAX).collect());
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        let mut text = self.did.join(", ");
        for wrong in &self.wrong {
            let space = if text.is_empty() { "" } else { "; " };
            let word = if self.judged { "WRONG" } else { "but" };
            text.push_str(&format!("{space}{word}: {wrong}"));
        }
        if let Some(kept) = &self.kept {
            text.push_str(&format!(" (logs: {})", kept.display()));
        }
        text.replace('\n', " / ")
    }
}

/// One scenario's place; dropped, its directory is removed and its runtime ends.
pub struct Stage {
    pub program: Program,
    root: PathBuf,
    token: String,
    keep: bool,
    beside: Beside,
}

impl Stage {
    pub fn new(row: &str, program: Program) -> Result<Self> {
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("field-{row}-{program}-{}-{unique}", std::process::id());
        let root = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        Ok(Self { program, root, token: name, keep: false, beside: Beside::start()? })
    }

    /// Whether the real etcd plays.
    pub fn is_etcd(&self) -> bool {
        matches!(self.program, Program::Etcd)
    }

    /// Directories and logs stay, for somebody to look at.
    pub fn keep(&mut self) -> PathBuf {
        self.keep = true;
        self.root.clone()
    }

    /// A path of this scenario.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Drives a future to its end; tasks it spawns go on on the stage's own thread.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.beside.wait(work)
    }

    /// The runtime of this stage.
    pub fn handle(&self) -> &Handle {
        self.beside.handle()
    }

    /// A client of one member; it connects when it is first used.
    pub fn client(&self, member: &Member) -> Client {
        Client::new(&member.endpoint(), self.handle().clone())
    }

    /// One member alone, not started.
    pub fn single(&self) -> Result<Member> {
        Ok(self.group(1)?.remove(0))
    }

    /// Members named a, b, c.. of one cluster, not started.
    pub fn group(&self, count: usize) -> Result<Vec<Member>> {
        let names = ["a", "b", "c", "d", "e"];
        let members: Result<Vec<_>> = names[..count].iter().map(|name| self.bare(name)).collect();
        let mut members = members?;
        let cluster: Vec<_> =
            members.iter().map(|m| format!("{}={}", m.name, m.peer_url())).collect();
        for member in &mut members {
            member.set("initial-cluster", &cluster.join(","));
        }
        Ok(members)
    }

    /// As [`Self::group`], started, and every member serves.
    pub fn running(&self, count: usize, flags: &[(&str, &str)]) -> Result<Vec<Member>> {
        let mut members = self.group(count)?;
        for member in &mut members {
            flags.iter().for_each(|(name, value)| member.set(name, value));
            member.start()?;
        }
        members.iter_mut().try_for_each(Member::await_ready)?;
        Ok(members)
    }

    /// A member with the flags of a first start but the cluster it belongs to.
    pub fn bare(&self, name: &str) -> Result<Member> {
        let ports = free_ports(2)?;
        let memory = if self.is_etcd() { ETCD_MEMORY_BYTES_MAX } else { MEMORY_BYTES_MAX };
        let mut member = Member::new(self.program.clone(), name, &self.root, &ports, memory);
        let (client, peer) = (member.client_url(), member.peer_url());
        member.set("name", name);
        member.set("data-dir", &member.dir().display().to_string());
        member.set("listen-client-urls", &client);
        member.set("advertise-client-urls", &client);
        member.set("listen-peer-urls", &peer);
        member.set("initial-advertise-peer-urls", &peer);
        member.set("initial-cluster-token", &self.token);
        if self.is_etcd() {
            member.set("log-level", "warn");
        }
        Ok(member)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// Looks until `done` gives something; says `what` was waited for when `bound` has passed.
pub fn until<T>(
    what: &str,
    bound: Duration,
    mut done: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = done()? {
            return Ok(value);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {:.1} s", bound.as_secs_f64());
        std::thread::sleep(POLL);
    }
}

/// As [`until`], for what may also not come; gives how long it took.
pub fn took(bound: Duration, mut done: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if done() {
            return Some(began.elapsed());
        }
        if began.elapsed() > bound {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Seconds of something that may not have happened.
pub fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(|| "never".to_owned(), |span| format!("{:.2} s", span.as_secs_f64()))
}
