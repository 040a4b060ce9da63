//! One step of a compiled family.

/// Deepest nesting of gates; one counter per level is kept on the stack during evaluation.
pub(crate) const DEPTH_MAX: usize = 32;

/// One step of the program, in post-order: children come before their parent, one level deeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// Slots that count one each at this step.
    pub mask: u64,
    /// Adds `weight * (slots of mask)` to level `depth` when `need` is 0; otherwise a gate.
    pub need: u32,
    /// What this step adds to its parent's count.
    pub weight: u32,
    /// Sum of all weights below a gate, so that its dual needs `total - need + 1`.
    pub total: u32,
    /// Level of the parent's counter. A gate collects level `depth + 1`.
    pub depth: u8,
}
