//! Which directory each peer had when it was first met, and its latest life: as this member met
//! them itself, and as the committed configuration says, which those who never met them know.
//!
//! A member whose directory was emptied has forgotten its votes, and one whose directory was put
//! back to an older image has forgotten the latest. Either could vote twice in one term, so it
//! is refused until it is replaced under a new id.

use crate::unwelcome::Unwelcome;
use base::limits::PEERS_MET_MAX;
use base::{Birth, Life, NodeId, planted};
use store::{Identity, Met};
use wal::Disk;

/// What the last configuration that is known to be committed says of a member's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nobody's is written down: whoever was met first is the member.
    Nobodys,
    /// Those of others are. This one's was never counted, so another one is as new as it was.
    Others,
    As(Life),
}

impl Written {
    /// Whether a directory that was met before says more than this.
    fn leaves(self, met: Life, said: Life) -> bool {
        match self {
            Self::Nobodys => true,
            Self::Others => said.birth == met.birth || planted!(FirstMetStays),
            Self::As(life) => life.birth == met.birth,
        }
    }
}

/// Peers as met, kept in this member's identity file: durable before they are relied on, so
/// that a restart forgets none of them. What there is to write is handed out, and written where
/// a slow disk keeps nobody from voting.
pub struct Births {
    identity: Identity,
    /// Files that were handed out and became durable.
    version: u64,
}

/// What a member has to write down before it goes by it.
#[must_use = "what is not written down may not be gone by"]
#[derive(Debug)]
pub struct Unwritten {
    next: Identity,
    version: u64,
}

/// What stands in the identity file: only [`Unwritten::write`] makes one.
#[must_use = "the member does not know of it yet"]
#[derive(Debug)]
pub struct Remembered(Unwritten);

