//! An engine without a cluster: every command applies at once.

use crate::front::engine::{
    ChangeListener, Done, Engine, Failure, Header, LeaseInfo, MemberInfo, Status, Why,
};
use crate::grpc::Caller;
use base::{ClusterTime, LogIndex};
use mvcc::{Command, Error, Limits, Response, Store, TxnRequest, TxnResponse, View};
use std::cell::{Cell, RefCell};

pub struct FakeEngine {
    store: RefCell<Store>,
    index: RefCell<LogIndex>,
    listener: RefCell<Option<ChangeListener>>,
    /// Zero: none.
    pub leader: Cell<u64>,
    pub diverged: Cell<bool>,
    pub halted: RefCell<Option<String>>,
    /// It was restarted and does not stand where it stood.
    pub behind: Cell<bool>,
    pub alarms: RefCell<Vec<(u64, i32)>>,
    /// Fails linearizable reads.
    pub cut_off: Cell<bool>,
    /// Takes writes and never answers them.
    pub deaf: Cell<bool>,
    unanswered: RefCell<Vec<Done<Response>>>,
    /// Keeps barriers until they are released.
    slow: Cell<bool>,
    barriers: RefCell<Vec<Done<()>>>,
    /// How often the state was looked at, but for headers.
    pub views: Cell<u64>,
}

impl FakeEngine {
    pub fn new() -> Self {
        Self {
            store: RefCell::new(Store::new(Limits::default())),
            index: RefCell::default(),
            listener: RefCell::default(),
            leader: Cell::new(1),
            diverged: Cell::default(),
            halted: RefCell::default(),
            behind: Cell::default(),
            alarms: RefCell::default(),
            cut_off: Cell::default(),
            deaf: Cell::default(),
            unanswered: RefCell::default(),
            slow: Cell::default(),
            barriers: RefCell::default(),
            views: Cell::default(),
        }
    }

    /// Answers no barrier until [`Self::release`].
    pub fn hold(&self) {
        self.slow.set(true);
    }

    /// Barriers that wait.
    pub fn held(&self) -> usize {
        self.barriers.borrow().len()
    }

    pub fn release(&self) {
        self.slow.set(false);
        self.barriers.take().into_iter().for_each(|done| done(Ok(())));
    }

    /// Answers the writes it was deaf to, as if they had failed.
    pub fn answer_late(&self) {
        self.unanswered.take().into_iter().for_each(|done| done(Err(Failure::LeaderChanged)));
    }

    /// Writes it was deaf to.
    pub fn unanswered(&self) -> usize {
        self.unanswered.borrow().len()
    }

    /// Applies without a client.
    pub fn apply(&self, command: &Command) {
        let index = self.index.borrow().next();
        *self.index.borrow_mut() = index;
        let applied = self.store.borrow_mut().apply(index, ClusterTime(1), command);
        assert!(applied.result.is_ok());
    }
}

impl FakeEngine {
    /// One batch of entries: watchers hear of it once all are applied.
    pub fn batch(&self, commands: &[Command]) {
        let mut changes = Vec::new();
        for command in commands {
            let index = self.index.borrow().next();
            *self.index.borrow_mut() = index;
            let applied = self.store.borrow_mut().apply(index, ClusterTime(1), command);
            assert!(applied.result.is_ok());
            changes.extend(applied.changes);
        }
        let listener = self.listener.borrow().clone();
        listener.expect("the hub listens")(&changes);
    }
}

impl Engine for FakeEngine {
    fn submit(&self, _: Caller, command: Command, done: Done<Response>) {
        if self.deaf.get() {
            return self.unanswered.borrow_mut().push(done);
        }
        let valid = self.store.borrow().validate(&command);
        if let Err(error) = valid {
            return done(Err(Failure::Store(error)));
        }
        let index = self.index.borrow().next();
        *self.index.borrow_mut() = index;
        let applied = self.store.borrow_mut().apply(index, ClusterTime(1), &command);
        done(applied.result.map_err(Failure::Store));
        let listener = self.listener.borrow().clone();
        if let (Some(listener), Some(changes)) = (listener, applied.changes) {
            listener(&[changes]);
        }
    }
    fn barrier(&self, _: Caller, done: Done<()>) {
        if self.slow.get() {
            return self.barriers.borrow_mut().push(done);
        }
        done(if self.cut_off.get() { Err(Failure::Timeout(Why::default())) } else { Ok(()) });
    }
    fn view(&self) -> View {
        self.views.set(self.views.get() + 1);
        self.store.borrow().view()
    }
    fn read_txn_local(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        self.store.borrow().read_txn(request)
    }
    fn txn_ops_max(&self) -> usize {
        self.store.borrow().limits().max_txn_ops
    }

    fn header(&self) -> Header {
        let revision = self.store.borrow().revision();
        Header { cluster_id: 7, member_id: 1, revision, raft_term: 3 }
    }
    fn status(&self) -> Status {
        let (leader, diverged) = (self.leader.get(), self.diverged.get());
        let halted = self.halted.borrow().clone();
        Status { leader, diverged, halted, ..Status::default() }
    }
    fn serves_no_data(&self) -> Option<Failure> {
        self.diverged.get().then_some(Failure::Corrupt)
    }
    fn when_current(&self, caller: Caller, done: Done<()>) {
        self.barrier(caller, done);
    }
    fn is_current(&self) -> bool {
        !self.behind.get()
    }
    fn members(&self) -> Vec<MemberInfo> {
        let client_urls = vec!["http://127.0.0.1:2379".into()];
        vec![MemberInfo { id: 1, name: "a".into(), client_urls, ..MemberInfo::default() }]
    }
    fn alarms(&self) -> Vec<(u64, i32)> {
        self.alarms.borrow().clone()
    }
    fn why(&self) -> Why {
        Why::default()
    }
    fn lease_ttl(&self, id: i64, keys: bool) -> Option<LeaseInfo> {
        let view = self.view();
        let ttl = view.lease_ttl(id, ClusterTime(1))?;
        let keys = if keys { view.lease_keys(id) } else { Vec::new() };
        Some(LeaseInfo { ttl: ttl.remaining, granted_ttl: ttl.granted, keys })
    }
    fn leases(&self) -> Vec<i64> {
        self.view().leases()
    }
    fn fresh_lease_id(&self) -> i64 {
        1000
    }
    fn move_leader(&self, _: u64, done: Done<()>) {
        done(Err(Failure::BadTransferee));
    }
    fn on_changes(&self, listener: ChangeListener) {
        *self.listener.borrow_mut() = Some(listener);
    }
}
