use super::*;
use base::NodeId;
use cluster::{BallotRule, Member, Protocol};
use consensus::raft::Trace;
use replica::TraceKind;
use std::sync::mpsc::sync_channel;

fn config(name: &str) -> Configuration {
    let member = Member {
        id: NodeId(1),
        slot: 0,
        name: name.into(),
        learner: false,
        peer_urls: vec![],
        client_urls: vec![],
        life: base::Life::UNKNOWN,
    };
    Configuration {
        protocol: Protocol::Raft,
        members: vec![member],
        quorum: format!("1 of ({name})"),
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: vec![],
        change: Default::default(),
    }
}

/// So many events of member 1 about itself.
fn step(count: usize) -> Vec<TraceEvent> {
    let kind = TraceKind::Raft(Trace::Transfer { to: NodeId(1) });
    vec![TraceEvent { node: NodeId(1), at: Nanos(5), kind }; count]
}

fn tap(events_max: usize) -> (Tap, Arc<Recording>) {
    let recording = Recording::new(Head { trace: trace::VERSION, ..Head::default() }, events_max);
    (Tap::new(Arc::clone(&recording), "a".into()).expect("a thread"), recording)
}

fn read(recording: &Recording, query: &str) -> Vec<trace::Event> {
    let (code, text) = page(recording, query);
    assert_eq!(code, 200, "{text}");
    trace::read(&text).expect("a trace").1
}

#[test]
fn what_the_thread_is_too_slow_for_is_dropped_and_counted_and_leaves_a_gap() {
    let (mut tap, recording) = tap(3 * RECORD_QUEUED_MAX);
    let (go, gate) = sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    // Stands still at each event until the test lets go of the other end.
    tap.listen(Box::new(move |_| {
        let _ = gate.lock().expect("one thread").recv();
    }));
    let config = config("a");
    let mut hand = |count| tap.hand((1, &config), &mut step(count));
    hand(RECORD_QUEUED_MAX - 1);
    hand(10); // The bound is looked at before a step: it goes above by that one.
    assert_eq!(recording.dropped.get(), 0);
    hand(7);
    hand(8);
    assert_eq!(recording.dropped.get(), 15, "nothing waits beyond the bound");
    drop(go);
    let waits = || tap.thread.as_ref().expect("runs").queued.load(Ordering::Relaxed);
    while waits() > 0 {
        std::thread::yield_now();
    }
    tap.hand((1, &config), &mut step(1));
    drop(tap);
    let taken = 1 + RECORD_QUEUED_MAX as u64 + 9; // with the configuration
    assert_eq!((recording.recorded.get(), recording.dropped.get()), (taken + 1, 15));
    let events = read(&recording, &format!("from={}", taken + 1));
    assert_eq!((events.len(), events[0].n), (1, taken + 15 + 1), "the dropped ones have numbers");
}

#[test]
fn names_are_those_of_the_configuration_and_of_the_one_before() {
    let (mut tap, recording) = tap(100);
    tap.say(Nanos(1), || What::Resume);
    tap.hand((1, &config("old")), &mut step(1));
    tap.hand((2, &Configuration { members: vec![], ..config("new") }), &mut step(1));
    tap.hand((2, &config("unread: it has the same version")), &mut step(1));
    tap.hand((3, &Configuration { members: vec![], ..config("newer") }), &mut step(1));
    drop(tap);
    let told = |event: &trace::Event| match &event.what {
        What::Config { quorum, .. } => quorum.clone(),
        What::Transfer { to } => to.clone(),
        other => format!("{other:?}"),
    };
    let told: Vec<String> = read(&recording, "").iter().map(told).collect();
    let label = cluster::label(NodeId(1));
    let expected =
        ["Resume", "1 of (old)", "old", "1 of (new)", "old", "old", "1 of (newer)", &label];
    assert_eq!(told, expected);
}

#[test]
fn nobody_listens_no_thread_and_nothing_is_made() {
    let (mut tap, recording) = tap(0);
    tap.say(Nanos(1), || unreachable!("nobody wants it"));
    tap.keep(0);
    assert!(!tap.is_open() && tap.thread.is_none());
    assert_eq!(page(&recording, "").0, 404);
    tap.keep(2);
    assert!(tap.is_open() && tap.thread.is_some());
    tap.keep(0);
    assert!(!tap.is_open());
    tap.say(Nanos(1), || unreachable!("nobody wants it any more"));
}

#[test]
fn who_listens_hears_first_what_is_kept() {
    let (mut tap, recording) = tap(100);
    let config = config("a");
    tap.hand((1, &config), &mut step(3));
    let (sender, heard) = channel();
    tap.listen(Box::new(move |event| sender.send(event.clone()).expect("the test hears")));
    tap.hand((1, &config), &mut step(2));
    drop(tap);
    let heard: Vec<trace::Event> = heard.iter().collect();
    assert_eq!(heard.len(), 6, "a configuration and five events: {heard:?}");
    assert_eq!(heard, read(&recording, "from=1"), "the same, under the same numbers");
}
