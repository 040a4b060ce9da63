//! Forms that are read, errors with their places, and the page.

use check::parse::{self, Format, detect};
use check::report::{ModelName, Report, load, page};
use check::{Limits, Verdict, Why};

fn report(model: ModelName, text: &str) -> Report {
    load(model, None, text.as_bytes()).unwrap().check(Limits::default(), &|| false)
}

fn place(model: ModelName, text: &str) -> (usize, usize, String) {
    let error = load(model, None, text.as_bytes()).unwrap_err();
    (error.line, error.column, error.what)
}

fn log(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("INFO  jepsen.util - {}\n", line.replace(' ', "\t"))).collect()
}

#[test]
fn log_lines_of_every_kind_are_understood() {
    let text = log(&[
        "0 :invoke :write 1",
        "1 :invoke :read nil",
        "0 :info :write :timed-out",
        "1 :fail :read :timed-out",
        "2 :invoke :cas :placeholder",
    ]);
    let text = text.replace(":placeholder", "[1 2]");
    let noise = "starting up\nINFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\nWARN x\r\n";
    let report = report(ModelName::CasRegister, &format!("{noise}{text}"));
    assert_eq!(report.word(), "linearizable");
    assert_eq!(report.ops.len(), 3);
    assert!(report.ops.iter().all(|op| op.unknown));
    assert_eq!(report.ops[0].text, "write 1 ?");
}

#[test]
fn a_failed_compare_and_set_says_that_the_value_was_another() {
    let start = ["0 :invoke :write 1", "0 :ok :write 1"];
    let log_with = |last: &str| {
        let mut lines = start.to_vec();
        lines.extend(["0 :invoke :cas [1_2]", last]);
        log(&lines).replace('_', " ")
    };
    assert_eq!(
        report(ModelName::CasRegister, &log_with("0 :fail :cas [1_2]")).word(),
        "NOT linearizable"
    );
    assert_eq!(
        report(ModelName::CasRegister, &log_with("0 :info :cas :timed-out")).word(),
        "linearizable"
    );
    // A map may say why it failed: then it was not carried out.
    let maps = "{:process 0, :type :invoke, :f :write, :value 1}\n\
                {:process 0, :type :ok, :f :write, :value 1}\n\
                {:process 0, :type :invoke, :f :cas, :value [1 2], :time 17, :index 3}\n\
                {:process 0, :type :fail, :f :cas, :value [1 2], :error :refused}\n";
    let report = report(ModelName::CasRegister, maps);
    assert_eq!((report.word(), report.ops.len()), ("linearizable", 1));
}

#[test]
fn an_operation_whose_answer_is_missing_may_have_happened() {
    let text = log(&[
        "0 :invoke :write 1",
        "0 :invoke :read nil",
        "0 :ok :read 1",
        "0 :invoke :read nil",
        "0 :ok :read nil",
    ]);
    let report = report(ModelName::Register, &text);
    assert_eq!(report.word(), "NOT linearizable");
    assert_eq!(report.ops.len(), 3);
    let Verdict::NotLinearizable { stuck, prefix, .. } = &report.outcome.verdict else { panic!() };
    assert_eq!((stuck.as_slice(), prefix.as_slice()), (&[2][..], &[0, 1][..]));
    let lines = report.explain();
    assert_eq!(lines[0], "2 of 3 operations can be ordered; then the state is 1");
    assert_eq!(lines[1], "cannot be placed: process 0: read -> nil (invoked 4, answered 5)");
}

