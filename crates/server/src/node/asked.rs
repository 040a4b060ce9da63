//! What clients asked for and no step has taken in yet.

use super::input::Asked;
use base::Token;
use base::limits::STEP_OPERATIONS_MAX;
use replica::Event;
use std::collections::VecDeque;
use std::time::Instant;

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
    use mvcc::{Caller, Command, PutRequest, RequestOp, TxnRequest};

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
}
