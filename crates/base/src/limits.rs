//! Bounds that have to fit into each other, whichever room holds its part to them.
//!
//! The compiler holds the relations below, so that raising one bound says which others must
//! follow. A bound that stands in no relation to another room's is kept where it is used. Sizes
//! are bytes of the encoded form unless the line says otherwise.

/// Members of one configuration, learners included: a member is one bit of a set.
pub const MEMBERS_MAX: usize = 64;
/// URLs of a kind (peer, client) one member may have.
pub const URLS_MAX: usize = 64;
/// A member's name, or one of its URLs, as a change may have it.
pub const MEMBER_TEXT_BYTES_MAX: usize = 1024;
/// Text of one quorum system.
pub const QUORUM_TEXT_BYTES_MAX: usize = 64 << 10;
/// Members remembered after their removal, so that they are refused by name.
pub const REMOVED_MAX: usize = 64;
/// Named limits a configuration may carry.
pub const LIMITS_MAX: usize = 256;
/// Name of one of them, and its value.
const LIMIT_BYTES_MAX: usize = 64;
/// A configuration, each of its lists and texts as long as may be.
pub const CONFIG_BYTES_MAX: usize = {
    let text = MEMBER_TEXT_BYTES_MAX + 4;
    let member = 2 * URLS_MAX * text + text + 64;
    let texts = 3 * (QUORUM_TEXT_BYTES_MAX + 4);
    let left = REMOVED_MAX * (text + 8);
    MEMBERS_MAX * member + texts + left + LIMITS_MAX * LIMIT_BYTES_MAX + 1024
};
/// The configuration a cluster is born with: it stands in each handshake, so it is far below what
/// changes may make of it.
pub const BOOTSTRAP_BYTES_MAX: usize = 256 << 10;

/// Largest `--max-request-bytes`: a request as its client wrote it.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// A command as the log has it. A transaction of empty ranges grows to nine times its request.
pub const COMMAND_BYTES_MAX: usize = 32 << 20;
/// What a write takes in a forward beside its command: its id, its caller's rules and two lengths.
pub const COMMAND_OVERHEAD_BYTES: usize = 40;
/// Name of whoever asked for it, which comes on top.
pub const USER_BYTES_MAX: usize = 1024;
/// Writes forwarded to a leader at once, but for one command at least.
pub const FORWARD_BYTES_MAX: usize = 8 << 20;
/// Entries of one append to a follower, but for one at least.
pub const APPEND_BYTES_MAX: usize = 1 << 20;
/// Entries sent to a follower and not acknowledged.
pub const INFLIGHT_BYTES_MAX: usize = 16 << 20;
/// A frame between members.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// A frame of the handshake: nobody has shown yet that they are a member.
pub const HELLO_BYTES_MAX: usize = 512 << 10;
/// What waits for one peer; beyond it messages are dropped, which the protocol survives.
pub const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// Writes a leader takes into its log at once, but for one at least.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Entries of a leader's log that are not committed: beyond it nothing is taken, but for changes
/// of members. What no client was answered yet grows memory and disks of all members.
pub const TAIL_ENTRIES_MAX: u64 = 1 << 16;
/// Bytes of their payloads, but for one batch.
pub const TAIL_BYTES_MAX: usize = 256 << 20;
/// Entries of one write of the journal, so that a long queue is not one endless sync; one entry
/// at least.
pub const WRITE_BYTES_MAX: usize = 16 << 20;
/// Payload of one record of the journal.
pub const RECORD_BYTES_MAX: usize = 256 << 20;
/// What a checkpoint states besides the data: configuration, dedupe window, cluster time.
pub const CHECKPOINT_META_BYTES_MAX: usize = 64 << 20;
/// Body of one batch of the journal.
pub const JOURNAL_BATCH_BYTES_MAX: usize = 1 << 30;

