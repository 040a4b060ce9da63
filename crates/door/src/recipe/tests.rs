use super::*;
use alloc::vec::Vec;
use base::{ClusterTime, LogIndex};
use mvcc::{Command, KeyRange, KeyValue, Limits, Response, Store};

/// A store, and recipes carried out over it one step at a time.
struct Stage {
    store: Store,
    index: u64,
}

/// A recipe under way, and where its watch is.
struct Running<R: Recipe> {
    recipe: R,
    step: Step<R::Gain>,
    watch: Option<(KeyRange, i64)>,
}

fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self { store: Store::new(Limits::default()), index: 0 };
        for id in 1..=4 {
            stage.apply(&Command::LeaseGrant { id, ttl: 60 });
        }
        stage
    }

    fn apply(&mut self, command: &Command) -> Response {
        self.index += 1;
        let applied = self.store.apply(LogIndex(self.index), ClusterTime(1), command);
        applied.result.expect("it applies")
    }

    fn txn(&mut self, txn: TxnRequest) -> TxnResponse {
        match self.apply(&Command::Txn(txn)) {
            Response::Txn(answer) => answer,
            other => unreachable!("{other:?}"),
        }
    }

    fn revoke(&mut self, id: i64) {
        self.apply(&Command::LeaseRevoke { id, renewal: None });
    }

    fn run<R: Recipe>(&mut self, mut recipe: R) -> Running<R> {
        let step = recipe.begin();
        Running { recipe, step, watch: None }
    }

    /// Goes as far as it can: to something gained, to the end of its hopes, or until it waits.
    fn go<R: Recipe>(&mut self, run: &mut Running<R>) -> Result<Option<R::Gain>, Lost>
    where
        R::Gain: Clone,
    {
        loop {
            let heard = match &run.step {
                Step::Done(gain) => return Ok(Some(gain.clone())),
                Step::Tell(gain) => {
                    let gain = gain.clone();
                    run.step = run.recipe.next(Heard::Told)?;
                    return Ok(Some(gain));
                }
                Step::Write(txn) => Heard::Written(self.txn(txn.clone())),
                Step::Read(request) => Heard::Read(self.store.read(request).expect("a range")),
                Step::Watch { key, range_end, from } => {
                    run.watch = Some((KeyRange::new(key.clone(), range_end.clone()), *from));
                    run.step = Step::Await;
                    continue;
                }
                Step::Await => {
                    let (range, from) = run.watch.as_mut().expect("a watch is open");
                    match self.store.view().history(*from, range, 1) {
                        Err(_) => Heard::Compacted,
                        Ok(changes) => {
                            let Some(change) = changes.first() else { return Ok(None) };
                            *from = change.revision + 1;
                            let event = change.matching(range).next().expect("it touches it");
                            Heard::Event(event.clone())
                        }
                    }
                }
            };
            run.step = run.recipe.next(heard)?;
        }
    }
}

#[test]
fn a_lock_is_held_by_one_at_a_time_in_the_order_they_came() {
    let mut stage = Stage::new();
    let mut all: Vec<_> = (1..=3).map(|lease| stage.run(Lock::new(b"l", lease))).collect();
    let first = stage.go(&mut all[0]).unwrap().expect("nobody was there");
    assert_eq!((&first.key[..], first.lease), (&b"l/1"[..], 1));
    assert_eq!(stage.go(&mut all[1]), Ok(None));
    assert_eq!(stage.go(&mut all[2]), Ok(None));
    stage.apply(&unlock(first.key));
    assert_eq!(stage.go(&mut all[2]), Ok(None), "it came after the second");
    let second = stage.go(&mut all[1]).unwrap().expect("its turn");
    assert!(second.revision > first.revision, "it fences the one before");
    stage.revoke(2);
    assert_eq!(stage.go(&mut all[2]).unwrap().expect("its turn").lease, 3);
}

#[test]
fn who_asks_again_under_the_same_lease_finds_its_own_place() {
    let mut stage = Stage::new();
    let mut run = stage.run(Lock::new(b"l", 1));
    let first = stage.go(&mut run).unwrap().expect("free");
    let mut again = stage.run(Lock::new(b"l", 1));
    let second = stage.go(&mut again).unwrap().expect("its own");
    assert_eq!(first.revision, second.revision);
}

#[test]
fn who_waits_in_the_middle_and_goes_lets_nobody_past_the_holder() {
    let mut stage = Stage::new();
    let mut all: Vec<_> = (1..=3).map(|lease| stage.run(Lock::new(b"l", lease))).collect();
    assert!(stage.go(&mut all[0]).unwrap().is_some());
    assert_eq!(stage.go(&mut all[1]), Ok(None));
    assert_eq!(stage.go(&mut all[2]), Ok(None));
    stage.revoke(2);
    assert_eq!(stage.go(&mut all[2]), Ok(None), "the first still holds it");
    assert_eq!(stage.go(&mut all[1]), Ok(None), "it is watching the first");
    stage.revoke(1);
    assert_eq!(stage.go(&mut all[1]), Err(Lost::Expired), "its own lease had ended");
    assert!(stage.go(&mut all[2]).unwrap().is_some());
}

