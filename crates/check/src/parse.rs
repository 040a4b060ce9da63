//! Histories from bytes: Jepsen's logs and maps, and our own JSON lines (`docs/checker.md`).
//!
//! Whatever the bytes are, the answer is a history or an error with its place.

mod edn;
mod events;
mod json;
mod json_etcd;
mod write;

use std::fmt;

pub use events::{cas_register_events, kv_events, register_events};
pub use json::{cas_register_lines, kv_lines, register_lines};
pub use json_etcd::{EtcdHistory, etcd_lines};
pub use write::etcd_to_lines;

/// Where and why bytes are no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// From 1; 0 if it concerns the whole.
    pub line: usize,
    /// In characters from 1; 0 if it concerns the whole line.
    pub column: usize,
    pub what: String,
}

impl ParseError {
    pub(crate) fn new(line: usize, column: usize, what: impl Into<String>) -> Self {
        Self { line, column, what: what.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.what),
            (line, 0) => write!(f, "line {line}: {}", self.what),
            (line, column) => write!(f, "line {line}, column {column}: {}", self.what),
        }
    }
}

impl std::error::Error for ParseError {}

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Jepsen: `INFO  jepsen.util - 0<tab>:invoke<tab>:write<tab>3`, or one map an event,
    /// `{:process 0, :type :invoke, :f :write, :value 3}`.
    Events,
    /// One JSON object a line.
    JsonLines,
}

/// JSON if the first line that begins with a brace goes on like JSON.
pub fn detect(bytes: &[u8]) -> Format {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.filter_map(|line| line.strip_prefix(b"{")).next();
    match first.map(<[u8]>::trim_ascii_start).and_then(<[u8]>::first) {
        Some(b'"' | b'}') => Format::JsonLines,
        _ => Format::Events,
    }
}

/// The lines with their numbers, without line ends and a leading byte order mark.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, Result<&str, ParseError>)> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bytes.split(|&byte| byte == b'\n').enumerate().map(|(at, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|error| {
            let good = String::from_utf8_lossy(&line[..error.valid_up_to()]);
            ParseError::new(at + 1, good.chars().count() + 1, "not UTF-8")
        });
        (at + 1, text)
    })
}

/// The column, in characters from 1, of a byte offset.
fn column(line: &str, offset: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < offset).count() + 1
}

/// A history without operations is more likely the wrong file than a quiet system.
fn not_empty<T>(ops: Vec<T>, any: bool) -> Result<Vec<T>, ParseError> {
    if any { Ok(ops) } else { Err(ParseError::new(0, 0, "no operations found")) }
}
