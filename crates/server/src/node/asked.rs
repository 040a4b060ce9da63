//! What clients asked for and no step has taken in yet, here or through a peer.

use super::input::{Asked, Input};
use base::Token;
use base::limits::STEP_OPERATIONS_MAX;
use replica::{Event, PeerBody};
use std::collections::VecDeque;
use std::time::Instant;

/// Bytes of a forwarded command that count as an operation.
const OPERATION_BYTES: usize = 64;

/// Operations, about, that a peer's clients ask for by this input.
fn forwarded(input: &Input) -> usize {
    let Input::Peer(message, _) = input else { return 0 };
    let PeerBody::Forward(writes) = &message.body else { return 0 };
    writes.iter().map(|write| 1 + write.command.len() / OPERATION_BYTES).sum()
}

/// What came in and is for this step or a later one, in order.
#[derive(Default)]
pub(super) struct Inputs {
    all: VecDeque<Input>,
    operations: usize,
}

impl Inputs {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes in what has arrived, and begins the share of a step.
    pub(super) fn begin(&mut self, arrived: &mut Vec<Input>) {
        self.all.extend(arrived.drain(..));
        self.operations = 0;
    }

    /// The next one, if this step may look at it.
    pub(super) fn next(&mut self) -> Option<Input> {
        if self.operations >= STEP_OPERATIONS_MAX {
            return None;
        }
        let input = self.all.pop_front()?;
        self.operations += forwarded(&input);
        Some(input)
    }
}

/// Requests in order; each step takes a share, so that none is long.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Asked>);

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, all: Vec<Asked>) {
        self.0.extend(all);
    }

    /// Adds what the next step looks at to `events`, and to `late` whose time has passed.
    pub(super) fn take(&mut self, now: Instant, events: &mut Vec<Event>, late: &mut Vec<Token>) {
        let mut operations = 0;
        while operations < STEP_OPERATIONS_MAX
            && let Some(Asked { event, late_at }) = self.0.pop_front()
        {
            if late_at.is_some_and(|at| at <= now) {
                late.extend(token_of(&event));
                continue;
            }
            operations += match &event {
                Event::Propose { command, .. } => command.operations(),
                _ => 1,
            };
            events.push(event);
        }
    }
}

fn token_of(event: &Event) -> Option<Token> {
    match event {
        Event::Propose { token, .. }
        | Event::ReadBarrier { token }
        | Event::Confirm { token }
        | Event::Change { token, .. } => Some(*token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::intake::Intake;
    use base::{Blob, Incarnation, NodeId, RequestId};
    use mvcc::{Caller, Command, PutRequest, RequestOp, TxnRequest};
    use replica::{Forwarded, PeerMessage};

    fn ask(token: u64, puts: usize, late_at: Option<Instant>) -> Asked {
        let put = || RequestOp::Put(PutRequest::default());
        let success = (1..puts).map(|_| put()).collect();
        let command = Command::Txn(TxnRequest { success, ..TxnRequest::default() });
        let caller = Caller::nobody();
        Asked { event: Event::Propose { token: Token(token), caller, command }, late_at }
    }

    #[test]
    fn a_step_takes_in_so_many_operations_and_one_request_and_the_rest_in_order() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let third = STEP_OPERATIONS_MAX / 3 + 1;
        let mut all: Vec<Asked> = (0..7).map(|token| ask(token, third, None)).collect();
        all.insert(1, ask(90, third, Some(now)));
        all.push(ask(91, 4 * STEP_OPERATIONS_MAX, None));
        queue.extend(all);
        let mut late = Vec::new();
        for step in [&[0, 1, 2][..], &[3, 4, 5], &[6, 91], &[]] {
            let mut events = Vec::new();
            queue.take(now, &mut events, &mut late);
            let tokens: Vec<Token> = events.iter().filter_map(token_of).collect();
            assert_eq!(tokens, step.iter().map(|token| Token(*token)).collect::<Vec<_>>());
        }
        assert!(queue.is_empty());
        assert_eq!(late, [Token(90)]);
    }

    #[tokio::test]
    async fn what_peers_forward_is_taken_in_by_shares_too_and_in_its_order() {
        let intake = Intake::default();
        let mut arrived = Vec::new();
        for seq in 0..5 {
            let id = RequestId { origin: NodeId(2), incarnation: Incarnation(1), seq };
            let command = Blob::from(vec![7; STEP_OPERATIONS_MAX * OPERATION_BYTES / 2]);
            let write = Forwarded { id, caller: Caller::nobody(), command };
            let body = PeerBody::Forward(vec![write]);
            let message = PeerMessage { from: NodeId(2), to: NodeId(1), body };
            arrived.push(Input::Peer(message, intake.take(1).await));
            arrived.push(Input::PeerFound(NodeId(seq)));
        }
        let mut inputs = Inputs::default();
        let mut steps = Vec::new();
        loop {
            inputs.begin(&mut arrived);
            steps.push(std::iter::from_fn(|| inputs.next()).count());
            if inputs.is_empty() {
                break;
            }
        }
        assert_eq!(steps, [3, 4, 3], "two forwards and what stands before the next one");
    }
}
