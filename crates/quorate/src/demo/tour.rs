//! The guided tour: what the members decide, and why that is a decision; [`super::losses`] has
//! what happens when they fail.

use super::cluster::Cluster;
use super::say::Say;
use api::etcdserverpb as pb;
use client::{Channel, Failure, Outcome};
use quorum::{Family, NodeSet};
use std::time::{Duration, Instant};

const KV: &str = "/etcdserverpb.KV/";
/// Longest wait for anything; on a busy machine elections take their time.
pub const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Tour<'a> {
    pub cluster: &'a mut Cluster,
    pub say: &'a mut Say,
    /// Every write that was acknowledged, to be found again at the end.
    pub acknowledged: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tour<'_> {
    pub async fn run(&mut self) -> anyhow::Result<()> {
        self.elect().await?;
        self.decide().await?;
        self.classic();
        self.lose_members().await?;
        self.partition().await?;
        self.restart_all().await?;
        self.audit();
        Ok(())
    }

    async fn elect(&mut self) -> anyhow::Result<()> {
        self.say.chapter("An election");
        self.cluster.settle(PATIENCE).await?;
        let Some((leader, ballot, votes)) = self.cluster.elected().await else {
            self.say.claim(false, "a leader was elected");
            return Ok(());
        };
        let names = self.cluster.names(votes);
        let ballot = self.cluster.ballot(ballot);
        self.say.fact(&format!("{leader} leads under ballot {ballot}; votes: {names}"));
        let won = self.cluster.system().elect().is_quorum(votes);
        let why = self.cluster.why_elect(votes);
        self.say.claim(won, &format!("the votes are an elect quorum ({why})"));
        Ok(())
    }

    async fn decide(&mut self) -> anyhow::Result<()> {
        self.say.chapter("Writes, voted on");
        let live = self.cluster.live();
        for (i, at) in live.iter().copied().cycle().take(3).enumerate() {
            self.put(at, &format!("demo/key{i}"), &format!("value {i}")).await?;
        }
        let at = live[0];
        let swap = pb::TxnRequest {
            compare: vec![compare_value("demo/key0", "value 0")],
            success: vec![put_op("demo/key0", "swapped")],
            failure: vec![],
        };
        let answer = steady(|| self.call::<pb::TxnResponse>(at, "Txn", &swap)).await;
        match answer {
            Ok(answer) => {
                self.say.claim(answer.succeeded, "compare-and-swap of demo/key0 took effect");
                self.acknowledged.retain(|(key, _)| key != b"demo/key0");
                self.acknowledged.push((b"demo/key0".to_vec(), b"swapped".to_vec()));
                self.explain(revision(answer.header.as_ref())).await;
            }
            Err(why) => self.say.claim(false, &format!("compare-and-swap: {why}")),
        }
        let read = self.read(live[live.len() - 1], "demo/key0").await;
        let name = self.cluster.name_at(live[live.len() - 1]);
        let seen = matches!(&read, Ok(Some(value)) if value == b"swapped");
        self.say.claim(seen, &format!("a linearizable read at {name} sees the swap"));
        Ok(())
    }

    /// The question everybody asks first, answered by the quorum system that is running.
    fn classic(&mut self) {
        self.say.chapter("Is 1, 2, 4 a quorum of five?");
        let system = self.cluster.system().clone();
        let all = self.cluster.all();
        let five = Family::majority(NodeSet::first(5));
        let mut asked = NodeSet::new();
        for slot in [0, 1, 3] {
            asked.insert(slot);
        }
        let meets = five.minimal_quorums().iter().all(|q| !q.intersect(asked).is_empty());
        self.say.claim(
            five.is_quorum(asked) && meets,
            "of five under majorities 1, 2, 4 are a quorum: it meets every other quorum, as any \
             three do",
        );
        let folk = Family::at_least(4, NodeSet::first(5));
        let three = NodeSet::first(3);
        self.say.claim(
            !folk.is_quorum(three) && five.is_quorum(three),
            "the folk formula ceil(5/2)+1 = 4 is safe but stops with two dead; \
             floor(5/2)+1 = 3 goes on",
        );
        let text = self.cluster.quorum_text().to_owned();
        let (elect, commit) = (system.elect().minimal_quorums(), system.commit().minimal_quorums());
        self.say.fact(&format!(
            "the system that runs here is {text}: {} minimal elect and {} minimal commit quorums",
            elect.len(),
            commit.len()
        ));
        let here = asked.intersect(all);
        let (names, why) = (self.cluster.names(here), self.cluster.why_commit(here));
        let word = if system.commit().is_quorum(here) { "a" } else { "no" };
        self.say.fact(&format!("in it {names} is {word} commit quorum: {why}"));
        let meet = elect.iter().all(|e| commit.iter().all(|c| !e.intersect(*c).is_empty()));
        self.say.claim(meet, "each of its elect quorums meets each of its commit quorums");
        let whole = system.commit().is_quorum(all);
        self.say.claim(whole, "all members together are a quorum of it");
    }

    /// Puts through a socket, then explains the decision from the trace.
    pub async fn put(&mut self, at: usize, key: &str, value: &str) -> anyhow::Result<()> {
        match steady(|| self.try_put(at, key, value)).await {
            Ok(answer) => {
                self.acknowledged.retain(|(k, _)| k != key.as_bytes());
                self.acknowledged.push((key.into(), value.into()));
                self.explain(revision(answer.header.as_ref())).await;
            }
            Err(why) => {
                let name = self.cluster.name_at(at);
                self.say.claim(false, &format!("put {key} at {name}: {why}"));
            }
        }
        Ok(())
    }

    /// A put that may fail.
    pub async fn try_put(
        &self,
        at: usize,
        key: &str,
        value: &str,
    ) -> Result<pb::PutResponse, Failure> {
        let request = pb::PutRequest {
            key: key.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
            ..Default::default()
        };
        self.call(at, "Put", &request).await
    }

    /// A linearizable read of one key, also through an election.
    pub async fn read(&self, at: usize, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        steady(|| self.get(at, key, false)).await
    }

    /// Linearizable or serializable read of one key; it may fail.
    pub async fn get(&self, at: usize, key: &str, local: bool) -> Result<Option<Vec<u8>>, Failure> {
        let request = pb::RangeRequest {
            key: key.as_bytes().to_vec().into(),
            serializable: local,
            ..Default::default()
        };
        let answer: pb::RangeResponse = self.call(at, "Range", &request).await?;
        Ok(answer.kvs.first().map(|kv| kv.value.to_vec()))
    }

    pub async fn call<A: api::Message + Default>(
        &self,
        at: usize,
        method: &str,
        request: &impl api::Message,
    ) -> Result<A, Failure> {
        let channel = Channel::new(&self.cluster.endpoint(at));
        channel.call_within(PATIENCE, &format!("{KV}{method}"), request).await
    }

    /// Why this revision is decided, from the trace.
    pub async fn explain(&mut self, revision: i64) {
        let Some(decision) = self.cluster.decision(revision).await else {
            self.say.claim(false, &format!("revision {revision} was decided by a quorum"));
            return;
        };
        let commit = self.cluster.system().commit().clone();
        let slots = decision.acks.iter().filter_map(|name| self.cluster.slot(name));
        let heard: NodeSet = slots.collect();
        let minimal = commit.minimal_within(heard).unwrap_or(heard);
        let shown = self.cluster.names(minimal);
        self.say.fact(&format!(
            "revision {revision} = log {} under ballot {} from {} (leader {}): acknowledged {}; \
             minimal quorum {shown}; {:.2} ms",
            decision.index,
            self.cluster.ballot(decision.ballot),
            decision.origin,
            decision.leader,
            decision.acks.join(" then "),
            decision.took as f64 / 1e6,
        ));
        let holds = commit.is_quorum(heard) && decision.acked.is_subset(heard);
        let why = self.cluster.why_commit(minimal);
        self.say.claim(holds, &format!("{shown} is a commit quorum: {why}"));
    }

    async fn restart_all(&mut self) -> anyhow::Result<()> {
        self.say.chapter("Everything restarts from disk");
        for node in self.cluster.live() {
            self.cluster.kill(node);
        }
        for node in self.cluster.dead() {
            self.cluster.start(node)?;
        }
        self.cluster.settle(PATIENCE).await?;
        self.same_everywhere("after the restart").await?;
        self.everything_acknowledged_is_there().await;
        Ok(())
    }

    /// All members that run have the same index and hashes.
    pub async fn same_everywhere(&mut self, when: &str) -> anyhow::Result<()> {
        let equal = self.cluster.wait_equal(PATIENCE).await;
        for (name, index, chain, content) in self.cluster.states() {
            self.say.fact(&format!(
                "{name}: applied {index}, chain hash {chain:016x}, content hash {content:016x}"
            ));
        }
        let reported = self.cluster.reported_equal();
        self.say.claim(equal && reported, &format!("{when} all have the same index and hashes"));
        Ok(())
    }

    /// Nothing that was acknowledged is lost.
    pub async fn everything_acknowledged_is_there(&mut self) {
        let at = self.cluster.live()[0];
        let mut lost = Vec::new();
        for (key, value) in self.acknowledged.clone() {
            let name = String::from_utf8_lossy(&key).into_owned();
            if !matches!(self.read(at, &name).await, Ok(Some(v)) if v == value) {
                lost.push(name);
            }
        }
        let count = self.acknowledged.len();
        let text = format!("all {count} acknowledged keys are there; lost: {lost:?}");
        self.say.claim(lost.is_empty(), &text);
    }

    fn audit(&mut self) {
        self.say.chapter("The whole trace");
        self.cluster.collect();
        let ledger = self.cluster.ledger();
        let (count, divergence) = (ledger.len(), ledger.first_divergence());
        let (orphan, split) = (ledger.commit_without_quorum(), self.cluster.split_brain());
        self.say.fact(&format!("{count} events"));
        self.say.claim(divergence.is_none(), "no two members differ at the same log index");
        self.say.claim(orphan.is_none(), "no commit without a quorum");
        self.say.claim(split.is_none(), "never two leaders under one ballot");
    }
}

/// Asks until there is an answer: where a quorum lives, a refusal only tells of an election. What
/// may have been applied is not asked again.
async fn steady<T, F: Future<Output = Result<T, Failure>>>(
    call: impl Fn() -> F,
) -> Result<T, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(why) if why.outcome() == Outcome::NotApplied && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |h| h.revision)
}

fn compare_value(key: &str, value: &str) -> pb::Compare {
    pb::Compare {
        key: key.as_bytes().to_vec().into(),
        result: pb::compare::CompareResult::Equal as i32,
        target: pb::compare::CompareTarget::Value as i32,
        target_union: Some(pb::compare::TargetUnion::Value(value.as_bytes().to_vec().into())),
        ..Default::default()
    }
}

fn put_op(key: &str, value: &str) -> pb::RequestOp {
    let put = pb::PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        ..Default::default()
    };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
}
