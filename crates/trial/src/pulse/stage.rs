//! Where a row is played: three members, loaded and quiet again, and a thread for the load.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::Message;
use api::etcdserverpb as pb;
use client::{Channel, method};

use super::vitals::Vitals;
use crate::beside::Beside;
use crate::cluster::{Cluster, Program};
use crate::field::asked::all;
use crate::gap;

pub const MEMBERS: usize = 3;
/// Room for every row's data, whatever a program has for a default.
const FLAGS: [&str; 2] = ["--quota-backend-bytes", "8589934592"];
/// A call of a row that is not answered by then is given up, and the row says so.
pub const WORK_MAX: Duration = Duration::from_secs(180);
const CALL_MAX: Duration = Duration::from_secs(120);
const STATUS_MAX: Duration = Duration::from_secs(2);
const LED_MAX: Duration = Duration::from_secs(30);
/// Members are quiet when all together use less of a core for so long.
const QUIET_CORES: f64 = 0.15;
const QUIET_WINDOW: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_secs(120);

/// How large and how long rows are.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub scale: f64,
    pub quiet: Duration,
    /// A row whose work is over sooner begins it again.
    pub row: Duration,
}

impl Plan {
    /// So many of a thing at this scale.
    pub fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale).round() as u64).max(1)
    }
}

/// Who leads, and since which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Office {
    pub term: u64,
    pub leader: u64,
}

impl Office {
    /// How often the office changed hands, or was lost and won back.
    pub fn changes_until(self, later: Self) -> u64 {
        let terms = later.term.saturating_sub(self.term);
        terms.max(u64::from(later.leader != self.leader))
    }
}

/// A running cluster, whose leader is known.
pub struct Stage {
    pub cluster: Cluster,
    pub leader: usize,
    pub plan: Plan,
    load: Beside,
}

impl Stage {
    /// Starts the members.
    ///
    /// # Errors
    /// A member that does not start.
    pub fn start(program: &Program, plan: Plan) -> Result<Self> {
        let cluster = Cluster::start(program, MEMBERS, &FLAGS)?;
        let load = Beside::start()?;
        let leader = load.wait(gap::leader(&cluster))?;
        Ok(Self { cluster, leader, plan, load })
    }

    /// Waits until the members have done with what they were loaded with, and looks who leads.
    ///
    /// # Errors
    /// They go on working, or nobody leads.
    pub fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + QUIET_MAX;
        loop {
            let (from, before) = (Instant::now(), self.cluster.cpu_used()?);
            std::thread::sleep(QUIET_WINDOW);
            let used = self.cluster.cpu_used()?.saturating_sub(before);
            let cores = used.as_secs_f64() / from.elapsed().as_secs_f64();
            if cores < QUIET_CORES {
                break;
            }
            let seconds = QUIET_MAX.as_secs();
            ensure!(Instant::now() < deadline, "not quiet {seconds} s after loading: {cores:.2}");
        }
        self.leader = self.load.wait(gap::leader(&self.cluster))?;
        Ok(())
    }

    /// The leader's client address.
    pub fn endpoint(&self) -> String {
        self.cluster.endpoint(self.leader)
    }

    /// The client address of a member that follows.
    pub fn follower(&self) -> String {
        self.cluster.endpoint((self.leader + 1) % MEMBERS)
    }

    /// The leader's process.
    ///
    /// # Errors
    /// It has ended.
    pub fn vitals(&self) -> Result<Vitals> {
        self.cluster.pid(self.leader).map(Vitals::new).context("the leader does not run")
    }

    /// Drives work on the load's own thread; none when it was not done after [`WORK_MAX`].
    ///
    /// # Errors
    /// The work's own, or it panicked.
    pub fn work<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        self.within(WORK_MAX, work)
    }

    /// As [`Self::work`], within another bound.
    ///
    /// # Errors
    /// As there.
    pub fn within<T: Send + 'static>(
        &self,
        bound: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let work = async move { tokio::time::timeout(bound, work).await };
        match self.load.wait(self.load.handle().spawn(work)).context("the load panicked")? {
            Ok(done) => done.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// One call to the leader that has to succeed.
    ///
    /// # Errors
    /// It did not.
    pub fn call<A: Message + Default + 'static>(
        &self,
        path: &'static str,
        request: impl Message + 'static,
    ) -> Result<A> {
        let channel = Channel::new(&self.endpoint());
        let call = async move { Ok(channel.call(path, &request).await?) };
        self.within(CALL_MAX, call)?.with_context(|| format!("{path}: no answer"))
    }

    /// Keys with a prefix, and the revision.
    ///
    /// # Errors
    /// No answer.
    pub fn count(&self, prefix: &str) -> Result<(u64, i64)> {
        let request = pb::RangeRequest { count_only: true, ..all(prefix) };
        let answer: pb::RangeResponse = self.call(method::kv::RANGE, request)?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok((u64::try_from(answer.count)?, revision))
    }

    /// Who leads now; waits for one where nobody does.
    ///
    /// # Errors
    /// Nobody does.
    pub fn office(&self) -> Result<Office> {
        let deadline = Instant::now() + LED_MAX;
        loop {
            let seen = self.load.wait(self.offices());
            if let Some(office) = seen.into_iter().max_by_key(|office| office.term)
                && office.leader != 0
            {
                return Ok(office);
            }
            ensure!(Instant::now() < deadline, "nobody leads");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    async fn offices(&self) -> Vec<Office> {
        let mut seen = Vec::new();
        for endpoint in self.cluster.endpoints() {
            let channel = Channel::new(&endpoint);
            let request = pb::StatusRequest::default();
            let answer: Result<pb::StatusResponse, _> =
                channel.call_within(STATUS_MAX, method::maintenance::STATUS, &request).await;
            if let Ok(status) = answer {
                seen.push(Office { term: status.raft_term, leader: status.leader });
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_office_that_was_lost_and_won_back_has_changed() {
        let office = |term, leader| Office { term, leader };
        assert_eq!(office(2, 7).changes_until(office(2, 7)), 0);
        assert_eq!(office(2, 7).changes_until(office(4, 7)), 2);
        assert_eq!(office(2, 7).changes_until(office(2, 8)), 1);
    }

    #[test]
    fn a_scaled_count_is_never_nothing() {
        let plan = |scale| Plan { scale, quiet: Duration::ZERO, row: Duration::ZERO };
        assert_eq!(plan(1.0).scaled(300_000), 300_000);
        assert_eq!(plan(0.1).scaled(1_005), 101);
        assert_eq!(plan(0.001).scaled(8), 1);
    }
}
