//! The recorder's thread.

use super::Recording;
use base::{Nanos, NodeId};
use cluster::{Configuration, label};
use replica::TraceEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use trace::{Event, Ring, What};

/// Whoever listens to events as they come, on the recorder's thread.
pub type TraceSink = Box<dyn Fn(&Event) + Send>;

/// Room for so many events, none for 0.
pub(super) fn ring(events_max: usize) -> Option<Ring> {
    (events_max > 0).then(|| Ring::new(events_max))
}

/// What the voter hands over; `lost` events before it were dropped.
pub(super) enum Handed {
    Said { lost: u64, config: Option<Box<Configuration>>, events: Vec<TraceEvent> },
    Did { lost: u64, at: Nanos, what: What },
    Keep(usize),
    Listen(TraceSink),
}

pub(super) struct Recorder {
    recording: Arc<Recording>,
    name: String,
    config: Option<Box<Configuration>>,
    /// What was told of it last.
    known: Option<What>,
    /// The one before: what a step says may still be of who is in it.
    before: Option<Box<Configuration>>,
    sinks: Vec<TraceSink>,
    queued: Arc<AtomicUsize>,
    /// When the last event was.
    at: Nanos,
    /// The number of the last event, for the sinks.
    told: u64,
}

impl Recorder {
    pub(super) fn new(recording: Arc<Recording>, name: String, queued: Arc<AtomicUsize>) -> Self {
        let (config, before, sinks, at) = (None, None, Vec::new(), Nanos::ZERO);
        Self { recording, name, config, known: None, before, sinks, queued, at, told: 0 }
    }

    pub(super) fn run(mut self, handed: &Receiver<Handed>) {
        while let Ok(handed) = handed.recv() {
            match handed {
                Handed::Said { lost, config, events } => self.said(lost, config, events),
                Handed::Did { lost, at, what } => {
                    self.record(lost, vec![self.event(at, what)]);
                    self.queued.fetch_sub(1, Ordering::Relaxed);
                }
                Handed::Keep(events_max) => {
                    let old = std::mem::replace(&mut *self.recording.ring(), ring(events_max));
                    drop(old);
                    self.tell_config();
                }
                Handed::Listen(sink) => self.listen(sink),
            }
        }
    }

    /// A listener hears first what is kept: a lone member elects itself before anybody listens.
    fn listen(&mut self, sink: TraceSink) {
        let page = self.recording.ring().as_ref().map(|ring| ring.page(1, usize::MAX));
        let page = page.unwrap_or_default();
        for event in &page.events {
            // As those are numbered that follow.
            sink(&Event {
                n: (event.n + self.told + 1).saturating_sub(page.next),
                ..event.clone()
            });
        }
        self.sinks.push(sink);
        if page.events.is_empty() {
            self.tell_config();
        }
    }

    fn said(&mut self, lost: u64, config: Option<Box<Configuration>>, said: Vec<TraceEvent>) {
        let mut events = Vec::with_capacity(said.len() + 1);
        if let Some(config) = config {
            let at = said.first().map_or(Nanos::ZERO, |event| event.at);
            // Most that changes a configuration changes nothing that is told.
            let what = trace::config(&config);
            if self.known.as_ref() != Some(&what) {
                events.push(self.event(at, what.clone()));
                self.known = Some(what);
            }
            self.before = self.config.replace(config);
        }
        let name = |id| self.name_of(id);
        let what = |event: &TraceEvent| self.event(event.at, trace::product(&event.kind, &name));
        events.extend(said.iter().map(what));
        self.record(lost, events);
        self.queued.fetch_sub(said.len(), Ordering::Relaxed);
    }

    /// Whoever is new needs to know what the sets in what follows are of.
    fn tell_config(&mut self) {
        if let Some(config) = &self.config {
            let event = self.event(self.at, trace::config(config));
            self.record(0, vec![event]);
        }
    }

    fn record(&mut self, lost: u64, events: Vec<Event>) {
        self.at = events.last().map_or(self.at, |event| Nanos(event.at));
        self.recording.recorded.add(events.len() as u64);
        self.told += lost;
        for event in &events {
            self.told += 1;
            if !self.sinks.is_empty() {
                let event = Event { n: self.told, ..event.clone() };
                self.sinks.iter().for_each(|sink| sink(&event));
            }
        }
        if let Some(ring) = &mut *self.recording.ring() {
            ring.lose(lost);
            events.into_iter().for_each(|event| ring.push(event));
        }
    }

    fn event(&self, at: Nanos, what: What) -> Event {
        Event { n: 0, at: at.0, node: Some(self.name.clone()), what }
    }

    fn name_of(&self, id: NodeId) -> String {
        let configs = [&self.config, &self.before];
        let member = configs.into_iter().flatten().find_map(|config| config.member(id));
        member.map_or_else(|| label(id), |member| member.name.clone())
    }
}
