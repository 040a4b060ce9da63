//! Bounds of one text: how much work it may ask for.

use crate::op::DEPTH_MAX;

/// Brackets inside brackets.
pub(super) const BRACKETS_MAX: usize = 16;
/// Compiled depth of a text; two joins may still be put on top.
pub(super) const TEXT_DEPTH_MAX: usize = DEPTH_MAX - 6;
/// Items of one gate, and rows of one grid.
pub(super) const ITEMS_MAX: usize = 256;
/// Tree nodes a grid or wall may expand to; each level repeats its members.
pub(super) const SIZE_MAX: usize = 16 * 1024;
/// The same for all shapes of a text together; as much as a text of names alone can have.
pub(super) const TEXT_SIZE_MAX: usize = 4 * SIZE_MAX;
pub(super) const WEIGHT_MAX: u32 = 1_000_000;
/// Sum of weights of one gate; far from overflow, as counters are 32 bits.
pub(super) const WEIGHT_SUM_MAX: u32 = 1_000_000_000;
const _: () = {
    assert!(WEIGHT_SUM_MAX as u64 + WEIGHT_MAX as u64 <= u32::MAX as u64, "sums fit a counter");
    assert!(WEIGHT_MAX as usize * ITEMS_MAX <= WEIGHT_SUM_MAX as usize, "any item may be heavy");
    assert!(BRACKETS_MAX < TEXT_DEPTH_MAX, "every bracket may be a gate");
};
