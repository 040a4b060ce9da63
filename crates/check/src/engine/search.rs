//! The search for one part of a history. It keeps its own stack, so depth is no danger.
//!
//! A situation is a set of placed operations and a state. From a situation every operation may
//! be placed next that no unplaced one precedes. The search places, remembers, and goes back.
//! What keeps it small, and why nothing is missed:
//!
//! 1. A situation visited before is not visited again (Lowe).
//! 2. An operation that never changes the state, or of which the model says that it does no harm
//!    in this one, is placed as soon as it fits, without an alternative: in any order that places
//!    it later it can be moved here.
//! 3. Of two candidates with equal input and output only the one with the earlier deadline is
//!    tried: in an order that uses the other they can be exchanged.
//! 4. Unknown operations with equal inputs are counted, not told apart: once invoked they stay
//!    possible for ever. One is not tried where an answered operation with its input does the
//!    same, by the exchange of 3.
//! 5. A situation that used no more unknown operations than another, of any class, and is equal
//!    otherwise, can do whatever the other can ([`super::memo`]).
//! 6. After an unknown operation, one that leads to the same state without it is not tried: the
//!    situation without it is tried anyway and is better in the sense of 5.
//! 7. Where every candidate that fits leaves the state as it is, only the one with the earliest
//!    deadline is tried: it must come before any new candidate does, so it can as well come
//!    first. If that one does not fit, nothing helps. (Asked only in a last resort.)
//! 8. A state that does not come back is not left while an operation is not placed that fits
//!    nowhere else ([`Model::stretch`]): no order goes on from there.
//!
//! 9. Of two unknown operations that lead to the same state now, one is not tried that does
//!    whatever the other can do ([`Model::covers`]): in an order that uses it here, the other can
//!    stand in its place, and it in the other's if that comes later.
//!
//! Unknown operations that can change nothing any more ([`Model::is_spent`]) do not tell
//! situations apart.
//!
//! If an order exists, take the visited situation with the shortest rest of one. Each rule that
//! would drop the next step of that rest names a visited situation with a shorter rest: so there
//! is none with a rest, unless it is empty.

use super::list::List;
use super::memo::{Memo, Situation, situation_bytes};
use super::plan::Plan;
use super::{Limits, Why};
use crate::{Model, Operation};

/// Steps between two questions whether to give up.
const STEPS_PER_CANCEL: u64 = 1024;
const TRAIL_BYTES: u64 = 8;
/// No search may use more, whatever it is allowed: its numbers have 32 bits.
const MEMORY_BYTES_MAX: u64 = 24 << 30;
/// Candidates with this bit are classes of unknown operations.
const CLASS: u32 = 1 << 31;
const ROOT: u32 = u32::MAX;

/// What all parts of one check may spend together.
pub struct Budget<'a> {
    limits: Limits,
    cancel: &'a dyn Fn() -> bool,
    cancel_at: u64,
    pub steps: u64,
    pub states: u64,
    memory_bytes: u64,
    pub memory_bytes_peak: u64,
}

impl<'a> Budget<'a> {
    pub fn new(limits: Limits, cancel: &'a dyn Fn() -> bool) -> Self {
        let memory_bytes_max = limits.memory_bytes_max.min(MEMORY_BYTES_MAX);
        Self {
            limits: Limits { memory_bytes_max, ..limits },
            cancel,
            cancel_at: 0,
            steps: 0,
            states: 0,
            memory_bytes: 0,
            memory_bytes_peak: 0,
        }
    }

    fn keep(&mut self, bytes: u64) {
        self.memory_bytes += bytes;
        self.memory_bytes_peak = self.memory_bytes_peak.max(self.memory_bytes);
    }

    /// The limit that is reached, if any.
    fn exceeded(&mut self) -> Option<Why> {
        if self.steps >= self.cancel_at {
            self.cancel_at = self.steps + STEPS_PER_CANCEL;
            if (self.cancel)() {
                return Some(Why::Cancelled);
            }
        }
        if self.steps >= self.limits.steps_max {
            Some(Why::Steps)
        } else if self.memory_bytes >= self.limits.memory_bytes_max {
            Some(Why::Memory)
        } else {
            None
        }
    }
}

