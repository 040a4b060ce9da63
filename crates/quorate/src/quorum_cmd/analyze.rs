//! `quorate quorum analyze|compare|search`.

use std::path::PathBuf;

use analysis::ratio::{Ratio, parse};
use analysis::report::{Report, probability};
use analysis::search::Wanted;
use analysis::{Goal, Limits, Model, Node, Objective, Workload, svg};
use clap::{Args, ValueEnum};

use super::json;

/// What a strategy is chosen for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Aim {
    Load,
    Network,
    Latency,
}

/// What is known and wanted, for all three commands.
#[derive(Args, Clone, Debug)]
struct Wish {
    /// A member's figures: NAME:cap=WRITE/READ,latency=1s,zone=eu (repeat; default 1, 1, 1s)
    #[arg(long, value_name = "NODE")]
    node: Vec<String>,
    /// Several members at once, apart by spaces; or plain names apart by commas
    #[arg(long, value_name = "NODES")]
    nodes: Option<String>,
    /// Fraction of reads, or fractions with weights such as 0.9:10,0.5:20
    #[arg(long, default_value = "0.5")]
    reads: String,
    /// What the strategy makes as small as it can
    #[arg(long, value_enum, default_value = "load")]
    objective: Aim,
    /// Members of each contacted set that may fail and leave a quorum
    #[arg(long, default_value_t = 0)]
    spare: usize,
    /// Largest load, for example 1/2000
    #[arg(long)]
    load_max: Option<String>,
    /// Most members an operation contacts, on average
    #[arg(long)]
    network_max: Option<String>,
    /// Longest wait for a quorum, on average, for example 4s or 20ms
    #[arg(long)]
    latency_max: Option<String>,
    /// Machine-readable output: every number exact and as a decimal
    #[arg(long)]
    json: bool,
}

/// Arguments of `analyze`.
#[derive(Args, Clone, Debug)]
pub struct AnalyzeArgs {
    /// For example "zones(eu{a,b,c}, us{d,e,f}, ap{g,h,i})"; reads use elect sets
    expr: String,
    #[command(flatten)]
    wish: Wish,
    /// Probability that a member is down (repeat)
    #[arg(long = "fail", value_name = "P", default_values = ["0.01", "0.1"])]
    failures: Vec<String>,
    /// Writes a picture to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Two or more systems
    #[arg(num_args = 2.., required = true)]
    exprs: Vec<String>,
    #[command(flatten)]
    wish: Wish,
    /// Probability that a member is down
    #[arg(long = "fail", value_name = "P", default_value = "0.01")]
    failure: String,
}

/// Arguments of `search`.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    #[command(flatten)]
    wish: Wish,
    /// Members that may fail, whichever they are, with both roles going on
    #[arg(long, default_value_t = 0)]
    resilience: usize,
    /// Only systems whose elect sets meet each other, as Raft with shared terms needs
    #[arg(long)]
    shared_terms: bool,
}

/// Text and exit without an error when it is true; or a message.
type Answer = Result<(String, bool), String>;

impl Wish {
    fn read_nodes(&self) -> Result<Vec<Node>, String> {
        let mut texts: Vec<&str> = self.node.iter().map(String::as_str).collect();
        for word in self.nodes.iter().flat_map(|list| list.split_whitespace()) {
            if word.contains(':') {
                texts.push(word)
            } else {
                texts.extend(word.split(',').filter(|name| !name.is_empty()))
            }
        }
        let read = |text: &&str| Node::parse(text).map_err(|error| error.to_string());
        let nodes: Vec<Node> = texts.iter().map(read).collect::<Result<_, _>>()?;
        for (at, node) in nodes.iter().enumerate() {
            if nodes[..at].iter().any(|other| other.name == node.name) {
                return Err(format!("member `{}` is given twice", node.name));
            }
        }
        Ok(nodes)
    }

    fn work(&self) -> Result<Workload, String> {
        Workload::parse(&self.reads).map_err(|error| error.to_string())
    }

    fn goal(&self) -> Result<Goal, String> {
        let number = |text: &Option<String>| -> Result<Option<Ratio>, String> {
            let bad = |text: &String| format!("`{text}` is no number");
            text.as_ref().map(|text| parse(text).ok_or_else(|| bad(text))).transpose()
        };
        let seconds = |text: &String| {
            analysis::seconds(text).ok_or_else(|| format!("`{text}` is no time such as 20ms"))
        };
        Ok(Goal {
            objective: match self.objective {
                Aim::Load => Objective::Load,
                Aim::Network => Objective::Network,
                Aim::Latency => Objective::Latency,
            },
            limits: Limits {
                load_max: number(&self.load_max)?,
                network_max: number(&self.network_max)?,
                latency_max: self.latency_max.as_ref().map(seconds).transpose()?,
            },
            spare: self.spare,
        })
    }

    /// The report of one system. Figures of members it does not have are an error, unless
    /// several systems share the figures.
    fn report(&self, expr: &str, shared: bool) -> Result<Report, String> {
        let mut nodes = self.read_nodes()?;
        if shared && let Ok(spec) = quorum::SystemSpec::parse(expr) {
            let names = spec.names();
            nodes.retain(|node| names.contains(&node.name.as_str()));
        }
        let model = Model::parse(expr, &nodes).map_err(|error| error.to_string())?;
        Ok(Report::new(expr, model, self.work()?, self.goal()?))
    }
}

fn failure(text: &String) -> Result<Ratio, String> {
    probability(text).ok_or_else(|| format!("`{text}` is no probability"))
}

pub fn analyze(args: &AnalyzeArgs) -> Answer {
    let report = args.wish.report(&args.expr, false)?;
    let failures: Vec<Ratio> = args.failures.iter().map(failure).collect::<Result<_, _>>()?;
    if let Some(file) = &args.svg {
        std::fs::write(file, svg::picture(&report))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let text = if args.wish.json {
        json::pretty(&json::report(&report, &failures))
    } else {
        report.show(&failures)
    };
    Ok((text, report.is_safe()))
}

pub fn compare(args: &CompareArgs) -> Answer {
    let reports = args.exprs.iter().map(|expr| args.wish.report(expr, true));
    let reports: Vec<Report> = reports.collect::<Result<_, _>>()?;
    let p = failure(&args.failure)?;
    if args.wish.json {
        let all = reports.iter().map(|report| json::report(report, std::slice::from_ref(&p)));
        return Ok((json::pretty(&serde_json::Value::Array(all.collect())), true));
    }
    Ok((analysis::report::compare(&reports, &p), true))
}

pub fn search(args: &SearchArgs) -> Answer {
    let nodes = args.wish.read_nodes()?;
    if nodes.is_empty() {
        return Err("a search needs members: --node a --node b ...".to_owned());
    }
    let (work, goal) = (args.wish.work()?, args.wish.goal()?);
    let wanted = Wanted {
        goal: goal.clone(),
        resilience: args.resilience,
        elect_meets_elect: args.shared_terms,
    };
    let found = match analysis::search::search(&nodes, &work, &wanted) {
        Ok(found) => found,
        Err(why) => return Ok((why.to_string(), false)),
    };
    let report = Report::new(&found.text, found.model, work, goal);
    if args.wish.json {
        let mut value = json::report(&report, &[]);
        value["candidates"] = found.candidates.into();
        value["complete"] = found.complete.into();
        return Ok((json::pretty(&value), true));
    }
    let all = if found.complete { "all" } else { "the first" };
    let head = format!("the best of {all} {} systems\n", found.candidates);
    Ok((head + &report.show(&[]), true))
}
