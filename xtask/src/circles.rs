//! No circles between the files of a crate, as far as their `use` lines tell.
//!
//! The rule: an edge leads from a file to every file of its crate whose items a `use` names,
//! re-exports followed to where the item stands. Where a file adds to a type by an `impl` of its
//! own, the type is one in several files, and its name is no edge.
//!
//! A module's own file stands above those in its folder. That it uses or re-exports them is no
//! edge. Its types and traits are the words they share, and no edge either; its functions and
//! constants are: what the lower ones need stands below, too. As an upper file is taken to need
//! all that is below it, such an edge is a circle by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::scan::scan;

/// Circles that stay for now: crate, a file on it, why.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("mvcc", "map/key", "being taken apart: constants of the map"),
    ("mvcc", "map/run", "being taken apart: constants of the map"),
    ("mvcc", "range/rest", "being taken apart: what counts a rest"),
    ("mvcc", "store/quota", "being taken apart: overheads"),
    ("replica", "event", "being taken apart: effects carry traces, traces name refusals"),
    ("server", "desk/door", "being taken apart with the desk"),
    ("sim", "story/disks", "being taken apart: sentences share the story's words"),
    ("sim", "story/elections", "being taken apart: sentences share the story's words"),
    ("sim", "story/quorums", "being taken apart: sentences share the story's words"),
    ("check", "models/chains", "one model in two files: chains are how its states are kept"),
    ("check", "parse/events", "readers of one format share its lines and columns"),
    ("check", "parse/json", "readers of one format share its lines and columns"),
    ("quorate", "sim_cmd/sweep", "two commands share the arguments of a life"),
    ("trial", "chaos/dump", "a round and what it leaves behind"),
    ("trial", "diff/probe", "a side and how it is asked"),
    ("trial", "field/member", "a member and its stage"),
];

/// A module by its names from the crate's root, which is the empty path.
type Module = Vec<String>;

struct File {
    /// What its `use` lines name, as written, and as what.
    uses: Vec<(Vec<String>, String)>,
    /// Types that have an `impl` there.
    implements: BTreeSet<String>,
}

/// Every circle of every crate, and every excuse that excuses nothing.
///
/// # Errors
/// Files that cannot be read.
pub fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for entry in fs::read_dir(crate::root().join("crates"))? {
        let package = entry?.path();
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = read(&package.join("src"))?;
        let circles = circles(&edges(&files));
        for (_, file, _) in EXCUSED.iter().filter(|(of, ..)| *of == name) {
            if !circles.iter().flatten().any(|module| path_of(module) == *file) {
                problems.push(format!("crate {name}: {file} is on no circle: excuse it no more"));
            }
        }
        for circle in circles {
            let names: Vec<String> = circle.iter().map(path_of).collect();
            let excuses = |(of, file, _): &&(&str, &str, &str)| {
                *of == name && names.iter().any(|name| name == file)
            };
            if !EXCUSED.iter().any(|excuse| excuses(&excuse)) {
                problems.push(format!("crate {name}: circle of files: {}", names.join(", ")));
            }
        }
    }
    problems.sort();
    Ok(problems)
}

fn path_of(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("/") }
}

fn read(src: &Path) -> Result<BTreeMap<Module, File>> {
    let mut paths = Vec::new();
    crate::tidy::collect(src, &mut paths)?;
    let mut files = BTreeMap::new();
    for path in paths {
        let inside = path.strip_prefix(src)?.with_extension("");
        let mut module: Module =
            inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.iter().any(|name| name.ends_with("tests") || name == "bin") {
            continue;
        }
        if module == ["lib"] || module == ["main"] {
            module.clear();
        }
        let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = file(&source);
        // A binary beside a library shares its root here: what both say is joined.
        let known = files
            .entry(module)
            .or_insert_with(|| File { uses: Vec::new(), implements: BTreeSet::new() });
        known.uses.extend(file.uses);
        known.implements.extend(file.implements);
    }
    Ok(files)
}

fn file(source: &str) -> File {
    let scanned = scan(source);
    let lines = scanned.code.iter().zip(&scanned.test).filter(|(_, test)| !**test);
    let code: String = lines.map(|(line, _)| format!("{}\n", line.trim())).collect();
    let mut found = File { uses: Vec::new(), implements: BTreeSet::new() };
    for item in code.split('\n').enumerate().filter_map(|(at, line)| {
        let after = without_visibility(line).strip_prefix("use ")?;
        let rest: String = code.split('\n').skip(at + 1).collect();
        Some(format!("{after} {rest}"))
    }) {
        let tree = item.split(';').next().unwrap_or_default();
        let tree: String = tree.replace(" as ", "@").split_whitespace().collect();
        expand(&[], &tree, &mut found.uses);
    }
    let own = code.lines().filter(|line| line.starts_with("impl") && !line.contains(" for "));
    for line in own {
        found.implements.extend(line.split(|c| !is_word(c)).map(str::to_owned));
    }
    found
}

/// As names are written: `Type`, not `function` or `CONSTANT`.
fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_visibility(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else { return line };
    let rest = rest.trim_start();
    if !rest.starts_with('(') {
        return rest;
    }
    rest.split_once(')').map_or(rest, |(_, rest)| rest.trim_start())
}

