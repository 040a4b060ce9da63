//! Checkpoints on their way to peers: one at a time to each, what a witness is sent, and whose
//! fault it is when one is not taken.

use crate::archive::Archive;
use crate::checkpoints::{self, Offered};
use crate::due::CheckpointState;
use base::NodeId;
use cluster::Compiled;
use std::collections::BTreeSet;
use store::{CheckpointFile, Home, StoreError};

/// Whom one is on its way to.
#[derive(Clone, Debug, Default)]
pub struct Transfers(BTreeSet<NodeId>);

/// One that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    pub to: NodeId,
    /// Without data, for a witness.
    hollow: bool,
    /// Checkpoints written here when it was begun, for [`CheckpointState::unfit`].
    pub written: u64,
}

impl Transfers {
    /// Begins one; none while another is on its way to that peer.
    pub fn begin(
        &mut self,
        to: NodeId,
        config: &Compiled,
        state: &CheckpointState,
    ) -> Option<Sending> {
        let hollow = config.is_witness(to);
        self.0.insert(to).then_some(Sending { to, hollow, written: state.written })
    }

    /// It came to its end, good or bad.
    pub fn end(&mut self, to: NodeId) {
        self.0.remove(&to);
    }
}

impl Sending {
    /// The newest checkpoint as that peer is to have it.
    ///
    /// # Errors
    /// As [`checkpoints::offer`]: then the file here is unfit.
    pub fn offer(&self, home: &dyn Home, archive: &Archive) -> Result<Offered, StoreError> {
        checkpoints::offer(home, self.hollow, archive)
    }

    /// After the peer could not verify what it was sent: it may have been wrong before it left.
    /// What is wrong with the file here, if that is it.
    pub fn look_again(
        &self,
        home: &dyn Home,
        offer: &CheckpointFile,
        archive: &Archive,
    ) -> Option<StoreError> {
        // A hollow one is made for the transfer.
        if self.hollow { None } else { checkpoints::load(home, offer, archive).err() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use crate::sample::configuration;
    use base::LogIndex;

    #[test]
    fn one_is_on_its_way_to_a_peer_at_a_time_and_says_how_many_were_written_before() {
        let config = configuration(&["a", "b", "c"], "majority(a, b, witness(c))");
        let config = config.compile().expect("safe");
        let mut state =
            CheckpointState::new(Policy { entries: 1, bytes_min: 1 }, LogIndex(0), 0, 9);
        let mut transfers = Transfers::default();
        let (a, b) = (NodeId(2), NodeId(3));
        let first = transfers.begin(a, &config, &state).expect("nothing is on its way");
        assert_eq!(first, Sending { to: a, hollow: false, written: 0 });
        assert!(transfers.begin(a, &config, &state).is_none());
        let witness = transfers.begin(b, &config, &state).expect("another peer");
        assert_eq!(witness, Sending { to: b, hollow: true, written: 0 });
        assert!(state.wants(LogIndex(5)));
        state.written(LogIndex(5), 1);
        transfers.end(a);
        assert_eq!(transfers.begin(a, &config, &state).map(|again| again.written), Some(1));
    }
}
