//! Standard output.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// What was asked for could not be written down.
const EXIT_LOST: i32 = 2;

/// Writes to standard output. A reader that has seen enough (`| head`) ends the telling, not the
/// work: its verdict is the exit code. Words lost in another way end the process, for silence
/// must not look like success.
pub fn put(words: Arguments<'_>) {
    heard(words);
}

/// [`put`] for who has nothing but words: false when the reader has seen enough.
pub fn heard(words: Arguments<'_>) -> bool {
    match std::io::stdout().lock().write_fmt(words) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => false,
        Err(error) => {
            // Nobody may be left to read this either.
            let _ = writeln!(std::io::stderr(), "quorate: standard output: {error}");
            std::process::exit(EXIT_LOST);
        }
    }
}

/// A line on standard output, with [`put`].
macro_rules! say {
    ($($words:tt)*) => {
        $crate::out::put(format_args!("{}\n", format_args!($($words)*)))
    };
}
pub(crate) use say;
