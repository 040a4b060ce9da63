//! A start: journal and checkpoints are joined, damage is noticed, and what it leaves provable
//! decides whether the member starts, repairs or refuses. One place for every shell.

use crate::checkpoint::{checkpoint_name, describe, names};
use crate::home::Home;
use crate::repair::{Repair, read_repair, sweep, write_repair};
use crate::{CheckpointFile, StoreError, StoreErrorKind};
use base::{Ballot, LogIndex, NodeId, planted};
use std::fmt;
use wal::{
    Batch, Cut, Disk, Journal, Options, Owner, Record, Recovery, Survey, WalError, WalErrorKind,
};

/// Bytes of one batch of what is copied into a new journal.
const COPY_BYTES: usize = 8 << 20;

/// What a member does whose disk is damaged and whose promise is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    Repair,
    Refuse,
}

/// Who opens, and how.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub owner: Owner,
    pub options: Options,
    /// Random: the key of a journal that is begun now.
    pub key: u64,
    /// The key of the journal that is there, as the identity remembers it; zero if it does not.
    pub known_key: u64,
    /// The coming incarnation: a label for what is set aside.
    pub incarnation: u64,
    /// There is no journal yet.
    pub fresh: bool,
    pub on_damage: OnDamage,
}

/// A member's durable state, ready to run from.
pub struct Opened<T> {
    pub journal: Journal,
    /// The checkpoint to start from; without one, from the beginning.
    pub base: Option<(CheckpointFile, T)>,
    /// Records that follow it without a hole.
    pub records: Vec<Record>,
    pub ballot: Ballot,
    /// A lower bound of what is committed among them.
    pub commit: LogIndex,
    /// What the journal itself says is committed; it may lie beyond its records, or below `base`.
    pub known: LogIndex,
    pub cut: Option<Cut>,
    /// The member is damaged: it must not vote before this ends (`end_repair`).
    pub repair: Option<Repair>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Why a directory is not opened.
#[derive(Debug)]
pub enum OpenError {
    Wal(WalError),
    Store(StoreError),
    /// The journal is of another member: a part of a directory was copied.
    Foreign(String),
    /// Damaged, and the policy or the caller is against a repair.
    Refused {
        damage: String,
        why: String,
    },
    /// Damaged, and what was promised is lost: only a replacement helps.
    Lost {
        damage: String,
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wal(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Foreign(text) => f.write_str(text),
            Self::Refused { damage, why } => write!(f, "{damage}; not repaired: {why}"),
            Self::Lost { damage, why } => write!(
                f,
                "{damage}; what this member promised or acknowledged is lost ({why}), so it \
                 cannot be repaired: replace it under a new id with `quorate member replace`"
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<WalError> for OpenError {
    fn from(error: WalError) -> Self {
        Self::Wal(error)
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Loads and verifies one checkpoint.
pub type Load<'a, T> = &'a mut dyn FnMut(&CheckpointFile) -> Result<T, StoreError>;
/// Whether the others can decide without this member, from the newest configuration that can be
/// read; the error says why not.
pub type May<'a, T> = &'a dyn Fn(Option<&T>, &[Record]) -> Result<(), String>;

/// Opens what `home` holds.
///
/// # Errors
/// Of the disk; an unknown format; damage that is not repaired, by file and offset.
pub fn open<T>(
    home: &dyn Home,
    ask: &Ask,
    load: Load<'_, T>,
    may: May<'_, T>,
) -> Result<Opened<T>, OpenError> {
    if ask.fresh {
        let journal = Journal::create(part(home, "journal")?, ask.options, ask.owner, ask.key)?;
        return Ok(Opened {
            journal,
            base: None,
            records: Vec::new(),
            ballot: Ballot::ZERO,
            commit: LogIndex::ZERO,
            known: LogIndex::ZERO,
            cut: None,
            repair: None,
            notes: Vec::new(),
        });
    }
    let mut root = part(home, "")?;
    let repair = match read_repair(root.as_mut()) {
        Err(error) if error.kind == StoreErrorKind::Corrupt => {
            let why = "the file is the hard state of a repair".to_owned();
            return Err(OpenError::Lost { damage: error.to_string(), why });
        }
        other => other?,
    };
    let mut notes = Vec::new();
    let bases = Bases::load(part(home, "checkpoints")?.as_mut(), load, &mut notes)?;
    let opening = Opening { home, ask, notes };
    match repair {
        Some(repair) => opening.resume(repair, bases),
        None => opening.first(bases, may),
    }
}

fn part(home: &dyn Home, name: &str) -> Result<Box<dyn Disk>, StoreError> {
    home.disk(name).map_err(|e| StoreError::io(name, "open the directory", &e))
}

/// The newest checkpoint that is sound, and those above it that are not.
struct Bases<T> {
    sound: Option<(CheckpointFile, T)>,
    /// Newest first.
    damaged: Vec<(LogIndex, Ballot, StoreError)>,
}

impl<T> Bases<T> {
    fn load(
        disk: &mut dyn Disk,
        load: Load<'_, T>,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let mut bases = Self { sound: None, damaged: Vec::new() };
        for (index, ballot, name) in names(disk)?.into_iter().rev() {
            let mut attempt = || {
                let file = describe(disk, index, ballot, name.clone())?;
                let loaded = load(&file)?;
                Ok((file, loaded))
            };
            let mut read: Result<_, StoreError> = attempt();
            if let Err(error) = &read
                && error.kind == StoreErrorKind::Corrupt
            {
                notes.push(format!("read again: {error}"));
                read = attempt();
            }
            match read {
                Ok(found) => {
                    bases.sound = Some(found);
                    break;
                }
                Err(error) if error.kind == StoreErrorKind::Corrupt => {
                    if planted!(OlderCheckpoint) {
                        continue;
                    }
                    bases.damaged.push((index, ballot, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bases)
    }

    /// Index and ballot of the last entry that the base covers.
    fn end(&self) -> (LogIndex, Ballot) {
        self.sound.as_ref().map_or((LogIndex::ZERO, Ballot::ZERO), |(f, _)| (f.index, f.ballot))
    }

    /// All that are named, sound or not.
    fn ends(&self) -> impl Iterator<Item = (LogIndex, Ballot)> {
        let damaged = self.damaged.iter().map(|(index, ballot, _)| (*index, *ballot));
        damaged.chain(self.sound.as_ref().map(|(f, _)| (f.index, f.ballot)))
    }
}

/// What is known of a member whose disk is damaged.
struct Facts {
    ballot: Ballot,
    index: LogIndex,
}

impl Facts {
    /// A checkpoint's last entry was accepted in its term, so that term was seen; an
    /// acknowledgement may have covered it.
    fn with<T>(mut self, bases: &Bases<T>) -> Self {
        let ends: Vec<_> = bases.ends().collect();
        for (_, ballot) in &ends {
            self.ballot = self.ballot.max(Ballot { term: ballot.term, node: NodeId::ZERO });
        }
        for (index, ballot) in ends {
            if ballot.term == self.ballot.term {
                self.index = self.index.max(index);
            }
        }
        self
    }
}

struct Opening<'a> {
    home: &'a dyn Home,
    ask: &'a Ask,
    notes: Vec<String>,
}

impl Opening<'_> {
    fn first<T>(mut self, bases: Bases<T>, may: May<'_, T>) -> Result<Opened<T>, OpenError> {
        let floor = bases.ends().map(|(index, _)| index).max().unwrap_or_default();
        let (damage, survey) = match self.journal(bases.end().0)? {
            Ok((mut journal, recovery)) => {
                self.owned(recovery.owner)?;
                let fit = fit(&recovery.records, bases.end(), bases.damaged.first());
                match fit {
                    Ok(from) => {
                        if from.void {
                            void(&mut journal, &recovery, bases.end().0)?;
                            let at = bases.end().0;
                            let text = format!("entries from {at} on contradict the checkpoint");
                            self.notes.push(format!("{text} and are void"));
                        }
                        return self.sound(journal, recovery, from, bases);
                    }
                    Err(damage) => (damage, proven_by(&recovery)),
                }
            }
            Err(error) => {
                let mut disk = part(self.home, "journal")?;
                let known = (self.ask.known_key, self.ask.owner);
                let known = Some(known).filter(|(key, _)| *key != 0);
                (error.to_string(), wal::survey(disk.as_mut(), floor, known)?)
            }
        };
        let facts = match survey.proven {
            Ok(proven) => {
                self.owned(proven.owner)?;
                Facts { ballot: proven.ballot, index: proven.index }.with(&bases)
            }
            Err(_) if planted!(LostVoteRepaired) => {
                Facts { ballot: Ballot::ZERO, index: LogIndex::ZERO }.with(&bases)
            }
            Err(why) => return Err(OpenError::Lost { damage, why }),
        };
        if self.ask.on_damage == OnDamage::Refuse {
            let why = "repair is switched off (--repair=refuse); replace the member, or let it \
                       repair"
                .to_owned();
            return Err(OpenError::Refused { damage, why });
        }
        let records = join(survey.records, bases.end()).unwrap_or_default();
        if let Err(why) = may(bases.sound.as_ref().map(|(_, loaded)| loaded), &records) {
            return Err(OpenError::Refused { damage, why });
        }
        self.begin(facts, damage, records, survey.commit, bases)
    }

    /// Opens the journal; what does not verify is read again, for a wrong read is no damage.
    /// Up to `base` its records are without their payload.
    fn journal(
        &mut self,
        base: LogIndex,
    ) -> Result<Result<(Journal, Recovery), WalError>, OpenError> {
        let options = self.ask.options;
        let attempt = || Ok(Journal::open_above(part(self.home, "journal")?, options, base));
        let mut opened: Result<_, WalError> = attempt().map_err(OpenError::Store)?;
        if let Err(error) = &opened
            && error.kind == WalErrorKind::Corrupt
        {
            let note = format!("read again: {error}");
            opened = attempt().map_err(OpenError::Store)?;
            self.notes.push(note);
        }
        match opened {
            Err(error) if error.kind != WalErrorKind::Corrupt => Err(error.into()),
            other => Ok(other),
        }
    }

    fn owned(&self, found: Owner) -> Result<(), OpenError> {
        if found == self.ask.owner {
            return Ok(());
        }
        let owner = self.ask.owner;
        Err(OpenError::Foreign(format!(
            "the journal belongs to member {:x} of cluster {:x}, the identity names {:x} of {:x}",
            found.member.0, found.cluster, owner.member.0, owner.cluster
        )))
    }

    fn sound<T>(
        mut self,
        journal: Journal,
        recovery: Recovery,
        from: Fit,
        bases: Bases<T>,
    ) -> Result<Opened<T>, OpenError> {
        for part_of in ["journal", "checkpoints"] {
            sweep(part(self.home, part_of)?.as_mut())?;
        }
        let covered = bases.damaged.first().map_or(LogIndex::ZERO, |(index, ..)| *index);
        self.set_checkpoints_aside(&bases, &format!(".damaged-{:x}", self.ask.incarnation))?;
        for (_, _, error) in &bases.damaged {
            self.notes.push(format!("{error}; the journal still holds everything since before it"));
        }
        Ok(Opened {
            journal,
            ballot: recovery.ballot,
            commit: recovery.commit.max(covered),
            known: recovery.commit,
            records: from.records,
            base: bases.sound,
            cut: recovery.cut,
            repair: None,
            notes: self.notes,
        })
    }

    fn set_checkpoints_aside<T>(&self, bases: &Bases<T>, suffix: &str) -> Result<(), StoreError> {
        if bases.damaged.is_empty() {
            return Ok(());
        }
        let mut disk = part(self.home, "checkpoints")?;
        for (index, ballot, _) in &bases.damaged {
            // What is wrong may be with a file that it names.
            let name = checkpoint_name(*index, *ballot);
            let moved = disk.rename(&name, &format!("{name}{suffix}"));
            moved.map_err(|e| StoreError::io(&name, "set aside", &e))?;
        }
        disk.sync_dir().map_err(|e| StoreError::io("checkpoints", "sync the directory", &e))
    }

    /// Makes the facts durable first: a crash anywhere after finds them. Then the new journal.
    fn begin<T>(
        mut self,
        facts: Facts,
        damage: String,
        records: Vec<Record>,
        commit: LogIndex,
        bases: Bases<T>,
    ) -> Result<Opened<T>, OpenError> {
        let (ballot, index) = (facts.ballot, facts.index);
        let (key, since) = (self.ask.key, self.ask.incarnation);
        let repair = Repair { ballot, index, key, since, damage };
        if !planted!(RepairForgotten) {
            write_repair(part(self.home, "")?.as_mut(), &repair)?;
        }
        self.set_checkpoints_aside(&bases, &repair.suffix())?;
        let mut disk = part(self.home, "journal")?;
        let kept = wal::set_aside(disk.as_mut(), key, &repair.suffix())?;
        assert_eq!(kept, 0, "no journal has this key yet");
        let mut journal = Journal::create(disk, self.ask.options, self.ask.owner, key)?;
        copy(&mut journal, ballot, &records, commit)?;
        self.notes.push(format!(
            "{}; repairing: {ballot} and index {index} are proven, {} entries are intact",
            repair.damage,
            records.len()
        ));
        let (base, repair) = (bases.sound, Some(repair));
        let notes = self.notes;
        let (known, cut) = (LogIndex::ZERO, None);
        Ok(Opened { journal, base, records, ballot, commit, known, cut, repair, notes })
    }

    /// A repair was begun before. Whatever is wrong with its journal, the file alone is enough:
    /// nothing was said since that rests on anything else.
    fn resume<T>(mut self, repair: Repair, bases: Bases<T>) -> Result<Opened<T>, OpenError> {
        self.set_checkpoints_aside(&bases, &repair.suffix())?;
        let bases = Bases { damaged: Vec::new(), ..bases };
        let mut disk = part(self.home, "journal")?;
        let kept = wal::set_aside(disk.as_mut(), repair.key, &repair.suffix())?;
        drop(disk);
        let opened = match kept {
            0 => None,
            _ => self.journal(bases.end().0)?.ok(),
        };
        let fitting = opened.and_then(|(journal, recovery)| {
            let fit = fit(&recovery.records, bases.end(), None).ok()?;
            (recovery.owner == self.ask.owner).then_some((journal, recovery, fit))
        });
        let Some((mut journal, recovery, fit)) = fitting else {
            let facts = Facts { ballot: repair.ballot, index: repair.index };
            return self.begin(facts, repair.damage, Vec::new(), LogIndex::ZERO, bases);
        };
        if fit.void {
            void(&mut journal, &recovery, bases.end().0)?;
        }
        self.notes.push(format!("{}; the repair goes on", repair.damage));
        Ok(Opened {
            journal,
            base: bases.sound,
            records: fit.records,
            ballot: recovery.ballot.max(repair.ballot),
            commit: recovery.commit,
            known: LogIndex::ZERO,
            cut: recovery.cut,
            repair: Some(repair),
            notes: self.notes,
        })
    }
}

/// Records that follow a base.
struct Fit {
    records: Vec<Record>,
    /// The journal's records from the base on are of another log.
    void: bool,
}

/// Joins the records to the base. A damaged newer checkpoint is made up for by records that reach
/// its last entry. The error says what is missing.
fn fit(
    records: &[Record],
    (base, ballot): (LogIndex, Ballot),
    damaged: Option<&(LogIndex, Ballot, StoreError)>,
) -> Result<Fit, String> {
    // A checkpoint taken from a leader replaces a log that disagrees with it. A crash may come
    // after the checkpoint and before the log's truncation.
    let at = records.iter().find(|record| record.index == base);
    let other = at.is_some_and(|record| record.ballot != ballot);
    let void = other && !planted!(InstallKeepsSuffix);
    let above = records.iter().filter(|record| !void && record.index > base);
    let mut expected = base;
    for record in above.clone() {
        expected = expected.next();
        if record.index != expected {
            return Err(damaged.map_or_else(
                || {
                    let last = record.index.prev();
                    format!(
                        "entries {expected} to {last} are missing between the checkpoint at \
                         {base} and the journal"
                    )
                },
                |(.., error)| error.to_string(),
            ));
        }
    }
    let records: Vec<Record> = above.cloned().collect();
    if let Some((index, ballot, error)) = damaged
        && !records.iter().any(|r| (r.index, r.ballot) == (*index, *ballot))
    {
        return Err(error.to_string());
    }
    Ok(Fit { records, void })
}

/// The beginning of `records` that follows the base; none if they do not meet it.
fn join(records: Vec<Record>, (base, ballot): (LogIndex, Ballot)) -> Option<Vec<Record>> {
    let at = records.iter().find(|record| record.index == base);
    if at.is_some_and(|record| record.ballot != ballot) {
        return None;
    }
    let above = records.into_iter().filter(|record| record.index > base);
    let expected = (base.0 + 1..).map(LogIndex);
    Some(above.zip(expected).take_while(|(r, i)| r.index == *i).map(|(r, _)| r).collect())
}

/// A sound journal proves everything about itself.
fn proven_by(recovery: &Recovery) -> Survey {
    let of = |record: &&Record| record.ballot.term == recovery.ballot.term;
    let last = recovery.records.iter().rev().find(of);
    let index = last.map_or(LogIndex::ZERO, |record| record.index);
    Survey {
        records: recovery.records.clone(),
        commit: recovery.commit,
        proven: Ok(wal::Proven { owner: recovery.owner, ballot: recovery.ballot, index }),
    }
}

fn void(journal: &mut Journal, recovery: &Recovery, from: LogIndex) -> Result<(), WalError> {
    let truncation = Batch {
        ballot: recovery.ballot,
        truncate_from: Some(from),
        entries: &[],
        commit: recovery.commit.min(from),
    };
    journal.append(&[truncation])?;
    journal.sync()
}

/// Begins the new journal with the promise and what is intact; durable and vouched for on return.
fn copy(
    journal: &mut Journal,
    ballot: Ballot,
    records: &[Record],
    commit: LogIndex,
) -> Result<(), WalError> {
    let none = Batch { ballot, truncate_from: None, entries: &[], commit: LogIndex::ZERO };
    journal.append(&[none])?;
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let more = rest.iter().take_while(|record| {
            bytes += record.payload.len();
            bytes <= COPY_BYTES
        });
        let (entries, later) = rest.split_at(more.count().max(1));
        journal.append(&[Batch { entries, commit, ..none }])?;
        rest = later;
    }
    journal.mark()
}
