//! A pair of families, and what a protocol asks of it.

use alloc::vec::Vec;
use base::planted;
use core::fmt;

use crate::meet::{Disjoint, disjoint};
use crate::refusal::{SystemError, Unsafe, Why};
use crate::{Expr, Family, Names, NodeSet};

/// A parsed system over names, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemSpec {
    /// Phase 1: who makes a leader; the read side.
    pub elect: Expr,
    /// Phase 2: who makes a write durable; also who confirms a read.
    pub commit: Expr,
}

/// What a protocol needs to meet (`quorum` design notes: FPaxos, Howard et al. 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A term is shared by candidates: elect meets commit **and** elect meets elect, or two
    /// leaders share a term.
    RaftSharedTerms,
    /// Ballots are (term, node), unique per candidate: elect meets commit.
    RaftTermAndNode,
    /// Phase 1 meets phase 2.
    Paxos,
    /// Any two quorums of either role share at least `f + 1` members.
    Byzantine {
        /// Members that may lie, at most.
        f: u8,
    },
    /// Any two quorums of either role share at least `2f + 1` members: faulty ones may lie
    /// about data that does not prove itself (Malkhi, Reiter 1998).
    Masking {
        /// Members that may lie, at most.
        f: u8,
    },
    /// Elect meets commit, and commit meets commit: a writer learns the version to pass from a
    /// commit set (Gifford 1979).
    VersionedVotes,
    /// One round of votes with `f` faulty members: a set that moves on (elect) shares `f + 1`
    /// with every set that is final (commit), and final sets with each other.
    TwoThreshold {
        /// Members that may lie, at most.
        f: u8,
    },
}

/// A checked pair of families: elect meets commit, always. Fields are private so that no other
/// pair exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    elect: Family,
    commit: Family,
}

