//! Differences that are wanted, each with its reason: one table.

use api::etcdserverpb as pb;
use pb::request_op::Request;

use super::answer::Answer;
use super::step::Step;

/// A difference that is on purpose.
pub struct Wanted {
    /// Short name, as counted.
    pub name: &'static str,
    /// What etcd does.
    pub etcd: &'static str,
    /// What quorate does.
    pub quorate: &'static str,
    pub reason: &'static str,
    /// Whether these two answers (quorate's, etcd's) differ in this way.
    explains: fn(&Step, &Answer, &Answer) -> bool,
    /// Only where there is more than one member.
    cluster_only: bool,
    /// The two servers hold different data from then on.
    pub diverges: bool,
}

fn refused_with(answer: &Answer, code: u16) -> bool {
    answer.refused.as_ref().is_some_and(|(found, _)| *found == code)
}

fn any_op(txn: &pb::TxnRequest, is: fn(&Request) -> bool) -> bool {
    let ops = txn.success.iter().chain(&txn.failure).filter_map(|op| op.request.as_ref());
    ops.into_iter().any(|op| match op {
        Request::RequestTxn(nested) => any_op(nested, is),
        op => is(op),
    })
}

fn deletes_to_the_end(txn: &pb::TxnRequest) -> bool {
    any_op(txn, |op| matches!(op, Request::RequestDeleteRange(r) if r.range_end[..] == *b"\0"))
}

fn keeps(txn: &pb::TxnRequest) -> bool {
    any_op(txn, |op| matches!(op, Request::RequestPut(r) if r.ignore_lease || r.ignore_value))
}

/// Whether it may delete a key by an open end and put it again.
pub fn puts_what_it_deleted(txn: &pb::TxnRequest) -> bool {
    let (mut deleted_from, mut put_up_to) = (None, None);
    each_op(txn, &mut |op| match op {
        Request::RequestDeleteRange(r) if r.range_end[..] == *b"\0" => {
            let from = deleted_from.get_or_insert_with(|| r.key.clone());
            *from = r.key.clone().min(from.clone());
        }
        Request::RequestPut(r) => put_up_to = put_up_to.take().max(Some(r.key.clone())),
        _ => {}
    });
    deleted_from.is_some_and(|from| put_up_to >= Some(from))
}

fn each_op<'a>(txn: &'a pb::TxnRequest, see: &mut impl FnMut(&'a Request)) {
    for op in txn.success.iter().chain(&txn.failure).filter_map(|op| op.request.as_ref()) {
        match op {
            Request::RequestTxn(nested) => each_op(nested, see),
            op => see(op),
        }
    }
}

/// The number after `label` in an answer's text.
fn number(answer: &Answer, label: &str) -> Option<i64> {
    let (_, rest) = answer.text.split_once(label)?;
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// An answer's text without the number after `label`.
fn without(answer: &Answer, label: &str) -> String {
    let Some((before, rest)) = answer.text.split_once(label) else { return answer.text.clone() };
    format!("{before}{}", rest.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()))
}

/// Keys of the first page of a `RangeStream`.
const PAGE_KEYS: i64 = 10;

