//! A planned stop, as the member decides it: carried out.

use super::input::Word;
use super::voter::Voter;
use base::Nanos;
use member::stop::Next;
use replica::Event;

impl Voter {
    /// Begins the stop; again it changes nothing.
    pub(super) fn begin_stop(&mut self, events: &mut Vec<Event>) {
        let grace = u64::try_from(self.config.stop_grace.as_nanos()).map_or(Nanos(u64::MAX), Nanos);
        let election = Nanos::from_millis(self.config.election_timeout_ms);
        let (now, leads) = (self.now(), self.replica.raft().is_leader());
        if self.stop.begin(now, grace, election, leads) {
            events.push(Event::TransferLeader { to: None });
        }
    }

    /// Takes the stop a step further; true when the member has to end.
    pub(super) fn go_on_with_stop(&mut self) -> bool {
        let raft = self.replica.raft();
        let leads_others = raft.config().members.len() > 1 && raft.is_leader();
        match self.stop.go_on(self.now(), leads_others) {
            Next::Wait => false,
            // Nobody at the desk: nobody to send away.
            Next::Drain => self.desk.send(Word::Drain).is_err(),
            Next::End => true,
        }
    }
}
