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
