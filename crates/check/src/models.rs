//! The objects that histories are checked against.

mod cas_register;
mod chains;
mod kv;
mod register;

pub use cas_register::{CasInput, CasOutput, CasRegister};
pub use kv::{Kv, KvInput, KvOutput, KvState};
pub use register::{Register, RegisterInput, RegisterOutput};
