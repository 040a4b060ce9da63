//! A configuration with what its quorum texts mean: read, proved safe and compiled once, where the
//! texts come in. Whoever decides holds one of these and never a text.

use crate::change::ChangeError;
use crate::error::ConfigError;
use crate::{BallotRule, Configuration, Roles};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::{Life, NodeId, planted};
use core::ops::Deref;
use quorum::{Names, NodeSet, Protocol, System, SystemSpec};

/// A configuration and the systems it stands for. Made by [`Configuration::compile`] alone, so what
/// it says of safety was proved; reads as its [`Configuration`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    config: Configuration,
    /// Of `config.quorum`.
    old: Side,
    /// Of `config.joint`, and the system of both.
    joint: Option<(Side, System)>,
    roles: Roles,
    /// Where the change under way goes from here, or why it cannot: prepared once, since a leader
    /// looks at it in every step.
    next: Option<Result<Box<Compiled>, ChangeError>>,
}

/// One quorum text, read and compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub spec: SystemSpec,
    pub system: System,
}

impl Configuration {
    /// Reads, proves and compiles the quorum texts: the system in force, and where a change under
    /// way leads. The only way to a [`Compiled`], and the only costly step: up to a search through
    /// pairs of quorums.
    ///
    /// # Errors
    /// Members that contradict each other, a text that cannot be read or names who is no voter,
    /// quorums that miss each other (`docs/quorums.md`).
    pub fn compile(self) -> Result<Compiled, ConfigError> {
        self.check_members()?;
        let names = self.voter_names();
        let old = self.side(&self.quorum, &names)?;
        let new = match &self.joint {
            Some(text) => Some(self.side(text, &names)?),
            None => None,
        };
        let mut compiled = Compiled::of(self, old, new);
        compiled.prepare();
        Ok(compiled)
    }

    fn side(&self, text: &str, names: &Names) -> Result<Side, ConfigError> {
        let spec = SystemSpec::parse(text)
            .map_err(|e| ConfigError::new(alloc::format!("quorum {text:?}: {e}")))?;
        let protocol = match self.rule {
            BallotRule::SharedTerms => Protocol::RaftSharedTerms,
            BallotRule::TermAndNode => Protocol::RaftTermAndNode,
        };
        let system = spec
            .compile_for(names, protocol)
            .map_err(|e| ConfigError::new(alloc::format!("quorum {text:?}: {e}")))?;
        Ok(Side { spec, system })
    }

    /// Names a quorum text may use: voters only, so that a learner can never be counted.
    pub(crate) fn voter_names(&self) -> Names {
        let mut names = Names::new();
        for m in self.members.iter().filter(|m| !m.learner) {
            let free = names.insert(m.slot, &m.name);
            assert!(free, "members were checked to be unique");
        }
        names
    }

    /// Slots of the members that one of these texts, or the one a newcomer waits for, calls
    /// `witness(..)`.
    fn marked(&self, sides: &[&Side]) -> NodeSet {
        let waiting = self.change.quorum.as_deref().and_then(|t| SystemSpec::parse(t).ok());
        let specs = sides.iter().map(|side| &side.spec).chain(&waiting);
        let names: Vec<&str> = specs.flat_map(SystemSpec::witnesses).collect();
        let marked = self.members.iter().filter(|m| names.contains(&m.name.as_str()));
        marked.map(|m| m.slot).collect()
    }

    /// Whether the others can elect and commit while `id` takes no part; the error says who is
    /// too few. Compiles: for a start, not for a step.
    pub fn decides_without(&self, id: NodeId) -> Result<(), String> {
        let compiled = self.clone().compile().map_err(|error| error.message)?;
        let system = compiled.system();
        let mut others = self.voters();
        self.slot_of(id).map(|slot| others.remove(slot));
        if system.elect().is_quorum(others) && system.commit().is_quorum(others) {
            return Ok(());
        }
        let voters = self.members.iter().filter(|m| !m.learner && m.id != id);
        let names: Vec<&str> = voters.map(|m| m.name.as_str()).collect();
        Err(alloc::format!("the others ({}) are no quorum without this member", names.join(", ")))
    }
}

impl Compiled {
    /// Another configuration with the same voters and quorum text.
    ///
    /// # Errors
    /// Members that contradict each other.
    pub(crate) fn same_texts(&self, config: Configuration) -> Result<Self, ConfigError> {
        config.check_members()?;
        assert!(self.joint.is_none() && config.quorum == self.quorum, "the texts stay");
        assert_eq!(config.voters(), self.voters(), "the voters stay");
        let mut compiled = Self::of(config, self.old.clone(), None);
        compiled.prepare();
        Ok(compiled)
    }

