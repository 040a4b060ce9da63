//! The revised simplex method over any ordered field, in two phases.

use num_traits::{Num, Signed};

/// `f64` or a fraction.
pub(crate) trait Number: Num + Signed + Clone + PartialOrd {}
impl<T: Num + Signed + Clone + PartialOrd> Number for T {}

#[derive(Clone, Debug)]
pub(crate) struct Column<T> {
    pub cost: T,
    /// (row, coefficient), a row at most once.
    pub entries: Vec<(usize, T)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Infeasible,
    /// Rounding or ties kept it from an end; never in fractions.
    Stalled,
}

pub(crate) struct Simplex<T> {
    /// The variables of the problem, then one slack a row.
    columns: Vec<Column<T>>,
    rhs: Vec<T>,
    /// Slack of an equality, and so kept at 0.
    barred: Vec<bool>,
    /// What counts as 0; 0 itself when the field is exact.
    epsilon: T,
    basis: Vec<usize>,
    /// The inverse of the basis' columns, row by row.
    inverse: Vec<Vec<T>>,
    /// Values of the basis' variables.
    point: Vec<T>,
}

impl<T: Number> Simplex<T> {
    /// `rows` are (right side >= 0, whether equal or at most).
    pub fn new(mut columns: Vec<Column<T>>, rows: Vec<(T, bool)>, epsilon: T) -> Self {
        let problem = columns.len();
        for row in 0..rows.len() {
            columns.push(Column { cost: T::zero(), entries: vec![(row, T::one())] });
        }
        let mut barred = vec![false; problem];
        barred.extend(rows.iter().map(|(_, equal)| *equal));
        let rhs: Vec<T> = rows.into_iter().map(|(rhs, _)| rhs).collect();
        assert!(rhs.iter().all(|value| *value >= T::zero()), "the slacks are the first basis");
        let mut simplex = Self {
            columns,
            rhs,
            barred,
            epsilon,
            basis: Vec::new(),
            inverse: Vec::new(),
            point: Vec::new(),
        };
        simplex.start_from_slacks();
        simplex
    }

    fn start_from_slacks(&mut self) {
        let (rows, problem) = (self.rhs.len(), self.columns.len() - self.rhs.len());
        self.basis = (problem..problem + rows).collect();
        let unit = |row: usize| -> Vec<T> {
            (0..rows).map(|at| if at == row { T::one() } else { T::zero() }).collect()
        };
        self.inverse = (0..rows).map(unit).collect();
        self.point = self.rhs.clone();
    }

    /// Starts from a basis instead of the slacks, if it is one and its point is feasible.
    pub fn start_from(&mut self, basis: Vec<usize>) {
        self.start_from_slacks();
        let goal = basis.clone();
        for column in basis {
            if self.basis.contains(&column) {
                continue;
            }
            let step = self.step_of(column);
            let free = |row: &usize| !goal.contains(&self.basis[*row]) && !step[*row].is_zero();
            let Some(row) = (0..self.rhs.len()).find(free) else { break };
            self.pivot(row, column, &step);
        }
        let feasible = self.point.iter().zip(&self.basis).all(|(value, column)| {
            *value >= T::zero() && (!self.barred[*column] || value.is_zero())
        });
        if !feasible {
            self.start_from_slacks();
        }
    }

    pub fn basis(&self) -> &[usize] {
        &self.basis
    }

    /// The least cost found.
    pub fn cost(&self) -> T {
        let costs = self.basis.iter().map(|column| self.columns[*column].cost.clone());
        costs.zip(&self.point).fold(T::zero(), |sum, (cost, value)| sum + cost * value.clone())
    }

    /// The variables of the problem that are not 0.
    pub fn values(&self) -> Vec<(usize, T)> {
        let problem = self.columns.len() - self.rhs.len();
        let pairs = self.basis.iter().copied().zip(self.point.iter().cloned());
        let mut values: Vec<(usize, T)> =
            pairs.filter(|(at, value)| *at < problem && *value > self.epsilon).collect();
        values.sort_by_key(|(column, _)| *column);
        values
    }