/// How a search ended; numbers are indices into the history.
pub enum Found {
    Order(Vec<usize>),
    Stuck { prefix: Vec<usize>, stuck: Vec<usize> },
    Limit(Why),
}

/// One placed operation, and the candidates to place after it.
struct Frame<S> {
    /// A position in `Plan::must`, a class with [`CLASS`], or [`ROOT`].
    via: u32,
    /// The state before `via`; none where `via` did not change it.
    before: Option<S>,
    /// Where the candidates begin; they end where those of the next frame begin.
    start: usize,
    /// The next candidate to try.
    cursor: usize,
    trail: u32,
    /// Candidates that lead to a last resort wait for the second pass.
    pass: Pass,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    First,
    /// The first, and some candidate waits for the second.
    Waited,
    Second,
}

pub struct Search<'a, M: Model> {
    model: &'a M,
    ops: &'a [Operation<M::Input, M::Output>],
    plan: Plan,
    by_call: List,
    by_deadline: List,
    placed: Vec<u64>,
    placed_count: u32,
    /// Of each stretch: operations not yet placed that fit nowhere else.
    stretches: Vec<u32>,
    used: Vec<(u32, u32)>,
    /// Those of `used` that can still do something, while a situation is looked up.
    live: Vec<(u32, u32)>,
    state: M::State,
    frames: Vec<Frame<M::State>>,
    candidates: Vec<u32>,
    /// For rule 3: the round and place in which a pair was last a candidate.
    pair_seen: Vec<(u64, usize)>,
    round: u64,
    memo: Memo<M::State>,
    /// Every placement ever made, with the one before it.
    trail: Vec<(u32, u32)>,
    /// Frontier, number placed and trail of the situation that got furthest.
    best: (u32, u32, u32),
}

impl<'a, M: Model> Search<'a, M> {
    pub fn new(model: &'a M, ops: &'a [Operation<M::Input, M::Output>], part: &[usize]) -> Self {
        let plan = Plan::new(model, ops, part);
        let count = u32::try_from(plan.must.len()).expect("fewer than 2^31 operations");
        assert!(count < CLASS && plan.classes.len() < CLASS as usize, "codes do not overlap");
        let by_deadline: Vec<u32> = (0..count).collect();
        let mut by_call = by_deadline.clone();
        by_call.sort_by_key(|&at| plan.must[at as usize].invoked);
        let mut stretches = Vec::new();
        for stretch in plan.must.iter().filter_map(|op| op.stretch) {
            let stretch = stretch as usize;
            stretches.resize(stretches.len().max(stretch + 1), 0);
            stretches[stretch] += 1;
        }
        Self {
            model,
            ops,
            stretches,
            by_call: List::new(&by_call),
            by_deadline: List::new(&by_deadline),
            placed: vec![0; plan.must.len().div_ceil(64)],
            placed_count: 0,
            used: Vec::new(),
            live: Vec::new(),
            state: model.initial(),
            frames: Vec::new(),
            candidates: Vec::new(),
            pair_seen: vec![(0, 0); plan.pairs],
            round: 0,
            memo: Memo::new(),
            trail: Vec::new(),
            best: (0, 0, ROOT),
            plan,
        }
    }

    pub fn run(mut self, budget: &mut Budget<'_>) -> Found {
        budget.memory_bytes = 0;
        let pass = Pass::First;
        let root = Frame { via: ROOT, before: None, start: 0, cursor: 0, trail: ROOT, pass };
        self.frames.push(root);
        loop {
            if let Some(why) = budget.exceeded() {
                return Found::Limit(why);
            }
            self.place_readers(budget);
            if self.by_deadline.first() as usize == self.plan.must.len() {
                return Found::Order(self.order(self.top().trail));
            }
            self.note_best();
            if self.is_new(budget) {
                self.list_candidates();
                if self.model.last_resort(&self.state) {
                    self.keep_due(budget);
                }
            }
            while !self.advance(budget) {
                if !self.retreat() {
                    return self.stuck();
                }
                if let Some(why) = budget.exceeded() {
                    return Found::Limit(why);
                }
            }
        }
    }

    fn top(&self) -> &Frame<M::State> {
        self.frames.last().expect("the root stays")
    }

