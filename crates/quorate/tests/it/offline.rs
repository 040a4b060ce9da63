//! Commands that need no cluster: what they print, and what they leave as exit code.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

fn quorate(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(words).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn arguments_that_make_no_life_are_refused_with_exit_code_2() {
    for words in [
        &["sim", "run"][..],
        &["sim", "run", "--seed", "x"],
        &["sim", "run", "--seed", "1", "--nodes", "0"],
        &["sim", "run", "--seed", "1", "--clients", "0"],
        &["sim", "run", "--seed", "1", "--profile", "wild"],
        &["sim", "run", "--seed", "1", "--quorum", "2 of (n1, n2, n3, n4)"],
        &["sim", "run", "--seed", "1", "--nodes", "5", "--family", "grid"],
        &["sim", "sweep", "--seeds", "3..3"],
        &["sim", "sweep", "--seeds", "0..3", "--jobs", "0"],
        &["sim", "story", "nobody-told"],
        &["sim", "explain", "/nowhere.jsonl"],
        &["check", "linear", "--model", "kv"],
        &["quorum", "show", "majority(a, a)"],
    ] {
        let done = quorate(words);
        assert_eq!(done.status.code(), Some(2), "{words:?}");
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{words:?} say why");
    }
}

#[test]
fn the_last_line_of_a_life_has_its_verdict_its_faults_by_kind_and_its_hashes() {
    let done = quorate(&["sim", "run", "--seed", "4", "--nodes", "3", "--profile", "rough"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let out = text(&done.stdout);
    let last = out.lines().last().expect("it says something");
    assert!(last.starts_with("seed 4 clean: "), "{last}");
    for part in ["operations (", " s virtual, ", " events, ", " faults (", "chain ", "digest "] {
        assert!(last.contains(part), "{part} in {last}");
    }
    let kinds = last.split(" faults (").nth(1).expect("faults").split(')').next();
    let kinds = kinds.expect("closed").split(", ").count();
    assert!(kinds >= 3, "{last}");
}

#[test]
fn a_life_that_breaks_a_promise_ends_with_exit_code_1_and_its_replay() {
    let line = |seed: u64| format!("sim run --seed {seed} --profile rough --drift-ppm 200000");
    let live = |line: &str| quorate(&line.split(' ').collect::<Vec<_>>());
    let broken = (0..40).map(|seed| (line(seed), live(&line(seed))));
    let broken = broken.into_iter().find(|(_, done)| done.status.code() == Some(1));
    let (line, done) = broken.expect("clocks far outside the bound end a lease early");
    let out = text(&done.stdout);
    assert!(out.contains(&format!("replay: quorate {line}\n")), "{out}");
    assert!(out.contains("VIOLATION at ") && out.contains("lease not early"), "{out}");
    assert!(out.lines().last().is_some_and(|last| last.contains(" VIOLATION: ")), "{out}");
}

#[test]
fn a_reader_that_has_seen_enough_breaks_nothing() {
    let words = ["sim", "run", "--seed", "3", "--show", "--ops", "20"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut first).expect("a first line");
    drop(out);
    let done = child.wait_with_output().expect("it ends");
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()), "{first}");
}

#[test]
fn words_that_cannot_be_written_are_no_success() {
    let full = || Stdio::from(std::fs::File::create("/dev/full").expect("a full device"));
    for words in [
        &["sim", "run", "--seed", "3", "--ops", "20"][..],
        &["sim", "story", "lost-quorum"],
        &["quorum", "show", "majority(a, b, c)"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let done = command.args(words).stdout(full()).stderr(Stdio::piped()).output();
        let done = done.expect("it starts");
        assert_eq!(done.status.code(), Some(2), "{words:?}");
        assert!(text(&done.stderr).contains("No space left"), "{words:?}");
    }
}

#[test]
fn a_refusal_in_a_trace_is_explained_by_how_things_stood_then() {
    let dir = std::env::temp_dir().join(format!("quorate-offline-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let trace = dir.join("life.jsonl");
    let trace = trace.to_str().expect("a plain path");
    let done = quorate(&["sim", "run", "--seed", "5", "--changes", "--trace", trace]);
    assert_eq!(done.status.code(), Some(0));
    let lines = std::fs::read_to_string(trace).expect("a trace");
    let mut answers = lines.lines().filter(|line| line.contains("\"ev\":\"return\""));
    let refused = answers.find(|line| !line.contains("\"outcome\":\"done\""));
    let number = refused.expect("an operation without an answer").split(&[':', ','][..]).nth(1);
    let done = quorate(&["sim", "explain", trace, "--event", number.expect("its number")]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}");
    let second = told.lines().nth(1).expect("what the event rests on");
    assert!(second.contains(" leads; ") || second.contains(" led last, "), "{told}");
    let done = quorate(&["sim", "explain", trace, "--revision", "99999"]);
    assert!(text(&done.stdout).contains("the trace ends at revision "));
    // A first line may say anything: more members than a set holds, or another version.
    let names: Vec<String> = (1..=100).map(|n| format!("\"n{n}\"")).collect();
    for (version, code) in [(2, 0), (1, 2)] {
        let quorum = "\"quorum\":\"majority(n1, n2)\",\"rule\":\"any\"";
        let head = format!("{{\"trace\":{version},\"names\":[{}],{quorum}}}\n", names.join(","));
        std::fs::write(trace, head).expect("room");
        assert_eq!(quorate(&["sim", "explain", trace]).status.code(), Some(code));
    }
    std::fs::remove_dir_all(dir).expect("it was made here");
}

#[test]
fn a_demo_that_a_signal_ends_in_the_middle_is_no_success_and_leaves_nothing_behind() {
    for signal in ["-INT", "-TERM"] {
        let name = format!("quorate-demo-end{signal}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["demo", "--once", "--nodes", "3"]).env("TMPDIR", &dir);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut told = String::new();
        while !told.contains("Writes, voted on") {
            assert!(out.read_line(&mut told).expect("a line") > 0, "{told}");
        }
        let data = || std::fs::read_dir(&dir).expect("it is there").count();
        assert_eq!(data(), 1, "the members' directory");
        let mut kill = Command::new("kill");
        let sent = kill.args([signal, &child.id().to_string()]).status().expect("it starts");
        assert!(sent.success());
        out.read_to_string(&mut told).expect("the rest");
        let done = child.wait().expect("it ends");
        assert_eq!((done.code(), data()), (Some(1), 0), "{told}");
        assert!(told.contains("false: the tour reached its end: a signal ended it"), "{told}");
        std::fs::remove_dir(&dir).expect("it was made here");
    }
}
