//! Linear programs: minimise cost, all variables at least 0. A first pass in floating point
//! finds the basis, a second one in fractions proves it (or goes on from there), so that
//! answers are exact and found fast.

use num_traits::Zero;

use crate::ratio::{Ratio, to_f64};
use crate::simplex::{Column, Simplex, Stop};

/// `sum of columns (= or <=) rhs`, rhs >= 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lp {
    pub rows: Vec<Row>,
    pub columns: Vec<Column<Ratio>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub rhs: Ratio,
    pub equal: bool,
}

/// The least cost and the variables that are not 0.
#[derive(Clone, Debug)]
pub(crate) struct Solution<T> {
    pub cost: T,
    pub values: Vec<(usize, T)>,
}

impl Lp {
    /// `None` when no point satisfies the rows. The cost must be bounded below.
    pub fn solve(&self) -> Option<Solution<Ratio>> {
        let mut fast = self.approximate();
        let guess = fast.run().is_ok().then(|| fast.basis().to_vec());
        let mut exact = Simplex::new(
            self.columns.clone(),
            self.rows.iter().map(|row| (row.rhs.clone(), row.equal)).collect(),
            Ratio::zero(),
        );
        if let Some(basis) = guess {
            // A basis that is not feasible in fractions is dropped: the run starts anew.
            exact.start_from(basis);
        }
        solution(&mut exact)
    }

    /// The same in floating point only, good to about nine digits: to rank candidates.
    pub fn solve_fast(&self) -> Option<Solution<f64>> {
        solution(&mut self.approximate())
    }

    fn approximate(&self) -> Simplex<f64> {
        let entries = |column: &Column<Ratio>| {
            column.entries.iter().map(|(row, value)| (*row, to_f64(value))).collect()
        };
        let columns = self
            .columns
            .iter()
            .map(|column| Column { cost: to_f64(&column.cost), entries: entries(column) });
        // A tiny distinct shift of each row keeps ties from stalling the run.
        let shifted = |(at, row): (usize, &Row)| {
            let shift = 1e-9 * (1.0 + (at * 7 % 11) as f64);
            (to_f64(&row.rhs) + if row.equal { 0.0 } else { shift }, row.equal)
        };
        let rows = self.rows.iter().enumerate().map(shifted).collect();
        Simplex::new(columns.collect(), rows, 1e-10)
    }
}

fn solution<T: crate::simplex::Number>(simplex: &mut Simplex<T>) -> Option<Solution<T>> {
    match simplex.run() {
        Ok(()) => Some(Solution { cost: simplex.cost(), values: simplex.values() }),
        Err(Stop::Infeasible) => None,
        Err(Stop::Stalled) => None,
    }
}
