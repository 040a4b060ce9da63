//! A door without a cluster behind it: every command applies at once.

use base::{ClusterTime, LogIndex, Nanos, NodeId, Term};
use cluster::Change;
use door::{
    Answer, Caller, ChangeListener, Door, Freshness, Header, Made, MemberInfo, Query, Read,
    Reading, Reads, Reason, Refusal, Sight, Stage, Status, Work,
};
use later::Promise;
use mvcc::{AlarmKind, Changes, Command, InMemory, Limits, Response, Store, Values, View};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Done once the state is fresh enough.
type Waits = Box<dyn FnOnce(&FakeDoor)>;

/// A work that is not carried out yet.
type Kept = (Box<dyn Work>, Promise<Made>);

pub struct FakeDoor {
    store: RefCell<Store>,
    index: RefCell<LogIndex>,
    listeners: RefCell<Vec<ChangeListener>>,
    reads: Rc<Reads>,
    /// Somebody wants to hear of changes.
    pub listens: Cell<bool>,
    pub leads: Cell<bool>,
    pub diverged: Cell<bool>,
    pub halted: RefCell<Option<String>>,
    /// It was restarted and does not stand where it stood.
    pub behind: Cell<bool>,
    pub alarms: RefCell<Vec<(NodeId, AlarmKind)>>,
    /// Fails linearizable reads.
    pub cut_off: Cell<bool>,
    /// Takes writes and never answers them.
    pub deaf: Cell<bool>,
    unanswered: RefCell<Vec<Answer<Response>>>,
    /// Keeps what waits for a read index until it is released.
    slow: Cell<bool>,
    waiting: RefCell<Vec<Waits>>,
    /// How many reads were carried out.
    pub reads_made: Cell<u64>,
    /// Keeps works until they are told to go on.
    pub idle: Cell<bool>,
    works: RefCell<Vec<Kept>>,
}

impl FakeDoor {
    pub fn new() -> Rc<Self> {
        let start = Instant::now();
        let now = move || Nanos(u64::try_from(start.elapsed().as_nanos()).unwrap());
        Rc::new_cyclic(|me: &Weak<Self>| {
            let stage: Weak<dyn Stage> = me.clone();
            Self {
                store: RefCell::new(Store::new(Limits::default())),
                index: RefCell::default(),
                listeners: RefCell::default(),
                reads: Reads::new(stage, now),
                listens: Cell::new(false),
                leads: Cell::new(true),
                diverged: Cell::default(),
                halted: RefCell::default(),
                behind: Cell::default(),
                alarms: RefCell::default(),
                cut_off: Cell::default(),
                deaf: Cell::default(),
                unanswered: RefCell::default(),
                slow: Cell::default(),
                waiting: RefCell::default(),
                reads_made: Cell::default(),
                idle: Cell::default(),
                works: RefCell::default(),
            }
        })
    }

    /// Answers no barrier until [`Self::release`].
    pub fn hold(&self) {
        self.slow.set(true);
    }

    /// Barriers that wait.
    pub fn held(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub fn release(&self) {
        self.slow.set(false);
        self.waiting.take().into_iter().for_each(|done| done(self));
    }

    /// Answers the writes it was deaf to, as if they had failed.
    pub fn answer_late(&self) {
        let refusal = || Refusal::unknown(Reason::LeaderChanged);
        self.unanswered.take().into_iter().for_each(|answer| answer.keep(Err(refusal())));
    }

    /// Writes it was deaf to.
    pub fn unanswered(&self) -> usize {
        self.unanswered.borrow().len()
    }

    /// Works that are kept and still wanted.
    pub fn works(&self) -> usize {
        self.works.borrow().iter().filter(|(_, answer)| answer.is_wanted()).count()
    }

    /// Carries out the works that are kept.
    pub fn work(&self) {
        self.works.take().into_iter().for_each(|(work, answer)| carry_out(work, answer));
    }

    /// Forgets the works that are kept.
    pub fn lose(&self) {
        drop(self.works.take());
    }

    /// Serves reads that had to wait; to be polled for as long as it lives.
    pub fn turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.reads.turn(cx);
        Poll::Pending
    }

    /// Applies without a client.
    pub fn apply(&self, command: &Command) {
        let applied = self.next(command);
        assert!(applied.result.is_ok());
    }

    /// Lets go of what compaction has ended.
    pub fn settle(&self) {
        let mut store = self.store.borrow_mut();
        let settled = store.settle(1).map(|settling| settling.run());
        drop(settled.map(|settled| store.settled(settled)));
    }

    fn next(&self, command: &Command) -> mvcc::Applied {
        let index = self.index.borrow().next();
        *self.index.borrow_mut() = index;
        self.store.borrow_mut().apply(index, ClusterTime(1), command)
    }

    /// One batch of entries: watchers hear of it once all are applied.
    pub fn batch(&self, commands: &[Command]) {
        let changes: Vec<_> = commands.iter().filter_map(|c| self.next(c).changes).collect();
        self.tell(&changes);
    }

    /// What nobody listens for passes unheard.
    fn tell(&self, changes: &[Arc<Changes>]) {
        let listeners = self.listeners.borrow().clone();
        if self.listens.get() {
            listeners.iter().for_each(|listener| listener(changes));
        }
    }

