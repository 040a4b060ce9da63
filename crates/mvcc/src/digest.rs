//! What the chain hash takes of one command: a digest that grows with the work, whatever the
//! slices are.
//!
//! In order: the index, the caller's fields and the command's; then, as they are made, the hash of
//! every version written, and of every one answered what names it; after each answer its numbers;
//! at the end whether the command was taken, or why not. No answer is gone through a second time.

use crate::command::{Error, Response};
use crate::hash::Hasher;
use crate::types::KeyValue;
use base::LogIndex;
use base::codec::Put;

pub(crate) struct Digest {
    hasher: Hasher,
    /// Reads outside the log have no digest.
    is_on: bool,
}

impl Put for Hasher {
    fn put_u8(&mut self, v: u8) {
        self.word(v.into());
    }
    fn put_u16(&mut self, v: u16) {
        self.word(v.into());
    }
    fn put_u32(&mut self, v: u32) {
        self.word(v.into());
    }
    fn put_u64(&mut self, v: u64) {
        self.word(v);
    }
    fn put_i64(&mut self, v: i64) {
        self.int(v);
    }
    fn put_bytes(&mut self, v: &[u8]) {
        self.bytes(v);
    }
}

impl Digest {
    /// Of the command at `index`, after all that `chain` stands for.
    pub fn new(chain: u64, index: LogIndex) -> Self {
        let mut hasher = Hasher::new(chain);
        hasher.word(index.0);
        Self { hasher, is_on: true }
    }

    pub const fn off() -> Self {
        Self { hasher: Hasher::new(0), is_on: false }
    }

    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Where the command's own fields go.
    pub fn sink(&mut self) -> &mut impl Put {
        &mut self.hasher
    }

    pub fn number(&mut self, number: i64) {
        self.hasher.int(number);
    }

    /// Hash of a version written.
    pub fn version(&mut self, hash: u64) {
        self.hasher.word(hash);
    }

    /// What was answered, but for its value, which the hash of the version stood for when it was
    /// written: who does not answer a client need not look for it.
    pub fn answered(&mut self, kv: &KeyValue) {
        if self.is_on {
            self.hasher.bytes(&kv.key);
            for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
                self.hasher.int(number);
            }
        }
    }

    /// Of the whole command: what its parts have not said yet.
    pub fn result(&mut self, result: &Result<Response, Error>) {
        let hasher = &mut self.hasher;
        hasher.word(u64::from(result.is_ok()));
        match result {
            Err(error) => hasher.word(*error as u64),
            // Their parts came one by one.
            Ok(Response::Put(_) | Response::Delete(_)) => {}
            Ok(Response::Txn(response)) => hasher.int(response.revision),
            Ok(Response::Compact { revision } | Response::LeaseRevoke { revision }) => {
                hasher.int(*revision);
            }
            Ok(Response::LeaseGrant { id, ttl, revision }) => {
                [*id, *ttl, *revision].into_iter().for_each(|number| hasher.int(number));
            }
            // Its times to live came one by one.
            Ok(Response::LeaseRenew { .. }) => {}
            Ok(Response::Alarm { alarms }) => {
                hasher.word(alarms.len() as u64);
                for (member, kind) in alarms {
                    hasher.word(*member);
                    hasher.word(*kind as u64);
                }
            }
        }
    }

    pub fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    type Field = dyn Fn(&mut Hasher, u8);

    #[test]
    fn whatever_width_a_field_has_it_counts() {
        let of = |put: &dyn Fn(&mut Hasher)| {
            let mut hasher = Hasher::new(0);
            put(&mut hasher);
            hasher.put_u8(9);
            hasher.finish()
        };
        let none = of(&|_| ());
        let puts: [&Field; 6] = [
            &|out, v| out.put_u8(v),
            &|out, v| out.put_u16(v.into()),
            &|out, v| out.put_u32(v.into()),
            &|out, v| out.put_u64(v.into()),
            &|out, v| out.put_i64(v.into()),
            &|out, v| out.put_bytes(&[v]),
        ];
        for put in puts {
            let hashes: Vec<u64> = (0..3).map(|v| of(&|out| put(out, v))).collect();
            assert!(hashes.iter().all(|hash| *hash != none), "also a zero is a field");
            assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
        }
    }

    #[test]
    fn a_digest_goes_on_from_the_chain_and_names_its_index() {
        let of = |chain, index| Digest::new(chain, LogIndex(index)).finish();
        assert_ne!(of(1, 5), of(2, 5));
        assert_ne!(of(1, 5), of(1, 6));
        let mut digest = Digest::new(1, LogIndex(5));
        let mut seen = Vec::from([digest.finish()]);
        digest.number(0);
        seen.push(digest.finish());
        digest.version(0);
        seen.push(digest.finish());
        digest.answered(&KeyValue::default());
        seen.push(digest.finish());
        digest.result(&Err(Error::NoSpace));
        seen.push(digest.finish());
        seen.sort_unstable();
        assert!(seen.is_sorted_by(|a, b| a < b), "each part of it counts");
        assert!(digest.is_on() && !Digest::off().is_on());
    }
}