    /// The earliest deadline of an unplaced operation: nothing invoked later can be next.
    fn horizon(&self) -> u64 {
        let first = self.by_deadline.first() as usize;
        self.plan.must.get(first).map_or(u64::MAX, |op| op.deadline)
    }

    fn step_must(&self, at: u32, state: &M::State, budget: &mut Budget<'_>) -> Option<M::State> {
        budget.steps += 1;
        let op = &self.ops[self.plan.must[at as usize].index];
        self.model.step(state, &op.input, op.output.as_ref())
    }

    fn step_any(&self, code: u32, state: &M::State, budget: &mut Budget<'_>) -> Option<M::State> {
        if code & CLASS == 0 {
            return self.step_must(code, state, budget);
        }
        budget.steps += 1;
        let class = &self.plan.classes[(code & !CLASS) as usize];
        self.model.step(state, &self.ops[class.members[0]].input, None)
    }

    fn leads_nowhere(&self, code: u32, after: &M::State) -> bool {
        let (index, output) = if code & CLASS == 0 {
            let index = self.plan.must[code as usize].index;
            (index, self.ops[index].output.as_ref())
        } else {
            (self.plan.classes[(code & !CLASS) as usize].members[0], None)
        };
        self.model.leads_nowhere(&self.state, &self.ops[index].input, output, after)
    }

    /// Rule 2, until none fits.
    fn place_readers(&mut self, budget: &mut Budget<'_>) {
        let end = self.plan.must.len();
        loop {
            let horizon = self.horizon();
            let mut placed = false;
            let mut at = self.by_call.first();
            while (at as usize) < end && self.plan.must[at as usize].invoked <= horizon {
                let next = self.by_call.after(at);
                if self.does_no_harm(at) && self.step_must(at, &self.state, budget).is_some() {
                    self.place(at, None, budget);
                    placed = true;
                }
                at = next;
            }
            if !placed || self.horizon() == horizon {
                return;
            }
        }
    }

    /// Whether rule 2 is about this operation.
    fn does_no_harm(&self, at: u32) -> bool {
        let op = &self.plan.must[at as usize];
        op.read_only || self.model.is_harmless(&self.state, &self.ops[op.index].input)
    }

    /// Rule 8.
    fn must_stay(&self) -> bool {
        let Some(any) = self.plan.must.first() else { return false };
        if self.stretches.is_empty() {
            return false;
        }
        let stretch = self.model.stretch_of(&self.state, &self.ops[any.index].input);
        stretch.is_some_and(|at| self.stretches.get(at as usize).is_some_and(|left| *left > 0))
    }

    /// Places an operation. `after`: the new state, none if it stays.
    fn place(&mut self, code: u32, after: Option<M::State>, budget: &mut Budget<'_>) {
        if code & CLASS == 0 {
            self.by_call.take_out(code);
            self.by_deadline.take_out(code);
            self.placed[code as usize / 64] |= 1 << (code % 64);
            self.placed_count += 1;
            if let Some(stretch) = self.plan.must[code as usize].stretch {
                self.stretches[stretch as usize] -= 1;
            }
        } else {
            let class = code & !CLASS;
            match self.used.binary_search_by_key(&class, |&(class, _)| class) {
                Ok(at) => self.used[at].1 += 1,
                Err(at) => self.used.insert(at, (class, 1)),
            }
        }
        let parent = self.top().trail;
        self.trail.push((parent, code));
        budget.keep(TRAIL_BYTES);
        let trail = u32::try_from(self.trail.len() - 1).expect("the memory limit comes first");
        let before = after.map(|after| std::mem::replace(&mut self.state, after));
        let start = self.candidates.len();
        let pass = Pass::First;
        self.frames.push(Frame { via: code, before, start, cursor: start, trail, pass });
    }

