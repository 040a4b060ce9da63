//! Bounds that have to fit into each other, whichever room holds its part to them.
//!
//! Every bound of a queue, an answer or a frame stands here, and the compiler holds the relations
//! between them, so that raising one says which others must follow. What bounds the work of one
//! call alone (a parser, a search, a slice) is kept where it is used, and so are bounds of time.
//! Sizes are bytes of the encoded form unless the line says otherwise.

// The configuration.

/// Members of one configuration, learners included: a member is one bit of a set.
pub const MEMBERS_MAX: usize = 64;
/// URLs of a kind (peer, client) one member may have.
pub const URLS_MAX: usize = 64;
/// A member's name, or one of its URLs, as a change may have it.
pub const MEMBER_TEXT_BYTES_MAX: usize = 1024;
/// Text of one quorum system.
pub const QUORUM_TEXT_BYTES_MAX: usize = 64 << 10;
/// Learners that somebody asked for as such; as etcd's `--max-learners`.
pub const LEARNERS_MAX: usize = 1;
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

// A write on its way: request, command, frame.

/// Largest `--max-request-bytes`: a request as its client wrote it.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// The bound unless it is set, as in etcd.
pub const REQUEST_BYTES_DEFAULT: usize = 1536 << 10;
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
// Between members.

/// A frame between members.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// A frame of the handshake: nobody has shown yet that they are a member.
pub const HELLO_BYTES_MAX: usize = 512 << 10;
/// What waits for one peer; beyond it messages are dropped, which the protocol survives.
pub const OUTGOING_BYTES_MAX: usize = 64 << 20;
/// What one peer has sent and the thread that votes has not taken; beyond it the peer's stream is
/// not read on. A larger message comes alone.
pub const PEER_UNHANDLED_BYTES_MAX: usize = 32 << 20;
/// Handshakes under way on the peer port; beyond it the oldest gives way.
pub const HANDSHAKES_MAX: usize = 128;
/// Peers outside the configuration that are answered, and whose word is kept: a leader that this
/// member has not heard of yet, a newcomer.
pub const STRANGERS_MAX: usize = 64;
/// Peers whose directories a member remembers: those of its configuration and others.
pub const PEERS_MET_MAX: usize = 4 * MEMBERS_MAX;
/// Checkpoints that are taken in at once: a thread each.
pub const CHECKPOINTS_TAKEN_MAX: usize = 8;
/// Refusals of peers that the log has told of and does not repeat.
pub const REFUSALS_TOLD_MAX: usize = 64;
/// Lines of the log that wait for its reader; more are dropped.
pub const LOG_LINES_MAX: usize = 8 << 10;
/// Versions that a member gives in the place of a damaged block of another one.
pub const MEND_BYTES_MAX: usize = 32 << 20;
/// Bytes of a checkpoint that one frame carries.
pub const CHECKPOINT_CHUNK_BYTES: usize = 256 << 10;
/// Largest checkpoint taken from a peer.
pub const CHECKPOINT_BYTES_MAX: u64 = 1 << 40;

// Log, journal and checkpoint.

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
/// A version or a leaf of the index, as a value or index file has it: a key and its value, or what
/// an index says of one key.
pub const STORED_BYTES_MAX: usize = 64 << 20;
/// What an index file states besides the index.
pub const INDEX_META_BYTES_MAX: usize = 1 << 20;
/// Body of one batch of the journal.
pub const JOURNAL_BATCH_BYTES_MAX: usize = 1 << 30;

// What one step of the thread that votes looks at.

/// Operations and compares of one transaction, those of nested ones and of branches not taken
/// among them: it is checked and begun as one piece. etcd bounds each path only.
pub const TXN_OPERATIONS_MAX: usize = 8 << 10;
/// Operations of what clients asked for that one step takes in, but for one request.
pub const STEP_OPERATIONS_MAX: usize = 8 << 10;

// What waits in the machine.

/// Writes and reads that wait in one member for their answers.
pub const PENDING_MAX: usize = 16_384;
/// Bytes of those writes: some 40 of the largest a client may send by default.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// Of those writes, what one step offers to a leader: after an election all of them are.
pub const OFFERED_MAX: usize = 4096;
/// Bytes of what one step offers, but for the last one.
pub const OFFERED_BYTES_MAX: usize = 4 << 20;
/// Requests between the clients' thread and the one that votes, those that wait there included.
pub const ASKED_MAX: usize = 2 * PENDING_MAX;
/// Those of one connection.
pub const ASKED_OF_ONE_MAX: usize = PENDING_MAX - PENDING_MAX / 8;
/// Bytes of the writes among them, but for one at least.
pub const ASKED_BYTES_MAX: usize = 2 * PENDING_BYTES_MAX;
/// Bytes of those of one connection, but for one at least.
pub const ASKED_OF_ONE_BYTES_MAX: usize = PENDING_BYTES_MAX - PENDING_BYTES_MAX / 8;
/// Reads of one member, and those of all members at a leader, that wait for a round. Beyond it a
/// member refuses, and at a leader the oldest gives way: whoever asked asks again.
pub const READS_MAX: usize = 1 << 16;

