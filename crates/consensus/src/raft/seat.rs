//! Who takes part: a directory that no committed configuration names grants no vote and is counted
//! for nothing, so that one that was emptied is believed by nobody, met or not
//! (`docs/design/births.md`).
//!
//! The configuration holds each member's life: the birth of its directory, and its latest start.
//! A leader writes down whom it hears; such an entry changes no quorum, so it is safe like any.
//! Where nobody is written down yet there is no cluster, and those who elect its first leader
//! found it: they are counted from the start. A birth that was written down never changes.

use super::message::{EntryKind, Invite};
use super::{Raft, Ready, Role};
use alloc::vec::Vec;
use base::{Blob, Life, NodeId, Ticket, planted};
use cluster::{Compiled, Member};

/// Whether this member's own birth stands in a committed configuration, durably known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    None,
    /// It does, and this write makes that survive a restart.
    Taking(Ticket),
    Taken,
}

impl Raft {
    pub(crate) fn life(&self) -> Life {
        Life { birth: self.settings.birth, incarnation: self.settings.incarnation }
    }

    /// Whether the log here names nobody, committed or not: this member may found the cluster with
    /// others, and counts those whom nobody has written down.
    pub(crate) fn names_nobody(&self) -> bool {
        !self.configs.config().is_founded()
    }

    /// Whether a leader here would write `from` down at once, and count it from then on: nobody is
    /// named by what is committed, and this one not at all.
    pub(crate) fn would_seat(&self, from: NodeId) -> bool {
        self.is_unfounded() && self.configs.config().life_of(from) == Life::UNKNOWN
    }

    /// Whether this member knows of no committed configuration that names anybody.
    pub(crate) fn is_unfounded(&self) -> bool {
        !self.configs.config_at(self.commit).is_founded()
    }

    /// Whether this member may vote and acknowledge: its birth stands in a configuration that was
    /// committed without counting it, or in one that founds the cluster.
    pub fn is_seated(&self) -> bool {
        let named = planted!(BirthsIgnored) || self.seat == Seat::Taken;
        planted!(FreshTakesPart) || named || self.configs.founds(self.settings.id, self.life())
    }

    /// Whether the write that keeps its seat is under way.
    pub fn is_taking_seat(&self) -> bool {
        matches!(self.seat, Seat::Taking(_))
    }

    /// One that repairs, or has no seat, says how far it is, and nothing that counts.
    pub(crate) fn is_silent_member(&self) -> bool {
        self.is_repairing() || !self.is_seated()
    }

    /// Whether what a sender of this life says may be taken for the word of member `from`.
    pub fn is_itself(&self, from: NodeId, life: Life) -> bool {
        let named = self.configs.config().life_of(from);
        let known = named == Life::UNKNOWN || planted!(BirthsIgnored);
        let early = life.is_before(named) && !planted!(HeldIsAcked);
        known || (named.birth == life.birth && !early)
    }

    /// Whether a vote of this life counts: its birth is the one written down. While nobody is
    /// written down at all, everyone's does.
    pub(crate) fn counts_vote_of(&self, from: NodeId, life: Life) -> bool {
        let config = self.configs.config();
        planted!(BirthsIgnored) || self.names_nobody() || config.names(from, life)
    }

    /// What a request for the vote of `to` says to one that does not know its seat.
    pub(crate) fn invite(&self, to: NodeId) -> Invite {
        let named = self.configs.config().life_of(to);
        let committed = self.configs.config_at(self.commit).names(to, named);
        if committed || self.configs.founds(to, named) {
            Invite::Named(named.birth)
        } else if self.names_nobody() {
            Invite::Founding
        } else {
            Invite::Unknown
        }
    }

    /// Whether a candidate that says so may be answered.
    pub(crate) fn may_answer(&self, invite: Invite) -> bool {
        self.is_seated()
            || match invite {
                Invite::Unknown => false,
                Invite::Founding => true,
                Invite::Named(birth) => birth == self.settings.birth,
            }
    }

    /// The first entry of a reign: whoever voted is written down, if that is news.
    pub(crate) fn append_first(&mut self, voters: &[(NodeId, Life)], out: &mut Ready) {
        assert!(self.is_leader(), "a reign begins with its leader");
        let mut lives = voters.to_vec();
        lives.push((self.settings.id, self.life()));
        let mut config = self.configs.config().clone();
        let founding = self.names_nobody();
        if config.record(&lives, founding, founding) {
            self.append_config(config, out);
        } else {
            let index = self.append_own(EntryKind::Empty, Blob::from(&[][..]));
            let ballot = self.promise.get();
            self.trace(out, super::Trace::Appended { from: index, to: index, ballot });
        }
    }

