//! Which data directory each peer had when it was first met, and its latest life: as this member
//! met them itself, and as the committed configuration says, which those who never met them know.
//!
//! A member whose directory was emptied has forgotten its votes, and one whose directory was put
//! back to an older image has forgotten the latest. Either could vote twice in one term, so it
//! is refused until it is replaced under a new id.

use base::{Birth, Incarnation, Life, NodeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use store::{Identity, Met, StoreError};
use wal::Disk;

/// Peers as met, kept in this member's identity file: durable before they are relied on, so
/// that a restart forgets none of them.
pub struct Births {
    disk: RefCell<Box<dyn Disk>>,
    identity: RefCell<Identity>,
}

/// Why a peer may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwelcome {
    /// A later life of its directory was met: it must never start again.
    PutBack(String),
    Other(String),
}

impl Unwelcome {
    pub fn text(self) -> String {
        match self {
            Self::PutBack(text) | Self::Other(text) => text,
        }
    }
}

/// Whether `member`, which says it lives `said`, is the one that is known to have lived `known`.
///
/// # Errors
/// What happened to its data directory, and what to do.
fn recognise(member: NodeId, known: Life, said: Life) -> Result<(), Unwelcome> {
    let (id, birth, life) = (member.0, known.birth.0, said.incarnation);
    if known.birth != said.birth {
        return Err(Unwelcome::Other(format!(
            "member {id:x} was born as {birth:x} and is back as {:x}: its data directory was \
             emptied or replaced, so it has forgotten its votes; restore the directory, or replace \
             the member under a new id with `quorate member replace`",
            said.birth.0
        )));
    }
    if said.is_before(known) {
        return Err(Unwelcome::PutBack(format!(
            "member {id:x} was met after its start {} and is back after {}: its data directory \
             was put back to an older image, so it has forgotten votes and acknowledgements; put \
             the latest directory back, or replace the member under a new id with `quorate member \
             replace`",
            known.incarnation.number(),
            if life.number() == known.incarnation.number() {
                "another one of that number".to_string()
            } else {
                format!("start {}", life.number())
            }
        )));
    }
    Ok(())
}

impl Births {
    /// `disk` is the directory whose identity file holds `identity`.
    pub fn new(disk: Box<dyn Disk>, identity: Identity) -> Self {
        Self { disk: RefCell::new(disk), identity: RefCell::new(identity) }
    }

    /// Remembers a meeting, durably if it is the first of this life; says why a peer must be
    /// refused. `written` is what the committed configuration says of the member: another
    /// directory that was met before it was written down was never counted, and is forgotten.
    pub fn check(
        &self,
        member: NodeId,
        birth: u64,
        incarnation: Incarnation,
        written: Option<Life>,
    ) -> Result<(), Unwelcome> {
        let life = |birth, incarnation| Life { birth: Birth(birth), incarnation };
        let said = life(birth, incarnation);
        if let Some(written) = written {
            recognise(member, written, said)?;
        }
        let at = self.identity.borrow().peers.iter().position(|met| met.member == member);
        let known = at.map(|at| self.identity.borrow().peers[at]);
        let known = known.filter(|met| written.is_none_or(|life| life.birth.0 == met.birth));
        if let Some(known) = known {
            recognise(member, life(known.birth, known.incarnation), said)?;
            if incarnation == known.incarnation {
                return Ok(());
            }
        }
        let mut next = self.identity.borrow().clone();
        let met = Met { member, birth, incarnation };
        match at {
            Some(at) => next.peers[at] = met,
            None => next.peers.push(met),
        }
        // What is not durable is not remembered: the next meeting is a first one again.
        self.keep(next).map_err(|error| Unwelcome::Other(error.to_string()))
    }