    fn sight(&self) -> Sight {
        let current = !self.behind.get();
        let ops_max = self.txn_ops_max();
        let sight = Sight { no_data: None, current, now: ClusterTime(1), ops_max };
        if self.diverged.get() { sight.halted() } else { sight }
    }

    /// Does `done` once the state is fresh enough.
    fn once_fresh(&self, done: impl FnOnce(&Self, Result<(), Refusal>) + 'static) {
        let fresh = |fake: &Self| {
            let timeout = || Refusal::not_applied(Reason::Timeout);
            if fake.cut_off.get() { Err(timeout()) } else { Ok(()) }
        };
        if self.slow.get() {
            let waits = move |fake: &Self| done(fake, fresh(fake));
            return self.waiting.borrow_mut().push(Box::new(waits));
        }
        done(self, fresh(self));
    }
}

impl Stage for FakeDoor {
    fn begin(&self, query: &Query) -> Result<Reading, Refusal> {
        let reading = self.sight().begin(query, Arc::new(self.view()));
        let refused = matches!(&reading, Err(why) if !matches!(why.reason, Reason::Store(_)));
        self.reads_made.set(self.reads_made.get() + u64::from(!refused));
        reading
    }

    fn header(&self) -> Header {
        Door::header(self)
    }

    fn at_hand(&self) -> Box<dyn Values> {
        Door::at_hand(self)
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        Door::run(self, work, answer);
    }
}

fn carry_out(mut work: Box<dyn Work>, answer: Promise<Made>) {
    while answer.is_wanted() {
        if let Some(made) = work.step(&mut mvcc::InMemory) {
            return answer.keep(made);
        }
    }
}

impl Door for FakeDoor {
    fn write(&self, _: Caller, command: Command, answer: Answer<Response>) {
        if self.deaf.get() {
            return self.unanswered.borrow_mut().push(answer);
        }
        let valid = self.store.borrow().validate(&command);
        if let Err(error) = valid {
            return answer.keep(Err(error.into()));
        }
        let applied = self.next(&command);
        answer.keep(applied.result.map_err(Refusal::from));
        if let Some(changes) = applied.changes {
            self.tell(&[changes]);
        }
    }

    fn read(&self, _: Caller, fresh: Freshness, read: Read) {
        match self.sight().admit(read.query(), fresh) {
            Err(refusal) => return read.refuse(refusal),
            Ok(Freshness::Local) => return self.reads.serve(read),
            Ok(Freshness::Linearizable) => {}
        }
        self.once_fresh(|fake, result| match result {
            Ok(()) => fake.reads.serve(read),
            Err(refusal) => read.refuse(refusal),
        });
    }

    fn barrier(&self, answer: Answer<()>) {
        self.once_fresh(|_, result| answer.keep(result));
    }

    fn confirm(&self, answer: Answer<()>) {
        self.barrier(answer);
    }

    fn when_current(&self, answer: Answer<()>) {
        self.barrier(answer);
    }

    fn change(&self, _: Caller, _: Change, answer: Answer<Vec<MemberInfo>>) {
        answer.keep(Err(Refusal::not_applied(Reason::Unsupported)));
    }

    fn move_leader(&self, _: Caller, _: NodeId, answer: Answer<()>) {
        answer.keep(Err(Refusal::not_applied(Reason::BadTransferee)));
    }

    fn on_changes(&self, listener: ChangeListener) {
        self.listeners.borrow_mut().push(listener);
    }

    fn listen(&self, wanted: bool) {
        self.listens.set(wanted);
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        if self.idle.get() {
            return self.works.borrow_mut().push((work, answer));
        }
        carry_out(work, answer);
    }

    fn at_hand(&self) -> Box<dyn Values> {
        Box::new(InMemory)
    }

    fn view(&self) -> View {
        self.store.borrow().view()
    }

    fn header(&self) -> Header {
        let revision = self.store.borrow().revision();
        Header { cluster: 7, member: NodeId(1), revision, term: Term(3) }
    }

    fn status(&self) -> Status {
        let (leader, diverged) = (self.leads.get().then_some(NodeId(1)), self.diverged.get());
        let halted = self.halted.borrow().clone();
        Status { leader, diverged, halted, ..Status::default() }
    }

    fn members(&self) -> Vec<MemberInfo> {
        let client_urls = vec!["http://127.0.0.1:2379".into()];
        vec![MemberInfo { id: NodeId(1), name: "a".into(), client_urls, ..MemberInfo::default() }]
    }

    fn quorum(&self) -> (String, Option<String>) {
        (String::new(), None)
    }

    fn alarms(&self) -> Vec<(NodeId, AlarmKind)> {
        self.alarms.borrow().clone()
    }

    fn knows(&self) -> (Option<String>, Vec<String>) {
        (None, Vec::new())
    }

    fn serves_no_data(&self) -> Option<Refusal> {
        self.sight().no_data()
    }

    fn is_current(&self) -> bool {
        !self.behind.get()
    }

    fn txn_ops_max(&self) -> usize {
        self.store.borrow().limits().max_txn_ops
    }

    fn lease_ttl_min(&self) -> i64 {
        1
    }

    fn fresh_id(&self) -> i64 {
        1000
    }
}
