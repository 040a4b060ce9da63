//! The machine: applies commands in log order.

pub(crate) mod end;
mod hand;
mod quota;
mod task;
mod weigh;
pub(crate) mod write;

use crate::budget::Budget;
use crate::caller::Caller;
use crate::check;
use crate::command::{Command, Error, Response};
use crate::discard::Discard;
use crate::types::Changes;
use crate::values::{InMemory, Values};
use crate::view::View;
use alloc::boxed::Box;
use alloc::sync::Arc;
use base::{ClusterTime, LogIndex, planted};
use core::ops::Deref;
use task::Task;

const LEASE_OVERHEAD_BYTES: u64 = 64;

/// Replicated limits: every member of a cluster has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of retained versions; 0 = no quota.
    pub quota_bytes: u64,
    /// Compares, or operations of a branch, on any path through nested transactions together.
    pub max_txn_ops: usize,
    /// Seconds; shorter grants are raised to it. Members raise what they propose to a minimum of
    /// their own, by their election timeout.
    pub lease_ttl_min: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quota_bytes: 2 << 30, max_txn_ops: 128, lease_ttl_min: 1 }
    }
}

/// What applying one command did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What its client is answered.
    pub result: Result<Response, Error>,
    /// Some when the command made a revision.
    pub changes: Option<Arc<Changes>>,
}

/// What one entry did.
#[derive(Debug)]
pub struct Done {
    /// None for an entry without a command.
    pub applied: Option<Applied>,
    /// To be dropped where that may take its time.
    pub discard: Discard,
}

/// An entry whose work is not done: its own view, on which nobody else looks.
pub struct Job {
    request: Option<(Caller, Command)>,
    view: View,
    task: Task,
    /// Where the store stood when it began.
    base: LogIndex,
}

/// How far an entry has come.
pub enum Progress {
    /// All of it is applied, and shows.
    Done(Done),
    /// The budget ended first, or a version was not at hand: [`Store::run`] goes on with it.
    Running(Box<Job>),
}

/// The state and its limits. Reads go through [`View`], to which it derefs.
pub struct Store {
    limits: Limits,
    pub(crate) view: View,
}

impl Deref for Store {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Store {
    /// An empty store at revision 1.
    pub fn new(limits: Limits) -> Self {
        Self::with_view(limits, View::empty())
    }

    pub(crate) fn with_view(limits: Limits, view: View) -> Self {
        view.check();
        Self { limits, view }
    }

    /// Those in force for the next command.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// An immutable picture of now.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Static checks, to refuse before proposing. `apply` makes them again, but for the bound on
    /// all paths together.
    ///
    /// # Errors
    /// What etcd's door answers: `EmptyKey`, `TooManyOps`, `DuplicateKey`, ...
    pub fn validate(&self, command: &Command) -> Result<(), Error> {
        if command.operations() > check::operations_max(self.limits.max_txn_ops) {
            return Err(Error::TooManyOps);
        }
        check::command(command, self.limits.max_txn_ops)
    }

    /// Begins the entry at `index`, stamped `now`, with a caller's command or without one (empty,
    /// configuration). What is done within the budget and needs nothing that may not be at hand is
    /// done at once. For anything else the store stays as it is until [`Store::run`] is through.
    /// The state after the entry is a function of the log only, whatever the budgets are.
    ///
    /// Panics when the entry is not behind all that was applied.
    pub fn begin(
        &mut self,
        (index, now): (LogIndex, ClusterTime),
        request: Option<(Caller, Command)>,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Progress {
        let of = request.as_ref().map(|(caller, command)| (caller, command));
        let command = of.map(|(_, command)| command);
        if weigh::fits(&self.view, command, *budget) && hand::is_whole(&self.view, command) {
            return Progress::Done(self.at_once((index, now), of, budget));
        }
        let (mut view, base) = (self.view.clone(), self.view.applied);
        view.move_to(index, now);
        assert!(self.view.applied == base, "nobody sees an entry before it is done");
        let task = Task::new(&view, of.map(|(caller, _)| caller));
        self.run(Box::new(Job { request, view, task, base }), values, budget)
    }

    /// Goes on with an entry that was begun. What it did shows once it is done, and at once.
    ///
    /// Panics when the store is not the one that it began on.
    pub fn run(
        &mut self,
        mut job: Box<Job>,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Progress {
        assert!(job.base == self.view.applied, "an entry is applied to the state before it");
        assert!(job.view.applied > job.base, "a job is of a later entry");
        let Job { request, view, task, .. } = &mut *job;
        let command = request.as_ref().map(|(_, command)| command);
        if !task.run(view, &self.limits, command, (values, budget)) {
            if planted!(HalfJobShown) {
                let applied = self.view.applied;
                self.view = View { applied, ..job.view.clone() };
            }
            job.task.pause();
            return Progress::Running(job);
        }
        let applied = task.outcome();
        assert_eq!(applied.is_some(), command.is_some(), "a command has its result");
        assert!(view.now >= self.view.now, "cluster time never goes back");
        assert!(view.compact_revision >= self.view.compact_revision, "nor does compaction");
        let mut discard = core::mem::take(&mut task.discard);
        discard.push(core::mem::replace(&mut self.view, job.view));
        discard.push(job.request);
        Progress::Done(Done { applied, discard })
    }

    /// In place: no other view has to be kept.
    fn at_once(
        &mut self,
        (index, now): (LogIndex, ClusterTime),
        request: Option<(&Caller, &Command)>,
        budget: &mut Budget,
    ) -> Done {
        self.view.move_to(index, now);
        let mut task = Task::new(&self.view, request.map(|(caller, _)| caller));
        let command = request.map(|(_, command)| command);
        let mut work = Budget::endless();
        let all = (&mut InMemory as &mut dyn Values, &mut work);
        let done = task.run(&mut self.view, &self.limits, command, all);
        assert!(done, "the budget is endless, and all is at hand");
        budget.spend(Budget::endless().left() - work.left());
        Done { applied: task.outcome(), discard: core::mem::take(&mut task.discard) }
    }

    /// All of an entry without a command (empty, configuration).
    pub fn advance(&mut self, index: LogIndex, now: ClusterTime) {
        self.at_once((index, now), None, &mut Budget::endless());
    }

    /// All of an entry with a command of nobody, of a store that has all in memory.
    pub fn apply(&mut self, index: LogIndex, now: ClusterTime, command: &Command) -> Applied {
        let done =
            self.at_once((index, now), Some((&Caller::nobody(), command)), &mut Budget::endless());
        done.applied.expect("it has a command")
    }
}

impl View {
    fn move_to(&mut self, index: LogIndex, now: ClusterTime) {
        assert!(index > self.applied, "entries apply once, in order");
        self.applied = index;
        self.now = self.now.max(now);
        self.space.pass(self.now);
    }
}
