//! What `quorate quorum check` and `quorate quorum show` print. Names are inferred from the text.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{Dominance, Family, Names, NodeSet, Protocol, System, SystemSpec, Unsafe, Why};

/// Quorums listed before "and more".
const LISTED_MAX: usize = 32;

/// Whether the system in `text` is safe, protocol by protocol, with two offending sets where it
/// is not. The flag is true when some ballot rule of Raft accepts it (elect meets commit).
///
/// # Errors
/// The parse error under the text with a caret, ready to print.
pub fn check(text: &str) -> Result<(String, bool), String> {
    let (spec, names, system) = load(text)?;
    let members = names.show(system.support());
    let mut out = format!("system: {}\nmembers: {members}\n", text.trim());
    // The most faulty members a rule allows, at least 1 so that a refusal shows its sets.
    let most = |rule: fn(u8) -> Protocol, members_a_fault: usize| {
        let enough = |f: &u8| system.support().len() > members_a_fault * usize::from(*f);
        let fits = |f: &u8| enough(f) && system.check(rule(*f)).is_ok();
        rule((1u8..=20).take_while(fits).last().unwrap_or(1))
    };
    let judge =
        |protocol| system.check(protocol).and_then(|()| spec.check_data(&names, system.commit()));
    let protocols = [
        ("raft, ballot = (term, node)", Protocol::RaftTermAndNode),
        ("raft, shared terms", Protocol::RaftSharedTerms),
        ("paxos", Protocol::Paxos),
        ("versioned votes (Gifford)", Protocol::VersionedVotes),
        ("byzantine", most(|f| Protocol::Byzantine { f }, 3)),
        ("masking", most(|f| Protocol::Masking { f }, 4)),
        ("two thresholds", most(|f| Protocol::TwoThreshold { f }, 5)),
    ];
    for (title, protocol) in protocols {
        let title = match protocol {
            Protocol::Byzantine { f } | Protocol::Masking { f } | Protocol::TwoThreshold { f } => {
                format!("{title}, {f} faulty")
            }
            _ => title.to_string(),
        };
        let verdict = match judge(protocol) {
            Ok(()) => "safe".to_string(),
            Err(offence) => explain(&names, &offence),
        };
        out.push_str(&format!("  {title:<30} {verdict}\n"));
    }
    Ok((out, judge(Protocol::Paxos).is_ok()))
}

/// Minimal quorums, resilience and who can be missing, role by role.
///
/// # Errors
/// The parse error under the text with a caret, ready to print.
pub fn show(text: &str) -> Result<String, String> {
    let (spec, names, system) = load(text)?;
    let members = names.show(system.support());
    let mut out = format!("system: {}\nmembers: {members}\n", text.trim());
    if system.elect() == system.commit() {
        show_family(&mut out, "elect and commit", &names, system.commit());
        if let Some(note) = folk_note(system.commit()) {
            out.push_str(&note);
        }
    } else {
        show_family(&mut out, "elect (phase 1: votes)", &names, system.elect());
        show_family(
            &mut out,
            "commit (phase 2: writes, read confirmation)",
            &names,
            system.commit(),
        );
    }
    let witnesses = spec.witnesses();
    if !witnesses.is_empty() {
        out.push_str(&format!("witnesses (votes, no data): {}\n", witnesses.join(", ")));
    }
    out.push_str(&format!("dominated: {}\n", dominated(&names, &system)));
    let data = || spec.check_data(&names, system.commit());
    if let Err(offence) = system.check(Protocol::Paxos).and_then(|()| data()) {
        out.push_str(&format!("{}\n", explain(&names, &offence)));
    }
    Ok(out)
}

fn load(text: &str) -> Result<(SystemSpec, Names, System), String> {
    let spec = SystemSpec::parse(text).map_err(|error| error.caret(text))?;
    let names = spec.infer_names();
    let system = spec.compile_unchecked(&names).map_err(|error| error.to_string())?;
    Ok((spec, names, system))
}

