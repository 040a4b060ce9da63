//! Beside a long entry: `/health` and serializable reads at every member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use api::etcdserverpb as pb;
use client::{Channel, method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::figures::{Sample, figures};
use super::probe::{EVERY, KEY, series};
use super::verdict::Reads;
use crate::beside::Beside;

/// Reads at every member on one thread; one of each kind every 50 ms.
pub struct Readers {
    stop: Arc<AtomicBool>,
    beside: Beside,
    /// By member.
    health: Vec<JoinHandle<Vec<Sample>>>,
    gets: Vec<JoinHandle<Vec<Sample>>>,
}

impl Readers {
    /// Starts them.
    ///
    /// # Errors
    /// No thread is left.
    pub fn start(endpoints: &[String]) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let beside = Beside::start()?;
        let health = |endpoint: &String| {
            let endpoint = endpoint.clone();
            let ask = move || is_healthy(endpoint.clone());
            beside.handle().spawn(series(EVERY, Arc::clone(&stop), ask))
        };
        let gets = |endpoint: &String| {
            let channel = Arc::new(Channel::new(endpoint));
            let ask = move || get(Arc::clone(&channel));
            beside.handle().spawn(series(EVERY, Arc::clone(&stop), ask))
        };
        let health = endpoints.iter().map(health).collect();
        let gets = endpoints.iter().map(gets).collect();
        Ok(Self { stop, beside, health, gets })
    }

    /// Stops, waits for what is open, and gives the health checks and the gets of a window.
    ///
    /// # Errors
    /// A reader that panicked.
    pub fn finish(self, leader: usize, from: Instant, until: Instant) -> Result<(Reads, Reads)> {
        self.stop.store(true, Ordering::Relaxed);
        let reads = |tasks: Vec<JoinHandle<Vec<Sample>>>| -> Result<Reads> {
            let (mut there, mut elsewhere) = (Vec::new(), Vec::new());
            for (at, task) in tasks.into_iter().enumerate() {
                let samples = self.beside.wait(task)?;
                if at == leader { there = samples } else { elsewhere.extend(samples) }
            }
            let (leader, others) = (figures(&there, from, until), figures(&elsewhere, from, until));
            Ok(Reads { leader, others })
        };
        Ok((reads(self.health)?, reads(self.gets)?))
    }
}

/// As a supervisor asks: a new connection each time.
async fn is_healthy(endpoint: String) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(&endpoint).await?;
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

async fn get(channel: Arc<Channel>) -> bool {
    let request = pb::RangeRequest { key: KEY.into(), serializable: true, ..Default::default() };
    let answer = channel.call::<pb::RangeResponse>(method::kv::RANGE, &request).await;
    answer.is_ok_and(|answer| answer.count == 1)
}
