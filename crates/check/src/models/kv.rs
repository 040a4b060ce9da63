//! Independent string keys that are read, written and appended to.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Model, Operation};

/// Keys are `""` at first and do not influence each other, so each is a part of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

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

impl Model for Kv {
    /// The value of the one key of a part.
    type State = Rc<str>;
    type Input = KvInput;
    type Output = KvOutput;

    fn initial(&self) -> Self::State {
        Rc::from("")
    }

    fn step(
        &self,
        state: &Self::State,
        input: &KvInput,
        output: Option<&KvOutput>,
    ) -> Option<Self::State> {
        match (input, output) {
            (KvInput::Get { .. }, None) => Some(state.clone()),
            (KvInput::Get { .. }, Some(KvOutput::Value(value))) => {
                (**state == **value).then(|| state.clone())
            }
            (KvInput::Put { value, .. }, None | Some(KvOutput::Done)) => {
                Some(Rc::from(value.as_str()))
            }
            (KvInput::Append { value, .. }, None | Some(KvOutput::Done)) => {
                let mut longer = String::with_capacity(state.len() + value.len());
                longer.push_str(state);
                longer.push_str(value);
                Some(Rc::from(longer))
            }
            _ => None,
        }
    }

    fn read_only(&self, input: &KvInput, _: Option<&KvOutput>) -> bool {
        matches!(input, KvInput::Get { .. })
    }

    fn partition(&self, ops: &[Operation<KvInput, KvOutput>]) -> Vec<Vec<usize>> {
        let mut parts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, op) in ops.iter().enumerate() {
            parts.entry(op.input.key()).or_default().push(index);
        }
        parts.into_values().collect()
    }

    fn state_bytes(&self, state: &Self::State) -> usize {
        size_of::<Self::State>() + 2 * size_of::<usize>() + state.len()
    }
}
