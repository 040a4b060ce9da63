//! What clients may hold, and how long they may take to begin.

use base::limits::{CONNECTIONS_MAX, GRPC_OVERHEAD_BYTES, STREAMS_MAX};
use std::time::Duration;

/// Longest wait for a connection's greeting, and for each step of an HTTP/1.1 request; gRPC's own
/// servers wait as long. Half of one would hold a descriptor for ever.
pub(super) const OPENING_MAX: Duration = Duration::from_secs(120);

/// Time a connection that arrives while the member stops has for its greeting.
pub(super) const LATE_OPENING_MAX: Duration = Duration::from_secs(1);

/// Bounds of the client port; bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--max-request-bytes`: largest request that may be proposed.
    pub request_bytes_max: usize,
    /// Calls one client connection may have open; the oldest idle streams make room for more.
    pub streams_max: u32,
    /// Client connections there may be; a new one waits until another has gone.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (streams_max, connections_max) = (STREAMS_MAX, CONNECTIONS_MAX);
        Self { request_bytes_max: 3 * 512 * 1024, streams_max, connections_max }
    }
}

impl Limits {
    /// Largest message accepted at all.
    pub const fn message_bytes_max(&self) -> usize {
        self.request_bytes_max + GRPC_OVERHEAD_BYTES
    }
}
