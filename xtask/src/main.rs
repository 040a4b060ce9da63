//! Chores of the workspace: `cargo xtask tidy|test|ci|codegen`, and the trials.

mod bounds;
mod bugs;
mod circles;
mod codegen;
mod edges;
mod planted;
mod scan;
mod tidy;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

const USAGE: &str = "usage: cargo xtask <chore>
  tidy [--lower]  style rules and dependency edges; --lower shrinks the ratchet lists
  test            tidy, the clients the tests drive (.ci/tools), every test of the workspace
  ci              formatting, clippy, test
  bugs [OPTIONS]  plants known bugs and measures what notices them; --only, --quick, --jobs
  codegen         regenerates crates/api/src/gen from crates/api/proto
  chaos, compare, diff-etcd, field, pulse, replace, unavailable
                  trials with real processes, built in release; --help shows their options";

/// Subcommands of crate `trial`.
const TRIALS: [&str; 7] =
    ["chaos", "compare", "diff-etcd", "field", "pulse", "replace", "unavailable"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(false),
        ["tidy", "--lower"] => tidy::run(true),
        ["test"] => test(),
        ["ci"] => ci(),
        ["codegen"] => codegen::run(),
        ["bugs", options @ ..] => bugs::run(options),
        [name, ..] if TRIALS.contains(name) => trial(&words),
        _ => bail!("{USAGE}"),
    }
}

/// The workspace's root directory.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lives in the workspace's root").to_owned()
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn ci() -> Result<()> {
    tools()?;
    run_cargo(&["fmt", "--all", "--check"])?;
    run_cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    test()
}

fn run_cargo(words: &[&str]) -> Result<()> {
    println!("cargo {}", words.join(" "));
    let status = cargo().args(words).status().context("start cargo")?;
    ensure!(status.success(), "cargo {} failed", words.join(" "));
    Ok(())
}

/// Builds the product as it ships, then runs a trial of it.
fn trial(words: &[&str]) -> Result<()> {
    run_cargo(&["build", "--release", "--locked", "-p", "quorate"])?;
    run_cargo(&[&["run", "--release", "--locked", "-p", "trial", "--"], words].concat())
}

/// Installs the stock clients that the tests drive and build, where they are missing.
fn tools() -> Result<()> {
    let status = Command::new(root().join(".ci/tools")).status().context("start .ci/tools")?;
    ensure!(status.success(), ".ci/tools could not install the clients that the tests drive");
    Ok(())
}

/// Tidy, the clients, then all unit, integration and documentation tests; ends with the sum of
/// the runner's closing lines, so that a log's tail says how many tests ran. Runs the tests even
/// when tidy complains, and fails if either did.
fn test() -> Result<()> {
    let tidy = tidy::run(false);
    if let Err(why) = &tidy {
        println!("{why:#}\nthe tests run nevertheless");
    }
    tools()?;
    let words = ["test", "--workspace", "--locked", "--no-fail-fast"];
    println!("cargo {}", words.join(" "));
    let mut child =
        cargo().args(words).stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let output = child.stdout.take().expect("stdout was asked to be a pipe");
    let (mut suites, mut sums) = (0u64, [0u64; 3]);
    for line in BufReader::new(output).lines() {
        let line = line.context("read the output of cargo test")?;
        println!("{line}");
        if line.starts_with("test result:") {
            suites += 1;
            for (sum, name) in sums.iter_mut().zip(["passed", "failed", "ignored"]) {
                *sum += count_before(&line, name);
            }
        }
    }
    let status = child.wait().context("wait for cargo test")?;
    let [passed, failed, ignored] = sums;
    println!("{suites} suites: {passed} passed; {failed} failed; {ignored} ignored");
    ensure!(status.success(), "cargo test failed");
    tidy
}

/// The number right before `name` in a closing line of the test runner; 0 without one.
fn count_before(line: &str, name: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == name);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_closing_line_is_summed_by_name() {
        let line = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured";
        assert_eq!(count_before(line, "passed"), 12);
        assert_eq!(count_before(line, "failed"), 1);
        assert_eq!(count_before(line, "ignored"), 3);
        assert_eq!(count_before(line, "absent"), 0);
    }
}
