//! How a question at the door is answered.

use crate::refusal::Refusal;
use later::Promise;

/// Where the answer to a request goes, and who waits for it.
pub type Answer<T> = Promise<Result<T, Refusal>>;
