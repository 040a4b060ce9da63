//! `quorate check`: whether recorded histories can be explained.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use check::Verdict;
use check::parse::Format;
use check::report::{ModelName, Report, load, page};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

/// Arguments of `quorate check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Says whether histories are linearizable
    Linear(LinearArgs),
}

const HELP: &str = "\
A history says who asked for what, when, and what came back. It is linearizable if every operation
can be given one moment between its request and its answer such that the answers are those of a
single object that does one thing at a time. An operation without an answer may have taken effect
at any later time, or never.

Models:
  register      read, write                 one value, absent at first
  cas-register  read, write, cas            one value, absent at first
  kv            get, put, append            independent keys, \"\" at first
  etcd          range, put, delete, txn     all keys together, with revisions; JSON lines only

Forms (recognised by themselves; docs/checker.md has all of them):
  INFO  jepsen.util - 0<tab>:invoke<tab>:write<tab>3
  {:process 0, :type :invoke, :f :append, :key \"x\", :value \"a\"}
  {\"process\":0,\"f\":\"cas\",\"value\":[1,2],\"output\":true,\"invoked\":10,\"returned\":25}

One line a file: the file, the verdict, the time, the states visited, the operations.
  linearizable       an order was found
  NOT linearizable   there is none; --explain and --html show how far an order gets
  unknown            the time or memory limit came first; never a guess

Exit codes: 0 all linearizable, 1 some are NOT, 2 bad arguments or input, 3 some are unknown.

Examples:
  quorate check linear --model cas-register etcd_*.log
  quorate check linear --model kv --explain --html why.html c10-bad.txt
  zcat run.jsonl.gz | quorate check linear --model etcd -";

#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
struct LinearArgs {
    /// What the history is one of: register, cas-register, kv or etcd
    #[arg(long)]
    model: ModelName,
    /// Histories; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the files are written
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    format: Form,
    /// Give up on a file after this long, for example 500ms, 30s or 2m
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    timeout: Duration,
    /// Give up on a file that needs more, for example 512MiB or 2GiB
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = crate::size::parse)]
    memory: u64,
    /// Draw the histories into this page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One JSON object a file
    #[arg(long)]
    json: bool,
    /// Say which operation cannot be placed
    #[arg(long, conflicts_with = "json")]
    explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Recognise it
    Auto,
    /// Jepsen's log lines or maps
    Events,
    /// One JSON object a line
    Jsonl,
}

impl Form {
    fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Events => Some(Format::Events),
            Self::Jsonl => Some(Format::JsonLines),
        }
    }
}

const EXIT_NOT: u8 = 1;
const EXIT_INPUT: u8 = 2;
const EXIT_UNKNOWN: u8 = 3;

/// Prints a line a file. Exit code: 1 if some history is NOT linearizable, else 2 if some file
/// could not be read, else 3 if some verdict is unknown.
pub fn run(args: &CheckArgs) -> ExitCode {
    let What::Linear(args) = &args.what;
    let (mut violated, mut unreadable, mut unknown) = (false, false, false);
    let mut shown = Vec::new();
    for file in &args.files {
        let name = file.display().to_string();
        match check_file(args, file) {
            Ok((report, took)) => {
                match report.outcome.verdict {
                    Verdict::Linearizable { .. } => {}
                    Verdict::NotLinearizable { .. } => violated = true,
                    Verdict::Unknown { .. } => unknown = true,
                }
                crate::out::put(format_args!("{}", lines(args, &name, &report, took)));
                if args.html.is_some() {
                    shown.push((name, report));
                }
            }
            Err(why) => {
                eprintln!("quorate: {name}: {why}");
                unreadable = true;
            }
        }
    }
    if let Some(path) = &args.html
        && let Err(why) = std::fs::write(path, page("Histories", &shown))
    {
        eprintln!("quorate: {}: {why}", path.display());
        unreadable = true;
    }
    ExitCode::from(match (violated, unreadable, unknown) {
        (true, _, _) => EXIT_NOT,
        (false, true, _) => EXIT_INPUT,
        (false, false, true) => EXIT_UNKNOWN,
        (false, false, false) => 0,
    })
}