    /// Undoes the latest placement; false at the root.
    fn retreat(&mut self) -> bool {
        if self.frames.len() == 1 {
            return false;
        }
        let frame = self.frames.pop().expect("more than the root");
        self.candidates.truncate(frame.start);
        if let Some(before) = frame.before {
            self.state = before;
        }
        if frame.via & CLASS == 0 {
            self.by_deadline.put_back(frame.via);
            self.by_call.put_back(frame.via);
            self.placed[frame.via as usize / 64] &= !(1 << (frame.via % 64));
            self.placed_count -= 1;
            if let Some(stretch) = self.plan.must[frame.via as usize].stretch {
                self.stretches[stretch as usize] += 1;
            }
        } else {
            let class = frame.via & !CLASS;
            let at = self.used.binary_search_by_key(&class, |&(class, _)| class);
            let at = at.expect("what was placed was counted");
            self.used[at].1 -= 1;
            if self.used[at].1 == 0 {
                self.used.remove(at);
            }
        }
        true
    }

    fn note_best(&mut self) {
        let frontier = self.by_deadline.first();
        if (frontier, self.placed_count) > (self.best.0, self.best.1) {
            self.best = (frontier, self.placed_count, self.top().trail);
        }
    }

    /// Rules 1 and 5.
    fn is_new(&mut self, budget: &mut Budget<'_>) -> bool {
        let frontier = self.by_deadline.first();
        let first = frontier as usize / 64;
        // Below the frontier all are placed; what is placed beyond it ends the window of words.
        let mut beyond = self.placed_count - frontier;
        let mut last = first;
        if beyond > 0 {
            let above = self.placed[first] & (u64::MAX << (frontier % 64));
            beyond -= above.count_ones();
            while beyond > 0 {
                last += 1;
                beyond -= self.placed[last].count_ones();
            }
        }
        let (plan, ops, model) = (&self.plan, self.ops, self.model);
        let live = |&&(class, _): &&(u32, u32)| {
            !model.is_spent(&self.state, &ops[plan.classes[class as usize].members[0]].input)
        };
        self.live.clear();
        self.live.extend(self.used.iter().filter(live));
        let situation = Situation {
            frontier,
            words: &self.placed[first..=last],
            used: &self.live,
            state: &self.state,
        };
        let bytes = situation_bytes(&situation) + self.model.state_bytes(&self.state);
        let new = self.memo.visit(&situation);
        if new {
            budget.states += 1;
            budget.keep(bytes as u64);
        }
        new
    }

    /// Gives the top frame its candidates: answered ones by invocation, then unknown ones.
    fn list_candidates(&mut self) {
        let horizon = self.horizon();
        let start = self.candidates.len();
        assert!(self.top().start == start, "the top frame owns the end of the candidates");
        self.round += 1;
        let end = self.plan.must.len();
        let mut at = self.by_call.first();
        while (at as usize) < end && self.plan.must[at as usize].invoked <= horizon {
            let op = &self.plan.must[at as usize];
            let seen = &mut self.pair_seen[op.pair as usize];
            if op.read_only {
                // It does not fit this state, or rule 2 had placed it.
            } else if seen.0 == self.round {
                let rival = &mut self.candidates[seen.1];
                *rival = at.min(*rival);
            } else {
                *seen = (self.round, self.candidates.len());
                self.candidates.push(at);
            }
            at = self.by_call.after(at);
        }
        if !self.model.unknown_may_act(&self.state) {
            return;
        }
        let mut used = self.used.iter().peekable();
        for (class, members) in self.plan.classes.iter().enumerate() {
            if members.invoked[0] > horizon {
                break;
            }
            let taken = used.next_if(|&&(other, _)| other as usize == class).map_or(0, |u| u.1);
            let next = members.invoked.get(taken as usize);
            if next.is_some_and(|&invoked| invoked <= horizon) {
                self.candidates.push(class as u32 | CLASS);
            }
        }
    }

    /// Rule 7.
    fn keep_due(&mut self, budget: &mut Budget<'_>) {
        let start = self.top().start;
        for at in start..self.candidates.len() {
            let after = self.step_any(self.candidates[at], &self.state, budget);
            if after.is_some_and(|after| after != self.state) {
                return;
            }
        }
        let due = self.by_deadline.first();
        self.candidates.truncate(start);
        if !self.plan.must[due as usize].read_only {
            self.candidates.push(due);
        }
    }

