//! Our own form: one JSON object a line, a whole operation or one event of it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{ParseError, column, lines, not_empty};
use crate::models::{CasInput, CasOutput, KvInput, KvOutput, RegisterInput, RegisterOutput};
use crate::{FoldState, Operation};

/// One object with its place.
pub(super) struct Line<'a> {
    pub number: usize,
    pub text: &'a str,
    pub map: Map<String, Value>,
}

impl Line<'_> {
    /// An error about a field, placed at its first mention.
    pub fn wrong(&self, field: &str, what: impl Into<String>) -> ParseError {
        let at = self.text.find(&format!("\"{field}\"")).map_or(0, |at| column(self.text, at));
        ParseError::new(self.number, at, format!("{field}: {}", what.into()))
    }

    fn moment(&self, field: &str) -> Result<Option<u64>, ParseError> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let moment = value.as_u64();
                moment.map(Some).ok_or_else(|| self.wrong(field, "a whole number is expected"))
            }
        }
    }

    pub fn int(&self, map: &Map<String, Value>, field: &str) -> Result<Option<i64>, ParseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = value.as_i64();
                number.map(Some).ok_or_else(|| self.wrong(field, "a whole number is expected"))
            }
        }
    }

    fn text(&self, field: &str) -> Result<String, ParseError> {
        let text = self.map.get(field).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.wrong(field, "a text is expected"))
    }

    fn f(&self) -> Result<&str, ParseError> {
        let name = self.map.get("f").and_then(Value::as_str);
        name.ok_or_else(|| self.wrong("f", "the name of an operation is expected"))
    }

    fn value(&self) -> Result<i64, ParseError> {
        let number = self.int(&self.map, "value")?;
        number.ok_or_else(|| self.wrong("value", "a whole number is expected"))
    }
}

/// Each line that is not blank, as an object.
pub(super) fn objects(bytes: &[u8]) -> impl Iterator<Item = Result<Line<'_>, ParseError>> {
    lines(bytes).filter_map(|(number, text)| {
        let text = match text {
            Ok(text) if text.trim().is_empty() => return None,
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        Some(match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Line { number, text, map }),
            Ok(_) => Err(ParseError::new(number, 1, "an object is expected")),
            Err(error) => {
                // The reader counts bytes; ours are characters.
                let at = column(text, error.column().saturating_sub(1));
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                Err(ParseError::new(number, at, format!("not JSON: {what}")))
            }
        })
    })
}

/// How far an operation got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Fail,
    Unknown,
    Seen,
}

/// Collects operations from lines.
pub(super) struct Collector<I, O> {
    ops: Vec<Option<Operation<I, O>>>,
    open: HashMap<u32, usize, FoldState>,
    any: bool,
    /// Whether the lines carry moments of their own; all do or none.
    timed: Option<bool>,
}

impl<I, O> Collector<I, O> {
    pub fn new() -> Self {
        Self { ops: Vec::new(), open: HashMap::default(), any: false, timed: None }
    }

