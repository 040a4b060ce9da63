//! What the voting thread shows: how the member stands, and between its steps the data itself.
//!
//! A view that is held while the store changes makes it copy what it changes. So the voter takes
//! its view down before a step and puts one up after it; only who took one meanwhile costs copies.
//! One thread reads here.

use base::limits::EVENTS_UNHEARD_MAX;
use base::{NodeId, Term};
use door::{MemberInfo, Sight, Status};
use member::room::Words;
use mvcc::{Changes, View};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How the member stood after its last step.
#[derive(Clone)]
pub struct Picture {
    pub term: Term,
    pub revision: i64,
    pub compact_revision: i64,
    pub status: Status,
    pub leads: bool,
    /// Who may see its data.
    pub sight: Sight,
    /// Requests that wait in the replica.
    pub pending: usize,
    pub repairing: bool,
    pub facts: Arc<Facts>,
    /// What members say of their disks.
    pub words: Words,
    /// Names of members whose return would help.
    pub missing: Arc<[String]>,
}

/// What follows from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub members: Vec<MemberInfo>,
    /// As the configuration has them, also of who has not said its own yet.
    pub names: Vec<(NodeId, String)>,
    /// Those that vote and hold data.
    pub may_lead: Vec<NodeId>,
    pub quorum: String,
    pub joint: Option<String>,
}

impl Facts {
    pub fn name_of(&self, id: NodeId) -> String {
        let member = self.names.iter().find(|(member, _)| *member == id);
        member.map_or_else(|| "unknown".to_string(), |(_, name)| name.clone())
    }
}

struct State {
    picture: Picture,
    view: Option<Arc<View>>,
    /// The reader waits for a view.
    wanted: bool,
    /// Kept for the reader that waited, whatever the voter does next.
    handed: Option<(Arc<View>, Picture)>,
    /// No view comes any more.
    closed: bool,
}

/// Where one thread puts up and another one looks.
pub struct Board {
    state: Mutex<State>,
    up: Condvar,
    /// Somebody wants to hear of changes.
    listened: AtomicBool,
    /// Events told and not heard yet.
    unheard: AtomicUsize,
}

