//! The search against every permutation, on small random histories.

use std::collections::BTreeMap;

use base::Prng;
use check::models::{
    CasInput, CasOutput, CasRegister, Kv, KvInput, KvOutput, Register, RegisterInput,
    RegisterOutput,
};
use check::{Limits, Model, Operation, Verdict, check};

const HISTORIES: u64 = 6_000;

pub type Ops<M> = Vec<Operation<<M as Model>::Input, <M as Model>::Output>>;

/// Tries every order of what was answered up to `until`; later answers need not be placed, but
/// where they are placed they are right. Knows nothing of parts, memory or shortcuts.
pub fn brute<M: Model>(model: &M, ops: &Ops<M>, until: u64) -> bool {
    let mut left = (0..ops.len()).filter(|&at| ops[at].invoked <= until).collect();
    go(model, ops, until, &mut left, &model.initial())
}

fn go<M: Model>(
    model: &M,
    ops: &Ops<M>,
    until: u64,
    left: &mut Vec<usize>,
    state: &M::State,
) -> bool {
    if left.iter().all(|&at| ops[at].output.is_none() || ops[at].deadline() > until) {
        return true;
    }
    let first = left.iter().map(|&at| ops[at].deadline()).min().unwrap();
    for place in 0..left.len() {
        let at = left[place];
        if ops[at].invoked > first {
            continue;
        }
        let next = model.step(state, &ops[at].input, ops[at].output.as_ref());
        if let Some(next) = next {
            left.remove(place);
            if go(model, ops, until, left, &next) {
                return true;
            }
            left.insert(place, at);
        }
    }
    false
}

/// The key-value map with all keys in one state and one part.
pub struct Whole;

impl Model for Whole {
    type State = BTreeMap<String, String>;
    type Input = KvInput;
    type Output = KvOutput;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(
        &self,
        state: &Self::State,
        input: &KvInput,
        output: Option<&KvOutput>,
    ) -> Option<Self::State> {
        let old = state.get(input.key()).cloned().unwrap_or_default();
        let new = match input {
            KvInput::Get { .. } => old.clone(),
            KvInput::Put { value, .. } => value.clone(),
            KvInput::Append { value, .. } => format!("{old}{value}"),
        };
        let fits = match output {
            Some(KvOutput::Value(value)) => *value == old,
            Some(KvOutput::Done) | None => true,
        };
        let mut state = state.clone();
        state.insert(input.key().to_owned(), new);
        fits.then_some(state)
    }
}

/// Whether `order` is an order that the real times allow and that explains every answer.
fn explains<M: Model>(model: &M, ops: &Ops<M>, order: &[usize], parts: &[usize]) -> bool {
    let mut placed = vec![false; ops.len()];
    let mut state = model.initial();
    for (at, &index) in order.iter().enumerate() {
        if std::mem::replace(&mut placed[index], true) {
            return false;
        }
        if order[at..].iter().any(|&later| ops[later].deadline() < ops[index].invoked) {
            return false;
        }
        if parts.contains(&index) {
            match model.step(&state, &ops[index].input, ops[index].output.as_ref()) {
                Some(next) => state = next,
                None => return false,
            }
        }
    }
    true
}

pub fn judge<M: Model>(model: &M, ops: &Ops<M>, expected: bool, seed: u64) -> bool {
    let outcome = check(model, ops, Limits::default(), &|| false);
    match outcome.verdict {
        Verdict::Linearizable { order } => {
            assert!(expected, "seed {seed}: found an order that does not exist");
            for part in model.partition(ops) {
                assert!(explains(model, ops, &order, &part), "seed {seed}: {order:?}");
            }
            let all = |at: usize| ops[at].output.is_none() || order.contains(&at);
            assert!((0..ops.len()).all(all), "seed {seed}: an answered operation is missing");
        }
        Verdict::NotLinearizable { part, prefix, stuck } => {
            assert!(!expected, "seed {seed}: missed an order");
            assert!(explains(model, ops, &prefix, &part), "seed {seed}: the prefix is none");
            let of_part: Ops<M> = part.iter().map(|&at| ops[at].clone()).collect();
            let deadline = ops[stuck[0]].deadline();
            assert!(!brute(model, &of_part, deadline), "seed {seed}: not stuck yet");
            if deadline > 0 {
                assert!(brute(model, &of_part, deadline - 1), "seed {seed}: stuck before");
            }
            assert!(!prefix.contains(&stuck[0]));
        }
        Verdict::Unknown { why } => panic!("seed {seed}: no limit was set: {why}"),
    }
    expected
}

/// Runs `random` histories and requires that both verdicts occur often.
pub fn differ<M: Model, W>(
    model: impl Fn(&Ops<M>) -> M,
    whole: &W,
    random: impl Fn(&mut Prng) -> Ops<M>,
) where
    W: Model<Input = M::Input, Output = M::Output>,
{
    let mut good = 0;
    for seed in 0..HISTORIES {
        let ops = random(&mut Prng::new(seed));
        good += u64::from(judge(&model(&ops), &ops, brute(whole, &ops, u64::MAX), seed));
    }
    assert!(good > HISTORIES / 20 && good < HISTORIES * 19 / 20, "{good} of {HISTORIES} good");
}

