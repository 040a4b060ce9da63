//! Threads for what is long: slices of it in turn, ended when nobody waits for it any more.

use door::{Made, Work, frees};
use later::Promise;
use mvcc::Values;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Threads of one member. Two keep one long work from standing before all others.
pub const THREADS: usize = 2;
/// How often it is asked whether somebody still waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What came of a work, by its number.
type Result = (u64, Option<Made>);

/// One work among others.
struct Item {
    id: u64,
    work: Box<dyn Work>,
    unwanted: Arc<AtomicBool>,
    done: UnboundedSender<Result>,
}

/// What waits for a thread, in turn.
#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    is_closed: bool,
}

#[derive(Default)]
struct Turns {
    queue: Mutex<Queue>,
    ring: Condvar,
}

impl Turns {
    /// Nothing that may panic is done under the lock.
    fn with<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, item: Item) {
        self.with(|queue| queue.items.push_back(item));
        self.ring.notify_one();
    }

    /// None once the pool is closed.
    fn next(&self) -> Option<Item> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(item) = queue.items.pop_front() {
                return Some(item);
            }
            queue = self.ring.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Carries out works until it is closed; what has left memory is read with `values`.
fn serve(turns: &Turns, values: &mut dyn Values) {
    while let Some(mut item) = turns.next() {
        if item.unwanted.load(Ordering::Relaxed) {
            continue; // What it held is freed here.
        }
        // A work is read-only: after a panic nothing is half done but itself.
        match catch_unwind(AssertUnwindSafe(|| item.work.step(values))) {
            Ok(None) => turns.push(item),
            Ok(made) => {
                let _ = item.done.send((item.id, made));
            }
            Err(_) => {
                tracing::error!("a read panicked; this is a bug");
                let _ = item.done.send((item.id, None));
            }
        }
    }
}

/// The threads; they end with it, each after its slice.
pub struct Threads(Arc<Turns>);

impl Threads {
    /// Each with a reader of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        readers: impl IntoIterator<Item = Box<dyn Values + Send>>,
    ) -> std::io::Result<Self> {
        let turns = Arc::new(Turns::default());
        let threads = Self(Arc::clone(&turns));
        for mut reader in readers {
            let turns = Arc::clone(&turns);
            crate::aside::spawn("quorate-pool", move || serve(&turns, &mut *reader))?;
        }
        Ok(threads)
    }

    /// Frees something large, after what waits.
    pub fn discard(&self, thing: impl Send + 'static) {
        let (done, _) = unbounded_channel();
        self.0.push(Item { id: 0, work: frees(thing), unwanted: Arc::default(), done });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let left = self.0.with(|queue| {
            queue.is_closed = true;
            std::mem::take(&mut queue.items)
        });
        self.0.ring.notify_all();
        drop(left);
    }
}

/// The pool as one thread uses it: it keeps the promises that were made there.
pub struct Pool {
    threads: Arc<Threads>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    next: Cell<u64>,
    done: UnboundedSender<Result>,
    results: RefCell<Option<UnboundedReceiver<Result>>>,
    /// There is something to look after.
    begun: Notify,
}

struct Waiting {
    answer: Promise<Made>,
    unwanted: Arc<AtomicBool>,
}

impl Pool {
    /// [`Self::tend`] is to run beside it.
    pub fn new(threads: Arc<Threads>) -> Rc<Self> {
        let (done, results) = unbounded_channel();
        Rc::new(Self {
            threads,
            waiting: RefCell::default(),
            next: Cell::new(0),
            done,
            results: RefCell::new(Some(results)),
            begun: Notify::new(),
        })
    }

