//! watch, as a child process.

use super::Ctl;
use crate::interactive::Interactive;
use crate::member::Cluster;

/// Returns once a watch of `key` at the member surely sees what is written from now on.
fn live(ctl: &Ctl, watch: &mut Interactive, key: &str) {
    // The watch may be registered before or after the first of these; it sees the last for sure.
    let mut seen = None;
    for n in 0.. {
        let value = format!("probe {n}");
        ctl.ok(&["put", key, &value]);
        if let Some(line) = watch.try_line_within_ms(200) {
            seen = Some(line);
            break;
        }
        assert!(n < 150, "the watch saw none of {n} writes");
    }
    assert_eq!(seen.as_deref(), Some("PUT"));
    let last = ctl.ok(&["get", key, "--print-value-only"]);
    watch.await_line(|line| line == last.trim_end());
}

#[test]
fn watch_tells_puts_and_deletes_with_what_was_before() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let mut watch = ctl.spawn(&["watch", "--prefix", "watch/", "--prev-kv"]);
    live(&ctl, &mut watch, "watch/probe");
    ctl.ok(&["put", "watch/a", "1"]);
    watch.expect(&["PUT", "watch/a", "1"]);
    ctl.ok(&["put", "watch/a", "2"]);
    watch.expect(&["PUT", "watch/a", "1", "watch/a", "2"]);
    ctl.ok(&["put", "watc", "unseen"]);
    ctl.ok(&["del", "watch/a"]);
    watch.expect(&["DELETE", "watch/a", "2", "watch/a", ""]);
    // A transaction's events come together and in its order.
    ctl.ok_with_input(&["txn"], "\nput watch/x 1\nput watch/y 2\ndel watch/probe\n\n\n");
    watch.expect(&["PUT", "watch/x", "1", "PUT", "watch/y", "2", "DELETE", "watch/probe"]);
}

#[test]
fn watch_from_a_revision_replays_history_and_then_goes_on() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    ctl.ok(&["put", "replay/a", "0"]);
    let put = ctl.json(&["put", "replay/a", "1"]);
    let from = put["header"]["revision"].to_string();
    ctl.ok(&["put", "replay/b", "2"]);
    ctl.ok(&["del", "replay/a"]);
    let mut watch = ctl.spawn(&["watch", "replay/a", "replay/b", "--rev", &from]);
    watch.expect(&["PUT", "replay/a", "1", "DELETE", "replay/a", ""]);
    ctl.ok(&["put", "replay/a", "3"]);
    watch.expect(&["PUT", "replay/a", "3"]);
}

#[test]
fn watch_prints_an_answer_as_one_json_object() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let put = ctl.json(&["put", "object/a", "1"]);
    let from = put["header"]["revision"].as_i64().expect("a revision");
    let mut watch = ctl.spawn(&["watch", "object/a", "--rev", &from.to_string(), "-w", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&watch.line()).expect("JSON");
    let kv = &answer["Events"][0]["kv"];
    assert_eq!(kv["key"], "b2JqZWN0L2E=", "{answer}");
    assert_eq!(kv["mod_revision"], from, "{answer}");
    assert_eq!(kv["create_revision"], from, "{answer}");
    assert!(answer["Header"]["revision"].as_i64().is_some_and(|now| now >= from), "{answer}");
    assert_eq!(answer["CompactRevision"], 0, "{answer}");
    assert_eq!(answer["Canceled"], false, "{answer}");
}

#[test]
fn interactive_watches_share_a_stream_and_progress_is_told() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let from = ctl.json(&["put", "prog/a", "1"])["header"]["revision"].to_string();
    ctl.ok(&["put", "prog/b", "2"]);
    let mut watch = ctl.spawn(&["watch", "-i"]);
    watch.say(&format!("watch prog/a --rev {from}"));
    watch.expect(&["PUT", "prog/a", "1"]);
    watch.say(&format!("watch prog/b --rev {from}"));
    watch.expect(&["PUT", "prog/b", "2"]);
    watch.say("progress");
    let told = watch.await_line(|line| line.starts_with("progress notify: "));
    let revision: i64 = told["progress notify: ".len()..].parse().expect("a revision");
    assert!(revision > from.parse().expect("a revision"), "{told}");
    ctl.ok(&["put", "prog/a", "3"]);
    watch.await_line(|line| line == "PUT");
    watch.expect(&["prog/a", "3"]);
}

#[test]
fn watch_runs_a_command_for_each_event() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let from = ctl.json(&["put", "exec/a", "1"])["header"]["revision"].to_string();
    let script = ["sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"];
    let args = [&["watch", "exec/a", "--rev", &from, "--"][..], &script[..]].concat();
    let mut watch = ctl.spawn(&args);
    watch.await_line(|line| line == "\"PUT\" \"exec/a\" \"1\"");
}

#[test]
fn a_mirror_follows_a_prefix_into_another_cluster() {
    let (cluster, target) = (Cluster::shared(), Cluster::start(1));
    let ctl = Ctl::new(&cluster);
    let copy = Ctl::new(&target);
    ctl.ok(&["put", "mirror/old", "1"]);
    let destination = target.endpoint(0);
    let flags = ["--prefix", "mirror/", "--dest-prefix", "copy/"];
    let _mirror = ctl.spawn(&[&["make-mirror"][..], &flags[..], &[&destination]].concat());
    let arrived = |key: &str| copy.ok(&["get", key, "--print-value-only"]);
    crate::interactive::await_condition("the base copy", || arrived("copy/old") == "1\n");
    ctl.ok(&["put", "mirror/new", "2"]);
    ctl.ok(&["del", "mirror/old"]);
    crate::interactive::await_condition("a later put", || arrived("copy/new") == "2\n");
    crate::interactive::await_condition("a delete", || arrived("copy/old").is_empty());
}
