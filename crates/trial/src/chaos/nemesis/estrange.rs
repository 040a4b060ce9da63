//! Plays a history of strangers (`super::super::strangers`) on real processes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb as pb;
use client::{Channel, method};

use super::{Lost, Nemesis};
use crate::chaos::roster::{self, Wanted};
use crate::chaos::strangers::{Absence, Cure, Damage, History, Late, spare};
use crate::chaos::{aftermath, load};
use crate::proxy::Path;

/// How long a member may take to serve, or the members to take writes, where they must.
const SERVE_MAX: Duration = Duration::from_secs(30);
/// Time in which nothing can happen that lets anybody write the victim down, if nobody can.
const UNSEATED: Duration = Duration::from_millis(600);
/// Time in which writes must not be acknowledged, because the victim is not counted.
const UNCOUNTED: Duration = Duration::from_millis(600);
/// From serving to being counted: the record of a start, and its commit, have gone round.
const SETTLED: Duration = Duration::from_millis(300);
/// Writes that needed the victim, before it is hurt.
const WRITES_MIN: usize = 10;
/// How long the strangers may take to take a newcomer in, if they can.
const WELCOME_MAX: Duration = Duration::from_secs(3);
const CALL_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// Who is who in a history.
#[derive(Debug)]
struct Cast {
    victim: usize,
    strangers: Vec<usize>,
    /// Met by the victim, and alive beside it while writes need it.
    friends: Vec<usize>,
    /// Met by the victim, and not needed for such writes.
    others: Vec<usize>,
    /// Leads while victim and strangers are apart.
    leader: usize,
}

impl Cast {
    /// Those that are dead while writes need the victim, and then alone with it.
    fn absent(&self) -> Vec<usize> {
        self.strangers.iter().chain(&self.others).copied().collect()
    }
}

impl Nemesis {
    /// Carries the history out; the cluster is whole afterwards, but for the victim perhaps.
    ///
    /// # Errors
    /// Members do not do what they must, or could not be made to do what the history needs.
    pub async fn estrange(&mut self, history: &History) -> Result<()> {
        let cast = self.cast(history).await?;
        self.note(&format!("{history:?}: {cast:?} (from 0)"));
        self.keep_apart(history, &cast).await?;
        if let Damage::PutBack { starts } = history.damage {
            self.age(&cast, starts).await?;
        }
        let counted = self.lean_on_victim(history, &cast).await?;
        self.lose(history, &cast, counted)?;
        self.note("the victim is alone with the strangers");
        self.net.heal();
        for at in cast.absent().into_iter().chain([cast.victim]) {
            self.start(at)?;
        }
        tokio::time::sleep(history.alone).await;
        self.nobody_ended()?;
        self.note("everybody is back");
        for &at in &cast.friends {
            self.start(at)?;
        }
        let from = self.shared.recorder.now();
        let wrote = self.await_writes(from, SERVE_MAX).await;
        ensure!(wrote > 0, "no write is taken though all but one kept their data and are back");
        self.nobody_ended()?;
        match history.cure {
            Cure::Readd => self.readd(cast.victim, counted).await?,
            Cure::None if !counted => self.welcome(&cast).await?,
            Cure::None => {}
        }
        *self.struck.entry(history.kind(counted)).or_default() += 1;
        Ok(())
    }

    async fn cast(&mut self, history: &History) -> Result<Cast> {
        let (members, founders) = (self.cluster.len(), history.founders(self.cluster.len()));
        let led = self.leader().await.context("nobody leads the founders")?;
        let mut rest: Vec<usize> = (0..members).filter(|&at| at != led).collect();
        let mut take = |rest: &mut Vec<usize>, of: &dyn Fn(usize) -> bool| {
            let fit: Vec<usize> = (0..rest.len()).filter(|&n| of(rest[n])).collect();
            rest.swap_remove(fit[self.random.below(fit.len() as u64) as usize])
        };
        let is_founder = |at: usize| founders.contains(&at);
        let victim = match history.late {
            Late::Victim | Late::Added => take(&mut rest, &|at| !is_founder(at)),
            Late::Strangers => take(&mut rest, &is_founder),
        };
        let mut strangers = Vec::new();
        let mut friends = Vec::new();
        match history.absence {
            Absence::CutFromLeader => strangers.push(led),
            Absence::Down | Absence::Cut => friends.push(led),
        }
        while strangers.len() < history.strangers {
            strangers
                .push(take(&mut rest, &|at| is_founder(at) == (history.late != Late::Strangers)));
        }
        // With the victim they are a majority by one.
        while friends.len() + 1 < members - spare(members) {
            friends.push(take(&mut rest, &|_| true));
        }
        Ok(Cast { victim, strangers, friends, others: rest, leader: led })
    }

