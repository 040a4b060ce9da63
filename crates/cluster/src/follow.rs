//! Which configuration may follow which, in one step.

use crate::{BallotRule, Compiled, Configuration};
use base::planted;
use quorum::{Names, Protocol, SystemSpec};

impl Configuration {
    /// The protocol and its ballot rule are for the life of a cluster: with another one, what was
    /// promised would mean something else.
    pub fn changes_rule(&self, new: &Self) -> bool {
        let same = self.protocol == new.protocol && self.rule == new.rule;
        !same && !planted!(BallotRuleChanges)
    }
}

impl Compiled {
    /// Whether `new` may follow directly: members keep their slots, and some system of each
    /// meets the other in every role (joint configurations hold two; Ongaro 2014 section 4.3).
    pub fn may_be_followed_by(&self, new: &Self) -> bool {
        if self.changes_rule(new) || self.changes_a_role(new).is_some() {
            return false;
        }
        for a in &self.members {
            for b in &new.members {
                // A learner stands in no quorum text, so it may still take another name.
                let named = !a.learner && !b.learner;
                let same = (a.id == b.id, a.slot == b.slot, a.name == b.name);
                if same.0 != same.1 || (named && same.0 != same.2) {
                    return false;
                }
            }
        }
        let mut names = Names::new();
        for m in self.members.iter().chain(&new.members).filter(|m| !m.learner) {
            if names.slot(&m.name).is_none() {
                names.insert(m.slot, &m.name);
            }
        }
        let meets =
            self.sides().any(|a| new.sides().any(|b| meet(&a.spec, &b.spec, &names, self.rule)));
        meets || planted!(AnyChangeGoes)
    }
}

fn meet(a: &SystemSpec, b: &SystemSpec, names: &Names, rule: BallotRule) -> bool {
    if a == b {
        return true;
    }
    let disjoint_free = |elect: &quorum::Expr, commit: &quorum::Expr| {
        let pair = SystemSpec { elect: elect.clone(), commit: commit.clone() };
        pair.compile_for(names, Protocol::RaftTermAndNode).is_ok()
    };
    disjoint_free(&a.elect, &b.commit)
        && disjoint_free(&b.elect, &a.commit)
        && (rule == BallotRule::TermAndNode
            || planted!(ChangeSplitsTerms)
            || disjoint_free(&a.elect, &b.elect))
}