    /// From sides that were compiled for these voters, or for fewer of them under the same names
    /// and slots: more voters change nothing that a text says.
    pub(crate) fn of(config: Configuration, old: Side, new: Option<Side>) -> Self {
        assert_eq!(config.joint.is_some(), new.is_some(), "as many systems as texts");
        let sides: Vec<&Side> = core::iter::once(&old).chain(&new).collect();
        let witnesses = config.marked(&sides);
        let joint = new.map(|new| {
            let both = System::joint(&old.system, &new.system);
            let both = if planted!(JointCountsNewOnly) { new.system.clone() } else { both };
            (new, both)
        });
        let roles = Roles { witnesses, ..Roles::default() };
        let mut compiled = Self { config, old, joint, roles, next: None };
        compiled.roles = compiled.find_roles();
        assert!(compiled.system().support().is_subset(compiled.voters()), "voters are counted");
        compiled
    }

    /// As one whose way on was prepared with it.
    pub(crate) fn leading_to(mut self, next: Compiled) -> Self {
        assert!(self.is_changing() && self.next.is_none(), "what is under way leads somewhere");
        self.next = Some(Ok(Box::new(next)));
        self
    }

    /// Looks where the change under way leads, if one is.
    fn prepare(&mut self) {
        self.next = None;
        if self.joint.is_some() {
            let done = self.done().compile();
            self.next = Some(done.map(Box::new).map_err(ChangeError::from));
        } else if self.change.promote.is_some() {
            self.next = Some(self.join().map(Box::new));
        }
        assert_eq!(self.next.is_some(), self.is_changing(), "what is under way leads somewhere");
    }

    /// The configuration alone, as it is encoded.
    pub fn config(&self) -> &Configuration {
        &self.config
    }

    /// The system in force: of both texts while one is moved to.
    pub fn system(&self) -> &System {
        self.joint.as_ref().map_or(&self.old.system, |(_, both)| both)
    }

    /// The system that is moved to, or the one in force.
    pub(crate) fn goal(&self) -> &System {
        self.joint.as_ref().map_or(&self.old.system, |(new, _)| &new.system)
    }

    pub(crate) fn old(&self) -> &Side {
        &self.old
    }

    /// Whether the others can commit while these take no part.
    pub fn commits_without(&self, ids: &[NodeId]) -> bool {
        let mut others = self.voters();
        for slot in ids.iter().filter_map(|id| self.slot_of(*id)) {
            others.remove(slot);
        }
        self.system().commit().is_quorum(others)
    }

    /// The texts in force.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Side> {
        core::iter::once(&self.old).chain(self.joint.as_ref().map(|(new, _)| new))
    }

    pub(crate) fn next(&self) -> Option<&Result<Box<Compiled>, ChangeError>> {
        self.next.as_ref()
    }

    /// Who holds data and who only votes.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    fn find_roles(&self) -> Roles {
        let voters = (self.voters(), self.system().support());
        Roles::of(voters, self.witnesses(), self.out())
    }

    /// Slots of the members that a quorum text calls `witness(..)`, the text being moved to and
    /// the one a newcomer waits for included: they vote and keep the log's positions, no data.
    pub fn witnesses(&self) -> NodeSet {
        self.roles.witnesses
    }

    /// Whether `id` is a member that keeps no data.
    pub fn is_witness(&self, id: NodeId) -> bool {
        self.slot_of(id).is_some_and(|slot| self.roles.witnesses.contains(slot))
    }

    /// Whether its system is the plain majority of all voters, which follows the members.
    pub fn follows_members(&self) -> bool {
        self.joint.is_none() && self.old.system == System::majority(self.voters())
    }

    /// As [`Configuration::record`], with who founds the cluster; quorums stay as they are.
    pub fn record(&mut self, lives: &[(NodeId, Life)], unknown: bool, founding: bool) -> bool {
        let news = self.config.record(lives, unknown);
        if news {
            assert!(self.config.is_founded(), "who is written down takes part");
            self.config.change.founding = founding;
            self.renew();
        }
        news
    }

    /// Marks these members out, and no others; quorums stay as they are.
    pub fn mark_out(&mut self, out: Vec<NodeId>) {
        self.config.change.out = out;
        self.renew();
        assert!(self.roles.data.intersect(self.out()).is_empty(), "who is out is not waited for");
    }

    /// After a change that touches no text, no name and no slot.
    fn renew(&mut self) {
        let (holders, support) = (self.roles.holders, self.system().support());
        self.roles = self.find_roles();
        assert_eq!(self.roles.holders, holders, "marks move nobody's data");
        assert!(support.is_subset(self.voters()), "marks make no voter");
        if let Some(Ok(mut next)) = self.next.take() {
            next.config = self.next_config(&next);
            next.renew();
            self.next = Some(Ok(next));
        }
    }

    /// The configuration that the change under way leads to, by what was prepared before a life or
    /// a mark was written down.
    fn next_config(&self, prepared: &Self) -> Configuration {
        if self.joint.is_some() {
            return self.done();
        }
        let joint = self.joined(prepared.config.joint.as_ref().unwrap_or(&prepared.quorum).clone());
        if prepared.joint.is_some() { joint } else { joint.done() }
    }
}

impl Deref for Compiled {
    type Target = Configuration;

    fn deref(&self) -> &Configuration {
        &self.config
    }
}