/// One line: why a pair is unsafe and what would follow.
fn explain(names: &Names, offence: &Unsafe) -> String {
    if offence.why == Why::TooComplex {
        return "not proved: too complex to search".to_string();
    }
    if offence.why == Why::NoData {
        let set = names.show(offence.a);
        return format!("UNSAFE: commit {set} has witnesses only, who keep no data");
    }
    let (first, second) = offence.why.roles();
    let (a, b) = (names.show(offence.a), names.show(offence.b));
    let shared = offence.a.intersect(offence.b);
    let common = if shared.is_empty() {
        "share no member".to_string()
    } else {
        format!("share only {}, {} needed", names.show(shared), offence.share_min)
    };
    let danger = match offence.why {
        Why::ElectMissesElect if offence.share_min == 1 => ": two leaders in one term",
        Why::ElectMissesCommit if offence.share_min == 1 => {
            ": a new leader may not know a committed write"
        }
        Why::CommitMissesCommit if offence.share_min == 1 => {
            ": two writers may not see each other's version"
        }
        _ => "",
    };
    format!("UNSAFE: {first} {a} and {second} {b} {common}{danger}")
}

fn show_family(out: &mut String, title: &str, names: &Names, family: &Family) {
    let members = family.support().len();
    out.push_str(&format!("{title}:\n"));
    let (quorums, all) = family.minimal_quorums_max(LISTED_MAX);
    out.push_str(&format!("  minimal quorums: {}\n", count(&quorums, all)));
    list(out, names, &quorums, all);
    let resilience = family.resilience();
    let stop = names.show(family.smallest_blocking());
    let any = match resilience {
        0 => "no member is spare".to_string(),
        _ => format!("any {resilience} of {members} may be missing"),
    };
    out.push_str(&format!("  resilience: {resilience} ({any}; losing {stop} stops it)\n"));
    let most = family.support().minus(family.what_is_missing(NodeSet::EMPTY));
    out.push_str(&format!("  at best {} may be missing: {}\n", most.len(), names.show(most)));
    let needed: NodeSet = family.support().iter().filter(|s| blocks_alone(family, *s)).collect();
    if !needed.is_empty() {
        out.push_str(&format!("  never missing: {}\n", names.show(needed)));
    }
    let (blocking, all) = family.blocking_sets_max(LISTED_MAX);
    out.push_str(&format!("  stopped by the loss of: {}\n", count(&blocking, all)));
    list(out, names, &blocking, all);
}

/// Whether a larger pair would be as safe.
fn dominated(names: &Names, system: &System) -> String {
    match system.dominance() {
        Dominance::Never => "no, every set that may commit does".to_string(),
        Dominance::By(set) => {
            format!("yes, {} meets every elect quorum and is no commit quorum", names.show(set))
        }
        Dominance::TooComplex => "not known, too complex to search".to_string(),
    }
}

fn blocks_alone(family: &Family, slot: u8) -> bool {
    let mut alone = NodeSet::new();
    alone.insert(slot);
    family.blocks(alone)
}

fn count(sets: &[NodeSet], all: bool) -> String {
    format!("{}{}", if all { "" } else { "more than " }, sets.len())
}

fn list(out: &mut String, names: &Names, sets: &[NodeSet], all: bool) {
    for set in sets {
        out.push_str(&format!("    {}\n", names.show(*set)));
    }
    if !all {
        out.push_str("    ... and more\n");
    }
}

/// The folk formula ceil(N/2)+1 is one more than a majority for odd N.
fn folk_note(family: &Family) -> Option<String> {
    let (need, members) = family.as_threshold()?;
    let total = members.len();
    let folk = total.div_ceil(2) + 1;
    let majority = total / 2 + 1;
    if need as usize != folk || folk == majority {
        return None;
    }
    let (left, best) = (total - folk, total - majority);
    Some(format!(
        "  note: {need} of {total} is the folk formula ceil(N/2)+1. It is safe, but one more\n  \
         than a majority, floor(N/2)+1 = {majority}: {left} may be missing instead of {best}.\n",
    ))
}

/// Every protocol a list of systems is safe for: one row a system, for tables in documents.
pub fn table(texts: &[&str]) -> Result<String, String> {
    let mut rows: Vec<String> = Vec::new();
    for text in texts {
        let (spec, _, system) = load(text)?;
        let safe = |protocol| if system.check(protocol).is_ok() { "yes" } else { "no" };
        rows.push(format!(
            "| {spec} | {} | {} | {} | {} |",
            safe(Protocol::RaftTermAndNode),
            safe(Protocol::RaftSharedTerms),
            system.elect().resilience(),
            system.commit().resilience(),
        ));
    }
    let head = "| system | (term, node) | shared terms | elect survives | commit survives |";
    Ok(format!("{head}\n|---|---|---|---|---|\n{}\n", rows.join("\n")))
}
