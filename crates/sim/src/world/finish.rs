//! After the faults: the cluster must come back to life, answer, agree and end its leases.

use super::World;
use crate::client::{Ask, Outcome};
use crate::node::{Process, Stage};
use base::{Blob, Nanos};
use mvcc::{Command, PutRequest, RangeRequest};
use quorum::NodeSet;

/// Longest time to a leader that commits, in longest election timeouts (twice the shortest).
const LEADER_TIMEOUTS_MAX: u64 = 16;
/// Longest time until all members are equal, in the same unit.
const EQUAL_TIMEOUTS_MAX: u64 = 16;

/// Longest time until all is published that members say, in the same unit.
const SAID_TIMEOUTS_MAX: u64 = 16;

/// Operations of a standard life.
const OPS_MIN: u32 = 320;

impl World {
    /// The whole life: faults, the heal, and what must hold after it.
    pub fn live(&mut self) {
        self.run_until(self.plan.life);
        if self.judge.violation.is_none() {
            self.finish();
        }
        for _ in 0..self.judge.configs.marked_out {
            self.stats.change("marked-out");
        }
        for node in &self.nodes {
            let counts = node.disk.machine().counts;
            self.stats.disk(&counts);
        }
    }

    pub fn finish(&mut self) {
        self.heal();
        if let Some(what) = self.is_stuck() {
            // A story may go beyond what any protocol survives; a planned life never does.
            return self.blame("faults stay within the budget", what);
        }
        self.leads_again();
        self.settles();
        let since = self.now;
        self.ask_the_rest();
        self.answers_everywhere();
        // What an operator asked while nobody led may have been begun since.
        self.settles();
        self.ends_leases(since);
        self.closing = true;
        self.agrees();
        if self.judge.violation.is_none() {
            // A newcomer whose change was never committed hears nothing.
            let members = self.members();
            let strangers = (0..self.nodes.len()).filter(|n| !members.contains(*n as u8));
            strangers.collect::<Vec<_>>().into_iter().for_each(|n| self.lose_watchers(n));
            self.wake_watchers();
            // A request that was under way may still come in, and is to be seen too.
            for _ in 0..5 {
                let applied = self.judge.applied();
                self.run_until(self.now.plus(Nanos::from_millis(1000)));
                if self.judge.applied() == applied {
                    break;
                }
            }
            self.check_watchers();
        }
    }

    /// Machines that run and are not refused by their peers.
    pub(super) fn present(&self) -> NodeSet {
        let present =
            self.nodes.iter().filter(|n| n.runs() && !n.shunned && n.stage == Stage::Member);
        present.map(|node| node.slot).collect()
    }

    /// Those of them that are members, and vote.
    pub(super) fn members(&self) -> NodeSet {
        let ruling = self.judge.configs.committed();
        let slots = ruling.config.members.iter().map(|m| m.slot).collect();
        ruling.places(slots).intersect(self.present())
    }

    /// Whoever votes and serves, there or not.
    fn voters(&self) -> NodeSet {
        let ruling = self.judge.configs.committed();
        ruling.places(ruling.config.voters().minus(ruling.config.witnesses()))
    }

    /// Why what some member goes by cannot be decided by those that are left.
    fn is_stuck(&self) -> Option<String> {
        let present = self.present();
        let (configs, applied) = (&self.judge.configs, self.judge.applied());
        let ids = present.iter().map(|place| self.nodes[usize::from(place)].id);
        let next: Vec<_> = ids
            .filter_map(|id| configs.of(id))
            .filter(|ruling| !configs.is_past(ruling, applied))
            .collect();
        // A later one that is decided on here may be applied by nobody yet (seed 410042521).
        let is_followed = next.iter().any(|ruling| ruling.decides(present));
        let committed = (!is_followed).then(|| configs.committed());
        let stuck = next.into_iter().chain(committed).find(|ruling| !ruling.decides(present));
        stuck.map(|ruling| {
            let (quorum, joint) = (&ruling.config.quorum, &ruling.config.joint);
            format!("only {present:?} are left for {quorum}, joint {joint:?}")
        })
    }

    pub(super) fn timeouts(&self, n: u64) -> Nanos {
        Nanos(self.plan.knobs.election.0 * 2 * n)
    }

    fn leads_again(&mut self) {
        let until = self.now.plus(self.timeouts(LEADER_TIMEOUTS_MAX));
        let step = self.plan.knobs.heartbeat;
        while self.judge.violation.is_none() {
            let ready = |world: &Self| {
                let leader = world.leader()?;
                world.nodes[leader].up().filter(|m| m.replica.raft().leader_ready()).map(|_| ())
            };
            if ready(self).is_some() {
                return;
            }
            if self.now >= until {
                let what = format!("no leader within {LEADER_TIMEOUTS_MAX} election timeouts");
                return self.blame("alive again", what);
            }
            self.run_until(self.now.plus(step));
        }
    }

    /// What was begun is done, and what members say is published.
    fn settles(&mut self) {
        self.ends_changes();
        self.says_all();
        // Who had not said its name could not be promoted.
        self.ends_changes();
    }

    /// What every live member says of itself stands in the committed configuration.
    fn says_all(&mut self) {
        let rule = "what members say is published";
        self.comes_to_an_end(rule, SAID_TIMEOUTS_MAX, Self::unpublished);
    }

