//! Writes: from a client or a follower into the leader's log.

use super::Replica;
use crate::envelope::{Envelope, EnvelopeBody};
use crate::pending::{Sent, Write};
use crate::taken::{Taken, encoded_len};
use crate::{
    Effects, Forwarded, PeerBody, PeerMessage, Refusal, RefusalReason, Reply, TraceKind,
    UnknownReason,
};
use alloc::vec::Vec;
use base::limits::{BATCH_BYTES_MAX, COMMAND_BYTES_MAX, FORWARD_BYTES_MAX};
use base::{Blob, ClusterTime, LogIndex, Nanos, NodeId, RequestId, Token, planted};
use consensus::raft::EntryKind;
use mvcc::{Caller, Command};

/// Lease expiries proposed at once; the rest waits for the next tick.
pub(super) const REVOKES_PER_STEP_MAX: usize = 500;
/// The slack a lease may gain at a change of leader while nothing is written.
const MARK_INTERVAL: Nanos = Nanos::from_millis(1000);
/// While compacted versions wait to be removed and nobody writes, marks carry the removal on.
const SWEEP_INTERVAL: Nanos = Nanos::from_millis(50);

impl Replica {
    pub(super) fn on_propose(
        &mut self,
        token: Token,
        caller: Caller,
        command: Command,
        out: &mut Effects,
    ) {
        if let Some(reason) = self.serves_no_data() {
            out.replies.push((token, self.refusal(reason)));
            return;
        }
        if let Err(error) = self.store.validate(&command) {
            let index = LogIndex::ZERO;
            out.replies.push((token, Reply::Applied { index, result: Err(error) }));
            return;
        }
        if self.writes.len() + self.reads.len() >= self.settings.pending_max {
            out.replies.push((token, self.refusal(RefusalReason::Overloaded)));
            return;
        }
        let bytes = encoded_len(&command);
        if bytes > COMMAND_BYTES_MAX {
            // Only operations that say little are so much longer here than on their way in.
            let result = Err(mvcc::Error::TooManyOps);
            out.replies.push((token, Reply::Applied { index: LogIndex::ZERO, result }));
            return;
        }
        let waiting = self.writes.bytes();
        if waiting > 0 && waiting + bytes > self.settings.pending_bytes_max {
            out.replies.push((token, self.refusal(RefusalReason::Overloaded)));
            return;
        }
        let seq = self.seq_next;
        self.seq_next += 1;
        assert!(seq > 0, "sequence 0 is the machine's own");
        let deadline = self.now.plus(self.settings.request_timeout);
        self.writes.park(seq, token, (caller, command, bytes), deadline);
        self.emit(out, || TraceKind::Proposed { id: self.own_id(seq) });
    }

    /// Who does not lead says nothing: the origin offers them again when it knows another leader,
    /// or after the retry interval.
    pub(super) fn on_forward(&mut self, from: NodeId, items: Vec<Forwarded>) {
        let is_member = self.raft.config().member(from).is_some();
        if self.raft.is_leader() && !self.diverged && is_member {
            let good = items.into_iter().filter_map(|item| Taken::forwarded(from, item));
            self.batch.extend(good);
        }
    }

    /// After a change of leader every unanswered write is offered again under its own id.
    pub(super) fn resend_all(&mut self) {
        self.writes.offer_all_again();
        self.changes.offer_again();
    }

    /// Hands waiting writes to the leader's log, here or there, as one batch.
    pub(super) fn flush_writes(&mut self, out: &mut Effects) {
        if let Some(leader) = self.raft.leader() {
            if leader != self.settings.raft.id {
                let own = self.take_due(leader, Some(self.settings.raft.election_timeout_min));
                for piece in pieces(own, FORWARD_BYTES_MAX) {
                    let piece = piece.into_iter().map(Taken::forward).collect();
                    let body = PeerBody::Forward(piece);
                    out.send.push(PeerMessage { from: self.settings.raft.id, to: leader, body });
                }
            } else if self.raft.takes_proposals() && !self.raft.has_room() {
                // Nobody commits what waits in the log already.
                let parked = self.writes.parked_until(Nanos(u64::MAX));
                self.refuse_writes(parked, out);
            } else if self.raft.takes_proposals() {
                let own = self.take_due(leader, None);
                self.batch.extend(own);
            }
        }
        let batch = core::mem::take(&mut self.batch);
        for piece in pieces(batch, BATCH_BYTES_MAX) {
            if self.raft.is_leader() {
                self.append(piece, out);
            }
        }
    }

