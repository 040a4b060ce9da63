//! What a failed round leaves behind.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::history::{Answer, Input, Op};
use super::load::key;
use super::round::{Report, Round};

/// Copies nothing: the cluster's directories stay where they are, the rest is written to `dir`.
///
/// # Errors
/// The file system.
pub fn keep(dir: &Path, round: &mut Round, report: &Report) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut lines = String::new();
    for op in &round.ops {
        if let Some(line) = line(op) {
            writeln!(lines, "{line}")?;
        }
    }
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

/// One operation as a line of JSON; none for one that had no effect and saw nothing.
fn line(op: &Op) -> Option<Value> {
    let (name, argument) = match &op.input {
        Input::Put { value, .. } => ("put", json!({ "value": value })),
        Input::Cas { expected, value, .. } => {
            ("cas", json!({ "mod_revision": expected, "value": value }))
        }
        Input::Read { serializable: false, .. } => ("get", json!({})),
        Input::Read { serializable: true, .. } => return None,
    };
    let answer = match &op.answer {
        Answer::Wrote { revision } => json!({ "revision": revision }),
        Answer::Found { revision, seen } => json!({
            "revision": revision,
            "value": seen.as_ref().map(|seen| &seen.value),
            "mod_revision": seen.as_ref().map_or(0, |seen| seen.mod_revision),
        }),
        Answer::Unknown { .. } if op.input.value().is_some() => Value::Null,
        Answer::Unknown { .. } | Answer::Refused { .. } => return None,
    };
    Some(json!({
        "process": op.client,
        "op": name,
        "key": key(op.input.key()),
        "argument": argument,
        "answer": answer,
        "invoked": op.invoked,
        "returned": op.returned,
    }))
}
