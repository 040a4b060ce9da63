//! Evaluation of transactions in slices: which branches are taken, whether they may run, and
//! running them.

use crate::budget::{Budget, units};
use crate::check;
use crate::command::Error;
use crate::digest::Digest;
use crate::discard::Discard;
use crate::key_range::KeyRange;
use crate::key_value::version_bytes;
use crate::layers::KeyRef;
use crate::range::RangeWork;
use crate::store::end::DeleteWork;
use crate::store::write::{Writer, check_put};
use crate::types::{
    Compare, CompareOp, CompareTarget, KeyValue, PutRequest, RangeRequest, RangeResponse,
    RequestOp, ResponseOp, TxnRequest, TxnResponse,
};
use crate::values::{InMemory, Values};
use crate::view::View;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::limits::TXN_ANSWER_BYTES_MAX as ANSWER_BYTES_MAX;
use base::{Blob, planted};
use core::cmp::Ordering;

/// One transaction, begun and not ended. The compares, nested ones too, see the state before it;
/// then every operation that will run is checked, so that all of them run or none.
pub(crate) struct TxnWork {
    pass: Pass,
    /// Where the pass is: the transaction, and those nested in it down to here.
    frames: Vec<Frame>,
    /// Outcomes of the compares on the taken path, in the order they are met.
    path: Vec<bool>,
    /// How many of them the pass has met.
    met: usize,
    /// What the reads may still answer with.
    answer_bytes: u64,
    /// Reads of the taken path, and bytes that they could find.
    reads: (u64, u64),
    /// The state before, where the answer may turn out to be too large.
    before: Option<View>,
    op: Op,
    /// For a planted bug only.
    first: Option<PutRequest>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Compare,
    Check,
    Run,
}

/// One transaction of the nest.
#[derive(Default)]
struct Frame {
    /// None until its compares are through.
    succeeded: Option<bool>,
    /// The compare, or then the operation, that is next.
    next: usize,
    responses: Vec<ResponseOp>,
}

/// The operation under way.
enum Op {
    None,
    Compare(CompareWork),
    Range(Box<RangeWork>),
    /// An answer on its way into the digest.
    Answered(RangeResponse, usize),
    Delete(Box<DeleteWork>),
}

impl TxnWork {
    pub fn new() -> Self {
        Self {
            pass: Pass::Compare,
            frames: Vec::from([Frame::default()]),
            path: Vec::new(),
            met: 0,
            answer_bytes: ANSWER_BYTES_MAX,
            reads: (0, 0),
            before: None,
            op: Op::None,
            first: None,
        }
    }

    /// None when the budget ends before the transaction. After an error nothing has been written.
    pub fn run(
        &mut self,
        txn: &TxnRequest,
        w: &mut Writer<'_>,
        budget: &mut Budget,
        discard: &mut Discard,
    ) -> Option<Result<TxnResponse, Error>> {
        loop {
            assert!(!self.frames.is_empty(), "a transaction runs once");
            match self.run_pass(txn, w, budget) {
                Ok(false) => return None,
                Ok(true) if self.pass == Pass::Run => {
                    let mut root = self.frames.pop().expect("the pass ends at the root");
                    let responses = core::mem::take(&mut root.responses);
                    let succeeded = root.succeeded.expect("it ran");
                    let asked = branch(txn, succeeded).len();
                    assert_eq!(responses.len(), asked, "each operation has its answer");
                    w.digest.number(i64::from(succeeded));
                    if let Some(before) = self.before.take() {
                        discard.push(before);
                    }
                    return Some(Ok(TxnResponse { revision: w.current(), succeeded, responses }));
                }
                Ok(true) => {
                    let wrote = !w.events.is_empty();
                    assert!(!wrote || planted!(PartialTxn), "checked whole before it writes");
                    let checked = self.pass == Pass::Check;
                    if checked && self.may_answer_much(w.view) {
                        self.before = Some(w.view.clone());
                    }
                    self.pass = if checked { Pass::Run } else { Pass::Check };
                    self.frames = Vec::from([Frame::default()]);
                    self.met = 0;
                }
                Err(error) => {
                    self.take_back(w, discard);
                    return Some(Err(error));
                }
            }
        }
    }

