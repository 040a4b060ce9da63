//! One value that is read, written, and replaced if it is the expected one.

use crate::Model;

/// A register of integers, absent at first; a compare-and-set on an absent one fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct CasRegister;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasInput {
    Read,
    Write(i64),
    /// If the value is `.0`, make it `.1`.
    Cas(i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasOutput {
    /// Answer of a read; none where nothing was written yet.
    Value(Option<i64>),
    /// Answer of a write.
    Written,
    /// Answer of a compare-and-set: whether the value was the expected one.
    Swapped(bool),
}

impl Model for CasRegister {
    type State = Option<i64>;
    type Input = CasInput;
    type Output = CasOutput;

    fn initial(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        input: &CasInput,
        output: Option<&CasOutput>,
    ) -> Option<Self::State> {
        match (input, output) {
            (CasInput::Read, None) => Some(*state),
            (CasInput::Read, Some(CasOutput::Value(value))) => (value == state).then_some(*state),
            (CasInput::Write(value), None | Some(CasOutput::Written)) => Some(Some(*value)),
            (CasInput::Cas(old, new), output) => {
                let swaps = *state == Some(*old);
                match output {
                    None => {}
                    Some(CasOutput::Swapped(swapped)) if *swapped == swaps => {}
                    Some(_) => return None,
                }
                Some(if swaps { Some(*new) } else { *state })
            }
            _ => None,
        }
    }

    fn read_only(&self, input: &CasInput, output: Option<&CasOutput>) -> bool {
        match input {
            CasInput::Read => true,
            CasInput::Write(_) => false,
            CasInput::Cas(..) => output == Some(&CasOutput::Swapped(false)),
        }
    }
}
