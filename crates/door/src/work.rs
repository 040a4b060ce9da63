//! Work that grows with data: done apart from whoever votes and whoever serves.

use alloc::boxed::Box;
use core::any::Any;

/// What came of a [`Work`].
pub type Made = Box<dyn Any + Send>;

/// Something long, cut into slices so that the long ones share what carries them out, and so that
/// one whose caller has gone ends soon.
pub trait Work: Send {
    /// One slice of about a millisecond; what came of it all once that is whole. Not called again
    /// after that.
    fn step(&mut self) -> Option<Made>;
}

struct Steps<F>(F);

impl<T: Send + 'static, F: FnMut() -> Option<T> + Send> Work for Steps<F> {
    fn step(&mut self) -> Option<Made> {
        (self.0)().map(|made| Box::new(made) as Made)
    }
}

/// A work of steps: `step` gives what came of it all once that is whole.
pub fn steps<T: Send + 'static>(step: impl FnMut() -> Option<T> + Send + 'static) -> Box<dyn Work> {
    Box::new(Steps(step))
}

/// A work that frees something large.
pub fn frees(thing: impl Send + 'static) -> Box<dyn Work> {
    let mut thing = Some(thing);
    steps(move || {
        let thing = thing.take();
        assert!(thing.is_some(), "what is whole is not gone on with");
        drop(thing);
        Some(())
    })
}