/// Writes and reads that wait in one member for their answers.
pub const PENDING_MAX: usize = 16_384;
/// Bytes of those writes: some 40 of the largest a client may send by default.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// Requests between the clients' thread and the one that votes, those that wait there included.
pub const ASKED_MAX: usize = 2 * PENDING_MAX;
/// Bytes of the writes among them, but for one at least.
pub const ASKED_BYTES_MAX: usize = 2 * PENDING_BYTES_MAX;
/// Reads of one member, and those of all members at a leader, that wait for a round. Beyond it a
/// member refuses, and at a leader the oldest gives way: whoever asked asks again.
pub const READS_MAX: usize = 1 << 16;

/// Heads, ids and lengths around a payload, in a frame and in a record: far below this.
const AROUND_BYTES_MAX: usize = 4 << 10;
/// What gRPC and our own form add to a request that is no transaction of empty ranges.
const REQUEST_GROWTH_MAX: usize = 2;

const _: () = {
    // A request fits into a command, a command into each thing that carries one.
    assert!(REQUEST_BYTES_MAX * REQUEST_GROWTH_MAX <= COMMAND_BYTES_MAX);
    assert!(FORWARD_BYTES_MAX + COMMAND_BYTES_MAX + AROUND_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(APPEND_BYTES_MAX + COMMAND_BYTES_MAX + AROUND_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(COMMAND_OVERHEAD_BYTES + USER_BYTES_MAX < AROUND_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX + 2 * AROUND_BYTES_MAX < RECORD_BYTES_MAX);
    assert!(FRAME_BYTES_MAX <= OUTGOING_BYTES_MAX, "an empty queue takes any frame");
    assert!(FRAME_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
    // A configuration is an entry like any, and stands in each checkpoint.
    assert!(CONFIG_BYTES_MAX <= COMMAND_BYTES_MAX, "whatever carries a command carries one");
    assert!(2 * CONFIG_BYTES_MAX < CHECKPOINT_META_BYTES_MAX, "the rest has room beside it");
    assert!(CHECKPOINT_META_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
    // An append is in flight before the next one waits for it.
    assert!(APPEND_BYTES_MAX < INFLIGHT_BYTES_MAX);
    // The handshake names a member with all its URLs, and what its cluster was born with: 64
    // members with a name and a URL each, and any quorum.
    let text = MEMBER_TEXT_BYTES_MAX + 4;
    let own = (2 * URLS_MAX + 1) * text;
    assert!(BOOTSTRAP_BYTES_MAX + own + AROUND_BYTES_MAX < HELLO_BYTES_MAX);
    let born = MEMBERS_MAX * (2 * text + 64) + QUORUM_TEXT_BYTES_MAX;
    assert!(born + AROUND_BYTES_MAX < BOOTSTRAP_BYTES_MAX);
    assert!(BOOTSTRAP_BYTES_MAX < CONFIG_BYTES_MAX);
    assert!(HELLO_BYTES_MAX < FRAME_BYTES_MAX);
    // One batch of proposals and what waits in the log are writes of the journal.
    assert!(BATCH_BYTES_MAX + COMMAND_BYTES_MAX < JOURNAL_BATCH_BYTES_MAX);
    assert!(WRITE_BYTES_MAX + RECORD_BYTES_MAX + AROUND_BYTES_MAX < JOURNAL_BATCH_BYTES_MAX);
    assert!(RECORD_BYTES_MAX < JOURNAL_BATCH_BYTES_MAX);
    assert!(JOURNAL_BATCH_BYTES_MAX < u32::MAX as usize, "its length is a u32");
    // Whoever waits is in the log, or about to be.
    assert!(PENDING_MAX as u64 <= TAIL_ENTRIES_MAX);
    assert!(PENDING_BYTES_MAX <= TAIL_BYTES_MAX);
    assert!(PENDING_MAX <= READS_MAX, "a member's own reads all wait in it");
    assert!(BATCH_BYTES_MAX <= TAIL_BYTES_MAX);
    assert!(PENDING_MAX <= ASKED_MAX && PENDING_BYTES_MAX <= ASKED_BYTES_MAX, "on their way too");
    assert!(COMMAND_BYTES_MAX <= PENDING_BYTES_MAX, "one write of any size may wait");
};
