//! How long peers may take: resets and refused connections end a wait at once; these bound
//! everything else.

use std::time::Duration;

/// Longest pause between two attempts to reach a peer.
pub const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// First pause; it doubles.
pub const RECONNECT_MIN: Duration = Duration::from_millis(10);
/// A dial or handshake that takes longer has failed; a member that is waited for is asked at
/// its next URL after an election timeout already.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// With election timeouts below this, a handshake gets this long all the same.
pub const HANDSHAKE_MIN: Duration = Duration::from_millis(500);
/// Silence after which the kernel asks whether the other machine is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A peer that takes no byte for this long is disconnected.
pub const STALL_MAX: Duration = Duration::from_secs(5);
/// Writing, syncing and loading a large checkpoint takes the receiver this long at most; it
/// gives signs of life meanwhile.
pub const BULK_STALL_MAX: Duration = Duration::from_secs(600);
/// Signs of life of a receiver that is busy with a checkpoint.
pub const SIGN_INTERVAL: Duration = Duration::from_secs(1);
