//! The revised simplex method over any ordered field, in two phases.

use crate::program::{Number, Program};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Infeasible,
    /// Rounding or ties kept it from an end; never in fractions.
    Stalled,
}

pub(crate) struct Simplex<'a, T> {
    program: &'a Program<T>,
    /// Variables of the program; one slack a row follows them.
    variables: usize,
    rhs: Vec<T>,
    /// Rows that are equalities: their slacks must be 0 in the end and never enter.
    equal: Vec<bool>,
    /// What counts as 0; 0 itself when the field is exact.
    epsilon: T,
    basis: Vec<usize>,
    /// The inverse of the basis' columns, row by row.
    inverse: Vec<Vec<T>>,
    /// Values of the basis' variables.
    point: Vec<T>,
    /// Prices of the rows at the end.
    prices: Vec<T>,
}

impl<'a> Simplex<'a, f64> {
    /// A tiny distinct shift of each row keeps ties from stalling the run.
    pub fn fast(program: &'a Program<f64>) -> Self {
        let shift = |at: usize| 1e-9 * (1.0 + (at * 7 % 11) as f64);
        let mut simplex = Self::new(program, 1e-10);
        for (at, value) in simplex.rhs.iter_mut().enumerate() {
            *value += if simplex.equal[at] { 0.0 } else { shift(at) };
        }
        simplex.point = simplex.rhs.clone();
        simplex
    }
}

impl<'a, T: Number> Simplex<'a, T> {
    /// Starts from the slacks.
    pub fn new(program: &'a Program<T>, epsilon: T) -> Self {
        let (rhs, equal): (Vec<T>, Vec<bool>) = program.rows().into_iter().unzip();
        assert!(rhs.iter().all(|value| *value >= T::zero()), "the slacks are the first basis");
        let (rows, variables) = (rhs.len(), program.count());
        let unit = |row: usize| -> Vec<T> {
            (0..rows).map(|at| if at == row { T::one() } else { T::zero() }).collect()
        };
        Self {
            program,
            variables,
            point: rhs.clone(),
            rhs,
            equal,
            epsilon,
            basis: (variables..variables + rows).collect(),
            inverse: (0..rows).map(unit).collect(),
            prices: Vec::new(),
        }
    }

    pub fn basis(&self) -> &[usize] {
        &self.basis
    }

    pub fn prices(&self) -> &[T] {
        &self.prices
    }

    /// The least cost found.
    pub fn cost(&self) -> T {
        let costs = self.basis.iter().map(|at| self.cost_of(*at));
        costs.zip(&self.point).fold(T::zero(), |sum, (cost, value)| sum + cost * value.clone())
    }

    /// The variables of the program that are not 0.
    pub fn values(&self) -> Vec<(usize, T)> {
        let pairs = self.basis.iter().copied().zip(self.point.iter().cloned());
        pairs.filter(|(at, value)| *at < self.variables && *value > self.epsilon).collect()
    }

    fn barred(&self, at: usize) -> bool {
        at >= self.variables && self.equal[at - self.variables]
    }

    fn cost_of(&self, at: usize) -> T {
        if at < self.variables { self.program.cost(at) } else { T::zero() }
    }

    fn column(&self, at: usize) -> Vec<(usize, T)> {
        match at.checked_sub(self.variables) {
            Some(row) => vec![(row, T::one())],
            None => self.program.column(at),
        }
    }

    /// Minimises. The first phase drives the slacks of equalities to 0.
    pub fn run(&mut self) -> Result<(), Stop> {
        self.minimise(true)?;
        let left = self.basis.iter().zip(&self.point).filter(|(at, _)| self.barred(**at));
        let sum = left.fold(T::zero(), |sum, (_, value)| sum + value.clone());
        if sum > self.epsilon.times(1000) {
            return Err(Stop::Infeasible);
        }
        self.leave_barred();
        self.minimise(false)
    }

    /// Barred slacks still in the basis, at 0, leave it where any variable can enter.
    fn leave_barred(&mut self) {
        for row in 0..self.rhs.len() {
            if !self.barred(self.basis[row]) {
                continue;
            }
            for at in 0..self.variables {
                let step = self.step_of(at);
                if step[row].abs() > self.epsilon && !self.basis.contains(&at) {
                    self.pivot(row, at, &step);
                    break;
                }
            }
        }
    }

