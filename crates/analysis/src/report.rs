//! Everything known about one system, and its text.

use std::fmt::Write as _;

use num_traits::One;
use quorum::{Dominance, Family, Names, NodeSet, Protocol, SystemSpec, Unsafe, Why, check_pair};

use crate::availability::{Live, Needed, live};
use crate::goal::Goal;
use crate::model::Model;
use crate::ratio::{Ratio, short, show};
use crate::strategy::{Choice, NoStrategy, Strategy};
use crate::workload::Workload;

/// Sets listed in a text before "and more".
const LISTED_MAX: usize = 12;

/// The rule that every ballot of the store's own protocol needs at least.
const PAXOS: &str = "paxos";

/// One role's family.
#[derive(Clone, Debug)]
pub struct Side {
    /// Minimal quorums, the smallest first; at most [`QUORUMS_MAX`].
    pub quorums: Vec<NodeSet>,
    /// How many there are, when all were listed.
    pub count: Option<usize>,
    pub resilience: usize,
    /// A smallest set whose loss stops this role.
    pub stopped_by: NodeSet,
    /// `None` when there are too many different sets to count.
    pub live: Option<Live>,
}

/// Minimal quorums that are listed.
pub const QUORUMS_MAX: usize = 10_000;

/// One protocol's verdict.
#[derive(Clone, Debug)]
pub struct Safety {
    pub protocol: String,
    pub verdict: Result<(), Unsafe>,
}

/// A zone and whether each role goes on without it.
#[derive(Clone, Debug)]
pub struct ZoneLoss {
    pub zone: String,
    pub elect_goes_on: bool,
    pub commit_goes_on: bool,
}

/// What `quorate quorum analyze` says.
#[derive(Clone, Debug)]
pub struct Report {
    pub text: String,
    pub model: Model,
    pub work: Workload,
    pub goal: Goal,
    pub elect: Side,
    pub commit: Side,
    pub both_live: Option<Live>,
    pub safety: Vec<Safety>,
    pub dominance: Dominance,
    pub zones: Vec<ZoneLoss>,
    pub strategy: Result<Strategy, NoStrategy>,
}

