//! How names are written in the language.

use core::fmt::{self, Write};

/// Characters a name may have without quotes.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@')
}

/// A name, quoted when the language needs it.
pub(crate) fn write_name(out: &mut impl Write, name: &str) -> fmt::Result {
    let reserved = matches!(name, "and" | "or" | "of" | "");
    if !reserved && name.chars().all(is_name_char) {
        return out.write_str(name);
    }
    out.write_char('"')?;
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_char('"')
}
