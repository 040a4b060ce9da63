//! `quorate trace`: what running members record of themselves, as one trace.

use crate::explain::{Ask, Trace};
use anyhow::{Context as _, bail, ensure};
use base::limits::PAGE_EVENTS_MAX;
use clap::Args;
use client::{Channel, authority};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use trace::{Event, Head, Merger};

const PAUSE: Duration = Duration::from_millis(300);
const PAGE_WAIT: Duration = Duration::from_secs(15);
/// A ring holds no more pages; a member that is faster than its reader has no end.
const PAGES_MAX: usize = server::record::RECORD_MAX / PAGE_EVENTS_MAX + 1;

/// Arguments of `quorate trace`.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Members to ask, comma-separated; each must record (`quorate serve --record N`)
    #[arg(long, default_value = "127.0.0.1:2379")]
    endpoints: String,
    /// Goes on with what happens, until it is interrupted
    #[arg(long, conflicts_with_all = ["revision", "event"])]
    follow: bool,
    /// Writes the trace there as JSON lines, for `quorate sim explain` and others
    #[arg(long, value_name = "FILE", conflicts_with_all = ["revision", "event"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    ask: Ask,
}

pub fn run(args: &TraceArgs) -> anyhow::Result<()> {
    crate::member_cmd::on_runtime(async {
        let mut members = Vec::new();
        for endpoint in args.endpoints.split(',') {
            let address = authority(endpoint).map_err(anyhow::Error::msg)?;
            members.push(Member { channel: Channel::new(&address), next: 1, head: None });
        }
        let (head, traces) = begin(&mut members).await?;
        if args.follow {
            return follow(args, &mut members, &head, traces).await;
        }
        let events = trace::merge(traces);
        match &args.out {
            Some(path) => {
                let named = || path.display().to_string();
                std::fs::write(path, written(Some(&head), &events)).with_context(named)
            }
            None => {
                let told = Trace::new(&head, events).and_then(|trace| trace.answer(&args.ask));
                let lines = told.map_err(anyhow::Error::msg)?;
                lines.iter().for_each(|line| crate::out::say!("{line}"));
                Ok(())
            }
        }
    })
}

/// The first look at everybody: one head, and each one's events on one clock.
async fn begin(members: &mut [Member]) -> anyhow::Result<(Head, Vec<Vec<Event>>)> {
    let mut traces = Vec::new();
    for member in members.iter_mut() {
        traces.push(member.rest().await?);
    }
    let heads: Vec<&Head> = members.iter().filter_map(|member| member.head.as_ref()).collect();
    for (at, head) in heads.iter().enumerate() {
        let again = heads[..at].iter().position(|other| other.member == head.member);
        if let Some(first) = again {
            let (name, one) = (head.member.as_deref(), members[first].channel.authority());
            let other = members[at].channel.authority();
            bail!("{one} and {other} are both {}", name.unwrap_or("of no name"));
        }
    }
    let first = heads.iter().filter_map(|head| head.began).min();
    let head = Head { member: None, began: first, ..heads[0].clone() };
    for (trace, own) in traces.iter_mut().zip(heads) {
        trace::align(first.unwrap_or(0), own, trace);
    }
    Ok((head, traces))
}

fn written(head: Option<&Head>, events: &[Event]) -> String {
    let mut lines = String::new();
    if let Some(head) = head {
        trace::write_head(head, &mut lines);
    }
    events.iter().for_each(|event| trace::write(event, &mut lines));
    lines
}

async fn follow(
    args: &TraceArgs,
    members: &mut [Member],
    head: &Head,
    mut traces: Vec<Vec<Event>>,
) -> anyhow::Result<()> {
    let file = |path: &PathBuf| {
        let file = std::fs::File::create(path).with_context(|| path.display().to_string());
        file.and_then(|mut file| {
            Ok(file.write_all(written(Some(head), &[]).as_bytes()).map(|()| file)?)
        })
    };
    let mut file = args.out.as_ref().map(file).transpose()?;
    let mut told = Trace::new(head, Vec::new()).map_err(anyhow::Error::msg)?;
    let mut merger = Merger::default();
    let mut away = vec![false; members.len()];
    loop {
        for (at, events) in traces.drain(..).enumerate() {
            merger.push(at, events);
        }
        let events = merger.round();
        match &mut file {
            Some(file) => file.write_all(written(None, &events).as_bytes())?,
            None => {
                for line in told.go_on(events) {
                    if !crate::out::heard(format_args!("{line}\n")) {
                        return Ok(()); // Nobody reads on.
                    }
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        for (at, member) in members.iter_mut().enumerate() {
            let mut events = match member.rest().await {
                Ok(events) => events,
                Err(why) => {
                    if !std::mem::replace(&mut away[at], true) {
                        eprintln!("quorate trace: {why:#}; going on without it until it answers");
                    }
                    traces.push(Vec::new());
                    continue;
                }
            };
            away[at] = false;
            let own = member.head.as_ref().expect("it has answered");
            trace::align(head.began.unwrap_or(0), own, &mut events);
            traces.push(events);
        }
    }
}

/// A member and how far it has been read.
struct Member {
    channel: Channel,
    next: u64,
    head: Option<Head>,
}

impl Member {
    /// What it has recorded since the last look.
    async fn rest(&mut self) -> anyhow::Result<Vec<Event>> {
        let mut all: Vec<Event> = Vec::new();
        let mut gone = 0;
        for _ in 0..PAGES_MAX {
            let (head, events) = self.page().await?;
            let is_new = self.head.as_ref().is_some_and(|known| known.began != head.began);
            self.head = Some(head);
            if is_new {
                self.next = 1; // Another process, whose numbers begin anew.
                continue;
            }
            let full = events.len() >= PAGE_EVENTS_MAX;
            for event in events {
                gone += event.n.saturating_sub(self.next);
                self.next = event.n.saturating_add(1);
                all.push(event);
            }
            if !full {
                break;
            }
        }
        if gone > 0 {
            let endpoint = self.channel.authority();
            eprintln!("quorate trace: {endpoint}: {gone} events are not recorded any more");
        }
        Ok(all)
    }

    async fn page(&self) -> anyhow::Result<(Head, Vec<Event>)> {
        let endpoint = self.channel.authority();
        let target = format!("/debug/trace?from={}&max={PAGE_EVENTS_MAX}", self.next);
        let answer = tokio::time::timeout(PAGE_WAIT, self.channel.get(&target)).await;
        let (code, page) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => bail!("{endpoint}: {failure}"),
            Err(_) => bail!("{endpoint}: no answer within {} s", PAGE_WAIT.as_secs()),
        };
        let text = std::str::from_utf8(&page).with_context(|| format!("{endpoint}: no trace"))?;
        ensure!(code == 200, "{endpoint}: {}", text.trim_end());
        trace::read(text).with_context(|| format!("{endpoint}: no trace"))
    }
}
