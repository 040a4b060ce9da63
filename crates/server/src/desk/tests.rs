use super::*;
use crate::board::Facts;
use ::door::{Door, Sight, Status};
use base::limits::{ASKED_BYTES_MAX, ASKED_MAX};
use base::{Blob, ClusterTime, Term};
use later::{Later, promise};
use mvcc::{Command, Limits, PutRequest, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn sight(current: bool) -> Sight {
    Sight { no_data: None, current, now: ClusterTime(1), ops_max: 128 }
}

fn picture(leader: Option<NodeId>) -> Picture {
    Picture {
        term: Term(1),
        revision: 1,
        compact_revision: -1,
        status: Status { leader, ..Status::default() },
        leads: false,
        sight: sight(false),
        pending: 0,
        repairing: false,
        facts: Arc::new(Facts::default()),
        words: Default::default(),
        missing: Arc::new(["b".into()]),
    }
}

/// A desk, and what it asks of a voter that never answers.
fn desk() -> (Rc<Desk>, UnboundedReceiver<Input>) {
    let (voter, asked) = unbounded_channel();
    let (_, words) = unbounded_channel();
    let store = Store::new(Limits::default());
    let archive = Archive::new(0);
    let readers = [(); 2].map(|()| Box::new(archive.cache()) as _);
    let parts = Parts {
        config: Arc::new(Config::single("a")),
        front: front_etcd::Front::service,
        cluster: 7,
        member: NodeId(1),
        seed: 1,
        board: Board::new(picture(None), store.view()),
        voter,
        words,
        sockets: (Vec::new(), Vec::new()),
        threads: Arc::new(crate::pool::Threads::start(readers).expect("threads")),
        archive,
        metrics: Arc::default(),
        disk_metrics: Arc::default(),
        room: Arc::default(),
        recording: crate::record::Recording::new(trace::Head::default(), 0),
    };
    (Desk::new(parts).0, asked)
}

type Outcome<T> = Later<Result<T, Refusal>>;

fn barrier(desk: &Desk) -> Outcome<()> {
    let (answer, later) = promise(Asker::nobody(), |result| result);
    desk.barrier(answer);
    later
}

fn put(desk: &Desk, bytes: usize) -> Outcome<Response> {
    let (answer, later) = promise(Asker::nobody(), |result| result);
    let value = Blob::from(vec![b'v'; bytes]);
    let put = PutRequest { key: Blob::from(&b"k"[..]), value, ..PutRequest::default() };
    desk.write(Caller::nobody(), Command::Put(put), answer);
    later
}

/// What has come already.
fn got<T: 'static>(mut later: Outcome<T>) -> Option<Result<T, Refusal>> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut later).poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => None,
    }
}

fn is_overloaded<T: 'static>(later: Outcome<T>) -> bool {
    let overloaded = Refusal::not_applied(Reason::Overloaded);
    let refused = got(later).and_then(Result::err);
    refused == Some(overloaded.knowing(None, vec!["b".into()]))
}

/// Answers the first request that was asked for, as a barrier.
fn barrier_for(desk: &Desk) -> Word {
    let first = desk.asked.borrow_mut().remove(0).event;
    let Event::ReadBarrier { token } = first else { panic!("it asks for a barrier") };
    let replies = vec![(token, Told::Barrier)];
    Word::Batch { replies, changes: Vec::new(), replaced: false }
}

#[test]
fn who_comes_during_a_round_is_served_by_the_next_one() {
    let (desk, _asked) = desk();
    let (first, other) = (barrier(&desk), barrier(&desk));
    desk.ask_round();
    assert_eq!(desk.asked.borrow().len(), 1, "they share a round");
    let second = barrier(&desk);
    desk.hear(barrier_for(&desk));
    assert_eq!((got(first), got(other)), (Some(Ok(())), Some(Ok(()))));
    assert!(desk.asked.borrow().is_empty(), "the second asks anew");
    desk.ask_round();
    desk.hear(barrier_for(&desk));
    assert_eq!(got(second), Some(Ok(())));
    assert_eq!(desk.held.borrow().requests(), 0);
}

