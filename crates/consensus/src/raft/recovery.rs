//! What a member starts from: the entries of its journal, joined to its checkpoint.

use super::Entry;
use super::configs::{self, Configs};
use super::log::Log;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, planted};
use cluster::{ConfigError, Configuration};

/// What was durable when the member stopped.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The promise: term and vote in one.
    pub ballot: Ballot,
    /// The log starts after this entry (zero: from the beginning), which a checkpoint covers.
    pub base: LogIndex,
    /// Of the entry at `base`.
    pub base_ballot: Ballot,
    /// In force at `base`.
    pub base_config: Configuration,
    /// As the journal has them; those at or below `base` are passed over.
    pub entries: Vec<Entry>,
    /// A lower bound of what is committed.
    pub commit: LogIndex,
}

/// A log that follows its checkpoint.
pub(crate) struct Joined {
    pub log: Log,
    pub configs: Configs,
    /// What the journal holds above the checkpoint belongs to another log, and is void.
    pub diverged: bool,
}

impl Recovered {
    /// Fails when a configuration does not compile or the log has a hole.
    pub(crate) fn join(self) -> Result<Joined, ConfigError> {
        let mut configs = Configs::new(self.base, self.base_config)?;
        let mut log = Log::new(self.base, self.base_ballot);
        let mut diverged = false;
        for entry in self.entries {
            let (last, ballot) = log.last();
            if entry.index < self.base {
                continue; // The checkpoint is ahead of the log.
            }
            if entry.index == self.base {
                diverged = entry.ballot != self.base_ballot;
                continue;
            }
            // The checkpoint was durable before the truncation it proves: what follows another
            // entry than its own was never committed.
            diverged |= last == self.base && entry.ballot < ballot;
            if diverged && !planted!(InstallKeepsSuffix) {
                break;
            }
            if entry.index != last.next() || entry.ballot < ballot {
                let at = entry.index;
                return Err(ConfigError::new(alloc::format!("entry {at} does not follow {last}")));
            }
            if let Some(config) = configs::of_entry(&entry)? {
                configs.push(entry.index, config);
            }
            log.push(entry);
        }
        assert_eq!(log.base(), self.base, "a log goes on where its checkpoint ends");
        assert!(configs.index() <= log.last_index(), "configurations are of the log");
        Ok(Joined { log, configs, diverged })
    }
}
