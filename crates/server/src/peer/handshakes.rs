//! Handshakes under way: nobody in them has shown yet that they are a member.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Those of all listeners of a member.
pub struct Handshakes {
    handshakes_max: usize,
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, AbortHandle>>,
}

impl Handshakes {
    pub fn new(handshakes_max: usize) -> Rc<Self> {
        assert!(handshakes_max > 0, "somebody has to come in");
        Rc::new(Self { handshakes_max, next: Cell::default(), open: RefCell::default() })
    }

    /// Lets one run as a task of this thread. Where there are too many the oldest gives way: a
    /// member is through within a round trip or two, whoever stays longer says nothing. To wait
    /// for a place instead would let strangers keep members out.
    pub fn begin(self: &Rc<Self>, handshake: impl Future<Output = ()> + 'static) {
        let number = self.next.replace(self.next.get() + 1);
        let ended = Ended(Rc::clone(self), number);
        let task = tokio::task::spawn_local(async move {
            let _ended = ended;
            handshake.await;
        });
        let mut open = self.open.borrow_mut();
        let oldest = if open.len() < self.handshakes_max { None } else { open.pop_first() };
        open.insert(number, task.abort_handle());
        assert!(open.len() <= self.handshakes_max, "one gave way to one");
        drop(open);
        if let Some((_, oldest)) = oldest {
            oldest.abort();
        }
    }
}

struct Ended(Rc<Handshakes>, u64);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.open.borrow_mut().remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::task::{LocalSet, yield_now};

    #[tokio::test]
    async fn the_handshake_too_many_ends_the_oldest_and_is_served() {
        const MAX: usize = 3;
        let set = LocalSet::new();
        set.run_until(async {
            let all = Handshakes::new(MAX);
            let alive: Vec<Rc<()>> = (0..=MAX).map(|_| Rc::default()).collect();
            for one in &alive {
                let one = Rc::clone(one);
                all.begin(async move {
                    pending::<()>().await;
                    drop(one);
                });
                yield_now().await;
            }
            while Rc::strong_count(&alive[0]) > 1 {
                yield_now().await;
            }
            assert!(alive[1..].iter().all(|one| Rc::strong_count(one) == 2));
            let done = Rc::new(Cell::new(false));
            let sets = Rc::clone(&done);
            all.begin(async move { sets.set(true) });
            while !done.get() {
                yield_now().await;
            }
            assert_eq!(all.open.borrow().len(), MAX - 1, "one that has ended leaves its place");
        })
        .await;
    }
}
