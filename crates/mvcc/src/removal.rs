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
