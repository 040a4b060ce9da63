//! Bugs that other systems had, planted to see whether the tests notice (`docs/bugs.md`).
//!
//! Only the feature `planted` compiles this, and no shipped build enables it. One bug at most is
//! planted in a process: the one that [`VARIABLE`] names.
extern crate std;

use std::sync::OnceLock;

/// The environment variable that names the bug; empty or absent plants none.
pub const VARIABLE: &str = "QUORATE_PLANTED_BUG";

macro_rules! bugs {
    ($($bug:ident $name:literal,)*) => {
        /// What can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $(#[doc = $name] $bug,)* }

        /// Every bug with its name.
        pub const ALL: &[(Bug, &str)] = &[$((Bug::$bug, $name),)*];
    };
}

bugs! {
    // consensus: promises and durability
    AckBeforeSync "ack-before-sync",
    OwnEntryBeforeSync "own-entry-before-sync",
    VoteBeforeSync "vote-before-sync",
    VoteNotPersisted "vote-not-persisted",
    VoteInTwoWrites "vote-in-two-writes",
    VoteErasedOnStepDown "vote-erased-on-step-down",
    RequestBeforePersist "vote-request-before-persist",
    VoteIgnoresLog "vote-ignores-log",
    VoteByLength "vote-by-length",
    OldLeaderObeyed "old-leader-obeyed",
    // consensus: the log
    PriorBallotCommit "prior-ballot-commit",
    IncrementalTally "incremental-tally",
    HiddenMajority "hidden-majority",
    ElectCommitSwapped "elect-commit-swapped",
    CommitBeyondMatch "commit-beyond-match",
    ShortAppendTruncates "short-append-truncates",
    ForgottenTruncation "forgotten-truncation",
    LateWriteVouches "late-write-vouches",
    SentIsAcked "sent-is-acked",
    InstallKeepsSuffix "install-keeps-suffix",
    InstallKeepsPromise "install-keeps-promise",
    // quorums
    HalfIsEnough "half-is-enough",
    FolkFormula "folk-formula",
    OneSidedCheck "one-sided-check",
    // consensus: elections
    PreVoteHidesTerm "pre-vote-hides-term",
    FollowedLeaderRefused "followed-leader-refused",
    NoCheckQuorum "no-check-quorum",
    NoPreVote "no-pre-vote",
    ElectedInVain "elected-in-vain",
    TailWithoutEnd "tail-without-end",
    UnawareVoterSilent "unaware-voter-silent",
    RemovedStopsCampaigning "removed-stops-campaigning",
    // consensus: members
    FreshTakesPart "fresh-takes-part",
    BirthsIgnored "births-ignored",
    ChangeBeforeOwnCommit "change-before-own-commit",
    ChangesOverlap "changes-overlap",
    AnyChangeGoes "any-change-goes",
    JointCountsNewOnly "joint-counts-new-only",
    LearnerCounted "learner-counted",
    CalledOffLate "called-off-late",
    RemovedLeaderCounts "removed-leader-counts",
    ChangeSplitsTerms "change-splits-terms",
    BallotRuleChanges "ballot-rule-changes",
    TallyOutlivesConfig "tally-outlives-config",
    SlotGivenAtOnce "slot-given-at-once",
    // consensus: witnesses
    WitnessCountsAsData "witness-counts-as-data",
    WitnessWithoutRecord "witness-without-record",
    WitnessToldAhead "witness-told-ahead",
    RecordComesApart "record-comes-apart",
    WitnessIgnoresLog "witness-ignores-log",
    WitnessLeads "witness-leads",
    // repair
    RepairAcks "repair-acks",
    RepairVotes "repair-votes",
    RepairEndsEarly "repair-ends-early",
    RepairForgotten "repair-forgotten",
    HeldIsAcked "held-is-acked",
    LostVoteRepaired "lost-vote-repaired",
    // consensus: reads
    ReadBeforeOwnCommit "read-before-own-commit",
    ReadWithoutRound "read-without-round",
    ReadJoinsOldRound "read-joins-old-round",
    SilentAskerConfirms "silent-asker-confirms",
    StaleReadContext "stale-read-context",
    StaleRoundAck "stale-round-ack",
    LeaderLease "leader-lease",
    // replica
    ReadBeforeApply "read-before-apply",
    DedupeOff "dedupe-off",
    DedupeLostInCheckpoint "dedupe-lost-in-checkpoint",
    DedupeForgets "dedupe-forgets",
    OriginEvicted "origin-evicted",
    LeftOriginApplies "left-origin-applies",
    OneConvictsAll "one-convicts-all",
    OldIncarnationApplies "old-incarnation-applies",
    ProgressBeforeEvents "progress-before-events",
    CompactedUnderWatcher "compacted-under-watcher",
    CatchUpSkips "catch-up-skips",
    RoundJoinedLate "round-joined-late",
    RefusedThoughSent "refused-though-sent",
    LocalTimeApplied "local-time-applied",
    ShownBeforeStanding "shown-before-standing",
    ShownBeyondMark "shown-beyond-mark",
    CheckpointIndexAhead "checkpoint-index-ahead",
    UncommittedConfigStated "uncommitted-config-stated",
    // replica: slices
    HalfJobShown "half-job-shown",
    JobSurvivesInstall "job-survives-install",
    DigestBySlice "digest-by-slice",
    SliceSkipsKey "slice-skips-key",
    RunningInCheckpoint "running-in-checkpoint",
    // data
    LeaseEarly "lease-early",
    RevokeOverRenewal "revoke-over-renewal",
    RenewsTheDead "renews-the-dead",
    AttachmentKept "attachment-kept",
    CompareAfterWrite "compare-after-write",
    PartialTxn "partial-txn",
    CompactOffByOne "compact-off-by-one",
    CompactDropsEvents "compact-drops-events",
    TxnReadMissesOwnWrite "txn-read-misses-own-write",
    // data: layers
    SettledOfAnotherState "settled-of-another-state",
    MadeLostByMerge "made-lost-by-merge",
    MergeAheadOfSweep "merge-ahead-of-sweep",
    BelowForgotten "below-forgotten",
    LivingCollected "living-collected",
    MendedInPart "mended-in-part",
    HeldFileRemoved "held-file-removed",
    NamedFileRemoved "named-file-removed",
    FileNamedTwice "file-named-twice",
    CachedByPlace "cached-by-place",
    HashUnchecked "hash-unchecked",
    BlockUnchecked "block-unchecked",
    IndexTailLost "index-tail-lost",
    NamedIndexRemoved "named-index-removed",
    HoleWalkedOver "hole-walked-over",
    // room
    HalfWriteStays "half-write-stays",
    WaitingReported "waiting-reported",
    LowNeverLifted "low-never-lifted",
    // disk
    TornBatchKept "torn-batch-kept",
    DamageCut "damage-cut",
    SyncSkipped "sync-skipped",
    SyncRetried "sync-retried",
    RecoveryTrustsCache "recovery-trusts-cache",
    ReleaseTooMuch "release-too-much",
    RollWithoutSync "roll-without-sync",
    RenameBeforeSync "rename-before-sync",
    NamesNotSynced "names-not-synced",
    OlderCheckpoint "older-checkpoint",
    // member
    StaleIncarnation "stale-incarnation",
    StartWithoutMark "start-without-mark",
    VoidStarts "void-starts",
    MetNotWritten "met-not-written",
    LeaverLetIn "leaver-let-in",
    VoteAloneUnsynced "vote-alone-unsynced",
    WitnessSentData "witness-sent-data",
    FirstMetStays "first-met-stays",
    StaleWordPublished "stale-word-published",
    DrainBeforeHandOver "drain-before-hand-over",
}

/// The bug of this name.
#[must_use]
pub fn named(name: &str) -> Option<Bug> {
    ALL.iter().find(|(_, known)| *known == name).map(|(bug, _)| *bug)
}

/// Whether `bug` is the one planted in this process.
#[must_use]
pub fn is(bug: Bug) -> bool {
    static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        Some(named(&name).unwrap_or_else(|| panic!("no bug is called {name}")))
    });
    *planted == Some(bug)
}
