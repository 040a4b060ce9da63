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

    /// True when the configuration in force changed.
    pub fn truncate(&mut self, from: LogIndex) -> bool {
        let before = self.list.len();
        while self.list.len() > 1 && self.index() >= from {
            self.list.pop();
            self.version += 1;
        }
        self.list.len() != before
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