impl Report {
    /// Analyses a system for a workload and a goal.
    pub fn new(text: &str, model: Model, work: Workload, goal: Goal) -> Self {
        let strategy = Strategy::best(&model, &work, &goal);
        let side = |family: &Family, needed| {
            let (quorums, complete) = family.minimal_quorums_max(QUORUMS_MAX);
            let stopped_by = family.smallest_blocking();
            let count = complete.then_some(quorums.len());
            let live = live(&model, needed);
            Side { quorums, count, resilience: stopped_by.len() - 1, stopped_by, live }
        };
        let zones = model.zones().into_iter().map(|(zone, members)| ZoneLoss {
            zone,
            elect_goes_on: !model.elect().blocks(members),
            commit_goes_on: !model.commit().blocks(members),
        });
        Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            elect: side(model.elect(), Needed::Elect),
            commit: side(model.commit(), Needed::Commit),
            both_live: live(&model, Needed::Both),
            safety: safety(&model, text),
            dominance: model.commit().dominated_by(model.elect()),
            zones: zones.collect(),
            work,
            goal,
            strategy,
            model,
        }
    }

    /// Whether a Raft with some ballot rule may use it.
    pub fn is_safe(&self) -> bool {
        let paxos = self.safety.iter().find(|safety| safety.protocol == PAXOS);
        paxos.is_some_and(|safety| safety.verdict.is_ok())
    }

    /// Members that may fail, whichever they are, with both roles going on.
    pub fn resilience(&self) -> usize {
        self.elect.resilience.min(self.commit.resilience)
    }

    /// For people. `failures` are the probabilities that a member is down.
    pub fn show(&self, failures: &[Ratio]) -> String {
        let names = self.model.names();
        let members = self.model.members();
        let mut out = format!("system:   {}\n", self.text);
        let _ = writeln!(out, "members:  {} {}", members.len(), names.show(members));
        let _ = writeln!(out, "safety:");
        for safety in &self.safety {
            let verdict = match &safety.verdict {
                Ok(()) => "safe".to_owned(),
                Err(offence) => explain(names, offence),
            };
            let _ = writeln!(out, "  {:<28} {verdict}", safety.protocol);
        }
        let same = self.model.elect() == self.model.commit();
        self.show_side(&mut out, if same { "elect and commit" } else { "elect" }, &self.elect);
        if !same {
            self.show_side(&mut out, "commit", &self.commit);
            let _ = writeln!(out, "both roles survive any {}", self.resilience());
        }
        let _ = writeln!(out, "dominated: {}", self.show_dominance());
        self.show_failures(&mut out, failures);
        for zone in &self.zones {
            let goes_on = |yes: bool| if yes { "goes on" } else { "stops" };
            let (elect, commit) = (goes_on(zone.elect_goes_on), goes_on(zone.commit_goes_on));
            let _ = writeln!(out, "without zone {}: elect {elect}, commit {commit}", zone.zone);
        }
        self.show_strategy(&mut out);
        out
    }

    fn show_side(&self, out: &mut String, title: &str, side: &Side) {
        let names = self.model.names();
        let _ = writeln!(out, "{title}:");
        let sizes = (side.quorums.first().map_or(0, |q| q.len()), side.quorums.last());
        let largest = sizes.1.map_or(0, |q| q.len());
        let sizes = if sizes.0 == largest {
            format!("of {largest} members")
        } else {
            format!("of {} to {largest} members", sizes.0)
        };
        let count = match side.count {
            Some(count) => count.to_string(),
            None => format!("more than {QUORUMS_MAX}"),
        };
        let _ = writeln!(out, "  minimal quorums: {count}, {sizes}");
        for quorum in side.quorums.iter().take(LISTED_MAX) {
            let _ = writeln!(out, "    {}", names.show(*quorum));
        }
        if side.quorums.len() > LISTED_MAX {
            out.push_str("    ... and more\n");
        }
        let stop = names.show(side.stopped_by);
        let _ = writeln!(out, "  resilience: {} (losing {stop} stops it)", side.resilience);
    }

    fn show_dominance(&self) -> String {
        match self.dominance {
            Dominance::Never => "no, every set that may commit does".to_owned(),
            Dominance::By(set) => {
                let set = self.model.names().show(set);
                format!("yes, {set} meets every elect quorum and is no commit quorum")
            }
            Dominance::TooComplex => "not known, too complex to search".to_owned(),
        }
    }

    fn show_failures(&self, out: &mut String, failures: &[Ratio]) {
        let chance = |live: &Option<Live>, p: &Ratio| match live {
            Some(live) => short(&live.failure(p)),
            None => "too many sets".to_owned(),
        };
        for p in failures {
            let _ = writeln!(
                out,
                "no quorum alive at p = {}: elect {}, commit {}, either {}",
                short(p),
                chance(&self.elect.live, p),
                chance(&self.commit.live, p),
                chance(&self.both_live, p),
            );
        }
    }

    fn show_strategy(&self, out: &mut String) {
        let shares = self.work.shares();
        let reads = match shares {
            [(reads, _)] => format!("{} reads", short(reads)),
            _ => format!("{} fractions of reads, mean {}", shares.len(), short(&self.work.mean())),
        };
        let objective = format!("{:?}", self.goal.objective).to_lowercase();
        let spare = match self.goal.spare {
            0 => String::new(),
            spare => format!(", {spare} spare in each set"),
        };
        let _ = writeln!(out, "strategy of least {objective}, {reads}{spare}:");
        let strategy = match &self.strategy {
            Ok(strategy) => strategy,
            Err(why) => {
                let _ = writeln!(out, "  {why}");
                return;
            }
        };
        let figures = Figures::new(self, strategy);
        let _ = writeln!(out, "  load      {}", show(&figures.load));
        let _ = writeln!(out, "  capacity  {} operations", show(&figures.capacity));
        let _ = writeln!(out, "  network   {} members an operation", show(&figures.network));
        let _ = writeln!(out, "  latency   {} s", show(&figures.latency));
        for (title, choices) in [("read ", &strategy.reads), ("write", &strategy.writes)] {
            for choice in choices.iter().take(LISTED_MAX) {
                let fraction = choice.probability.to_string();
                let is_short = fraction.len() <= 7;
                let share = if is_short { fraction } else { short(&choice.probability) };
                let _ = writeln!(out, "  {title} {share:>9} of the time {}", self.parts(choice));
            }
            if choices.len() > LISTED_MAX {
                let _ = writeln!(out, "  {title} ... and {} more", choices.len() - LISTED_MAX);
            }
        }
        for slot in self.model.members().iter() {
            let load = strategy.node_load_mean(&self.model, slot, &self.work);
            let name = self.model.names().name(slot).unwrap_or_default();
            let _ = writeln!(out, "  member {name:<8} load {}", show(&load));
        }
    }

    /// `2 of {a, b, c}, {d}`.
    pub fn parts(&self, choice: &Choice) -> String {
        let names = self.model.names();
        let mut all = NodeSet::EMPTY;
        let mut parts = Vec::new();
        for (count, members) in &choice.parts {
            if *count == members.len() {
                all = all.union(*members)
            } else {
                parts.push(format!("{count} of {}", names.show(*members)))
            }
        }
        if !all.is_empty() {
            parts.push(names.show(all));
        }
        parts.join(", ")
    }
}

