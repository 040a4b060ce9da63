//! Identifier newtypes. Arithmetic is explicit so that a term is never added to an index.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// What a field holds that names nothing.
            pub const ZERO: Self = Self(0);

            /// The number itself.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The next value; overflow is a programmer error and stops the process.
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("identifier space is never exhausted"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(/// A member of the cluster (etcd's member id). Zero is "nobody".
    NodeId(u64));
id!(/// An election epoch.
    Term(u64));
id!(/// Position in the replicated log; the first entry is 1, zero is "before the log".
    LogIndex(u64));
id!(/// MVCC revision of the store: 1 when fresh, +1 per applied request that changes a key.
    Revision(i64));
id!(/// Lease identifier; zero is "no lease".
    LeaseId(i64));
id!(/// Local monotonic time in nanoseconds, given by the shell. Never compared across nodes.
    Nanos(u64));
id!(/// Replicated time in nanoseconds, advanced only by leader-stamped entries.
    ClusterTime(u64));
id!(/// Number of a persist request; `Persisted(n)` covers every ticket up to n in its lane.
    Ticket(u64));
id!(/// The shell's handle of one pending client request; meaningless to the machine.
    Token(u64));
id!(/// A start of a data directory, later ones higher; durable before it serves. See
    /// [`Incarnation::after`].
    Incarnation(u64));
id!(/// Drawn when a data directory is made; zero is "not known". Another birth under a known id
    /// is another directory, which has forgotten what the first one promised.
    Birth(u64));

impl LogIndex {
    /// The entry before this one; before the log there is only zero.
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Nanos {
    /// # Panics
    /// In a debug build when the product overflows: constants and flags only.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// The sum, or the end of time.
    #[must_use]
    pub const fn plus(self, other: Nanos) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Time from `earlier` to here; zero when it is later.
    #[must_use]
    pub const fn since(self, earlier: Nanos) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// A ballot names an attempt to lead: who, in which term. Ordered by term, then node.
///
/// `node` zero means "term seen, vote not given".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Compared first.
    pub term: Term,
    /// Who attempts it, or got this member's vote.
    pub node: NodeId,
}

impl Ballot {
    /// Before any election.
    pub const ZERO: Self = Self { term: Term(0), node: NodeId(0) };

    /// From bare numbers.
    pub const fn new(term: u64, node: u64) -> Self {
        Self { term: Term(term), node: NodeId(node) }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.node)
    }
}

/// Which directory a member has, and how often it was started from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// Of the directory; tells it from one that was emptied.
    pub birth: Birth,
    /// The start it is in, or was last heard in.
    pub incarnation: Incarnation,
}

impl Life {
    /// Of a member that nobody has heard of yet.
    pub const UNKNOWN: Self = Self { birth: Birth(0), incarnation: Incarnation(0) };

    /// Whether this is the directory of `other` after an earlier start: what it says is stale, or
    /// its directory was put back to an older image.
    ///
    /// Or after the same start by number and not the same one: both cannot have followed what the
    /// directory was before, so whichever was not met first is an image that was put back.
    pub fn is_before(self, other: Self) -> bool {
        let (this, that) = (self.incarnation, other.incarnation);
        let forked = this.marked() > 0 && this.marked() == that.marked() && this != that;
        self.birth == other.birth && (this < that || forked)
    }
}

impl Incarnation {
    const MARK_BITS: u32 = 32;

    /// The start of a directory after this one, with a mark drawn for it: an image of the
    /// directory that is started too has the same number then, and another mark.
    #[must_use]
    pub const fn after(self, mark: u32) -> Self {
        Self((self.marked() + 1) << Self::MARK_BITS | mark as u64)
    }

    /// Starts with a mark so far; builds before drew none.
    const fn marked(self) -> u64 {
        self.0 >> Self::MARK_BITS
    }

    /// Which start it is, to show.
    pub const fn number(self) -> u64 {
        if self.marked() > 0 { self.marked() } else { self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_starts_of_one_number_neither_follows_the_other() {
        let life = |incarnation| Life { birth: Birth(1), incarnation };
        let first = Incarnation(3).after(7);
        let (second, fork) = (first.after(5), first.after(9));
        assert!(Incarnation(3) < first && first < second);
        assert_eq!([first.number(), second.number()], [1, 2]);
        assert!(life(first).is_before(life(second)) && !life(second).is_before(life(first)));
        assert!(life(second).is_before(life(fork)) && life(fork).is_before(life(second)));
        assert!(!life(fork).is_before(life(fork)));
        assert!(!Life { birth: Birth(2), ..life(fork) }.is_before(life(second)));
        // Starts of builds that drew no mark are in order.
        assert!(!life(Incarnation(4)).is_before(life(Incarnation(3))));
        assert_eq!(second.number(), Incarnation(2).number());
        assert!(
            !life(second).is_before(life(Incarnation(2))),
            "known since before there were marks"
        );
    }
}

/// Identity of one proposal, kept across forwards and retries so that it applies once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The member that took the request in.
    pub origin: NodeId,
    /// Of that member, since `seq` begins anew with it.
    pub incarnation: Incarnation,
    /// Counts the requests of one start, from 1; 0 is no request.
    pub seq: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.incarnation, self.seq)
    }
}
