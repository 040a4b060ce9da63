//! Text to tokens.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::error::ParseError;
use crate::spelling::is_name_char;
use base::limits::QUORUM_TEXT_BYTES_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Box<str>),
    Quoted(Box<str>),
    Symbol(&'static str),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Quoted(text) => write!(f, "`{text}`"),
            Token::Symbol(text) => write!(f, "`{text}`"),
            Token::End => f.write_str("the end"),
        }
    }
}

const SYMBOLS: [&str; 10] = [">=", "(", ")", "{", "}", ",", ";", ":", "=", "/"];

/// Tokens with their columns; the last one is `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, ParseError> {
    if text.len() > QUORUM_TEXT_BYTES_MAX {
        return Err(ParseError::new(1, format!("longer than {QUORUM_TEXT_BYTES_MAX} bytes")));
    }
    let mut out = Vec::new();
    let mut rest = text.chars().peekable();
    let mut column = 0;
    while let Some(c) = rest.next() {
        column += 1;
        let start = column;
        if c.is_whitespace() {
            continue;
        }
        if is_name_char(c) {
            let mut word = String::from(c);
            while let Some(c) = rest.next_if(|c| is_name_char(*c)) {
                word.push(c);
                column += 1;
            }
            out.push((Token::Word(word.into()), start));
            continue;
        }
        if c == '"' {
            let (name, used) = unquoted(&mut rest, start)?;
            column += used;
            out.push((Token::Quoted(name), start));
            continue;
        }
        let symbol = match c {
            '>' if rest.next_if_eq(&'=').is_some() => {
                column += 1;
                ">="
            }
            _ => match SYMBOLS.iter().find(|s| s.chars().eq([c])) {
                Some(symbol) => symbol,
                None => {
                    let message = format!("`{c}` means nothing here (try `and`, `or`, quotes)");
                    return Err(ParseError::new(start, message));
                }
            },
        };
        out.push((Token::Symbol(symbol), start));
    }
    out.push((Token::End, column + 1));
    Ok(out)
}

/// The rest of a quoted name and how many characters it took.
pub(crate) fn unquoted(
    rest: &mut impl Iterator<Item = char>,
    start: usize,
) -> Result<(Box<str>, usize), ParseError> {
    let mut name = String::new();
    let mut used = 0;
    while let Some(c) = rest.next() {
        used += 1;
        match c {
            '"' if name.is_empty() => return Err(ParseError::new(start, "an empty name")),
            '"' => return Ok((name.into(), used)),
            '\\' => {
                used += 1;
                name.extend(rest.next());
            }
            _ => name.push(c),
        }
    }
    Err(ParseError::new(start, "this quote is never closed"))
}
