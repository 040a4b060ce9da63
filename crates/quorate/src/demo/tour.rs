//! The guided tour: five voters, what they decide, and what happens when they fail.

use super::cluster::Cluster;
use super::say::Say;
use api::etcdserverpb as pb;
use base::NodeId;
use client::{Channel, Failure, Outcome};
use quorum::{Family, NodeSet};
use std::time::Duration;

const KV: &str = "/etcdserverpb.KV/";
const PATIENCE: Duration = Duration::from_secs(15);

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
        let leader = self.cluster.name(leader);
        self.say.fact(&format!("{leader} leads under ballot {ballot}; votes: {names}"));
        let won = self.cluster.system().elect().is_quorum(votes);
        self.say.claim(won, "the votes are an elect quorum");
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
        let answer: Result<pb::TxnResponse, _> = self.call(at, "Txn", &swap).await;
        match answer {
            Ok(answer) => {
                self.say.claim(answer.succeeded, "compare-and-swap of demo/key0 took effect");
                self.acknowledged.retain(|(key, _)| key != b"demo/key0");
                self.acknowledged.push((b"demo/key0".to_vec(), b"swapped".to_vec()));
                self.explain(revision(answer.header.as_ref())).await;
            }
            Err(why) => self.say.claim(false, &format!("compare-and-swap: {why}")),
        }
        let read = self.get(live[live.len() - 1], "demo/key0", false).await;
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
        let minimal = system.commit().minimal_quorums();
        let text = self.cluster.quorum_text().to_owned();
        self.say.fact(&format!("the system is {text}: {} minimal commit quorums", minimal.len()));
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
        let whole = system.commit().is_quorum(all);
        self.say.claim(whole, "all members together are a quorum of the running system");
    }

    /// Puts through a socket, then explains the decision from the trace.
    pub async fn put(&mut self, at: usize, key: &str, value: &str) -> anyhow::Result<()> {
        let request = pb::PutRequest {
            key: key.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
            ..Default::default()
        };
        match self.call::<pb::PutResponse>(at, "Put", &request).await {
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

    /// Linearizable or serializable read of one key.
    pub async fn get(
        &mut self,
        at: usize,
        key: &str,
        local: bool,
    ) -> Result<Option<Vec<u8>>, Failure> {
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

    async fn explain(&mut self, revision: i64) {
        let Some(decision) = self.cluster.decision(revision).await else {
            self.say.claim(false, &format!("revision {revision} was decided by a quorum"));
            return;
        };
        let commit = self.cluster.system().commit().clone();
        let heard = decision.acks.iter().filter_map(|id| self.cluster.slot(*id)).fold(
            NodeSet::new(),
            |mut set, slot| {
                set.insert(slot);
                set
            },
        );
        let order: Vec<_> = decision.acks.iter().map(|id| self.cluster.name(*id)).collect();
        let minimal = commit.minimal_within(heard);
        let shown = minimal.map_or("none".into(), |set| self.cluster.names(set));
        self.say.fact(&format!(
            "revision {revision} = log {} under ballot {} from {} (leader {}): acknowledged {}; \
             minimal quorum {shown}; {:.2} ms",
            decision.index,
            decision.ballot,
            self.cluster.name(decision.id.origin),
            self.cluster.name(decision.leader),
            order.join(" then "),
            decision.took.0 as f64 / 1e6,
        ));
        let holds = commit.is_quorum(heard) && decision.acked.is_subset(heard);
        self.say.claim(holds, &format!("the acknowledgements of revision {revision} are a quorum"));
    }

    async fn lose_members(&mut self) -> anyhow::Result<()> {
        self.say.chapter("Members die");
        let tolerated = self.cluster.tolerated();
        for n in 0..tolerated {
            let leader = self.cluster.leader(PATIENCE).await?;
            self.cluster.kill(leader);
            let name = self.cluster.name_at(leader);
            self.say.fact(&format!("killed the leader {name}"));
            self.cluster.settle(PATIENCE).await?;
            let at = self.cluster.live()[0];
            self.put(at, &format!("demo/after-kill{n}"), "still here").await?;
        }
        self.lose_quorum().await
    }

    async fn lose_quorum(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader(PATIENCE).await?;
        let victims: Vec<_> = self.cluster.live().into_iter().filter(|n| *n != leader).collect();
        let Some(victim) = victims.first().copied() else { return Ok(()) };
        self.cluster.kill(victim);
        let name = self.cluster.name_at(victim);
        self.say.fact(&format!("killed {name} too: what is left is no quorum"));
        let pending = pb::PutRequest {
            key: b"demo/unknown".to_vec().into(),
            value: b"in the log".to_vec().into(),
            ..Default::default()
        };
        let answer: Result<pb::PutResponse, _> = self.call(leader, "Put", &pending).await;
        match &answer {
            Err(why @ Failure::Status(status)) => self.say.claim(
                why.outcome() == Outcome::Unknown && status.detail("outcome") == Some("unknown"),
                &format!("the write already in the leader's log is reported unknown: {why}"),
            ),
            other => self.say.claim(false, &format!("an unknown outcome, got {other:?}")),
        }
        let later = pb::PutRequest { key: b"demo/refused".to_vec().into(), ..pending };
        let answer: Result<pb::PutResponse, _> = self.call(leader, "Put", &later).await;
        match &answer {
            Err(why @ Failure::Status(status)) => {
                let missing = status.detail("missing").unwrap_or_default();
                let dead: Vec<_> =
                    self.cluster.dead().iter().map(|at| self.cluster.name_at(*at)).collect();
                let named = missing.split(',').all(|name| dead.iter().any(|dead| dead == name));
                self.say.claim(
                    why.outcome() == Outcome::NotApplied && named,
                    &format!("a later write is refused: {why}; missing: {missing}"),
                );
            }
            other => self.say.claim(false, &format!("a refusal, got {other:?}")),
        }
        let local = self.get(leader, "demo/key1", true).await;
        let served = matches!(&local, Ok(Some(v)) if v == b"value 1");
        self.say.claim(served, "a serializable read still answers");
        for node in self.cluster.dead() {
            self.cluster.start(node)?;
        }
        self.cluster.settle(PATIENCE).await?;
        let fate = self.get(leader, "demo/unknown", false).await;
        let text = match &fate {
            Ok(Some(_)) => "it was applied after the heal",
            Ok(None) => "it was never applied",
            Err(_) => "",
        };
        self.say.claim(fate.is_ok(), &format!("the unknown write's fate is known: {text}"));
        let refused = self.get(leader, "demo/refused", false).await;
        self.say.claim(matches!(refused, Ok(None)), "the refused write was not applied");
        self.everything_acknowledged_is_there().await;
        Ok(())
    }

    async fn partition(&mut self) -> anyhow::Result<()> {
        let Some((with, without)) = self.cluster.split() else { return Ok(()) };
        self.say.chapter("A partition");
        let (a, b) = (self.cluster.names_at(&with), self.cluster.names_at(&without));
        self.cluster.cut(&with, &without);
        self.say.fact(&format!("{a} | {b} cannot hear each other"));
        self.cluster.settle_among(&with, PATIENCE).await?;
        self.put(with[0], "demo/partition", "the side with a quorum").await?;
        let request = pb::PutRequest {
            key: b"demo/minority".to_vec().into(),
            value: b"no".to_vec().into(),
            ..Default::default()
        };
        self.cluster.settle_leaderless(&without, PATIENCE).await?;
        let answer: Result<pb::PutResponse, _> = self.call(without[0], "Put", &request).await;
        let said = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.say.claim(answer.is_err(), &format!("the other side refuses: {said}"));
        let split = self.cluster.ledger().split_brain();
        self.say.claim(split.is_none(), "no two leaders were elected under one term");
        self.cluster.heal();
        self.same_everywhere("after the heal").await
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

    async fn same_everywhere(&mut self, when: &str) -> anyhow::Result<()> {
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

    async fn everything_acknowledged_is_there(&mut self) {
        let at = self.cluster.live()[0];
        let mut lost = Vec::new();
        for (key, value) in self.acknowledged.clone() {
            let name = String::from_utf8_lossy(&key).into_owned();
            if !matches!(self.get(at, &name, false).await, Ok(Some(v)) if v == value) {
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
        let (orphan, split) = (ledger.commit_without_quorum(), ledger.split_brain());
        self.say.fact(&format!("{count} events"));
        self.say.claim(divergence.is_none(), "no two members differ at the same log index");
        self.say.claim(orphan.is_none(), "no commit without a quorum");
        self.say.claim(split.is_none(), "never two leaders in one term");
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

/// A member's id as the tour names it when the configuration does not.
pub fn fallback_name(id: NodeId) -> String {
    format!("{:x}", id.0)
}
