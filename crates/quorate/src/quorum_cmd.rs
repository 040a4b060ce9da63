//! `quorate quorum`: looks at a quorum system without running anything.

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
}

/// Exit code of a system that Raft must not use.
const EXIT_UNSAFE: u8 = 1;
/// Exit code of a text that is not a quorum system.
const EXIT_SYNTAX: u8 = 2;

/// Prints the report on standard output, or the error under its column on standard error.
pub fn run(args: QuorumArgs) -> ExitCode {
    let (code, text) = evaluate(&args.what);
    if code == EXIT_SYNTAX {
        eprintln!("{}", text.trim_end());
    } else {
        println!("{}", text.trim_end());
    }
    ExitCode::from(code)
}

/// The exit code and the text to print.
fn evaluate(what: &What) -> (u8, String) {
    let result = match what {
        What::Check { expr } => quorum::report::check(expr),
        What::Show { expr } => quorum::report::show(expr).map(|text| (text, true)),
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

    fn check(expr: &str) -> (u8, String) {
        evaluate(&What::Check { expr: expr.to_owned() })
    }

    #[test]
    fn a_majority_is_safe_and_shown() {
        assert_eq!(check("2 of (a, b, c)").0, 0);
        let (code, text) = evaluate(&What::Show { expr: "2 of (a, b, c)".to_owned() });
        assert_eq!(code, 0);
        assert!(text.contains("members: "), "{text}");
    }

    #[test]
    fn a_system_whose_sets_can_miss_each_other_exits_with_1() {
        let (code, text) = check("elect = 2 of (a, b, c, d); commit = 2 of (a, b, c, d)");
        assert_eq!(code, EXIT_UNSAFE, "{text}");
    }

    #[test]
    fn a_syntax_error_exits_with_2_and_a_caret_under_its_column() {
        let (code, text) = check("2 of (a, b, c");
        assert_eq!(code, EXIT_SYNTAX);
        assert!(text.lines().any(|line| line.trim() == "^"), "{text}");
    }
}
