//! Configurations along the log: the last one appended is in force, truncation rolls back.

use super::Raft;
use super::message::{Entry, EntryKind};
use alloc::vec::Vec;
use base::{Life, LogIndex, NodeId, RequestId, planted};
use cluster::{Compiled, ConfigError, Configuration, Roles};
use quorum::System;

/// One configuration of the log.
#[derive(Debug)]
struct Version {
    index: LogIndex,
    config: Compiled,
}

#[derive(Debug)]
pub(crate) struct Configs {
    /// By index, never empty; the first is committed.
    list: Vec<Version>,
    /// Counts the changes of what is in force or committed below it.
    version: u64,
}

impl Configs {
    pub fn new(base: LogIndex, config: Configuration) -> Result<Self, ConfigError> {
        let config = config.compile()?;
        Ok(Self { list: alloc::vec![Version { index: base, config }], version: 0 })
    }

    fn current(&self) -> &Version {
        self.list.last().expect("never empty")
    }

    pub fn config(&self) -> &Compiled {
        &self.current().config
    }

    pub fn system(&self) -> &System {
        self.current().config.system()
    }

    /// Who holds data and who only votes.
    pub fn roles(&self) -> &Roles {
        self.current().config.roles()
    }

    pub fn index(&self) -> LogIndex {
        self.current().index
    }

    /// Where the joint configuration in force began, if one is: marks may have followed.
    pub fn joint_since(&self) -> Option<LogIndex> {
        let joint = self.config().joint.as_ref()?;
        let same = |v: &&Version| v.config.joint.as_ref() == Some(joint);
        self.list.iter().rev().take_while(same).last().map(|v| v.index)
    }

    /// How it hangs together with a log that is committed up to `commit` and ends in `last`.
    pub fn check(&self, commit: LogIndex, last: LogIndex) {
        assert!(self.list[0].index <= commit, "the first one is committed");
        assert!(self.index() <= last, "the one in force stands in the log");
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes the place of `old` after an installed checkpoint.
    pub fn replacing(mut self, old: &Self) -> Self {
        self.version = old.version + 1;
        self
    }

    /// The configuration of the log up to `index`: a later one may still be rolled back.
    pub fn config_at(&self, index: LogIndex) -> &Configuration {
        if planted!(UncommittedConfigStated) {
            return self.config();
        }
        let at = self.list.iter().rposition(|v| v.index <= index).unwrap_or(0);
        &self.list[at].config
    }

    /// Whether a configuration of the log founds the cluster with `id` in it, committed or not.
    pub fn founds(&self, id: NodeId, life: Life) -> bool {
        self.list.iter().any(|v| v.config.change.founding && v.config.names(id, life))
    }

    pub fn has_request(&self, request: RequestId) -> bool {
        self.list.iter().any(|v| v.config.change.request == request)
    }

    /// Whether `id` votes in the last configuration known to be committed, or in a later one.
    pub fn votes_since(&self, commit: LogIndex, id: NodeId) -> bool {
        let at = self.list.iter().rposition(|v| v.index <= commit).unwrap_or(0);
        let votes = |c: &Configuration| c.member(id).is_some_and(|m| !m.learner);
        self.list[at..].iter().any(|v| votes(&v.config))
    }

    pub fn push(&mut self, index: LogIndex, config: Compiled) {
        assert!(index > self.index(), "configurations follow the log");
        self.list.push(Version { index, config });
        self.version += 1;
    }

    pub fn truncate(&mut self, from: LogIndex) {
        while self.list.len() > 1 && self.index() >= from {
            self.list.pop();
            self.version += 1;
        }
    }

    /// Forgets what a checkpoint at `upto` supersedes.
    pub fn compact(&mut self, upto: LogIndex) {
        let keep = self.list.iter().rposition(|v| v.index <= upto).unwrap_or(0);
        self.list.drain(..keep);
        assert!(!self.list.is_empty(), "one is always in force");
    }
}

impl Raft {
    /// The configuration in force: the last one in the log, committed or not.
    pub fn config(&self) -> &Compiled {
        self.configs.config()
    }

    /// The configuration a checkpoint at `index` states: the last one at or below it. One above
    /// may not be committed yet, and could never be rolled back out of a checkpoint.
    pub fn config_at(&self, index: LogIndex) -> &Configuration {
        self.configs.config_at(index)
    }

    /// Changes with everything that changes the configuration in force.
    pub fn config_version(&self) -> u64 {
        self.configs.version()
    }

    /// Whether the configuration in force is committed, as far as this member knows.
    pub fn config_is_committed(&self) -> bool {
        self.configs.index() <= self.commit
    }

