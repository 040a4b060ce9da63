//! The demo's members: real servers in this process, with their own directories and ports.

use super::ledger::{Decision, Ledger, Lie};
use super::plan;
use anyhow::{Context, bail};
use base::{Ballot, NodeId};
use cluster::BallotRule;
use front_etcd::Front;
use quorum::{Names, NodeSet, Protocol, System, SystemSpec};
use server::config::{Config, ConfigError, local_cluster};
use server::node::{Handle, Node};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use trace::{Event, Head};

/// How much later than the fact itself its trace may come, on a busy machine.
const TRACE_MAX: Duration = Duration::from_secs(10);
/// Events that each member keeps, for `quorate trace` when the tour is over.
const RECORD: usize = 100_000;

struct Slot {
    config: Config,
    id: NodeId,
    handle: Option<Handle>,
}

pub struct Cluster {
    nodes: Vec<Slot>,
    spec: SystemSpec,
    slots: Names,
    system: System,
    text: String,
    ledger: Ledger,
    /// Where the times of the trace begin.
    began: Instant,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Cluster {
    /// Configures `count` members below `root` and starts them all.
    pub fn new(
        count: usize,
        quorum: Option<&str>,
        root: &Path,
        lie: Option<Lie>,
    ) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = quorum.map_or_else(|| quorum::majority_text(&names), str::to_owned);
        let spec = SystemSpec::parse(&text)
            .map_err(|why| ConfigError(format!("--quorum\n{}", why.caret(&text))))?;
        let slots = Names::in_order(&names);
        // Members choose ballots of (term, node) where elect sets need not meet.
        let system = spec.compile(&slots).map_err(|why| ConfigError(format!("--quorum: {why}")))?;
        refuse_used(root, &names)?;
        let (sender, receiver) = channel();
        let mut configs = local_cluster(&names, root).context("no free ports on loopback")?;
        for config in &mut configs {
            config.quorum = quorum.map(str::to_owned);
            config.record = RECORD;
        }
        let nodes = configs
            .into_iter()
            .map(|config| Slot { config, id: NodeId::ZERO, handle: None })
            .collect();
        let ledger = Ledger::new(lie);
        let began = Instant::now();
        let mut cluster =
            Self { nodes, spec, slots, system, text, ledger, began, sender, receiver };
        for node in 0..count {
            cluster.start(node)?;
        }
        Ok(cluster)
    }

    pub fn start(&mut self, at: usize) -> anyhow::Result<()> {
        let slot = &mut self.nodes[at];
        let config = slot.config.clone();
        let handle = Node::start(config, Front::service)
            .map_err(|why| anyhow::anyhow!("member {} does not start: {why}", slot.config.name))?;
        let sender = self.sender.clone();
        let later = (handle.started - self.began).as_nanos();
        let later = u64::try_from(later).expect("a tour is no 584 years");
        handle.subscribe_trace(Box::new(move |event| {
            // The tour is over when nobody receives.
            let _ = sender.send(Event { at: event.at + later, ..event.clone() });
        }));
        slot.id = handle.id;
        slot.handle = Some(handle);
        Ok(())
    }

    /// Stops a member at once: no hand-over, no farewell.
    pub fn kill(&mut self, at: usize) {
        if let Some(handle) = self.nodes[at].handle.take() {
            handle.kill();
        }
    }

    pub fn stop_all(&mut self) {
        for node in &mut self.nodes {
            if let Some(handle) = node.handle.take() {
                handle.stop();
            }
        }
    }

