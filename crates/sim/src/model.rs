//! What the cluster must be: every version of every key by revision, told by the first replica
//! that applied it and checked as an etcd history, with answers worked out independently.
//!
//! Nothing is ever forgotten here, so an answer at any revision can be checked against it.

mod range;
mod txn;

use base::Blob;
use mvcc::{Changes, Event, EventKind, KeyValue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One key from a revision on; none after a delete.
#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    kv: Option<KeyValue>,
}

/// The history so far.
#[derive(Default)]
pub struct Model {
    keys: BTreeMap<Blob, Vec<Version>>,
    /// Changes of revision 2 and up.
    revisions: Vec<Arc<Changes>>,
    /// (revision, compacted up to) in order of application.
    pub compacted: i64,
}

impl Model {
    /// 1 when fresh, as in etcd.
    pub fn revision(&self) -> i64 {
        self.revisions.len() as i64 + 1
    }

    pub fn changes(&self, revision: i64) -> Option<&Arc<Changes>> {
        usize::try_from(revision - 2).ok().and_then(|at| self.revisions.get(at))
    }

    /// Changes after `revision`, oldest first.
    pub fn changes_after(&self, revision: i64) -> &[Arc<Changes>] {
        let at = usize::try_from(revision - 1).unwrap_or(0);
        self.revisions.get(at..).unwrap_or_default()
    }

    /// The live version of a key at a revision.
    pub fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        let end = versions.partition_point(|v| v.revision <= revision);
        versions[..end].last()?.kv.as_ref()
    }

    /// What lived before an event, whatever was compacted since.
    pub fn before(&self, event: &Event) -> Option<&KeyValue> {
        let before = self.at(&event.kv.key, event.kv.mod_revision - 1);
        before.filter(|_| !event.is_create())
    }

    /// Takes the next revision, or says why it cannot be what etcd's rules produce.
    pub fn push(&mut self, changes: &Arc<Changes>) -> Result<(), String> {
        let revision = self.revision() + 1;
        if changes.revision != revision {
            return Err(format!("revision {} came after {}", changes.revision, revision - 1));
        }
        if changes.events.is_empty() {
            return Err(format!("revision {revision} changed nothing"));
        }
        for event in &changes.events {
            self.check_event(event, revision)?;
            let kv = (event.kind == EventKind::Put).then(|| (*event.kv).clone());
            let versions = self.keys.entry(event.kv.key.clone()).or_default();
            versions.push(Version { revision, kv });
        }
        self.revisions.push(Arc::clone(changes));
        Ok(())
    }

    fn check_event(&self, event: &Event, revision: i64) -> Result<(), String> {
        let kv = &*event.kv;
        let live = self.at(&kv.key, revision);
        if kv.mod_revision != revision {
            return Err(format!("an event of revision {revision} says {}", kv.mod_revision));
        }
        let expected = match event.kind {
            EventKind::Delete if live.is_none() => {
                return Err(format!("revision {revision} deletes a key that is not there"));
            }
            EventKind::Delete => {
                KeyValue { key: kv.key.clone(), mod_revision: revision, ..KeyValue::default() }
            }
            EventKind::Put => KeyValue {
                create_revision: live.map_or(revision, |old| old.create_revision),
                version: live.map_or(1, |old| old.version + 1),
                ..kv.clone()
            },
        };
        if *kv != expected {
            return Err(format!("revision {revision} holds {kv:?}, expected {expected:?}"));
        }
        Ok(())
    }
}
