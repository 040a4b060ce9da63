//! Which crate may use which, and that every dependency states its reason.

use std::collections::{BTreeMap, BTreeSet};

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
    ("console", &[]),
    ("net", &["later"]),
    ("front-etcd", &["door", "api", "net"]),
    ("server", &["member", "door", "trace", "net", "front-etcd"]),
    ("client", &["api"]),
    ("quorate", &["server", "client", "console", "analysis", "sim", "check"]),
    ("trial", &["client", "check"]),
    ("xtask", &[]),
];

/// Crates with neither an operating system nor a library below them.
pub const PURE: [&str; 8] =
    ["base", "quorum", "cluster", "consensus", "mvcc", "replica", "later", "door"];

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
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let used = dependency["name"].as_str().unwrap_or("");
            let for_tests = dependency["kind"].as_str() == Some("dev");
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