#[test]
fn errors_have_a_line_and_a_column() {
    use ModelName::{CasRegister, Kv, Register};
    let (line, column, what) = place(CasRegister, &log(&["0 :invoke :read nil", "1 :ok :read 3"]));
    assert_eq!((line, column), (2, 1));
    assert_eq!(what, "process 1 has nothing to answer");
    let broken = log(&["0 :invoke :write one"]);
    assert_eq!(place(CasRegister, &broken).0, 1);
    assert_eq!(place(CasRegister, &broken).1, broken.find("one").unwrap() + 1);
    let (_, column, what) = place(Register, &log(&["0 :invoke :cas [1,2]"]));
    assert_eq!((column, what.as_str()), (31, "the model has no operation :cas"));
    let swapped = log(&["0 :invoke :write 1", "0 :ok :read 1"]);
    assert_eq!(place(CasRegister, &swapped).2, "the process has another operation open");
    let other = log(&["0 :invoke :write 1", "0 :ok :write 2"]);
    assert_eq!(place(CasRegister, &other).0, 2);
    let map = "\n{:process 0, :type :invoke, :f :get, :value nil}\n";
    assert_eq!(place(Kv, map), (2, 1, ":key is missing".to_owned()));
    let cut = "{:process 0, :type :invoke, :f :get, :key \"a";
    assert_eq!((place(Kv, cut).0, place(Kv, cut).1), (1, 43));
    let (line, column, what) =
        place(Kv, "{\"process\":0,\"f\":\"gut\",\"key\":\"ü\",\"invoked\":1}");
    assert_eq!((line, column), (1, 14));
    assert_eq!(what, "f: get, put or append is expected");
    assert_eq!(place(Register, "{\"process\":0,}").0, 1);
    assert_eq!(place(Register, "").2, "no operations found");
    let (line, column, _) = place(Register, "ab\n{\"x\":1}\n");
    assert_eq!((line, column), (1, 1), "not JSON");
    let error = load(Register, None, b"fine\nb\xffd").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 2: not UTF-8");
}

#[test]
fn whole_operations_in_json_have_four_outcomes() {
    let line = |f: &str, rest: &str| format!("{{\"process\":1,\"f\":\"{f}\",{rest}}}\n");
    let base = line("write", "\"value\":1,\"invoked\":1,\"returned\":2");
    let with = |rest: &str| {
        let text = base.clone()
            + &line("write", &format!("\"value\":2,\"invoked\":3,{rest}"))
            + &line("read", "\"output\":2,\"invoked\":9,\"returned\":10");
        report(ModelName::Register, &text).word().to_owned()
    };
    assert_eq!(with("\"returned\":4"), "linearizable");
    assert_eq!(with("\"outcome\":\"unknown\""), "linearizable");
    assert_eq!(with("\"outcome\":\"seen\""), "linearizable");
    assert_eq!(with("\"outcome\":\"fail\""), "NOT linearizable");
    let early = base + &line("read", "\"output\":2,\"invoked\":9,\"returned\":8");
    assert_eq!(place(ModelName::Register, &early).0, 2);
}

#[test]
fn events_in_json_pair_up_by_process() {
    let text = "{\"process\":0,\"type\":\"invoke\",\"f\":\"put\",\"key\":\"k\",\"value\":\"a\"}\n\
                {\"process\":1,\"type\":\"invoke\",\"f\":\"get\",\"key\":\"k\"}\n\
                {\"process\":1,\"type\":\"ok\",\"output\":\"a\"}\n\
                {\"process\":0,\"type\":\"info\"}\n";
    let report = report(ModelName::Kv, text);
    assert_eq!((report.word(), report.placed.len()), ("linearizable", 2));
    let mixed = format!(
        "{text}{}",
        "{\"process\":0,\"f\":\"get\",\"key\":\"k\",\"output\":\"\",\"invoked\":1,\"returned\":2}"
    );
    assert_eq!(place(ModelName::Kv, &mixed).0, 5, "moments are in all lines or in none");
}

