//! What a finished job leaves behind.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Values that nobody needs any more. To free them takes time in proportion to the data that
/// changed: whoever may not be held up hands this to somebody else, after whatever else shares
/// these values (an older picture) is gone.
#[derive(Default)]
pub struct Discard(Vec<Box<dyn Send + Sync>>);

impl Discard {
    /// Keeps `value` until this is dropped.
    pub fn push(&mut self, value: impl Send + Sync + 'static) {
        self.0.push(Box::new(value));
    }

    /// Keeps what the other one kept, after its own.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Whether dropping it costs nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl core::fmt::Debug for Discard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Discard({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    #[test]
    fn what_is_discarded_lives_until_the_whole_is_dropped() {
        let (mut all, mut more) = (Discard::default(), Discard::default());
        assert!(all.is_empty());
        let values = [Arc::new(1), Arc::new(2)];
        all.push(values[0].clone());
        more.push(values[1].clone());
        all.append(more);
        assert!(!all.is_empty());
        assert_eq!(alloc::format!("{all:?}"), "Discard(2)");
        let held = || values.each_ref().map(Arc::strong_count);
        assert_eq!(held(), [2, 2]);
        drop(all);
        assert_eq!(held(), [1, 1]);
    }
}