pub const WANTED: &[Wanted] = &[
    Wanted {
        name: "not there yet",
        etcd: "serves auth, lock, election, snapshot and downgrade",
        quorate: "answers `Unimplemented`",
        reason: "`docs/compatibility.md` lists them, and when they come",
        explains: |step, ours, _| {
            let Step::Raw { what, .. } = step else { return false };
            *what == NOT_YET && refused_with(ours, 12)
        },
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "undecodable",
        etcd: "code 13 with the text of Go's protobuf library",
        quorate: "code 13 with `grpc: error unmarshalling request`",
        reason: "the rest of the text belongs to a library and changes with its version",
        explains: |step, ours, theirs| {
            let is = matches!(step, Step::Raw { what, .. } if *what == UNDECODABLE);
            is && refused_with(ours, 13) && refused_with(theirs, 13)
        },
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "nested puts count for the quota",
        etcd: "lets a transaction whose puts are all nested pass under the NOSPACE alarm",
        quorate: "refuses it as any other put",
        reason: "the quota is no quota otherwise",
        explains: |step, ours, theirs| {
            matches!(step, Step::Txn(_)) && refused_with(ours, 8) && theirs.refused.is_none()
        },
        cluster_only: false,
        diverges: true,
    },
    Wanted {
        name: "a key deleted, then put to keep its lease or value, in one transaction",
        etcd: "its range check misses an open end (`\\0`); applying it then ends the process",
        quorate: "applies it: there is nothing left to keep",
        reason: "a request must not end a server",
        explains: |step, ours, theirs| {
            let Step::Txn(txn) = step else { return false };
            let served = ours.refused.is_none() && ours.revision > 0;
            served && theirs.ended.is_some() && deletes_to_the_end(txn) && keeps(txn)
        },
        cluster_only: false,
        diverges: true,
    },
    Wanted {
        name: COMPACTED_AWAY,
        etcd: "its range check misses an open end (`\\0`); a compaction at that very revision \
               removes the put from its file, not from its index: watchers miss it, and reading \
               it ends the process",
        quorate: "keeps it",
        reason: "what was not deleted stays; the trial takes new servers",
        explains: |_, _, _| false,
        cluster_only: false,
        diverges: true,
    },
    Wanted {
        name: HASHED_AWAY,
        etcd: "its range check misses an open end (`\\0`); `HashKV` of that very revision takes \
               the key for deleted, and if nothing else is left counts what was compacted too",
        quorate: "hashes what there is to read at that revision",
        reason: "the put is there to be read at it",
        explains: |_, _, _| false,
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "leases at a change of leader",
        etcd: "start anew with their whole time",
        quorate: "keep the time they had left",
        reason: "a lease ends late by the time without a leader at most, not by its whole TTL",
        explains: |step, ours, theirs| {
            matches!(step, Step::TimeToLive(_)) && ours.text == theirs.text && ours.ttl < theirs.ttl
        },
        cluster_only: true,
        diverges: false,
    },
    Wanted {
        name: "RangeStream by another target, without an order",
        etcd: "sorts each page of ten keys or more by itself and resumes after its last one, and \
               so counts or sends keys again, or never",
        quorate: "answers as `Range` does: each key once, sorted and counted as a whole",
        reason: "an answer with a key twice, or without one, is wrong",
        explains: |step, ours, theirs| {
            let Step::RangeStream(range) = step else { return false };
            let served = ours.refused.is_none() && theirs.refused.is_none();
            let only_count = || without(ours, "count: ") == without(theirs, "count: ");
            let count = number(ours, "count: ").unwrap_or(0);
            let one_page = range.limit > 0 && range.limit <= PAGE_KEYS;
            served
                && range.sort_target != 0
                && range.sort_order == 0
                && if one_page { only_count() } else { count > PAGE_KEYS }
        },
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "HashKV at a compacted revision",
        etcd: "answers from memory for the last ten compactions since its start, with the \
               compact revision before each",
        quorate: "computes it as for any revision, and refuses those below the compact revision",
        reason: "members of etcd differ there after a restart; what is stored here has one answer",
        explains: |step, ours, theirs| {
            let Step::HashKv(request) = step else { return false };
            // Fields of value 0 are not printed. Revision 0 asks for the newest: etcd answers with
            // what it remembers of a compaction at 0 instead, if there was one.
            let field = |answer, label| number(answer, label).unwrap_or(0);
            let remembered = theirs.refused.is_none()
                && field(theirs, "hash_revision: ") == request.revision
                && field(theirs, "compact_revision: ") < request.revision;
            let passed = field(ours, "compact_revision: ") >= request.revision;
            remembered && (passed || refused_with(ours, 11))
        },
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "compacted watchers are forgotten",
        etcd: "keeps the id of a watcher that a compaction canceled in use, and promises no \
               progress on its stream, until the client cancels it again",
        quorate: "forgets it with its last answer",
        reason: "clients do not cancel what was canceled: their bookmarks would stop for ever; the \
                 trial cancels it on etcd's side",
        explains: |_, _, _| false,
        cluster_only: false,
        diverges: false,
    },
    Wanted {
        name: "a request that waits for a leader in vain",
        etcd: "a read ends with `request timed out`, a proposal with `context deadline exceeded`, \
               seven seconds or more later",
        quorate: "both end with `no leader` after two election timeouts: not applied",
        reason: "it is known that nothing was proposed, so it is said, and soon; tried with one \
                 member of three left alone",
        explains: |_, _, _| false,
        cluster_only: true,
        diverges: false,
    },
];

/// The row for a compaction at the revision of such a transaction.
pub const COMPACTED_AWAY: &str = "a key deleted, then put, in one transaction, and compacted there";

/// The row for a hash of the revision of such a transaction.
pub const HASHED_AWAY: &str = "a key deleted, then put, in one transaction, and hashed there";

/// Whether two answers to `HashKV` differ in the hash alone.
pub fn differ_in_hash(ours: &Answer, theirs: &Answer) -> bool {
    let served = ours.refused.is_none() && theirs.refused.is_none();
    served && without(ours, "hash: ") == without(theirs, "hash: ")
}

/// Marks of raw requests that rows of the table are about.
pub const NOT_YET: &str = "a service that is not there yet";
pub const UNDECODABLE: &str = "bytes that are no message";

/// The row of the table that these two answers of so many members are an instance of.
pub fn explains(
    members: usize,
    step: &Step,
    quorate: &Answer,
    etcd: &Answer,
) -> Option<&'static Wanted> {
    let mut rows = WANTED.iter().filter(|row| members > 1 || !row.cluster_only);
    rows.find(|row| (row.explains)(step, quorate, etcd))
}

/// The table as `docs/design/diff-etcd.md` has it.
pub fn table() -> String {
    let mut out = String::from("| difference | etcd | quorate | why |\n|---|---|---|---|\n");
    for row in WANTED {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            row.name, row.etcd, row.quorate, row.reason
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_put_below_what_an_open_end_deletes_is_not_deleted_before() {
        let op = |request| pb::RequestOp { request: Some(request) };
        let put = |key: &'static str| {
            op(Request::RequestPut(pb::PutRequest { key: key.into(), ..Default::default() }))
        };
        let delete = |key: &'static str, end: &'static str| {
            let range_end = end.into();
            let request = pb::DeleteRangeRequest { key: key.into(), range_end, prev_kv: false };
            op(Request::RequestDeleteRange(request))
        };
        let txn = |success| pb::TxnRequest { success, ..Default::default() };
        assert!(puts_what_it_deleted(&txn(vec![delete("b", "\0"), put("c")])));
        let nested = op(Request::RequestTxn(txn(vec![put("b")])));
        assert!(puts_what_it_deleted(&txn(vec![delete("b", "\0"), nested])));
        assert!(!puts_what_it_deleted(&txn(vec![delete("b", "\0"), put("a")])));
        assert!(!puts_what_it_deleted(&txn(vec![delete("b", "d"), put("c")])));
        assert!(!puts_what_it_deleted(&txn(vec![put("c")])));
    }

    #[test]
    fn the_document_has_the_table_as_it_is_here() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/design/diff-etcd.md");
        let document = std::fs::read_to_string(path).unwrap();
        assert!(document.contains(&table()), "put this into {path}:\n{}", table());
    }
}