    pub fn live(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].handle.is_some()).collect()
    }

    pub fn dead(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].handle.is_none()).collect()
    }

    pub fn endpoint(&self, at: usize) -> String {
        self.nodes[at].config.listen_client_urls[0].authority()
    }

    pub fn endpoints(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|n| self.endpoint(n)).collect()
    }

    pub fn system(&self) -> &System {
        &self.system
    }

    pub fn quorum_text(&self) -> &str {
        &self.text
    }

    /// What an elect quorum is to these members, in the words of the quorum's text.
    pub fn why_elect(&self, set: NodeSet) -> String {
        self.spec.elect.explain(&self.slots, set)
    }

    /// What a commit quorum is to these members, in the words of the quorum's text.
    pub fn why_commit(&self, set: NodeSet) -> String {
        self.spec.commit.explain(&self.slots, set)
    }

    pub fn all(&self) -> NodeSet {
        self.set(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// Members as a set: they are configured, and so have their slots, in order.
    pub fn set(&self, nodes: &[usize]) -> NodeSet {
        nodes.iter().map(|node| *node as u8).collect()
    }

    /// `1 of n2`: a ballot for a reader.
    pub fn ballot(&self, ballot: Ballot) -> String {
        format!("{} of {}", ballot.term.0, self.name(ballot.node))
    }

    /// The place of a member in the quorum's sets.
    pub fn slot(&self, name: &str) -> Option<u8> {
        self.slots.slot(name)
    }

    fn name(&self, id: NodeId) -> String {
        let member = self.nodes.iter().find(|slot| slot.id == id);
        member.map_or_else(|| format!("{:x}", id.0), |slot| slot.config.name.clone())
    }

    pub fn name_at(&self, at: usize) -> String {
        self.nodes[at].config.name.clone()
    }

    pub fn names_at(&self, nodes: &[usize]) -> String {
        nodes.iter().map(|n| self.name_at(*n)).collect::<Vec<_>>().join(" ")
    }

    pub fn names(&self, set: NodeSet) -> String {
        let members: Vec<usize> = set.iter().map(usize::from).collect();
        format!("{{{}}}", self.names_at(&members))
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Two leaders where one may be: in one term, or under one ballot of (term, node).
    pub fn split_brain(&self) -> Option<Ballot> {
        self.ledger.split_brain(self.rule() == BallotRule::SharedTerms)
    }

    fn rule(&self) -> BallotRule {
        match self.system.check(Protocol::RaftSharedTerms) {
            Ok(_) => BallotRule::SharedTerms,
            Err(_) => BallotRule::TermAndNode,
        }
    }

    /// All that the members said, in one order, as the lines of a trace.
    pub fn trace(&mut self) -> String {
        self.collect();
        let head = Head {
            trace: trace::VERSION,
            names: (0..self.nodes.len()).map(|at| self.name_at(at)).collect(),
            quorum: self.text.clone(),
            rule: trace::rule(self.rule()).to_owned(),
            ..Head::default()
        };
        let mut lines = String::new();
        trace::write_head(&head, &mut lines);
        self.ledger.merged().iter().for_each(|event| trace::write(event, &mut lines));
        lines
    }

    /// Takes in what the members said since the last call.
    pub fn collect(&mut self) {
        while let Ok(event) = self.receiver.try_recv() {
            self.ledger.push(event);
        }
    }

    /// Asks `probe` again and again, over fresh trace events, until it has an answer or time is up.
    async fn until<T>(
        &mut self,
        patience: Duration,
        probe: impl Fn(&Self) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + patience;
        loop {
            self.collect();
            let found = probe(self);
            if found.is_some() || Instant::now() >= end {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The decision behind a revision; its last trace events may come a moment after the answer.
    pub async fn decision(&mut self, revision: i64) -> Option<Decision> {
        self.until(TRACE_MAX, |c| c.ledger.decision(revision)).await
    }

    /// The last election of the trace; its event may come a moment after the fact is visible.
    pub async fn elected(&mut self) -> Option<(String, Ballot, NodeSet)> {
        self.until(TRACE_MAX, |c| c.ledger.last_elected()).await
    }

    /// True when every one of these members runs and follows `leader`.
    fn all_follow(&self, nodes: &[usize], leader: Option<NodeId>) -> bool {
        nodes.iter().all(|n| {
            let status = self.nodes[*n].handle.as_ref().and_then(Handle::status);
            status.is_some_and(|s| s.leader == leader)
        })
    }

    fn leader_among(&self, nodes: &[usize]) -> Option<usize> {
        let status = |n: &usize| self.nodes[*n].handle.as_ref().and_then(Handle::status);
        let leaders = nodes.iter().copied().filter(|n| status(n).is_some_and(|s| s.is_leader));
        leaders.max_by_key(|n| status(n).map(|s| s.ballot))
    }

    /// Waits until every live member follows one leader; which one.
    pub async fn settle(&mut self, patience: Duration) -> anyhow::Result<usize> {
        let live = self.live();
        self.settle_among(&live, patience).await
    }

    /// Waits until each of these members follows one leader among them; which one.
    pub async fn settle_among(
        &mut self,
        nodes: &[usize],
        patience: Duration,
    ) -> anyhow::Result<usize> {
        let settled = |c: &Self| {
            let leader = c.leader_among(nodes)?;
            c.all_follow(nodes, Some(c.nodes[leader].id)).then_some(leader)
        };
        if let Some(leader) = self.until(patience, settled).await {
            return Ok(leader);
        }
        bail!("no leader among {} within {} s", self.names_at(nodes), patience.as_secs());
    }

    /// Waits until none of these members follows a leader.
    pub async fn settle_leaderless(
        &mut self,
        nodes: &[usize],
        patience: Duration,
    ) -> anyhow::Result<()> {
        if self.until(patience, |c| c.all_follow(nodes, None).then_some(())).await.is_some() {
            return Ok(());
        }
        bail!("{} still follow a leader", self.names_at(nodes));
    }

    /// A split in two of which one side holds both kinds of quorum and the other does not.
    pub fn split(&self) -> Option<(Vec<usize>, Vec<usize>)> {
        let (with, without) = plan::split(&self.system, self.all())?;
        let nodes = |set: NodeSet| set.iter().map(usize::from).collect();
        Some((nodes(with), nodes(without)))
    }

    pub fn cut(&mut self, a: &[usize], b: &[usize]) {
        for (side, other) in [(a, b), (b, a)] {
            let ids: Vec<NodeId> = other.iter().map(|n| self.nodes[*n].id).collect();
            for node in side {
                if let Some(handle) = &self.nodes[*node].handle {
                    handle.cut(&ids);
                }
            }
        }
    }

    pub fn heal(&mut self) {
        for node in &self.nodes {
            if let Some(handle) = &node.handle {
                handle.heal();
            }
        }
    }

    /// Waits until all live members have applied the same index with the same hashes.
    pub async fn wait_equal(&mut self, patience: Duration) -> bool {
        let equal = |c: &Self| {
            let states = c.states();
            let first = states.first().map(|s| (s.1, s.2, s.3));
            let equal = states.iter().all(|s| Some((s.1, s.2, s.3)) == first);
            (equal && c.leader_among(&c.live()).is_some()).then_some(())
        };
        self.until(patience, equal).await.is_some()
    }

    /// Name, applied index, chain hash and content hash of every live member.
    pub fn states(&self) -> Vec<(String, u64, u64, u64)> {
        let live = self.nodes.iter().filter_map(|slot| Some((slot, slot.handle.as_ref()?)));
        live.filter_map(|(slot, handle)| {
            let s = handle.status()?;
            Some((slot.config.name.clone(), s.applied.0, s.chain_hash, s.content_hash))
        })
        .collect()
    }

    /// The members' own trace reports agree at the highest index all of them reported.
    pub fn reported_equal(&mut self) -> bool {
        self.collect();
        let live = self.live();
        let names: Vec<String> = live.iter().map(|at| self.name_at(*at)).collect();
        let applied = names.iter().filter_map(|name| self.ledger.applied(name));
        let Some(lowest) = applied.min() else { return false };
        let hashes = self.ledger.hashes_at(lowest);
        let mut of_live = names.iter().filter_map(|name| hashes.get(&name[..]));
        let first = of_live.next();
        first.is_some() && of_live.all(|hash| Some(hash) == first)
    }
}

/// A tour begins with fresh members: what earlier ones hold is for somebody to keep.
fn refuse_used(root: &Path, names: &[&str]) -> Result<(), ConfigError> {
    let used = |name: &&&str| root.join(format!("{name}.quorate")).exists();
    match names.iter().find(used) {
        Some(name) => Err(ConfigError(format!(
            "--data-dir: {} holds {name} of an earlier demo; name an empty directory",
            root.display()
        ))),
        None => Ok(()),
    }
}