    /// Minimises. The first phase drives the slacks of equalities to 0.
    pub fn run(&mut self) -> Result<(), Stop> {
        let barred: Vec<bool> = self.barred.clone();
        let first = |at: usize| if barred[at] { T::one() } else { T::zero() };
        self.minimise(&first)?;
        let left = self.basis.iter().zip(&self.point).filter(|(at, _)| barred[**at]);
        let mut sum = T::zero();
        for (_, value) in left {
            sum = sum + value.clone();
        }
        let slack = self.epsilon.clone() * T::from_str_radix("1000", 10).unwrap_or(T::one());
        if sum > slack {
            return Err(Stop::Infeasible);
        }
        self.leave_barred();
        let costs: Vec<T> = self.columns.iter().map(|column| column.cost.clone()).collect();
        self.minimise(&|at| costs[at].clone())
    }

    /// Barred slacks still in the basis, at 0, leave it where any other variable can enter.
    fn leave_barred(&mut self) {
        for row in 0..self.rhs.len() {
            if !self.barred[self.basis[row]] {
                continue;
            }
            let enters = |at: &usize| {
                let value = self.dot(&self.inverse[row], *at);
                !self.barred[*at] && !self.basis.contains(at) && value.abs() > self.epsilon
            };
            let found = (0..self.columns.len()).find(enters);
            if let Some(column) = found {
                let step = self.step_of(column);
                self.pivot(row, column, &step);
            }
        }
    }

    fn minimise(&mut self, cost: &dyn Fn(usize) -> T) -> Result<(), Stop> {
        let steps_max = 50 * (self.rhs.len() + 20);
        let exact = self.epsilon.is_zero();
        for steps in 0.. {
            if !exact && steps > steps_max {
                return Err(Stop::Stalled);
            }
            let prices = self.prices(cost);
            let mut best: Option<(usize, T)> = None;
            for at in 0..self.columns.len() {
                if self.barred[at] {
                    continue;
                }
                let gain = self.dot(&prices, at) - cost(at);
                let better = best.as_ref().is_none_or(|(_, most)| gain > *most);
                if gain > self.epsilon && better {
                    best = Some((at, gain));
                    if exact {
                        // Bland 1977: the first of the improving, so that ties cannot cycle.
                        break;
                    }
                }
            }
            let Some((column, _)) = best else { return Ok(()) };
            let step = self.step_of(column);
            let Some(row) = self.leaving(&step) else { return Err(Stop::Stalled) };
            self.pivot(row, column, &step);
        }
        unreachable!("the loop only ends by returning")
    }

    /// What one unit of each row is worth at this basis.
    fn prices(&self, cost: &dyn Fn(usize) -> T) -> Vec<T> {
        let mut prices = vec![T::zero(); self.rhs.len()];
        for (row, column) in self.basis.iter().enumerate() {
            let cost = cost(*column);
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

    fn dot(&self, row: &[T], column: usize) -> T {
        let mut sum = T::zero();
        for (at, value) in &self.columns[column].entries {
            if !row[*at].is_zero() {
                sum = sum + row[*at].clone() * value.clone();
            }
        }
        sum
    }

    /// How the basis' variables fall when one unit of `column` enters.
    fn step_of(&self, column: usize) -> Vec<T> {
        self.inverse.iter().map(|row| self.dot(row, column)).collect()
    }

    /// The row whose variable reaches 0 first. Ties: the lowest variable in an exact field, the
    /// largest step else.
    fn leaving(&self, step: &[T]) -> Option<usize> {
        let mut best: Option<(usize, T)> = None;
        for (row, fall) in step.iter().enumerate() {
            // A barred slack at 0 must stay there, whichever way the step would move it.
            let pinned = self.barred[self.basis[row]] && self.point[row].abs() <= self.epsilon;
            if pinned && fall.abs() > self.epsilon {
                return Some(row);
            }
            if *fall <= self.epsilon {
                continue;
            }
            let at = self.point[row].clone() / fall.clone();
            let better = match &best {
                None => true,
                Some((other, least)) if at == *least => match self.epsilon.is_zero() {
                    true => self.basis[row] < self.basis[*other],
                    false => *fall > step[*other],
                },
                Some((_, least)) => at < *least,
            };
            if better {
                best = Some((row, at));
            }
        }
        best.map(|(row, _)| row)
    }

    fn pivot(&mut self, row: usize, column: usize, step: &[T]) {
        assert!(!step[row].is_zero(), "a pivot is not 0");
        let scale = T::one() / step[row].clone();
        for value in &mut self.inverse[row] {
            if !value.is_zero() {
                *value = value.clone() * scale.clone();
            }
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
        self.basis[row] = column;
    }
}
