//! The log: printed by a thread of its own, so that nobody waits for whoever reads it.

use base::limits::LOG_LINES_MAX;
use std::io::Write;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Where lines go that are to be printed to `out`; what its reader leaves too long is dropped, and
/// counted. Dropped, the guard prints what is left, for as long as its reader is there.
pub fn printed(out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let lossy = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LOG_LINES_MAX);
    lossy.thread_name("quorate-print").finish(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, channel};

    /// Takes nothing until it is told to.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv(); // or nobody is there any more to tell it
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody() {
        let (read, stalled) = channel();
        let (mut log, printing) = printed(Stalled(stalled));
        for _ in 0..3 * LOG_LINES_MAX {
            log.write_all(b"a line\n").expect("it is taken or dropped");
        }
        let dropped = log.error_counter().dropped_lines();
        assert!(dropped >= 2 * LOG_LINES_MAX - 2, "{dropped} lines");
        drop(read);
        drop((log, printing));
    }
}
