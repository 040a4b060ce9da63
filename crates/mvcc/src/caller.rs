//! Who asked for a command.

use base::Blob;
use base::codec::{DecodeError, Get, Put};
use base::limits::USER_BYTES_MAX;

/// Travels with the command from the door to apply, through forwards and the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    user: Blob,
    auth_revision: u64,
}

impl Caller {
    /// The machine itself, and everybody while nobody has to say who they are.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// `user` as of that revision of the rules; none when the name is too long.
    pub fn new(user: Blob, auth_revision: u64) -> Option<Self> {
        (user.len() <= USER_BYTES_MAX).then_some(Self { user, auth_revision })
    }

    /// Empty for nobody.
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// Of the rules by which the door let the caller in.
    pub fn auth_revision(&self) -> u64 {
        self.auth_revision
    }

    /// The name with its length, then the revision: eight bytes.
    pub fn encode(&self, out: &mut impl Put) {
        out.put_bytes(&self.user);
        out.put_u64(self.auth_revision);
    }

    /// What [`Caller::encode`] wrote.
    ///
    /// # Errors
    /// Short bytes, or a name that is too long.
    pub fn decode(input: &mut Get<'_>) -> Result<Self, DecodeError> {
        let (user, auth_revision) = (input.bytes()?, input.u64()?);
        if user.len() > USER_BYTES_MAX {
            return Err(DecodeError::Invalid { what: "caller, its name is too long" });
        }
        // To make an empty blob is not free, and nobody asks most often.
        let user = if user.is_empty() { Blob::default() } else { Blob::from(user) };
        Ok(Self { user, auth_revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_caller_comes_back_and_one_with_too_long_a_name_is_refused() {
        let long = |len: usize| Caller::new(Blob::from(vec![b'u'; len]), 7);
        assert_eq!(long(USER_BYTES_MAX + 1), None);
        for caller in [Caller::nobody(), long(1).unwrap(), long(USER_BYTES_MAX).unwrap()] {
            let mut bytes = Vec::new();
            caller.encode(&mut bytes);
            let rules = if caller.user().is_empty() { 0 } else { 7 };
            assert_eq!(caller.auth_revision(), rules, "nobody is let in by no rules");
            assert!(bytes.ends_with(&rules.to_le_bytes()));
            let mut input = Get::new(&bytes);
            assert_eq!(Caller::decode(&mut input), Ok(caller));
            assert_eq!(input.finish(), Ok(()));
        }
        let mut bytes = Vec::new();
        bytes.put_bytes(&vec![b'u'; USER_BYTES_MAX + 1]);
        bytes.put_u64(7);
        assert!(matches!(Caller::decode(&mut Get::new(&bytes)), Err(DecodeError::Invalid { .. })));
    }
}