    /// Starts whoever is late so that victim and strangers do not meet.
    async fn keep_apart(&mut self, history: &History, cast: &Cast) -> Result<()> {
        let founders = history.founders(self.cluster.len());
        if history.absence == Absence::Down {
            cast.strangers.iter().for_each(|&at| self.kill(at));
        }
        for &stranger in &cast.strangers {
            self.net.set(cast.victim, stranger, Path::Cut);
            self.net.set(stranger, cast.victim, Path::Cut);
        }
        let url = self.cluster.peer_url(cast.victim);
        let there = self.sound();
        if history.late == Late::Added {
            roster::until(Wanted::Added, &self.cluster, &there, &url).await?;
        }
        for at in (0..self.cluster.len()).filter(|at| !founders.contains(at)) {
            self.start(at)?;
        }
        if !history.seats_victim(self.cluster.len()) {
            tokio::time::sleep(UNSEATED).await;
            return Ok(());
        }
        self.all_serve(cast).await?;
        if history.late == Late::Added {
            roster::until(Wanted::Votes, &self.cluster, &there, &url).await?;
        }
        tokio::time::sleep(SETTLED).await;
        self.all_serve(cast).await
    }

    /// Keeps a copy of the victim's directory and starts it again and again, each start known to
    /// the strangers from the configuration.
    async fn age(&mut self, cast: &Cast, starts: u64) -> Result<()> {
        for start in 0..starts {
            self.kill(cast.victim);
            if start == 0 {
                self.cluster.keep_image(cast.victim)?;
            }
            self.start(cast.victim)?;
            self.all_serve(cast).await?;
            tokio::time::sleep(SETTLED).await;
            self.all_serve(cast).await?;
        }
        Ok(())
    }

    /// Kills whoever is not needed beside the victim, and says whether writes are acknowledged.
    async fn lean_on_victim(&mut self, history: &History, cast: &Cast) -> Result<bool> {
        for at in cast.absent() {
            if self.cluster.is_running(at) {
                self.kill(at);
            }
        }
        let seated = history.seats_victim(self.cluster.len());
        let from = self.shared.recorder.now();
        let wrote = self.await_writes(from, if seated { SERVE_MAX } else { UNCOUNTED }).await;
        self.note(&format!("{wrote} writes needed the victim"));
        ensure!(wrote > 0 || !seated, "the victim was written down and is not counted");
        // The leader may have changed to one that the victim could reach.
        let may = seated || history.absence == Absence::CutFromLeader;
        ensure!(wrote == 0 || may, "the victim was counted, and nobody can have written it down");
        Ok(wrote > 0)
    }

    /// Kills everybody who is left, and hurts the victim's directory.
    fn lose(&mut self, history: &History, cast: &Cast, counted: bool) -> Result<()> {
        let victim = cast.victim;
        for at in (0..self.cluster.len()).filter(|at| cast.friends.contains(at) || *at == victim) {
            self.kill(at);
        }
        match history.damage {
            Damage::Emptied => self.cluster.empty(victim)?,
            Damage::PutBack { .. } => self.cluster.put_back(victim)?,
        }
        ensure!(self.lost.is_none(), "one directory a round");
        self.lost = Some(Lost { at: victim, stays_out: counted, back: false });
        Ok(())
    }

