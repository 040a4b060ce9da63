//! The result as text for people and as one line of JSON for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::load::Outcome;

/// What was asked for, repeated in the result so that it can be read alone.
pub struct Header {
    pub operation: &'static str,
    pub endpoints: usize,
    pub connections: usize,
    pub clients: usize,
    pub key_size: usize,
    pub val_size: usize,
    pub key_space: u64,
    pub rate: Option<u64>,
    pub linearizable: bool,
}

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

/// One line, no newline. Latencies in microseconds, `elapsed_s` in seconds.
pub fn json(header: &Header, outcome: &Outcome) -> String {
    let mut line = json!({
        "operation": header.operation,
        "endpoints": header.endpoints,
        "conns": header.connections,
        "clients": header.clients,
        "key_size": header.key_size,
        "val_size": header.val_size,
        "key_space": header.key_space,
        "rate": header.rate,
        "consistency": if header.linearizable { "l" } else { "s" },
        "elapsed_s": rounded(outcome.elapsed.as_secs_f64(), 1e6),
        "ops": outcome.operations(),
        "ops_per_s": rounded(per_second(outcome), 10.0),
        "errors": outcome.failures(),
        "error_kinds": outcome.failures,
        "absent": outcome.absent,
        "latency_us": latency(&all(outcome)),
        "client_cpu_us_per_op": cpu_per_operation(outcome).map(|micros| rounded(micros, 100.0)),
    });
    if header.operation == "mixed" {
        line["put_latency_us"] = latency(&outcome.puts);
        line["range_latency_us"] = latency(&outcome.ranges);
    }
    line.to_string()
}

/// A few lines for a terminal, each ending in a newline.
pub fn text(header: &Header, outcome: &Outcome) -> String {
    let mut out = String::new();
    let put = |out: &mut String, line: std::fmt::Arguments<'_>| {
        out.write_fmt(line).expect("writing to a string does not fail");
        out.push('\n');
    };
    let pace = header.rate.map_or("closed loop".to_owned(), |rate| format!("{rate}/s asked"));
    put(
        &mut out,
        format_args!(
            "{}: {} clients, {} connections, {} endpoints, {pace}",
            header.operation, header.clients, header.connections, header.endpoints
        ),
    );
    put(
        &mut out,
        format_args!(
            "  {} ok, {} errors in {:.2} s: {:.0} ops/s",
            outcome.operations(),
            outcome.failures(),
            outcome.elapsed.as_secs_f64(),
            per_second(outcome)
        ),
    );
    if header.operation == "mixed" {
        put(&mut out, format_args!("  put    {}", row(&outcome.puts)));
        put(&mut out, format_args!("  range  {}", row(&outcome.ranges)));
    }
    put(&mut out, format_args!("  all    {}", row(&all(outcome))));
    if outcome.absent > 0 {
        put(&mut out, format_args!("  {} reads found no key", outcome.absent));
    }
    if let Some(micros) = cpu_per_operation(outcome) {
        put(&mut out, format_args!("  own CPU {micros:.1} us per request"));
    }
    for (why, count) in &outcome.failures {
        put(&mut out, format_args!("  error x {count}: {why}"));
    }
    out
}

fn all(outcome: &Outcome) -> Histogram<u64> {
    let mut all = outcome.puts.clone();
    all.add(&outcome.ranges).expect("both histograms have the same bounds");
    all
}

fn per_second(outcome: &Outcome) -> f64 {
    outcome.operations() as f64 / outcome.elapsed.as_secs_f64().max(1e-6)
}

fn cpu_per_operation(outcome: &Outcome) -> Option<f64> {
    let requests = outcome.operations() + outcome.failures();
    let used = outcome.client_cpu?;
    (requests > 0).then(|| used.as_secs_f64() * 1e6 / requests as f64)
}

/// Percentiles and extremes; `null` when nothing was recorded.
fn latency(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut object = serde_json::Map::new();
    object.insert("min".to_owned(), histogram.min().into());
    object.insert("mean".to_owned(), rounded(histogram.mean(), 10.0).into());
    for (name, quantile) in QUANTILES {
        object.insert(name.to_owned(), histogram.value_at_quantile(quantile).into());
    }
    object.insert("max".to_owned(), histogram.max().into());
    Value::Object(object)
}

fn row(histogram: &Histogram<u64>) -> String {
    let mut row = format!("mean {:.2} ms", histogram.mean() / 1000.0);
    for (name, quantile) in QUANTILES {
        let millis = histogram.value_at_quantile(quantile) as f64 / 1000.0;
        write!(row, "  {name} {millis:.2}").expect("writing to a string does not fail");
    }
    write!(row, "  max {:.2}", histogram.max() as f64 / 1000.0)
        .expect("writing to a string does not fail");
    row
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
