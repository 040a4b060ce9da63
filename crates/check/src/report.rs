//! From bytes to a verdict that can be shown: what `quorate check` does, without files and clock.

mod html;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

pub use html::page;

use crate::etcd::{Etcd, EtcdState, Request};
use crate::models::{
    CasInput, CasOutput, CasRegister, Kv, KvInput, KvOutput, KvState, Register, RegisterInput,
    RegisterOutput,
};
use crate::parse::{self, EtcdHistory, Format, ParseError};
use crate::{FoldState, Limits, Model, Operation, Outcome, Verdict, check};

/// Which object a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelName {
    Register,
    CasRegister,
    Kv,
    Etcd,
}

impl ModelName {
    pub const ALL: [Self; 4] = [Self::Register, Self::CasRegister, Self::Kv, Self::Etcd];

    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Kv => "kv",
            Self::Etcd => "etcd",
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|model| model.name() == name);
        found.ok_or_else(|| format!("no model \"{name}\": register, cas-register, kv or etcd"))
    }
}

/// The operations of a file.
#[derive(Clone, Debug)]
pub enum Loaded {
    Register(Vec<Operation<RegisterInput, RegisterOutput>>),
    CasRegister(Vec<Operation<CasInput, CasOutput>>),
    Kv(Vec<Operation<KvInput, KvOutput>>),
    Etcd(EtcdHistory),
}

/// Reads a history; without a format it is recognised.
///
/// # Errors
/// Where and why the bytes are no history of this model.
pub fn load(model: ModelName, format: Option<Format>, bytes: &[u8]) -> Result<Loaded, ParseError> {
    let format = format.unwrap_or_else(|| parse::detect(bytes));
    match (model, format) {
        (ModelName::Register, Format::Events) => {
            parse::register_events(bytes).map(Loaded::Register)
        }
        (ModelName::Register, Format::JsonLines) => {
            parse::register_lines(bytes).map(Loaded::Register)
        }
        (ModelName::CasRegister, Format::Events) => {
            parse::cas_register_events(bytes).map(Loaded::CasRegister)
        }
        (ModelName::CasRegister, Format::JsonLines) => {
            parse::cas_register_lines(bytes).map(Loaded::CasRegister)
        }
        (ModelName::Kv, Format::Events) => parse::kv_events(bytes).map(Loaded::Kv),
        (ModelName::Kv, Format::JsonLines) => parse::kv_lines(bytes).map(Loaded::Kv),
        (ModelName::Etcd, Format::JsonLines) => parse::etcd_lines(bytes).map(Loaded::Etcd),
        (ModelName::Etcd, Format::Events) => {
            let what = "the etcd model reads JSON lines, and this is something else";
            Err(ParseError::new(0, 0, what))
        }
    }
}

/// One operation as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub process: u32,
    pub text: String,
    pub invoked: u64,
    /// None where the outcome is unknown or no answer arrived.
    pub returned: Option<u64>,
    pub unknown: bool,
}

/// One placed operation and the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Index into [`Report::ops`].
    pub index: usize,
    pub state: String,
}

/// A verdict with everything that is needed to show it.
#[derive(Clone, Debug)]
pub struct Report {
    pub outcome: Outcome,
    pub ops: Vec<Shown>,
    /// The order found, or the longest there is of the part that failed. Empty if unknown.
    pub placed: Vec<Placed>,
}

impl Report {
    /// `linearizable`, `NOT linearizable` or `unknown`.
    pub fn word(&self) -> &'static str {
        match self.outcome.verdict {
            Verdict::Linearizable { .. } => "linearizable",
            Verdict::NotLinearizable { .. } => "NOT linearizable",
            Verdict::Unknown { .. } => "unknown",
        }
    }

    /// What went wrong, in lines of text; empty for a linearizable history.
    pub fn explain(&self) -> Vec<String> {
        match &self.outcome.verdict {
            Verdict::Linearizable { .. } => Vec::new(),
            Verdict::Unknown { why } => vec![format!("gave up at the {why}")],
            Verdict::NotLinearizable { part, prefix, stuck } => {
                let mut lines = vec![format!(
                    "{} of {} operations can be ordered; then the state is {}",
                    prefix.len(),
                    part.len(),
                    self.placed.last().map_or("the initial one", |placed| &placed.state)
                )];
                for (at, &index) in stuck.iter().enumerate() {
                    let op = &self.ops[index];
                    let which = if at == 0 { "cannot be placed" } else { "neither can" };
                    let until = op.returned.map_or("never".to_owned(), |at| at.to_string());
                    lines.push(format!(
                        "{which}: process {}: {} (invoked {}, answered {until})",
                        op.process, op.text, op.invoked
                    ));
                }
                lines
            }
        }
    }
}

