//! Lines: one head, then one event each.

use crate::event::Event;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of the lines. 1 had sets as numbers and no types; nothing reads it any more.
pub const VERSION: u32 = 2;

/// The first line of a trace: what the first members were born with, and where the trace is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub trace: u32,
    /// Members at the beginning, in the order of their slots.
    pub names: Vec<String>,
    /// The quorum text they began with.
    pub quorum: String,
    /// `shared-terms` or `term-and-node`.
    pub rule: String,
    /// Of a life of the simulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Of a life of the simulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Of a live member: who recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Of a live member: Unix microseconds at which its times begin, with its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
}

/// A text that is no trace, or one of another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// In words.
    pub why: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for ReadError {}

/// Adds the first line.
pub fn write_head(head: &Head, out: &mut String) {
    assert_eq!(head.trace, VERSION, "what is written is of this version");
    line(head, out);
}

/// Adds the line of one event.
pub fn write(event: &Event, out: &mut String) {
    line(event, out);
}

fn line(value: &impl Serialize, out: &mut String) {
    let text = serde_json::to_string(value).expect("texts, numbers and maps with text keys");
    assert!(!text.contains('\n'), "one line an event");
    out.push_str(&text);
    out.push('\n');
}

/// Reads a whole trace. A last line that is cut short, as in a file that is still written, is left
/// out; anything else that is not understood is an error.
///
/// # Errors
/// No head, another version, or a line that is no event, by its number.
pub fn read(text: &str) -> Result<(Head, Vec<Event>), ReadError> {
    #[derive(Deserialize)]
    struct Version {
        trace: u32,
    }
    let fail = |line: usize, why: &dyn fmt::Display| ReadError { line, why: why.to_string() };
    let whole = text.ends_with('\n');
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
    let (_, first) = lines.next().ok_or_else(|| fail(1, &"there is no first line"))?;
    let version: Version = serde_json::from_str(first).map_err(|e| fail(1, &e))?;
    if version.trace != VERSION {
        let why = format!("version {}; this build reads {VERSION}", version.trace);
        return Err(fail(1, &why));
    }
    let head: Head = serde_json::from_str(first).map_err(|error| fail(1, &error))?;
    let mut events = Vec::new();
    while let Some((at, line)) = lines.next() {
        match serde_json::from_str::<Event>(line) {
            Ok(event) => events.push(event),
            Err(error) if error.is_eof() && !whole && lines.peek().is_none() => {}
            Err(error) => return Err(fail(at, &error)),
        }
    }
    Ok((head, events))
}

#[cfg(test)]
mod tests;