    /// At a leader: writes down members that were heard and are not written down, and later starts
    /// of those that are. While it founds the cluster, only if it cannot commit without them.
    pub(crate) fn record_lives(&mut self, out: &mut Ready) {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        let founding = self.is_unfounded();
        if leader.transfer.is_some() {
            return;
        }
        if founding {
            if self.configs.system().commit().is_quorum(self.configs.config().met()) {
                return;
            }
        } else if !self.leader_ready() || !self.config_is_committed() {
            return;
        }
        let differs = |p: &&super::progress::Peer| {
            let named = self.configs.config().life_of(p.id);
            let first = named == Life::UNKNOWN && p.life != Life::UNKNOWN;
            first || named.is_before(p.life)
        };
        let lives: Vec<_> = leader.peers.iter().filter(differs).map(|p| (p.id, p.life)).collect();
        if lives.is_empty() {
            return;
        }
        let mut config = self.configs.config().clone();
        if config.record(&lives, true, founding) {
            self.keep_out(&mut config);
            self.append_config(config, out);
        }
    }

    /// Where there are witnesses commits wait for every data member that is not marked out: one
    /// that was just written down is marked until it has caught up, for it is not counted yet.
    fn keep_out(&self, config: &mut Compiled) {
        let (before, roles) = (self.configs.config(), self.configs.roles());
        if roles.witnesses.is_empty() || config.change.founding {
            return;
        }
        let new = |m: &&Member| {
            before.life_of(m.id) == Life::UNKNOWN
                && m.life != Life::UNKNOWN
                && roles.holders.contains(m.slot)
                && !before.change.out.contains(&m.id)
        };
        let ids: Vec<NodeId> = config.members.iter().filter(new).map(|m| m.id).collect();
        config.mark_out([config.change.out.as_slice(), &ids].concat());
    }

    /// Whether a configuration that names this member was just seen committed: that is written
    /// before it is acted on, or a restart would forget it while others count on this member.
    pub(crate) fn takes_seat(&self) -> bool {
        let named = || self.configs.config_at(self.commit).names(self.settings.id, self.life());
        self.seat == Seat::None && named()
    }

    /// The write that keeps the seat is durable: from now on this member is counted.
    pub(crate) fn sit_down(&mut self, through: Ticket) {
        if matches!(self.seat, Seat::Taking(ticket) if ticket <= through) {
            self.seat = Seat::Taken;
            let deadline = self.random_deadline();
            if let Some(follower) = self.follower_mut() {
                follower.deadline = deadline;
            }
            self.acknowledge_commit();
        }
    }

    /// Takes note of who the sender of an answer is. False for an earlier start than one heard.
    pub(crate) fn note_life(&mut self, from: NodeId, life: Life) -> bool {
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { return true };
        let Some(peer) = leader.peer_mut(from) else { return true };
        if life.is_before(peer.life) {
            return planted!(HeldIsAcked);
        }
        if peer.life != life {
            let first = peer.life == Life::UNKNOWN;
            peer.life = life;
            if !first {
                peer.begin_again(last);
            }
            self.note_seats();
        }
        true
    }

