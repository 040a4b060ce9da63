//! What a failed round leaves behind.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::round::{Report, Round};
use super::search;

/// Copies nothing: the cluster's directories stay where they are, the rest is written to `dir`.
///
/// # Errors
/// The file system.
pub fn keep(dir: &Path, round: &mut Round, report: &Report) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let lines = check::parse::etcd_to_lines(1, &[], &search::operations(&round.ops));
    std::fs::write(dir.join("history.jsonl"), lines)?;
    let ops: String = round.ops.iter().map(|op| format!("{op:?}\n")).collect();
    std::fs::write(dir.join("operations.txt"), ops)?;
    let log: String = round.log.iter().map(|event| format!("{event:?}\n")).collect();
    std::fs::write(dir.join("events.txt"), log)?;
    let mut text = round.nemesis.diary.join("\n");
    text.push_str("\n\n");
    text.push_str(&report.wrong.join("\n"));
    writeln!(text, "\n\nmembers: {}", round.nemesis.cluster.keep().display())?;
    std::fs::write(dir.join("round.txt"), text)?;
    Ok(())
}
