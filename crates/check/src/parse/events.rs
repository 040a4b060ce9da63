//! Events, one a line, as Jepsen logs them: an invocation, later an answer of the same process.

use std::collections::HashMap;

use super::edn::{Failure, Node, Value, read, read_all};
use super::{ParseError, column, lines, not_empty};
use crate::models::{CasInput, CasOutput, KvInput, KvOutput, RegisterInput, RegisterOutput};
use crate::{FoldState, Operation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "invoke" => Some(Self::Invoke),
            "ok" => Some(Self::Ok),
            "fail" => Some(Self::Fail),
            "info" => Some(Self::Info),
            _ => None,
        }
    }
}

/// One line that says something.
struct Event<'a> {
    line: usize,
    text: &'a str,
    process: u32,
    kind: Kind,
    /// What is done, `read` for example, and its byte offset.
    f: String,
    f_at: usize,
    key: Option<Node>,
    value: Node,
    /// The map says why it failed: it was not carried out at all.
    error: bool,
}

impl Event<'_> {
    fn wrong(&self, at: usize, what: impl Into<String>) -> ParseError {
        ParseError::new(self.line, column(self.text, at), what)
    }

    fn int(&self, node: &Node) -> Result<i64, ParseError> {
        match node.value {
            Value::Int(number) => Ok(number),
            _ => Err(self.wrong(node.at, "a whole number is expected")),
        }
    }

    fn text(&self, node: &Node) -> Result<String, ParseError> {
        match &node.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong(node.at, "a text in quotes is expected")),
        }
    }

    fn key(&self) -> Result<String, ParseError> {
        match &self.key {
            Some(Node { value: Value::Text(key) | Value::Keyword(key), .. }) => Ok(key.clone()),
            Some(Node { value: Value::Int(key), .. }) => Ok(key.to_string()),
            Some(node) => Err(self.wrong(node.at, "a key is a text, a keyword or a number")),
            None => Err(self.wrong(0, ":key is missing")),
        }
    }

    /// A whole number or nothing.
    fn maybe_int(&self) -> Result<Option<i64>, ParseError> {
        if self.value.value == Value::Nil { Ok(None) } else { self.int(&self.value).map(Some) }
    }

    /// `[old new]`.
    fn pair(&self) -> Result<(i64, i64), ParseError> {
        match &self.value.value {
            Value::Sequence(nodes) if nodes.len() == 2 => {
                Ok((self.int(&nodes[0])?, self.int(&nodes[1])?))
            }
            _ => Err(self.wrong(self.value.at, "[OLD NEW] is expected")),
        }
    }

    fn unknown_f(&self) -> ParseError {
        self.wrong(self.f_at, format!("the model has no operation :{}", self.f))
    }
}

/// `INFO  jepsen.util - PROCESS :TYPE :OP VALUE`, tabs or spaces between. None if the line is
/// another one.
fn log_line(line: usize, text: &str) -> Result<Option<Event<'_>>, ParseError> {
    let Some(rest) = text.strip_prefix("INFO") else { return Ok(None) };
    let Some((_, rest)) = rest.split_once("jepsen.util") else { return Ok(None) };
    let Some(rest) = rest.trim_start().strip_prefix('-') else { return Ok(None) };
    let rest = rest.trim_start();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let after = &rest[digits..];
    if digits == 0 || after.trim_start().len() == after.len() || !after.contains(':') {
        return Ok(None);
    }
    let wrong = |at: usize, what: &str| ParseError::new(line, column(text, at), what);
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let Ok(process) = rest[..digits].parse() else {
        return Err(wrong(offset(rest), "the process number is too large"));
    };
    let at = |(at, what): Failure| wrong(at, what);
    let (kind, next) = read(text, offset(rest) + digits).map_err(at)?;
    let (f, next) = read(text, next).map_err(at)?;
    let value = read_all(text, next).map_err(at)?;
    let Value::Keyword(name) = &kind.value else {
        return Err(wrong(kind.at, ":invoke, :ok, :fail or :info is expected"));
    };
    let Some(named) = Kind::named(name) else {
        return Err(wrong(kind.at, ":invoke, :ok, :fail or :info is expected"));
    };
    let (f_at, f) = match f.value {
        Value::Keyword(name) => (f.at, name),
        _ => return Err(wrong(f.at, "an operation such as :read is expected")),
    };
    let (key, error) = (None, false);
    Ok(Some(Event { line, text, process, kind: named, f, f_at, key, value, error }))
}

