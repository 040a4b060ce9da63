//! What happens when members stop or cannot hear each other; whom to stop says [`super::plan`].

use super::plan;
use super::tour::{PATIENCE, Tour};
use api::etcdserverpb as pb;
use client::{Failure, Outcome};

type PutAnswer = Result<pb::PutResponse, Failure>;

/// A write that a member refused because it knew no leader, itself included.
fn stepped_down(answer: &PutAnswer) -> bool {
    let refused = |why: &Failure| {
        matches!(why, Failure::Status(status) if status.detail("reason") == Some("no-leader"))
            && why.outcome() == Outcome::NotApplied
    };
    answer.as_ref().is_err_and(refused)
}

impl Tour<'_> {
    /// Members stop while operations go on, as many as can; then one too many.
    pub async fn lose_members(&mut self) -> anyhow::Result<()> {
        self.say.chapter("Members die");
        let mut killed = 0;
        loop {
            let leader = self.cluster.settle(PATIENCE).await?;
            let live = self.cluster.set(&self.cluster.live());
            let Some(victim) = plan::spare(self.cluster.system(), live, leader as u8) else {
                self.nobody_is_spare(killed);
                return self.lose_quorum(leader).await;
            };
            let victim = usize::from(victim);
            self.cluster.kill(victim);
            let name = self.cluster.name_at(victim);
            let which = if victim == leader { "the leader" } else { "the follower" };
            self.say.fact(&format!("killed {which} {name}"));
            self.cluster.settle(PATIENCE).await?;
            let at = self.cluster.live()[0];
            self.put(at, &format!("demo/after-kill{killed}"), "still here").await?;
            killed += 1;
        }
    }

    fn nobody_is_spare(&mut self, killed: usize) {
        let live = self.cluster.set(&self.cluster.live());
        let system = self.cluster.system();
        let spared = live.iter().filter(|slot| {
            let rest = live.minus([*slot].into_iter().collect());
            plan::works(system, rest)
        });
        let none = spared.count() == 0;
        let text = format!(
            "{killed} of {} are dead, and of {} nobody is spare",
            self.cluster.all().len(),
            self.cluster.names(live)
        );
        self.say.claim(none, &text);
    }

    /// Stops members beside the leader until nothing is decided, and tells what becomes of writes.
    async fn lose_quorum(&mut self, mut leader: usize) -> anyhow::Result<()> {
        const TRIES_MAX: usize = 5;
        let system = self.cluster.system().clone();
        let mut tries = 0;
        let decides = loop {
            tries += 1;
            self.stop_beside(leader).await?;
            let live = self.cluster.set(&self.cluster.live());
            let names = self.cluster.names(live);
            if system.commit().is_quorum(live) {
                self.say.fact(&format!("{names} decides alone: nothing more can be taken from it"));
                self.put(leader, "demo/alone", "and decided").await?;
                break true;
            }
            let why = self.cluster.why_commit(live);
            self.say.fact(&format!("what is left, {names}, is no commit quorum: {why}"));
            let answer = self.try_put(leader, "demo/unknown", "in the log").await;
            if !stepped_down(&answer) || tries == TRIES_MAX {
                self.writes_without_a_quorum(leader, &answer).await;
                break false;
            }
            // A busy machine took so long over the stops that the leader had noticed.
            self.say.fact("the leader had stepped down before the write came: once more");
            leader = self.start_all().await?;
        };
        self.start_all().await?;
        if !decides {
            self.what_became_of_them(leader).await;
        }
        self.everything_acknowledged_is_there().await;
        Ok(())
    }

    async fn stop_beside(&mut self, leader: usize) -> anyhow::Result<()> {
        let system = self.cluster.system().clone();
        let mut told = false;
        loop {
            let live = self.cluster.set(&self.cluster.live());
            let lost = !system.elect().is_quorum(live);
            if lost && system.commit().is_quorum(live) && !told {
                told = true;
                let why = self.cluster.why_elect(live);
                self.say.fact(&format!("nobody could be elected now: {why}"));
                self.say.fact("the leader still has a commit quorum");
                self.put(leader, "demo/no-election", "the leader lives").await?;
            }
            let Some(victim) = plan::last_straw(&system, live, leader as u8) else {
                return Ok(());
            };
            self.cluster.kill(usize::from(victim));
            let name = self.cluster.name_at(usize::from(victim));
            self.say.fact(&format!("killed {name} too"));
        }
    }

    /// Starts whoever is down, and waits for a leader; which one.
    async fn start_all(&mut self) -> anyhow::Result<usize> {
        for node in self.cluster.dead() {
            self.cluster.start(node)?;
        }
        self.cluster.settle(PATIENCE).await
    }

    async fn writes_without_a_quorum(&mut self, leader: usize, answer: &PutAnswer) {
        match answer {
            Err(why @ Failure::Status(status)) => self.say.claim(
                why.outcome() == Outcome::Unknown && status.detail("outcome") == Some("unknown"),
                &format!("the write already in the leader's log is reported unknown: {why}"),
            ),
            other => self.say.claim(false, &format!("an unknown outcome, got {other:?}")),
        }
        if self.cluster.system().elect().is_quorum(self.cluster.set(&self.cluster.live())) {
            // It may be elected again and again, and log what it cannot commit.
            let answer = self.try_put(leader, "demo/later", "no").await;
            let said = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
            self.say.claim(answer.is_err(), &format!("a later write is not acknowledged: {said}"));
        } else {
            let answer = self.try_put(leader, "demo/refused", "no").await;
            self.claim_refused(&answer);
        }
        let local = self.get(leader, "demo/key1", true).await;
        let served = matches!(&local, Ok(Some(v)) if v == b"value 1");
        self.say.claim(served, "a serializable read still answers");
    }

    fn claim_refused(&mut self, answer: &PutAnswer) {
        match answer {
            Err(why @ Failure::Status(status)) => {
                let missing = status.detail("missing").unwrap_or_default();
                let dead = self.cluster.dead();
                let dead: Vec<_> = dead.into_iter().map(|at| self.cluster.name_at(at)).collect();
                let named = missing.split(',').all(|name| dead.iter().any(|dead| dead == name));
                self.say.claim(
                    why.outcome() == Outcome::NotApplied && named,
                    &format!("a later write is refused: {why}; missing: {missing}"),
                );
            }
            other => self.say.claim(false, &format!("a refusal, got {other:?}")),
        }
    }

    async fn what_became_of_them(&mut self, leader: usize) {
        let fate = self.read(leader, "demo/unknown").await;
        let text = match &fate {
            Ok(Some(_)) => "it was applied after the heal",
            Ok(None) => "it was never applied",
            Err(_) => "",
        };
        self.say.claim(fate.is_ok(), &format!("the unknown write's fate is known: {text}"));
        let refused = self.read(leader, "demo/refused").await;
        self.say.claim(matches!(refused, Ok(None)), "the refused write was not applied");
    }

    /// Clients on both sides of a cut: one side goes on, the other refuses; then all are equal.
    pub async fn partition(&mut self) -> anyhow::Result<()> {
        self.say.chapter("A partition");
        let Some((with, without)) = self.cluster.split() else {
            self.say.fact("no split in two leaves one side everything and the other nothing");
            return Ok(());
        };
        let (a, b) = (self.cluster.names_at(&with), self.cluster.names_at(&without));
        self.cluster.cut(&with, &without);
        self.say.fact(&format!("{a} | {b} cannot hear each other"));
        let why = self.cluster.why_commit(self.cluster.set(&without));
        self.say.fact(&format!("{b}: {why}"));
        self.cluster.settle_among(&with, PATIENCE).await?;
        self.put(with[0], "demo/partition", "the side with a quorum").await?;
        self.cluster.settle_leaderless(&without, PATIENCE).await?;
        let answer = self.try_put(without[0], "demo/minority", "no").await;
        let said = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.say.claim(answer.is_err(), &format!("the other side refuses: {said}"));
        let split = self.cluster.split_brain();
        self.say.claim(split.is_none(), "no two leaders were elected under one ballot");
        self.cluster.heal();
        self.same_everywhere("after the heal").await
    }
}