/// Changes of the configuration pending at one member.
pub const CHANGES_PENDING_MAX: usize = 64;
/// Refusals a leader repeats when a frame comes twice: what was refused is never done later.
pub const CHANGES_REFUSED_MAX: usize = 64;
/// Past hashes kept for the comparison of states, and what others say of theirs.
pub const HASHES_MAX: usize = 64;
/// Sequence numbers remembered above the floor, for each origin of writes.
pub const SEEN_MAX: usize = 8192;
/// Origins of one encoded window: only members have one.
pub const ORIGINS_MAX: usize = MEMBERS_MAX;
/// What the reads of one transaction answer with at most, as the quota counts it. Nested ones can
/// be tens of thousands, and every member builds the answer of one that writes: without a bound a
/// small entry in the log could fill the memory of all of them, and again at each restart.
pub const TXN_ANSWER_BYTES_MAX: u64 = 1 << 30;

// What waits at the door.

/// Reads that wait for their turn or for room.
pub const READS_WAITING_MAX: usize = PENDING_MAX;
/// Long reads under way.
pub const LONG_MAX: usize = 4;
/// Lists of which the last page is remembered.
pub const PAGES_MAX: usize = 64;
/// Bytes of the two ends of one; a list with longer ones is counted anew each time.
pub const ENDS_BYTES_MAX: usize = 4096;
/// Watchers of one errand: many that came back together are looked at in one go.
pub const ERRAND_WATCHERS_MAX: usize = 128;
/// Events told and not heard at which no more are told, those of one step besides: whoever is that
/// far behind reads history.
pub const EVENTS_UNHEARD_MAX: usize = 1 << 18;
/// Bytes of the changes heard last that are kept besides the newest batch, for watchers whose turn
/// has not come since.
pub const RECENT_BYTES_MAX: usize = 4 << 20;
/// A batch of a watcher is closed once it has so many bytes, at a revision's end.
pub const BATCH_BYTES_TARGET: usize = 1 << 20;

// Answers, from the smallest to all of them.

/// A longer piece is not copied into an outbox: it goes to the kernel from where it is.
pub const COPIED_BYTES_MAX: usize = 4 << 10;
/// What a connection sends in one turn, put together: some tens of small answers. Also what one
/// client that reads nothing can have there.
pub const OUTBOX_BYTES_MAX: usize = 16 << 10;
/// Bytes of a stream's message that is written at once: about as long as it takes to ask another
/// thread.
pub const STREAM_AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer that is written down at once. A longer one is written bit by bit, as whoever
/// asked takes it.
pub const AT_ONCE_BYTES_MAX: usize = 128 << 10;
/// Reads that wait for a few versions to be read from files, no more bytes of each than of an
/// answer that is written at once; others go on where long reads do.
pub const FETCHING_MAX: usize = 64;
/// Bytes of an answer that is written down at once though what was sent before lies untaken.
pub const ROOMLESS_BYTES_MAX: usize = 4 << 10;
/// Streams of ranges that hold all that was found, since it is in another order than the keys'.
pub const SORTED_STREAMS_MAX: usize = 2;
/// Bytes of a chunk, which the last item of it overshoots: some tenths of a millisecond.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Unsent bytes the kernel holds for one connection before it takes no more.
pub const KERNEL_UNSENT_BYTES_MAX: u32 = 256 << 10;
/// Unsent bytes that are nobody's concern: a client may leave some of its streams unread.
pub const UNSENT_TOLERATED_BYTES_MAX: usize = 4 << 20;
/// Unsent bytes of one connection at which nothing more is read for it or asked for by it; the
/// answers of what it asked for before overshoot.
pub const CONNECTION_UNSENT_BYTES_MAX: usize = 8 << 20;
/// What an unsent answer counts for beside its bytes: frames and a stream are kept of each, two of
/// these or so.
pub const ANSWER_OVERHEAD_BYTES: usize = 1 << 10;
/// What an answer is counted as at most: counting all of a longer one takes long.
pub const COUNTED_BYTES_MAX: usize = 8 << 20;
/// Unsent bytes of one connection at which its writes are refused: their answers may be long too,
/// and cannot wait once the write is applied.
pub const CONNECTION_HELD_BYTES_MAX: usize = 64 << 20;
/// Unsent bytes of all connections at which nothing more is read for whoever has some of them.
pub const ALL_UNSENT_BYTES_MAX: usize = 256 << 20;
/// Longest answer: what etcd sends at most (`server/etcdserver/api/v3rpc/grpc.go`).
pub const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

