//! What a failing schedule prints.

use super::*;

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.lines.len().saturating_sub(60);
            self.lines[from..].iter().for_each(|line| eprintln!("{line}"));
            for (id, node) in &self.nodes {
                let Some(r) = &node.raft else { continue };
                let roles = r.config().members.iter();
                let marks = |m: &Member| match (m.learner, m.life == Life::UNKNOWN) {
                    (false, false) => "",
                    (false, true) => "!",
                    (true, false) => "?",
                    (true, true) => "?!",
                };
                let members = roles.map(|m| format!("{}{}", m.name, marks(m)));
                let (members, config) = (members.collect::<Vec<_>>().join(" "), r.config());
                eprintln!(
                    "n{id} seated {} {} last {:?} commit {} members {members}, {:?} joint {:?}",
                    r.is_seated(),
                    r.ballot(),
                    r.last(),
                    r.commit(),
                    config.quorum,
                    config.joint
                );
            }
        }
    }
}

pub(super) fn show(trace: &Trace) -> String {
    let set =
        |s: &quorum::NodeSet| s.iter().map(|s| format!("n{}", s + 1)).collect::<Vec<_>>().join("+");
    match trace {
        Trace::BecameFollower { ballot, leader } => {
            format!("follows {} at {ballot}", leader.map_or("nobody".into(), |l| format!("n{l}")))
        }
        Trace::PreCampaign { ballot } => format!("pre-campaigns {ballot}"),
        Trace::Campaign { ballot } => format!("campaigns {ballot}"),
        Trace::Vote { ballot, to, granted } => {
            format!("{} n{to} at {ballot}", if *granted { "votes for" } else { "refuses" })
        }
        Trace::Elected { ballot, votes } => format!("elected {ballot} by {}", set(votes)),
        Trace::SteppedDown { ballot, why } => format!("steps down from {ballot}: {why:?}"),
        Trace::Appended { from, to, ballot } => format!("appends {from}..={to} at {ballot}"),
        Trace::Acked { by, index } => format!("hears n{by} has {index}"),
        Trace::Quorum { index, acked, ballot } => {
            format!("quorum for {index} at {ballot}: {}", set(acked))
        }
        Trace::Committed { index } => format!("commits {index}"),
        Trace::Transfer { to } => format!("hands over to n{to}"),
        Trace::ReadConfirmed { seq, acked } => format!("confirms read {seq}: {}", set(acked)),
    }
}