    /// Writes never sent, or sent so long ago that the forward may be lost; some of them now, the
    /// others in the next step, where all would be too many for one.
    fn take_due(&mut self, leader: NodeId, retry: Option<Nanos>) -> Vec<Taken> {
        let again = retry.map(|retry| self.now.plus(retry));
        let (origin, incarnation) = (self.settings.raft.id, self.incarnation());
        let offered = self.writes.offer(self.now, leader, again).into_iter();
        let taken = |(seq, caller, command, bytes)| {
            let id = RequestId { origin, incarnation, seq };
            Taken::own(id, caller, command, bytes)
        };
        offered.map(taken).collect()
    }

    fn append(&mut self, batch: Vec<Taken>, out: &mut Effects) {
        // What an earlier leader left in the log is not appended once more.
        let mut batch = batch;
        batch.retain(|write| !self.tail.contains_key(&write.id) || planted!(TailWithoutEnd));
        if batch.is_empty() {
            return;
        }
        let stamp = self.clock.estimate(self.now);
        let items = batch.iter().map(|write| (EntryKind::Data, write.payload(stamp)));
        // Leadership in transfer takes nothing: our own writes are sent again to whoever leads,
        // and a follower repeats its forward.
        let Ok(first) = self.raft.propose(self.now, items, &mut self.ready) else {
            self.resend_all();
            return;
        };
        let ballot = self.raft.ballot();
        let upto = LogIndex(first.0 + batch.len() as u64 - 1);
        assert!(upto <= self.raft.last().0, "one entry a write, and perhaps a mark behind them");
        for (offset, Taken { id, command, .. }) in batch.into_iter().enumerate() {
            let index = LogIndex(first.0 + offset as u64);
            self.tail.insert(id, Some(command));
            self.emit(out, || TraceKind::Logged { id, index, ballot });
        }
    }

    /// Requests in the log of a new leader that may not be committed: no more than one step may go
    /// through. A request among those that are committed and not applied may be appended once more;
    /// it is applied once, as every repeated one.
    pub(super) fn read_tail(&mut self) {
        self.tail.clear();
        let from = self.applied.max(self.raft.commit()).next();
        for entry in self.raft.entries(from, self.raft.last().0) {
            let data = entry.kind == EntryKind::Data;
            if let Some(Ok(envelope)) = data.then(|| Envelope::decode(&entry.payload)) {
                self.tail.insert(envelope.id, None);
            }
        }
    }

    /// Requests that waited too long get the outcome that is true of them.
    pub(super) fn expire(&mut self, out: &mut Effects) {
        let now = self.now;
        let mut parked = Vec::new();
        for (seq, write) in self.writes.expired(now) {
            match write.sent {
                Sent::Parked => parked.push((seq, write)),
                Sent::Gone { .. } if planted!(RefusedThoughSent) => {
                    out.replies.push((write.token, self.refusal(RefusalReason::NoLeader)));
                }
                Sent::Gone { .. } => self.give_up(seq, &write, UnknownReason::Timeout, out),
            }
        }
        self.refuse_writes(parked, out);
        let wait = self.settings.leaderless_wait;
        if let Some(since) = self.leaderless_since
            && self.raft.leader().is_none()
            && now >= since.plus(wait)
        {
            self.refuse_parked(out);
        }
        self.expire_reads(out);
        self.expire_changes(out);
    }

    fn refuse_parked(&mut self, out: &mut Effects) {
        let waited = self.settings.request_timeout.since(self.settings.leaderless_wait);
        let parked = self.writes.parked_until(self.now.plus(waited));
        self.refuse_writes(parked, out);
    }

    /// Writes that never left this member waited for a leader in vain.
    fn refuse_writes(&self, writes: Vec<(u64, Write)>, out: &mut Effects) {
        if writes.is_empty() {
            return;
        }
        // Who is missing is the same for all of them.
        let (reason, missing) = (RefusalReason::NoLeader, self.missing());
        for (seq, write) in writes {
            assert!(write.sent == Sent::Parked, "what left this member may have been applied");
            let id = self.own_id(seq);
            let refusal = Refusal { reason, leader: self.raft.leader(), missing: missing.clone() };
            out.replies.push((write.token, Reply::Refused(refusal)));
            self.emit(out, || TraceKind::Refused { id, reason, missing: missing.clone() });
            self.emit(out, || TraceKind::Replied { id });
        }
    }

