//! Independent string keys that are read, written and appended to.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::chains::Chains;
use crate::{FoldState, Model, Operation};

/// Keys are `""` at first and do not influence each other, so each is a part of its own.
///
/// A value that is no prefix of anything that was read of its key cannot be read before the next
/// put, whatever is appended to it. All such values are one state, [`KvState::Unread`]: without
/// that, every order of appends that nobody saw would be a state of its own.
///
/// [`Chains`] says of most writes where alone they can stand in an order that explains all reads.
#[derive(Clone, Debug)]
pub struct Kv {
    keys: HashMap<String, Chains, FoldState>,
    /// Of a key that is not in the history.
    none: Chains,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KvInput {
    Get { key: String },
    Put { key: String, value: String },
    Append { key: String, value: String },
}

impl KvInput {
    pub fn key(&self) -> &str {
        match self {
            Self::Get { key } | Self::Put { key, .. } | Self::Append { key, .. } => key,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KvOutput {
    /// Answer of a get.
    Value(String),
    /// Answer of a put or an append.
    Done,
}

/// The value of the one key of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvState {
    /// The first `length` bytes of what was read, where `at` is the least such place.
    Prefix { at: u32, length: u32 },
    /// Nothing that was read begins like this.
    Unread,
}

impl Kv {
    /// The model of this history; it gives no right verdict on another one.
    pub fn of(ops: &[Operation<KvInput, KvOutput>]) -> Self {
        let mut inputs: HashMap<&str, Vec<&KvInput>, FoldState> = HashMap::default();
        let mut read: HashMap<&str, Vec<Box<str>>, FoldState> = HashMap::default();
        for op in ops {
            inputs.entry(op.input.key()).or_default().push(&op.input);
            if let (KvInput::Get { key }, Some(KvOutput::Value(value))) = (&op.input, &op.output) {
                read.entry(key).or_default().push(value.as_str().into());
            }
        }
        let mut keys = HashMap::default();
        for (key, inputs) in inputs {
            let mut values = read.remove(key).unwrap_or_default();
            values.sort_unstable();
            values.dedup();
            keys.insert(key.to_owned(), Chains::of(values, inputs.into_iter()));
        }
        Self { keys, none: Chains::default() }
    }

    fn chains(&self, key: &str) -> &Chains {
        self.keys.get(key).unwrap_or(&self.none)
    }
}

/// The bytes of a state that is a prefix.
fn text(values: &[Box<str>], at: u32, length: u32) -> &[u8] {
    // Before anything was written the state is a prefix even where nothing was read.
    values.get(at as usize).map_or(&[], |value| &value.as_bytes()[..length as usize])
}

/// The state of the value `head` + `tail`, which is not before `values[from]`.
pub(super) fn locate(values: &[Box<str>], from: usize, head: &[u8], tail: &[u8]) -> KvState {
    let before = |value: &str| {
        let (value, shared) = (value.as_bytes(), head.len().min(value.len()));
        let order = value[..shared].cmp(&head[..shared]);
        let order = order.then_with(|| {
            if value.len() < head.len() { Ordering::Less } else { value[shared..].cmp(tail) }
        });
        order == Ordering::Less
    };
    let at = from + values[from..].partition_point(|value| before(value));
    let begins = |value: &str| {
        let rest = value.as_bytes().strip_prefix(head);
        rest.is_some_and(|rest| rest.starts_with(tail))
    };
    match values.get(at) {
        Some(value) if begins(value) => KvState::Prefix {
            at: u32::try_from(at).expect("fewer than 2^32 operations"),
            length: u32::try_from(head.len() + tail.len()).expect("it fits a value that was read"),
        },
        _ => KvState::Unread,
    }
}

impl Model for Kv {
    type State = KvState;
    type Input = KvInput;
    type Output = KvOutput;

    fn initial(&self) -> KvState {
        KvState::Prefix { at: 0, length: 0 }
    }

    fn step(&self, state: &KvState, input: &KvInput, output: Option<&KvOutput>) -> Option<KvState> {
        let chains = self.chains(input.key());
        let values = chains.values();
        match (input, output) {
            (KvInput::Get { .. }, None) => Some(*state),
            (KvInput::Get { .. }, Some(KvOutput::Value(value))) => match *state {
                KvState::Unread => None,
                KvState::Prefix { at, length } => {
                    (text(values, at, length) == value.as_bytes()).then_some(*state)
                }
            },
            (KvInput::Put { value, .. }, None | Some(KvOutput::Done)) => {
                Some(locate(values, 0, &[], value.as_bytes()))
            }
            (KvInput::Append { value, .. }, None | Some(KvOutput::Done)) => {
                let KvState::Prefix { at, length } = *state else { return Some(KvState::Unread) };
                let head = text(values, at, length);
                Some(locate(values, (at as usize).min(values.len()), head, value.as_bytes()))
            }
            _ => None,
        }
    }

    fn leads_nowhere(
        &self,
        state: &KvState,
        input: &KvInput,
        output: Option<&KvOutput>,
        after: &KvState,
    ) -> bool {
        let chains = self.chains(input.key());
        let (is_put, value) = match input {
            KvInput::Get { .. } => return false,
            KvInput::Put { value, .. } => (true, value),
            KvInput::Append { value, .. } => (false, value),
        };
        // Without a lost write that nobody reads no read is explained worse.
        let idle = output.is_none() && chains.is_mute(is_put, value);
        let breaks = chains.next(state).is_some_and(|next| is_put || next != value);
        idle || breaks || (!is_put && !chains.may_lead(value, after))
    }

    fn restudied(&self, ops: &[Operation<KvInput, KvOutput>]) -> Option<Self> {
        Some(Self::of(ops))
    }

    fn read_only(&self, input: &KvInput, _: Option<&KvOutput>) -> bool {
        matches!(input, KvInput::Get { .. })
    }

    /// In a state that nobody reads, a write that nobody reads can only do no harm.
    fn is_harmless(&self, state: &KvState, input: &KvInput) -> bool {
        let chains = self.chains(input.key());
        *state == KvState::Unread
            && match input {
                KvInput::Get { .. } => false,
                KvInput::Put { value, .. } => chains.is_mute(true, value),
                KvInput::Append { value, .. } => chains.is_mute(false, value),
            }
    }

    fn stretch(&self, input: &KvInput, output: Option<&KvOutput>) -> Option<u32> {
        match (input, output) {
            (KvInput::Get { key }, Some(KvOutput::Value(value))) => self.chains(key).once(value),
            _ => None,
        }
    }

    fn stretch_of(&self, state: &KvState, input: &KvInput) -> Option<u32> {
        self.chains(input.key()).once_in(state)
    }

    fn last_resort(&self, state: &KvState) -> bool {
        *state == KvState::Unread
    }

    fn partition(&self, ops: &[Operation<KvInput, KvOutput>]) -> Vec<Vec<usize>> {
        let mut parts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, op) in ops.iter().enumerate() {
            parts.entry(op.input.key()).or_default().push(index);
        }
        parts.into_values().collect()
    }
}
