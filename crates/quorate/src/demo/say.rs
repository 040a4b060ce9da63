//! What the tour prints: plain lines, colours on a terminal only, or one JSON object a line.

use std::io::{IsTerminal, Write};

pub struct Say {
    json: bool,
    colour: bool,
    pub claims: u32,
    pub failed: Vec<String>,
}

impl Say {
    pub fn new(json: bool) -> Self {
        let colour = !json && std::io::stdout().is_terminal();
        Self { json, colour, claims: 0, failed: Vec::new() }
    }

    pub fn chapter(&self, title: &str) {
        let line = self.paint("1;36", title);
        self.emit("chapter", &format!("\n== {line} =="), title, None);
    }

    pub fn fact(&self, text: &str) {
        self.emit("fact", &format!("   {text}"), text, None);
    }

    /// A statement that was checked; a false one fails the demo.
    pub fn claim(&mut self, holds: bool, text: &str) {
        self.claims += 1;
        let mark = if holds { self.paint("32", "ok") } else { self.paint("1;31", "FALSE") };
        self.emit("claim", &format!("   [{mark}] {text}"), text, Some(holds));
        if !holds {
            self.failed.push(text.to_owned());
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn emit(&self, kind: &str, line: &str, text: &str, holds: Option<bool>) {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            let mut object = serde_json::json!({ "kind": kind, "text": text });
            if let Some(holds) = holds {
                object["holds"] = holds.into();
            }
            writeln!(out, "{object}")
        } else {
            writeln!(out, "{line}")
        };
        // A closed pipe ends the show, not the checks.
        let _ = written.and_then(|()| out.flush());
    }
}
