//! What all client connections of a member share, and how they come and go.

use super::limits::{LATE_OPENING_MAX, Limits, OPENING_MAX};
use super::premises::Premises;
use super::service::Service;
use super::vitals::KeepAlive;
use super::{connection, http1};
use base::limits::KERNEL_UNSENT_BYTES_MAX;
use std::cell::Cell;
use std::io::Result;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Idle time after which the kernel asks a client's machine for a sign of life, as etcd has it.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
const TCP_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const TCP_KEEP_ALIVE_PROBES: u32 = 3;
/// Time sent bytes may stay without the other machine taking them, at most.
const UNTAKEN_MAX: Duration = Duration::from_secs(30);

/// The client side of one member. Everything runs on one thread, inside a `LocalSet`.
pub struct Server {
    premises: Premises,
    /// Listeners too.
    connections: watch::Sender<usize>,
    ticking: Cell<bool>,
    /// For connections that may still come.
    places: Arc<Semaphore>,
}

impl Server {
    pub fn new(service: Rc<dyn Service>, limits: Limits, keep_alive: KeepAlive) -> Rc<Self> {
        Rc::new(Self {
            premises: Premises::new(service, limits, keep_alive),
            connections: watch::Sender::new(0),
            ticking: Cell::new(false),
            places: Arc::new(Semaphore::new(places(limits.connections_max))),
        })
    }

    /// Accepts connections until the member stops.
    pub async fn serve(self: Rc<Self>, listener: TcpListener) {
        if !self.ticking.replace(true) {
            tokio::task::spawn_local(Rc::clone(&self.premises.pulse).run());
        }
        let counted = Rc::clone(&self);
        let _counted = counted.counted();
        let mut stopping = self.premises.stopping();
        loop {
            let place = tokio::select! {
                biased;
                place = self.place() => place,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                // Who was in the queue has been taken out of it: closing it would cut them off.
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match accepted {
                Ok((socket, _)) => {
                    let served = Rc::clone(&self).serve_socket(socket);
                    tokio::task::spawn_local(async move {
                        let _place = place;
                        served.await;
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: let some close instead of spinning.
                    tracing::warn!(%error, "cannot accept a client connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// For the next connection. Beyond the bound they wait unaccepted, as with etcd: a member
    /// without descriptors could neither hear its peers nor write its journal.
    async fn place(&self) -> OwnedSemaphorePermit {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return place;
        }
        tracing::warn!("no more client connections are accepted until some have ended");
        places.acquire_owned().await.expect("it is never closed")
    }

    /// Serves one client connection until it ends.
    pub async fn serve_socket(self: Rc<Self>, socket: TcpStream) {
        let peer = socket.peer_addr().ok();
        let counted = self.counted();
        if let Err(error) = self.serve_protocol(socket).await {
            tracing::info!(?peer, error, "client connection closed");
        }
        drop(counted);
    }

    async fn serve_protocol(&self, socket: TcpStream) -> std::result::Result<(), String> {
        if self.prepare(&socket).is_err() {
            return Ok(()); // it has gone already
        }
        let patience = if self.premises.is_stopping() { LATE_OPENING_MAX } else { OPENING_MAX };
        let mut stopping = self.premises.stopping();
        let sniffed = tokio::select! {
            sniffed = timeout(patience, sniff(&socket)) => sniffed.unwrap_or(Ok(None)),
            () = late(&mut stopping) => Ok(None),
        };
        match sniffed {
            Ok(Some(Protocol::Http2)) => connection::run(socket, &self.premises).await,
            Ok(Some(Protocol::Http1)) => http1::run(socket, &self.premises, stopping).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Small answers leave at once, a machine that has gone is noticed, and the kernel queues
    /// little for a client that does not read.
    fn prepare(&self, socket: &TcpStream) -> Result<()> {
        let KeepAlive { interval, timeout, .. } = self.premises.keep_alive;
        let idle = if interval.is_zero() { TCP_KEEP_ALIVE } else { TCP_KEEP_ALIVE.min(interval) };
        let probes = socket2::TcpKeepalive::new()
            .with_time(idle.max(Duration::from_secs(1)))
            .with_interval(TCP_KEEP_ALIVE_INTERVAL)
            .with_retries(TCP_KEEP_ALIVE_PROBES);
        socket.set_nodelay(true)?;
        let socket = socket2::SockRef::from(socket);
        socket.set_tcp_keepalive(&probes)?;
        let untaken = interval.saturating_add(timeout).clamp(Duration::from_secs(5), UNTAKEN_MAX);
        // Refinements: a kernel without them serves all the same.
        let _ = socket.set_tcp_user_timeout(Some(untaken));
        let _ = socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES_MAX);
        Ok(())
    }

    /// Takes no new connection, tells every client to go elsewhere, ends streams, and closes each
    /// connection once its calls are answered.
    pub fn stop(&self) {
        self.premises.stop();
    }

    fn counted(&self) -> Counted<'_> {
        self.connections.send_modify(|n| *n += 1);
        Counted(&self.connections)
    }

    /// Listeners and connections there are.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Bytes that were answered to clients which have not taken them yet.
    pub fn unsent(&self) -> usize {
        self.premises.unsent.unsent()
    }

    /// Bytes of requests that are under way: begun, or whole and not answered.
    pub fn requested(&self) -> usize {
        self.premises.requests.bytes()
    }

    /// Bytes of long answers that are written as clients take them, as far as they are counted.
    pub fn owed(&self) -> usize {
        self.premises.unsent.owed()
    }

    /// Resolves when no listener and no connection is left.
    pub async fn closed(&self) {
        let mut connections = self.connections.subscribe();
        // The sender is part of `self`.
        let _ = connections.wait_for(|n| *n == 0).await;
    }
}

/// A while after the stop began.
async fn late(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
    tokio::time::sleep(LATE_OPENING_MAX).await;
}

/// Descriptors that clients never get: etcd's number (`embed/etcd.go`, `reservedInternalFDNum`).
const RESERVED_DESCRIPTORS: usize = 150;

/// Connections there may be in this process.
fn places(connections_max: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = descriptors(&limits).map_or(usize::MAX, |n| n.saturating_sub(RESERVED_DESCRIPTORS));
    connections_max.min(files).max(1)
}

/// How many files the process may open, as Linux has it; other systems have no such file.
fn descriptors(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

struct Counted<'a>(&'a watch::Sender<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

enum Protocol {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them. No HTTP/1.1 method starts with `PRI `.
async fn sniff(socket: &TcpStream) -> Result<Option<Protocol>> {
    const PREFACE: &[u8; 4] = b"PRI ";
    const TRIES_MAX: u32 = 5_000;
    for _ in 0..TRIES_MAX {
        let mut first = [0_u8; PREFACE.len()];
        let got = socket.peek(&mut first).await?;
        if got == 0 {
            return Ok(None);
        }
        if first[..got] != PREFACE[..got] {
            return Ok(Some(Protocol::Http1));
        }
        if got == PREFACE.len() {
            return Ok(Some(Protocol::Http2));
        }
        // A peer that sends the preface byte by byte: peek returns at once, so wait by time.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_some_descriptors_to_the_rest_of_the_member() {
        let text = "Max processes  9  9  processes\nMax open files   1024   524288   files\n";
        assert_eq!(descriptors(text), Some(1024));
        assert_eq!(descriptors("Max open files   unlimited   unlimited   files"), None);
        assert_eq!((descriptors(""), places(7)), (None, 7));
    }
}