    /// This directory may never be started again.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn forswear(&self, why: &str) -> Result<(), StoreError> {
        let next = Identity { void: why.to_string(), ..self.identity.borrow().clone() };
        self.keep(next)
    }

    fn keep(&self, next: Identity) -> Result<(), StoreError> {
        store::write_identity(self.disk.borrow_mut().as_mut(), &next)?;
        *self.identity.borrow_mut() = next;
        Ok(())
    }

    /// The birth under which `member` was first met here.
    pub fn knows(&self, member: NodeId) -> Option<u64> {
        let identity = self.identity.borrow();
        identity.peers.iter().find(|met| met.member == member).map(|met| met.birth)
    }

    /// Births by member, for another thread.
    pub fn snapshot(&self) -> BTreeMap<u64, u64> {
        self.identity.borrow().peers.iter().map(|met| (met.member.0, met.birth)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::MemDisk;

    fn met(incarnation: u64) -> Met {
        Met { member: NodeId(7), birth: 1, incarnation: Incarnation(incarnation) }
    }

    fn check(births: &Births, birth: u64, incarnation: u64) -> Result<(), Unwelcome> {
        births.check(NodeId(7), birth, Incarnation(incarnation), None)
    }

    #[test]
    fn the_directory_that_is_written_down_takes_the_place_of_one_met_before() {
        let births = Births::new(Box::new(MemDisk::new()), Identity::default());
        assert_eq!(check(&births, 1, 4), Ok(()));
        assert!(check(&births, 2, 1).is_err(), "nobody says that it is the member");
        let written = Some(Life { birth: Birth(2), incarnation: Incarnation(1) });
        let at = |birth, life| births.check(NodeId(7), birth, Incarnation(life), written);
        assert_eq!(at(2, 3), Ok(()));
        assert!(matches!(at(2, 2), Err(Unwelcome::PutBack(_))), "its own memory counts too");
        assert!(at(1, 9).is_err() && check(&births, 1, 9).is_err(), "the first one is forgotten");
        assert_eq!(births.knows(NodeId(7)), Some(2));
    }

    #[test]
    fn another_birth_and_an_earlier_life_are_refused_also_after_a_crash() {
        let disk = MemDisk::new();
        let identity = Identity { cluster: 1, member: NodeId(1), ..Identity::default() };
        let births = Births::new(Box::new(disk.clone()), identity);
        for life in [4, 4, 6] {
            assert_eq!(check(&births, 1, life), Ok(()));
        }
        let mut after = disk.crash(3);
        let identity = store::read_identity(&mut after).expect("reads").expect("there");
        assert_eq!(identity.peers, [met(6)]);
        let births = Births::new(Box::new(after), identity);
        let error = check(&births, 2, 7).expect_err("another directory").text();
        assert!(error.contains("forgotten its votes"), "{error}");
        let Err(Unwelcome::PutBack(error)) = check(&births, 1, 5) else { panic!("an older life") };
        assert!(error.contains("older image") && error.contains("member replace"), "{error}");
        assert_eq!(check(&births, 1, 6), Ok(()));
    }

    #[test]
    fn an_image_of_just_the_start_before_is_told_from_the_directory_it_was_made_of() {
        let births = Births::new(Box::new(MemDisk::new()), Identity::default());
        let image = Incarnation(0).after(1);
        let (lost, back) = (image.after(2), image.after(3));
        assert_eq!(check(&births, 1, lost.0), Ok(()));
        for written in [None, Some(Life { birth: Birth(1), incarnation: lost })] {
            let met = births.check(NodeId(7), 1, back, written);
            let Err(Unwelcome::PutBack(text)) = met else { panic!("{met:?}") };
            assert!(text.contains("start 2 and is back after another one of that"), "{text}");
        }
        assert_eq!(check(&births, 1, lost.0), Ok(()), "the first one met is the member");
    }

    #[test]
    fn a_directory_that_was_forsworn_says_so_after_a_crash() {
        let disk = MemDisk::new();
        let births = Births::new(Box::new(disk.clone()), Identity::default());
        births.forswear("put back").expect("room");
        let identity = store::read_identity(&mut disk.crash(1)).expect("reads").expect("there");
        assert_eq!(identity.void, "put back");
    }
}