#[test]
fn etcd_requests_are_read_from_json() {
    let text = [
        r#"{"initial":{"revision":4,"kvs":[{"key":"a","value":"1","mod_revision":4}]}}"#,
        r#"{"process":1,"f":"put","key":"a","value":"2","invoked":1,"returned":2,"#,
        r#""output":{"revision":5,"prev_kv":{"key":"a","value":"1"}}}"#,
        r#"{"process":1,"f":"txn","compare":[{"key":"a","target":"mod","op":"=","with":5}],"#,
        r#""success":[{"f":"range","key":"a","range_end":"b"},"#,
        r#"{"f":"put","key":[255],"value":"x"}],"failure":[],"invoked":3,"returned":4,"#,
        r#""output":{"revision":6,"succeeded":true,"#,
        r#""responses":[{"kvs":[{"key":"a","value":"2","version":2}],"count":1},{}]}}"#,
        r#"{"process":1,"f":"range","key":"\u0000","range_end":"\u0000","count_only":true,"#,
        r#""invoked":5,"returned":6,"output":{"revision":6,"count":2}}"#,
        r#"{"process":1,"f":"delete","key":"q","invoked":7,"returned":8,"#,
        r#""output":{"revision":6,"deleted":0}}"#,
    ];
    // A line ends where its braces do.
    let text = &text.join("\n").replace(",\n", ",");
    let good = report(ModelName::Etcd, text);
    assert_eq!(good.word(), "linearizable", "{:?}", good.explain());
    assert_eq!(good.placed[1].state, "revision 6");
    let bad = text.replace("\"deleted\":0", "\"deleted\":1");
    let bad = report(ModelName::Etcd, &bad);
    assert_eq!(bad.word(), "NOT linearizable");
    assert_eq!(
        bad.explain()[1],
        "cannot be placed: process 1: delete \"q\" -> 1 @ 6 (invoked 7, answered 8)"
    );
    let wrong = text.replace("\"op\":\"=\"", "\"op\":\"~\"");
    let (line, column, _) = place(ModelName::Etcd, &wrong);
    assert_eq!((line, column > 50), (3, true));
    assert_eq!(detect(text.as_bytes()), Format::JsonLines);
    let events = load(ModelName::Etcd, Some(Format::Events), b"").unwrap_err();
    assert!(events.what.contains("JSON lines"));
}

#[test]
fn a_limit_gives_unknown_and_says_which() {
    let lines: Vec<String> = (0..40)
        .flat_map(|at| [format!("{at} :invoke :write {at}"), format!("{at} :info :write :t")])
        .chain((0..6).map(|at| format!("{} :invoke :cas [{at}_99]", 50 + at)))
        .chain((0..6).map(|at| format!("{} :ok :cas [{at}_99]", 50 + at)))
        .chain(["70 :invoke :read nil".to_owned(), "70 :ok :read 1000".to_owned()])
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let text = log(&lines).replace('_', " ");
    let ops = parse::cas_register_events(text.as_bytes()).unwrap();
    let run = |limits, cancel: &dyn Fn() -> bool| {
        check::check(&check::models::CasRegister, &ops, limits, cancel).verdict
    };
    let few = Limits { steps_max: 50, ..Limits::default() };
    assert_eq!(run(few, &|| false), Verdict::Unknown { why: Why::Steps });
    let small = Limits { memory_bytes_max: 500, ..Limits::default() };
    assert_eq!(run(small, &|| false), Verdict::Unknown { why: Why::Memory });
    assert_eq!(run(Limits::default(), &|| true), Verdict::Unknown { why: Why::Cancelled });
}

#[test]
fn the_page_stands_alone_marks_the_culprit_and_escapes() {
    let text = "{:process 0, :type :invoke, :f :put, :key \"k\", :value \"<script>&'\\\"\"}\n\
                {:process 0, :type :ok, :f :put, :key \"k\", :value nil}\n\
                {:process 1, :type :invoke, :f :get, :key \"k\", :value nil}\n\
                {:process 1, :type :ok, :f :get, :key \"k\", :value \"other\"}\n";
    let report = report(ModelName::Kv, text);
    assert_eq!(report.word(), "NOT linearizable");
    let html = page("<b>", &[("a<b>.txt".to_owned(), report)]);
    assert_eq!(html.matches("class=\"stuck\"").count(), 2, "the legend and the culprit");
    assert!(html.contains("id=\"stuck-0\"") && html.contains("href=\"#stuck-0\""));
    assert!(html.contains("&lt;script&gt;&amp;"));
    assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("http"));
}