/// `{:process P, :type T, :f F, :key K, :value V}`; other keys say nothing here. None for
/// a process that is no number (Jepsen's nemesis).
fn map_line(line: usize, text: &str) -> Result<Option<Event<'_>>, ParseError> {
    let wrong = |at: usize, what: &str| ParseError::new(line, column(text, at), what);
    let whole = read_all(text, 0).map_err(|(at, what)| wrong(at, what))?;
    let Value::Map(pairs) = whole.value else { return Err(wrong(whole.at, "a map is expected")) };
    let mut fields: HashMap<String, Node, FoldState> = HashMap::default();
    for (key, value) in pairs {
        let Value::Keyword(name) = key.value else {
            return Err(wrong(key.at, "a keyword is expected"));
        };
        if fields.insert(name, value).is_some() {
            return Err(wrong(key.at, "the key stands there twice"));
        }
    }
    let mut take = |name: &str| fields.remove(name);
    let missing = |name: &str| wrong(whole.at, &format!(":{name} is missing"));
    let process = take("process").ok_or_else(|| missing("process"))?;
    let process = match process.value {
        Value::Int(number) => u32::try_from(number)
            .map_err(|_| wrong(process.at, "the process number is out of range"))?,
        _ => return Ok(None),
    };
    let kind = take("type").ok_or_else(|| missing("type"))?;
    let named = match &kind.value {
        Value::Keyword(name) => Kind::named(name),
        _ => None,
    };
    let named = named.ok_or_else(|| wrong(kind.at, ":invoke, :ok, :fail or :info is expected"))?;
    let f = take("f").ok_or_else(|| missing("f"))?;
    let Value::Keyword(name) = f.value else {
        return Err(wrong(f.at, "an operation such as :read is expected"));
    };
    let error = take("error").is_some_and(|error| error.value != Value::Nil);
    let key = take("key");
    let value = take("value").unwrap_or(Node { at: whole.at, value: Value::Nil });
    let (kind, f_at) = (named, f.at);
    Ok(Some(Event { line, text, process, kind, f: name, f_at, key, value, error }))
}

/// What an event's answer means.
enum Answer<O> {
    /// It took effect, with this output.
    Effect(O),
    /// It took none.
    NoEffect,
    Unknown,
}

