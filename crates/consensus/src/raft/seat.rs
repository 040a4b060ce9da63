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
