//! Which crate may use which, and that every dependency states its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::scan::scan;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Direct permissions; what they reach is permitted too. The rooms of ARCHITECTURE.md.
const MAY_USE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("quorum", &["base"]),
    ("cluster", &["quorum"]),
    ("consensus", &["cluster"]),
    ("mvcc", &["base"]),
    ("replica", &["consensus", "mvcc"]),
    ("later", &[]),
    ("door", &["replica", "later"]),
    ("wal", &["base"]),
    ("store", &["wal", "mvcc"]),
    ("analysis", &["quorum"]),
    ("check", &["base"]),
    ("member", &["replica", "wal", "store"]),
    ("trace", &["replica"]),
    ("sim", &["member", "door", "trace", "check"]),
    ("api", &[]),
    ("net", &["base", "later"]),
    ("front-etcd", &["door", "api", "net"]),
    ("server", &["member", "door", "trace", "net"]),
    ("client", &["api"]),
    ("quorate", &["server", "front-etcd", "client", "analysis", "sim", "check"]),
    ("trial", &["client", "check"]),
    ("xtask", &[]),
];

/// Crates with neither an operating system nor a library below them.
pub const PURE: [&str; 8] =
    ["base", "quorum", "cluster", "consensus", "mvcc", "replica", "later", "door"];

/// Dependencies that no line of a crate names, with the reason.
const NAMED_BY_NONE: &[(&str, &str, &str)] = &[];

/// Everything wrong with the workspace's dependencies.
pub fn problems() -> Result<Vec<String>> {
    let output = crate::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("start cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let workspace: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let reasons = std::fs::read_to_string(crate::root().join("docs/dependencies.md"))?;
    let mut problems = Vec::new();
    let mut external = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or("");
        let Some(allowed) = reachable(name) else {
            problems.push(format!("crate {name} is not in the table of xtask/src/edges.rs"));
            continue;
        };
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or(""));
        let words = Words::of(manifest.parent().unwrap_or(manifest))?;
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let used = dependency["name"].as_str().unwrap_or("");
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let excused = NAMED_BY_NONE.iter().any(|(of, what, _)| (*of, *what) == (name, used));
            if words.names(used, for_tests) == excused {
                let said = if excused { "names it all the same" } else { "names it nowhere" };
                problems.push(format!("crate {name} depends on {used} and {said}"));
            }
            if !workspace.contains(used) {
                external.insert(used);
                if PURE.contains(&name) && !for_tests {
                    problems.push(format!("pure crate {name} depends on {used}"));
                }
            } else if !for_tests && !allowed.contains(used) {
                problems.push(format!("crate {name} may not use {used}"));
            }
        }
    }
    for used in external {
        if !reasons.lines().any(|line| line.contains(&format!("`{used}`"))) {
            problems.push(format!("docs/dependencies.md: no line says why `{used}`"));
        }
    }
    Ok(problems)
}

/// The words of a crate's code, comments and texts left out.
struct Words {
    product: BTreeSet<String>,
    tests: BTreeSet<String>,
}

impl Words {
    fn of(package: &Path) -> Result<Self> {
        let (mut product, mut tests) = (BTreeSet::new(), BTreeSet::new());
        for folder in ["src", "tests", "examples", "benches"].map(|name| package.join(name)) {
            let mut files = Vec::new();
            if folder.exists() {
                crate::tidy::collect(&folder, &mut files)?;
            }
            for file in files {
                let code = scan(&std::fs::read_to_string(&file)?).code;
                let words = code.iter().flat_map(|line| line.split(|c| !is_word(c)));
                let words = words.map(str::to_owned);
                if folder.ends_with("src") { product.extend(words) } else { tests.extend(words) }
            }
        }
        Ok(Self { product, tests })
    }

    /// Whether some line names the dependency; one of the product is not there for tests alone.
    fn names(&self, dependency: &str, for_tests: bool) -> bool {
        let word = dependency.replace('-', "_");
        self.product.contains(&word) || (for_tests && self.tests.contains(&word))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All crates that `name` may use; `None` for a crate outside the table.
fn reachable(name: &str) -> Option<BTreeSet<&'static str>> {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut open = table.get(name)?.to_vec();
    let mut reached = BTreeSet::new();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend_from_slice(table[next]);
        }
    }
    Some(reached)
}

/// Packages in the lock file.
pub fn locked_packages() -> Result<usize> {
    let lock = std::fs::read_to_string(crate::root().join("Cargo.lock"))?;
    Ok(lock.lines().filter(|line| *line == "[[package]]").count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_reach_down_but_never_sideways() {
        let consensus = reachable("consensus").unwrap();
        assert!(consensus.contains("base") && !consensus.contains("mvcc"));
        assert!(!reachable("check").unwrap().contains("mvcc"));
        assert!(reachable("stranger").is_none());
    }

    #[test]
    fn the_table_only_names_crates_of_the_table_and_has_no_cycle() {
        for (name, _) in MAY_USE {
            assert!(!reachable(name).unwrap().contains(name), "{name}");
        }
    }
}
