//! Pages that are run: prose (`#`), commands (`>`), and below each what it answers, two spaces in.
//! `UPDATE_GOLDEN=1` rewrites the answers. The one runner of `crates/mvcc/tests/manual` and
//! `crates/replica/tests/it/script.rs`, which takes it from here by its path: a crate for it would
//! have to stand in the table of ARCHITECTURE.md for the sake of two tests. The scripts of
//! `crates/consensus/tests` are of another form, commands first and one trace of all of them.

use std::path::{Path, PathBuf};

/// Plays every page of `dir`, each from what `begin` gives, and compares; there are `least` pages
/// at least. `run` says what a command answers, a line each.
pub fn every_page_is_true<S>(
    dir: &Path,
    least: usize,
    begin: impl Fn() -> S,
    run: impl Fn(&mut S, &str) -> Vec<String>,
) {
    let pages = pages(dir);
    assert!(pages.len() >= least, "{} pages", pages.len());
    let mut wrong = Vec::new();
    for path in pages {
        let (name, page) = (path.display(), std::fs::read_to_string(&path).unwrap());
        assert!(page.starts_with("# "), "{name} begins with what it is about");
        assert!(page.lines().any(|line| line.starts_with("> ")), "{name} runs something");
        let told = play(&page, &mut begin(), &run);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, told).unwrap();
        } else if told != page {
            let differs = page.lines().zip(told.lines()).find(|(a, b)| a != b);
            let lengths = (page.lines().count(), told.lines().count());
            wrong.push(format!("{name}: first difference {differs:?}, lines {lengths:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The page with the answers it really gets.
fn play<S>(page: &str, shell: &mut S, run: &impl Fn(&mut S, &str) -> Vec<String>) -> String {
    let mut told = String::new();
    for line in page.lines() {
        let command = line.strip_prefix("> ");
        if command.is_some() || line.starts_with('#') || line.is_empty() {
            told.push_str(line);
            told.push('\n');
        }
        for line in command.map(|command| run(shell, command)).unwrap_or_default() {
            told.push_str(&format!("  {line}\n"));
        }
    }
    told
}
