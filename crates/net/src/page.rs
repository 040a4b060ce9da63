//! A page of metrics in Prometheus' text form.

use std::cell::RefCell;
use std::fmt::{Display, Write as _};

/// A page of metrics under construction.
#[derive(Default)]
pub struct Page {
    text: RefCell<String>,
}

impl Page {
    pub fn gauge(&self, name: &str, value: impl Display) {
        let _ = writeln!(self.text.borrow_mut(), "# TYPE {name} gauge\n{name} {value}");
    }
    pub fn counter(&self, name: &str, value: u64) {
        let _ = writeln!(self.text.borrow_mut(), "# TYPE {name} counter\n{name} {value}");
    }
    pub fn line(&self, line: impl Display) {
        let _ = writeln!(self.text.borrow_mut(), "{line}");
    }
    pub fn into_text(self) -> String {
        self.text.into_inner()
    }
}
