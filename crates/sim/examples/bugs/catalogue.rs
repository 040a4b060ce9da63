//! Every planted bug: what is measured against it, and what it is. The first means is the one that
//! must notice it. `r` numbers are rows of the reference list (`docs/design/bug-ledger.md`).

const LIVES: &str = "lives uniform";
const STORMS: &str = "storms";
const BOTH: &str = "storms lives uniform";
const SCRIPTED: &str = "storms test:consensus/it/script";
const MEET: &str = "pairs storms test:consensus/it/elect_sets_that_do_not_meet";
const DIRECT: &str = "storms test:consensus/it/direct";
const FOLLOWS: &str = "walks storms test:consensus/it/direct";
const STALE: &str = "storms lives uniform test:consensus/it/direct";
const OLD: &str = "lives uniform test:replica/lib/an_old_incarnation";
const EDGE: &str = "lives uniform test:mvcc/lib/compaction";
const LEASES: &str = "leases lives uniform";
const DAMAGED: &str = "storms disks lives uniform test:consensus/it/a_repair_ends";
const DISKS: &str = "disks lives uniform";
const ASKS: &str = "disks test:consensus/it/direct";
const NEWEST: &str = "disks lives uniform test:store/it/a_damaged_newest_checkpoint";
const MENDED: &str = "disks lives uniform test:member/it/mending";
const CACHED: &str = "lives uniform test:member/lib/cache";
const NAMED: &str = "lives uniform test:member/it/shelf";
const WATCHES: &str = "watches lives uniform";
const WITNESSES: &str = "witnesses witness-lives";
const SENT: &str = "witness-lives";
const EMPTIED: &str = "emptied lives uniform";
const FIRST: &str = "emptied lives uniform test:member/lib/where_others_are_written_down";
const MARKED: &str = "witnesses witness-lives test:consensus/it/script";
const VAIN: &str = "lives uniform test:consensus/it/script";
const INSTALLS: &str = "lives uniform test:replica/it/slices";
const CUTS: &str = "lives uniform test:mvcc/slices/any_budgets";
const MERGED: &str = "lives uniform test:mvcc/lib/what_was_merged";
const SWEPT: &str = "test:mvcc/lib/compaction_is_seen";
const TWIN: &str = "twin";

struct Entry {
    name: &'static str,
    means: &'static str,
    /// Among the dozen of the quick form.
    quick: bool,
    text: &'static str,
}

macro_rules! entries {
    ($($name:literal $means:expr, $quick:literal $text:literal;)*) => {
        const ALL: &[Entry] =
            &[$(Entry { name: $name, means: $means, quick: $quick == 1, text: $text },)*];
    };
}

