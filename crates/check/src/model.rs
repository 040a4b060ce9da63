//! What a correct object does when nothing is concurrent.

use std::hash::Hash;

use crate::Operation;

/// A sequential object. The search asks it whether an operation fits a state.
pub trait Model {
    /// Compared and hashed often: keep it small or shared (`Rc`).
    type State: Clone + Eq + Hash;
    /// Equal inputs of unknown outcome are treated as interchangeable.
    type Input: Clone + Eq + Hash;
    /// Equal inputs with equal outputs are treated as interchangeable.
    type Output: Clone + Eq + Hash;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `input`, or none if `output` cannot be the answer in `state`.
    /// Output none: the answer is not known and any is allowed; none then means that the
    /// operation cannot take effect here. Must be a function of its arguments.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// True only if with this output the operation leaves *every* state as it is. Such an
    /// operation is placed as soon as it fits, and left out if its outcome is unknown.
    fn read_only(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        let _ = (input, output);
        false
    }

    /// True only if no order that explains every answer goes from `state` to `after` by this
    /// operation. A shortcut for models that were made from the history.
    fn leads_nowhere(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
        after: &Self::State,
    ) -> bool {
        let _ = (state, input, output, after);
        false
    }

    /// The same object for other operations, where the model was made from the history; none
    /// where it was not.
    fn restudied(&self, ops: &[Operation<Self::Input, Self::Output>]) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = ops;
        None
    }

    /// True only if `state` stays as it is under `input` with any answer that it can have there,
    /// and every order that places the operation later can place it here instead. Such an
    /// operation is placed at once.
    fn is_harmless(&self, state: &Self::State, input: &Self::Input) -> bool {
        let _ = (state, input);
        false
    }

    /// Where an operation with this answer fits one state only, which the object is in during one
    /// stretch and never again: the number of that stretch. The search does not leave it before
    /// all such operations are placed.
    fn stretch(&self, input: &Self::Input, output: Option<&Self::Output>) -> Option<u32> {
        let _ = (input, output);
        None
    }

    /// The stretch that `state` is, in the part that `input` is of.
    fn stretch_of(&self, state: &Self::State, input: &Self::Input) -> Option<u32> {
        let _ = (state, input);
        None
    }

    /// True only if an operation of unknown outcome with this input changes nothing, neither in
    /// `state` nor in any that can follow it.
    fn is_spent(&self, state: &Self::State, input: &Self::Input) -> bool {
        let _ = (state, input);
        false
    }

    /// True only if wherever an operation of unknown outcome with the input `some` changes the
    /// state, one with the input `all` changes it in the same way.
    fn covers(&self, all: &Self::Input, some: &Self::Input) -> bool {
        let _ = (all, some);
        false
    }

    /// False only if in `state` no operation of unknown outcome can take effect: a shortcut for
    /// models that would refuse each of them in [`Self::step`].
    fn unknown_may_act(&self, state: &Self::State) -> bool {
        let _ = state;
        true
    }

    /// True for a state that nothing much can follow: the search enters it last. It changes no
    /// verdict.
    fn last_resort(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// Parts (indices into `ops`) that do not influence each other, every operation in exactly
    /// one. A history is linearizable if every part is (locality: Herlihy and Wing, theorem 1;
    /// Horn and Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015).
    fn partition(&self, ops: &[Operation<Self::Input, Self::Output>]) -> Vec<Vec<usize>> {
        vec![(0..ops.len()).collect()]
    }

    /// Bytes that one remembered state costs, for the memory limit.
    fn state_bytes(&self, state: &Self::State) -> usize {
        let _ = state;
        size_of::<Self::State>()
    }
}