    pub(super) fn give_up(
        &self,
        seq: u64,
        write: &Write,
        reason: UnknownReason,
        out: &mut Effects,
    ) {
        let id = self.own_id(seq);
        out.replies.push((write.token, Reply::Unknown(reason)));
        self.emit(out, || TraceKind::Unknown { id, reason });
        self.emit(out, || TraceKind::Replied { id });
    }

    /// A leader proposes the expiry of leases whose deadline its cluster time has passed, and a
    /// mark when nothing else moved cluster time, or the removal of what is compacted, for a while.
    pub(super) fn expire_leases(&mut self) {
        if !self.raft.is_leader() || !self.raft.leader_ready() {
            return;
        }
        let time = self.clock.estimate(self.now);
        let expired = self.store.lease_expired(time, REVOKES_PER_STEP_MAX);
        assert!(expired.len() <= REVOKES_PER_STEP_MAX, "expiries of a step are bounded");
        let mut payloads = Vec::new();
        for (id, renewal) in expired.iter().copied().filter(|one| !self.revoking.contains(one)) {
            let mut bytes = Vec::new();
            Command::LeaseRevoke { id, renewal: Some(renewal) }.encode(&mut bytes);
            let body = EnvelopeBody::Command(&bytes);
            payloads.push(self.of_its_own(time, body));
        }
        // Those that ended, or were renewed, are forgotten with it.
        self.revoking = expired.into_iter().collect();
        let quiet = time.0.saturating_sub(self.clock.last().0);
        let marks = (self.store.lease_deadline().is_some() && quiet >= MARK_INTERVAL.0)
            || self.store.alarm_ends().is_some_and(|end| time >= end)
            || (self.store.is_sweeping() && quiet >= SWEEP_INTERVAL.0);
        if payloads.is_empty() && marks && self.idle() {
            payloads.push(self.of_its_own(time, EnvelopeBody::Mark));
        }
        if !payloads.is_empty() {
            let items = payloads.into_iter().map(|payload| (EntryKind::Data, payload));
            if self.raft.propose(self.now, items, &mut self.ready).is_err() {
                self.revoking.clear();
            }
        }
    }

    /// Nothing is on its way through the log, so a mark would not pile up behind a lost quorum.
    fn idle(&self) -> bool {
        self.applied == self.raft.last().0
    }

    pub(super) fn own_id(&self, seq: u64) -> RequestId {
        RequestId { origin: self.settings.raft.id, incarnation: self.incarnation(), seq }
    }

    /// Proposals of the machine itself wait for nobody and are idempotent: sequence number zero
    /// marks them as outside the dedupe window.
    fn of_its_own(&self, stamp: ClusterTime, body: EnvelopeBody<'_>) -> Blob {
        Envelope { id: self.own_id(0), stamp, caller: Caller::nobody(), body }.encode()
    }
}

/// Writes in pieces of at most `bytes_max`, or of a single larger one, in order.
fn pieces(writes: Vec<Taken>, bytes_max: usize) -> Vec<Vec<Taken>> {
    let mut pieces: Vec<Vec<_>> = Vec::new();
    let (mut bytes, count) = (0, writes.len());
    for write in writes {
        let size = write.size();
        bytes += size;
        match pieces.last_mut() {
            Some(piece) if bytes <= bytes_max => piece.push(write),
            _ => {
                bytes = size;
                pieces.push(Vec::from([write]));
            }
        }
        let alone = pieces.last().is_some_and(|piece| piece.len() == 1);
        assert!(bytes <= bytes_max || alone, "a piece is short, or of one write");
    }
    assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), count, "no write is left out");
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pieces_hold_all_in_order_and_a_larger_write_is_one_of_its_own() {
        let write = |size: &usize| {
            Taken::of_size(Caller::new(Blob::from(&b"root"[..]), 1).expect("short"), *size)
        };
        let cut = |sizes: &[usize]| -> Vec<Vec<usize>> {
            let writes = sizes.iter().map(write).collect();
            let of = |piece: Vec<Taken>| piece.iter().map(|w| w.bytes).collect();
            pieces(writes, 100).into_iter().map(of).collect()
        };
        assert_eq!(cut(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(cut(&[6, 6, 6]), [vec![6, 6], vec![6]]);
        assert_eq!(cut(&[300, 1, 56, 0, 300]), [vec![300], vec![1], vec![56], vec![0], vec![300]]);
    }
}