impl Unwritten {
    /// Writes the identity file of the directory `disk`: durable on return.
    ///
    /// # Errors
    /// Those of the disk, as a peer is told them.
    pub fn write(self, disk: &mut dyn Disk) -> Result<Remembered, Unwelcome> {
        if !planted!(MetNotWritten) {
            let written = store::write_identity(disk, &self.next);
            written.map_err(|error| Unwelcome::Unremembered(error.to_string()))?;
        }
        Ok(Remembered(self))
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
    /// `identity` is what the directory's identity file holds.
    pub fn new(identity: Identity) -> Self {
        Self { identity, version: 0 }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Looks at a peer: what has to be written down before it comes in, if this is the first
    /// meeting of its life. Another directory that was met before one is written down was never
    /// counted, and is forgotten.
    ///
    /// # Errors
    /// Why it must be refused.
    pub fn check(
        &self,
        member: NodeId,
        said: Life,
        written: Written,
    ) -> Result<Option<Unwritten>, Unwelcome> {
        if let Written::As(life) = written
            && !planted!(BirthsIgnored)
        {
            recognise(member, life, said)?;
        }
        let at = self.identity.peers.iter().position(|met| met.member == member);
        let known = at.map(|at| life_of(&self.identity.peers[at]));
        if let Some(known) = known.filter(|met| written.leaves(*met, said)) {
            recognise(member, known, said)?;
            if said.incarnation == known.incarnation {
                return Ok(None);
            }
        }
        let mut next = self.identity.clone();
        let met = Met { member, birth: said.birth.0, incarnation: said.incarnation };
        match at {
            Some(at) => next.peers[at] = met,
            None => next.peers.push(met),
        }
        Ok(Some(self.unwritten(next)))
    }

    /// So that one more can be remembered: whom no configuration names has no vote to be taken
    /// twice, and the one of them that was met first is forgotten with the next meeting. Ids are
    /// what a stranger chooses.
    pub fn make_room(&mut self, is_member: impl Fn(NodeId) -> bool) {
        let peers = &mut self.identity.peers;
        if peers.len() >= PEERS_MET_MAX
            && let Some(at) = peers.iter().position(|met| !is_member(met.member))
        {
            peers.remove(at);
        }
        assert!(peers.len() < PEERS_MET_MAX, "a configuration names fewer");
    }

    /// What says that this directory may never be started again.
    pub fn forswear(&self, why: &str) -> Unwritten {
        self.unwritten(Identity { void: why.to_string(), ..self.identity.clone() })
    }

    fn unwritten(&self, next: Identity) -> Unwritten {
        Unwritten { next, version: self.version }
    }

    /// Goes by what was written from now on. What did not become durable is not remembered: the
    /// next meeting is a first one again.
    pub fn keep(&mut self, Remembered(written): Remembered) {
        assert_eq!(written.version, self.version, "one file is written after the other");
        self.identity = written.next;
        self.version += 1;
    }

    /// The life of which `member` was met last, here.
    pub fn knows(&self, member: NodeId) -> Option<Life> {
        self.identity.peers.iter().find(|met| met.member == member).map(life_of)
    }
}

fn life_of(met: &Met) -> Life {
    Life { birth: Birth(met.birth), incarnation: met.incarnation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Incarnation;
    use base::limits::MEMBERS_MAX;
    use wal::MemDisk;

    fn met(incarnation: u64) -> Met {
        Met { member: NodeId(7), birth: 1, incarnation: Incarnation(incarnation) }
    }

    fn life(birth: u64, incarnation: u64) -> Life {
        Life { birth: Birth(birth), incarnation: Incarnation(incarnation) }
    }

    /// A member's memory and its disk.
    struct Here(Births, MemDisk);

    impl Here {
        fn new() -> Self {
            Self(Births::new(Identity::default()), MemDisk::new())
        }

        fn meet(&mut self, id: u64, life: Life, written: Written) -> Result<(), Unwelcome> {
            if let Some(unwritten) = self.0.check(NodeId(id), life, written)? {
                self.0.keep(unwritten.write(&mut self.1)?);
            }
            Ok(())
        }

        fn check(&mut self, birth: u64, incarnation: u64) -> Result<(), Unwelcome> {
            self.meet(7, life(birth, incarnation), Written::Nobodys)
        }

        fn after_a_crash(&self, seed: u64) -> Identity {
            store::read_identity(&mut self.1.crash(seed)).expect("reads").expect("there")
        }
    }

    #[test]
    fn the_directory_that_is_written_down_takes_the_place_of_one_met_before() {
        let mut here = Here::new();
        assert_eq!(here.check(1, 4), Ok(()));
        assert!(here.check(2, 1).is_err(), "nobody says that it is the member");
        let written = Written::As(life(2, 1));
        let mut at = |birth, start| here.meet(7, life(birth, start), written);
        assert_eq!(at(2, 3), Ok(()));
        assert!(matches!(at(2, 2), Err(Unwelcome::PutBack(_))), "its own memory counts too");
        assert!(at(1, 9).is_err(), "the first one is forgotten");
        assert!(here.check(1, 9).is_err(), "for good");
        assert_eq!(here.0.knows(NodeId(7)), Some(life(2, 3)));
    }

    #[test]
    fn another_birth_and_an_earlier_life_are_refused_also_after_a_crash() {
        let mut here = Here::new();
        for life in [4, 4, 6] {
            assert_eq!(here.check(1, life), Ok(()));
        }
        let identity = here.after_a_crash(3);
        assert_eq!(identity.peers, [met(6)]);
        here.0 = Births::new(identity);
        let error = here.check(2, 7).expect_err("another directory").text();
        assert!(error.contains("forgotten its votes"), "{error}");
        let Err(Unwelcome::PutBack(error)) = here.check(1, 5) else { panic!("an older life") };
        assert!(error.contains("older image") && error.contains("member replace"), "{error}");
        assert_eq!(here.check(1, 6), Ok(()));
    }

    #[test]
    fn an_image_of_just_the_start_before_is_told_from_the_directory_it_was_made_of() {
        let mut here = Here::new();
        let image = Incarnation(0).after(1);
        let (lost, back) = (image.after(2), image.after(3));
        assert_eq!(here.check(1, lost.0), Ok(()));
        for written in [Written::Nobodys, Written::Others, Written::As(life(1, lost.0))] {
            let met = here.meet(7, life(1, back.0), written);
            let Err(Unwelcome::PutBack(text)) = met else { panic!("{met:?}") };
            assert!(text.contains("start 2 and is back after another one of that"), "{text}");
        }
        assert_eq!(here.check(1, lost.0), Ok(()), "the first one met is the member");
    }

    #[test]
    fn where_others_are_written_down_a_directory_that_is_not_may_be_lost_and_made_again() {
        let mut here = Here::new();
        let mut at = |birth, start, written| here.meet(7, life(birth, start), written);
        assert_eq!(at(1, 4, Written::Nobodys), Ok(()));
        assert!(at(2, 1, Written::Nobodys).is_err(), "both may have voted for a founder");
        assert!(matches!(at(1, 3, Written::Others), Err(Unwelcome::PutBack(_))), "an older image");
        assert_eq!(at(2, 1, Written::Others), Ok(()), "the first one was never counted");
        assert!(at(1, 9, Written::As(life(2, 1))).is_err());
        let identity = here.after_a_crash(2);
        assert_eq!(identity.peers.len(), 1, "one entry a member");
        assert_eq!(here.0.knows(NodeId(7)), Some(life(2, 1)));
    }

    #[test]
    fn strangers_beyond_the_bound_take_each_others_places_and_no_members() {
        let mut here = Here::new();
        let is_member = |id: NodeId| id.0 < MEMBERS_MAX as u64;
        let many = PEERS_MET_MAX as u64 + 9;
        for id in 0..many {
            here.0.make_room(is_member);
            assert_eq!(here.meet(id, life(1, 4), Written::Nobodys), Ok(()));
        }
        let identity = here.after_a_crash(1);
        assert_eq!(identity.peers.len(), PEERS_MET_MAX);
        let known = |id: u64| here.0.knows(NodeId(id)).is_some();
        let first = MEMBERS_MAX as u64;
        assert!((0..first).all(known) && (first + 9..many).all(known));
        assert!(!(first..first + 9).any(known), "the strangers that were met first");
    }

    #[test]
    fn a_directory_that_was_forsworn_says_so_after_a_crash() {
        let mut here = Here::new();
        let written = here.0.forswear("put back").write(&mut here.1);
        here.0.keep(written.expect("room"));
        let identity = here.after_a_crash(1);
        assert_eq!(identity.void, "put back");
    }
}
