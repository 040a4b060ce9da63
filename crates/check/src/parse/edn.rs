//! The part of Clojure's data notation that histories use.

/// A value and the byte offset at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Int(i64),
    Text(String),
    /// Without the colon.
    Keyword(String),
    /// Anything else without inner structure, such as `true` or `1.5`.
    Symbol(String),
    /// A vector, list or set.
    Sequence(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What is wrong, and the byte offset.
pub type Failure = (usize, &'static str);

/// Maps in vectors in maps...
const DEPTH_MAX: usize = 32;

/// Reads one value from `text`, beginning at byte `at`, and returns it with the offset after it.
///
/// # Errors
/// Where the text is no value.
pub fn read(text: &str, at: usize) -> Result<(Node, usize), Failure> {
    let mut reader = Reader { text, at };
    let node = reader.value(0)?;
    Ok((node, reader.at))
}

/// Reads one value that must be all of `text` from byte `at` on.
///
/// # Errors
/// Where the text is no value, or more follows.
pub fn read_all(text: &str, at: usize) -> Result<Node, Failure> {
    let mut reader = Reader { text, at };
    let node = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err((reader.at, "more than one value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Commas are white space; a semicolon begins a comment.
    fn space(&mut self) {
        while let Some(next) = self.peek() {
            if next == ';' {
                self.at = self.text.len();
            } else if next.is_whitespace() || next == ',' {
                self.bump();
            } else {
                return;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Failure> {
        self.space();
        let at = self.at;
        if depth > DEPTH_MAX {
            return Err((at, "too deeply nested"));
        }
        let value = match self.peek() {
            None => return Err((at, "a value is missing")),
            Some('"') => Value::Text(self.text()?),
            Some('[') => Value::Sequence(self.sequence(']', depth)?),
            Some('(') => Value::Sequence(self.sequence(')', depth)?),
            Some('{') => Value::Map(self.map(depth)?),
            Some('#') => {
                self.bump();
                if self.peek() == Some('{') {
                    Value::Sequence(self.sequence('}', depth)?)
                } else {
                    // A tag such as #jepsen.history.Op: the value after it is what counts.
                    self.word();
                    return self.value(depth + 1);
                }
            }
            Some(':') => {
                self.bump();
                let word = self.word();
                if word.is_empty() {
                    return Err((at, "a keyword without a name"));
                }
                Value::Keyword(word)
            }
            Some(_) => {
                let word = self.word();
                if word.is_empty() {
                    return Err((at, "a value is missing"));
                }
                atom(&word, at)?
            }
        };
        Ok(Node { at, value })
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while let Some(next) = self.peek() {
            if next.is_whitespace() || ",;\"()[]{}".contains(next) {
                break;
            }
            self.bump();
        }
        self.text[start..self.at].to_owned()
    }

    fn sequence(&mut self, end: char, depth: usize) -> Result<Vec<Node>, Failure> {
        let start = self.at;
        self.bump();
        let mut nodes = Vec::new();
        loop {
            self.space();
            match self.peek() {
                None => return Err((start, "never closed")),
                Some(next) if next == end => {
                    self.bump();
                    return Ok(nodes);
                }
                Some(_) => nodes.push(self.value(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, Failure> {
        let start = self.at;
        let mut flat = self.sequence('}', depth)?.into_iter();
        let mut pairs = Vec::with_capacity(flat.len() / 2);
        while let Some(key) = flat.next() {
            let value = flat.next().ok_or((start, "a key without a value"))?;
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    fn text(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.bump();
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(plain) = rest.find(['"', '\\']) else {
                return Err((start, "the text never ends"));
            };
            out.push_str(&rest[..plain]);
            let at = self.at + plain;
            self.at = at + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Ok(out);
            }
            out.push(self.escape(at)?);
        }
    }

    fn escape(&mut self, at: usize) -> Result<char, Failure> {
        match self.bump() {
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some(same @ ('"' | '\\' | '/')) => Ok(same),
            Some('u') => {
                let digits = self.text.get(self.at..self.at + 4);
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let decoded = code.and_then(char::from_u32).ok_or((at, "no such character"))?;
                self.at += 4;
                Ok(decoded)
            }
            _ => Err((at, "no such escape")),
        }
    }
}

fn atom(word: &str, at: usize) -> Result<Value, Failure> {
    if word == "nil" {
        return Ok(Value::Nil);
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::Symbol(word.to_owned()));
    }
    word.parse().map(Value::Int).map_err(|_| (at, "the number is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        read_all(text, 0).unwrap().value
    }

    #[test]
    fn values_are_read_with_their_places() {
        assert_eq!(value(" nil ; and so on"), Value::Nil);
        assert_eq!(value("-12"), Value::Int(-12));
        assert_eq!(value(":timed-out"), Value::Keyword("timed-out".to_owned()));
        assert_eq!(value(r#""a \"b\" \\ \u00e9 ü""#), Value::Text("a \"b\" \\ é ü".to_owned()));
        let Value::Sequence(nodes) = value("[3, 4]") else { panic!() };
        assert_eq!(nodes[1], Node { at: 4, value: Value::Int(4) });
        let Value::Map(pairs) = value("#x.Op{:a {:b nil}, :c #{1}}") else { panic!() };
        assert_eq!(pairs.len(), 2);
    }

    #[test]
    fn what_is_no_value_is_an_error_with_its_place() {
        for (text, at) in
            [("", 0), ("[1 2", 0), ("{:a}", 0), ("  \"x", 2), ("\"\\q\"", 1), ("\"\\ud800\"", 1)]
        {
            assert_eq!(read_all(text, 0).unwrap_err().0, at, "{text}");
        }
        assert_eq!(read_all("1 2", 0).unwrap_err().0, 2);
        assert_eq!(read_all("[}", 0).unwrap_err().0, 1);
        assert!(read_all("99999999999999999999", 0).is_err());
        assert!(read_all(&"[".repeat(100_000), 0).is_err());
        assert!(read_all(&"#a ".repeat(100_000), 0).is_err());
    }
}
