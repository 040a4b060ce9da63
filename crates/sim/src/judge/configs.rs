//! Which configurations there are: the committed one, those on their way, and the one each member
//! goes by, each with the system it stands for.

use super::Judge;
use base::{Incarnation, Life, LogIndex, Nanos, NodeId, RequestId};
use cluster::{BallotRule, Change, Compiled, Configuration};
use consensus::raft::{Entry, EntryKind};
use quorum::{NodeSet, Protocol, System, check_pair};
use replica::Replica;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A configuration and what decides under it.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub index: LogIndex,
    pub config: Compiled,
    pub system: System,
}

impl Ruling {
    fn new(index: LogIndex, config: Configuration) -> Result<Rc<Self>, String> {
        let config = config.compile().map_err(|error| error.message)?;
        let system = config.system().clone();
        Ok(Rc::new(Self { index, config, system }))
    }

    /// Places of members, which are their ids less one, from slots of this configuration.
    pub fn places(&self, slots: NodeSet) -> NodeSet {
        let ids = slots.iter().filter_map(|slot| self.config.id_of(slot));
        ids.map(|id| place(id) as u8).collect()
    }

    /// Slots of this configuration, from places; who is no member has none.
    pub fn slots(&self, places: NodeSet) -> NodeSet {
        let ids = places.iter().map(|place| NodeId(u64::from(place) + 1));
        ids.filter_map(|id| self.config.slot_of(id)).collect()
    }

    /// The data members that the system names: commits wait for no other.
    fn holders(&self) -> NodeSet {
        let named = self.config.voters().intersect(self.system.support());
        named.minus(self.config.witnesses())
    }

    /// Whether one of these places holds data, and all of it.
    fn has_data(&self, places: NodeSet) -> bool {
        let data = self.holders().minus(self.config.out());
        self.config.witnesses().is_empty() || !self.slots(places).intersect(data).is_empty()
    }

    /// Whether these places elect and commit.
    pub fn decides(&self, places: NodeSet) -> bool {
        let slots = self.slots(places);
        self.config.system().elect().is_quorum(slots)
            && self.config.system().commit().is_quorum(slots)
    }
}

fn witnesses_of(config: &Compiled) -> impl Iterator<Item = NodeId> {
    let witnesses = config.witnesses();
    witnesses.iter().filter_map(|slot| config.id_of(slot)).collect::<Vec<_>>().into_iter()
}

/// Where the newest configuration entry of a log is; zero when a checkpoint covers it.
fn last_config(replica: &Replica) -> LogIndex {
    let raft = replica.raft();
    let entries = raft.entries(LogIndex(1), raft.last().0);
    let configs = entries.filter(|entry| entry.kind == EntryKind::Config);
    configs.last().map_or(LogIndex::ZERO, |entry| entry.index)
}

/// Where a member stands in every list of a life.
pub fn place(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("ids are places plus one")
}

/// What one member goes by, as of its last step and of the one before the last change.
struct Follows {
    incarnation: Incarnation,
    version: u64,
    now: Rc<Ruling>,
    before: Option<Rc<Ruling>>,
}

/// Every configuration of a life.
pub struct Configs {
    rule: BallotRule,
    committed: Rc<Ruling>,
    /// Appended by some leader above the committed one; each may still come into force.
    open: Vec<Rc<Ruling>>,
    /// Up to here a commit set was counted; nobody may have applied it yet.
    pub decided: LogIndex,
    follows: BTreeMap<NodeId, Follows>,
    /// Every member of any committed configuration.
    pub were_in: BTreeSet<NodeId>,
    /// Newcomers whose change was refused: they never come in.
    refused: BTreeSet<NodeId>,
    /// Every member that some configuration called a witness: it is one for good.
    witnesses: BTreeSet<NodeId>,
    /// Changes whose origin was told that they are not done.
    refused_requests: BTreeSet<RequestId>,
    /// Every committed configuration, the first one first.
    history: Vec<Rc<Ruling>>,
    /// Configurations committed since the first.
    pub changes: u64,
    /// Data members marked out by a committed configuration.
    pub marked_out: u64,
}