    /// Places the next candidate that fits; false if the top frame has none left.
    fn advance(&mut self, budget: &mut Budget<'_>) -> bool {
        let stays = self.must_stay();
        loop {
            let end = self.candidates.len();
            let top = self.frames.last_mut().expect("the root stays");
            if top.cursor == end {
                if top.pass != Pass::Waited {
                    return false;
                }
                (top.pass, top.cursor) = (Pass::Second, top.start);
                continue;
            }
            let code = self.candidates[top.cursor];
            top.cursor += 1;
            let pass = top.pass;
            let Some(after) = self.step_any(code, &self.state, budget) else { continue };
            if stays && after != self.state || self.leads_nowhere(code, &after) {
                continue;
            }
            let last_resort = self.model.last_resort(&after);
            if last_resort != (pass == Pass::Second) {
                if last_resort {
                    self.frames.last_mut().expect("the root stays").pass = Pass::Waited;
                }
                continue;
            }
            if code & CLASS != 0 && (after == self.state || self.has_twin(code, &after, budget)) {
                continue;
            }
            if code & CLASS != 0 && self.has_lesser(code, &after, budget) {
                continue;
            }
            if self.is_idle(code, &after, budget) {
                continue;
            }
            self.place(code, Some(after), budget);
            return true;
        }
    }

    /// Rule 4: an answered candidate with this class's input that leads to `after` too.
    fn has_twin(&self, code: u32, after: &M::State, budget: &mut Budget<'_>) -> bool {
        let input = self.plan.classes[(code & !CLASS) as usize].input;
        self.candidates[self.top().start..].iter().any(|&other| {
            other & CLASS == 0
                && self.plan.must[other as usize].input == input
                && self.step_must(other, &self.state, budget).as_ref() == Some(after)
        })
    }

    /// Rule 9: another class that leads to `after`, and that this one covers.
    fn has_lesser(&self, code: u32, after: &M::State, budget: &mut Budget<'_>) -> bool {
        let input =
            |code: u32| &self.ops[self.plan.classes[(code & !CLASS) as usize].members[0]].input;
        self.candidates[self.top().start..].iter().any(|&other| {
            other & CLASS != 0
                && other != code
                && self.model.covers(input(code), input(other))
                && !self.model.covers(input(other), input(code))
                && self.step_any(other, &self.state, budget).as_ref() == Some(after)
        })
    }

    /// Rule 6: whether the unknown operation placed last makes no difference to `code`.
    fn is_idle(&self, code: u32, after: &M::State, budget: &mut Budget<'_>) -> bool {
        let top = self.top();
        if top.via == ROOT || top.via & CLASS == 0 || top.via == code {
            return false;
        }
        let before = top.before.as_ref().expect("an unknown operation is placed for its effect");
        self.step_any(code, before, budget).as_ref() == Some(after)
    }

    /// The placements up to `trail`, as indices into the history.
    fn order(&self, trail: u32) -> Vec<usize> {
        let mut codes = Vec::new();
        let mut at = trail;
        while at != ROOT {
            let (parent, code) = self.trail[at as usize];
            codes.push(code);
            at = parent;
        }
        let mut taken = vec![0; self.plan.classes.len()];
        codes.iter().rev().map(|&code| self.index_of(code, &mut taken)).collect()
    }

    fn index_of(&self, code: u32, taken: &mut [usize]) -> usize {
        if code & CLASS == 0 {
            return self.plan.must[code as usize].index;
        }
        let class = (code & !CLASS) as usize;
        taken[class] += 1;
        self.plan.classes[class].members[taken[class] - 1]
    }

    /// The furthest situation, and what could not be placed there.
    fn stuck(&self) -> Found {
        let prefix = self.order(self.best.2);
        let mut state = self.model.initial();
        for &index in &prefix {
            let op = &self.ops[index];
            let next = self.model.step(&state, &op.input, op.output.as_ref());
            state = next.expect("the search made these steps");
        }
        let first = &self.plan.must[self.best.0 as usize];
        let mut stuck = vec![first.index];
        let placed: std::collections::BTreeSet<usize> = prefix.iter().copied().collect();
        for op in &self.plan.must {
            let open = op.invoked <= first.deadline && !placed.contains(&op.index);
            let input = &self.ops[op.index];
            if open
                && op.index != first.index
                && self.model.step(&state, &input.input, input.output.as_ref()).is_none()
            {
                stuck.push(op.index);
            }
        }
        Found::Stuck { prefix, stuck }
    }
}
