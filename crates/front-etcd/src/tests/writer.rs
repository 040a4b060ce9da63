//! A long answer in chunks is the answer in one piece.

use super::super::convert;
use super::super::parts::Part;
use super::super::reply::{Reply, Short};
use super::super::writer::{CHUNK_BYTES, Writer};
use api::etcdserverpb as pb;
use base::{Blob, Prng};
use mvcc::{DeleteResponse, KeyValue, PutResponse, RangeResponse, ResponseOp, TxnResponse};
use net::{ANSWER_BYTES_MAX, FRAME_HEAD_BYTES, Form, Status};

fn number(random: &mut Prng) -> i64 {
    match random.below(4) {
        0 => 0,
        1 => i64::try_from(random.below(300)).unwrap(),
        2 => random.next_u64().cast_signed(),
        _ => 1 << random.below(63),
    }
}

fn blob(random: &mut Prng, most: u64) -> Blob {
    let length = match random.below(4) {
        0 => 0,
        1 => 120 + random.below(16),
        2 => 1 + random.below(20),
        _ => random.below(most),
    };
    (0..length).map(|n| n as u8).collect()
}

/// The largest item here has less, and a transaction's first fields are with them.
const ITEM_BYTES_MAX: usize = 401_000;

fn key_values(random: &mut Prng) -> Vec<KeyValue> {
    let most = [200, 2_000, 400_000][usize::try_from(random.below(3)).unwrap()];
    let one = |random: &mut Prng| KeyValue {
        key: blob(random, 300),
        create_revision: number(random),
        mod_revision: number(random),
        version: number(random),
        value: blob(random, most),
        lease: number(random),
    };
    (0..random.below(12)).map(|_| one(random)).collect()
}

fn range(random: &mut Prng) -> RangeResponse {
    let (revision, count) = (number(random), number(random));
    RangeResponse { revision, kvs: key_values(random), more: random.below(2) == 0, count }
}

fn delete(random: &mut Prng) -> DeleteResponse {
    let (revision, deleted) = (number(random), number(random));
    DeleteResponse { revision, deleted, prev_kvs: key_values(random) }
}

fn txn(random: &mut Prng, depth: u32) -> TxnResponse {
    let op = |random: &mut Prng| match random.below(if depth == 0 { 3 } else { 5 }) {
        0 => ResponseOp::Range(range(random)),
        1 => {
            let prev_kv = key_values(random).pop();
            ResponseOp::Put(PutResponse { revision: number(random), prev_kv })
        }
        2 => ResponseOp::Delete(delete(random)),
        _ => ResponseOp::Txn(txn(random, depth - 1)),
    };
    let responses = (0..random.below(5)).map(|_| op(random)).collect();
    TxnResponse { revision: number(random), succeeded: random.below(2) == 0, responses }
}

fn header(random: &mut Prng) -> pb::ResponseHeader {
    let mut header = convert::inner_header(number(random));
    (header.cluster_id, header.member_id) = (random.next_u64(), random.below(2));
    header.raft_term = random.below(1000);
    header
}

fn writer(reply: impl Reply) -> Writer {
    let mut parts: Vec<Part> = Vec::new();
    reply.parts(&mut parts);
    Writer::new(Form::default().shape(), parts)
}

fn chunks(mut writer: Writer) -> Result<Vec<bytes::Bytes>, Status> {
    let mut chunks = Vec::new();
    while !writer.is_done() {
        if let Some(chunk) = writer.step(&mut mvcc::InMemory) {
            chunks.push(chunk?);
        }
    }
    Ok(chunks)
}

/// What is written in chunks is what is written at once.
fn agrees<R: Reply>(what: &str, reply: impl Fn() -> R) {
    let whole = Form::default().encode(&reply().message()).unwrap();
    let chunks = chunks(writer(reply())).unwrap();
    assert!(chunks.concat() == whole, "{what}");
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "{what}");
    assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK_BYTES + ITEM_BYTES_MAX), "{what}");
}