    fn take_back(&mut self, w: &mut Writer<'_>, discard: &mut Discard) {
        if let Some(before) = self.before.take() {
            discard.push(core::mem::replace(w.view, before));
            discard.push(core::mem::take(w.events));
            discard.push(core::mem::take(&mut self.frames));
        } else {
            assert!(w.events.is_empty() || planted!(PartialTxn), "a few reads are no large answer");
        }
    }

    /// Whether reads of everything, the transaction's own writes included, could be too much.
    fn may_answer_much(&self, view: &View) -> bool {
        let (reads, bytes) = self.reads;
        reads.saturating_mul(bytes + view.size_bytes) > ANSWER_BYTES_MAX
    }

    /// True once the pass is through.
    fn run_pass(
        &mut self,
        root: &TxnRequest,
        w: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let mut nest = self.nest(root);
        assert_eq!(nest.len(), self.frames.len(), "each frame has its request");
        loop {
            if !budget.is_left() {
                return Ok(false);
            }
            let txn: &TxnRequest = nest.last().expect("the root is there");
            let at = self.frames.len() - 1;
            let Some(succeeded) = self.frames[at].succeeded else {
                if !self.enter(txn, w, budget) {
                    return Ok(false);
                }
                continue;
            };
            let Some(op) = branch(txn, succeeded).get(self.frames[at].next) else {
                nest.pop();
                assert!(matches!(self.op, Op::None), "no operation is left half done");
                if nest.is_empty() {
                    self.check_path();
                    return Ok(true);
                }
                self.leave(w.digest);
                continue;
            };
            if let RequestOp::Txn(nested) = op {
                nest.push(nested);
                self.frames.push(Frame::default());
                continue;
            }
            let done = match self.pass {
                Pass::Compare => true,
                Pass::Check => {
                    budget.spend(1);
                    self.check(op, w)?;
                    true
                }
                Pass::Run => self.run_op(op, w, budget)?,
            };
            if !done {
                return Ok(false);
            }
            self.frames[at].next += 1;
        }
    }

