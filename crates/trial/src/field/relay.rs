//! A TCP relay whose connections can be frozen: they stay open and deliver nothing more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

const CHUNK_BYTES: usize = 64 << 10;

/// Listens on one port and carries to another, until its runtime ends.
pub struct Relay {
    pub port: u16,
    /// Connections with a smaller number are frozen.
    frozen_below: watch::Sender<u64>,
    made: Arc<AtomicU64>,
}

impl Relay {
    pub fn start(handle: &Handle, port: u16, to: u16) -> Result<Self> {
        let here = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = std::net::TcpListener::bind(here).with_context(|| here.to_string())?;
        listener.set_nonblocking(true)?;
        let _entered = handle.enter();
        let listener = TcpListener::from_std(listener)?;
        let (frozen_below, frozen) = watch::channel(0);
        let made = Arc::new(AtomicU64::new(0));
        handle.spawn(accept(listener, to, frozen, Arc::clone(&made)));
        Ok(Self { port, frozen_below, made })
    }

    /// Freezes every connection there is; new ones pass.
    pub fn freeze(&self) {
        self.frozen_below.send_replace(self.made());
    }

    /// Connections made so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    to: u16,
    frozen: watch::Receiver<u64>,
    made: Arc<AtomicU64>,
) {
    while let Ok((dialer, _)) = listener.accept().await {
        let number = made.fetch_add(1, Ordering::SeqCst);
        let frozen = frozen.clone();
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await {
                carry(dialer, server, number, frozen).await;
            }
        });
    }
}

/// Ends with either end; frozen, it reads nothing and waits for the server to reset.
async fn carry(dialer: TcpStream, server: TcpStream, number: u64, frozen: watch::Receiver<u64>) {
    let _ = (dialer.set_nodelay(true), server.set_nodelay(true));
    let (mut from_dialer, mut to_dialer) = dialer.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (up, down) = (frozen.clone(), frozen.clone());
    tokio::select! {
        () = pump(&mut from_dialer, &mut to_server, number, up) => {}
        () = pump(&mut from_server, &mut to_dialer, number, down) => {}
    }
    if *frozen.borrow() > number {
        // Open and never read again: what is sent fills the sockets, as of a vanished machine.
        std::future::pending::<()>().await;
    }
}

/// Moves bytes until the connection ends or is frozen. A freeze goes first: what comes after it
/// must not pass because both were found ready at once.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    number: u64,
    mut frozen: watch::Receiver<u64>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = tokio::select! {
            biased;
            _ = frozen.wait_for(|below| *below > number) => return,
            read = from.read(&mut buffer) => match read { Ok(count @ 1..) => count, _ => return },
        };
        tokio::select! {
            biased;
            _ = frozen.wait_for(|below| *below > number) => return,
            wrote = to.write_all(&buffer[..count]) => if wrote.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Longer than anything takes on a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Long enough to see that nothing comes.
    const QUIET: Duration = Duration::from_millis(50);

    #[test]
    fn frozen_connections_deliver_nothing_and_new_ones_pass() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = crate::cluster::free_ports(1).expect("a port")[0];
        let stage = crate::field::stage::Stage::new("relay", crate::cluster::Program::Etcd);
        let stage = stage.expect("a stage");
        let to = server.local_addr().expect("bound").port();
        let relay = Relay::start(stage.handle(), port, to).expect("starts");
        let pair = || {
            let mut dialer = TcpStream::connect(("127.0.0.1", port)).expect("connects");
            let (mut end, _) = server.accept().expect("accepts");
            end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            dialer.write_all(b"a").expect("sent");
            end.read_exact(&mut [0]).expect("passes");
            (dialer, end)
        };
        let (mut dialer, mut end) = pair();
        relay.freeze();
        dialer.write_all(b"b").expect("sent");
        end.set_read_timeout(Some(QUIET)).expect("a timeout");
        let kind = end.read(&mut [0]).expect_err("nothing comes").kind();
        assert_eq!(kind, std::io::ErrorKind::WouldBlock);
        pair();
        assert_eq!(relay.made(), 2);
    }
}