#[test]
fn any_answer_in_chunks_is_byte_for_byte_the_one_in_one_piece() {
    for seed in 0..300 {
        let mut random = Prng::new(seed);
        let what = format!("seed {seed}");
        let (header, range) = (header(&mut random), range(&mut random));
        agrees(&what, || (header, range.clone()));
        let (delete, txn) = (delete(&mut random), txn(&mut random, 3));
        agrees(&what, || (header, delete.clone()));
        agrees(&what, || (header, txn.clone()));
        let keys: Vec<Blob> = range.kvs.iter().map(|kv| kv.key.clone()).collect();
        let lease = pb::LeaseTimeToLiveResponse {
            header: Some(header),
            id: number(&mut random),
            ttl: number(&mut random),
            granted_ttl: number(&mut random),
            keys: Vec::new(),
        };
        agrees(&what, || (lease.clone(), keys.clone()));
        agrees(&what, || Short(lease.clone()));
        let ids: Vec<i64> = (0..random.below(40)).map(|_| number(&mut random)).collect();
        agrees(&what, || (header, ids.clone()));
    }
}

#[test]
fn answers_without_values_and_without_keys_are_the_same_too() {
    let header = convert::inner_header(7);
    let key = |n: u32| Blob::from(format!("key {n}").as_bytes());
    let kvs = |n| (0..n).map(|n| KeyValue { key: key(n), ..KeyValue::default() }).collect();
    for n in [0, 1, 40_000] {
        let keys_only = RangeResponse { revision: 7, kvs: kvs(n), more: true, count: 90_000 };
        agrees("keys only", || (header, keys_only.clone()));
        let nothing = vec![KeyValue::default(); n as usize];
        agrees("nothing in them", || {
            (header, RangeResponse { kvs: nothing.clone(), ..Default::default() })
        });
        let empty = vec![Blob::default(); n as usize];
        let ids: Vec<i64> = (0..i64::from(n)).collect();
        agrees("leases", || (header, ids.clone()));
        agrees("empty keys", || (pb::LeaseTimeToLiveResponse::default(), empty.clone()));
    }
    agrees("count only", || (header, RangeResponse { count: 12, ..Default::default() }));
    agrees("no header", || (pb::ResponseHeader::default(), RangeResponse::default()));
}

#[test]
fn a_slice_measures_or_writes_a_bounded_number_of_items_and_what_is_written_is_let_go() {
    let value = Blob::from(&[7; 1000][..]);
    let kv = KeyValue { key: value.clone(), value: value.clone(), ..KeyValue::default() };
    let range = RangeResponse { kvs: vec![kv; 100_000], ..Default::default() };
    let mut writer = writer((pb::ResponseHeader::default(), range));
    let mut measured = 0;
    let first = loop {
        match writer.step(&mut mvcc::InMemory) {
            Some(chunk) => break chunk.unwrap(),
            None => measured += 1,
        }
    };
    assert!(measured >= 5, "{measured} slices");
    assert!(first.len() < CHUNK_BYTES + 3_000, "{}", first.len());
    let before = std::sync::Arc::strong_count(&value);
    writer.step(&mut mvcc::InMemory).expect("a slice").unwrap();
    let let_go = before - std::sync::Arc::strong_count(&value);
    assert!((2 * CHUNK_BYTES / 2_100..2 * CHUNK_BYTES / 1_900).contains(&let_go), "{let_go}");
}

#[test]
fn an_answer_above_the_longest_is_refused_before_any_of_it_is_written() {
    let value = Blob::from(vec![7; 1 << 20]);
    let kv = KeyValue { value, ..KeyValue::default() };
    let range = RangeResponse { kvs: vec![kv; 2048], ..Default::default() };
    // Each has its value's head and its own around its value, none else.
    let length = 2048_usize * ((1 << 20) + 4 + 4) + 2;
    let refused = chunks(writer((pb::ResponseHeader::default(), range))).unwrap_err();
    let text = format!("grpc: trying to send message larger than max ({length} vs. 2147483647)");
    assert_eq!((refused.code, &*refused.text), (8, &*text));
    assert_eq!(ANSWER_BYTES_MAX + FRAME_HEAD_BYTES, (1 << 31) + 4);
}