impl Configs {
    pub fn new(config: Configuration) -> Result<Self, String> {
        let rule = config.rule;
        let were_in = config.members.iter().map(|member| member.id).collect();
        let committed = Ruling::new(LogIndex::ZERO, config)?;
        let witnesses = witnesses_of(&committed.config).collect();
        Ok(Self {
            rule,
            open: Vec::new(),
            decided: LogIndex::ZERO,
            follows: BTreeMap::new(),
            were_in,
            refused: BTreeSet::new(),
            refused_requests: BTreeSet::new(),
            witnesses,
            history: vec![Rc::clone(&committed)],
            committed,
            changes: 0,
            marked_out: 0,
        })
    }

    /// The last one any member applied.
    pub fn committed(&self) -> &Rc<Ruling> {
        &self.committed
    }

    /// The one the cluster was born with.
    pub fn first(&self) -> &Rc<Ruling> {
        &self.history[0]
    }

    /// Whether a committed configuration is without a member that was in one before.
    pub fn has_left(&self, id: NodeId) -> bool {
        self.were_in.contains(&id) && self.committed.config.member(id).is_none()
    }

    /// The same, also of a configuration that is committed and that nobody has applied yet: who
    /// comes in is held against that one.
    pub fn may_leave(&self, id: NodeId) -> bool {
        let mut decided = self.open.iter().filter(|ruling| ruling.index <= self.decided);
        let without = |ruling: &Rc<Ruling>| ruling.config.member(id).is_none();
        self.has_left(id) || (self.were_in.contains(&id) && decided.any(without))
    }

    /// The first committed configuration that names this member's directory.
    pub fn named_since(&self, id: NodeId) -> Option<LogIndex> {
        let named = |ruling: &&Rc<Ruling>| ruling.config.life_of(id) != Life::UNKNOWN;
        self.history.iter().find(named).map(|ruling| ruling.index)
    }

    /// Whether the committed configuration at `index` founds the cluster.
    pub fn founds_at(&self, index: LogIndex) -> bool {
        self.history.iter().any(|ruling| ruling.index == index && ruling.config.change.founding)
    }

    /// Whether it was committed or overtaken: who goes by it only lags behind. Entries up to
    /// `applied` are known.
    pub fn is_past(&self, ruling: &Ruling, applied: LogIndex) -> bool {
        ruling.index <= applied || self.history.iter().any(|past| past.config == ruling.config)
    }

    /// Nothing is on its way.
    pub fn settled(&self) -> bool {
        self.open.is_empty() && !self.committed.config.is_changing()
    }

    /// The committed one and all that may come into force after it.
    pub fn possible(&self) -> impl Iterator<Item = &Rc<Ruling>> {
        std::iter::once(&self.committed).chain(&self.open)
    }

    /// The last of those.
    pub fn newest(&self) -> &Rc<Ruling> {
        self.open.last().unwrap_or(&self.committed)
    }

    /// Whether these places can elect and commit, whichever configuration comes into force, and
    /// hold the data of whatever was committed.
    pub fn always_decides(&self, places: NodeSet) -> bool {
        self.possible().all(|ruling| ruling.decides(places) && ruling.has_data(places))
    }

    /// Whether it votes without data.
    pub fn is_witness(&self, id: NodeId) -> bool {
        self.witnesses.contains(&id)
    }

    /// Appended by a leader: it may come into force.
    fn open(&mut self, ruling: Rc<Ruling>) {
        self.witnesses.extend(witnesses_of(&ruling.config));
        let known = |open: &Rc<Ruling>| open.index == ruling.index && open.config == ruling.config;
        if !self.open.iter().any(known) {
            self.open.push(ruling);
        }
    }

    /// What a member goes by now.
    pub fn of(&self, id: NodeId) -> Option<&Rc<Ruling>> {
        self.follows.get(&id).map(|follows| &follows.now)
    }

    /// What a member may have decided by in its last step: it goes over to a new configuration
    /// in the middle of one.
    pub fn by(&self, id: NodeId) -> impl Iterator<Item = &Rc<Ruling>> {
        let follows = self.follows.get(&id);
        follows.into_iter().flat_map(|f| std::iter::once(&f.now).chain(&f.before))
    }

