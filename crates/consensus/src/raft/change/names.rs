//! Names of members inside quorum texts.

use alloc::string::{String, ToString};
use base::NodeId;
use quorum::{Expr, SystemSpec};

/// The name of a member that has not said its own.
pub fn label(id: NodeId) -> String {
    alloc::format!("m{:016x}", id.0)
}

/// `text` with the name `old` written as `new`, quoted or not; other words stay.
pub(super) fn renamed(text: &str, old: &str, new: &str) -> String {
    let Ok(spec) = SystemSpec::parse(text) else { return text.to_string() };
    if !spec.names().contains(&old) {
        return text.to_string();
    }
    let new = Expr::majority([new]).names().first().map_or(String::new(), |n| quoted(n));
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| !c.is_whitespace() && !"(){},;:=/>\"".contains(c);
        let len = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |at| at + 2),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, tail) = rest.split_at(len);
        out.push_str(if word.trim_matches('"') == old { &new } else { word });
        rest = tail;
    }
    out
}

pub(super) fn quoted(name: &str) -> String {
    alloc::format!("\"{name}\"")
}
