//! One part of a history, arranged for the search.

use std::collections::HashMap;

use crate::{FoldState, Model, Operation};

/// Unknown operations with one input. They are alike once invoked, so the earliest is used first.
pub struct Class {
    /// Indices into the history, by invocation.
    pub members: Vec<usize>,
    /// Their moments of invocation, ascending.
    pub invoked: Vec<u64>,
    /// Number of the input.
    pub input: u32,
}

/// An operation that took effect.
pub struct Must {
    /// Index into the history.
    pub index: usize,
    pub invoked: u64,
    pub deadline: u64,
    pub read_only: bool,
    /// Number of the input; equal inputs have equal numbers.
    pub input: u32,
    /// Number of the pair of input and output.
    pub pair: u32,
    /// See [`Model::stretch`].
    pub stretch: Option<u32>,
}

/// Operations of one part by kind.
pub struct Plan {
    /// By deadline.
    pub must: Vec<Must>,
    /// By first invocation.
    pub classes: Vec<Class>,
    /// How many different pairs there are.
    pub pairs: usize,
}

impl Plan {
    /// Unknown operations that change nothing constrain nothing: they are left out.
    pub fn new<M: Model>(
        model: &M,
        ops: &[Operation<M::Input, M::Output>],
        part: &[usize],
    ) -> Self {
        let mut inputs: HashMap<&M::Input, u32, FoldState> = HashMap::default();
        let mut pairs: HashMap<(&M::Input, &M::Output), u32, FoldState> = HashMap::default();
        let mut class_of: HashMap<u32, usize, FoldState> = HashMap::default();
        let mut must = Vec::new();
        let mut classes: Vec<Class> = Vec::new();
        let mut by_call = part.to_vec();
        by_call.sort_by_key(|&index| ops[index].invoked);
        for index in by_call {
            let op = &ops[index];
            let read_only = model.read_only(&op.input, op.output.as_ref());
            if op.is_unknown() && read_only {
                continue;
            }
            let count = number(inputs.len());
            let input = *inputs.entry(&op.input).or_insert(count);
            if let Some(output) = &op.output {
                let count = number(pairs.len());
                let pair = *pairs.entry((&op.input, output)).or_insert(count);
                let (invoked, deadline) = (op.invoked, op.deadline());
                let stretch = model.stretch(&op.input, Some(output));
                must.push(Must { index, invoked, deadline, read_only, input, pair, stretch });
            } else {
                let class = *class_of.entry(input).or_insert(classes.len());
                if class == classes.len() {
                    classes.push(Class { members: Vec::new(), invoked: Vec::new(), input });
                }
                classes[class].members.push(index);
                classes[class].invoked.push(op.invoked);
            }
        }
        must.sort_by_key(|op| (op.deadline, op.invoked));
        Self { must, classes, pairs: pairs.len() }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 operations")
}