    /// Takes one line. `input` reads the request, `output` the answer to it.
    pub fn line(
        &mut self,
        line: &Line<'_>,
        input: impl Fn(&Line<'_>) -> Result<I, ParseError>,
        output: impl Fn(&Line<'_>, &I) -> Result<O, ParseError>,
    ) -> Result<(), ParseError> {
        self.any = true;
        let process = line.map.get("process").and_then(Value::as_u64);
        let process = process.and_then(|process| u32::try_from(process).ok());
        let process = process.ok_or_else(|| line.wrong("process", "a number is expected"))?;
        let kind = match line.map.get("type") {
            None => None,
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(_) => return Err(line.wrong("type", "invoke, ok, fail or info is expected")),
        };
        let timed = kind.is_none() || line.map.contains_key("time");
        if *self.timed.get_or_insert(timed) != timed {
            return Err(line.wrong("time", "some lines have moments and some have none"));
        }
        let Some(kind) = kind else { return self.whole(line, process, input, output) };
        let at = line.moment("time")?.unwrap_or(line.number as u64);
        if kind == "invoke" {
            self.open.insert(process, self.ops.len());
            let input = input(line)?;
            let op = Operation { process, input, output: None, invoked: at, returned: None };
            self.ops.push(Some(op));
            return Ok(());
        }
        let Some(index) = self.open.remove(&process) else {
            let what = format!("process {process} has nothing to answer");
            return Err(line.wrong("process", what));
        };
        let op = self.ops[index].as_mut().expect("an open operation is there");
        match kind {
            "ok" if at < op.invoked => {
                return Err(line.wrong("time", "the answer comes before the request"));
            }
            "ok" => (op.output, op.returned) = (Some(output(line, &op.input)?), Some(at)),
            "fail" => self.ops[index] = None,
            "info" => {}
            _ => return Err(line.wrong("type", "invoke, ok, fail or info is expected")),
        }
        Ok(())
    }

    /// A line with request, answer and both moments.
    fn whole(
        &mut self,
        line: &Line<'_>,
        process: u32,
        input: impl Fn(&Line<'_>) -> Result<I, ParseError>,
        output: impl Fn(&Line<'_>, &I) -> Result<O, ParseError>,
    ) -> Result<(), ParseError> {
        let invoked = line.moment("invoked")?;
        let invoked = invoked.ok_or_else(|| line.wrong("invoked", "a moment is expected"))?;
        let returned = line.moment("returned")?;
        if returned.is_some_and(|returned| returned < invoked) {
            return Err(line.wrong("returned", "the answer comes before the request"));
        }
        let outcome = match line.map.get("outcome").map(Value::as_str) {
            None if returned.is_some() => Outcome::Ok,
            None => Outcome::Unknown,
            Some(Some("ok")) => Outcome::Ok,
            Some(Some("fail")) => Outcome::Fail,
            Some(Some("unknown")) => Outcome::Unknown,
            Some(Some("seen")) => Outcome::Seen,
            Some(_) => {
                return Err(line.wrong("outcome", "ok, fail, unknown or seen is expected"));
            }
        };
        if outcome == Outcome::Ok && returned.is_none() {
            return Err(line.wrong("outcome", "an answer has a moment: returned is missing"));
        }
        let input = input(line)?;
        let (output, returned) = match outcome {
            Outcome::Fail => return Ok(()),
            Outcome::Unknown => (None, None),
            Outcome::Ok => (Some(output(line, &input)?), returned),
            Outcome::Seen => (Some(output(line, &input)?), None),
        };
        self.ops.push(Some(Operation { process, input, output, invoked, returned }));
        Ok(())
    }

    pub fn finish(self) -> Result<Vec<Operation<I, O>>, ParseError> {
        not_empty(self.ops.into_iter().flatten().collect(), self.any)
    }
}

fn collect<I, O>(
    bytes: &[u8],
    input: impl Fn(&Line<'_>) -> Result<I, ParseError>,
    output: impl Fn(&Line<'_>, &I) -> Result<O, ParseError>,
) -> Result<Vec<Operation<I, O>>, ParseError> {
    let mut collector = Collector::new();
    for line in objects(bytes) {
        collector.line(&line?, &input, &output)?;
    }
    collector.finish()
}

/// A number or null; it must stand there.
fn read_value(line: &Line<'_>) -> Result<Option<i64>, ParseError> {
    if !line.map.contains_key("output") {
        return Err(line.wrong("output", "what was read is missing"));
    }
    line.int(&line.map, "output")
}

/// A `register` from JSON lines.
///
/// # Errors
/// With its place: a line that is no such object, an answer without a request, an empty file.
pub fn register_lines(
    bytes: &[u8],
) -> Result<Vec<Operation<RegisterInput, RegisterOutput>>, ParseError> {
    let input = |line: &Line<'_>| match line.f()? {
        "read" => Ok(RegisterInput::Read),
        "write" => line.value().map(RegisterInput::Write),
        _ => Err(line.wrong("f", "read or write is expected")),
    };
    collect(bytes, input, |line, asked| match asked {
        RegisterInput::Read => read_value(line).map(RegisterOutput::Value),
        RegisterInput::Write(_) => Ok(RegisterOutput::Written),
    })
}

/// A `cas-register` from JSON lines.
///
/// # Errors
/// As [`register_lines`].
pub fn cas_register_lines(bytes: &[u8]) -> Result<Vec<Operation<CasInput, CasOutput>>, ParseError> {
    let input = |line: &Line<'_>| match line.f()? {
        "read" => Ok(CasInput::Read),
        "write" => line.value().map(CasInput::Write),
        "cas" => {
            let pair = line.map.get("value").and_then(Value::as_array);
            match pair.map(Vec::as_slice) {
                Some([old, new]) => match (old.as_i64(), new.as_i64()) {
                    (Some(old), Some(new)) => Ok(CasInput::Cas(old, new)),
                    _ => Err(line.wrong("value", "[OLD, NEW] is expected")),
                },
                _ => Err(line.wrong("value", "[OLD, NEW] is expected")),
            }
        }
        _ => Err(line.wrong("f", "read, write or cas is expected")),
    };
    collect(bytes, input, |line, asked| match asked {
        CasInput::Read => read_value(line).map(CasOutput::Value),
        CasInput::Write(_) => Ok(CasOutput::Written),
        CasInput::Cas(..) => {
            let swapped = line.map.get("output").and_then(Value::as_bool);
            let swapped = swapped.ok_or_else(|| line.wrong("output", "true or false is expected"));
            swapped.map(CasOutput::Swapped)
        }
    })
}

/// Independent keys from JSON lines.
///
/// # Errors
/// As [`register_lines`].
pub fn kv_lines(bytes: &[u8]) -> Result<Vec<Operation<KvInput, KvOutput>>, ParseError> {
    let input = |line: &Line<'_>| {
        let key = line.text("key")?;
        match line.f()? {
            "get" => Ok(KvInput::Get { key }),
            "put" => Ok(KvInput::Put { key, value: line.text("value")? }),
            "append" => Ok(KvInput::Append { key, value: line.text("value")? }),
            _ => Err(line.wrong("f", "get, put or append is expected")),
        }
    };
    collect(bytes, input, |line, asked| match asked {
        KvInput::Get { .. } => line.text("output").map(KvOutput::Value),
        KvInput::Put { .. } | KvInput::Append { .. } => Ok(KvOutput::Done),
    })
}
