//! A runtime on a thread of its own, so that nothing the rest does makes its tasks wait.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Blocking work, such as a name being looked up, that may hold up the end.
const END_MAX: Duration = Duration::from_millis(100);

/// Runs what is spawned on it until it is dropped; then all of that has ended.
pub struct Beside {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// # Errors
    /// No thread or no poller is left.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("beside".to_owned()).spawn(move || {
            // Either way of ending means that it is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(END_MAX);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drives a future to its end; tasks it spawns go on on the thread.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.handle.block_on(work)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn tasks_run_while_nobody_waits_and_have_ended_after_the_drop() {
        let beside = Beside::start().expect("a thread");
        let held = Arc::new(());
        let (ran, heard) = std::sync::mpsc::channel();
        let kept = Arc::clone(&held);
        beside.handle().spawn(async move {
            ran.send(()).expect("the test waits");
            std::future::pending::<()>().await;
            drop(kept);
        });
        heard.recv_timeout(Duration::from_secs(10)).expect("it runs");
        assert_eq!(Arc::strong_count(&held), 2);
        drop(beside);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