/// Every path of a tree without blanks, with the name that it is used by; `@` stands for `as`.
fn expand(before: &[String], tree: &str, out: &mut Vec<(Vec<String>, String)>) {
    if let Some((head, inner)) = tree.split_once('{') {
        let inner = inner.strip_suffix('}').unwrap_or(inner);
        let mut path = before.to_vec();
        path.extend(head.split("::").filter(|part| !part.is_empty()).map(str::to_owned));
        let (mut depth, mut from) = (0, 0);
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&path, &inner[from..at], out);
                    from = at + 1;
                }
                _ => {}
            }
        }
        return expand(&path, &inner[from..], out);
    }
    // All of a file is what its own inner modules see, or what tests ask for.
    if tree.is_empty() || tree == "*" || tree.ends_with("super::*") {
        return;
    }
    let (path, name) = tree.split_once('@').map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut whole = before.to_vec();
    whole.extend(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned));
    if whole.last().is_some_and(|last| last == "self") {
        whole.pop();
    }
    let last = whole.last().cloned().unwrap_or_default();
    out.push((whole, name.map_or(last, str::to_owned)));
}

type Edges = BTreeMap<Module, BTreeSet<Module>>;

fn edges(files: &BTreeMap<Module, File>) -> Edges {
    let mut edges = Edges::new();
    for (from, file) in files {
        let out = edges.entry(from.clone()).or_default();
        for (path, _) in &file.uses {
            let Some((to, item)) = resolve(files, from, path, 0) else { continue };
            let adds = item.as_ref().is_some_and(|item| file.implements.contains(item));
            let shares = item.is_some_and(|item| is_type(&item)) && from.starts_with(&to);
            if !to.starts_with(from) && !adds && !shares {
                out.insert(to);
            }
        }
    }
    edges
}

/// The file where the item at the end of a path of `from` stands, and the item, unless the path
/// names a module or another crate.
fn resolve(
    files: &BTreeMap<Module, File>,
    from: &Module,
    path: &[String],
    followed: usize,
) -> Option<(Module, Option<String>)> {
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Module::new(), &path[1..]),
        "super" | "self" => (from.clone(), path),
        first => {
            let mut child = from.clone();
            child.push(first.to_owned());
            files.contains_key(&child).then_some((child, &path[1..]))?
        }
    };
    while let Some((first, after)) = rest.split_first() {
        if first == "super" {
            at.pop()?;
        } else if first != "self" {
            at.push(first.clone());
            if !files.contains_key(&at) {
                at.pop();
                break;
            }
        }
        rest = after;
    }
    let (Some(item), Some(last)) = (rest.first(), rest.last()) else { return Some((at, None)) };
    let again = files.get(&at)?.uses.iter().find(|(_, name)| name == item);
    if let Some((path, _)) = again
        && followed < 8
        && let Some(found) = resolve(files, &at, path, followed + 1)
    {
        return Some(found);
    }
    Some((at, Some(last.clone())))
}

/// Files that lead back to themselves, put together where they lead to each other. An upper file
/// leads to all below it.
fn circles(edges: &Edges) -> Vec<Vec<Module>> {
    let all: Vec<&Module> = edges.keys().collect();
    let mut reach: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for from in &all {
        let mut open: Vec<&Module> = edges[*from].iter().collect();
        let reached = reach.entry(from).or_default();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(edges.get(next).into_iter().flatten());
            }
        }
    }
    let mut circles: Vec<Vec<Module>> = Vec::new();
    for from in &all {
        for to in edges[*from].iter().filter(|to| from.starts_with(to)) {
            circles.push(vec![(*from).clone(), to.clone()]);
        }
        let mut circle: Vec<Module> = Vec::new();
        for to in &all {
            if reach[from].contains(to) && reach[to].contains(from) {
                circle.push((*to).clone());
            }
        }
        if circle.first() == Some(*from) {
            circles.push(circle);
        }
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module = |name: &str| -> Module {
            name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let files: BTreeMap<Module, File> =
            files.iter().map(|(name, source)| (module(name), file(source))).collect();
        let circles = circles(&edges(&files));
        circles.iter().map(|circle| circle.iter().map(path_of).collect()).collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle_also_through_re_exports_and_groups() {
        let root = ("", "mod a;\nmod b;\npub use b::{Thing, other};");
        let a = ("a", "use crate::{\n    Thing,\n};\npub fn of_a() {}");
        assert_eq!(crate_of(&[root, a, ("b", "use super::a::of_a as made;")]), [["a", "b"]]);
        assert!(crate_of(&[root, a, ("b", "use std::fmt;\n// use super::a;")]).is_empty());
        let test = "#[cfg(test)]\nmod tests {\n    use crate::a::of_a;\n}";
        assert!(crate_of(&[root, a, ("b", test)]).is_empty());
    }

    #[test]
    fn a_file_below_another_may_use_its_types_but_nothing_else_of_it() {
        let upper = ("a", "mod low;\nuse low::help;\npub struct Thing;\nconst SIZE: u8 = 1;");
        assert!(crate_of(&[upper, ("a/low", "use super::Thing;")]).is_empty());
        assert_eq!(crate_of(&[upper, ("a/low", "use super::{SIZE, Thing};")]), [["a/low", "a"]]);
    }

    #[test]
    fn a_type_in_several_files_is_no_circle() {
        let one = ("one", "use crate::two::Shown;\npub struct Voter(Shown);");
        let two = "use crate::one::Voter;\npub struct Shown;\n";
        assert_eq!(crate_of(&[one, ("two", two)]), [["one", "two"]]);
        let adds = format!("{two}impl Voter {{}}");
        assert!(crate_of(&[one, ("two", &adds)]).is_empty());
    }
}