    /// Looks at what a member goes by; true when that changed.
    fn look(&mut self, id: NodeId, replica: &Replica) -> Result<bool, String> {
        let raft = replica.raft();
        let (incarnation, version) = (replica.incarnation(), raft.config_version());
        let old = self.follows.get_mut(&id);
        if let Some(old) = old
            && old.incarnation == incarnation
            && old.version == version
        {
            old.before = None;
            return Ok(false);
        }
        let known = self.follows.remove(&id).filter(|old| old.incarnation == incarnation);
        let config = raft.config().config();
        // An equal one of an earlier reign may stand elsewhere in the log.
        let index = last_config(replica);
        let here = |ruling: &&Rc<Ruling>| index == LogIndex::ZERO || ruling.index == index;
        let same = self.possible().filter(here).find(|ruling| ruling.config.config() == config);
        let now = match same {
            Some(ruling) => Rc::clone(ruling),
            None => Ruling::new(index, config.clone())?,
        };
        let before = known.map(|old| old.now);
        self.follows.insert(id, Follows { incarnation, version, now, before });
        Ok(true)
    }
}

impl Judge {
    /// True when what a member goes by changed in its last step.
    pub(super) fn look_at_config(&mut self, at: Nanos, id: NodeId, replica: &Replica) -> bool {
        match self.configs.look(id, replica) {
            Ok(false) => false,
            Ok(true) => {
                self.config_of_log(at, id, replica);
                self.config_marked(id, replica);
                true
            }
            Err(what) => {
                self.blame(at, "a configuration is safe", what);
                true
            }
        }
    }

    /// What a member goes by must be what its log says last.
    pub(super) fn config_of_log(&mut self, at: Nanos, id: NodeId, replica: &Replica) {
        self.checks += 1;
        let raft = replica.raft();
        let last = raft.last().0;
        let entries = raft.entries(LogIndex(1), last);
        let newest = entries.filter(|entry| entry.kind == EntryKind::Config).last();
        if let Some(entry) = newest {
            let same =
                Configuration::decode(&entry.payload).is_ok_and(|c| c == *raft.config().config());
            if !same {
                let what = format!("{id} does not go by entry {}", entry.index);
                self.blame(at, "the last configuration of the log is in force", what);
            }
        }
    }

    /// A leader appends marks, and calls a joint configuration off, without being asked.
    fn config_marked(&mut self, id: NodeId, replica: &Replica) {
        let raft = replica.raft();
        let Some(ruling) = self.configs.of(id).filter(|_| raft.is_leader()) else { return };
        let index = last_config(replica);
        if index > self.applied() {
            let ruling = Ruling { index, ..Ruling::clone(ruling) };
            self.configs.open(Rc::new(ruling));
        }
    }

    /// What is committed stays reachable when any one member is lost (`docs/design/witness.md`):
    /// the data members that were counted commit by themselves, or they are all that are not
    /// marked out at or below the entry.
    pub(super) fn keeps_data(&mut self, at: Nanos, me: NodeId, index: LogIndex, set: NodeSet) {
        self.checks += 1;
        self.configs.decided = self.configs.decided.max(index);
        let kept = |by: &&Rc<Ruling>| {
            let copies = set.minus(by.config.witnesses());
            let missing = by.holders().minus(copies);
            let recorded = missing.is_empty() || index >= by.index;
            by.system.commit().is_quorum(copies)
                || (!copies.is_empty() && missing.is_subset(by.config.out()) && recorded)
        };
        if self.configs.of(me).is_some() && !self.configs.by(me).any(|by| kept(&by)) {
            let by: Vec<_> = self.configs.by(me).map(|by| (by.index, by.config.out())).collect();
            let what = format!("{me} commits {index} with {set:?}; marked out: {by:?}");
            self.blame(at, "a commit keeps its data reachable", what);
        }
    }

    /// A leader appended what it goes by now.
    pub(super) fn config_appended(&mut self, id: NodeId, index: LogIndex) {
        if let Some(ruling) = self.configs.of(id) {
            let ruling = Ruling { index, ..Ruling::clone(ruling) };
            self.configs.open(Rc::new(ruling));
        }
    }

