//! Numbers that members, tools and etcd compare: they are the same in every release.

#[path = "words/requests.rs"]
mod requests;

use base::ClusterTime;
use mvcc::{
    AlarmAction, AlarmKind, Command, Compare, CompareOp, CompareTarget, DeleteRequest, Limits,
    PutRequest, RangeRequest, RequestOp, Store, TxnRequest,
};
use requests::{b, delete, put};

fn run(store: &mut Store, command: &Command) -> bool {
    let index = store.applied_index().next();
    store.apply(index, ClusterTime(index.0 * 1_000_000_000), command).result.is_ok()
}

fn rows(rows: &[&[u8]]) -> u32 {
    base::crc::crc32c(&[b"key", rows.concat().as_slice()].concat())
}

/// Each kind of command, and each kind of answer.
fn commands() -> Vec<Command> {
    let compare = |target| {
        let (key, range_end, op) = (b("a"), b(""), CompareOp::Equal);
        Compare { key, range_end, op, target }
    };
    let read = RangeRequest { key: b("a"), range_end: b("z"), ..RangeRequest::default() };
    let nested = TxnRequest {
        compare: vec![compare(CompareTarget::Lease(7))],
        success: vec![],
        failure: vec![RequestOp::Put(put("nested", "n"))],
    };
    let txn = TxnRequest {
        compare: vec![compare(CompareTarget::Value(b("1")))],
        success: vec![
            RequestOp::Range(read),
            RequestOp::Put(PutRequest { prev_kv: true, ..put("a", "a longer value") }),
            RequestOp::Txn(nested),
            RequestOp::Delete(DeleteRequest { prev_kv: true, ..delete("b", "") }),
        ],
        failure: vec![],
    };
    let alarm = |action| Command::Alarm { action, member: 5, kind: AlarmKind::NoSpace };
    vec![
        Command::Put(put("a", "1")),
        Command::LeaseGrant { id: 7, ttl: 9 },
        Command::Put(PutRequest { lease: 7, ..put("b", "2") }),
        Command::Put(PutRequest { lease: 8, ..put("b", "2") }), // there is no such lease
        Command::Txn(txn),
        Command::LeaseRenew { ids: vec![7, 8] },
        Command::Put(PutRequest { lease: 7, prev_kv: true, ..put("a", "3") }),
        Command::LeaseRevoke { id: 7, renewal: None },
        Command::Compact { revision: 4 },
        alarm(AlarmAction::Activate),
        alarm(AlarmAction::Get),
        Command::Delete(DeleteRequest { prev_kv: true, ..delete("n", "o") }),
    ]
}

#[test]
fn the_chain_of_the_same_commands_is_the_same_in_every_release() {
    let mut store = Store::new(Limits::default());
    let mut chains = Vec::new();
    let mut refused = 0;
    for command in commands() {
        refused += u64::from(!run(&mut store, &command));
        chains.push(store.chain_hash());
    }
    assert_eq!(refused, 1);
    let pinned: [u64; 12] = [
        0x70fc_b60a_c863_ead2,
        0xd949_84ef_95ca_a200,
        0xf197_b0dc_249e_3df2,
        0x3a13_6325_1404_fe5e,
        0x3232_2566_454e_dd5c,
        0x56ea_4906_a228_1f87,
        0x2b8b_f619_bc0d_6cc2,
        0x8d5a_f4be_b752_cbb4,
        0xfbf_db76_47be_7c15,
        0xb065_6f02_933d_87c2,
        0x6bd4_630d_e619_8d8f,
        0x7b5f_016b_889c_de3d,
    ];
    assert_eq!(chains, pinned);
    assert_eq!(store.content_hash(), 2_631_368_736_794_286_848);
}

#[test]
fn lists_of_other_lengths_are_other_commands_to_the_chain() {
    let of = |command: &Command| {
        let mut store = Store::new(Limits::default());
        run(&mut store, command);
        store.chain_hash()
    };
    let unmet = || {
        let (key, range_end, op) = (b("a"), b(""), CompareOp::Equal);
        vec![Compare { key, range_end, op, target: CompareTarget::Version(5) }]
    };
    let get = || vec![RequestOp::Range(RangeRequest { key: b("k"), ..RangeRequest::default() })];
    let txn =
        |success, failure| of(&Command::Txn(TxnRequest { compare: unmet(), success, failure }));
    let deletes = |n| vec![RequestOp::Delete(delete("no", "")); n];
    let hashes = [txn(deletes(2), deletes(1)), txn(deletes(1), deletes(1)), txn(get(), deletes(1))];
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
}

#[test]
fn hash_kv_of_the_newest_revision_is_known_after_a_compaction_too() {
    let mut store = Store::new(Limits::default());
    for value in ["1", "2", "3"] {
        assert!(run(&mut store, &Command::Put(put("k", value))));
    }
    assert!(run(&mut store, &Command::Compact { revision: 3 }));
    let newest = store.hash_kv(0).unwrap();
    assert_eq!(Ok(newest), store.hash_kv(4));
    assert_eq!((newest.compact_revision, newest.hash_revision), (3, 4));
    // As in etcd, what is in sight at the compact revision only is left out of a later hash.
    let fourth: &[u8] =
        b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\0\x0a\x01k\x10\x02\x18\x04\x20\x03\x2a\x013";
    assert_eq!(newest.hash, rows(&[fourth]));
    let third: &[u8] =
        b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0\x0a\x01k\x10\x02\x18\x03\x20\x02\x2a\x012";
    assert_eq!(store.hash_kv(3).unwrap().hash, rows(&[third]));
    assert_eq!(store.hash_kv(2).err(), Some(mvcc::Error::Compacted));
    assert_eq!(store.hash_kv(5).err(), Some(mvcc::Error::FutureRevision));
}

#[test]
fn hash_kv_leaves_out_what_died_at_the_compact_revision_and_keeps_later_tombstones() {
    let mut store = Store::new(Limits::default());
    for key in ["a", "b"] {
        assert!(run(&mut store, &Command::Put(put(key, ""))));
    }
    for key in ["a", "b"] {
        assert!(run(&mut store, &Command::Delete(delete(key, ""))));
    }
    let row = |main: u8, rest: &[u8]| {
        [&[0, 0, 0, 0, 0, 0, 0, main, b'_', 0, 0, 0, 0, 0, 0, 0, 0][..], rest].concat()
    };
    let b_dies = row(5, b"t\x0a\x01b");
    assert!(run(&mut store, &Command::Compact { revision: 4 }));
    // Nothing is to be kept at 5, and then etcd skips nothing that it still has.
    let b_lives = row(3, b"\x0a\x01b\x10\x03\x18\x03\x20\x01");
    assert_eq!(store.hash_kv(4).unwrap().hash, rows(&[&b_lives]));
    assert_eq!(store.hash_kv(5).unwrap().hash, rows(&[&b_lives, &b_dies]));
    assert!(run(&mut store, &Command::Compact { revision: 5 }));
    assert_eq!(store.hash_kv(5).unwrap().hash, rows(&[]));
}
