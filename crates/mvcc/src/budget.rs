//! How much may be done now. Counted in work, never in time, so that nothing here needs a clock.

/// What is left to be done in this slice, in units: one key touched, or one KiB copied or hashed.
/// The last piece of work begun may go beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(u64);

impl Budget {
    /// Enough for anything.
    pub const fn endless() -> Self {
        Self(u64::MAX)
    }

    /// Panics on 0: a slice makes progress.
    pub const fn new(units: u64) -> Self {
        assert!(units > 0, "a slice makes progress");
        Self(units)
    }

    /// Whether another piece of work may be begun.
    pub const fn is_left(self) -> bool {
        self.0 > 0
    }

    /// Units left.
    pub const fn left(self) -> u64 {
        self.0
    }

    /// Takes units off, down to none: the last piece may cost more than was left.
    pub const fn spend(&mut self, units: u64) {
        self.0 = self.0.saturating_sub(units);
    }

    /// As `left`, for batches of at most `max`, which is positive.
    pub fn batch(self, max: usize) -> usize {
        assert!(max > 0, "a batch makes progress");
        let batch = usize::try_from(self.0).map_or(max, |left| left.min(max));
        assert!((batch > 0) == self.is_left(), "nothing is done only when nothing is left");
        batch
    }
}

/// Units of work on one key with so many bytes.
pub(crate) const fn units(bytes: usize) -> u64 {
    1 + bytes as u64 / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_costs_one_unit_and_each_whole_kib_of_it_one_more() {
        let costs = [0, 1, 1023, 1024, 2047, 2048, 1 << 20].map(units);
        assert_eq!(costs, [1, 1, 1, 2, 2, 3, 1025]);
    }

    #[test]
    fn a_budget_is_spent_to_nothing_and_never_below() {
        let mut budget = Budget::new(3);
        assert_eq!((budget.batch(2), budget.batch(3), budget.batch(9)), (2, 3, 3));
        budget.spend(2);
        assert!(budget.is_left() && budget.left() == 1);
        assert_eq!(budget.batch(9), 1);
        budget.spend(5);
        assert!(!budget.is_left() && budget.left() == 0);
        assert_eq!((budget.batch(9), Budget::endless().batch(9)), (0, 9));
    }
}