impl Board {
    pub fn new(picture: Picture, view: View) -> Arc<Self> {
        let state = State {
            picture,
            view: Some(Arc::new(view)),
            wanted: false,
            handed: None,
            closed: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            up: Condvar::new(),
            listened: AtomicBool::new(false),
            unheard: AtomicUsize::new(0),
        })
    }

    /// Nothing under the lock panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a step that may change the data.
    pub fn take_down(&self) {
        let view = self.lock().view.take();
        drop(view);
    }

    /// After a step.
    pub fn put_up(&self, picture: Picture, view: View) {
        let view = Arc::new(view);
        let mut state = self.lock();
        let waits = std::mem::take(&mut state.wanted);
        if waits {
            state.handed = Some((Arc::clone(&view), picture.clone()));
        }
        let old = (std::mem::replace(&mut state.picture, picture), state.view.replace(view));
        drop(state);
        if waits {
            self.up.notify_all();
        }
        drop(old);
    }

    /// How it stands, while no step is made.
    pub fn show(&self, picture: Picture) {
        let old = std::mem::replace(&mut self.lock().picture, picture);
        drop(old);
    }

    /// The voter is gone.
    pub fn close(&self) {
        self.lock().closed = true;
        self.up.notify_all();
    }

    /// From now on, but for what is on the board already, changes are told or not.
    pub fn listen(&self, wanted: bool) {
        self.listened.store(wanted, Ordering::SeqCst);
    }

    /// Asked after a step was put up: whoever listens since then sees it there.
    pub fn is_listened(&self) -> bool {
        self.listened.load(Ordering::SeqCst)
    }

    /// Whether these changes may be told now; their events count as told then.
    pub fn may_tell(&self, changes: &[Arc<Changes>]) -> bool {
        let may = self.unheard.load(Ordering::Relaxed) < EVENTS_UNHEARD_MAX;
        if may {
            self.unheard.fetch_add(events_of(changes), Ordering::Relaxed);
        }
        may
    }

    /// These were told and have been heard.
    pub fn heard(&self, changes: &[Arc<Changes>]) {
        self.unheard.fetch_sub(events_of(changes), Ordering::Relaxed);
    }

    /// Reads something small off the picture.
    pub fn look<T>(&self, at: impl FnOnce(&Picture) -> T) -> T {
        at(&self.lock().picture)
    }

    /// The data, no older than the last step, and what `at` reads off the picture of the same step;
    /// waits for the end of one under way, which is bounded by the budget of a step.
    pub fn view_with<T>(&self, at: impl FnOnce(&Picture) -> T) -> (Arc<View>, T) {
        let mut state = self.lock();
        if let Some(view) = &state.view {
            return (Arc::clone(view), at(&state.picture));
        }
        state.wanted = true;
        loop {
            if let Some((view, picture)) = state.handed.take() {
                drop(state);
                return (view, at(&picture));
            }
            assert!(!state.closed, "the voting thread ended inside a step");
            state = self.up.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What many changes and a large one have the same cost in.
fn events_of(changes: &[Arc<Changes>]) -> usize {
    changes.iter().map(|changes| changes.events.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Blob, ClusterTime, LogIndex};
    use mvcc::{Command, Limits, PutRequest, Store};

    fn picture(revision: i64) -> Picture {
        Picture {
            term: Term(1),
            revision,
            compact_revision: -1,
            status: Status::default(),
            leads: false,
            sight: Sight { no_data: None, current: true, now: ClusterTime(1), ops_max: 1 },
            pending: 0,
            repairing: false,
            facts: Arc::default(),
            words: Words::default(),
            missing: Arc::new([]),
        }
    }

    /// Revisions of the data and of the picture with it.
    fn seen(board: &Board) -> (i64, i64) {
        let (view, revision) = board.view_with(|picture| picture.revision);
        (view.revision(), revision)
    }

    fn put(store: &mut Store) -> Option<Arc<Changes>> {
        let put = PutRequest { key: Blob::from(&b"k"[..]), ..PutRequest::default() };
        let index = store.view().applied_index().next();
        let applied = store.apply(index, ClusterTime(index.0), &Command::Put(put));
        assert!(applied.result.is_ok());
        applied.changes
    }

    #[test]
    fn whoever_looks_during_a_step_is_handed_its_outcome_though_the_next_one_has_begun() {
        let mut store = Store::new(Limits::default());
        let board = Board::new(picture(1), store.view());
        assert_eq!((seen(&board), board.look(|p| p.revision)), ((1, 1), 1));
        board.take_down();
        let reader = Arc::clone(&board);
        let reads = std::thread::spawn(move || seen(&reader));
        while !board.lock().wanted {
            std::thread::yield_now();
        }
        put(&mut store).expect("a revision");
        board.put_up(picture(2), store.view());
        board.take_down();
        board.show(picture(3));
        assert_eq!(reads.join().expect("it was handed one"), (2, 2));
        assert!(board.lock().handed.is_none(), "nothing old is kept for the next one");
        board.put_up(picture(2), store.view());
        assert_eq!(seen(&board), (2, 2));
    }

    /// Changes of so many events.
    fn changes(events: usize) -> [Arc<Changes>; 1] {
        let mut store = Store::new(Limits::default());
        let made = put(&mut store).expect("a revision").events[0].clone();
        [Arc::new(Changes { revision: 2, events: vec![made; events] })]
    }

    #[test]
    fn changes_that_nobody_hears_are_bounded_by_their_events() {
        let board = Board::new(picture(1), Store::new(Limits::default()).view());
        let (many, ten, one) = (changes(EVENTS_UNHEARD_MAX - 1), changes(10), changes(1));
        assert!(board.may_tell(&many) && board.may_tell(&ten), "a step is told whole");
        assert!(!board.may_tell(&one) && !board.may_tell(&[]), "nor that all is to be looked at");
        board.heard(&many);
        assert!(board.may_tell(&one));
        board.heard(&ten);
        board.heard(&one);
        assert_eq!(board.unheard.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_waits_for_a_voter_that_is_gone() {
        let store = Store::new(Limits::default());
        let board = Board::new(picture(1), store.view());
        assert_eq!(store.view().applied_index(), LogIndex::ZERO);
        board.take_down();
        board.close();
        let reader = Arc::clone(&board);
        assert!(std::thread::spawn(move || seen(&reader)).join().is_err());
    }
}
