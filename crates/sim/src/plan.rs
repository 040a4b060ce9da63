//! Everything that determines a life.

use crate::families::{self, Group};
use crate::fault::{self, Fault, Kind};
use crate::knobs::{Knobs, Profile, Still};
use base::{Nanos, NodeId, Prng};
use cluster::{BallotRule, Configuration, Member};

/// Virtual time of a standard life, before its faults are healed.
pub const LIFE: Nanos = Nanos::from_millis(60_000);
pub const NODES_MAX: usize = 13;
/// Machines of one life, those that left included.
const PLACES_MAX: usize = 40;
/// Part of a life in which changes are asked for, in hundredths.
const CHANGES_PERCENT: u64 = 95;
/// A clock may run at half or one and a half times its rate, no worse.
const DRIFT_PPM_MAX: u64 = 500_000;

/// What a person fixed; the rest is drawn from the seed.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub nodes: Option<usize>,
    pub quorum: Option<String>,
    pub ops: Option<u32>,
    pub clients: Option<u16>,
    /// Planned faults that happen, by number; all of them when none.
    pub faults: Option<Vec<usize>>,
    /// Parts of the environment that behave.
    pub still: Vec<Still>,
    /// Clocks run at most this much too fast or too slow. Leases allow for 10,000.
    pub drift_ppm: Option<u64>,
    /// Members and quorum change in every life.
    pub changes: bool,
    /// The quorum system is drawn from this family.
    pub family: Option<Group>,
}

/// One life, complete: equal plans give byte-identical traces.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub profile: Profile,
    pub nodes: usize,
    pub quorum: String,
    pub rule: BallotRule,
    pub ops: u32,
    pub clients: u16,
    pub knobs: Knobs,
    pub faults: Vec<Fault>,
    pub life: Nanos,
    /// In stories of wrong formulas: what each member takes the quorum to be, unchecked by the
    /// others. Empty: what it is.
    pub misled: Vec<String>,
}

impl Plan {
    /// # Errors
    /// A quorum text that does not parse, or is unsafe for the members it names.
    pub fn new(seed: u64, profile: Profile, wishes: &Wishes) -> Result<Self, String> {
        let mut random = Prng::new(seed ^ 0x7175_6f72_6174_6521);
        let swarm = profile == Profile::Swarm;
        let drawn =
            if swarm { [3, 3, 5, 5, 3, 5, 4, 7, 6, 1, 2, 9][random.below(12) as usize] } else { 3 };
        let drawn_quorum = random.next_u64();
        let mut knobs = Knobs::draw(profile, &mut random);
        let ops = 400 + if swarm { random.below(500) as u32 } else { 200 };
        let clients = 3 + if swarm { random.below(8) as u16 } else { 3 };
        let mut nodes = wishes.nodes.unwrap_or(drawn);
        match (wishes.nodes, &wishes.quorum, wishes.family) {
            (None, Some(text), _) => nodes = names_in(text)?,
            (None, None, Some(group)) => {
                let sizes = group.sizes();
                nodes = sizes[(seed % sizes.len() as u64) as usize];
            }
            (Some(nodes), None, Some(group)) if !group.sizes().contains(&nodes) => {
                let (name, sizes) = (group.name(), group.sizes());
                return Err(format!("family {name} has systems of {sizes:?} nodes, not {nodes}"));
            }
            _ => {}
        }
        if !(1..=NODES_MAX).contains(&nodes) {
            return Err(format!("between 1 and {NODES_MAX} nodes, not {nodes}"));
        }
        let (quorum, rule) = match &wishes.quorum {
            Some(text) => (text.clone(), BallotRule::SharedTerms),
            None => draw_quorum(nodes, drawn_quorum, swarm, wishes.family),
        };
        // Nothing between members can go wrong where there is one.
        let count = if nodes == 1 { knobs.faults * 4 } else { knobs.faults };
        let mut faults = fault::plan(&knobs.fault_weights, count, LIFE, &mut random);
        let mut random = Prng::new(seed ^ 0x6368_616e_6765_7321);
        if wishes.changes && knobs.changes == 0 {
            knobs.changes = Knobs::draw_changes(&mut random);
        }
        let until = Nanos(LIFE.0 / 100 * CHANGES_PERCENT);
        let changes = fault::plan(&Kind::change_weights(), knobs.changes, until, &mut random);
        faults.extend(changes);
        faults.sort_by_key(|fault| fault.at);
        let mut random = Prng::new(seed ^ 0x656d_7074_6965_6421);
        if swarm {
            knobs.emptied = [0, 2, 5][random.below(3) as usize];
            knobs.draw_late(seed);
        }
        faults.extend(fault::plan(&Kind::emptied_weights(), knobs.emptied, LIFE, &mut random));
        faults.extend(stops(seed, &knobs, wishes));
        if let Some(kept) = &wishes.faults {
            faults = kept.iter().filter_map(|at| faults.get(*at).copied()).collect();
        }
        wishes.still.iter().for_each(|part| knobs.still(*part));
        if let Some(drift) = wishes.drift_ppm {
            knobs.drift_ppm_max = drift.min(DRIFT_PPM_MAX);
        }
        let plan = Self {
            seed,
            profile,
            nodes,
            quorum,
            rule,
            ops: wishes.ops.unwrap_or(ops),
            clients: wishes.clients.unwrap_or(clients).max(1),
            knobs,
            faults,
            life: LIFE,
            misled: Vec::new(),
        };
        plan.configuration().compile().map_err(|error| error.message)?;
        Ok(plan)
    }