    /// At a leader: who of the peers is whom the configuration in force names.
    pub(crate) fn note_seats(&mut self) {
        let config = self.configs.config();
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        for peer in &mut leader.peers {
            let named = peer.life == Life::UNKNOWN || config.names(peer.id, peer.life);
            peer.seated = named || planted!(BirthsIgnored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::repair::Standing;
    use super::super::{Repair, progress::State};
    use super::*;
    use crate::raft::tests::machine::*;
    use base::{Ballot, Birth, Incarnation, LogIndex};
    use cluster::Configuration;

    fn three() -> Configuration {
        config(3, MAJORITY)
    }

    fn unmet() -> Configuration {
        met(three(), &[])
    }

    fn start(birth: u64, incarnation: u64) -> Life {
        Life { birth: Birth(birth), incarnation: Incarnation(incarnation) }
    }

    /// A follower whose log founds the cluster with members 1 and 2 in entry 1.
    fn founded_by_two(id: u64, commit: u64) -> Raft {
        let mut raft = raft(id, unmet());
        takes(&mut raft, founding(met(three(), &[1, 2])));
        raft.commit = LogIndex(commit);
        raft
    }

    #[test]
    fn whoever_is_not_named_is_seated_at_once_while_nobody_is_by_what_is_committed() {
        let raft_of_nobody = raft(1, unmet());
        assert!(raft_of_nobody.names_nobody() && raft_of_nobody.is_unfounded());
        assert!(raft_of_nobody.would_seat(NodeId(2)));
        for (commit, unfounded) in [(0, true), (1, false)] {
            let raft = founded_by_two(1, commit);
            assert!(!raft.names_nobody(), "its log does");
            assert_eq!(raft.is_unfounded(), unfounded, "commit {commit}");
            assert!(!raft.would_seat(NodeId(2)), "it is named already");
            assert_eq!(raft.would_seat(NodeId(3)), unfounded, "commit {commit}");
        }
    }

    #[test]
    fn a_member_is_seated_by_a_founding_or_by_what_is_durable_of_its_seat() {
        for (id, seat, seated) in [
            (3, Seat::None, false),
            (3, Seat::Taking(Ticket(1)), false),
            (3, Seat::Taken, true),
            (2, Seat::None, true),
        ] {
            for repairs in [false, true] {
                let mut raft = founded_by_two(id, 0);
                raft.seat = seat;
                if repairs {
                    let (ballot, index) = (Ballot::new(1, 1), LogIndex(1));
                    raft.standing = Standing::Repairing(Repair { ballot, index });
                }
                assert_eq!(raft.is_seated(), seated, "{id} {seat:?}");
                assert_eq!(raft.is_taking_seat(), seat == Seat::Taking(Ticket(1)), "{seat:?}");
                assert_eq!(raft.is_silent_member(), repairs || !seated, "{id} {seat:?} {repairs}");
            }
        }
    }

    #[test]
    fn a_member_takes_its_seat_once_when_a_committed_configuration_names_it() {
        for (id, commit, seat, takes) in [
            (2, 1, Seat::None, true),
            (2, 0, Seat::None, false),
            (3, 1, Seat::None, false),
            (2, 1, Seat::Taking(Ticket(1)), false),
            (2, 1, Seat::Taken, false),
        ] {
            let mut raft = founded_by_two(id, commit);
            raft.seat = seat;
            assert_eq!(raft.takes_seat(), takes, "{id}, commit {commit}, {seat:?}");
        }
    }

    #[test]
    fn a_seat_is_taken_when_its_write_is_durable() {
        for (through, taken) in [(1, false), (2, true), (3, true)] {
            let mut raft = founded_by_two(2, 1);
            raft.seat = Seat::Taking(Ticket(2));
            let before = raft.follower().expect("it follows").deadline;
            raft.now = TIMEOUT.plus(TIMEOUT);
            raft.sit_down(Ticket(through));
            assert_eq!(raft.seat == Seat::Taken, taken, "durable through {through}");
            let deadline = raft.follower().expect("it follows").deadline;
            assert_eq!(deadline > before, taken, "and waits for a leader anew");
        }
    }

    #[test]
    fn a_word_is_a_members_if_its_directory_says_so_in_no_earlier_start() {
        let mut config = three();
        config.members[1].life = start(2, 5);
        config.members[2].life = Life::UNKNOWN;
        let raft = raft(1, config);
        for (from, life, itself) in [
            (2, start(2, 5), true),
            (2, start(2, 6), true),
            (2, start(2, 4), false),
            (2, start(9, 5), false),
            (2, start(9, 9), false),
            (3, start(9, 9), true),
        ] {
            assert_eq!(raft.is_itself(NodeId(from), life), itself, "{from} {life:?}");
        }
        assert!(raft.counts_vote_of(NodeId(2), start(2, 9)));
        assert!(!raft.counts_vote_of(NodeId(2), start(9, 9)), "another directory");
        assert!(!raft.counts_vote_of(NodeId(3), start(3, 1)), "nobody wrote it down");
        assert!(
            crate::raft::tests::machine::raft(1, unmet()).counts_vote_of(NodeId(3), start(3, 1))
        );
    }

    #[test]
    fn an_invitation_says_what_the_candidates_log_knows_of_a_seat() {
        let nobody = raft(1, unmet());
        assert_eq!(nobody.invite(NodeId(2)), Invite::Founding);
        for commit in [0, 1] {
            let raft = founded_by_two(1, commit);
            assert_eq!(raft.invite(NodeId(2)), Invite::Named(Birth(2)), "it founds");
            assert_eq!(raft.invite(NodeId(3)), Invite::Unknown);
        }
        // Named by an entry that founds nothing: that counts once it is committed.
        for (commit, invite) in [(0, Invite::Unknown), (1, Invite::Named(Birth(3)))] {
            let mut raft = raft(1, met(three(), &[1, 2]));
            takes(&mut raft, three());
            raft.commit = LogIndex(commit);
            assert_eq!(raft.invite(NodeId(3)), invite, "commit {commit}");
        }
    }

    #[test]
    fn who_has_no_seat_answers_a_founder_and_who_knows_its_directory() {
        let (seated, other) = (raft(2, three()), raft(3, met(three(), &[1, 2])));
        for (invite, answers) in [
            (Invite::Unknown, false),
            (Invite::Founding, true),
            (Invite::Named(Birth(3)), true),
            (Invite::Named(Birth(2)), false),
        ] {
            assert_eq!(other.may_answer(invite), answers, "{invite:?}");
            assert!(seated.may_answer(invite), "{invite:?}");
        }
    }

    fn peer_lives(raft: &mut Raft, lives: &[(u64, Life)]) {
        lives.iter().for_each(|(id, life)| peer(raft, *id).life = *life);
    }

    /// The lives of members 1 to 3 in the configuration in force.
    fn named(raft: &Raft) -> Vec<Life> {
        raft.config().members.iter().map(|m| m.life).collect()
    }

    #[test]
    fn a_leader_writes_down_who_is_not_and_later_starts_once_it_may() {
        let known = [start(1, 1), start(2, 1), Life::UNKNOWN];
        for (third, second, entries, lives) in [
            (start(3, 1), start(2, 1), 1, [known[0], known[1], start(3, 1)]),
            (Life::UNKNOWN, start(2, 2), 1, [known[0], start(2, 2), known[2]]),
            (Life::UNKNOWN, start(2, 1), 0, known),
            (start(3, 1), start(2, 2), 1, [known[0], start(2, 2), start(3, 1)]),
        ] {
            let mut raft = leads(met(three(), &[1, 2]), 4);
            raft.commit = LogIndex(4);
            peer_lives(&mut raft, &[(2, second), (3, third)]);
            raft.record_lives(&mut Ready::default());
            assert_eq!(raft.log.last_index(), LogIndex(4 + entries));
            assert_eq!(named(&raft), lives);
            assert!(!raft.config().change.founding);
            raft.record_lives(&mut Ready::default());
            assert_eq!(raft.log.last_index(), LogIndex(4 + entries), "one change at a time");
        }
    }

    #[test]
    fn a_leader_writes_nobody_down_before_it_may() {
        for (commit, pending, hands_over, writes) in [
            (4, false, false, true),
            (0, false, false, false),
            (4, true, false, false),
            (4, false, true, false),
        ] {
            let mut raft = leads(met(three(), &[1, 2]), 4);
            if pending {
                raft.append_config(compiled(met(three(), &[1, 2])), &mut Ready::default());
            }
            raft.commit = LogIndex(commit);
            if hands_over {
                raft.start_transfer(Some(NodeId(2)), &mut Ready::default());
            }
            let last = raft.log.last_index();
            peer_lives(&mut raft, &[(2, start(2, 1)), (3, start(3, 1))]);
            raft.record_lives(&mut Ready::default());
            let wrote = raft.log.last_index() > last;
            assert_eq!(wrote, writes, "commit {commit}, pending {pending}, {hands_over}");
        }
    }

    /// By checkpoint nobody is named; the entry of its election names members 1 and 2.
    #[test]
    fn a_leader_that_founds_writes_down_only_whom_it_cannot_commit_without() {
        for (quorum, writes) in [(MAJORITY, false), ("3 of (n1, n2, n3)", true)] {
            let mut raft = leads(met(config(3, quorum), &[]), 1);
            assert!(raft.config().change.founding && raft.is_unfounded());
            assert_eq!(named(&raft), [start(1, 1), start(2, 1), Life::UNKNOWN]);
            peer_lives(&mut raft, &[(2, start(2, 1)), (3, start(3, 1))]);
            raft.record_lives(&mut Ready::default());
            assert_eq!(raft.log.last_index(), LogIndex(1 + u64::from(writes)), "{quorum}");
            assert!(raft.config().change.founding);
            assert_eq!(raft.config().met().contains(2), writes);
        }
    }

    #[test]
    fn where_there_are_witnesses_a_data_member_just_written_down_is_out_until_it_caught_up() {
        let four = "majority(n1, n2, n3, witness(n4))";
        for (quorum, known, new, founds, out) in [
            (four, &[1, 2, 4][..], &[3][..], false, &[3][..]),
            (four, &[1, 2], &[3, 4], false, &[3]),
            (four, &[1], &[2, 3], false, &[2, 3]),
            (four, &[1, 2, 3], &[4], false, &[]),
            (four, &[1, 2, 4], &[3], true, &[]),
            ("majority(n1, n2, n3, n4)", &[1, 2, 4], &[3], false, &[]),
        ] {
            let base = met(config(4, quorum), known);
            let raft = leads(base.clone(), 1);
            let all: Vec<u64> = known.iter().chain(new).copied().collect();
            let mut next = met(config(4, quorum), &all);
            next.change.founding = founds;
            let mut next = compiled(next);
            raft.keep_out(&mut next);
            let expected: Vec<NodeId> = out.iter().map(|id| NodeId(*id)).collect();
            assert_eq!(next.change.out, expected, "{quorum}: {new:?} after {known:?}");
        }
        // Who is out already stays so, once; who learns is waited for by nobody.
        let mut base = marked(met(config(4, four), &[1, 2]), &[3]);
        let raft = leads(base.clone(), 1);
        base.members[2].life = life(3);
        let mut next = compiled(base);
        raft.keep_out(&mut next);
        assert_eq!(next.change.out, [NodeId(3)]);
        let mut base = met(config(5, four), &[1, 2, 3, 4]);
        base.members[4].learner = true;
        let raft = leads(base.clone(), 1);
        base.members[4].life = life(5);
        let mut next = compiled(base);
        raft.keep_out(&mut next);
        assert_eq!(next.change.out, [], "5 learns");
    }

    #[test]
    fn an_answer_of_another_start_begins_with_the_peer_anew_and_an_earlier_one_is_dropped() {
        let mut raft = leads(three(), 9);
        let state = |raft: &mut Raft| {
            let peer = peer(raft, 2);
            (peer.life, peer.matched, peer.seated)
        };
        holds(&mut raft, 2, 5);
        assert!(raft.note_life(NodeId(2), start(2, 3)), "the first one heard");
        assert_eq!(state(&mut raft), (start(2, 3), LogIndex(5), true), "keeps what it said");
        assert!(raft.note_life(NodeId(2), start(2, 3)), "the same");
        assert_eq!(state(&mut raft).1, LogIndex(5));
        assert!(!raft.note_life(NodeId(2), start(2, 2)), "an earlier one");
        assert_eq!(state(&mut raft), (start(2, 3), LogIndex(5), true));
        assert!(raft.note_life(NodeId(2), start(2, 4)), "a later one");
        assert_eq!(state(&mut raft), (start(2, 4), LogIndex::ZERO, true));
        assert_eq!(peer(&mut raft, 2).state, State::Probe { sent: false });
        assert!(raft.note_life(NodeId(2), start(7, 1)), "another directory");
        assert_eq!(state(&mut raft), (start(7, 1), LogIndex::ZERO, false), "which has no seat");
        assert!(raft.note_life(NodeId(9), start(9, 1)), "nobody knows it");
        assert!(raft_of(2).note_life(NodeId(1), start(1, 1)), "who follows takes no note");
    }

    fn raft_of(id: u64) -> Raft {
        raft(id, three())
    }

    #[test]
    fn a_peer_has_its_seat_unless_it_was_heard_from_another_directory() {
        let mut raft = leads(three(), 1);
        peer_lives(&mut raft, &[(2, Life::UNKNOWN), (3, start(7, 1))]);
        raft.note_seats();
        assert_eq!((peer(&mut raft, 2).seated, peer(&mut raft, 3).seated), (true, false));
        peer_lives(&mut raft, &[(2, start(8, 1)), (3, start(3, 2))]);
        raft.note_seats();
        assert_eq!((peer(&mut raft, 2).seated, peer(&mut raft, 3).seated), (false, true));
    }
}