    /// The requests of the frames.
    fn nest<'a>(&self, root: &'a TxnRequest) -> Vec<&'a TxnRequest> {
        let mut nest = Vec::with_capacity(self.frames.len());
        nest.push(root);
        for frame in &self.frames[..self.frames.len() - 1] {
            let txn: &TxnRequest = nest.last().expect("the root is there");
            let succeeded = frame.succeeded.expect("its operations have begun");
            let RequestOp::Txn(nested) = &branch(txn, succeeded)[frame.next] else {
                unreachable!("a frame stands in a nested transaction")
            };
            nest.push(nested);
        }
        nest
    }

    /// Finds out which branch is taken; true once that is known.
    fn enter(&mut self, txn: &TxnRequest, w: &mut Writer<'_>, budget: &mut Budget) -> bool {
        let late = planted!(CompareAfterWrite) && self.pass == Pass::Run && self.frames.len() > 1;
        let succeeded = if self.pass == Pass::Compare || late {
            let Some(succeeded) = self.compare(txn, w, budget) else { return false };
            self.path.push(succeeded);
            succeeded
        } else {
            assert!(self.met < self.path.len(), "every pass takes the path of the first");
            self.met += 1;
            self.path[self.met - 1]
        };
        budget.spend(1);
        let frame = self.frames.last_mut().expect("the root is there");
        assert!(frame.succeeded.is_none(), "a transaction is entered once");
        (frame.succeeded, frame.next) = (Some(succeeded), 0);
        true
    }

    /// At the end of a pass.
    fn check_path(&self) {
        assert_eq!(self.frames.len(), 1, "a pass ends at the root");
        let whole = self.pass == Pass::Compare || self.met == self.path.len();
        assert!(whole || planted!(CompareAfterWrite), "every pass meets what the first one met");
    }

    fn compare(
        &mut self,
        txn: &TxnRequest,
        w: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Option<bool> {
        let frame = self.frames.last_mut().expect("the root is there");
        while let Some(compare) = txn.compare.get(frame.next) {
            let mut work = match core::mem::replace(&mut self.op, Op::None) {
                Op::Compare(work) => work,
                _ => CompareWork::default(),
            };
            match work.run(compare, w.view, w.values, budget) {
                None => {
                    self.op = Op::Compare(work);
                    return None;
                }
                Some(false) => return Some(false),
                Some(true) => frame.next += 1,
            }
        }
        Some(true)
    }

    /// The innermost transaction is through.
    fn leave(&mut self, digest: &mut Digest) {
        let frame = self.frames.pop().expect("a nested one is through");
        let parent = self.frames.last_mut().expect("the root is never left");
        assert!(parent.succeeded.is_some(), "a nested one runs in its parent's branch");
        parent.next += 1;
        if self.pass == Pass::Run {
            let succeeded = frame.succeeded.expect("it ran");
            digest.number(i64::from(succeeded));
            let responses = frame.responses;
            parent.responses.push(ResponseOp::Txn(TxnResponse {
                revision: 0,
                succeeded,
                responses,
            }));
        }
    }

    fn check(&mut self, op: &RequestOp, w: &mut Writer<'_>) -> Result<(), Error> {
        let checked = match op {
            RequestOp::Range(range) => {
                self.reads.0 += 1;
                check_range(w.view, range)
            }
            RequestOp::Put(put) => {
                self.reads.1 += version_bytes(put.key.len(), put.value.len());
                check_put(w.view, put)
            }
            RequestOp::Delete(_) | RequestOp::Txn(_) => Ok(()),
        };
        if planted!(PartialTxn) {
            match (&checked, op, self.first.take()) {
                (Err(_), _, Some(put)) => drop(w.put(&put)),
                (Ok(()), RequestOp::Put(put), None) => self.first = Some(put.clone()),
                (_, _, first) => self.first = first,
            }
        }
        checked
    }

    /// One operation of the taken path; true once it is through.
    fn run_op(
        &mut self,
        op: &RequestOp,
        w: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let response = match op {
            RequestOp::Range(range) => {
                let Some(answer) = self.range(range, w, budget)? else { return Ok(false) };
                ResponseOp::Range(answer)
            }
            RequestOp::Put(put) => {
                let Some(answer) = w.put(put) else { return Ok(false) };
                budget.spend(units(put.value.len()));
                ResponseOp::Put(answer)
            }
            RequestOp::Delete(delete) => {
                let mut work = match core::mem::replace(&mut self.op, Op::None) {
                    Op::Delete(work) => work,
                    _ => Box::new(DeleteWork::new(delete)),
                };
                let Some(response) = work.run(w, budget) else {
                    self.op = Op::Delete(work);
                    return Ok(false);
                };
                ResponseOp::Delete(response)
            }
            RequestOp::Txn(_) => unreachable!("a nested one has its own frame"),
        };
        self.frames.last_mut().expect("the root is there").responses.push(response);
        Ok(true)
    }

    fn range(
        &mut self,
        request: &RangeRequest,
        w: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<Option<RangeResponse>, Error> {
        loop {
            match &mut self.op {
                Op::Range(work) => {
                    let Some(answer) = work.run(w.view, w.values, budget) else { return Ok(None) };
                    self.op = Op::Answered(answer, 0);
                }
                Op::Answered(answer, upto) => {
                    while let Some(kv) = answer.kvs.get(*upto) {
                        if !budget.is_left() {
                            return Ok(None);
                        }
                        let bytes = version_bytes(kv.key.len(), kv.value.len());
                        let left = self.answer_bytes.checked_sub(bytes);
                        self.answer_bytes = left.ok_or(Error::TooManyOps)?;
                        if w.digest.is_on() {
                            budget.spend(1);
                            w.digest.answered(kv);
                        }
                        *upto += 1;
                    }
                    let answer = core::mem::take(answer);
                    self.op = Op::None;
                    w.digest.number(answer.revision);
                    w.digest.number(answer.count);
                    w.digest.number(i64::from(answer.more));
                    return Ok(Some(answer));
                }
                _ => {
                    budget.spend(1);
                    let blind = planted!(TxnReadMissesOwnWrite);
                    let at = if blind { w.view.revision } else { w.current() };
                    let work =
                        RangeWork::at(w.view, request, at).expect("its revision was checked");
                    self.op = Op::Range(Box::new(work));
                }
            }
        }
    }
}

fn branch(txn: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// One compare over its range.
#[derive(Default)]
struct CompareWork {
    after: Option<Blob>,
    found: bool,
}

impl CompareWork {
    /// Whether the compare holds, once it is known.
    fn run(
        &mut self,
        compare: &Compare,
        view: &View,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<bool> {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        let at = view.revision() + i64::from(planted!(CompareAfterWrite));
        let (mut last, no_value) = (None, Blob::default());
        let mut live = view.live(&range, self.after.clone(), at, at);
        loop {
            if !budget.is_left() {
                if let Some(last) = last {
                    self.after = Some(KeyRef::key(&last));
                }
                return None;
            }
            budget.spend(1);
            let Some((key, facts)) = live.next() else { break };
            if let Some(facts) = facts {
                let is_value = matches!(compare.target, CompareTarget::Value(_));
                let record = if is_value { Some(view.version(&facts, values)) } else { None };
                if matches!(record, Some(None)) {
                    if let Some(last) = last {
                        self.after = Some(KeyRef::key(&last));
                    }
                    return None;
                }
                self.found = true;
                let record = record.flatten();
                let value = record.as_ref().map_or(&no_value, |record| &record.kv.value);
                if !holds_for(compare, &facts.key_value(Blob::default()), value) {
                    return Some(false);
                }
            }
            last = Some(key);
        }
        // A value cannot be compared with nothing: false even for NOT_EQUAL.
        let is_value = matches!(compare.target, CompareTarget::Value(_));
        Some(self.found || (!is_value && holds_for(compare, &KeyValue::default(), &no_value)))
    }
}

/// Which branch is taken, where every compare is of one key and of no value.
pub(crate) fn at_a_glance(view: &View, txn: &TxnRequest) -> Option<bool> {
    let single = |c: &Compare| c.range_end.is_empty();
    let is_value = |c: &Compare| matches!(c.target, CompareTarget::Value(_));
    if !txn.compare.iter().all(|c| single(c) && !is_value(c)) {
        return None;
    }
    let no_value = Blob::default();
    Some(txn.compare.iter().all(|compare| {
        let facts = view.live_at(&compare.key, view.revision());
        let nothing = KeyValue::default;
        let kv = facts.map_or_else(nothing, |facts| facts.key_value(Blob::default()));
        holds_for(compare, &kv, &no_value)
    }))
}

fn holds_for(compare: &Compare, kv: &KeyValue, value: &Blob) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(x) => kv.version.cmp(x),
        CompareTarget::Create(x) => kv.create_revision.cmp(x),
        CompareTarget::Mod(x) => kv.mod_revision.cmp(x),
        CompareTarget::Value(x) => value.cmp(x),
        CompareTarget::Lease(x) => kv.lease.cmp(x),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}

/// etcd's `checkRange`: stricter than a plain range about negative revisions.
fn check_range(view: &View, request: &RangeRequest) -> Result<(), Error> {
    if request.revision == 0 {
        Ok(())
    } else if request.revision > view.revision() {
        Err(Error::FutureRevision)
    } else if request.revision < view.compact_revision() {
        Err(Error::Compacted)
    } else {
        Ok(())
    }
}

/// A transaction that writes in no branch, read from a view in slices.
pub struct ReadTxnWork {
    request: TxnRequest,
    /// Nothing is written to it.
    view: View,
    work: TxnWork,
}

impl ReadTxnWork {
    /// Begins one on a clone of `view`; `max_ops` as in [`crate::Limits`].
    ///
    /// # Errors
    /// `NotReadOnly`, and the static checks.
    pub fn start(view: &View, request: &TxnRequest, max_ops: usize) -> Result<Self, Error> {
        if !request.is_read_only() {
            return Err(Error::NotReadOnly);
        }
        check::txn(request, max_ops)?;
        Ok(Self { request: request.clone(), view: view.clone(), work: TxnWork::new() })
    }

    /// Goes on for as long as the budget lasts, and what it needs is at hand; the answer once it is
    /// whole.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`; `TooManyOps` for an answer that is too large.
    pub fn run(
        &mut self,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<Result<TxnResponse, Error>> {
        let (mut events, mut digest) = (Vec::new(), Digest::off());
        let (view, events, digest) = (&mut self.view, &mut events, &mut digest);
        let mut w = Writer { view, values, events, digest };
        let done = self.work.run(&self.request, &mut w, budget, &mut Discard::default());
        assert!(w.events.is_empty(), "it only reads");
        done
    }
}

impl View {
    /// Evaluates a transaction that writes in no branch, without the log, of a store that has all
    /// in memory.
    ///
    /// # Errors
    /// As [`ReadTxnWork`].
    pub fn read_txn(&self, txn: &TxnRequest, max_ops: usize) -> Result<TxnResponse, Error> {
        let mut work = ReadTxnWork::start(self, txn, max_ops)?;
        work.run(&mut InMemory, &mut Budget::endless()).expect("the budget is endless")
    }
}