    /// The first phase counts what equalities lack as cost, the second the program's cost.
    fn minimise(&mut self, first_phase: bool) -> Result<(), Stop> {
        let steps_max = 50 * (self.rhs.len() + 20);
        let exact = self.epsilon.is_zero();
        let mut gains = Vec::new();
        for steps in 0.. {
            if !exact && steps > steps_max {
                return Err(Stop::Stalled);
            }
            self.prices = self.prices_of(first_phase);
            self.program.gains(&self.prices, !first_phase, &mut gains);
            // The gain of a slack is its row's price.
            for (row, price) in self.prices.iter().enumerate() {
                gains.push(if self.equal[row] { T::zero() } else { price.clone() });
            }
            let mut best: Option<usize> = None;
            for (at, gain) in gains.iter().enumerate().filter(|(_, gain)| **gain > self.epsilon) {
                if best.is_none_or(|most| *gain > gains[most]) {
                    best = Some(at);
                    if exact {
                        // Bland 1977: the first of the improving, so that ties cannot cycle.
                        break;
                    }
                }
            }
            let Some(at) = best else { return Ok(()) };
            let step = self.step_of(at);
            let Some(row) = self.leaving(&step) else { return Err(Stop::Stalled) };
            self.pivot(row, at, &step);
        }
        unreachable!("the loop only ends by returning")
    }

    /// What one unit of each row is worth at this basis.
    fn prices_of(&self, first_phase: bool) -> Vec<T> {
        let mut prices = vec![T::zero(); self.rhs.len()];
        for (row, at) in self.basis.iter().enumerate() {
            let cost = if !first_phase {
                self.cost_of(*at)
            } else if self.barred(*at) {
                T::one()
            } else {
                T::zero()
            };
            if cost.is_zero() {
                continue;
            }
            for (price, part) in prices.iter_mut().zip(&self.inverse[row]) {
                if !part.is_zero() {
                    *price = price.clone() + cost.clone() * part.clone();
                }
            }
        }
        prices
    }

    /// How the basis' variables fall when one unit of a variable enters.
    fn step_of(&self, at: usize) -> Vec<T> {
        let column = self.column(at);
        let dot = |row: &Vec<T>| {
            column.iter().fold(T::zero(), |sum, (at, value)| {
                if row[*at].is_zero() { sum } else { sum + row[*at].clone() * value.clone() }
            })
        };
        self.inverse.iter().map(dot).collect()
    }

    /// The row whose variable reaches 0 first. Ties: the lowest variable in an exact field, the
    /// largest step else.
    fn leaving(&self, step: &[T]) -> Option<usize> {
        let mut best: Option<(usize, T)> = None;
        for (row, fall) in step.iter().enumerate() {
            // A barred slack at 0 must stay there, whichever way the step would move it.
            let pinned = self.barred(self.basis[row]) && self.point[row].abs() <= self.epsilon;
            if pinned && fall.abs() > self.epsilon {
                return Some(row);
            }
            if *fall <= self.epsilon {
                continue;
            }
            let at = self.point[row].clone() / fall.clone();
            let better = match &best {
                None => true,
                Some((other, least)) if at == *least => {
                    if self.epsilon.is_zero() {
                        self.basis[row] < self.basis[*other]
                    } else {
                        *fall > step[*other]
                    }
                }
                Some((_, least)) => at < *least,
            };
            if better {
                best = Some((row, at));
            }
        }
        best.map(|(row, _)| row)
    }

    fn pivot(&mut self, row: usize, entering: usize, step: &[T]) {
        assert!(!step[row].is_zero(), "a pivot is not 0");
        let scale = T::one() / step[row].clone();
        for value in self.inverse[row].iter_mut().filter(|value| !value.is_zero()) {
            *value = value.clone() * scale.clone();
        }
        self.point[row] = self.point[row].clone() * scale;
        let (line, at) = (self.inverse[row].clone(), self.point[row].clone());
        for (other, factor) in step.iter().enumerate() {
            if other == row || factor.is_zero() {
                continue;
            }
            for (value, part) in self.inverse[other].iter_mut().zip(&line) {
                if !part.is_zero() {
                    *value = value.clone() - factor.clone() * part.clone();
                }
            }
            self.point[other] = self.point[other].clone() - factor.clone() * at.clone();
        }
        self.basis[row] = entering;
    }
}
