//! `quorate trace` at real members.

use super::interactive::{Interactive, await_condition};
use super::member::{Cluster, Output};
use std::process::Command;

const RECORD: &[&str] = &["--record=100000"];

fn command(endpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["trace", "--endpoints", endpoints]).args(args);
    command
}

fn run(command: &mut Command) -> (Option<i32>, Output) {
    let output = command.output().expect("the binary starts");
    (output.status.code(), Output::from(output))
}

fn fails(endpoints: &str, args: &[&str], code: i32, why: &str) {
    let (ended, output) = run(&mut command(endpoints, args));
    assert_eq!(ended, Some(code), "{output:?}");
    assert!(output.out.is_empty() && output.err.contains(why), "{why:?} of {output:?}");
}

#[test]
fn what_three_members_recorded_says_why_a_write_was_decided() {
    let cluster = Cluster::start_with(3, RECORD);
    let all = cluster.endpoints();
    let put = cluster.etcdctl(&cluster.endpoint(1), &["put", "k", "v"]);
    assert!(put.ok, "{put:?}");
    let why = |output: &Output| {
        output.ok
            && output.out.starts_with("revision 2 is entry ")
            && output.out.contains(" leads ballot ")
            && output.out.contains("  a minimal quorum inside: ")
    };
    let revision = ["--revision", "2"];
    await_condition("the decision", || why(&run(&mut command(&all, &revision)).1));
    let (code, told) = run(&mut command(&all, &[]));
    assert_eq!(code, Some(0), "{told:?}");
    for part in ["n1 starts", "n2 starts", "n3 starts", " leads ballot ", " leads; its entry "] {
        assert!(told.out.contains(part), "{part} in {told:?}");
    }
    let file = cluster.path("live.jsonl");
    let file = file.to_str().expect("a plain path");
    let (code, told) = run(&mut command(&all, &["--out", file]));
    assert_eq!((code, &told.out[..]), (Some(0), ""), "{told:?}");
    let mut explain = Command::new(env!("CARGO_BIN_EXE_quorate"));
    explain.args(["sim", "explain", file]).args(revision);
    let (_, told) = run(&mut explain);
    assert!(why(&told), "{told:?}");
    let text = std::fs::read_to_string(file).expect("it was written");
    let (head, events) = trace::read(&text).expect("a trace");
    assert_eq!((head.names, head.member), (["n1", "n2", "n3"].map(String::from).to_vec(), None));
    assert!(events.iter().zip(1..).all(|(event, n)| event.n == n), "one order, one numbering");
    let one = cluster.endpoint(0);
    fails(&format!("{one},localhost{}", &one[9..]), &[], 1, "are both n1");
}

#[test]
fn a_recording_that_begins_in_the_middle_is_not_taken_for_the_whole() {
    let cluster = Cluster::start_with(1, &["--record=60"]);
    let at = cluster.endpoint(0);
    for n in 0..20 {
        assert!(cluster.etcdctl(&at, &["put", "k", &n.to_string()]).ok);
    }
    let revision = |revision: &str| run(&mut command(&at, &["--revision", revision])).1.out;
    await_condition("the last", || revision("21").starts_with("revision 21 is entry "));
    let (_, told) = run(&mut command(&at, &[]));
    assert!(told.ok && told.out.starts_with("n1 leads; its entry "), "{told:?}");
    assert!(told.err.contains(" events are not recorded any more"), "{told:?}");
    let first = revision("2");
    assert!(first.starts_with("revision 2 is not recorded any more: the trace begins"), "{first}");
    let later = revision("99");
    assert!(later.starts_with("revision 99 was never applied: the trace ends at"), "{later}");
}

#[test]
fn what_happens_is_told_while_it_is_followed() {
    let mut cluster = Cluster::start_with(3, RECORD);
    let mut follower = Interactive::spawn(&mut command(&cluster.endpoints(), &["--follow"]));
    follower.await_line(|line| line.contains(" leads ballot "));
    cluster.kill(2);
    follower.await_line(|line| line.contains("going on without it until it answers"));
    cluster.restart_without_waiting(2);
    cluster.await_all();
    follower.await_line(|line| line.ends_with("  n3 starts"));
}

#[test]
fn who_does_not_record_is_named() {
    let cluster = Cluster::start_with(1, &[]);
    let at = cluster.endpoint(0);
    fails(&at, &[], 1, &format!("{at}: n1 does not record: start it with --record N"));
    fails(&at, &["--follow"], 1, "n1 does not record");
    fails("127.0.0.1:1", &[], 1, "127.0.0.1:1: connect: ");
    fails("127.0.0.1", &[], 1, "expected host:port");
    fails(&at, &["--follow", "--revision", "2"], 2, "--revision");
}

#[test]
fn the_demos_trace_explains_its_writes_and_has_its_lie() {
    let dir = std::env::temp_dir().join(format!("quorate-demo-trace-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("demo.jsonl");
    let file = file.to_str().expect("a plain path");
    for (lie, code) in [(&[][..], 0), (&["--liar", "false-commit"], 1)] {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_quorate"));
        demo.args(["demo", "--once", "--nodes", "1", "--trace", file]).args(lie);
        let (ended, told) = run(&mut demo);
        assert_eq!(ended, Some(code), "{told:?}");
        let (_, events) =
            trace::read(&std::fs::read_to_string(file).expect("written")).expect("one");
        let counted = |event: &trace::Event| match event.what {
            trace::What::Quorum { index, .. } => Some(index),
            _ => None,
        };
        let committed = |event: &trace::Event| match event.what {
            trace::What::Commit { index } => Some(index),
            _ => None,
        };
        let counted = events.iter().filter_map(counted).max();
        let committed = events.iter().filter_map(committed).max();
        assert_eq!(committed > counted, code == 1, "{committed:?}, {counted:?}");
        let mut explain = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let (_, told) = run(explain.args(["sim", "explain", file, "--revision", "2"]));
        assert!(told.ok && told.out.starts_with("revision 2 is entry "), "{told:?}");
    }
    std::fs::remove_dir_all(dir).expect("it was made here");
}