#[test]
fn the_request_too_many_is_refused_and_never_handed_over() {
    let (desk, _asked) = desk();
    let waiting: Vec<_> = (0..ASKED_MAX).map(|_| barrier(&desk)).collect();
    assert!(is_overloaded(barrier(&desk)));
    desk.ask_round();
    assert_eq!(desk.asked.borrow().len(), 1, "they share a round");
    assert!(is_overloaded(barrier(&desk)));
    desk.hear(barrier_for(&desk));
    assert!(waiting.into_iter().all(|later| got(later) == Some(Ok(()))));
    assert_eq!(desk.held.borrow().requests(), 0);
    assert!(got(barrier(&desk)).is_none(), "there is room for one more");
}

#[test]
fn the_byte_too_many_is_refused_but_a_request_alone_may_have_any_size() {
    let (desk, _asked) = desk();
    let first = put(&desk, ASKED_BYTES_MAX + 1);
    assert!(is_overloaded(put(&desk, 1)));
    let replies = vec![(Token(1), Told::Applied(Err(mvcc::Error::Compacted)))];
    desk.hear(Word::Batch { replies, changes: Vec::new(), replaced: false });
    assert!(got(first).is_some());
    let half = ASKED_BYTES_MAX / 2 - 100;
    let _two = [put(&desk, half), put(&desk, half)];
    assert!(is_overloaded(put(&desk, half)));
    assert!(got(barrier(&desk)).is_none(), "what holds no bytes may wait");
}

#[test]
fn whoever_waits_for_a_member_to_be_current_is_answered_when_it_is() {
    let (desk, _asked) = desk();
    let (answer, later) = promise(Asker::nobody(), |result| result);
    desk.when_current(answer);
    let quiet = || Word::Batch { replies: Vec::new(), changes: Vec::new(), replaced: false };
    desk.hear(quiet());
    assert!(!desk.stands.get());
    desk.board.show(Picture { sight: sight(true), ..picture(None) });
    desk.hear(quiet());
    assert_eq!(got(later), Some(Ok(())));
}

#[test]
fn a_request_at_a_desk_that_has_ended_is_told_why() {
    let (desk, _asked) = desk();
    let waits = barrier(&desk);
    desk.hear(Word::Halted);
    let stopped = || Some(Err(Refusal::not_applied(Reason::Stopped)));
    assert_eq!(got(waits), stopped(), "it was not handed over");
    assert_eq!(got(barrier(&desk)), stopped());
    let status = Status { halted: Some("why".into()), ..Status::default() };
    desk.board.show(Picture { status, ..picture(None) });
    let refused = Refusal::not_applied(Reason::Diverged);
    assert_eq!(got(barrier(&desk)), Some(Err(refused)));
}

#[test]
fn no_header_says_less_than_what_was_shown() {
    let (desk, _asked) = desk();
    assert_eq!(Door::header(&*desk).revision, 1);
    desk.shown.set(5);
    assert_eq!(Door::header(&*desk).revision, 5);
}

#[test]
fn nobody_is_shown_the_own_state_of_a_member_that_does_not_stand_where_it_stood() {
    let (desk, _asked) = desk();
    let (reply, told) = mpsc::channel();
    let key = Blob::from(&b"k"[..]);
    let range = RangeRequest { key, serializable: true, ..RangeRequest::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        desk.range(range.clone(), reply.clone());
        assert!(told.try_recv().is_err() && desk.rounds.borrow().due().is_some(), "it asks first");
        desk.board.show(Picture { sight: sight(true), ..picture(None) });
        desk.range(range, reply);
        assert!(told.recv().expect("an answer").is_ok());
    });
}

/// A task that panics ends alone: the runtime goes on without it.
#[test]
fn a_panic_of_a_task_that_all_need_ends_the_member() {
    let (voter, mut inbox) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        run::spawn_vital(&voter, async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        });
        let Some(Input::Failed(why)) = inbox.recv().await else { panic!("it says so") };
        assert_eq!(why, "the clients' thread panicked");
    });
}
