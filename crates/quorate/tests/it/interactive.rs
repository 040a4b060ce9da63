//! A client that keeps running: its lines are awaited with a bound, and it always ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for any condition; generous, because two cores may be busy with other tests.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

pub struct Interactive {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Interactive {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let lines = lines_of([Box::new(out), Box::new(err)]);
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new() }
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").expect("the client reads");
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(WAIT_MAX) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(why) => panic!("no further line ({why}); it had said: {:#?}", self.seen),
        }
    }

    /// The next line if one comes soon; for probes that are repeated.
    pub fn try_line_within_ms(&mut self, milliseconds: u64) -> Option<String> {
        let line = self.lines.recv_timeout(Duration::from_millis(milliseconds)).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// Asserts the next lines, one by one.
    #[track_caller]
    pub fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line(), *line, "after {:#?}", self.seen);
        }
    }

    /// Reads on until a line satisfies `wanted`.
    pub fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + WAIT_MAX;
        while Instant::now() < end {
            let line = self.line();
            if wanted(&line) {
                return line;
            }
        }
        panic!("the awaited line did not come; it had said: {:#?}", self.seen);
    }

    /// Waits for its end; true if it succeeded.
    pub fn await_end(&mut self) -> bool {
        let end = Instant::now() + WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.success();
            }
            assert!(Instant::now() < end, "still running after {WAIT_MAX:?}: {:#?}", self.seen);
            // Polling an exit status: there is no wait with a bound in the standard library.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Interactive {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of several streams as they come; the streams are drained even if nobody listens.
pub fn lines_of(streams: [Box<dyn Read + Send>; 2]) -> Receiver<String> {
    let (sender, receiver) = channel();
    for stream in streams {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    receiver
}

/// Asks `condition` until it holds.
#[track_caller]
pub fn await_condition(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {WAIT_MAX:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