impl Loaded {
    pub fn len(&self) -> usize {
        match self {
            Self::Register(ops) => ops.len(),
            Self::CasRegister(ops) => ops.len(),
            Self::Kv(ops) => ops.len(),
            Self::Etcd(history) => history.ops.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides, as [`check`] does.
    pub fn check(&self, limits: Limits, cancel: &dyn Fn() -> bool) -> Report {
        match self {
            Self::Register(ops) => {
                let state = |_: &_, now: &Option<i64>| text::value(now);
                report(&Register, (ops, ops), limits, cancel, text::register, state)
            }
            Self::CasRegister(ops) => {
                let state = |_: &CasInput, now: &Option<i64>| text::value(now);
                report(&CasRegister, (ops, ops), limits, cancel, text::cas_register, state)
            }
            Self::Kv(ops) => {
                // The model tells only values that were read; a reader wants all of them.
                let mut values: HashMap<String, String, FoldState> = HashMap::default();
                let state = |input: &KvInput, _: &KvState| {
                    let now = values.entry(input.key().to_owned()).or_default();
                    match input {
                        KvInput::Get { .. } => {}
                        KvInput::Put { value, .. } => now.clone_from(value),
                        KvInput::Append { value, .. } => now.push_str(value),
                    }
                    text::quoted(now)
                };
                report(&Kv::of(ops), (ops, ops), limits, cancel, text::kv, state)
            }
            Self::Etcd(history) => {
                let mut model = Etcd::starting_at(history.revision, history.keys.clone());
                model.study(&history.ops);
                let known = model.narrow(&history.ops);
                let state = |_: &Request, now: &EtcdState| format!("revision {}", now.revision());
                report(&model, (&history.ops, &known), limits, cancel, text::etcd, state)
            }
        }
    }
}

/// Operations of a model.
type Ops<M> = [Operation<<M as Model>::Input, <M as Model>::Output>];

/// `ops`: as they are shown, and as they are searched.
fn report<M: Model>(
    model: &M,
    (ops, searched): (&Ops<M>, &Ops<M>),
    limits: Limits,
    cancel: &dyn Fn() -> bool,
    describe: impl Fn(&M::Input, Option<&M::Output>) -> String,
    mut describe_state: impl FnMut(&M::Input, &M::State) -> String,
) -> Report {
    let outcome = check(model, searched, limits, cancel);
    let shown = ops.iter().map(|op| Shown {
        process: op.process,
        text: describe(&op.input, op.output.as_ref()),
        invoked: op.invoked,
        returned: if op.is_unknown() { None } else { op.returned },
        unknown: op.is_unknown(),
    });
    let order: &[usize] = match &outcome.verdict {
        Verdict::Linearizable { order } => order,
        Verdict::NotLinearizable { prefix, .. } => prefix,
        Verdict::Unknown { .. } => &[],
    };
    // Parts have states of their own, and an order may run through many parts.
    let mut part_of = vec![0; ops.len()];
    let parts = model.partition(searched);
    for (part, members) in parts.iter().enumerate() {
        for &index in members {
            part_of[index] = part;
        }
    }
    let mut states: Vec<M::State> = parts.iter().map(|_| model.initial()).collect();
    let mut placed = Vec::with_capacity(order.len());
    for &index in order {
        let state = &mut states[part_of[index]];
        let op = &searched[index];
        let next = model.step(state, &op.input, op.output.as_ref());
        *state = next.expect("the search made this step");
        placed.push(Placed { index, state: describe_state(&op.input, state) });
    }
    Report { ops: shown.collect(), placed, outcome }
}
