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

mod golden;
mod parse;
mod shell;
mod show;

use shell::Shell;
use std::path::Path;

#[test]
fn every_page_tells_the_truth() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manual/pages");
    golden::every_page_is_true(&dir, 40, Shell::default, Shell::run);
}