    /// An entry is applied for the first time.
    pub(super) fn config_applied(&mut self, at: Nanos, index: LogIndex, entry: Option<&Entry>) {
        self.configs.open.retain(|ruling| ruling.index > index);
        let Some(entry) = entry.filter(|entry| entry.kind == EntryKind::Config) else { return };
        let decoded = Configuration::decode(&entry.payload).map_err(|error| error.to_string());
        let ruling = match decoded.and_then(|config| Ruling::new(index, config)) {
            Ok(ruling) => ruling,
            Err(what) => return self.blame(at, "a configuration is safe", what),
        };
        if let Err(what) = self.configs.may_follow(&ruling) {
            self.blame(at, "a configuration meets the one before", what);
        }
        self.words_applied(at, index, ruling.config.config());
        // A change is a request like others: an earlier life of who asked is over.
        let asked = ruling.config.change.request;
        if asked.seq > 0 {
            self.requests.insert(asked);
        }
        if self.configs.refused_requests.contains(&asked) {
            let what = format!("change {asked} was refused and is done at {index}");
            self.blame(at, "refused is not applied", what);
        }
        let configs = &mut self.configs;
        configs.were_in.extend(ruling.config.members.iter().map(|member| member.id));
        configs.witnesses.extend(witnesses_of(&ruling.config));
        let late = ruling.config.members.iter().find(|m| configs.refused.contains(&m.id));
        let late = late.map(|member| format!("{} was refused and is in at {index}", member.id));
        configs.changes += 1;
        let before = &configs.committed.config.change.out;
        let out = ruling.config.change.out.iter().filter(|id| !before.contains(id));
        configs.marked_out += out.count() as u64;
        configs.history.push(Rc::clone(&ruling));
        configs.committed = ruling;
        if let Some(what) = late {
            self.blame(at, "refused is not applied", what);
        }
    }

    /// Somebody was told that this change is not done: it may have begun, and was called off.
    pub(super) fn change_refused(&mut self, at: Nanos, request: RequestId) {
        self.checks += 1;
        let is_its = |ruling: &&Rc<Ruling>| {
            ruling.config.change.request == request && ruling.config.joint.is_none()
        };
        if let Some(done) = self.configs.history.iter().find(is_its) {
            let what = format!("change {request} is done at {}", done.index);
            self.blame(at, "refused is not applied", what);
        }
        self.configs.refused_requests.insert(request);
    }

    /// Somebody was told that this newcomer does not come in.
    pub fn newcomer_refused(&mut self, at: Nanos, id: NodeId) {
        self.configs.refused.insert(id);
        if self.configs.were_in.contains(&id) {
            self.blame(at, "refused is not applied", format!("newcomer {id} is in"));
        }
    }

    /// A change that was answered is in a committed configuration, or its joint is.
    pub(super) fn changed_answer(&self, change: &Change) -> Result<(), (&'static str, String)> {
        let shows = |config: &Configuration| match change {
            Change::Add { member, .. } => config.member(member.id).is_some(),
            Change::Replace { old, member, .. } => {
                config.member(member.id).is_some() || config.member(*old).is_none()
            }
            Change::Remove { id, .. } => config.member(*id).is_none(),
            Change::Promote { id, .. } => config.member(*id).is_none_or(|m| !m.learner),
            Change::Update { id, peer_urls } => {
                config.member(*id).is_some_and(|m| m.peer_urls == *peer_urls)
            }
            Change::Quorum { text } => config.quorum == *text,
            Change::Publish { id, .. } => config.member(*id).is_some(),
        };
        let mut applied = self.configs.history.iter().map(|ruling| ruling.config.config());
        let mut passed = self.passed_configs();
        if applied.any(|c| shows(&c.done())) || passed.any(|c| shows(&c.done())) {
            Ok(())
        } else {
            Err(("an answered change is done", format!("{change:?}")))
        }
    }
}

impl Configs {
    /// Decisions of one configuration are seen by those of the next; ids never come back.
    fn may_follow(&self, next: &Ruling) -> Result<(), String> {
        let old = &self.committed;
        for member in &next.config.members {
            // No life has as many newcomers as there are slots: none is given twice.
            let named = |past: &Rc<Ruling>| past.config.id_of(member.slot);
            if self.history.iter().filter_map(named).any(|id| id != member.id) {
                return Err(format!("slot {} goes over to {}", member.slot, member.id));
            }
            if self.is_witness(member.id) && !next.config.is_witness(member.id) {
                return Err(format!("{} was a witness", member.id));
            }
            if old.config.member(member.id).is_none() && self.were_in.contains(&member.id) {
                return Err(format!("{} comes back", member.id));
            }
        }
        let protocol = match self.rule {
            BallotRule::SharedTerms => Protocol::RaftSharedTerms,
            BallotRule::TermAndNode => Protocol::RaftTermAndNode,
        };
        check_pair(next.system.elect(), old.system.commit(), Protocol::Paxos)
            .and_then(|()| check_pair(old.system.elect(), next.system.commit(), Protocol::Paxos))
            .and_then(|()| next.system.check(protocol))
            .map_err(|offence| format!("{offence:?} from {:?} to {:?}", old.config, next.config))
    }
}
