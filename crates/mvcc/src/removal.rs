//! How far the removal of what was compacted has come.

/// How far the removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Revisions up to here are passed.
    pub passed: i64,
    /// Where this pass ends: a compact revision, perhaps not the last one.
    pub target: i64,
}

impl Sweep {
    pub const fn done(compact_revision: i64) -> Self {
        Self { passed: compact_revision, target: compact_revision }
    }

    /// Once a pass is through, the next one begins at once.
    pub fn next_pass(self, compact_revision: i64) -> Self {
        if self.passed < self.target {
            return self;
        }
        // The changes of the last target were kept, and are passed once more.
        Self { passed: self.target.saturating_sub(1), target: compact_revision }
    }

    /// The oldest revision whose changes are still kept.
    pub fn kept_from(self) -> i64 {
        assert!(self.passed <= self.target, "a pass ends at its target");
        self.target.min(self.passed.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_keeps_its_target_and_the_next_one_passes_that_once_more() {
        let sweep = Sweep { passed: 3, target: 7 };
        assert_eq!(sweep.next_pass(9), sweep, "a later compaction waits");
        let sweep = Sweep { passed: 7, target: 7 };
        assert_eq!(sweep.next_pass(9), Sweep { passed: 6, target: 9 });
        assert_eq!(Sweep::done(-1).next_pass(4), Sweep { passed: -2, target: 4 }, "the first");
    }

    #[test]
    fn changes_are_kept_from_behind_what_is_passed_and_those_of_the_target_for_good() {
        let kept_from = |passed| Sweep { passed, target: 7 }.kept_from();
        assert_eq!([kept_from(-2), kept_from(3), kept_from(6)], [-1, 4, 7]);
        assert_eq!(Sweep::done(7).kept_from(), 7);
    }
}
