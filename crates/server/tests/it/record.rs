//! What members record of themselves, and how it is read.

use crate::cluster::{Cluster, get, until};
use trace::{Event, Head, What};

/// A status line, and the rest after the head.
fn fetch(cluster: &Cluster, at: usize, query: &str) -> (String, String) {
    let text = get(cluster.node(at).client_addr, &format!("/debug/trace{query}"));
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

fn page(cluster: &Cluster, at: usize, query: &str) -> (Head, Vec<Event>) {
    let (status, body) = fetch(cluster, at, query);
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    trace::read(&body).expect("a trace")
}

/// Everything, in pages of a few events.
fn whole(cluster: &Cluster, at: usize) -> (Head, Vec<Event>) {
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let (head, events) = page(cluster, at, &format!("?from={from}&max=50"));
        let Some(last) = events.last() else { return (head, all) };
        assert!(events.len() <= 50 && events[0].n == from, "{from}: {:?}", events[0]);
        from = last.n + 1;
        all.extend(events);
    }
}

fn counted(cluster: &Cluster, name: &str) -> u64 {
    let text = get(cluster.node(0).client_addr, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

fn node(event: &Event) -> &str {
    event.node.as_deref().expect("of a member")
}

#[test]
fn three_members_tell_together_how_a_write_was_decided() {
    let names = ["a", "b", "c"];
    let cluster = Cluster::start_with("record", &names, |config| config.record = 100_000);
    let leader = cluster.leader();
    let origin = (leader + 1) % 3;
    cluster.put(origin, "k", "v");
    let revision = cluster.all(origin).kvs[0].mod_revision;
    let applied = |event: &Event| match event.what {
        What::Apply { revision: made, id, index, .. } if made == revision => Some((id?, index)),
        _ => None,
    };
    until("every member's apply", || {
        (0..3).all(|at| whole(&cluster, at).1.iter().any(|e| applied(e).is_some()))
    });
    let (heads, mut traces): (Vec<_>, Vec<_>) = (0..3).map(|at| whole(&cluster, at)).unzip();
    for (head, name) in heads.iter().zip(names) {
        assert_eq!(
            (head.member.as_deref(), &head.names[..]),
            (Some(name), &names.map(String::from)[..])
        );
        assert_eq!((&head.quorum[..], &head.rule[..]), ("majority(a, b, c)", "shared-terms"));
    }
    let first = heads.iter().filter_map(|head| head.began).min().expect("members say it");
    let each = heads.iter().zip(&mut traces);
    each.for_each(|(head, events)| trace::align(first, head, events));
    let merged = trace::merge(traces);
    let (id, index) = merged.iter().find_map(applied).expect("it was applied");
    let place = |what: &str, is: &dyn Fn(&Event) -> bool| {
        merged.iter().position(is).unwrap_or_else(|| panic!("{what} is told"))
    };
    let at = |event: &Event, at: usize| node(event) == names[at];
    let elected = place("the election", &|e| matches!(e.what, What::Elect { .. }));
    let vote = place("a vote", &|e| matches!(e.what, What::Vote { granted: true, .. }));
    let asked = place("a campaign", &|e| matches!(e.what, What::Campaign { .. }));
    assert!(asked < vote && asked < elected);
    let order = [
        place("the proposal", &|e| {
            at(e, origin) && matches!(e.what, What::Propose { id: i } if i == id)
        }),
        place("the log", &|e| {
            at(e, leader) && matches!(e.what, What::Log { id: i, .. } if i == id)
        }),
        place("an append", &|e| {
            !at(e, leader) && matches!(e.what, What::Append { to, .. } if to >= index)
        }),
        place("an ack", &|e| {
            let What::Ack { by, index: upto } = &e.what else { return false };
            at(e, leader) && *upto >= index && *by != names[leader]
        }),
        place("the count", &|e| {
            at(e, leader) && matches!(e.what, What::Quorum { index: i, .. } if i >= index)
        }),
        place("the commit", &|e| matches!(e.what, What::Commit { index: i } if i >= index)),
        place("the apply at its origin", &|e| at(e, origin) && applied(e).is_some()),
        place("the answer", &|e| {
            at(e, origin) && matches!(e.what, What::Reply { id: i } if i == id)
        }),
    ];
    assert!(order.is_sorted(), "{order:?} of {merged:#?}");
    for at in names {
        let own = merged.iter().position(|e| node(e) == at && applied(e).is_some());
        assert!(own.is_some_and(|own| own > order[4]), "{at} applies what was counted");
    }
    assert_eq!(counted(&cluster, "quorate_trace_dropped_total "), 0);
    for query in ["?from=x", "?max=-1", "?until=3"] {
        assert_eq!(fetch(&cluster, 0, query).0, "HTTP/1.1 400 Bad Request", "{query}");
    }
}

#[test]
fn a_ring_ends_where_it_was_told_to_and_begins_with_the_configuration() {
    let cluster = Cluster::start_with("ring", &["a"], |config| config.record = 10);
    (0..20).for_each(|n| cluster.put(0, &format!("k{n}"), "v"));
    let last = |event: &Event| matches!(event.what, What::Apply { revision: 21, .. });
    until("the last put is told", || page(&cluster, 0, "").1.iter().any(last));
    let (_, events) = page(&cluster, 0, "");
    assert_eq!(events.len(), 11, "{events:#?}");
    assert!(matches!(&events[0].what, What::Config { slots, .. } if slots.contains_key("a")));
    assert!(events[1].n > 100 && events.windows(2).all(|pair| pair[0].n < pair[1].n));
}

#[test]
fn a_member_records_from_when_it_is_told_to_and_before_that_builds_nothing() {
    const EVENTS: &str = "quorate_trace_events_total ";
    let cluster = Cluster::start("unrecorded", &["a"]);
    cluster.put(0, "k", "v");
    let (status, text) = fetch(&cluster, 0, "");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    assert_eq!(text, "a does not record: start it with --record N\n");
    assert_eq!(counted(&cluster, EVENTS), 0);
    cluster.node(0).record(1000);
    until("it records", || fetch(&cluster, 0, "").0 == "HTTP/1.1 200 OK");
    cluster.put(0, "k", "w");
    until("the put is told", || {
        let (_, events) = page(&cluster, 0, "");
        matches!(events.first().map(|e| &e.what), Some(What::Config { .. }))
            && events.iter().any(|e| matches!(e.what, What::Apply { revision: 3, .. }))
    });
    cluster.node(0).record(0);
    until("it is over", || fetch(&cluster, 0, "").0 == "HTTP/1.1 404 Not Found");
    let told = counted(&cluster, EVENTS);
    assert!(told > 0);
    cluster.put(0, "k", "x");
    assert_eq!(counted(&cluster, EVENTS), told);
}
