//! `quorate serve` as a process: arguments it refuses, and how it ends.

use api::etcdserverpb as pb;
use client::{Channel, method};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(60);

fn serve(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("serve").args(args).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("quorate-serve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("made");
        Self(path)
    }

    fn flag(&self, name: &str) -> String {
        format!("--data-dir={}", self.0.join(name).display())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn arguments_that_cannot_be_used_end_it_with_code_2_and_a_name() {
    let dir = Temporary::new("arguments");
    let three = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3";
    let mine = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    let of_three = |more: &'static str| vec!["--name=a", mine, three, more];
    let cases: [(Vec<&str>, &str); 7] = [
        (vec!["--nonsense=1"], "unknown flag --nonsense"),
        (vec!["--cert-file=x"], "--cert-file is not supported"),
        (vec!["stray"], "unexpected argument \"stray\""),
        (vec!["--name=d", mine, three], "\"d\" is not in --initial-cluster"),
        (vec!["--name=b", mine, three], "--initial-advertise-peer-urls is http://127.0.0.1:1"),
        (of_three("--quorum=1 of (a, b, c)"), "--quorum"),
        (of_three("--quorum=2 of (a, b, x)"), "x"),
    ];
    for (mut args, named) in cases {
        let data = dir.flag("none");
        args.push(&data);
        let output = serve(&args).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(named), "{args:?}: {text}");
    }
}

#[test]
fn a_member_that_reaches_nobody_of_the_cluster_it_is_to_join_says_so_and_ends() {
    let dir = Temporary::new("join");
    let args = [
        "--name=b",
        "--initial-advertise-peer-urls=http://127.0.0.1:2",
        "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2",
        "--initial-cluster-state=existing",
        &dir.flag("none"),
    ];
    let output = serve(&args).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot join the cluster: 127.0.0.1:1"), "{text}");
}

struct Member {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    client: String,
}

impl Member {
    fn wait_for(&self, part: &str) {
        let until = Instant::now() + WAIT;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        panic!("no line with {part:?}");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(done.success());
    }

    fn leads(&self) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let to = Channel::new(&self.client);
            let request = pb::StatusRequest {};
            let status: pb::StatusResponse = to
                .call_within(WAIT, method::maintenance::STATUS, &request)
                .await
                .expect("a status");
            status.leader != 0 && status.header.expect("a header").member_id == status.leader
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two members, ready. Their election timeout is long enough for a stop to be noticed waiting.
fn pair(dir: &Temporary) -> [Member; 2] {
    let ports = server::config::free_ports(4).expect("free ports");
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    let cluster = format!("--initial-cluster=a={},b={}", urls[0], urls[1]);
    let members = ["a", "b"].iter().enumerate().map(|(at, name)| {
        let (peer, client) = (&urls[at], &urls[at + 2]);
        let mut child = serve(&[
            &format!("--name={name}"),
            &dir.flag(name),
            &cluster,
            &format!("--listen-peer-urls={peer}"),
            &format!("--listen-client-urls={client}"),
            "--election-timeout=8000",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let client = client.trim_start_matches("http://").to_string();
        Member { child, lines, client }
    });
    let members: Vec<Member> = members.collect();
    members.iter().for_each(|member| member.wait_for("ready to serve client requests"));
    members.try_into().unwrap_or_else(|_| unreachable!("two were made"))
}

#[test]
fn a_second_signal_ends_a_stop_that_waits_for_a_hand_over() {
    let dir = Temporary::new("signals");
    let [a, b] = pair(&dir);
    let (mut leader, other) = if a.leads() { (a, b) } else { (b, a) };
    assert!(leader.leads());
    // Nobody is left to hand over to, so the stop would wait for an election timeout.
    other.signal("-STOP");
    leader.signal("-TERM");
    leader.wait_for("stopping");
    let started = Instant::now();
    leader.signal("-TERM");
    leader.wait_for("second signal");
    let code = leader.child.wait().expect("it ends").code();
    assert_eq!(code, Some(1));
    assert!(started.elapsed() < Duration::from_secs(6), "at once, not after a timeout");
}
