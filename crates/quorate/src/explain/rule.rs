//! What a member goes by, and what a set of votes amounts to under it.

use quorum::{Expr, Family, NODES_MAX, Names, NodeSet, System, SystemSpec};
use trace::{Head, What};

/// Quorums listed when none is whole.
const LISTED_MAX: usize = 8;

/// One system, or two while one takes over from the other.
#[derive(Clone)]
pub struct Rule {
    pub names: Names,
    pub system: System,
    specs: Vec<SystemSpec>,
}

#[derive(Clone, Copy)]
pub enum Role {
    Elect,
    Commit,
}

impl Rule {
    fn new(names: Names, texts: &[&str]) -> Result<Self, String> {
        let specs: Result<Vec<_>, _> = texts.iter().map(|text| SystemSpec::parse(text)).collect();
        let specs = specs.map_err(|error| error.to_string())?;
        let compiled: Result<Vec<System>, _> =
            specs.iter().map(|spec| spec.compile(&names)).collect();
        let all = compiled.map_err(|error| error.to_string())?;
        let joint = all.into_iter().reduce(|old, new| System::joint(&old, &new));
        Ok(Self { names, system: joint.ok_or("a system without a text")?, specs })
    }

    /// What the first members began with.
    pub fn first(head: &Head) -> Result<Self, String> {
        let names = Names::in_order(head.names.iter().take(NODES_MAX)); // it may say anything
        Self::new(names, &[&head.quorum])
    }

    /// From a `config` event; none from another one.
    pub fn read(what: &What) -> Option<Result<Self, String>> {
        let What::Config { quorum, joint, slots, learners } = what else { return None };
        let mut names = Names::new();
        for (name, slot) in slots.iter().filter(|(name, _)| !learners.contains(name)) {
            if usize::from(*slot) < NODES_MAX {
                names.insert(*slot, name);
            }
        }
        let texts: Vec<&str> =
            [Some(quorum), joint.as_ref()].into_iter().flatten().map(|t| &t[..]).collect();
        Some(Self::new(names, &texts))
    }

    /// In the words of the family; of both while two decide.
    pub fn words(&self, role: Role, set: NodeSet) -> String {
        let expr = |spec: &SystemSpec| -> Expr {
            match role {
                Role::Elect => spec.elect.clone(),
                Role::Commit => spec.commit.clone(),
            }
        };
        let told: Vec<String> =
            self.specs.iter().map(|spec| expr(spec).explain(&self.names, set)).collect();
        told.join("; and in the quorum to come: ")
    }

    pub const fn family(&self, role: Role) -> &Family {
        match role {
            Role::Elect => self.system.elect(),
            Role::Commit => self.system.commit(),
        }
    }

    /// What a set amounts to: the words, the quorum inside it, and who it hangs on.
    pub fn weigh(&self, role: Role, set: NodeSet) -> Vec<String> {
        let (family, names) = (self.family(role), &self.names);
        let mut lines =
            vec![format!("  {}", self.words(role, family.minimal_within(set).unwrap_or(set)))];
        let Some(minimal) = family.minimal_within(set) else {
            let missing = family.what_is_missing(set);
            lines.push(format!("  no quorum inside; {} would make one", names.show(missing)));
            let (mut sets, all) = family.minimal_quorums_max(LISTED_MAX);
            sets.sort_by_key(|quorum| quorum.minus(set).len());
            for quorum in sets {
                let absent = quorum.minus(set);
                let near = if absent.len() == 1 { ": one vote away" } else { "" };
                let (quorum, absent) = (names.show(quorum), names.show(absent));
                lines.push(format!("    {quorum} lacks {absent}{near}"));
            }
            if !all {
                lines.push("    ... and more".to_owned());
            }
            return lines;
        };
        lines.push(format!("  a minimal quorum inside: {}", names.show(minimal)));
        let needed: NodeSet = set
            .iter()
            .filter(|slot| !family.is_quorum(set.minus(NodeSet::from_iter([*slot]))))
            .collect();
        lines.push(if needed.is_empty() {
            "  any one of them could be missing".to_owned()
        } else {
            format!("  one vote away: without any of {}", names.show(needed))
        });
        lines
    }
}
