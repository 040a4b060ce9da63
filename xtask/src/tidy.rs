//! The style rules of STYLE.md that a program can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::scan::{Scanned, scan};
use crate::{bounds, circles, edges, planted};

const LINE_CHARS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
/// Assertions in a thousand lines of a crate that decides.
const ASSERTS_MIN: usize = 20;

/// The one file of the machines that reads quorum texts, as they come into the log.
const WHERE_TEXTS_COME_IN: &str = "crates/consensus/src/raft/configs.rs";

/// Rules whose exceptions are counted per file in `xtask/ratchet/<rule>.txt`.
const RATCHETED: [&str; 4] = ["lines", "functions", "files", "unwrap"];

/// One breach: the rule's name, the file, and what to print.
struct Breach {
    rule: &'static str,
    path: String,
    text: String,
}

/// Assertions and lines of code of one crate, tests left out.
#[derive(Default)]
struct Density {
    asserts: usize,
    lines: usize,
}

/// Checks everything and prints the figures. `lower` shrinks ratchet lists to what is needed.
///
/// # Errors
/// Any breach that no ratchet list excuses, or a list that allows more than is needed.
pub fn run(lower: bool) -> Result<()> {
    let root = crate::root();
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut breaches = Vec::new();
    let mut densities: BTreeMap<String, Density> = BTreeMap::new();
    let mut functions = BTreeSet::new();
    for file in &files {
        let path = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let source = fs::read_to_string(file).with_context(|| path.clone())?;
        let scanned = scan(&source);
        check_file(&path, &source, &scanned, &mut breaches);
        functions.extend(scanned.functions.iter().map(|(name, ..)| name.clone()));
        measure(&path, &scanned, densities.entry(crate_of(&path).to_owned()).or_default());
    }
    check_manifests(&root, &mut breaches)?;
    let mut problems = edges::problems()?;
    problems.extend(planted::problems()?);
    problems.extend(circles::problems()?);
    problems.extend(bounds::problems(&functions)?);
    problems.extend(apply_ratchets(&root, breaches, lower)?);
    for (name, density) in &densities {
        let per_thousand = density.asserts * 1000 / density.lines.max(1);
        println!("tidy: {name:<10} {:>6} lines, {per_thousand:>3} asserts/1000", density.lines);
        if edges::PURE.contains(&name.as_str()) && per_thousand < ASSERTS_MIN {
            problems.push(format!(
                "crate {name}: {per_thousand} asserts/1000; a pure crate has {ASSERTS_MIN}"
            ));
        }
    }
    println!("tidy: {} files, {} locked packages", files.len(), edges::locked_packages()?);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("tidy: {} problems\n{}", problems.len(), problems.join("\n"))
}

/// Every Rust file below `folder`, generated ones and build output left out.
pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("api/src/gen") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `crates/wal/src/lib.rs` belongs to `wal`; everything else to `xtask`.
fn crate_of(path: &str) -> &str {
    let mut parts = path.split('/');
    if parts.next() == Some("crates") { parts.next().unwrap_or("") } else { "xtask" }
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs") || path.contains("/benches/")
}

fn check_file(path: &str, source: &str, scanned: &Scanned, breaches: &mut Vec<Breach>) {
    let mut add = |rule: &'static str, line: usize, text: &str| {
        let text = format!("{path}:{}: {text}", line + 1);
        breaches.push(Breach { rule, path: path.to_owned(), text });
    };
    let tests = is_test_file(path);
    let name = crate_of(path);
    for (at, line) in source.lines().enumerate() {
        if line.chars().count() > LINE_CHARS_MAX {
            add("lines", at, "line longer than 100 characters");
        }
        if name != "xtask" && planted::asks_for_the_feature(path, line) {
            add("planted", at, "only base::planted! asks for the feature");
        }
    }
    for (at, line) in scanned.code.iter().enumerate() {
        if planted::plants_in_the_simulator(path, line) {
            add("planted", at, "plant bugs in the code that ships, not in the simulator");
        }
    }
    if source.lines().count() > FILE_LINES_MAX {
        add("files", 0, "file longer than 600 lines");
    }
    if path.ends_with("/mod.rs") {
        add("mod", 0, "use foo.rs and foo/, not foo/mod.rs");
    }
    for (function, at, length) in &scanned.functions {
        if *length > FUNCTION_LINES_MAX {
            add("functions", *at, &format!("fn {function} has {length} lines (70)"));
        }
    }
    let may_wait = ["server", "net", "quorate", "client", "trial", "xtask"].contains(&name);
    for (at, line) in scanned.code.iter().enumerate() {
        if tests || scanned.test[at] {
            continue;
        }
        if line.contains(".unwrap()") {
            add("unwrap", at, "unwrap outside tests: expect(\"why it holds\")");
        }
        if edges::PURE.contains(&name) && !planted::is_home(path) && names_std(line) {
            add("std", at, "std in a pure crate");
        }
        let packed: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        if name != "quorum" && packed.contains("/2+1") {
            add("majority", at, "only the quorum crate counts votes");
        }
        let shell = ["std::time", "std::thread", "std::net", "HashMap", "HashSet"];
        let decides = ["member", "store", "wal"].contains(&name);
        if decides && shell.iter().any(|word| has_word(line, word)) {
            add("shell", at, "no clock, thread, socket or hash order in member, store and wal");
        }
        let removes = ["remove_file", "remove_dir", "remove_dir_all"];
        let keeps =
            ["server", "member", "store", "wal"].contains(&name) && !path.ends_with("/real.rs");
        if keeps && removes.iter().any(|word| has_word(line, word)) {
            add("removal", at, "a member removes files by wal::Disk::remove only, with its proof");
        }
        let steps = ["consensus", "replica"].contains(&name) && path != WHERE_TEXTS_COME_IN;
        if steps && (packed.contains(".compile()") || has_word(line, "SystemSpec")) {
            add("texts", at, "a step reads no quorum text: ask the configuration in force");
        }
        if !may_wait && has_word(line, "async") {
            add("async", at, "async outside server, net, quorate, client and trial");
        }
    }
}