/// The figures of a strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub load: Ratio,
    pub capacity: Ratio,
    pub network: Ratio,
    /// Seconds.
    pub latency: Ratio,
}

impl Figures {
    pub fn new(report: &Report, strategy: &Strategy) -> Self {
        Self {
            load: strategy.load(&report.model, &report.work),
            capacity: strategy.capacity(&report.model, &report.work),
            network: strategy.network(&report.work),
            latency: strategy.latency(&report.work),
        }
    }
}

fn safety(model: &Model, text: &str) -> Vec<Safety> {
    let spec = SystemSpec::parse(text).ok();
    let (elect, commit) = (model.elect(), model.commit());
    let members = model.members().len();
    // The most faulty members a rule allows, at least 1 so that a refusal shows its sets.
    let most = |rule: fn(u8) -> Protocol, members_a_fault: usize| {
        let holds = |f: &u8| {
            members > members_a_fault * *f as usize && check_pair(elect, commit, rule(*f)).is_ok()
        };
        (1..=20u8).take_while(holds).last().unwrap_or(1)
    };
    let byzantine = most(|f| Protocol::Byzantine { f }, 3);
    let masking = most(|f| Protocol::Masking { f }, 4);
    let two = most(|f| Protocol::TwoThreshold { f }, 5);
    let rules = [
        ("raft, ballot = (term, node)".to_owned(), Protocol::RaftTermAndNode),
        ("raft, shared terms".to_owned(), Protocol::RaftSharedTerms),
        (PAXOS.to_owned(), Protocol::Paxos),
        ("versioned votes (Gifford)".to_owned(), Protocol::VersionedVotes),
        (format!("byzantine, {byzantine} faulty"), Protocol::Byzantine { f: byzantine }),
        (format!("masking, {masking} faulty"), Protocol::Masking { f: masking }),
        (format!("two thresholds, {two} faulty"), Protocol::TwoThreshold { f: two }),
    ];
    let data = spec.map_or(Ok(()), |spec| spec.check_data(model.names(), commit));
    let judge = |(protocol, rule)| {
        let verdict = check_pair(elect, commit, rule).and(data);
        Safety { protocol, verdict }
    };
    rules.into_iter().map(judge).collect()
}

/// One line: which sets fail to meet.
pub fn explain(names: &Names, offence: &Unsafe) -> String {
    if offence.why == Why::TooComplex {
        return "not proved: too complex to search".to_owned();
    }
    if offence.why == Why::NoData {
        let set = names.show(offence.a);
        return format!("UNSAFE: commit {set} has witnesses only, who keep no data");
    }
    let (first, second) = offence.why.roles();
    let shared = offence.a.intersect(offence.b);
    let common = if shared.is_empty() {
        "share no member".to_owned()
    } else {
        format!("share only {}, {} needed", names.show(shared), offence.share_min)
    };
    format!(
        "UNSAFE: {first} {} and {second} {} {common}",
        names.show(offence.a),
        names.show(offence.b)
    )
}

