//! Which data directory each peer had when it was first met.
//!
//! A member whose directory was emptied has forgotten its votes. If it came back under its old
//! id it could vote twice in one term, so it is refused until it is replaced under a new id.

use base::NodeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use store::Identity;
use wal::Disk;

/// Births by member, kept in this member's identity file: durable before they are relied on.
pub struct Births {
    disk: RefCell<Box<dyn Disk>>,
    identity: RefCell<Identity>,
}

impl Births {
    /// `disk` is the directory whose identity file holds `identity`.
    pub fn new(disk: Box<dyn Disk>, identity: Identity) -> Self {
        Self { disk: RefCell::new(disk), identity: RefCell::new(identity) }
    }

    /// Remembers a first meeting; says why a later one must be refused.
    pub fn check(&self, member: NodeId, birth: u64) -> Result<(), String> {
        let known = self.identity.borrow().peers.iter().find(|(id, _)| *id == member).copied();
        match known {
            Some((_, old)) if old == birth => Ok(()),
            Some((_, old)) => Err(format!(
                "member {:x} was born as {old:x} and is back as {birth:x}: its data directory \
                 was emptied or replaced, so it has forgotten its votes; restore the directory, \
                 or replace the member under a new id with `quorate member replace`",
                member.0
            )),
            None => {
                let mut next = self.identity.borrow().clone();
                next.peers.push((member, birth));
                let written = store::write_identity(self.disk.borrow_mut().as_mut(), &next);
                // What is not durable is not remembered: the next meeting is a first one again.
                written.map_err(|error| error.to_string())?;
                *self.identity.borrow_mut() = next;
                Ok(())
            }
        }
    }

    /// The birth under which `member` was first met here.
    pub fn knows(&self, member: NodeId) -> Option<u64> {
        let identity = self.identity.borrow();
        identity.peers.iter().find(|(id, _)| *id == member).map(|(_, birth)| *birth)
    }

    /// A copy for another thread.
    pub fn snapshot(&self) -> BTreeMap<u64, u64> {
        self.identity.borrow().peers.iter().map(|(id, birth)| (id.0, *birth)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::MemDisk;

    #[test]
    fn a_second_birth_is_refused_also_after_a_crash() {
        let disk = MemDisk::new();
        let identity = Identity { cluster: 1, member: NodeId(1), ..Identity::default() };
        let births = Births::new(Box::new(disk.clone()), identity);
        assert_eq!(births.check(NodeId(7), 1), Ok(()));
        assert_eq!(births.check(NodeId(7), 1), Ok(()));
        let mut after = disk.crash(3);
        let identity = store::read_identity(&mut after).expect("reads").expect("there");
        assert_eq!(identity.peers, [(NodeId(7), 1)]);
        let births = Births::new(Box::new(after), identity);
        let error = births.check(NodeId(7), 2).expect_err("another directory");
        assert!(error.contains("forgotten its votes"), "{error}");
    }
}
