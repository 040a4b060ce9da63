//! A write on its way to a log: decoded, so that whoever applies it here need not read it again.

use crate::Forwarded;
use crate::envelope::Envelope;
use base::codec::{Get, Length, PutAll as _, blob};
use base::limits::{COMMAND_BYTES_MAX, COMMAND_OVERHEAD_BYTES};
use base::{Blob, ClusterTime, NodeId, RequestId};
use mvcc::{Caller, Command};

/// One write.
pub(crate) struct Taken {
    pub id: RequestId,
    pub caller: Caller,
    pub command: Command,
    /// Of the encoded command.
    pub bytes: usize,
    /// As its origin encoded it, if that was another member.
    encoded: Option<Blob>,
}

/// Bytes of a command as the log has it.
pub(crate) fn encoded_len(command: &Command) -> usize {
    let mut len = Length::default();
    command.encode(&mut len);
    len.0
}

impl Taken {
    /// Of this member.
    pub fn own(id: RequestId, caller: Caller, command: Command, bytes: usize) -> Self {
        assert!(id.seq > 0, "sequence 0 is the machine's own");
        debug_assert_eq!(bytes, encoded_len(&command), "the length is the command's");
        Self { id, caller, command, bytes, encoded: None }
    }

    /// Forwarded by `from`; none for what must never reach the log, such as an encoding that this
    /// build cannot read.
    pub fn forwarded(from: NodeId, Forwarded { id, caller, command }: Forwarded) -> Option<Self> {
        let bytes = command.len();
        let fits = id.seq > 0 && id.origin == from && bytes <= COMMAND_BYTES_MAX;
        let read = Command::decode(&mut Get::new(&command)).ok().filter(|_| fits)?;
        Some(Self { id, caller, command: read, bytes, encoded: Some(command) })
    }

    /// Bytes that it takes in a frame or a batch.
    pub fn size(&self) -> usize {
        COMMAND_OVERHEAD_BYTES + self.caller.user().len() + self.bytes
    }

    /// For another member.
    pub fn forward(self) -> Forwarded {
        let Self { id, caller, command, bytes, encoded } = self;
        let command = encoded.unwrap_or_else(|| blob(bytes, |out| command.encode(out)));
        Forwarded { id, caller, command }
    }

    /// As an entry of the log.
    pub fn payload(&self, stamp: ClusterTime) -> Blob {
        assert!(self.bytes <= COMMAND_BYTES_MAX, "what is longer was refused where it came in");
        let of = (self.id, stamp, &self.caller);
        match &self.encoded {
            Some(encoded) => Envelope::of_command(of, self.bytes, |out| out.put_all(encoded)),
            None => Envelope::of_command(of, self.bytes, |out| self.command.encode(out)),
        }
    }
}

#[cfg(test)]
impl Taken {
    /// One that says it is so long.
    pub fn of_size(caller: Caller, bytes: usize) -> Self {
        let command = Command::Compact { revision: 1 };
        Self { id: RequestId::default(), caller, command, bytes, encoded: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use mvcc::PutRequest;

    fn own(id: RequestId, command: &Command) -> Taken {
        let caller = Caller::new(Blob::from(&b"root"[..]), 7).expect("short");
        Taken::own(id, caller, command.clone(), encoded_len(command))
    }

    #[test]
    fn a_write_is_the_same_entry_by_whatever_member_it_came() {
        let value = Blob::from(vec![3; 999]);
        let put = Command::Put(PutRequest { value, ..PutRequest::default() });
        for command in [put, Command::LeaseRenew { ids: vec![1, 2] }] {
            let id = RequestId { origin: NodeId(4), seq: 9, ..RequestId::default() };
            let stamp = ClusterTime(5);
            let payload = own(id, &command).payload(stamp);
            let forward = own(id, &command).forward();
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            assert_eq!(*forward.command, bytes);
            let taken = Taken::forwarded(NodeId(4), forward.clone()).expect("it is whole");
            assert_eq!((&taken.command, taken.bytes), (&command, bytes.len()));
            assert_eq!(taken.size(), 44 + bytes.len());
            assert_eq!(taken.payload(stamp), payload);
            assert_eq!(taken.forward(), forward);
            let read = Envelope::decode(&payload).expect("its own");
            assert_eq!((read.id, read.stamp, read.caller), (id, stamp, forward.caller));
        }
    }

    #[test]
    fn what_must_never_reach_the_log_is_not_taken() {
        let id = RequestId { origin: NodeId(4), seq: 9, ..RequestId::default() };
        let good = own(id, &Command::Compact { revision: 1 }).forward();
        let takes =
            |from: u64, item: &Forwarded| Taken::forwarded(NodeId(from), item.clone()).is_some();
        assert!(takes(4, &good));
        assert!(!takes(5, &good), "of another member");
        let own = RequestId { seq: 0, ..id };
        assert!(!takes(4, &Forwarded { id: own, ..good.clone() }), "the machine's own");
        let short = Blob::from(&good.command[..3]);
        assert!(!takes(4, &Forwarded { command: short, ..good.clone() }), "unreadable");
        let value = Blob::from(vec![0; COMMAND_BYTES_MAX]);
        let long = Command::Put(PutRequest { value, ..PutRequest::default() });
        let command = blob(encoded_len(&long), |out| long.encode(out));
        assert!(!takes(4, &Forwarded { command, ..good }), "longer than any command may be");
    }
}
