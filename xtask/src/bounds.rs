//! `docs/design/bounds.md` against the tree: every bound of `base::limits` has a row, and every
//! test that a row names is there.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

const TABLE: &str = "docs/design/bounds.md";
/// Of the line above the rows.
const HEAD: &str = "| what grows |";
const LIMITS: &str = "crates/base/src/limits.rs";

/// Bounds without a row, and rows that name what is not there. `functions` are all of the tree.
///
/// # Errors
/// Files that cannot be read.
pub fn problems(functions: &BTreeSet<String>) -> Result<Vec<String>> {
    let read = |path: &str| fs::read_to_string(crate::root().join(path)).context(path.to_owned());
    Ok(differences(&read(TABLE)?, &read(LIMITS)?, functions))
}

fn differences(table: &str, limits: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for line in limits.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let name = line.split(':').next().unwrap_or_default();
        if !table.contains(&format!("`{name}`")) {
            problems.push(format!("{TABLE}: no row has {name}"));
        }
    }
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with(HEAD);
    for row in table.lines().filter(is_row) {
        let named = row.split('`').skip(1).step_by(2);
        // Sentences; shorter words are crates and files.
        let tests = named.filter(|name| name.matches('_').count() > 3 && is_lower(name));
        let tests: Vec<&str> = tests.collect();
        if tests.is_empty() {
            problems.push(format!("{TABLE}: no test is named in: {row}"));
        }
        for test in tests {
            if !functions.contains(test) {
                problems.push(format!("{TABLE}: there is no test {test}"));
            }
        }
    }
    problems
}

fn is_lower(name: &str) -> bool {
    name.chars().all(|c| c == '_' || c.is_ascii_digit() || c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_without_a_row_and_a_test_that_is_gone_are_named() {
        let limits = "/// Words.\npub const A_MAX: usize = 1;\npub const B_MAX: usize = 2;\n";
        let table = "| what grows | where | bound | test |\n|---|---|---|---|\n\
             | a | `net` in_it | `A_MAX` | `the_a_too_many_is_refused`, `it_is_gone_by_now` |\n\
             | c | `net` | local | tests of it |";
        let functions = BTreeSet::from(["the_a_too_many_is_refused".to_owned()]);
        let found = differences(table, limits, &functions);
        assert_eq!(
            found,
            [
                "docs/design/bounds.md: no row has B_MAX",
                "docs/design/bounds.md: there is no test it_is_gone_by_now",
                "docs/design/bounds.md: no test is named in: | c | `net` | local | tests of it |"
            ]
        );
    }
}
