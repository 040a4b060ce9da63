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
    let result = match args.what {
        What::Check { expr } => quorum::report::check(&expr),
        What::Show { expr } => quorum::report::show(&expr).map(|text| (text, true)),
    };
    match result {
        Ok((text, safe)) => {
            println!("{}", text.trim_end());
            ExitCode::from(if safe { 0 } else { EXIT_UNSAFE })
        }
        Err(text) => {
            eprintln!("{}", text.trim_end());
            ExitCode::from(EXIT_SYNTAX)
        }
    }
}
