//! The data model, told by examples that are run: every page of `pages/` is prose (`#`), commands
//! (`>`) and what they answer. `UPDATE_GOLDEN=1` rewrites the answers.
//!
//! Commands, one entry of the log each:
//! `put KEY VALUE [lease=ID] [prev] [ignore-value] [ignore-lease]`, `fill PREFIX COUNT VALUE` (so
//! many keys, an entry each), `del KEY [END] [prev]`, `txn [if COMPARE, ..] then OP; .. [else OP;
//! ..]` (a nested one in double parentheses; comparisons are `value(KEY)=TEXT`, `version(..)`,
//! `create(..)`, `mod(..)`, `lease(..)` with `=`, `!=`, `<`, `>`, and `KEY..END` for a range),
//! `compact REVISION`, `grant ID TTL`, `revoke ID`, `expire ID RENEWAL`, `renew ID ..`,
//! `alarm get|arm|disarm MEMBER KIND`, `idle COUNT` (entries without a command).
//! Reads: `get KEY [END] [rev=N] [limit=N] [keys-only] [count-only] [sort=TARGET:ORDER]
//! [min-mod=N] [max-mod=N] [min-create=N] [max-create=N]`, `read-txn ..`, `history FROM KEY [END]
//! [max=N]`, `ttl ID`, `leases`, `due`, `hash-kv [REVISION]`, `status`.
//! Of the test itself: `time SECONDS` (cluster time goes on), `quota BYTES`, `ops-max COUNT`,
//! `view` (keeps a picture), `old COMMAND` (reads the kept picture), `restore` (goes on from a
//! checkpoint of itself).
//! `^` is the end of all keys, `-` an empty text, `TEXT*COUNT` repeats a text.

mod parse;
mod shell;
mod show;

use shell::Shell;
use std::path::PathBuf;

/// One page, with the answers it really gets.
fn play(page: &str) -> String {
    let (mut shell, mut told) = (Shell::default(), String::new());
    for line in page.lines() {
        let command = line.strip_prefix("> ");
        if command.is_some() || line.starts_with('#') || line.is_empty() {
            told.push_str(line);
            told.push('\n');
        }
        if let Some(command) = command {
            for line in shell.run(command) {
                told.push_str(&format!("  {line}\n"));
            }
        }
    }
    told
}

fn pages() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/manual/pages");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_page_tells_the_truth() {
    let mut wrong = Vec::new();
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let told = play(&page);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, told).unwrap();
        } else if told != page {
            let differs = page.lines().zip(told.lines()).find(|(a, b)| a != b);
            let (name, lengths) = (path.display(), (page.lines().count(), told.lines().count()));
            wrong.push(format!("{name}: first difference {differs:?}, lines {lengths:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_manual_is_whole() {
    let pages = pages();
    assert!(pages.len() >= 40, "{} pages", pages.len());
    for path in pages {
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("# "), "{} begins with what it is about", path.display());
        assert!(page.lines().any(|line| line.starts_with("> ")), "{}", path.display());
    }
}
