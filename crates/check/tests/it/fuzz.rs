//! No bytes make a parser panic, and what a parser takes the checker takes.

use std::path::Path;

use check::Limits;
use check::etcd::EtcdOperation;
use check::parse::{self, ParseError};
use check::report::{ModelName, load, page};
use proptest::prelude::*;

/// Whatever the bytes are: a report that can be drawn, or an error with a place.
fn survives(bytes: &[u8]) {
    let limits = Limits { steps_max: 2_000, ..Limits::default() };
    for model in ModelName::ALL {
        for format in [None, Some(parse::Format::Events), Some(parse::Format::JsonLines)] {
            match load(model, format, bytes) {
                Ok(history) => {
                    let report = history.check(limits, &|| false);
                    let html = page("fuzz", &[("x".to_owned(), report)]);
                    assert!(html.ends_with("</html>\n"));
                }
                Err(ParseError { line, column, what }) => {
                    let count = bytes.split(|&byte| byte == b'\n').count();
                    assert!(line <= count && column <= bytes.len() + 1 && !what.is_empty());
                }
            }
        }
    }
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

const LINES: &[&str] = &[
    "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\n",
    "INFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n",
    "INFO  jepsen.util - 0\t:ok\t:cas\t[1 2]\n",
    "INFO  jepsen.util - 1\t:invoke\t:read\tnil\n",
    "INFO  jepsen.util - 1\t:fail\t:read\t:timed-out\n",
    "{:process 0, :type :invoke, :f :append, :key \"0\", :value \"x\"}\n",
    "{:process 0, :type :ok, :f :append, :key \"0\", :value \"x\"}\n",
    "{\"process\":0,\"f\":\"cas\",\"value\":[1,2],\"output\":true,\"invoked\":1,\"returned\":2}\n",
    "{\"process\":1,\"f\":\"get\",\"key\":\"k\",\"output\":\"v\",\"invoked\":1,\"returned\":2}\n",
    "{\"process\":0,\"type\":\"invoke\",\"f\":\"put\",\"key\":\"k\",\"value\":[255,0]}\n",
    "{\"process\":0,\"type\":\"ok\",\"output\":{\"revision\":2,\"prev_kv\":null}}\n",
    "{\"initial\":{\"revision\":5,\"kvs\":[{\"key\":\"a\"}]}}\n",
    "{\"process\":3,\"f\":\"txn\",\"compare\":[{\"key\":\"a\",\"op\":\"=\",\"target\":\"mod\",\
     \"with\":0}],\"success\":[{\"f\":\"delete\",\"key\":\"a\",\"range_end\":\"\\u0000\"}],\
     \"output\":{\"succeeded\":true,\"responses\":[{\"deleted\":1}]},\"invoked\":3,\
     \"returned\":9}\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_history_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn any_lines_cut_and_changed_are_a_history_or_an_error(
        picks in prop::collection::vec(0..LINES.len(), 0..12),
        cut in 0..400usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes: Vec<u8> = picks.iter().flat_map(|&at| LINES[at].bytes()).collect();
        bytes.truncate(bytes.len().saturating_sub(cut % 60));
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        survives(&bytes);
    }

    #[test]
    fn a_sample_cut_anywhere_is_a_history_or_an_error(cut in 0..4_000usize, which in 0..3usize) {
        let bytes = sample(["etcd_002.log", "c10-ok.txt", "c01-bad.txt"][which]);
        survives(&bytes[..cut]);
    }
}

#[test]
fn an_etcd_history_written_down_and_read_again_is_the_same() {
    for seed in 0..300 {
        let ops: Vec<EtcdOperation> = crate::etcd::history(&mut base::Prng::new(seed), false);
        let text = parse::etcd_to_lines(1, &[], &ops);
        if ops.is_empty() {
            continue;
        }
        let read = parse::etcd_lines(text.as_bytes()).unwrap();
        assert_eq!(read.revision, 1);
        assert_eq!(read.ops.len(), ops.len());
        for (read, op) in read.ops.iter().zip(&ops) {
            assert_eq!(read.input, op.input, "seed {seed}");
            assert_eq!((read.process, read.invoked), (op.process, op.invoked));
            assert_eq!(read.deadline(), op.deadline());
            let (read, op) = (read.output.as_ref(), op.output.as_ref());
            assert_eq!(read.map(|r| r.revision), op.map(|r| r.revision));
            // Nothing known of a put's or delete's answer reads as an answer that says nothing.
            if let Some(reply) = op.and_then(|response| response.reply.as_ref()) {
                assert_eq!(read.and_then(|r| r.reply.as_ref()), Some(reply), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_history_that_begins_at_the_last_number_there_is_is_an_error_with_its_place() {
    let put = "{\"process\":0,\"f\":\"put\",\"key\":\"a\",\"value\":\"v\",\
               \"output\":{\"revision\":9223372036854775807},\"invoked\":1,\"returned\":2}";
    for (revision, version, wrong) in
        [("9223372036854775807", "1", "revision"), ("5", "9223372036854775807", "version")]
    {
        let key = format!("{{\"key\":\"a\",\"version\":{version}}}");
        let text = format!("{{\"initial\":{{\"revision\":{revision},\"kvs\":[{key}]}}}}\n{put}\n");
        survives(text.as_bytes());
        let error = parse::etcd_lines(text.as_bytes()).expect_err("refused");
        assert_eq!((error.line, error.what), (1, format!("{wrong}: too large")));
    }
}