    /// Works whose answer is waited for.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        let id = self.next.get() + 1;
        self.next.set(id);
        let unwanted = Arc::new(AtomicBool::new(false));
        let item = Item { id, work, unwanted: Arc::clone(&unwanted), done: self.done.clone() };
        self.waiting.borrow_mut().insert(id, Waiting { answer, unwanted });
        self.threads.0.push(item);
        self.begun.notify_one();
    }

    /// Hands results on, and ends works that nobody waits for; for as long as the member lives.
    pub async fn tend(self: Rc<Self>) {
        let mut results = self.results.take().expect("it is tended once");
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let idle = self.waiting.borrow().is_empty();
            tokio::select! {
                result = results.recv() => match result {
                    Some((id, made)) => self.keep(id, made),
                    None => return,
                },
                _ = look.tick(), if !idle => self.look(),
                () = self.begun.notified(), if idle => {}
            }
        }
    }

    fn keep(&self, id: u64, made: Option<Made>) {
        // Nothing is borrowed while it is answered: that may ask for more.
        let waiting = self.waiting.borrow_mut().remove(&id);
        match (waiting, made) {
            (Some(waiting), Some(made)) if waiting.answer.is_wanted() => waiting.answer.keep(made),
            (_, Some(made)) => self.threads.discard(made),
            // There will be none, and whoever waits hears of it.
            (_, None) => {}
        }
    }

    fn look(&self) {
        let unwanted = |_: &u64, waiting: &mut Waiting| !waiting.answer.is_wanted();
        let left: Vec<_> = self.waiting.borrow_mut().extract_if(.., unwanted).collect();
        for (_, waiting) in left {
            waiting.unwanted.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use door::steps;
    use later::{Asker, promise};
    use std::sync::mpsc;

    fn readers() -> [Box<dyn Values + Send>; THREADS] {
        [(); THREADS].map(|()| Box::new(mvcc::InMemory) as _)
    }

    /// Says that it began, and never ends by itself.
    struct Endless(mpsc::Sender<&'static str>);

    impl Work for Endless {
        fn step(&mut self, _: &mut dyn Values) -> Option<Made> {
            let _ = self.0.send("slice");
            std::thread::sleep(Duration::from_millis(1));
            None
        }
    }

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }

    struct Panics;

    impl Work for Panics {
        fn step(&mut self, _: &mut dyn Values) -> Option<Made> {
            panic!("on purpose")
        }
    }

    async fn local<T>(test: impl Future<Output = T>) -> T {
        tokio::task::LocalSet::new().run_until(test).await
    }

    #[tokio::test]
    async fn a_work_that_nobody_wants_any_more_ends_and_short_ones_pass_long_ones() {
        local(async {
            let threads = Arc::new(Threads::start(readers()).expect("threads"));
            let pool = Pool::new(threads);
            tokio::task::spawn_local(Rc::clone(&pool).tend());
            let (told, hears) = mpsc::channel();
            let long: Vec<_> = (0..2 * THREADS)
                .map(|_| {
                    let (answer, later) = promise(Asker::nobody(), |made: Made| made);
                    pool.run(Box::new(Endless(told.clone())), answer);
                    later
                })
                .collect();
            let (answer, short) = promise(Asker::nobody(), |made: Made| made);
            let mut n = 0;
            let count = move |_: &mut dyn Values| {
                n += 1;
                (n == 3).then_some(())
            };
            pool.run(steps(count), answer);
            assert!(short.await.is_some(), "it had its turns between the endless ones");
            assert_eq!(pool.len(), long.len());
            drop(long);
            drop(told);
            let drops = tokio::task::spawn_blocking(move || {
                hears.iter().filter(|word| *word == "dropped").count()
            });
            assert_eq!(drops.await.expect("no panic"), 2 * THREADS);
            assert_eq!(pool.len(), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn a_panic_ends_one_work_and_its_caller_hears_of_it() {
        local(async {
            let pool = Pool::new(Arc::new(Threads::start(readers()).expect("threads")));
            tokio::task::spawn_local(Rc::clone(&pool).tend());
            for _ in 0..=THREADS {
                let (answer, later) = promise(Asker::nobody(), |made: Made| made);
                pool.run(Box::new(Panics), answer);
                assert!(later.await.is_none());
            }
        })
        .await;
    }
}
