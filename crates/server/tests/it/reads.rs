//! Reads of a running member.

use crate::cluster::{Cluster, outside};
use api::etcdserverpb as pb;
use client::{Channel, method};

/// All chunks merged, and how many there were.
async fn streamed(to: &Channel, request: &pb::RangeRequest) -> (pb::RangeResponse, usize) {
    let call = to.prepare("/etcdserverpb.KV/RangeStream");
    let mut stream = to.stream::<pb::RangeStreamResponse>(&call).await.expect("a stream");
    stream.send(request).expect("sent");
    stream.finish().expect("sent");
    let (mut whole, mut chunks) = (pb::RangeResponse::default(), 0);
    while let Some(chunk) = stream.next().await.expect("a chunk") {
        assert!(whole.header.is_none(), "only the last chunk has a header");
        let part = chunk.range_response.expect("a chunk has an answer");
        whole.kvs.extend(part.kvs);
        (whole.header, whole.more) = (part.header, part.more);
        whole.count += part.count;
        chunks += 1;
    }
    (whole, chunks)
}

#[test]
fn a_stream_in_any_order_it_takes_is_the_unary_answer_in_chunks() {
    let cluster = Cluster::start("stream", &["solo"]);
    (0..40).for_each(|n| cluster.put(0, &format!("k{:02}", n * 7 % 40), &n.to_string()));
    outside(async {
        let to = cluster.channel(0);
        for sort_target in 0..=4 {
            for (limit, expected_chunks) in [(0, 3), (3, 1), (25, 2), (40, 3)] {
                let request = pb::RangeRequest {
                    key: "k".into(),
                    range_end: "l".into(),
                    sort_target,
                    limit,
                    ..Default::default()
                };
                let unary: pb::RangeResponse =
                    to.call(method::kv::RANGE, &request).await.expect("a range");
                let (whole, chunks) = streamed(&to, &request).await;
                assert_eq!(whole, unary, "target {sort_target}, limit {limit}");
                assert_eq!(chunks, expected_chunks, "target {sort_target}, limit {limit}");
            }
        }
    });
}

#[test]
fn long_answers_come_whole_side_by_side_on_one_connection() {
    let cluster = Cluster::start("long", &["solo"]);
    (0..60).for_each(|n| cluster.put(0, &format!("k{n:02}"), &n.to_string().repeat(20_000)));
    outside(async {
        let to = cluster.channel(0);
        let (key, range_end) = ("k".into(), "l".into());
        let all = pb::RangeRequest { key, range_end, ..Default::default() };
        let (expected, chunks) = streamed(&to, &all).await;
        assert!(expected.kvs.len() == 60 && chunks > 1);
        let range = pb::request_op::Request::RequestRange(all.clone());
        let success = vec![pb::RequestOp { request: Some(range) }; 2];
        let txn = pb::TxnRequest { success, ..Default::default() };
        let call = || to.call::<pb::RangeResponse>(method::kv::RANGE, &all);
        let both = to.call::<pb::TxnResponse>(method::kv::TXN, &txn);
        let (one, two, three, both) = tokio::join!(call(), call(), call(), both);
        for whole in [one, two, three] {
            assert_eq!(whole.expect("a range"), expected);
        }
        for op in both.expect("a transaction").responses {
            let Some(pb::response_op::Response::ResponseRange(range)) = op.response else {
                panic!("a range was asked for");
            };
            assert_eq!((range.kvs, range.count), (expected.kvs.clone(), expected.count));
        }
    });
}
