//! Having something long done apart, and hearing what came of it.

use crate::ask::Door;
use crate::work::{Made, steps};
use later::{Asker, Later, promise};
use mvcc::Values;

/// Has `step` called apart until it gives something. None comes when `asker` has left before, and
/// when the member ends.
pub fn apart<T: Send + 'static>(
    door: &dyn Door,
    asker: Asker,
    step: impl FnMut(&mut dyn Values) -> Option<T> + Send + 'static,
) -> Later<T> {
    let (answer, later) = promise(asker, |made: Made| {
        *made.downcast::<T>().expect("a work makes what its steps give")
    });
    door.run(steps(step), answer);
    later
}
