//! Identifier newtypes. Arithmetic is explicit so that a term is never added to an index.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            pub const ZERO: Self = Self(0);

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
id!(/// How many times this member has started; durable before it serves.
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
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    #[must_use]
    pub const fn plus(self, other: Nanos) -> Self {
        Self(self.0.saturating_add(other.0))
    }

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
    pub term: Term,
    pub node: NodeId,
}

impl Ballot {
    pub const ZERO: Self = Self { term: Term(0), node: NodeId(0) };

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
    pub birth: Birth,
    pub incarnation: Incarnation,
}

impl Life {
    /// Of a member that nobody has heard of yet.
    pub const UNKNOWN: Self = Self { birth: Birth(0), incarnation: Incarnation(0) };

    /// Whether this is the directory of `other` after an earlier start: what it says is stale, or
    /// its directory was put back to an older image.
    pub fn is_before(self, other: Self) -> bool {
        self.birth == other.birth && self.incarnation < other.incarnation
    }
}

/// Identity of one proposal, kept across forwards and retries so that it applies once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    pub origin: NodeId,
    pub incarnation: Incarnation,
    pub seq: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.incarnation, self.seq)
    }
}