    /// Goes on until nothing is `left`; what is left after so many election timeouts breaks the
    /// rule.
    pub(super) fn comes_to_an_end(
        &mut self,
        rule: &'static str,
        timeouts_max: u64,
        left: impl Fn(&Self) -> Option<String>,
    ) {
        let until = self.now.plus(self.timeouts(timeouts_max));
        while self.judge.violation.is_none() {
            let Some(what) = left(self) else { return };
            if self.now >= until {
                return self.blame(rule, what);
            }
            self.run_until(self.now.plus(self.plan.knobs.heartbeat));
        }
    }

    /// What faults kept clients from asking is asked now: every life has its operations.
    fn ask_the_rest(&mut self) {
        let least = self.plan.ops.min(OPS_MIN) as usize;
        while self.judge.violation.is_none() && self.ops.len() < least {
            self.run_until(self.now.plus(self.plan.knobs.think_max));
        }
    }

    /// A write and a read at every member succeed, also at one that comes in meanwhile.
    fn answers_everywhere(&mut self) {
        let (mut due, mut asked) = (self.voters().intersect(self.present()), NodeSet::new());
        while let Some(node) = due.minus(asked).iter().next() {
            asked.insert(node);
            self.answers_at(node);
            due = due.union(self.voters().intersect(self.present()));
        }
    }

    /// One that the committed configuration has let go of meanwhile owes no answer, nor does one
    /// whose damaged disk has shown by now that it cannot go on; one that is down does.
    fn answers_at(&mut self, node: u8) {
        let client = u16::MAX - 1;
        // Each on its own: thirteen whose clients lose a frame now and then take their time.
        let until = self.now.plus(self.timeouts(LEADER_TIMEOUTS_MAX));
        while self.judge.violation.is_none() && self.voters().contains(node) {
            let number = self.ops.len() as u32;
            let key = Blob::from(format!("probe-{node}").as_bytes());
            let value = Blob::from(format!("{number:08x}-0").as_bytes());
            let put = PutRequest { key: key.clone(), value, ..PutRequest::default() };
            let put = self.begin(client, Ask::Write(Command::Put(put)), node);
            let range = RangeRequest { key, ..RangeRequest::default() };
            let get = self.begin(client, Ask::Range(range), node);
            self.run_until(self.now.plus(self.timeouts(1)));
            let done = |world: &Self, op| world.outcome(op) == Outcome::Done;
            let place = &self.nodes[usize::from(node)];
            let is_lost = place.damaged && matches!(place.process, Process::Refused(_));
            if is_lost || (done(self, put) && done(self, get)) {
                return;
            }
            if self.now >= until {
                let what = format!("n{} answers neither write nor read", node + 1);
                return self.blame("alive again", what);
            }
        }
        if !self.voters().contains(node) {
            self.stats.fault("let-go-while-asked");
        }
    }

    /// A lease that nobody renews ends, at most a stated slack late: one mark interval, one
    /// election, and what the slowest clock adds.
    fn ends_leases(&mut self, since: Nanos) {
        self.closing = true;
        let slack = Nanos::from_millis(3000).plus(self.timeouts(2));
        // What was on its way when the clients closed may still grant or renew one.
        while self.judge.violation.is_none() && !self.judge.leases.open().is_empty() {
            let until = self.judge.leases.last_end(since).max(self.now).plus(slack);
            self.run_until(until);
            let open = self.judge.leases.open();
            if !open.is_empty() && self.judge.leases.last_end(since).plus(slack) <= self.now {
                self.blame("leases end", format!("leases {open:?} live {slack} ns too long"));
            }
        }
    }

    /// Every member has applied everything, with equal hashes, and the logs match.
    fn agrees(&mut self) {
        let until = self.now.plus(self.timeouts(EQUAL_TIMEOUTS_MAX));
        while self.judge.violation.is_none() {
            let lingers = |n: &&crate::node::Node| n.runs() && self.judge.configs.has_left(n.id);
            let lingering = self.nodes.iter().find(lingers).map(|n| usize::from(n.slot));
            if let Some(node) = lingering {
                self.meet(node);
            }
            let present = self.members();
            let here = present.iter().filter_map(|slot| self.nodes[usize::from(slot)].up());
            let states: Vec<_> = here.map(|member| member.replica.status()).collect();
            // A witness keeps the place only; that it has no data is looked at as it goes.
            let data = states.iter().filter(|s| !self.judge.configs.is_witness(s.id));
            let data: Vec<(u64, u64)> = data.map(|s| (s.chain_hash, s.content_hash)).collect();
            let equal = data.windows(2).all(|pair| pair[0] == pair[1]);
            let all = states.iter().all(|status| status.applied == self.judge.applied());
            if equal && all && lingering.is_none() {
                break;
            }
            if self.now >= until {
                let what = format!(
                    "states {states:?}, {} committed, {lingering:?} lingers",
                    self.judge.applied()
                );
                return self.blame("all members agree", what);
            }
            self.run_until(self.now.plus(self.plan.knobs.heartbeat));
        }
        self.check_repairs_ended();
        self.check_told();
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.compare_logs(a, b);
            }
        }
    }

    /// Why a member does not run, for those that refuse to.
    pub fn refusals(&self) -> Vec<(String, String)> {
        let refused = self.nodes.iter().filter_map(|node| match &node.process {
            Process::Refused(text) => Some((node.name.clone(), text.clone())),
            _ => None,
        });
        refused.collect()
    }
}
