//! Operations, and a recorder that collects them while clients run.

/// One request of one client and what is known of its answer.
///
/// | `output` | `returned` | meaning |
/// |---|---|---|
/// | some | some | took effect between the two moments, with this answer |
/// | some | none | took effect at some moment after `invoked` (seen by others, say) |
/// | none | any | unknown: may take effect at any moment after `invoked`, or never |
///
/// An operation that definitely took no effect is left out of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// The client. Only for reading: nothing is deduced from it.
    pub process: u32,
    pub input: I,
    pub output: Option<O>,
    /// In any unit that orders events, virtual nanoseconds or line numbers. An operation
    /// precedes another if it returned strictly before the other was invoked.
    pub invoked: u64,
    /// At least `invoked`. Ignored where `output` is none.
    pub returned: Option<u64>,
}

impl<I, O> Operation<I, O> {
    /// True where nobody knows whether it took effect.
    pub fn is_unknown(&self) -> bool {
        self.output.is_none()
    }

    /// The moment by which it took effect; `u64::MAX` where there is none.
    pub fn deadline(&self) -> u64 {
        match (&self.output, self.returned) {
            (Some(_), Some(at)) => at,
            _ => u64::MAX,
        }
    }
}

/// Handle of an operation that [`History::invoke`] opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

/// Records operations as clients make them.
#[derive(Clone, Debug)]
pub struct History<I, O> {
    ops: Vec<Option<Operation<I, O>>>,
}

impl<I, O> Default for History<I, O> {
    fn default() -> Self {
        Self { ops: Vec::new() }
    }
}

impl<I, O> History<I, O> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens an operation; until [`Self::ok`] or [`Self::fail`] its outcome is unknown.
    pub fn invoke(&mut self, process: u32, input: I, at: u64) -> OpId {
        let op = Operation { process, input, output: None, invoked: at, returned: None };
        self.ops.push(Some(op));
        OpId(self.ops.len() - 1)
    }

    /// The answer arrived.
    ///
    /// # Panics
    /// If the operation has an answer, has failed, or was invoked after `at`.
    pub fn ok(&mut self, id: OpId, output: O, at: u64) {
        let op = self.ops[id.0].as_mut().expect("a failed operation has no answer");
        assert!(op.returned.is_none(), "one answer an operation");
        assert!(op.invoked <= at, "an answer follows its request");
        op.output = Some(output);
        op.returned = Some(at);
    }

    /// The operation took effect with this output, but no answer arrived: others saw it.
    ///
    /// # Panics
    /// If the operation has an answer or has failed.
    pub fn seen(&mut self, id: OpId, output: O) {
        let op = self.ops[id.0].as_mut().expect("a failed operation has no effect to see");
        assert!(op.output.is_none(), "one answer an operation");
        op.output = Some(output);
    }

    /// The operation definitely took no effect and never will: it leaves the history.
    ///
    /// # Panics
    /// If the operation has an answer.
    pub fn fail(&mut self, id: OpId) {
        if let Some(op) = self.ops[id.0].take() {
            assert!(op.output.is_none(), "an operation with an answer took effect");
        }
    }

    /// Operations recorded, those that failed left out.
    pub fn len(&self) -> usize {
        self.ops.iter().flatten().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<I: Clone, O: Clone> History<I, O> {
    /// A copy of what is known so far.
    pub fn operations(&self) -> Vec<Operation<I, O>> {
        self.ops.iter().flatten().cloned().collect()
    }
}
