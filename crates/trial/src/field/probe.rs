//! Puts without pause beside whatever else happens, and the longest time none was answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::etcdserverpb as pb;
use client::{Channel, method};

use super::asked::put;

/// Patience of a put: one that was lost with a leader is asked again soon.
const PUT_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);
/// Clients of each member: one waits in vain while the other is answered.
const EACH: usize = 2;
/// How long puts may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: Mutex<Vec<Instant>>,
}

/// Putting clients on a thread of their own; dropped, they stop.
pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Probe {
    /// Starts, and waits until puts are answered.
    pub fn start(endpoints: &[String]) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks: Vec<_> = endpoints
            .iter()
            .flat_map(|endpoint| (0..EACH).map(move |n| (n, Channel::new(endpoint))))
            .map(|(n, channel)| runtime.spawn(work(Arc::clone(&shared), n, channel)))
            .collect();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for task in tasks {
                    let _ = task.await;
                }
            });
        });
        let probe = Self { shared, thread: Some(thread) };
        let begun = super::stage::took(BEGIN_MAX, || !probe.answered().is_empty());
        begun.context("puts are not answered at all")?;
        Ok(probe)
    }

    /// The longest time without an answered put since `from`.
    pub fn gap(&self, from: Instant) -> Duration {
        let answered = self.answered();
        let first = answered.partition_point(|at| *at < from);
        let (mut last, mut longest) = (from, Duration::ZERO);
        for &at in &answered[first..] {
            longest = longest.max(at - last);
            last = at;
        }
        longest.max(last.elapsed())
    }

    /// Puts answered since `from`.
    pub fn count(&self, from: Instant) -> usize {
        let answered = self.answered();
        answered.len() - answered.partition_point(|at| *at < from)
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.shared.answered.lock().expect("no holder panics")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn work(shared: Arc<Shared>, n: usize, channel: Channel) {
    let request = put(&format!("probe/{n}"), vec![b'x'; 64]);
    while !shared.stop.load(Ordering::Relaxed) {
        let answer: Result<pb::PutResponse, _> =
            channel.call_within(PUT_MAX, method::kv::PUT, &request).await;
        if answer.is_ok() {
            shared.answered.lock().expect("no holder panics").push(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
