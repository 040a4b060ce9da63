//! Threads that stand aside for the one that votes.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that, woken, waits for a processor rather than taking it from who runs there: a
/// burst of clients or a long read delays neither votes nor heartbeats, and what arrives meanwhile
/// is done together. On a machine with a processor to spare it makes no difference.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(move || {
        stand_aside();
        work();
    })
}

/// The niceness stays. A system that forbids it (a seccomp filter) goes without.
fn stand_aside() {
    let own = uapi::c::sched_param { sched_priority: 0 };
    if let Err(error) = uapi::sched_setscheduler(0, uapi::c::SCHED_BATCH, &own) {
        tracing::debug!("this thread is scheduled as every other: {error}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_stands_aside_is_scheduled_so() {
        let policy = || uapi::sched_getscheduler(0).expect("everyone may ask");
        let asked = super::spawn("aside", move || {
            assert_eq!(policy(), uapi::c::SCHED_BATCH);
            let inner = std::thread::spawn(policy).join().expect("it asks");
            assert_eq!(inner, uapi::c::SCHED_BATCH, "what it starts stands aside too");
        });
        asked.expect("a thread").join().expect("as it asserts");
        assert_eq!(policy(), uapi::c::SCHED_OTHER);
    }
}
