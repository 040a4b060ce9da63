//! The line protocol at a door of a store in memory.

use super::fake::FakeDoor;
use super::line::Line;
use base::Blob;
use door::Door as _;
use later::{Asker, Later};
use mvcc::{Command, PutRequest};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

fn poll(later: &mut Later<String>) -> Poll<Option<String>> {
    Pin::new(later).poll(&mut Context::from_waker(Waker::noop()))
}

/// What a client says, and what it is answered at once.
fn say(line: &Line, text: &str) -> String {
    match poll(&mut line.line(Asker::nobody(), text)) {
        Poll::Ready(answer) => answer.expect("an answer"),
        Poll::Pending => panic!("{text:?} has to wait"),
    }
}

fn stage() -> (Rc<FakeDoor>, Line) {
    let door = FakeDoor::new();
    let line = Line::new(door.clone());
    (door, line)
}

#[test]
fn what_is_put_is_read_replaced_compared_and_deleted() {
    let (_, line) = stage();
    for (request, answer) in [
        ("GET a", "NONE"),
        ("PUT a 1", "OK 2"),
        ("GET a", "VALUE 2 1"),
        ("CAS a 2 3", "NO"),
        ("CAS a 1 2", "OK 3"),
        ("GET a", "VALUE 3 2"),
        ("DEL a", "OK 4"),
        ("DEL a", "NONE"),
        ("CAS a 2 3", "NO"),
        ("HELLO", "REFUSED no such request"),
        ("PUT  1", "REFUSED key is not provided"),
    ] {
        assert_eq!(say(&line, request), answer, "{request}");
    }
}

#[test]
fn a_watch_tells_of_its_key_and_of_no_other_whoever_changes_it() {
    let (door, line) = stage();
    let other = Line::new(door.clone());
    say(&line, "PUT a 0");
    assert_eq!(say(&line, "WATCH a"), "WATCHING 2");
    assert!(line.events().is_empty(), "what was before is not news");
    say(&other, "PUT a 1");
    say(&other, "PUT b 1");
    say(&line, "DEL a");
    assert_eq!(line.events(), ["PUT 3 a 1", "DEL 5 a"]);
    assert!(line.events().is_empty() && other.events().is_empty());
}

#[test]
fn a_watch_is_told_what_was_compacted_in_the_batch_that_made_it() {
    let (door, line) = stage();
    say(&line, "WATCH a");
    let put = |value: &str| {
        let (key, value) = (Blob::from(&b"a"[..]), Blob::from(value.as_bytes()));
        Command::Put(PutRequest { key, value, ..PutRequest::default() })
    };
    door.batch(&[put("1"), put("2"), Command::Compact { revision: 3 }]);
    assert_eq!(line.events(), ["PUT 2 a 1", "PUT 3 a 2"]);
}

#[test]
fn answers_that_have_to_wait_come_later_and_refusals_say_what_they_mean() {
    let (door, line) = stage();
    door.hold();
    let mut read = line.line(Asker::nobody(), "GET a");
    let mut gone = line.line(Asker::nobody(), "GET a");
    assert!(poll(&mut read).is_pending() && poll(&mut gone).is_pending());
    drop(gone);
    door.release();
    assert_eq!(poll(&mut read), Poll::Ready(Some("NONE".into())));
    assert_eq!(door.reads_made.get(), 1, "nobody waits for the other one");
    door.cut_off.set(true);
    assert_eq!(say(&line, "GET a"), "REFUSED request timed out");
    door.deaf.set(true);
    let mut write = line.line(Asker::nobody(), "PUT a 1");
    assert!(poll(&mut write).is_pending());
    door.answer_late();
    assert_eq!(poll(&mut write), Poll::Ready(Some("UNKNOWN leader changed".into())));
    door.diverged.set(true);
    assert_eq!(say(&line, "WATCH a"), "REFUSED the state differs from the cluster's");
    assert!(door.serves_no_data().is_some());
}
