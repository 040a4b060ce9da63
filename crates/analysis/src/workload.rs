//! How much of the work is reading.

use std::fmt;

use num_traits::{One, Zero};

use crate::ratio::{self, Ratio};

/// Fractions of reads with the share of time each holds; the shares sum to 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    shares: Vec<(Ratio, Ratio)>,
}

/// The text or numbers are no workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadError(pub String);

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorkloadError {}

impl Workload {
    /// Always the same fraction of reads, 0 to 1.
    pub fn fixed(reads: Ratio) -> Result<Self, WorkloadError> {
        Self::weighted(vec![(reads, Ratio::one())])
    }

    /// (fraction of reads, weight) pairs; weights are scaled to sum to 1.
    pub fn weighted(pairs: Vec<(Ratio, Ratio)>) -> Result<Self, WorkloadError> {
        let total: Ratio = pairs.iter().map(|(_, weight)| weight).sum();
        if total.is_zero() {
            return Err(WorkloadError("a workload needs a fraction with a weight".to_owned()));
        }
        let mut shares: Vec<(Ratio, Ratio)> = Vec::new();
        for (reads, weight) in pairs {
            if !ratio::is_share(&reads) {
                return Err(WorkloadError(format!("{reads} is not between 0 and 1")));
            }
            let share = weight / &total;
            match shares.iter_mut().find(|(known, _)| *known == reads) {
                Some((_, sum)) => *sum += share,
                None if share.is_zero() => {}
                None => shares.push((reads, share)),
            }
        }
        shares.sort();
        assert!(shares.iter().map(|(_, share)| share).sum::<Ratio>().is_one(), "shares are scaled");
        Ok(Self { shares })
    }

    /// Reads `0.9`, `1/2`, or `0.9:10,0.5:20` (fraction:weight).
    pub fn parse(text: &str) -> Result<Self, WorkloadError> {
        let bad = |part: &str| WorkloadError(format!("`{part}` is no fraction of reads"));
        let pair = |part: &str| {
            let (reads, weight) = part.split_once(':').unwrap_or((part, "1"));
            ratio::parse(reads).zip(ratio::parse(weight)).ok_or_else(|| bad(part))
        };
        Self::weighted(text.split(',').map(pair).collect::<Result<_, _>>()?)
    }

    /// (fraction of reads, share of time), ascending.
    pub fn shares(&self) -> &[(Ratio, Ratio)] {
        &self.shares
    }

    /// The expected fraction of reads.
    pub fn mean(&self) -> Ratio {
        self.shares.iter().map(|(reads, share)| reads * share).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::ratio;

    #[test]
    fn weights_are_scaled_and_equal_fractions_joined() {
        let work = Workload::parse("0.9:1,1/2:2,0.5:1").unwrap();
        assert_eq!(work.shares(), [(ratio(1, 2), ratio(3, 4)), (ratio(9, 10), ratio(1, 4))]);
        assert_eq!(work.mean(), ratio(3, 5));
    }

    #[test]
    fn what_is_no_fraction_is_refused() {
        for text in ["1.5", "", "x", "0.5:0", "0.5:"] {
            assert!(Workload::parse(text).is_err(), "{text}");
        }
    }
}
