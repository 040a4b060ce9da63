//! What is wrong with a text, and where.

use alloc::format;
use alloc::string::String;
use core::fmt;

/// What is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// In characters, from 1; one past the end when the text stops too early.
    pub column: usize,
    /// One sentence, without the column.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }

    /// The text with a caret below the column, and the message.
    pub fn caret(&self, text: &str) -> String {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{:>width$}\n{self}", "^", width = self.column.min(u16::MAX as usize))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl core::error::Error for ParseError {}