entries! {
    "ack-before-sync" LIVES, 1 "acknowledged before it is durable (r12; etcd #14370)";
    "own-entry-before-sync" LIVES, 0 "a leader counts its own entry before it is durable";
    "vote-before-sync" LIVES, 1 "a vote leaves before it is durable (r12)";
    "vote-not-persisted" LIVES, 0 "a vote is not written at all";
    "vote-in-two-writes" LIVES, 0 "the term is durable, the vote comes with the next write (r11)";
    "vote-erased-on-step-down" STORMS, 1 "stepping down inside a term erases the vote (r13)";
    "vote-request-before-persist" STORMS, 0 "a candidate asks before its own promise is durable";
    "vote-ignores-log" BOTH, 0 "a vote for whoever asks first, whatever its log holds";
    "vote-by-length" BOTH, 0 "logs are compared by length, not by ballot first";
    "old-leader-obeyed" STORMS, 0 "appends of a lower ballot are taken";
    "prior-ballot-commit" SCRIPTED, 0 "an older entry commits by counting (r2, figure 8)";
    "incremental-tally" LIVES, 0 "acknowledgements of different entries are counted together (r10)";
    "hidden-majority" BOTH, 0 "commits count a majority, whatever the system (r21)";
    "elect-commit-swapped" BOTH, 0 "elect sets commit and commit sets elect";
    "commit-beyond-match" LIVES, 0 "a follower commits entries the leader has not compared";
    "short-append-truncates" LIVES, 0 "a late, shorter append drops the entries behind it";
    "forgotten-truncation" BOTH, 1 "the journal is not told of a truncation";
    "late-write-vouches" STORMS, 0 "a late write vouches for an entry overwritten since (r22)";
    "sent-is-acked" LIVES, 0 "what was sent counts as acknowledged";
    "install-keeps-suffix" DIRECT, 0 "a log behind an installed checkpoint survives a restart";
    "install-keeps-promise" STALE, 0 "a later leader's checkpoint leaves the promise as it was";
    "half-is-enough" LIVES, 0 "a majority of n is half of n rounded up";
    "folk-formula" "pairs storms test:quorum/lib/", 0 "the folk majority, one too big for odd n";
    "one-sided-check" MEET, 0 "elect sets that miss each other pass the check";
    "pre-vote-hides-term" BOTH, 0 "a refused pre-vote teaches no higher term (r4, r5)";
    "followed-leader-refused" SCRIPTED, 0 "a follower refuses the pre-vote of its own leader (r6)";
    "no-check-quorum" SCRIPTED, 0 "a leader without a quorum stays (r17)";
    "no-pre-vote" SCRIPTED, 0 "a member that hears a leader grants pre-votes (r20)";
    "elected-in-vain" VAIN, 0 "elected where an elect set answers and no commit set";
    "tail-without-end" "test:consensus/it/what_waits", 0 "an uncommitted tail without bound";
    "unaware-voter-silent" SCRIPTED, 0 "a member that does not know it votes refuses to vote (r7)";
    "removed-stops-campaigning" SCRIPTED, 0 "members an uncommitted entry removes give up (r8)";
    "change-before-own-commit" SCRIPTED, 0 "a change before an own-ballot commit (r1)";
    "changes-overlap" SCRIPTED, 0 "a change while another is uncommitted: joint left early (r1)";
    "any-change-goes" FOLLOWS, 0 "a change to a system that does not meet the old one";
    "joint-counts-new-only" STORMS, 0 "a joint configuration asks the new system alone (r8)";
    "learner-counted" STORMS, 0 "learners' acknowledgements count (r9)";
    "called-off-late" SCRIPTED, 0 "a joint change is called off though it committed";
    "removed-leader-counts" STORMS, 0 "a leader that has left counts itself in another's place";
    "change-splits-terms" FOLLOWS, 0 "a change to elect sets that miss the old ones, terms shared";
    "ballot-rule-changes" FOLLOWS, 0 "a change of the ballot rule while the cluster runs";
    "tally-outlives-config" DIRECT, 0 "votes count by slot, also after a change of members";
    "slot-given-at-once" LIVES, 0 "a newcomer gets the slot of the member that just left";
    "witness-counts-as-data" WITNESSES, 1 "a witness's acknowledgement counts as a copy";
    "witness-without-record" MARKED, 0 "a witness counts without a record of the member lost";
    "witness-told-ahead" MARKED, 0 "a witness is told what data members do not hold yet";
    "record-comes-apart" MARKED, 0 "a witness holds what follows a loss before its record";
    "witness-ignores-log" WITNESSES, 0 "a witness votes for a shorter log";
    "witness-leads" WITNESSES, 0 "a witness campaigns, and leads without data";
    "births-ignored" EMPTIED, 3 "a directory that was emptied is believed under its old id";
    "fresh-takes-part" BOTH, 2 "a directory nobody wrote down votes and acknowledges";
    "repair-acks" BOTH, 1 "a damaged member acknowledges while it repairs";
    "repair-votes" BOTH, 0 "a damaged member votes while it repairs";
    "repair-ends-early" DAMAGED, 0 "a repair ends below what the journal proves was held";
    "repair-forgotten" DISKS, 1 "a restart forgets that the member repairs";
    "held-is-acked" DIRECT, 0 "what an earlier life held counts when the repair ends";
    "lost-vote-repaired" DISKS, 0 "a member whose vote is lost repairs instead of being replaced";
    "read-before-own-commit" LIVES, 1 "reads before a commit of the own ballot (r14; etcd #7331)";
    "read-without-round" BOTH, 0 "a leader answers reads without asking anyone";
    "silent-asker-confirms" ASKS, 0 "a member that repairs confirms the reads it asks for";
    "read-joins-old-round" SCRIPTED, 0 "a read joins a round that was asked before it";
    "stale-read-context" DIRECT, 0 "an answer to another life's read is taken (r15)";
    "stale-round-ack" DIRECT, 0 "confirmations of an earlier leadership count (r15)";
    "leader-lease" BOTH, 0 "reads under a leader lease that a hand-over breaks (r16)";
    "read-before-apply" LIVES, 0 "a confirmed read does not wait for its index";
    "dedupe-off" LIVES, 1 "a forwarded retry applies twice (jetcd 0.8.2)";
    "dedupe-lost-in-checkpoint" LIVES, 0 "checkpoints forget what was applied";
    "dedupe-forgets" LIVES, 0 "numbers below the floor count as new";
    "origin-evicted" LIVES, 0 "the dedupe window forgets members for others";
    "left-origin-applies" "test:replica/lib/what_a_member", 0 "a forward of who left applies again";
    "one-convicts-all" "replicas test:replica/lib/one_corrupt", 0 "one replica convicts all others";
    "old-incarnation-applies" OLD, 0 "an earlier life's request applies after a later one's";
    "progress-before-events" WATCHES, 0 "progress is told before the events (etcd #15220)";
    "shown-before-standing" LIVES, 1 "a restarted member shows less than it showed before";
    "shown-beyond-mark" LIVES, 0 "more is shown than the disk says is all there is";
    "compacted-under-watcher" WATCHES, 1 "a batch is compacted before live watchers see it";
    "round-joined-late" LIVES, 0 "a read joins a round that was asked for before it came";
    "catch-up-skips" LIVES, 0 "a watch that comes back skips one revision (etcd #15271)";
    "refused-though-sent" LIVES, 0 "a write that may be applied is refused as not applied";
    "local-time-applied" LIVES, 1 "apply looks at the local clock (as etcd #13976)";
    "checkpoint-index-ahead" LIVES, 0 "a checkpoint's index is ahead of its data (etcd v3.5.0)";
    "uncommitted-config-stated" DIRECT, 0 "a checkpoint states an uncommitted configuration";
    "half-job-shown" LIVES, 1 "a long entry shows before it is done";
    "job-survives-install" INSTALLS, 0 "an entry under way goes on over an installed checkpoint";
    "digest-by-slice" LIVES, 0 "the chain hash depends on how the work is cut";
    "slice-skips-key" CUTS, 0 "a delete that goes on in another slice leaves out a key";
    "running-in-checkpoint" INSTALLS, 0 "a checkpoint's window holds the entry under way";
    "settled-of-another-state" MERGED, 0 "a merge of an earlier state is taken";
    "made-lost-by-merge" LIVES, 0 "what was made while layers were merged is lost";
    "merge-ahead-of-sweep" SWEPT, 0 "a merge leaves out what the sums still count";
    "below-forgotten" LIVES, 0 "a key written twice since a merge counts twice";
    "living-collected" LIVES, 0 "a volume that is collected loses a version that lives";
    "mended-in-part" MENDED, 0 "a damaged block is made anew without what nobody gave";
    "held-file-removed" LIVES, 0 "a file is removed that a view still goes by";
    "named-file-removed" NAMED, 0 "a file is removed that the newest checkpoint names";
    "file-named-twice" NAMED, 0 "a merge gives a file the name of one that is there";
    "cached-by-place" CACHED, 0 "the cache gives whatever stood at that place";
    "hash-unchecked" MENDED, 0 "a value is held against neither its hash nor its block's checksum";
    "block-unchecked" DISKS, 0 "a block of values is not held against its checksum";
    "index-tail-lost" LIVES, 0 "an index is written without its last piece";
    "named-index-removed" LIVES, 0 "an index is removed that the newest checkpoint names";
    "hole-walked-over" DISKS, 0 "what a salvaged file has lost is taken for never made";
    "half-write-stays" LIVES, 0 "what stands of a write that found no room counts as one";
    "waiting-reported" LIVES, 0 "a write that waits for room is reported durable";
    "low-never-lifted" LIVES, 0 "the alarm of a low disk stays when there is room again";
    "lease-early" LEASES, 1 "deadlines leave out the clock-rate bound (etcd #14758)";
    "revoke-over-renewal" TWIN, 1 "an expiry ends a lease renewed since (etcd #15247)";
    "renews-the-dead" LIVES, 0 "renewing a revoked lease succeeds (etcd 3.6.5)";
    "attachment-kept" LIVES, 0 "a key stays attached to the lease it left";
    "compare-after-write" TWIN, 1 "nested compares see the transaction's own writes";
    "partial-txn" TWIN, 0 "a refused transaction leaves a write behind (etcd #18667)";
    "compact-off-by-one" EDGE, 0 "compaction takes one revision too many";
    "compact-drops-events" LIVES, 0 "events of the compact revision are lost (etcd #18089)";
    "txn-read-misses-own-write" TWIN, 0 "a read inside a transaction misses its writes";
    "torn-batch-kept" LIVES, 1 "a batch whose checksum is wrong is read";
    "damage-cut" LIVES, 1 "damage in mid-journal is cut as a torn tail (r19)";
    "sync-skipped" LIVES, 0 "sync does nothing: acknowledged from the page cache (r12)";
    "sync-retried" LIVES, 0 "a failed fsync is tried again and believed (ATC 2020)";
    "recovery-trusts-cache" LIVES, 0 "recovery vouches for pages that only the cache holds";
    "release-too-much" "journal", 0 "segments are released one index too early";
    "roll-without-sync" "journal", 0 "a segment begins before the last one is durable";
    "rename-before-sync" LIVES, 1 "a checkpoint gets its name before its bytes are durable";
    "names-not-synced" LIVES, 0 "file names are not made durable";
    "older-checkpoint" NEWEST, 0 "a damaged checkpoint is replaced by an older one";
    "stale-incarnation" LIVES, 0 "a restart reuses the incarnation";
    "start-without-mark" LIVES, 0 "a start draws no mark: an image of the one before is believed";
    "void-starts" LIVES, 0 "a directory that was forsworn starts again";
    "met-not-written" LIVES, 0 "a peer is relied on before it is written down who it is";
    "leaver-let-in" LIVES, 0 "who was removed is let in and never told";
    "vote-alone-unsynced" LIVES, 0 "a write without entries is not worth a sync";
    "witness-sent-data" SENT, 0 "a witness is sent the checkpoint of a data member";
    "first-met-stays" FIRST, 0 "a directory that was never counted is held against a later one";
    "stale-word-published" LIVES, 0 "a leader takes back what a member said to another one";
    "drain-before-hand-over" LIVES, 0 "a leader that is stopped sends its clients away first";
}

/// One line a bug: name, means, quick or full, what it is.
pub fn print() {
    assert_eq!(ALL.len(), base::planted::ALL.len(), "every bug is in the catalogue once");
    for entry in ALL {
        assert!(base::planted::named(entry.name).is_some(), "{} cannot be planted", entry.name);
        let quick = if entry.quick { "quick" } else { "full" };
        println!("{}\t{}\t{quick}\t{}", entry.name, entry.means, entry.text);
    }
}
