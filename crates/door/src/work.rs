//! Work that grows with data: done apart from whoever votes and whoever serves.

use alloc::boxed::Box;
use core::any::Any;
use mvcc::Values;

/// What came of a [`Work`].
pub type Made = Box<dyn Any + Send>;

/// Something long, cut into slices so that the long ones share what carries them out, and so that
/// one whose caller has gone ends soon.
pub trait Work: Send {
    /// One slice of about a millisecond; what came of it all once that is whole. Not called again
    /// after that. Versions that have left memory are read in `values`, however long that takes.
    fn step(&mut self, values: &mut dyn Values) -> Option<Made>;
}

struct Steps<F>(F);

impl<T, F> Work for Steps<F>
where
    T: Send + 'static,
    F: FnMut(&mut dyn Values) -> Option<T> + Send,
{
    fn step(&mut self, values: &mut dyn Values) -> Option<Made> {
        (self.0)(values).map(|made| Box::new(made) as Made)
    }
}

/// A work of steps: `step` gives what came of it all once that is whole.
pub fn steps<T: Send + 'static>(
    step: impl FnMut(&mut dyn Values) -> Option<T> + Send + 'static,
) -> Box<dyn Work> {
    Box::new(Steps(step))
}

/// A work that frees something large.
pub fn frees(thing: impl Send + 'static) -> Box<dyn Work> {
    let mut thing = Some(thing);
    steps(move |_| {
        let thing = thing.take();
        assert!(thing.is_some(), "what is whole is not gone on with");
        drop(thing);
        Some(())
    })
}