impl SystemSpec {
    /// Names marked `witness(..)` in either role: members that vote and keep no data.
    pub fn witnesses(&self) -> Vec<&str> {
        let mut out = self.elect.witnesses();
        for name in self.commit.witnesses() {
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    /// Every name of both roles, in order of appearance, once.
    pub fn names(&self) -> Vec<&str> {
        let mut out = self.elect.names();
        for name in self.commit.names() {
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    /// Slots by order of appearance (at most 64).
    pub fn infer_names(&self) -> Names {
        Names::in_order(self.names())
    }

    /// That every commit set has a member with data, whichever the protocol.
    ///
    /// # Errors
    /// A commit set of witnesses, twice.
    pub fn check_data(&self, names: &Names, commit: &Family) -> Result<(), Unsafe> {
        let witnesses = self.witnesses().into_iter().filter_map(|name| names.slot(name));
        match commit.minimal_within(witnesses.collect()) {
            Some(set) => {
                assert!(commit.is_quorum(set), "what is shown offends");
                Err(Unsafe { a: set, b: set, why: Why::NoData, share_min: 1 })
            }
            None => Ok(()),
        }
    }

    /// Resolves names and checks what every protocol needs: elect meets commit. A protocol that
    /// needs more calls [`SystemSpec::compile_for`].
    ///
    /// # Errors
    /// A name nobody has; an elect set and a commit set that do not meet, or could not be compared.
    pub fn compile(&self, names: &Names) -> Result<System, SystemError> {
        self.compile_for(names, Protocol::RaftTermAndNode)
    }

    /// Resolves names and checks the pair for `protocol`.
    ///
    /// # Errors
    /// As [`SystemSpec::compile`]; two sets that miss each other and must not by `protocol`.
    pub fn compile_for(&self, names: &Names, protocol: Protocol) -> Result<System, SystemError> {
        let system = self.compile_unchecked(names)?;
        let protocol = if planted!(OneSidedCheck) { Protocol::Paxos } else { protocol };
        match system.check(protocol).and_then(|()| self.check_data(names, &system.commit)) {
            Ok(()) => Ok(system),
            Err(cause) if cause.why == Why::NoData => {
                Err(SystemError::NoData { set: names.show(cause.a) })
            }
            Err(cause) => {
                let (a, b) = (names.show(cause.a), names.show(cause.b));
                Err(SystemError::Unsafe { a, b, cause })
            }
        }
    }

    /// The families (elect, commit), safe or not: for analysis, never for a protocol.
    ///
    /// # Errors
    /// A name nobody has, or a family too large to be worked with.
    pub fn families(&self, names: &Names) -> Result<(Family, Family), SystemError> {
        Ok((Family::compile(&self.elect, names)?, Family::compile(&self.commit, names)?))
    }

    /// For reports, which show unsafe pairs too.
    pub(crate) fn compile_unchecked(&self, names: &Names) -> Result<System, SystemError> {
        let (elect, commit) = self.families(names)?;
        Ok(System { elect, commit })
    }
}

impl fmt::Display for SystemSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.elect == self.commit {
            return write!(f, "{}", self.elect);
        }
        write!(f, "elect = {}; commit = {}", self.elect, self.commit)
    }
}

impl System {
    /// Majorities of `members` in both roles; `members` must not be empty.
    pub fn majority(members: NodeSet) -> Self {
        let family = Family::majority(members);
        Self { elect: family.clone(), commit: family }
    }

    /// Quorums of both systems, role by role (joint consensus, Ongaro 2014 section 4.3).
    #[must_use]
    pub fn joint(old: &System, new: &System) -> Self {
        // Safe when both are: a joint elect set holds an old elect set, a joint commit set an
        // old commit set, and those meet.
        let joint = Self { elect: old.elect.and(&new.elect), commit: old.commit.and(&new.commit) };
        assert_eq!(joint.support(), old.support().union(new.support()), "both decide");
        joint
    }

    /// Sets that may elect (phase 1).
    pub const fn elect(&self) -> &Family {
        &self.elect
    }

    /// Sets that may commit (phase 2), and that confirm a read or keep a leader.
    pub const fn commit(&self) -> &Family {
        &self.commit
    }

    /// Every slot either role names.
    pub const fn support(&self) -> NodeSet {
        self.elect.support().union(self.commit.support())
    }

    /// Whether the pair is safe for `protocol`; if not, two concrete minimal quorums that fail
    /// to meet.
    ///
    /// # Errors
    /// Those two, or that the search for them gave up.
    pub fn check(&self, protocol: Protocol) -> Result<(), Unsafe> {
        check_pair(&self.elect, &self.commit, protocol)
    }

    /// Whether a larger pair is just as safe: see [`Family::dominated_by`].
    pub fn dominance(&self) -> Dominance {
        self.commit.dominated_by(&self.elect)
    }
}

/// What [`System::check`] asks, of any two families.
pub fn check_pair(e: &Family, c: &Family, protocol: Protocol) -> Result<(), Unsafe> {
    match protocol {
        Protocol::RaftTermAndNode | Protocol::Paxos => meet(e, c, 0, Why::ElectMissesCommit),
        Protocol::RaftSharedTerms => meet_also(e, c, 0, &[Why::ElectMissesElect]),
        Protocol::VersionedVotes => meet_also(e, c, 0, &[Why::CommitMissesCommit]),
        Protocol::TwoThreshold { f } => meet_also(e, c, f, &[Why::CommitMissesCommit]),
        Protocol::Byzantine { f: shared } => meet_all(e, c, shared),
        Protocol::Masking { f } => meet_all(e, c, f.saturating_mul(2)),
    }
}

fn meet_all(e: &Family, c: &Family, shared_max: u8) -> Result<(), Unsafe> {
    meet_also(e, c, shared_max, &[Why::CommitMissesCommit, Why::ElectMissesElect])
}

/// Elect meets commit, and each family of `own` itself: the same question once more where both
/// are one family.
fn meet_also(e: &Family, c: &Family, shared_max: u8, own: &[Why]) -> Result<(), Unsafe> {
    meet(e, c, shared_max, Why::ElectMissesCommit)?;
    if e == c {
        return Ok(());
    }
    own.iter().try_for_each(|why| {
        let family = if *why == Why::ElectMissesElect { e } else { c };
        meet(family, family, shared_max, *why)
    })
}

/// Whether a family could have more quorums and still meet every quorum of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dominance {
    /// It has every set it may have: what it is, the other's dual.
    Never,
    /// This set meets every quorum of the other and is not a quorum: it could be one.
    By(NodeSet),
    /// Neither was found within the search bound.
    TooComplex,
}

impl Family {
    /// Whether this family could have more quorums and still meet every quorum of `other`. For
    /// a coterie, `other` is the family itself: not dominated means that of any two complements
    /// one is a quorum, so no coterie is more available (Garcia-Molina, Barbara 1985).
    pub fn dominated_by(&self, other: &Family) -> Dominance {
        // A set S that blocks `other` while its complement blocks this family is such a quorum.
        match disjoint(&other.dual(), &self.dual(), 0) {
            Disjoint::Never => Dominance::Never,
            Disjoint::TooComplex => Dominance::TooComplex,
            Disjoint::Pair(set, rest) => {
                assert!(other.blocks(set) && self.blocks(rest), "the pair is of blocking sets");
                Dominance::By(set)
            }
        }
    }
}

fn meet(a: &Family, b: &Family, shared_max: u8, why: Why) -> Result<(), Unsafe> {
    let share_min = shared_max.saturating_add(1);
    match disjoint(a, b, shared_max) {
        Disjoint::Never => Ok(()),
        Disjoint::Pair(x, y) => {
            assert!(a.is_quorum(x) && b.is_quorum(y), "what is shown offends");
            Err(Unsafe { a: x, b: y, why, share_min })
        }
        Disjoint::TooComplex => {
            let none = NodeSet::EMPTY;
            Err(Unsafe { a: none, b: none, why: Why::TooComplex, share_min })
        }
    }
}