#[test]
fn a_waiter_whose_watch_was_compacted_away_looks_again() {
    let mut stage = Stage::new();
    let mut all: Vec<_> = (1..=2).map(|lease| stage.run(Lock::new(b"l", lease))).collect();
    assert!(stage.go(&mut all[0]).unwrap().is_some());
    assert_eq!(stage.go(&mut all[1]), Ok(None));
    stage.revoke(1);
    for key in ["a", "b", "c"] {
        let put = mvcc::PutRequest { key: blob(key), ..mvcc::PutRequest::default() };
        stage.apply(&Command::Put(put));
    }
    let revision = stage.store.revision();
    stage.apply(&Command::Compact { revision });
    assert_eq!(stage.go(&mut all[1]).unwrap().expect("its turn").lease, 2);
}

#[test]
fn names_that_begin_alike_are_different_locks() {
    let mut stage = Stage::new();
    for (name, lease) in [("l", 1), ("l1", 2), ("", 3), ("\u{10ffff}", 4)] {
        let mut run = stage.run(Lock::new(name.as_bytes(), lease));
        assert!(stage.go(&mut run).unwrap().is_some(), "{name:?}");
    }
    assert_eq!(&prefix_end(b"a\xff")[..], b"b");
    assert_eq!(&prefix_end(b"\xff\xff")[..], b"\0");
}

fn value(stage: &Stage, name: &str) -> Option<Blob> {
    let found = stage.store.read(&leader(name.as_bytes())).expect("a range");
    found.kvs.first().map(|kv| kv.value.clone())
}

#[test]
fn the_first_to_campaign_leads_and_the_next_follows_when_it_resigns() {
    let mut stage = Stage::new();
    let campaign = |value: &str, lease| Campaign::new(b"e", blob(value), lease);
    let (mut one, mut two) = (stage.run(campaign("one", 1)), stage.run(campaign("two", 2)));
    let first = stage.go(&mut one).unwrap().expect("nobody was there");
    assert_eq!(stage.go(&mut two), Ok(None));
    assert_eq!(value(&stage, "e"), Some(blob("one")));
    assert!(stage.txn(first.proclaim(blob("uno"))).succeeded);
    assert_eq!(value(&stage, "e"), Some(blob("uno")));
    assert!(stage.txn(first.resign()).succeeded);
    let second = stage.go(&mut two).unwrap().expect("its turn");
    assert_eq!(value(&stage, "e"), Some(blob("two")));
    assert!(!stage.txn(first.proclaim(blob("late"))).succeeded, "it leads no more");
    assert!(!stage.txn(first.resign()).succeeded);
    assert_eq!(second.lease, 2);
    stage.revoke(2);
    assert_eq!(value(&stage, "e"), None);
}

#[test]
fn who_campaigns_again_with_another_value_is_known_by_that_one() {
    let mut stage = Stage::new();
    let mut run = stage.run(Campaign::new(b"e", blob("one"), 1));
    let first = stage.go(&mut run).unwrap().expect("free");
    let mut again = stage.run(Campaign::new(b"e", blob("uno"), 1));
    let second = stage.go(&mut again).unwrap().expect("its own place");
    assert_eq!((first.revision, value(&stage, "e")), (second.revision, Some(blob("uno"))));
}

#[test]
fn an_observer_is_told_of_leaders_and_of_what_they_proclaim() {
    let mut stage = Stage::new();
    let mut seen = stage.run(Observe::new(b"e"));
    let said = |found: Result<Option<KeyValue>, Lost>| found.unwrap().map(|kv| kv.value);
    assert_eq!(said(stage.go(&mut seen)), None);
    let mut run = stage.run(Campaign::new(b"e", blob("one"), 1));
    let first = stage.go(&mut run).unwrap().expect("free");
    assert_eq!(said(stage.go(&mut seen)), Some(blob("one")));
    assert_eq!(said(stage.go(&mut seen)), None);
    stage.txn(first.proclaim(blob("uno")));
    assert_eq!(said(stage.go(&mut seen)), Some(blob("uno")));
    let mut run = stage.run(Campaign::new(b"e", blob("two"), 2));
    assert_eq!(stage.go(&mut run), Ok(None));
    assert_eq!(said(stage.go(&mut seen)), None, "it does not lead yet");
    stage.txn(first.resign());
    assert_eq!(said(stage.go(&mut seen)), Some(blob("two")));
    let revision = stage.store.revision();
    stage.apply(&Command::Compact { revision });
    assert_eq!(said(stage.go(&mut seen)), None);
}

#[test]
fn an_answer_that_does_not_fit_the_question_ends_the_recipe() {
    let mut lock = Lock::new(b"l", 1);
    assert!(matches!(lock.begin(), Step::Write(_)));
    assert_eq!(lock.next(Heard::Compacted), Err(Lost::Nonsense));
    assert_eq!(lock.next(Heard::Written(TxnResponse::default())), Err(Lost::Nonsense));
    assert_eq!(Observe::new(b"e").next(Heard::Told), Err(Lost::Nonsense));
}
