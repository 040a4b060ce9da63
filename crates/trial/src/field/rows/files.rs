//! What lies in a data directory: lost, foreign and damaged files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::field::member::Member;
use crate::field::stage::{Seen, Stage};

/// A refusal comes at once.
const REFUSAL_MAX: Duration = Duration::from_secs(8);
const PUTS: usize = 50;

/// B1: the identity of a member is gone, its data is not.
pub fn identity_lost(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut member = stage.single()?;
    member.start_ready()?;
    let client = stage.client(&member);
    for n in 0..PUTS {
        client.put(&format!("k/{n}"), "v")?;
    }
    member.terminate()?;
    let lost = "identity";
    for folder in ["journal", "checkpoints"] {
        std::fs::write(member.dir().join(folder).join("notes.txt"), "somebody's own")?;
    }
    let aside = stage.path("aside");
    std::fs::rename(member.dir().join(lost), &aside).with_context(|| lost.to_owned())?;
    let before = contents(&member)?;
    member.start()?;
    let served = member.serves_within(REFUSAL_MAX)?;
    if served {
        let count = stage.client(&member).count("k/")?;
        seen.did(format!("without {lost} it serves {count} of {PUTS} keys"));
        member.kill();
    } else {
        seen.did(format!("without {lost} it refuses"));
        let running = member.pid().is_some();
        member.kill();
        seen.must(!running, "it neither serves nor ends");
    }
    seen.must(!served, format!("it serves without {lost}"));
    let changed = changes(&before, &contents(&member)?, member.dir());
    seen.must(changed.is_empty(), format!("files changed: {}", changed.join(", ")));
    let said = member.tail();
    let named = said.contains("journal") && said.contains("identity");
    seen.must(named, format!("it does not name what it found: {said}"));
    if seen.wrong.is_empty() {
        std::fs::rename(&aside, member.dir().join(lost))?;
        member.start_ready()?;
        let count = stage.client(&member).count("k/")?;
        seen.did(format!("with it again {count} of {PUTS}"));
        seen.must(count == i64::try_from(PUTS)?, "keys are missing");
        foreign_folder(stage, seen)?;
    }
    Ok(())
}

/// A first start beside files that are not ours deletes none of them.
fn foreign_folder(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut member = stage.bare("fresh")?;
    let folder = member.dir().join("checkpoints");
    std::fs::create_dir_all(&folder)?;
    let note = folder.join("notes.txt");
    std::fs::write(&note, "somebody's own")?;
    member.set("initial-cluster", &format!("fresh={}", member.peer_url()));
    member.start()?;
    let served = member.serves_within(REFUSAL_MAX)?;
    seen.did(format!(
        "a first start beside a foreign file {}",
        ["ends", "serves"][usize::from(served)]
    ));
    seen.must(note.exists(), "a first start deleted a foreign file");
    Ok(())
}

/// All files but the lock, which says who started last.
fn contents(member: &Member) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = member.files()?;
    files.remove(&member.dir().join("lock"));
    Ok(files)
}

fn changes(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    after: &BTreeMap<PathBuf, Vec<u8>>,
    dir: &Path,
) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let mut changed = Vec::new();
    for (path, bytes) in before {
        match after.get(path) {
            None => changed.push(format!("{} gone", name(path))),
            Some(now) if now != bytes => changed.push(format!("{} differs", name(path))),
            Some(_) => {}
        }
    }
    let new = after.keys().filter(|path| !before.contains_key(*path));
    changed.extend(new.map(|path| format!("{} new", name(path))));
    changed
}
