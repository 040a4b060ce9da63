//! A stable sort that can stop between any two steps: runs of bounded length, merged in pairs.

use crate::budget::Budget;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::iter::Peekable;

/// Sorted at once.
const RUN_MAX: usize = 256;

pub(crate) type Order<T> = fn(&T, &T) -> Ordering;

pub(crate) struct Sorter<T> {
    order: Order<T>,
    /// Only so many of the first are wanted.
    keep: usize,
    run: Vec<T>,
    /// Sorted each, in the order of arrival; those of the pass under way that are still to merge.
    runs: VecDeque<Vec<T>>,
    merged: VecDeque<Vec<T>>,
    pair: Option<Pair<T>>,
}

struct Pair<T> {
    left: Peekable<alloc::vec::IntoIter<T>>,
    right: Peekable<alloc::vec::IntoIter<T>>,
    out: Vec<T>,
}

impl<T> Sorter<T> {
    pub fn new(order: Order<T>, keep: usize) -> Self {
        assert!(keep > 0, "whoever sorts wants something");
        let (runs, merged) = (VecDeque::new(), VecDeque::new());
        Self { order, keep, run: Vec::new(), runs, merged, pair: None }
    }

    pub fn push(&mut self, item: T) {
        assert!(self.pair.is_none() && self.merged.is_empty(), "all is there before it is merged");
        self.run.push(item);
        if self.run.len() == RUN_MAX {
            self.close_run();
        }
        assert!(self.run.len() < RUN_MAX, "what is sorted at once is bounded");
    }

    fn close_run(&mut self) {
        let mut run = core::mem::take(&mut self.run);
        run.sort_by(self.order);
        run.truncate(self.keep);
        assert!(run.len() <= RUN_MAX, "what is sorted at once is bounded");
        if !run.is_empty() {
            self.runs.push_back(run);
        }
    }

    /// All, or the first of them, in order; none yet when the budget ends before.
    pub fn finish(&mut self, budget: &mut Budget) -> Option<Vec<T>> {
        self.close_run();
        loop {
            if let Some(pair) = &mut self.pair {
                if !pair.merge(self.order, self.keep, budget) {
                    return None;
                }
                self.merged.extend(self.pair.take().map(|pair| pair.out));
            }
            assert!(self.pair.is_none(), "one pair is merged at a time");
            match (self.runs.pop_front(), self.runs.pop_front()) {
                (Some(left), Some(right)) => {
                    let out = Vec::with_capacity((left.len() + right.len()).min(self.keep));
                    let (left, right) = (left.into_iter().peekable(), right.into_iter().peekable());
                    self.pair = Some(Pair { left, right, out });
                }
                (Some(odd), None) if self.merged.is_empty() => return Some(odd),
                (Some(odd), None) => {
                    self.merged.push_back(odd);
                    core::mem::swap(&mut self.runs, &mut self.merged);
                }
                (None, _) if self.merged.is_empty() => return Some(Vec::new()),
                (None, _) => core::mem::swap(&mut self.runs, &mut self.merged),
            }
        }
    }
}

impl<T> Pair<T> {
    fn merge(&mut self, order: Order<T>, keep: usize, budget: &mut Budget) -> bool {
        loop {
            assert!(self.out.len() <= keep, "no more is kept than is wanted");
            if !budget.is_left() {
                return false;
            }
            let next = match (self.left.peek(), self.right.peek()) {
                // Equal ones stay in the order in which they came.
                (Some(left), Some(right)) if order(right, left) == Ordering::Less => {
                    self.right.next()
                }
                (Some(_), _) => self.left.next(),
                (None, _) => self.right.next(),
            };
            let Some(next) = next else { return true };
            budget.spend(1);
            if self.out.len() < keep {
                self.out.push(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    #[test]
    fn any_cut_gives_the_stable_sort_of_the_standard_library() {
        let mut random = Prng::new(5);
        for round in 0..60 {
            let len = random.below(if round % 2 == 0 { 20 } else { 3000 }) as usize;
            let items: Vec<(u64, usize)> = (0..len).map(|at| (random.below(50), at)).collect();
            let keep = if round % 3 == 0 { 1 + random.below(40) as usize } else { usize::MAX };
            let mut sorter = Sorter::new(|a: &(u64, usize), b| a.0.cmp(&b.0), keep);
            items.iter().for_each(|item| sorter.push(*item));
            let mut sorted = items;
            sorted.sort_by_key(|item| item.0);
            sorted.truncate(keep);
            let found = loop {
                if let Some(found) = sorter.finish(&mut Budget::new(1 + random.below(40))) {
                    break found;
                }
            };
            assert_eq!(found, sorted);
        }
    }
}