/// Reports side by side, a row a figure.
pub fn compare(reports: &[Report], p: &Ratio) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut row = |title: &str, cell: &dyn Fn(&Report) -> String| {
        rows.push((title.to_owned(), reports.iter().map(cell).collect()));
    };
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let safe = |report: &Report, at: usize| yes(report.safety[at].verdict.is_ok());
    row("members", &|r| r.model.members().len().to_string());
    row("raft, (term, node)", &|r| safe(r, 0));
    row("raft, shared terms", &|r| safe(r, 1));
    let count = |side: &Side| side.count.map_or("many".to_owned(), |count| count.to_string());
    row("elect quorums", &|r| count(&r.elect));
    row("commit quorums", &|r| count(&r.commit));
    row("elect survives any", &|r| r.elect.resilience.to_string());
    row("commit survives any", &|r| r.commit.resilience.to_string());
    row("dominated", &|r| yes(r.dominance != Dominance::Never));
    let failure =
        |live: &Option<Live>| live.as_ref().map_or("-".to_owned(), |live| short(&live.failure(p)));
    row(&format!("no elect at p={}", short(p)), &|r| failure(&r.elect.live));
    row(&format!("no commit at p={}", short(p)), &|r| failure(&r.commit.live));
    let figure = |report: &Report, pick: fn(Figures) -> Ratio| match &report.strategy {
        Ok(strategy) => short(&pick(Figures::new(report, strategy))),
        Err(_) => "-".to_owned(),
    };
    row("load", &|r| figure(r, |figures| figures.load));
    row("capacity", &|r| figure(r, |figures| figures.capacity));
    row("network", &|r| figure(r, |figures| figures.network));
    row("latency s", &|r| figure(r, |figures| figures.latency));
    let mut out = String::new();
    for (at, report) in reports.iter().enumerate() {
        let _ = writeln!(out, "{}: {}", letter(at), report.text);
    }
    let _ = write!(out, "\n{:<22}", "");
    for at in 0..reports.len() {
        let _ = write!(out, "{:>12}", letter(at));
    }
    for (title, cells) in rows {
        let _ = write!(out, "\n{title:<22}");
        for cell in cells {
            let _ = write!(out, "{cell:>12}");
        }
    }
    out.push('\n');
    out
}

fn letter(at: usize) -> String {
    u8::try_from(at)
        .ok()
        .filter(|at| *at < 26)
        .map_or(format!("#{at}"), |at| char::from(b'A' + at).to_string())
}

/// A probability that a text gave, between 0 and 1.
pub fn probability(text: &str) -> Option<Ratio> {
    crate::ratio::parse(text).filter(|p| *p <= Ratio::one())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Node;
    use crate::goal::Objective;
    use crate::ratio::ratio;

    fn report(text: &str, nodes: &[&str]) -> Report {
        let nodes: Vec<Node> = nodes.iter().map(|node| Node::parse(node).unwrap()).collect();
        let model = Model::parse(text, &nodes).unwrap();
        let work = Workload::parse("0.5").unwrap();
        Report::new(text, model, work, Goal::least(Objective::Load))
    }

    #[test]
    fn a_report_says_every_figure_of_a_system() {
        let text = report("majority(a, b, c)", &[]).show(&[ratio(1, 10)]);
        for line in [
            "  raft, shared terms           safe",
            "  minimal quorums: 3, of 2 members",
            "  resilience: 1 (losing {a, b} stops it)",
            "dominated: no, every set that may commit does",
            "no quorum alive at p = 0.1: elect 0.028, commit 0.028, either 0.028",
            "  load      2/3 (0.666667)",
            "  capacity  3/2 (1.5) operations",
            "  read          1 of the time 2 of {a, b, c}",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn an_unsafe_pair_is_named_and_still_analysed() {
        let report = report("elect = 2 of (a, b, c, d); commit = 2 of (a, b, c, d)", &[]);
        assert!(!report.is_safe());
        let text = report.show(&[]);
        assert!(text.contains("UNSAFE: elect {a, b} and commit {c, d} share no member"), "{text}");
    }

    #[test]
    fn a_commit_set_of_witnesses_is_safe_for_nobody() {
        let report = report("majority(a, witness(v), witness(w))", &[]);
        assert!(!report.is_safe());
        let text = report.show(&[]);
        let line = "raft, shared terms           UNSAFE: commit {v, w} has witnesses only";
        assert!(text.contains(line), "{text}");
        assert!(self::report("majority(a, b, witness(w))", &[]).is_safe());
    }

    #[test]
    fn a_zone_that_stops_a_role_is_said() {
        let nodes = ["a:zone=eu", "b:zone=eu", "c:zone=us"];
        let text = report("majority(a, b, c)", &nodes).show(&[]);
        assert!(text.contains("without zone eu: elect stops, commit stops"), "{text}");
        assert!(text.contains("without zone us: elect goes on, commit goes on"), "{text}");
    }

    #[test]
    fn a_comparison_has_a_column_for_each_system() {
        let reports = [report("majority(a, b, c)", &[]), report("flexible(1; a, b, c)", &[])];
        let text = compare(&reports, &ratio(1, 10));
        let line = text.lines().find(|line| line.starts_with("commit survives any")).unwrap();
        assert_eq!(line.split_whitespace().skip(3).collect::<Vec<_>>(), ["1", "2"]);
    }
}
