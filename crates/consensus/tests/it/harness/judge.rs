//! What must hold at every step: one leader a ballot, who is counted has it on disk, commits stay.

use super::*;

impl Cluster {
    /// What a message states of its sender's promise and log is on its disk when it leaves.
    pub(super) fn check_stated(&self, id: NodeId, message: &Message) {
        let disk = &self.nodes[&id].disk;
        match &message.body {
            Body::Vote { last, last_ballot, .. } => {
                assert!(disk.ballot >= message.ballot, "n{id} asks before it has promised");
                let here = |e: &Entry| e.index == *last && e.ballot == *last_ballot;
                // One held back until its log was another is void: nobody counts its answers.
                let void = self.nodes[&id].raft.as_ref().unwrap().last() != (*last, *last_ballot);
                let holds = void || disk.base >= *last || disk.entries.iter().any(here);
                assert!(holds, "n{id} asks with {last} of {last_ballot}, which is not durable");
            }
            Body::VoteReply { of, granted: true } => {
                assert!(disk.ballot >= *of, "n{id} votes {of} and promises {}", disk.ballot);
            }
            _ => {}
        }
    }

    /// One leader a ballot, and it holds everything committed before (Raft, figure 3).
    pub(super) fn check_leader(&mut self, id: NodeId, ballot: Ballot) {
        if self.genesis.rule == BallotRule::SharedTerms {
            let term = self.leaders.keys().find(|b| b.term == ballot.term);
            assert!(term.is_none(), "term {} elected {id} and {term:?}", ballot.term);
        }
        let other = self.leaders.insert(ballot, id);
        assert!(other.is_none(), "{ballot} elected {id} and {other:?}");
        let raft = self.nodes[&id].raft.as_ref().unwrap();
        let (last, base) = (raft.last().0, self.nodes[&id].disk.base);
        // One that slept through its election may know nothing of later ones.
        let until = self.decided.range(..ballot).map(|(_, index)| *index).max();
        let until = until.unwrap_or(LogIndex::ZERO);
        let owed = |index: &LogIndex| *index > base && *index <= until;
        for (index, (of, payload)) in self.committed.iter().filter(|(i, _)| owed(i)) {
            let entry = raft.entries(*index, *index).next();
            // Compacted entries are covered by a checkpoint that is not in `disk` any more.
            let covered = entry.is_none() && *index <= raft.commit();
            let holds = entry.is_some_and(|e| e.ballot == *of && e.payload == *payload);
            assert!(!raft.is_witness(), "n{id} leads without data");
            assert!(covered || holds, "n{id} leads {ballot} without {index} (last {last})");
        }
    }

    /// Who is counted for a leader is an elect set, and has promised it on disk.
    pub(super) fn check_votes(&self, id: NodeId, ballot: Ballot, votes: quorum::NodeSet) {
        let config = self.nodes[&id].raft.as_ref().unwrap().config();
        assert!(config.system().elect().is_quorum(votes), "n{id} is elected by no quorum");
        for slot in votes.iter() {
            let member = config.id_of(slot).expect("only members are counted");
            let promise = self.nodes[&member].disk.ballot;
            assert!(promise >= ballot, "n{id} counts the vote of n{member}, which has {promise}");
        }
    }

    /// The set a leader says it counted is a commit set, and every member of it has the entry
    /// on its disk at this moment.
    pub(super) fn check_quorum(&self, id: NodeId, index: LogIndex, acked: quorum::NodeSet) {
        let raft = self.nodes[&id].raft.as_ref().unwrap();
        let config = raft.config();
        assert!(config.system().commit().is_quorum(acked), "n{id} counts no quorum");
        let ballot = raft.ballot_at(index);
        for slot in acked.iter() {
            let member = config.id_of(slot).expect("only members are counted");
            assert!(config.voters().contains(slot), "n{member} does not vote");
            let disk = &self.nodes[&member].disk;
            let entry = disk.entries.iter().find(|e| e.index == index).map(|e| e.ballot);
            // An old acknowledgement of a damaged member still counts: it keeps its vote back.
            let damaged = self.nodes[&member].repair.is_some();
            let holds = damaged || disk.base >= index || entry == ballot;
            assert!(holds, "n{id} counts {index} at n{member}, whose disk has {entry:?}");
        }
        self.check_copies(config, index, acked);
    }

    /// What is committed is on the disks of a commit set of data members, or of all that the
    /// witnesses that were counted do not hold a record against.
    pub(super) fn check_copies(
        &self,
        config: &cluster::Compiled,
        index: LogIndex,
        acked: quorum::NodeSet,
    ) {
        let witnesses = config.witnesses();
        let copies = acked.minus(witnesses);
        let system = config.system();
        if system.commit().is_quorum(copies) {
            return;
        }
        let missing = config.voters().intersect(system.support()).minus(witnesses).minus(copies);
        assert!(!copies.is_empty(), "nobody has the data of {index}");
        for slot in acked.intersect(witnesses).iter() {
            let disk = &self.nodes[&config.id_of(slot).unwrap()].disk;
            let record = disk.entries.iter().rev().find(|e| e.kind == EntryKind::Config);
            let record = record.map(|e| Configuration::decode(&e.payload).unwrap());
            let out = record.as_ref().unwrap_or(&disk.base_config).out();
            assert!(missing.is_subset(out), "{index} counts a witness that knows of no loss");
        }
    }

    /// Two logs that agree at one (index, ballot) agree at every index below (Raft, figure 3).
    pub fn check_log_matching(&self) {
        let rafts: Vec<_> = self.nodes.values().filter_map(|n| n.raft.as_ref()).collect();
        for (i, a) in rafts.iter().enumerate() {
            for b in &rafts[i + 1..] {
                let mut at = a.last().0.min(b.last().0);
                let ballots = |at| a.ballot_at(at).zip(b.ballot_at(at));
                while ballots(at).is_some_and(|(a, b)| a != b) {
                    at = at.prev();
                }
                while let (Some(x), Some(y)) = (a.entries(at, at).next(), b.entries(at, at).next())
                {
                    let hollow = [x.kind, y.kind].contains(&EntryKind::Stripped);
                    let (x, y) = if hollow { (&x.stripped(), &y.stripped()) } else { (x, y) };
                    assert_eq!(x, y, "logs agree above {at} and differ there");
                    at = at.prev();
                }
            }
        }
    }

    /// Every commit agrees with every other, and none is ever lost.
    pub(super) fn check(&mut self, id: NodeId) {
        self.steps += 1;
        if self.steps.is_multiple_of(64) {
            self.check_log_matching();
        }
        let Some(raft) = &self.nodes[&id].raft else { return };
        let from = self.seen[&id].next();
        for entry in raft.entries(from, raft.commit()) {
            let value = (entry.ballot, entry.payload.clone());
            if entry.kind == EntryKind::Config && !self.committed.contains_key(&entry.index) {
                self.configs_committed += 1;
            }
            if entry.kind == EntryKind::Stripped {
                let known = self.committed[&entry.index].0;
                assert_eq!(known, value.0, "witness n{id} has another entry at {}", entry.index);
                continue;
            }
            let known = self.committed.entry(entry.index).or_insert_with(|| value.clone());
            assert_eq!(*known, value, "n{id} committed another entry at {}", entry.index);
        }
        self.seen.insert(id, raft.commit());
    }
}
