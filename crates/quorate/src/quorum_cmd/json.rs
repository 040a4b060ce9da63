//! Reports as JSON: numbers exact and as decimals.

use analysis::availability::Live;
use analysis::ratio::{Ratio, to_f64};
use analysis::report::{Figures, Report, Side, explain};
use analysis::{Choice, Strategy};
use quorum::{Dominance, NodeSet};
use serde_json::{Value, json};

/// Indented text.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value of strings and numbers is written")
}

/// Everything a report says.
pub fn report(report: &Report, failures: &[Ratio]) -> Value {
    let names = |set: NodeSet| members(report, set);
    let safety = report.safety.iter().map(|safety| match &safety.verdict {
        Ok(()) => json!({ "protocol": safety.protocol, "safe": true }),
        Err(offence) => json!({
            "protocol": safety.protocol,
            "safe": false,
            "a": names(offence.a),
            "b": names(offence.b),
            "why": explain(report.model.names(), offence),
        }),
    });
    let failure = failures.iter().map(|p| {
        let of = |live: &Option<Live>| live.as_ref().map(|live| number(&live.failure(p)));
        json!({
            "p": number(p),
            "elect": of(&report.elect.live),
            "commit": of(&report.commit.live),
            "either": of(&report.both_live),
        })
    });
    let zones = report.zones.iter().map(|zone| {
        json!({ "zone": zone.zone, "elect": zone.elect_goes_on, "commit": zone.commit_goes_on })
    });
    json!({
        "system": report.text,
        "members": names(report.model.members()),
        "safety": safety.collect::<Vec<_>>(),
        "elect": side(report, &report.elect),
        "commit": side(report, &report.commit),
        "resilience": report.resilience(),
        "dominated": match report.dominance {
            Dominance::Never => json!(false),
            Dominance::By(set) => json!({ "by": names(set) }),
            Dominance::TooComplex => Value::Null,
        },
        "failure": failure.collect::<Vec<_>>(),
        "without_zone": zones.collect::<Vec<_>>(),
        "strategy": match &report.strategy {
            Ok(found) => strategy(report, found),
            Err(why) => json!({ "error": why.to_string() }),
        },
    })
}

fn number(value: &Ratio) -> Value {
    json!({ "exact": value.to_string(), "value": to_f64(value) })
}

fn members(report: &Report, set: NodeSet) -> Vec<String> {
    let name = |slot| report.model.names().name(slot).unwrap_or_default().to_owned();
    set.iter().map(name).collect()
}

fn side(report: &Report, side: &Side) -> Value {
    let quorums: Vec<Vec<String>> =
        side.quorums.iter().take(100).map(|quorum| members(report, *quorum)).collect();
    let live = side
        .live
        .as_ref()
        .map(|live| live.sets.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "minimal_quorums": side.count,
        "smallest": side.quorums.first().map(|quorum| quorum.len()),
        "largest": side.quorums.last().map(|quorum| quorum.len()),
        "quorums": quorums,
        "resilience": side.resilience,
        "stopped_by": members(report, side.stopped_by),
        "live_sets": live,
    })
}

fn strategy(report: &Report, strategy: &Strategy) -> Value {
    let figures = Figures::new(report, strategy);
    let choice = |choice: &Choice| {
        let parts = choice
            .parts
            .iter()
            .map(|(count, set)| json!({ "take": count, "of": members(report, *set) }));
        json!({
            "probability": number(&choice.probability),
            "parts": parts.collect::<Vec<_>>(),
            "latency_s": number(&choice.latency),
        })
    };
    let loads = report.model.members().iter().map(|slot| {
        let load = strategy.node_load_mean(&report.model, slot, &report.work);
        json!({ "member": report.model.names().name(slot), "load": number(&load) })
    });
    json!({
        "objective": format!("{:?}", report.goal.objective).to_lowercase(),
        "load": number(&figures.load),
        "capacity": number(&figures.capacity),
        "network": number(&figures.network),
        "latency_s": number(&figures.latency),
        "reads": strategy.reads.iter().map(choice).collect::<Vec<_>>(),
        "writes": strategy.writes.iter().map(choice).collect::<Vec<_>>(),
        "members": loads.collect::<Vec<_>>(),
    })
}