    /// Machines of the whole life: the first members and every newcomer.
    pub fn places(&self) -> usize {
        let comes = |fault: &&Fault| {
            matches!(fault.kind, Kind::ChangeAdd | Kind::ChangeLearner | Kind::ChangeReplace)
        };
        (self.nodes + self.faults.iter().filter(comes).count()).min(PLACES_MAX)
    }

    pub fn configuration(&self) -> Configuration {
        let member = |slot: usize| Member {
            id: NodeId(slot as u64 + 1),
            slot: slot as u8,
            name: name(slot),
            learner: false,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            life: base::Life::UNKNOWN,
        };
        Configuration {
            protocol: cluster::Protocol::Raft,
            members: (0..self.nodes).map(member).collect(),
            quorum: self.quorum.clone(),
            joint: None,
            rule: self.rule,
            limits: Vec::new(),
            change: cluster::ChangeState::default(),
        }
    }

    /// The command that plays this life again.
    pub fn command(&self, wishes: &Wishes) -> String {
        let mut text =
            format!("quorate sim run --seed {} --profile {}", self.seed, self.profile.name());
        if let Some(nodes) = wishes.nodes {
            text += &format!(" --nodes {nodes}");
        }
        if let Some(quorum) = &wishes.quorum {
            text += &format!(" --quorum '{quorum}'");
        }
        if let Some(ops) = wishes.ops {
            text += &format!(" --ops {ops}");
        }
        if let Some(clients) = wishes.clients {
            text += &format!(" --clients {clients}");
        }
        if let Some(faults) = &wishes.faults {
            let list: Vec<String> = faults.iter().map(usize::to_string).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(",") };
            text += &format!(" --faults {list}");
        }
        if let Some(drift) = wishes.drift_ppm {
            text += &format!(" --drift-ppm {drift}");
        }
        if wishes.changes {
            text += " --changes";
        }
        if let Some(group) = wishes.family {
            text += &format!(" --family {}", group.name());
        }
        if !wishes.still.is_empty() {
            let list: Vec<&str> = wishes.still.iter().map(|part| part.name()).collect();
            text += &format!(" --still {}", list.join(","));
        }
        text
    }
}

/// Planned stops, by a plan of their own: the other faults of a seed stay, and keep their numbers.
fn stops(seed: u64, knobs: &Knobs, wishes: &Wishes) -> Vec<Fault> {
    let none = wishes.still.contains(&Still::Stops);
    let count = if none { 0 } else { knobs.stops };
    let mut random = Prng::new(seed ^ 0x7374_6f70_7321_2121);
    fault::plan(&Kind::stop_weights(), count, LIFE, &mut random)
}

pub fn name(slot: usize) -> String {
    format!("n{}", slot + 1)
}

fn names(nodes: usize) -> Vec<String> {
    (0..nodes).map(name).collect()
}

pub fn majority(nodes: usize) -> String {
    quorum::majority_text(names(nodes))
}

/// The highest member a text names as `nK`.
fn names_in(text: &str) -> Result<usize, String> {
    let spec = quorum::SystemSpec::parse(text).map_err(|error| error.to_string())?;
    let numbers = spec.names().into_iter().map(|name| {
        let number = name.strip_prefix('n').and_then(|digits| digits.parse::<usize>().ok());
        number.ok_or_else(|| format!("members are n1, n2, ...; there is no {name}"))
    });
    numbers.collect::<Result<Vec<_>, _>>().map(|all| all.into_iter().max().unwrap_or(1))
}

/// Half the lives use majorities; the others everything the language can say.
fn draw_quorum(
    nodes: usize,
    choice: u64,
    swarm: bool,
    family: Option<Group>,
) -> (String, BallotRule) {
    let mut random = Prng::new(choice);
    let rule = match random.below(3) {
        0 if swarm || family.is_some() => BallotRule::TermAndNode,
        _ => BallotRule::SharedTerms,
    };
    let group = match family {
        Some(group) => group,
        None if swarm && random.below(2) == 0 => Group::All,
        None => return (majority(nodes), rule),
    };
    (families::draw(group, &names(nodes), rule, &mut random), rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_swarm_plan_is_a_safe_system_and_many_are_no_majority() {
        let mut others = 0;
        for seed in 0..400 {
            let plan = Plan::new(seed, Profile::Swarm, &Wishes::default()).expect("safe");
            others += u32::from(!plan.quorum.starts_with("majority"));
            assert!(plan.ops >= 300 && plan.faults.len() >= 10);
        }
        assert!(others > 60, "{others}");
    }

    #[test]
    fn an_unsafe_quorum_is_refused_with_its_reason() {
        let quorum = Some("2 of (n1, n2, n3, n4)".to_owned());
        let wishes = Wishes { quorum, ..Wishes::default() };
        let error = Plan::new(1, Profile::Calm, &wishes).expect_err("unsafe");
        assert!(error.contains("share no member"), "{error}");
        let wishes = Wishes { nodes: Some(5), family: Some(Group::Grid), ..Wishes::default() };
        let error = Plan::new(1, Profile::Calm, &wishes).expect_err("no grid");
        assert!(error.starts_with("family grid has systems of ["), "{error}");
    }
}
