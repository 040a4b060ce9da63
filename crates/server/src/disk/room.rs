//! How much room is left on the disk of the data, looked at by a thread of its own.

use super::Place;
use crate::jobs::Thread;
use member::room::{Free, LOOK_INTERVAL};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use store::{StoreError, StoreErrorKind};

/// Bytes that are kept for the small files of a member.
pub(super) const RESERVE_BYTES: usize = 1 << 20;

/// What is known of it; for any thread.
#[derive(Debug, Default)]
pub struct Room {
    is_low: AtomicBool,
    /// The journal waits for room.
    is_stuck: AtomicBool,
    /// A merge found none, or a checkpoint.
    merge_wants: AtomicBool,
    checkpoint_wants: AtomicBool,
    free_bytes: AtomicU64,
}

impl Room {
    /// Whether what grows is to be refused.
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed) || self.is_stuck()
    }

    /// Whether the journal waits for room.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Whether the journal is to give up what it has made ahead.
    pub fn is_wanted(&self) -> bool {
        self.merge_wants.load(Ordering::Relaxed) || self.checkpoint_wants.load(Ordering::Relaxed)
    }

    /// The journal waits for room, or does no longer; whether that is news.
    pub fn stuck(&self, is_stuck: bool) -> bool {
        self.is_stuck.swap(is_stuck, Ordering::Relaxed) != is_stuck
    }

    /// What came of a merge.
    pub fn merged<T>(&self, done: &Result<T, StoreError>) {
        self.merge_wants.store(is_full(done), Ordering::Relaxed);
    }

    /// What came of a checkpoint.
    pub fn saved<T>(&self, done: &Result<T, StoreError>) {
        self.checkpoint_wants.store(is_full(done), Ordering::Relaxed);
    }

    /// At the last look.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }
}

fn is_full<T>(done: &Result<T, StoreError>) -> bool {
    done.as_ref().is_err_and(|error| error.kind == StoreErrorKind::NoRoom)
}

/// The member's end of the thread that looks.
pub struct Watch {
    /// With it the thread ends.
    _thread: Thread<()>,
}

impl Watch {
    /// Below `least` free bytes, or a default, a disk is low.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(place: Place, room: Arc<Room>, least: Option<u64>) -> io::Result<Self> {
        let pause = Duration::from_nanos(LOOK_INTERVAL.0);
        Thread::start(|queue: Receiver<()>| {
            crate::aside::spawn("quorate-room", move || {
                while queue.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    look(&place, &room, least);
                }
            })
        })
        .map(|_thread| Self { _thread })
    }
}

fn look(place: &Place, room: &Room, least: Option<u64>) {
    let was_low = room.is_low.load(Ordering::Relaxed);
    let is_low = match place.free() {
        Ok(free) => {
            room.free_bytes.store(free.bytes, Ordering::Relaxed);
            free.is_low(least, was_low)
        }
        // Nobody can say; a write that finds no room does.
        Err(_) => false,
    };
    room.is_low.store(is_low, Ordering::Relaxed);
    if is_low != was_low {
        let free = room.free_bytes();
        if is_low {
            tracing::error!("the disk is low: {free} bytes are free (--min-free-bytes)");
        } else {
            tracing::info!("the disk has room again: {free} bytes are free");
        }
    }
    // Never of the last bytes, which others wait for.
    let has_room = room.free_bytes() > 2 * RESERVE_BYTES as u64 && !room.is_wanted();
    if !room.is_low()
        && has_room
        && let Ok(mut root) = place.disk("")
    {
        // It is tried again at the next look.
        let _ = store::keep_reserve(root.as_mut(), RESERVE_BYTES);
    }
}

/// Bytes free of the file system that a directory is on.
pub(super) fn free(dir: &std::path::Path) -> io::Result<Free> {
    let (bytes, of) = wal::free_bytes(dir)?;
    Ok(Free { bytes, of })
}
