//! Debian's etcdctl 3.4, unchanged. Expected texts are what it prints against etcd 3.7.

mod admin;
mod kv;
mod lease;
mod watch;

use super::interactive::{Interactive, WAIT_MAX};
use super::member::{Cluster, Output};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const INSTALL: &str = "etcdctl is installed: run .ci/tools (Debian package etcd-client)";

/// etcdctl; each command goes to the next member, because any member takes any request.
struct Ctl<'a> {
    cluster: &'a Cluster,
    next: AtomicUsize,
}

impl<'a> Ctl<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, next: AtomicUsize::new(0) }
    }

    fn endpoint(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.cluster.endpoint(next % self.cluster.len())
    }

    /// What a command prints; it must succeed.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.ok_with_input(args, "")
    }

    #[track_caller]
    fn ok_with_input(&self, args: &[&str], input: &str) -> String {
        let output = run(&self.endpoint(), args, input);
        assert!(output.ok, "etcdctl {args:?}: {output:?}");
        output.out
    }

    /// The last line of what a failing command prints: `Error: ...`.
    #[track_caller]
    fn error(&self, args: &[&str]) -> String {
        self.error_with_input(args, "")
    }

    #[track_caller]
    fn error_with_input(&self, args: &[&str], input: &str) -> String {
        let output = run(&self.endpoint(), args, input);
        assert!(!output.ok, "etcdctl {args:?} should fail: {output:?}");
        output.err.lines().last().unwrap_or_default().to_owned()
    }

    /// What a command prints with `--write-out json`.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--write-out", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}"))
    }

    /// The store's revision now.
    #[track_caller]
    fn revision(&self) -> i64 {
        let answer = self.json(&["get", "no such key"]);
        answer["header"]["revision"].as_i64().expect("a revision")
    }

    /// A command that keeps running, at one member.
    fn spawn(&self, args: &[&str]) -> Interactive {
        Interactive::spawn(command(&self.endpoint()).args(args))
    }
}

fn command(endpoints: &str) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", endpoints, "--command-timeout", "30s"]);
    // A busy machine may be slow to accept: this is not what is tested.
    command.args(["--dial-timeout", "30s"]);
    command
}

/// What is refused, certainly not applied, while the members still find each other: no leader in
/// time, or one that was elected just now and has yet to hear from those that a change needs. A
/// busy machine may elect at any time.
const EARLY: [&str; 3] = [
    "etcdserver: no leader",
    "not heard from",
    "etcdserver: re-configuration failed due to not enough started members",
];

/// Runs a command to its end, again and again while it is refused as too early.
pub fn settled(command: impl Fn() -> Output) -> Output {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let output = command();
        let early = !output.ok && EARLY.iter().any(|text| output.err.contains(text));
        if !early || Instant::now() > end {
            return output;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs etcdctl to its end with something on its standard input; a missing etcdctl fails the test.
pub fn run(endpoints: &str, args: &[&str], input: &str) -> Output {
    settled(|| run_once(endpoints, args, input))
}

fn run_once(endpoints: &str, args: &[&str], input: &str) -> Output {
    let mut child = command(endpoints)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(INSTALL);
    let mut stdin = child.stdin.take().expect("piped");
    // A command that does not read its input may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Output::from(child.wait_with_output().expect("etcdctl ends"))
}
