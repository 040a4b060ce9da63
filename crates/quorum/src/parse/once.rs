//! No item twice.

use super::bounds::ITEMS_MAX;
use crate::error::ParseError;
use crate::expr::Expr;
use alloc::format;

/// An item listed twice would count twice: always a slip, so it is refused.
pub(super) fn once(seen: &[Expr], item: &Expr) -> Result<(), ParseError> {
    if seen.len() >= ITEMS_MAX {
        return Err(ParseError::new(item.column, format!("more than {ITEMS_MAX} items")));
    }
    let again = |other: &Expr| match (other.name(), item.name()) {
        (Some(a), Some(b)) => a == b,
        _ => other == item,
    };
    if seen.iter().any(again) {
        return Err(ParseError::new(item.column, format!("`{item}` appears twice")));
    }
    Ok(())
}

impl core::str::FromStr for Expr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}
