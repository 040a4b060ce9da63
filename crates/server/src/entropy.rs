//! Numbers that nobody can foresee.

/// Unpredictable enough for timeouts, births and lease ids; never for secrets.
pub fn entropy() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