/// Moments at random, all deadlines different; answers from a run in some order, some of them
/// replaced or lost.
pub fn random<M: Model>(
    model: &M,
    rng: &mut Prng,
    input: impl Fn(&mut Prng) -> M::Input,
    outputs: impl Fn(&M::Input) -> Vec<M::Output>,
) -> Ops<M> {
    let count = 3 + rng.below(5);
    let span = 4 + rng.below(30);
    let mut ops = Ops::<M>::new();
    for process in 0..count {
        let invoked = rng.below(span) * 16;
        let returned = invoked + rng.below(1 + span) * 8 + process;
        let input = input(rng);
        let process = process as u32;
        ops.push(Operation { process, input, output: None, invoked, returned: Some(returned) });
    }
    // Points between the two moments give a linearizable history to begin with.
    let mut points: Vec<(u64, usize)> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        points.push((op.invoked + rng.below(1 + op.returned.unwrap() - op.invoked), at));
    }
    points.sort_unstable();
    let mut state = model.initial();
    for (_, at) in points {
        let possible = outputs(&ops[at].input);
        let fits = |output: &M::Output| model.step(&state, &ops[at].input, Some(output));
        let output = possible.iter().find(|output| fits(output).is_some()).cloned();
        match rng.below(10) {
            0 => {}
            1 => {
                state = model.step(&state, &ops[at].input, None).unwrap();
            }
            2 => {
                let any = possible[rng.below(possible.len() as u64) as usize].clone();
                state = fits(&any).unwrap_or(state);
                ops[at].output = Some(any);
            }
            _ => {
                state = fits(output.as_ref().unwrap()).unwrap();
                ops[at].output = output;
            }
        }
        if rng.below(20) == 0 {
            ops[at].returned = None;
        }
    }
    ops
}

#[test]
fn a_register_gets_the_verdict_of_brute_force() {
    differ(
        |_| Register,
        &Register,
        |rng| {
            random(
                &Register,
                rng,
                |rng| match rng.below(2) {
                    0 => RegisterInput::Read,
                    _ => RegisterInput::Write(rng.below(3) as i64),
                },
                |input| match input {
                    RegisterInput::Write(_) => vec![RegisterOutput::Written],
                    RegisterInput::Read => {
                        let values = [None, Some(0), Some(1), Some(2)];
                        values.map(RegisterOutput::Value).to_vec()
                    }
                },
            )
        },
    );
}

#[test]
fn a_cas_register_gets_the_verdict_of_brute_force() {
    differ(
        |_| CasRegister,
        &CasRegister,
        |rng| {
            random(
                &CasRegister,
                rng,
                |rng| match rng.below(4) {
                    0 => CasInput::Read,
                    1 => CasInput::Write(rng.below(3) as i64),
                    _ => CasInput::Cas(rng.below(3) as i64, rng.below(3) as i64),
                },
                |input| match input {
                    CasInput::Write(_) => vec![CasOutput::Written],
                    CasInput::Cas(..) => [true, false].map(CasOutput::Swapped).to_vec(),
                    CasInput::Read => {
                        [None, Some(0), Some(1), Some(2)].map(CasOutput::Value).to_vec()
                    }
                },
            )
        },
    );
}

/// Histories of gets, puts and appends of these letters.
fn differ_on_letters(letters: &[&str]) {
    let mut texts = vec![String::new()];
    for length in 1..=7 {
        let shorter: Vec<_> =
            texts.iter().filter(|text| text.len() == length - 1).cloned().collect();
        let longer =
            shorter.iter().flat_map(|text| letters.iter().map(move |x| format!("{text}{x}")));
        texts.extend(longer);
    }
    differ(
        |ops| Kv::of(ops),
        &Whole,
        |rng| {
            let texts = &texts;
            random(
                &Whole,
                rng,
                |rng| {
                    let key = ["x", "y"][rng.below(2) as usize].to_owned();
                    let value = letters[rng.below(letters.len() as u64) as usize].to_owned();
                    match rng.below(4) {
                        0 | 1 => KvInput::Get { key },
                        2 => KvInput::Put { key, value },
                        _ => KvInput::Append { key, value },
                    }
                },
                |input| match input {
                    KvInput::Get { .. } => texts.iter().cloned().map(KvOutput::Value).collect(),
                    _ => vec![KvOutput::Done],
                },
            )
        },
    );
}

#[test]
fn a_key_value_map_gets_the_verdict_of_brute_force() {
    differ_on_letters(&["a", "b"]);
}

#[test]
fn values_that_mostly_differ_get_the_verdict_of_brute_force() {
    differ_on_letters(&["a", "b", "c"]);
}