// What clients may hold and waste.

/// Client connections, as far as the process may open so many files; beyond it a new one waits
/// unaccepted, as with etcd.
pub const CONNECTIONS_MAX: usize = 1 << 16;
/// Calls one connection may have open; the oldest idle streams make room for more.
pub const STREAMS_MAX: u32 = 1 << 16;
/// Watchers of one stream. etcd has no such bound; known users have some ten thousands.
pub const WATCHERS_MAX: usize = 1 << 18;
/// Watchers of all streams, each some 500 bytes.
pub const ALL_WATCHERS_MAX: usize = 1 << 20;
/// gRPC's receive allowance on top of `max-request-bytes`, as in etcd (`embed/config.go`).
pub const GRPC_OVERHEAD_BYTES: usize = 512 << 10;
/// Request bytes of one stream that HTTP/2 may carry ahead of whoever reads them.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same of one connection: what streams whose requests are left unread hold together.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes of requests one connection may have under way, begun or whole and not answered: as many
/// as writes may wait in a member.
pub const CONNECTION_REQUESTS_BYTES_MAX: usize = 64 << 20;
/// The same of all connections together.
pub const ALL_REQUESTS_BYTES_MAX: usize = 256 << 20;
/// Head of an HTTP/2 request, as its fields count (RFC 9113, section 6.5.2). grpc-go's default of
/// 16 MiB is no bound; gRPC's C core takes 16 KiB, and a token with many claims is longer at times.
pub const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Calls a client may cancel before they were looked at; a burst of timeouts is not an attack.
pub const CANCELLED_UNSEEN_MAX: usize = 8 << 10;
/// Calls a client may take back at once, seen or not.
pub const RESETS_MAX: u64 = 8 << 10;
/// Head of an HTTP/1.1 request, and what is read ahead of its body.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Lines of such a head.
pub const HTTP_HEADERS_MAX: usize = 64;
/// What a client may still say after it was told to go.
pub const UNHEARD_BYTES_MAX: u64 = 16 << 20;
/// Answers of a watch stream that wait before its requests are left unread: a client that does not
/// read is not served.
pub const ANSWERS_MAX: usize = 128;
/// Keep-alives of one stream renewed by one log entry.
pub const RENEW_BATCH_MAX: usize = 256;
/// Streams for which something is read and written apart at once: enough to keep the threads busy
/// that do it.
pub const PERMITS_MAX: usize = 8;

// What a member records of itself.

/// Largest `--record`, in events: about 200 MB.
pub const RECORD_MAX: usize = 1_000_000;
/// Events on their way to the thread, beside those of one step: what comes on top is dropped.
pub const RECORD_QUEUED_MAX: usize = 1 << 16;
/// Events of one page: the most that may be asked for, and what there is unless it is.
pub const PAGE_EVENTS_MAX: usize = 4096;
/// Leaders that a merged trace remembers: those of the highest ballots.
pub const TRACE_LEADERS_MAX: usize = 64;

/// Heads, ids and lengths around a payload, in a frame and in a record: far below this.
const AROUND_BYTES_MAX: usize = 4 << 10;
/// What gRPC and our own form add to a request that is no transaction of empty ranges.
const REQUEST_GROWTH_MAX: usize = 2;

