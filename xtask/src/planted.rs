//! Planted bugs (`docs/bugs.md`) never reach a product: no manifest turns their feature on, no code
//! but `base::planted!` asks for it, and the release binary does not know its environment variable.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The only file outside `base::planted` that may look at the feature.
const MACRO: &str = "crates/base/src/lib.rs";
/// Compiled only with the feature; it reads the environment.
pub const HOME: &str = "crates/base/src/planted.rs";
/// `base::planted::VARIABLE`, in pieces, so that this program does not hold it.
const VARIABLE: [&str; 2] = ["QUORATE_PLANTED", "_BUG"];

/// Everything that would let a planted bug into a product.
///
/// # Errors
/// `cargo metadata` fails, or the release binary cannot be read.
pub fn problems() -> Result<Vec<String>> {
    let output = crate::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("start cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut problems = in_manifests(&serde_json::from_slice(&output.stdout)?);
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let binary = crate::root().join(target).join("release/quorate");
    if binary.exists() && knows_the_variable(&std::fs::read(&binary)?) {
        problems.push(format!("{} holds planted bugs", binary.display()));
    }
    Ok(problems)
}

fn in_manifests(metadata: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let words = |value: &Value| -> Vec<String> {
        list(value).iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let names_it = |word: &String| word == "planted" || word.ends_with("/planted");
    let mut problems = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = package["name"].as_str().unwrap_or("");
        for dependency in list(&package["dependencies"]) {
            if words(&dependency["features"]).iter().any(names_it) {
                problems.push(format!("crate {name} depends on planted bugs"));
            }
        }
        let features = package["features"].as_object().cloned().unwrap_or_default();
        for (feature, turns_on) in features {
            if feature != "planted" && words(&turns_on).iter().any(names_it) {
                problems.push(format!("feature {feature} of {name} turns planted bugs on"));
            }
        }
    }
    problems
}

/// Whether a line of a product looks at the feature itself.
pub fn asks_for_the_feature(path: &str, line: &str) -> bool {
    path != MACRO && path != HOME && line.contains("feature = \"planted\"")
}

/// Whether a line plants a bug in the simulator: one in its code proves nothing about what ships.
pub fn plants_in_the_simulator(path: &str, line: &str) -> bool {
    path.starts_with("crates/sim/src/") && line.contains("planted!(")
}

pub fn is_home(path: &str) -> bool {
    Path::new(path) == Path::new(HOME)
}

fn knows_the_variable(binary: &[u8]) -> bool {
    let variable = VARIABLE.concat();
    binary.windows(variable.len()).any(|bytes| bytes == variable.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_a_dependency_or_a_binary_with_planted_bugs_is_named() {
        let metadata = serde_json::json!({"packages": [
            {"name": "base", "dependencies": [], "features": {"planted": []}},
            {"name": "sim", "dependencies": [], "features": {"planted": ["base/planted"]}},
            {"name": "bad", "features": {"default": ["base/planted"]},
             "dependencies": [{"name": "base", "features": ["planted"]}]},
        ]});
        let problems = in_manifests(&metadata);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("bad")), "{problems:?}");
        let binary = [b"\0\x7fELF", VARIABLE.concat().as_bytes(), b"\0"].concat();
        assert!(knows_the_variable(&binary) && !knows_the_variable(b"QUORATE_PLANTED"));
    }

    #[test]
    fn a_bug_is_planted_in_what_ships_and_never_in_the_simulator() {
        let line = "    if planted!(StaleIncarnation) {";
        for path in ["crates/sim/src/world/start.rs", "crates/sim/src/world/watch.rs"] {
            assert!(plants_in_the_simulator(path, line), "{path}");
        }
        assert!(!plants_in_the_simulator("crates/member/src/open.rs", line));
        assert!(!plants_in_the_simulator("crates/sim/src/world/start.rs", "use base::planted;"));
    }

    #[test]
    fn only_the_macro_looks_at_the_feature() {
        let line = "#[cfg(feature = \"planted\")]";
        assert!(asks_for_the_feature("crates/wal/src/lib.rs", line));
        assert!(!asks_for_the_feature(MACRO, line) && is_home(HOME));
    }
}
