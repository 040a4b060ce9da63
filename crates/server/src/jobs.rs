//! A thread with a queue of jobs, waited for before the directory is given back.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The owner's end of a thread that works for it.
pub struct Thread<J> {
    jobs: RefCell<Option<Sender<J>>>,
    thread: RefCell<Option<JoinHandle<()>>>,
}

impl<J> Thread<J> {
    /// `spawn` starts a thread that takes jobs until their senders are gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        spawn: impl FnOnce(Receiver<J>) -> std::io::Result<JoinHandle<()>>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = spawn(queue)?;
        Ok(Self { jobs: RefCell::new(Some(jobs)), thread: RefCell::new(Some(thread)) })
    }

    /// A thread that is gone, or is not to work any more, drops the job.
    pub fn send(&self, job: J) {
        if let Some(jobs) = self.jobs.borrow().as_ref() {
            let _ = jobs.send(job);
        }
    }

    /// Lets the queue run dry and waits for the thread.
    pub fn stop(&self) {
        drop(self.jobs.borrow_mut().take());
        if let Some(thread) = self.thread.borrow_mut().take() {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            if thread.join().is_err() {
                tracing::error!("the thread {name} panicked");
            }
        }
    }
}

impl<J> Drop for Thread<J> {
    fn drop(&mut self) {
        self.stop();
    }
}