fn check_file(args: &LinearArgs, file: &PathBuf) -> Result<(Report, Duration), String> {
    let started = Instant::now();
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(|why| why.to_string())?;
    } else {
        bytes = std::fs::read(file).map_err(|why| why.to_string())?;
    }
    let history = load(args.model, args.format.format(), &bytes).map_err(|why| why.to_string())?;
    let limits = check::Limits { memory_bytes_max: args.memory, ..check::Limits::default() };
    let deadline = started + args.timeout;
    let report = history.check(limits, &|| Instant::now() >= deadline);
    Ok((report, started.elapsed()))
}

fn lines(args: &LinearArgs, name: &str, report: &Report, took: Duration) -> String {
    if args.json {
        return format!("{}\n", object(args.model, name, report, took));
    }
    let (word, stats) = (report.word(), &report.outcome.stats);
    let why = match report.outcome.verdict {
        Verdict::Unknown { why } => format!("  ({why})"),
        Verdict::Linearizable { .. } | Verdict::NotLinearizable { .. } => String::new(),
    };
    let mut out = format!(
        "{name}  {word}  {}.{:03} ms  {} states  {} operations{why}\n",
        took.as_micros() / 1000,
        took.as_micros() % 1000,
        stats.states,
        report.ops.len()
    );
    if args.explain {
        for line in report.explain() {
            out.push_str(&format!("    {line}\n"));
        }
    }
    out
}

fn object(model: ModelName, name: &str, report: &Report, took: Duration) -> serde_json::Value {
    let stats = &report.outcome.stats;
    let one = |index: &usize| {
        let op = &report.ops[*index];
        json!({
            "index": index, "process": op.process, "operation": op.text,
            "invoked": op.invoked, "returned": op.returned,
        })
    };
    let mut object = json!({
        "file": name, "model": model.name(), "verdict": report.word(),
        "seconds": took.as_secs_f64(), "operations": report.ops.len(),
        "parts": stats.parts, "states": stats.states, "steps": stats.steps,
        "memory_bytes": stats.memory_bytes,
    });
    match &report.outcome.verdict {
        Verdict::Linearizable { order } => object["order"] = json!(order),
        Verdict::Unknown { why } => object["why"] = json!(why.to_string()),
        Verdict::NotLinearizable { part, prefix, stuck } => {
            object["part"] = json!(part);
            object["prefix"] = json!(prefix);
            object["stuck"] = stuck.iter().map(one).collect();
        }
    }
    object
}

/// `500ms`, `30s`, `2m`, `1h`; a bare number counts seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time such as 500ms, 30s or 2m is expected".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number is expected".to_owned())?;
    let ms = number.checked_mul(scale_ms).filter(|&ms| ms <= 366 * 24 * 3_600_000);
    ms.map(Duration::from_millis).ok_or_else(|| "more than a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn args(more: &[&str]) -> LinearArgs {
        let line = ["check", "linear"].iter().chain(more);
        let What::Linear(args) = Cli::try_parse_from(line).unwrap().args.what;
        args
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "ms", "5x", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_gets_one_line_with_verdict_time_and_states() {
        let args = args(&["--model", "register", "--explain", "x.log"]);
        let text =
            b"INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t4\n";
        let history = load(args.model, args.format.format(), text).unwrap();
        let report = history.check(check::Limits::default(), &|| false);
        let shown = lines(&args, "x.log", &report, Duration::from_micros(1_500));
        let mut shown = shown.lines();
        let first = "x.log  NOT linearizable  1.500 ms  1 states  1 operations";
        assert_eq!(shown.next(), Some(first));
        assert!(shown.nth(1).unwrap().contains("cannot be placed: process 0: read -> 4"));
        let object = object(args.model, "x.log", &report, Duration::ZERO);
        assert_eq!(object["verdict"], "NOT linearizable");
        assert_eq!(object["stuck"][0]["operation"], "read -> 4");
    }

    #[test]
    fn a_model_and_a_file_are_required() {
        let parse =
            |line: &[&str]| Cli::try_parse_from(line).map(|_| ()).map_err(|e| e.exit_code());
        assert_eq!(parse(&["check", "linear", "x"]), Err(2));
        assert_eq!(parse(&["check", "linear", "--model", "kv"]), Err(2));
        assert_eq!(parse(&["check", "linear", "--model", "nosql", "x"]), Err(2));
        assert_eq!(parse(&["check", "linear", "--model", "kv", "-"]), Ok(()));
    }
}