fn names_std(line: &str) -> bool {
    line.contains("extern crate std")
        || line.match_indices("std::").any(|(at, _)| word_at(line, at))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        word_at(line, at) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Whether a word begins at byte `at`.
fn word_at(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn measure(path: &str, scanned: &Scanned, density: &mut Density) {
    if is_test_file(path) {
        return;
    }
    for (line, test) in scanned.code.iter().zip(&scanned.test) {
        if !test && !line.trim().is_empty() {
            density.lines += 1;
            density.asserts += usize::from(
                ["assert!(", "assert_eq!(", "assert_ne!("].iter().any(|name| line.contains(name)),
            );
        }
    }
}

/// Every crate inherits the workspace's lints, and those forbid unsafe code.
fn check_manifests(root: &Path, breaches: &mut Vec<Breach>) -> Result<()> {
    let mut add = |path: String, text: &str| {
        breaches.push(Breach { rule: "unsafe", text: format!("{path}: {text}"), path });
    };
    if !fs::read_to_string(root.join("Cargo.toml"))?.contains("unsafe_code = \"forbid\"") {
        add("Cargo.toml".to_owned(), "unsafe_code must be forbidden");
    }
    let mut manifests = vec![root.join("xtask/Cargo.toml")];
    for entry in fs::read_dir(root.join("crates"))? {
        manifests.push(entry?.path().join("Cargo.toml"));
    }
    for manifest in manifests.iter().filter(|manifest| manifest.exists()) {
        if !fs::read_to_string(manifest)?.contains("[lints]\nworkspace = true") {
            add(manifest.display().to_string(), "must inherit the workspace's lints");
        }
    }
    Ok(())
}

/// What remains after the exceptions; a list that allows too much is a problem too.
fn apply_ratchets(root: &Path, breaches: Vec<Breach>, lower: bool) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for rule in RATCHETED {
        let file = root.join(format!("xtask/ratchet/{rule}.txt"));
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for breach in breaches.iter().filter(|breach| breach.rule == rule) {
            found.entry(&breach.path).or_default().push(&breach.text);
        }
        let listed = fs::read_to_string(&file).unwrap_or_default();
        let mut kept = String::new();
        for line in listed.lines().filter(|line| !line.trim().is_empty()) {
            let (path, count) = line.rsplit_once(' ').context("ratchet lines: path count")?;
            let allowed: usize = count.parse().context("ratchet lines: path count")?;
            let actual = found.get(path).map_or(0, Vec::len);
            if actual <= allowed {
                found.remove(path);
            }
            if actual < allowed && !lower {
                problems.push(format!(
                    "xtask/ratchet/{rule}.txt: {path} needs {actual}: run cargo xtask tidy --lower"
                ));
            }
            if actual > 0 {
                kept.push_str(&format!("{path} {}\n", actual.min(allowed)));
            }
        }
        if lower && kept != listed {
            fs::write(&file, kept)?;
        }
        problems.extend(found.into_values().flatten().map(str::to_owned));
    }
    let strict = breaches.into_iter().filter(|breach| !RATCHETED.contains(&breach.rule));
    problems.extend(strict.map(|breach| breach.text));
    Ok(problems)
}
