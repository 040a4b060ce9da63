//! Exact answers at floating-point cost: the fast run only names a basis. In fractions it is
//! then shown to be feasible and optimal (its prices leave no variable a gain), or not used.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use crate::program::{Program, Weights};
use crate::ratio::Ratio;
use crate::simplex::{Simplex, Stop};

/// A least-cost point.
pub(crate) struct Solved {
    /// The variables that are not 0.
    pub values: Vec<(usize, Ratio)>,
    /// What one unit of each row is worth; no variable gains at these.
    pub prices: Vec<Ratio>,
}

/// `None` when nothing satisfies the rows.
pub(crate) fn solve(program: &Program<Ratio>) -> Option<Solved> {
    let approximate = program.approximate();
    let mut fast = Simplex::fast(&approximate);
    if fast.run().is_ok()
        && let Some(solved) = certify(program, fast.basis())
    {
        return Some(solved);
    }
    let mut slow = Simplex::new(program, Ratio::zero());
    match slow.run() {
        Ok(()) => Some(Solved { values: slow.values(), prices: slow.prices().to_vec() }),
        Err(Stop::Infeasible) => None,
        Err(Stop::Stalled) => unreachable!("costs are at least 0 and Bland's rule ends"),
    }
}

/// The point of a basis, if it is feasible and no variable gains.
fn certify(program: &Program<Ratio>, basis: &[usize]) -> Option<Solved> {
    let rows = program.rows();
    let variables: Vec<usize> = basis.iter().copied().filter(|at| *at < program.count()).collect();
    let loose: Vec<bool> =
        (0..rows.len()).map(|row| basis.contains(&(program.count() + row))).collect();
    let tight: Vec<usize> = (0..rows.len()).filter(|row| !loose[*row]).collect();
    if tight.len() != variables.len() {
        return None;
    }
    // Rows by variables, the tight rows only: slacks take care of the others.
    let columns: Vec<Vec<(usize, Ratio)>> =
        variables.iter().map(|at| program.column(*at)).collect();
    let mut forward = vec![vec![Ratio::zero(); variables.len() + 1]; tight.len()];
    let mut backward = vec![vec![Ratio::zero(); tight.len() + 1]; variables.len()];
    for (at, column) in columns.iter().enumerate() {
        for (row, value) in column {
            if let Ok(row) = tight.binary_search(row) {
                forward[row][at] = value.clone();
                backward[at][row] = value.clone();
            }
        }
        backward[at][tight.len()] = program.cost(variables[at]);
    }
    for (at, row) in tight.iter().enumerate() {
        forward[at][variables.len()] = rows[*row].0.clone();
    }
    let values = linear(forward)?;
    let mut used = vec![Ratio::zero(); rows.len()];
    for (value, column) in values.iter().zip(&columns) {
        for (row, part) in column {
            used[*row] += value * part;
        }
    }
    let kept =
        |row: usize| if rows[row].1 { used[row] == rows[row].0 } else { used[row] <= rows[row].0 };
    if values.iter().any(Signed::is_negative) || !(0..rows.len()).all(kept) {
        return None;
    }
    let mut prices = vec![Ratio::zero(); rows.len()];
    for (row, price) in tight.iter().zip(linear(backward)?) {
        prices[*row] = price;
    }
    let slack_gains = |row: usize| !rows[row].1 && prices[row].is_positive();
    if (0..rows.len()).any(slack_gains) || any_gains(program, &prices) {
        return None;
    }
    let values = variables.into_iter().zip(values).filter(|(_, value)| !value.is_zero()).collect();
    Some(Solved { values, prices })
}

/// Whether any variable gains at these prices. Thousands of contacts are priced in integers:
/// all weights over one denominator.
fn any_gains(program: &Program<Ratio>, prices: &[Ratio]) -> bool {
    let loads = program.contacts[0].len() + program.contacts[1].len();
    for at in loads..program.count() {
        let parts = program.column(at).into_iter().map(|(row, value)| &prices[row] * value);
        if parts.sum::<Ratio>() > program.cost(at) {
            return true;
        }
    }
    [0, 1].into_iter().any(|role| {
        let weights = program.weights(role, prices, true);
        if !weights.latency.is_zero() {
            return program.contacts[role].iter().any(|c| weights.of(c).is_positive());
        }
        let Weights { fixed, member, size, .. } = weights;
        let all = || member.iter().chain([&fixed, &size]);
        let scale = all().fold(BigInt::one(), |scale, weight| scale.lcm(weight.denom()));
        let integer = |weight: &Ratio| weight.numer() * (&scale / weight.denom());
        let (fixed, size) = (integer(&fixed), integer(&size));
        let member: Vec<BigInt> = member.iter().map(integer).collect();
        program.contacts[role].iter().any(|contact| {
            let mut sum = &fixed + &size * contact.size;
            for (weight, count) in member.iter().zip(&contact.counts) {
                match count {
                    0 => {}
                    1 => sum += weight,
                    count => sum += weight * *count,
                }
            }
            sum.is_positive()
        })
    })
}

/// Solves a square system, the right side in the last place of each row, by fraction-free
/// elimination (Bareiss 1968). `None` when it is singular.
fn linear(rows: Vec<Vec<Ratio>>) -> Option<Vec<Ratio>> {
    let size = rows.len();
    let mut rows: Vec<Vec<BigInt>> = rows
        .into_iter()
        .map(|row| {
            let scale = row.iter().fold(BigInt::one(), |scale, value| scale.lcm(value.denom()));
            row.iter().map(|value| value.numer() * (&scale / value.denom())).collect()
        })
        .collect();
    let mut before = BigInt::one();
    for at in 0..size {
        let pivot = (at..size).find(|row| !rows[*row][at].is_zero())?;
        rows.swap(at, pivot);
        let (upper, lower) = rows.split_at_mut(at + 1);
        let line = &upper[at];
        for row in lower {
            let factor = std::mem::take(&mut row[at]);
            for (value, part) in row.iter_mut().zip(line).skip(at + 1) {
                if value.is_zero() && (factor.is_zero() || part.is_zero()) {
                    continue;
                }
                *value = (&*value * &line[at] - &factor * part) / &before;
            }
        }
        before = rows[at][at].clone();
    }
    // By Cramer's rule every value is an integer over the last pivot, the determinant.
    let mut tops = vec![BigInt::zero(); size];
    for at in (0..size).rev() {
        let row = &rows[at];
        let mut sum = &row[size] * &before;
        for (top, part) in tops[at + 1..].iter().zip(&row[at + 1..]) {
            if !part.is_zero() && !top.is_zero() {
                sum -= top * part;
            }
        }
        tops[at] = sum / &row[at];
    }
    Some(tops.into_iter().map(|top| Ratio::new(top, before.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::ratio;

    #[test]
    fn a_system_of_fractions_is_solved_exactly_and_a_singular_one_is_not() {
        let rows = |numbers: [[(i64, i64); 3]; 2]| {
            numbers.map(|row| row.map(|(top, bottom)| ratio(top, bottom)).to_vec()).to_vec()
        };
        let solved = linear(rows([[(0, 1), (1, 3), (1, 1)], [(1, 2), (1, 1), (4, 1)]]));
        assert_eq!(solved, Some(vec![ratio(2, 1), ratio(3, 1)]));
        assert_eq!(linear(rows([[(1, 1), (2, 1), (1, 1)], [(2, 1), (4, 1), (2, 1)]])), None);
    }
}