// What is on its way between members and into the journal.
const _: () = {
    // A request fits into a command, a command into each thing that carries one.
    assert!(REQUEST_BYTES_MAX * REQUEST_GROWTH_MAX <= COMMAND_BYTES_MAX);
    assert!(FORWARD_BYTES_MAX + COMMAND_BYTES_MAX + AROUND_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(APPEND_BYTES_MAX + COMMAND_BYTES_MAX + AROUND_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(COMMAND_OVERHEAD_BYTES + USER_BYTES_MAX < AROUND_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX + 2 * AROUND_BYTES_MAX < RECORD_BYTES_MAX);
    assert!(FRAME_BYTES_MAX <= OUTGOING_BYTES_MAX, "an empty queue takes any frame");
    assert!(FRAME_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
    assert!(INFLIGHT_BYTES_MAX < PEER_UNHANDLED_BYTES_MAX, "what a leader may send is read");
    assert!(2 * MEMBERS_MAX <= HANDSHAKES_MAX, "a stream and a checkpoint from each at once");
    // A configuration is an entry like any, and stands in each checkpoint.
    assert!(CONFIG_BYTES_MAX <= COMMAND_BYTES_MAX, "whatever carries a command carries one");
    assert!(2 * CONFIG_BYTES_MAX < CHECKPOINT_META_BYTES_MAX, "the rest has room beside it");
    assert!(CHECKPOINT_META_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
    // What a command writes is kept, one version each.
    assert!(COMMAND_BYTES_MAX + AROUND_BYTES_MAX < STORED_BYTES_MAX);
    assert!(STORED_BYTES_MAX + AROUND_BYTES_MAX < u32::MAX as usize, "its length is a u32");
    assert!(INDEX_META_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
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
    assert!(ASKED_OF_ONE_MAX < PENDING_MAX, "one connection stops no other");
    assert!(ASKED_OF_ONE_BYTES_MAX < PENDING_BYTES_MAX, "nor with bytes");
};

// What is kept, and what is answered.
const _: () = {
    // The dedupe window stands in each checkpoint beside two configurations.
    let origin = SEEN_MAX * 8 + 64;
    assert!(ORIGINS_MAX * origin + 2 * CONFIG_BYTES_MAX < CHECKPOINT_META_BYTES_MAX);
    assert!(ORIGINS_MAX >= MEMBERS_MAX, "every member may ask for writes");
    assert!(PEERS_MET_MAX > MEMBERS_MAX, "every member is remembered, and a newcomer");
    assert!(CHECKPOINT_CHUNK_BYTES + AROUND_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(CHECKPOINT_META_BYTES_MAX as u64 <= CHECKPOINT_BYTES_MAX);
    // Whatever may be found may be sent.
    assert!(TXN_ANSWER_BYTES_MAX <= ANSWER_BYTES_MAX as u64, "the quota counts more than is sent");
    assert!(ANSWER_BYTES_MAX <= u32::MAX as usize, "its length is a u32");
    // Each read that waits asks the thread that votes for a round, at most.
    assert!(READS_WAITING_MAX <= PENDING_MAX && READS_WAITING_MAX <= ASKED_MAX);
    // A turn, a chunk, a connection, all of them.
    assert!(COPIED_BYTES_MAX < OUTBOX_BYTES_MAX && OUTBOX_BYTES_MAX < CHUNK_BYTES);
    assert!(MEND_BYTES_MAX + STORED_BYTES_MAX / 2 <= FRAME_BYTES_MAX);
    assert!(STREAM_AT_ONCE_BYTES_MAX <= AT_ONCE_BYTES_MAX && AT_ONCE_BYTES_MAX < CHUNK_BYTES);
    assert!(2 * CHUNK_BYTES < UNSENT_TOLERATED_BYTES_MAX, "one chunk taken, one ready");
    let event = 2 * REQUEST_BYTES_DEFAULT;
    assert!(CHUNK_BYTES + event < UNSENT_TOLERATED_BYTES_MAX, "a value and the one before it");
    assert!(ROOMLESS_BYTES_MAX * PENDING_MAX <= CONNECTION_HELD_BYTES_MAX, "of all that wait");
    assert!(KERNEL_UNSENT_BYTES_MAX as usize <= UNSENT_TOLERATED_BYTES_MAX);
    assert!(
        UNSENT_TOLERATED_BYTES_MAX < CONNECTION_UNSENT_BYTES_MAX,
        "who holds more is looked at"
    );
    assert!(CONNECTION_UNSENT_BYTES_MAX < CONNECTION_HELD_BYTES_MAX, "reads wait before writes do");
    assert!(CONNECTION_HELD_BYTES_MAX < ALL_UNSENT_BYTES_MAX, "one client stops no other");
    assert!(CONNECTION_UNSENT_BYTES_MAX <= COUNTED_BYTES_MAX, "what is not counted fills a share");
    assert!(COUNTED_BYTES_MAX < CONNECTION_HELD_BYTES_MAX, "one answer refuses no write");
    // What clients say.
    assert!(STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES, "one stream stops no other");
    let request = REQUEST_BYTES_MAX + GRPC_OVERHEAD_BYTES;
    assert!(request < CONNECTION_REQUESTS_BYTES_MAX, "one of any size passes");
    assert!(PENDING_BYTES_MAX <= CONNECTION_REQUESTS_BYTES_MAX, "one client may fill a member");
    assert!(2 * CONNECTION_REQUESTS_BYTES_MAX <= ALL_REQUESTS_BYTES_MAX, "and nobody's share");
    assert!(WATCHERS_MAX < ALL_WATCHERS_MAX, "one stream of watchers stops no other");
    // What is told of changes.
    assert!(STREAM_AT_ONCE_BYTES_MAX < BATCH_BYTES_TARGET && BATCH_BYTES_TARGET < RECENT_BYTES_MAX);
    assert!(CHUNK_BYTES <= BATCH_BYTES_TARGET, "an errand finds a chunk at least");
    assert!(CANCELLED_UNSEEN_MAX as u64 <= RESETS_MAX, "what is seen is counted with what was not");
    // What is recorded.
    assert!(PAGE_EVENTS_MAX <= RECORD_MAX && RECORD_QUEUED_MAX <= RECORD_MAX);
};
