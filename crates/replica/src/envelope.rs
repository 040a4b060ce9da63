//! What a data entry of the log holds: who asked, when the leader took it, and the command.

use base::codec::{DecodeError, Fill, Get, Put, PutAll as _, blob};
use base::{Blob, ClusterTime, RequestId};
use mvcc::Caller;

/// Since 2 there is a caller.
const VERSION: u8 = 2;
/// The apply level that this build writes and applies; any other one is refused by name, so that a
/// rolling upgrade never lets two members apply one entry differently. Since 2 the alarms that
/// clients raise and the quota's own are apart; since 3 the chain hash takes a digest that grows
/// with the work, and a removal counts events. `docs/design/apply.md` has them all.
pub const APPLY_LEVEL: u16 = 4;

/// One replicated request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Who asked, and as its which request; sequence 0 is the leader's own.
    pub id: RequestId,
    /// The leader's cluster time when it took the request.
    pub stamp: ClusterTime,
    /// On whose behalf.
    pub caller: Caller,
    /// What for.
    pub body: EnvelopeBody<'a>,
}

/// What an entry asks of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeBody<'a> {
    /// An encoded `mvcc::Command`.
    Command(&'a [u8]),
    /// Only moves cluster time, so that leases age the same under the next leader.
    Mark,
}

/// What stands before a command.
type Head<'a> = (RequestId, ClusterTime, &'a Caller);

fn head_len((_, _, caller): Head<'_>) -> usize {
    48 + caller.user().len()
}

fn put_head((id, stamp, caller): Head<'_>, is_mark: bool, out: &mut Fill<'_>) {
    out.put_u8(VERSION);
    out.put_u16(APPLY_LEVEL);
    out.put_u8(u8::from(is_mark));
    out.put_request_id(id);
    out.put_u64(stamp.0);
    caller.encode(out);
}

impl Envelope<'_> {
    /// A version, the apply level, a kind, id, stamp and caller, then the command to the end.
    pub fn encode(&self) -> Blob {
        let of = (self.id, self.stamp, &self.caller);
        let out = match self.body {
            EnvelopeBody::Command(bytes) => {
                Self::of_command(of, bytes.len(), |out| out.put_all(bytes))
            }
            EnvelopeBody::Mark => blob(head_len(of), |out| put_head(of, true, out)),
        };
        debug_assert_eq!(Envelope::decode(&out).as_ref(), Ok(self), "it reads back");
        out
    }

    /// The same of a command of `len` bytes that `write` puts where it stays.
    pub(crate) fn of_command(of: Head<'_>, len: usize, write: impl FnOnce(&mut Fill<'_>)) -> Blob {
        blob(head_len(of) + len, |out| {
            put_head(of, false, out);
            write(out);
        })
    }
}

impl<'a> Envelope<'a> {
    /// What [`Envelope::encode`] wrote; the command is borrowed, and not looked at.
    ///
    /// # Errors
    /// Another version or apply level, short bytes, a mark with a command.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(payload);
        let version = u64::from(get.u8()?);
        if version != u64::from(VERSION) {
            return Err(DecodeError::Unknown { what: "entry version", value: version });
        }
        let level = get.u16()?;
        if level != APPLY_LEVEL {
            return Err(DecodeError::Unknown { what: "apply level", value: u64::from(level) });
        }
        let kind = get.u8()?;
        let id = get.request_id()?;
        let stamp = ClusterTime(get.u64()?);
        let caller = Caller::decode(&mut get)?;
        let rest = get.take(get.remaining())?;
        let body = match kind {
            0 => EnvelopeBody::Command(rest),
            1 if rest.is_empty() => EnvelopeBody::Mark,
            1 => return Err(DecodeError::Trailing),
            _ => return Err(DecodeError::Unknown { what: "entry kind", value: u64::from(kind) }),
        };
        Ok(Self { id, stamp, caller, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn encoded(body: EnvelopeBody<'_>) -> Vec<u8> {
        let caller = Caller::new(Blob::from(&b"root"[..]), 9).expect("short");
        let id = RequestId { seq: 3, ..RequestId::default() };
        Envelope { id, stamp: ClusterTime(5), caller, body }.encode().to_vec()
    }

    #[test]
    fn a_version_a_level_a_kind_and_a_mark_with_words_are_refused_by_name() {
        let (command, mark) = (encoded(EnvelopeBody::Command(b"abc")), encoded(EnvelopeBody::Mark));
        assert_eq!(command[..4], [VERSION, 4, 0, 0]);
        assert_eq!(Envelope::decode(&command).expect("own").body, EnvelopeBody::Command(b"abc"));
        assert_eq!(Envelope::decode(&mark).expect("own").body, EnvelopeBody::Mark);
        let with = |at: usize, byte: u8| {
            let mut bytes = command.clone();
            bytes[at] = byte;
            Envelope::decode(&bytes).expect_err("nobody writes that")
        };
        let unknown = |what, value| DecodeError::Unknown { what, value };
        assert_eq!(with(0, 1), unknown("entry version", 1));
        assert_eq!(with(1, 3), unknown("apply level", 3));
        assert_eq!(with(3, 2), unknown("entry kind", 2));
        assert_eq!(with(3, 1), DecodeError::Trailing);
    }
}