/// Reads `bytes` and pairs invocations with answers. `input` reads an invocation, `answer` what
/// came back to it.
fn pair<I: PartialEq, O>(
    bytes: &[u8],
    input: impl Fn(&Event<'_>) -> Result<I, ParseError>,
    answer: impl Fn(&Event<'_>, &I) -> Result<Answer<O>, ParseError>,
) -> Result<Vec<Operation<I, O>>, ParseError> {
    let mut ops: Vec<Option<Operation<I, O>>> = Vec::new();
    let mut open: HashMap<u32, usize, FoldState> = HashMap::default();
    let mut any = false;
    for (line, text) in lines(bytes) {
        let text = text?;
        let trimmed = text.trim_start();
        let event = if trimmed.starts_with('{') || trimmed.starts_with("#jepsen") {
            map_line(line, text)?
        } else {
            log_line(line, text)?
        };
        let Some(event) = event else { continue };
        any = true;
        let (process, at) = (event.process, line as u64);
        if event.kind == Kind::Invoke {
            // An operation of this process that is still open stays unknown.
            let input = input(&event)?;
            open.insert(process, ops.len());
            ops.push(Some(Operation { process, input, output: None, invoked: at, returned: None }));
            continue;
        }
        let Some(index) = open.remove(&process) else {
            return Err(event.wrong(0, format!("process {process} has nothing to answer")));
        };
        let op = ops[index].as_mut().expect("an open operation is there");
        match answer(&event, &op.input)? {
            Answer::Effect(output) => (op.output, op.returned) = (Some(output), Some(at)),
            Answer::NoEffect => ops[index] = None,
            Answer::Unknown => {}
        }
    }
    not_empty(ops.into_iter().flatten().collect(), any)
}

/// The answer is one to another operation than the one that is open.
fn other(event: &Event<'_>) -> ParseError {
    event.wrong(event.f_at, "the process has another operation open")
}

/// A `cas-register`, initially absent, from Jepsen's events. `:fail :cas [A B]` means that the
/// value was not A; another failure, that nothing was carried out.
///
/// # Errors
/// With its place: a broken line, an answer without an invocation or to another one, a file
/// without events.
pub fn cas_register_events(
    bytes: &[u8],
) -> Result<Vec<Operation<CasInput, CasOutput>>, ParseError> {
    pair(bytes, cas_input, |event, input| {
        let repeats = repeats(event);
        match (event.kind, input) {
            (Kind::Ok, CasInput::Read) if event.f == "read" => {
                event.maybe_int().map(|value| Answer::Effect(CasOutput::Value(value)))
            }
            (Kind::Ok, _) if repeats && cas_input(event)? != *input => Err(other(event)),
            (Kind::Ok, CasInput::Write(_)) if event.f == "write" => {
                Ok(Answer::Effect(CasOutput::Written))
            }
            (Kind::Ok, CasInput::Cas(..)) if event.f == "cas" => {
                Ok(Answer::Effect(CasOutput::Swapped(true)))
            }
            (Kind::Fail | Kind::Info, _) if event.f != cas_name(input) => Err(other(event)),
            (Kind::Fail, CasInput::Cas(..)) if !event.error && repeats => {
                if cas_input(event)? != *input {
                    return Err(other(event));
                }
                Ok(Answer::Effect(CasOutput::Swapped(false)))
            }
            (Kind::Fail, _) => Ok(failure(event)),
            (Kind::Info, _) => Ok(Answer::Unknown),
            _ => Err(other(event)),
        }
    })
}

/// Whether the answer carries the request's value again, rather than nothing or a reason.
fn repeats(event: &Event<'_>) -> bool {
    !matches!(event.value.value, Value::Nil | Value::Keyword(_))
}

/// A failure without effect, unless all it says is that time ran out.
fn failure<O>(event: &Event<'_>) -> Answer<O> {
    let timed_out = matches!(event.value.value, Value::Keyword(_)) && !event.error;
    if timed_out { Answer::Unknown } else { Answer::NoEffect }
}

fn cas_name(input: &CasInput) -> &'static str {
    match input {
        CasInput::Read => "read",
        CasInput::Write(_) => "write",
        CasInput::Cas(..) => "cas",
    }
}

fn cas_input(event: &Event<'_>) -> Result<CasInput, ParseError> {
    match event.f.as_str() {
        "read" => Ok(CasInput::Read),
        "write" => event.int(&event.value).map(CasInput::Write),
        "cas" => event.pair().map(|(old, new)| CasInput::Cas(old, new)),
        _ => Err(event.unknown_f()),
    }
}

/// A `register`, initially absent, from Jepsen's events.
///
/// # Errors
/// As [`cas_register_events`].
pub fn register_events(
    bytes: &[u8],
) -> Result<Vec<Operation<RegisterInput, RegisterOutput>>, ParseError> {
    let input = |event: &Event<'_>| match event.f.as_str() {
        "read" => Ok(RegisterInput::Read),
        "write" => event.int(&event.value).map(RegisterInput::Write),
        _ => Err(event.unknown_f()),
    };
    pair(bytes, input, |event, asked| {
        let name = if *asked == RegisterInput::Read { "read" } else { "write" };
        if event.f != name {
            return Err(other(event));
        }
        match (event.kind, asked) {
            (Kind::Ok, RegisterInput::Read) => {
                event.maybe_int().map(|value| Answer::Effect(RegisterOutput::Value(value)))
            }
            (Kind::Ok, _) if repeats(event) && input(event)? != *asked => Err(other(event)),
            (Kind::Ok, _) => Ok(Answer::Effect(RegisterOutput::Written)),
            (Kind::Fail, _) => Ok(failure(event)),
            _ => Ok(Answer::Unknown),
        }
    })
}

/// Independent keys, initially `""`, from Jepsen's events with `:key`.
///
/// # Errors
/// As [`cas_register_events`].
pub fn kv_events(bytes: &[u8]) -> Result<Vec<Operation<KvInput, KvOutput>>, ParseError> {
    pair(bytes, kv_input, |event, asked| {
        let name = match asked {
            KvInput::Get { .. } => "get",
            KvInput::Put { .. } => "put",
            KvInput::Append { .. } => "append",
        };
        if event.f != name || (event.key.is_some() && event.key()? != asked.key()) {
            return Err(other(event));
        }
        match (event.kind, asked) {
            (Kind::Ok, KvInput::Get { .. }) => {
                let value = match &event.value.value {
                    Value::Nil => String::new(),
                    _ => event.text(&event.value)?,
                };
                Ok(Answer::Effect(KvOutput::Value(value)))
            }
            (Kind::Ok, KvInput::Put { value, .. } | KvInput::Append { value, .. }) => {
                if repeats(event) && event.text(&event.value)? != *value {
                    return Err(other(event));
                }
                Ok(Answer::Effect(KvOutput::Done))
            }
            (Kind::Fail, _) => Ok(failure(event)),
            _ => Ok(Answer::Unknown),
        }
    })
}

fn kv_input(event: &Event<'_>) -> Result<KvInput, ParseError> {
    if !["get", "put", "append"].contains(&event.f.as_str()) {
        return Err(event.unknown_f());
    }
    let key = event.key()?;
    match event.f.as_str() {
        "get" => Ok(KvInput::Get { key }),
        "put" => Ok(KvInput::Put { key, value: event.text(&event.value)? }),
        _ => Ok(KvInput::Append { key, value: event.text(&event.value)? }),
    }
}