    /// A victim that nobody ever wrote down is a newcomer to the strangers. Where they take it in
    /// it is in for everybody: writes go on with it and those that met it before alone.
    async fn welcome(&mut self, cast: &Cast) -> Result<()> {
        let host = cast.strangers[0];
        let deadline = Instant::now() + WELCOME_MAX;
        let channel = Channel::new(&self.cluster.endpoint(cast.victim));
        loop {
            self.keep_leader(Some(host)).await;
            let answer: Result<pb::RangeResponse, _> =
                channel.call_within(CALL_MAX, method::kv::RANGE, &load::range(0, false)).await;
            if answer.is_ok() {
                break;
            }
            if Instant::now() > deadline {
                self.note("nobody takes the victim in");
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(SETTLED).await;
        self.note("the victim was taken in; the strangers die");
        cast.strangers.iter().for_each(|&at| self.kill(at));
        let from = self.shared.recorder.now();
        let wrote = self.await_writes(from, SERVE_MAX).await;
        ensure!(wrote > 0, "the victim was taken in, and those that met it before refuse it");
        for &at in &cast.strangers {
            self.start(at)?;
        }
        *self.struck.entry("stranger taken in").or_default() += 1;
        Ok(())
    }

    /// The documented cure: the member is removed and added again, with an empty directory.
    async fn readd(&mut self, victim: usize, stays_out: bool) -> Result<()> {
        let sound = self.sound();
        if stays_out {
            aftermath::stays_out(&self.cluster, victim, &sound).await?;
        }
        if self.cluster.pid(victim).is_some() {
            self.kill(victim);
        }
        self.note("the victim is removed and added again");
        let url = self.cluster.peer_url(victim);
        roster::until(Wanted::Removed, &self.cluster, &sound, &url).await?;
        if self.cluster.data_dir(victim).exists() {
            self.cluster.empty(victim)?;
        }
        roster::until(Wanted::Added, &self.cluster, &sound, &url).await?;
        self.cluster.rejoin(victim);
        self.start(victim)?;
        roster::until(Wanted::Votes, &self.cluster, &sound, &url).await?;
        self.serves(victim, None).await?;
        self.lost = Some(Lost { at: victim, stays_out: false, back: true });
        *self.struck.entry("member added again").or_default() += 1;
        Ok(())
    }

    /// Waits until everybody who runs has all that is committed.
    async fn all_serve(&mut self, cast: &Cast) -> Result<()> {
        for at in
            (0..self.cluster.len()).filter(|&at| self.cluster.is_running(at)).collect::<Vec<_>>()
        {
            self.serves(at, Some(cast.leader)).await?;
        }
        Ok(())
    }

    /// Waits until a member answers a linearizable read; `leader` is to lead meanwhile.
    async fn serves(&mut self, at: usize, leader: Option<usize>) -> Result<()> {
        let channel = Channel::new(&self.cluster.endpoint(at));
        let deadline = Instant::now() + SERVE_MAX;
        loop {
            self.keep_leader(leader).await;
            let answer: Result<pb::RangeResponse, _> =
                channel.call_within(CALL_MAX, method::kv::RANGE, &load::range(0, false)).await;
            match answer {
                Ok(_) if leader.is_none() || self.leaders.current() == leader => return Ok(()),
                Err(why) if Instant::now() > deadline => bail!("n{} serves not: {why}", at + 1),
                Ok(_) if Instant::now() > deadline => bail!("n{:?} does not stay leader", leader),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Gives the lead back to whom it was taken from, if anybody has it.
    async fn keep_leader(&mut self, leader: Option<usize>) {
        let Some((wanted, leads)) = leader.zip(self.leaders.current()) else { return };
        if wanted != leads && self.cluster.is_running(leads) {
            // It may just have lost it; it is asked again.
            let handed = roster::hand_over(&self.cluster, leads, wanted).await;
            self.note(&format!("n{} hands over to n{}: {handed:?}", leads + 1, wanted + 1));
        }
    }

    /// Waits for some writes, asked for from `moment` on, or for the time to be over.
    async fn await_writes(&self, moment: u64, most: Duration) -> usize {
        let deadline = Instant::now() + most;
        loop {
            let wrote = self.shared.recorder.wrote_since(moment);
            if wrote >= WRITES_MIN || Instant::now() > deadline {
                return wrote;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
