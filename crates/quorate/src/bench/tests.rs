use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn load_args(line: &str) -> LoadArgs {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    match cli.bench.workload {
        Workload::Put(load) | Workload::Range(load) | Workload::Mixed(load) => load,
        Workload::NullServer(_) => panic!("not a load"),
    }
}

/// Runs a load against a null server on the same thread.
fn against_null_server(write_percent: u8, line: &str) -> load::Outcome {
    let args = load_args(line);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::task::spawn_local(null_server::accept(listener, 100));
        let pool = [Rc::new(load::Connection::new(&address))];
        load::run(&pool, plan(write_percent, &args).unwrap(), false).await
    })
}

#[test]
fn a_load_of_a_fixed_total_measures_exactly_that_many_requests() {
    let outcome = against_null_server(50, "b mixed --total 500 --clients 8 --warmup 0");
    assert_eq!(outcome.operations(), 500);
    assert_eq!(outcome.failures(), 0, "{:?}", outcome.failures);
    assert!(!outcome.puts.is_empty() && !outcome.ranges.is_empty());
    assert_eq!(outcome.absent, 0, "the null server always answers one pair");
}

#[test]
fn a_fixed_rate_starts_as_many_requests_as_the_time_allows() {
    let line = "b put --rate 1000 --duration 0.3 --clients 64 --warmup 0.1";
    let outcome = against_null_server(100, line);
    assert_eq!(outcome.operations() + outcome.failures(), 300);
}

#[test]
fn an_endpoint_that_refuses_connections_is_an_error_before_the_load() {
    let cli = Cli::try_parse_from(["b", "put", "--endpoints", "127.0.0.1:1"]).unwrap();
    let error = run(cli.bench).unwrap_err();
    assert!(format!("{error:#}").contains("connect to 127.0.0.1:1"), "{error:#}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for line in [
        "b put --clients 0",
        "b put --rate 0",
        "b put --key-size 2 --key-space 101",
        "b put --duration -1",
        "b put --key-space 0",
    ] {
        assert!(plan(100, &load_args(&line.replace(" -1", "=-1"))).is_err(), "{line}");
    }
}

#[test]
fn json_is_one_line_with_the_numbers_a_script_needs() {
    let outcome = against_null_server(0, "b range --total 50 --clients 2 --warmup 0");
    let header = report::Header {
        operation: "range",
        endpoints: 1,
        connections: 1,
        clients: 2,
        key_size: 8,
        val_size: 256,
        key_space: 10,
        rate: None,
        linearizable: true,
    };
    let line = report::json(&header, &outcome);
    assert!(!line.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["ops"], 50);
    assert!(value["latency_us"]["p99"].as_u64().unwrap() > 0);
    assert!(report::text(&header, &outcome).contains("50 ok, 0 errors"));
}

#[test]
fn spans_are_seconds_or_have_a_unit() {
    for (text, want) in [("2", 2.0), ("0.5", 0.5), ("3s", 3.0), ("250ms", 0.25), ("2m", 120.0)] {
        assert_eq!(seconds(text), Ok(want), "{text}");
    }
    for wrong in ["", "s", "1h2", "ms", "two"] {
        assert!(seconds(wrong).is_err(), "{wrong}");
    }
}
