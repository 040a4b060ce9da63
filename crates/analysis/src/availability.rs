//! How often a quorum is alive when members fail independently.

use num_bigint::BigInt;
use num_traits::{One, Zero};
use quorum::Family;

use crate::counts::Space;
use crate::model::Model;
use crate::ratio::{self, Ratio};

/// Of the sets of k live members, how many hold a quorum, for each k.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub sets: Vec<BigInt>,
}

/// What [`live`] is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    Elect,
    Commit,
    /// A quorum of each.
    Both,
}

/// Exact counts, over all members of the model. `None` when there are more than 2^20 sets that
/// classes of equal members do not tell apart (20 members always fit).
pub fn live(model: &Model, needed: Needed) -> Option<Live> {
    let classes = quorum::interchangeable(&[&model.elect, &model.commit]);
    let space = Space::new(&classes)?;
    let both;
    let family: &Family = match needed {
        Needed::Elect => &model.elect,
        Needed::Commit => &model.commit,
        Needed::Both => {
            both = model.elect.and(&model.commit);
            &both
        }
    };
    let holds = space.quorums(family);
    let rows: Vec<Vec<BigInt>> = classes.iter().map(|class| binomials(class.len())).collect();
    let mut sets = vec![BigInt::zero(); model.members().len() + 1];
    if classes.iter().all(|class| class.len() == 1) {
        let mut counts = vec![0u64; sets.len()];
        for number in (0..space.size).filter(|number| holds[*number]) {
            counts[number.count_ones() as usize] += 1;
        }
        return Some(Live { sets: counts.into_iter().map(BigInt::from).collect() });
    }
    for number in (0..space.size).filter(|number| holds[*number]) {
        let counts = (0..classes.len()).map(|at| space.count(number, at));
        let (mut size, mut ways) = (0, BigInt::one());
        for (at, count) in counts.enumerate() {
            size += count;
            ways *= &rows[at][count];
        }
        sets[size] += ways;
    }
    Some(Live { sets })
}

/// Row `count` of Pascal's triangle.
fn binomials(count: usize) -> Vec<BigInt> {
    let mut row = vec![BigInt::one()];
    for k in 0..count {
        let next = &row[k] * BigInt::from(count - k) / BigInt::from(k + 1);
        row.push(next);
    }
    row
}

impl Live {
    /// The probability that no quorum is alive when each member fails with probability `p`.
    pub fn failure(&self, p: &Ratio) -> Ratio {
        assert!(ratio::is_share(p), "a probability is between 0 and 1");
        let total = self.sets.len() - 1;
        let up = ratio::rest(p);
        let power = |base: &Ratio, exponent: usize| num_traits::pow(base.clone(), exponent);
        let alive: Ratio = self
            .sets
            .iter()
            .enumerate()
            .filter(|(_, ways)| !ways.is_zero())
            .map(|(k, ways)| {
                Ratio::from_integer(ways.clone()) * power(&up, k) * power(p, total - k)
            })
            .sum();
        ratio::rest(&alive)
    }
}
