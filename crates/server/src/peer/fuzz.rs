//! Whatever arrives on the peer port, decoding it gives a value or an error, never a panic.

use super::frame::{self, Kind};
use base::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use base::{Blob, Incarnation, LogIndex, NodeId, RequestId};
use bytes::BytesMut;
use member::checkpoints::decode_offer;
use member::{Hello, join};
use proptest::prelude::*;
use replica::{Forwarded, PeerBody, PeerMessage};

/// Everything that is ever done with bytes of a stranger.
fn digest(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some((_, body))) = frame::decode(&mut buffer, FRAME_BYTES_MAX) {
        payload(&body);
    }
    payload(bytes);
}

fn payload(bytes: &[u8]) {
    let _ = Hello::decode(bytes);
    let _ = decode_offer(bytes);
    let _ = join::Ask::decode(bytes);
    let _ = join::decode_answer(bytes);
    if let Ok(message) = PeerMessage::decode(bytes) {
        let mut again = Vec::new();
        message.encode(&mut again);
        let back = PeerMessage::decode(&again);
        assert_eq!(back, Ok(message), "what was read is written back readable");
    }
}

fn messages() -> Vec<Vec<u8>> {
    let id = RequestId { origin: NodeId(1), incarnation: Incarnation(2), seq: 3 };
    let caller = mvcc::Caller::new(Blob::from(&b"root"[..]), 3).expect("short");
    let forwarded = |command: Vec<u8>| {
        let (caller, command) = (caller.clone(), Blob::from(command));
        Forwarded { id, caller, command }
    };
    let bodies = [
        PeerBody::Forward(vec![forwarded(vec![1; 40]), forwarded(vec![])]),
        PeerBody::Removed,
        PeerBody::StateHash { index: LogIndex(7), chain: 8 },
    ];
    let encode = |body| {
        let mut out = Vec::new();
        let message = PeerMessage { from: NodeId(1), to: NodeId(2), body };
        frame::encode(Kind::Message, &mut out, |out| message.encode(out));
        out
    };
    bodies.into_iter().map(encode).collect()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        digest(&bytes);
    }

    /// Behind a right checksum nonsense comes further.
    #[test]
    fn arbitrary_payloads_in_sound_frames_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        version in 0u8..3,
        kind in 0u8..6,
    ) {
        let mut out = Vec::new();
        frame::encode(Kind::Message, &mut out, |out| {
            out.push(version);
            out.extend_from_slice(&[0; 16]);
            out.push(kind);
            out.extend_from_slice(&bytes);
        });
        digest(&out);
    }

    #[test]
    fn damaged_messages_never_panic(
        which in 0usize..3,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = messages().swap_remove(which);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        digest(&bytes);
        // Past the frame's own checks, too.
        payload(&bytes[10..]);
        payload(&bytes[10..10 + cut.index(bytes.len() - 10)]);
    }
}

#[test]
fn a_stranger_cannot_make_the_member_hold_a_large_frame() {
    let mut buffer = BytesMut::new();
    buffer.extend_from_slice(&(HELLO_BYTES_MAX as u32 + 1).to_le_bytes());
    buffer.extend_from_slice(&[0; 8]);
    let before = buffer.capacity();
    assert!(frame::decode(&mut buffer, HELLO_BYTES_MAX).is_err());
    assert_eq!(buffer.capacity(), before, "nothing was reserved for it");
}
