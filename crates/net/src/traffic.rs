//! What a client's frames say about the client itself, counted as they pass.

use std::cell::Cell;

const TYPE_RST_STREAM: u8 = 3;
const TYPE_PING: u8 = 6;
const FLAG_ACK: u8 = 1;

/// Counts of one connection since its start.
#[derive(Default)]
pub(super) struct Traffic {
    pub read_bytes: Cell<u64>,
    /// Calls the client took back, before or after they were looked at.
    pub resets: Cell<u64>,
    /// Pings that want an answer.
    pub pings: Cell<u64>,
    /// Enough was read in this turn; nothing more is, until the connection's next.
    pub paused: Cell<bool>,
    /// What still comes is to be read and dropped after the end.
    pub unheard: Cell<bool>,
    /// The connection ends without waiting for the client to take what it was sent.
    pub abandoned: Cell<bool>,
}

impl Traffic {
    pub(super) fn read(&self, n: usize) {
        self.read_bytes.set(self.read_bytes.get() + n as u64);
    }

    /// Notes a frame by its head.
    pub(super) fn frame(&self, kind: u8, flags: u8) {
        let counter = match kind {
            TYPE_RST_STREAM => &self.resets,
            TYPE_PING if flags & FLAG_ACK == 0 => &self.pings,
            _ => return,
        };
        counter.set(counter.get() + 1);
    }
}
