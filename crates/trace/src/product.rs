//! What the replica that ships says of itself, in the words of the trace.

use crate::event::{What, Word};
use base::NodeId;
use cluster::{BallotRule, Configuration};
use consensus::raft::{Trace, Why};
use replica::{RefusalReason, TraceKind, UnknownReason};
use std::borrow::Cow;

/// The event of one replica; `name` says what a member is called.
pub fn product(kind: &TraceKind, name: &dyn Fn(NodeId) -> String) -> What {
    match kind {
        TraceKind::Proposed { id } => What::Propose { id: *id },
        TraceKind::Logged { id, index, ballot } => {
            What::Log { id: *id, index: index.0, ballot: *ballot }
        }
        TraceKind::Persisted { ticket } => What::Persist { ticket: *ticket },
        TraceKind::Applied { index, id, revision, chain } => {
            What::Apply { index: index.0, id: *id, revision: *revision, chain: *chain }
        }
        TraceKind::Deduplicated { index, id } => What::Repeat { index: index.0, id: *id },
        TraceKind::Refused { id, reason, missing } => {
            What::Refuse { id: *id, reason: refusal(*reason), missing: missing.clone() }
        }
        TraceKind::ChangeRefused { id } => {
            What::Refuse { id: *id, reason: Cow::Borrowed("change"), missing: Vec::new() }
        }
        TraceKind::Unknown { id, reason } => What::Unknown { id: *id, reason: unknown(*reason) },
        TraceKind::Replied { id } => What::Reply { id: *id },
        TraceKind::Changing { id, index, by, quorum, joint } => What::Change {
            id: *id,
            index: index.0,
            by: by.clone(),
            quorum: quorum.clone(),
            joint: joint.clone(),
        },
        TraceKind::Installed { index } => What::Install { index: index.0 },
        TraceKind::Diverged { index } => What::Diverged { index: index.0 },
        TraceKind::Raft(event) => raft(event, name),
    }
}

fn raft(event: &Trace, name: &dyn Fn(NodeId) -> String) -> What {
    match *event {
        Trace::BecameFollower { ballot, leader } => {
            What::Follow { ballot, leader: leader.map(name) }
        }
        Trace::PreCampaign { ballot } => What::Ask { ballot },
        Trace::Campaign { ballot } => What::Campaign { ballot },
        Trace::Vote { ballot, to, granted } => What::Vote { ballot, to: name(to), granted },
        Trace::Elected { ballot, votes } => What::Elect { ballot, votes },
        Trace::SteppedDown { ballot, why } => What::StepDown { ballot, why: stepped(why) },
        Trace::Appended { from, to, ballot } => What::Append { from: from.0, to: to.0, ballot },
        Trace::Acked { by, index } => What::Ack { by: name(by), index: index.0 },
        Trace::Quorum { index, acked, ballot } => What::Quorum { index: index.0, acked, ballot },
        Trace::Committed { index } => What::Commit { index: index.0 },
        Trace::Transfer { to } => What::Transfer { to: name(to) },
        Trace::ReadConfirmed { seq, acked } => What::Read { seq, acked },
    }
}

/// How a head names the rule of ballots.
pub const fn rule(rule: BallotRule) -> &'static str {
    match rule {
        BallotRule::SharedTerms => "shared-terms",
        BallotRule::TermAndNode => "term-and-node",
    }
}

/// What a member goes by.
pub fn config(config: &Configuration) -> What {
    let slots = config.members.iter().map(|member| (member.name.clone(), member.slot));
    let learners = config.members.iter().filter(|member| member.learner);
    What::Config {
        quorum: config.quorum.clone(),
        joint: config.joint.clone(),
        slots: slots.collect(),
        learners: learners.map(|member| member.name.clone()).collect(),
    }
}

const fn refusal(reason: RefusalReason) -> Word {
    Cow::Borrowed(match reason {
        RefusalReason::NoLeader => "no-leader",
        RefusalReason::Timeout => "timeout",
        RefusalReason::Overloaded => "overloaded",
        RefusalReason::Diverged => "diverged",
        RefusalReason::Witness => "witness",
        RefusalReason::NoMember => "no-member",
    })
}

const fn unknown(reason: UnknownReason) -> Word {
    Cow::Borrowed(match reason {
        UnknownReason::Timeout => "timeout",
        UnknownReason::InCheckpoint => "in-checkpoint",
    })
}

const fn stepped(why: Why) -> Word {
    Cow::Borrowed(match why {
        Why::HigherBallot => "higher-ballot",
        Why::QuorumLost => "quorum-lost",
        Why::VotesLost => "votes-lost",
        Why::LeaderHeard => "leader-heard",
        Why::Installed => "installed",
        Why::NotVoter => "not-voter",
    })
}