    /// Whether a configuration of this request stands in the log, in force or not any more. Those
    /// at or below a checkpoint are forgotten, but for the last one.
    pub fn has_config_of(&self, request: RequestId) -> bool {
        self.configs.has_request(request)
    }
}

/// Reads and compiles a config entry; None for other kinds.
pub(crate) fn of_entry(entry: &Entry) -> Result<Option<Compiled>, ConfigError> {
    if entry.kind != EntryKind::Config {
        return Ok(None);
    }
    let config = Configuration::decode(&entry.payload)
        .map_err(|e| ConfigError::new(alloc::format!("config entry {}: {e}", entry.index)))?;
    config.compile().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::machine::{compiled, life};
    use alloc::string::ToString;
    use base::Blob;
    use cluster::ChangeState;

    fn request_id(seq: u64) -> RequestId {
        RequestId { seq, ..RequestId::default() }
    }

    /// Voters 1 to 3, and the request that made it.
    fn config(request: u64) -> Configuration {
        let change = ChangeState { request: request_id(request), ..Default::default() };
        Configuration { change, ..crate::raft::tests::machine::config(3, "majority(n1,n2,n3)") }
    }

    /// Of the checkpoint at 3, and then of entries 5 and 7.
    fn three() -> Configs {
        let mut configs = Configs::new(LogIndex(3), config(1)).expect("it is sound");
        for (index, request) in [(5, 2), (7, 3)] {
            configs.push(LogIndex(index), compiled(config(request)));
        }
        configs
    }

    fn indices(configs: &Configs) -> Vec<u64> {
        configs.list.iter().map(|version| version.index.0).collect()
    }

    #[test]
    fn the_version_counts_every_change_of_what_is_in_force() {
        let mut configs = three();
        assert_eq!((configs.version(), configs.index()), (2, LogIndex(7)));
        configs.truncate(LogIndex(8));
        assert_eq!(configs.version(), 2, "nothing was taken back");
        configs.truncate(LogIndex(7));
        assert_eq!((configs.version(), configs.index()), (3, LogIndex(5)));
        configs.push(LogIndex(7), compiled(config(4)));
        configs.truncate(LogIndex(1));
        assert_eq!((configs.version(), configs.index()), (6, LogIndex(3)), "the first one stays");
        let installed = Configs::new(LogIndex(9), config(5)).expect("it is sound");
        assert_eq!(installed.version(), 0);
        assert_eq!(installed.replacing(&configs).version(), 7);
    }

    #[test]
    fn a_checkpoint_leaves_the_configuration_that_was_in_force_at_it() {
        for (upto, left) in
            [(2, &[3, 5, 7][..]), (4, &[3, 5, 7]), (5, &[5, 7]), (6, &[5, 7]), (7, &[7]), (9, &[7])]
        {
            let mut configs = three();
            configs.compact(LogIndex(upto));
            assert_eq!(indices(&configs), left, "cut at {upto}");
            assert_eq!(configs.version(), 2, "none of that changes what is in force");
        }
    }

    #[test]
    fn a_request_is_known_while_its_configuration_stands_in_the_log() {
        let mut configs = three();
        let known = |configs: &Configs| -> Vec<u64> {
            (0..5).filter(|n| configs.has_request(request_id(*n))).collect()
        };
        assert_eq!(known(&configs), [1, 2, 3]);
        configs.compact(LogIndex(6));
        assert_eq!(known(&configs), [2, 3]);
        configs.truncate(LogIndex(7));
        assert_eq!(known(&configs), [2]);
    }

    #[test]
    fn the_configuration_at_an_index_is_the_last_one_up_to_it() {
        let configs = three();
        for (index, request) in [(1, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3), (9, 3)] {
            let found = configs.config_at(LogIndex(index)).change.request;
            assert_eq!(found, request_id(request), "at {index}");
        }
    }

    #[test]
    fn a_member_votes_while_a_configuration_since_the_commit_lets_it() {
        let mut configs = Configs::new(LogIndex(3), config(1)).expect("it is sound");
        let mut without = config(2);
        without.members[2].learner = true;
        without.quorum = "majority(n1,n2)".to_string();
        configs.push(LogIndex(5), compiled(without));
        for (commit, votes) in [(3, true), (4, true), (5, false), (6, false)] {
            assert_eq!(configs.votes_since(LogIndex(commit), NodeId(3)), votes, "{commit}");
            assert!(configs.votes_since(LogIndex(commit), NodeId(1)));
            assert!(!configs.votes_since(LogIndex(commit), NodeId(4)), "nobody knows it");
        }
    }

    #[test]
    fn a_founding_names_its_founders_and_a_later_configuration_nobody() {
        let mut founding = config(2);
        founding.change.founding = true;
        founding.members[2].life = Life::UNKNOWN;
        let mut configs = Configs::new(LogIndex(3), config(1)).expect("it is sound");
        assert!(!configs.founds(NodeId(1), life(1)), "it names, and founds nothing");
        configs.push(LogIndex(5), compiled(founding));
        configs.push(LogIndex(6), compiled(config(3)));
        assert!(configs.founds(NodeId(1), life(1)), "also where another one is in force");
        assert!(!configs.founds(NodeId(1), life(9)), "another directory");
        assert!(!configs.founds(NodeId(3), life(3)), "named later");
    }

    #[test]
    fn a_joint_configuration_began_with_the_first_entry_of_it_in_a_row() {
        let joint = |text: &str| {
            let joint = Some(text.to_string());
            compiled(Configuration { joint, ..config(2) })
        };
        let (two, all) = ("2 of (n1,n2,n3)", "elect = 3 of (n1,n2,n3); commit = 1 of (n1,n2,n3)");
        let mut configs = three();
        assert_eq!(configs.joint_since(), None);
        for (index, text, since) in [(8, two, 8), (9, two, 8), (10, all, 10), (12, all, 10)] {
            configs.push(LogIndex(index), joint(text));
            assert_eq!(configs.joint_since(), Some(LogIndex(since)), "{index}");
        }
        configs.push(LogIndex(13), compiled(config(3)));
        configs.push(LogIndex(14), joint(all));
        assert_eq!(configs.joint_since(), Some(LogIndex(14)), "one lay between");
    }

    #[test]
    fn a_configuration_is_read_from_entries_of_its_kind_only() {
        let payload = Blob::from(config(9).encode());
        let (index, ballot) = (LogIndex(1), base::Ballot::new(1, 1));
        let entry = |kind| Entry { index, ballot, kind, payload: payload.clone() };
        let found = of_entry(&entry(EntryKind::Config)).expect("it is sound").expect("it is one");
        assert_eq!(*found.config(), config(9));
        assert_eq!(of_entry(&entry(EntryKind::Data)), Ok(None));
        assert_eq!(of_entry(&entry(EntryKind::Empty)), Ok(None));
    }
}
