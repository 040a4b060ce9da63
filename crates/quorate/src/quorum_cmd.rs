//! `quorate quorum`: looks at quorum systems without running anything.

mod analyze;
mod json;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `quorate quorum`.
#[derive(Args, Clone, Debug)]
pub struct QuorumArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Says whether a system is safe, protocol by protocol; exit code 1 when Raft cannot use it
    Check {
        /// For example "2 of (a, b, c)" or "elect = EXPR; commit = EXPR"
        expr: String,
    },
    /// Lists the smallest quorums of a system and how many failures it survives
    Show {
        /// For example "majority(a, b, c, d, e)"
        expr: String,
    },
    /// Safety, resilience, availability, load, capacity, latency and the best strategy
    Analyze(analyze::AnalyzeArgs),
    /// The same figures of several systems side by side
    Compare(analyze::CompareArgs),
    /// Moves a running cluster to another quorum
    Set {
        /// For example "weighted{a:2, b:1, c:1} >= 3"
        expr: String,
        #[command(flatten)]
        target: crate::member_cmd::Target,
    },
    /// Finds the best system over given members
    Search(analyze::SearchArgs),
}

/// Exit code of a system that Raft must not use, and of a search that finds nothing.
const EXIT_UNSAFE: u8 = 1;
/// Exit code of a text that is not a quorum system, and of a file that cannot be written.
const EXIT_SYNTAX: u8 = 2;

/// Prints the report on standard output, or the error under its column on standard error.
pub fn run(args: QuorumArgs) -> ExitCode {
    if let What::Set { expr, target } = args.what {
        let done = crate::member_cmd::set_quorum(expr, target);
        return done.map_or_else(
            |error| {
                eprintln!("quorate: {error:#}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let (code, text) = evaluate(&args.what);
    match code {
        EXIT_SYNTAX => eprintln!("{}", text.trim_end()),
        _ => crate::out::put(format_args!("{}\n", text.trim_end())),
    }
    ExitCode::from(code)
}

/// The exit code and the text to print.
fn evaluate(what: &What) -> (u8, String) {
    let result = match what {
        What::Check { expr } => quorum::report::check(expr),
        What::Show { expr } => quorum::report::show(expr).map(|text| (text, true)),
        What::Analyze(args) => analyze::analyze(args),
        What::Compare(args) => analyze::compare(args),
        What::Search(args) => analyze::search(args),
        What::Set { .. } => unreachable!("run separately: it needs a cluster"),
    };
    match result {
        Ok((text, true)) => (0, text),
        Ok((text, false)) => (EXIT_UNSAFE, text),
        Err(text) => (EXIT_SYNTAX, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QuorumArgs,
    }

    /// What `quorate quorum WORDS` answers.
    fn quorum(words: &[&str]) -> (u8, String) {
        let line = Line::try_parse_from([&["quorum"], words].concat()).unwrap();
        evaluate(&line.args.what)
    }

    #[test]
    fn a_majority_is_safe_and_shown() {
        assert_eq!(quorum(&["check", "2 of (a, b, c)"]).0, 0);
        let (code, text) = quorum(&["show", "2 of (a, b, c)"]);
        assert_eq!(code, 0);
        assert!(text.contains("members: "), "{text}");
    }

    #[test]
    fn a_system_whose_sets_can_miss_each_other_exits_with_1() {
        let text = "elect = 2 of (a, b, c, d); commit = 2 of (a, b, c, d)";
        for word in ["check", "analyze"] {
            let (code, text) = quorum(&[word, text]);
            assert_eq!(code, EXIT_UNSAFE, "{text}");
            assert!(text.contains("elect {a, b} and commit {c, d} share no member"), "{text}");
        }
    }

    #[test]
    fn a_syntax_error_exits_with_2_and_a_caret_under_its_column() {
        for words in [&["check", "2 of (a, b, c"], &["analyze", "2 of (a, b, c"]] {
            let (code, text) = quorum(words);
            assert_eq!(code, EXIT_SYNTAX);
            assert!(text.lines().any(|line| line.trim() == "^"), "{text}");
        }
    }

    #[test]
    fn an_analysis_uses_the_figures_and_limits_it_is_given() {
        let (code, text) = quorum(&[
            "analyze",
            "elect = row(a b c / d e f); commit = cover(a b c / d e f)",
            "--node=a:cap=1000/10000,latency=1s",
            "--node=b:cap=500/5000,latency=2s",
            "--node=c:cap=1000/10000,latency=3s",
            "--node=d:cap=500/5000,latency=4s",
            "--node=e:cap=1000/10000,latency=5s",
            "--node=f:cap=500/5000,latency=6s",
            "--reads=0.5",
            "--objective=latency",
            "--load-max=1/1500",
            "--fail=0.1",
        ]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("  capacity  1500 operations"), "{text}");
        assert!(text.contains("  latency   11/3 (3.66667) s"), "{text}");
        assert!(text.contains("no quorum alive at p = 0.1: elect "), "{text}");
    }

    #[test]
    fn json_holds_fractions_and_decimals_of_every_figure() {
        let (code, text) = quorum(&["analyze", "majority(a, b, c)", "--json", "--fail=0.1"]);
        assert_eq!(code, 0);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["strategy"]["load"]["exact"], "2/3");
        assert_eq!(value["elect"]["resilience"], 1);
        assert_eq!(value["resilience"], 1);
        assert_eq!(value["failure"][0]["either"]["exact"], "7/250");
        assert_eq!(value["safety"][0]["safe"], true);
        let (_, text) = quorum(&["compare", "--json", "majority(a, b, c)", "any of (a, b)"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_comparison_and_a_search_answer() {
        let (code, text) = quorum(&["compare", "majority(a, b, c)", "grid(a b / c d)"]);
        assert_eq!(code, 0);
        assert!(text.lines().any(|line| line.starts_with("capacity")), "{text}");
        let (code, text) = quorum(&[
            "search",
            "--node=a",
            "--node=b",
            "--node=c",
            "--resilience=1",
            "--objective=load",
            "--reads=0.5",
        ]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("2 of (a, b, c)"), "{text}");
        let list = ["search", "--nodes", "a,b c:cap=9", "--resilience=1", "--objective=network"];
        assert!(quorum(&list).1.contains("2 of (a, b, c)"));
        let (code, _) = quorum(&["search", "--node=a", "--node=b", "--resilience=2"]);
        assert_eq!(code, EXIT_UNSAFE, "two members cannot lose two");
    }

    #[test]
    fn what_is_no_figure_is_refused_by_name() {
        let (code, text) = quorum(&["analyze", "majority(a, b, c)", "--node=a:cap=x"]);
        assert_eq!((code, text.as_str()), (EXIT_SYNTAX, "`cap=x` of member `a` is not read"));
        let (code, text) = quorum(&["analyze", "a", "--node=z"]);
        assert_eq!((code, text.as_str()), (EXIT_SYNTAX, "member `z` is not in the system"));
        assert_eq!(quorum(&["analyze", "a", "--reads=2"]).0, EXIT_SYNTAX);
        assert_eq!(quorum(&["analyze", "a", "--fail=2"]).0, EXIT_SYNTAX);
    }
}
