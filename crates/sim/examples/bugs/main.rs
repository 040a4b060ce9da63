//! Plants the bug that the environment names and plays seeds until something notices.
//!
//! `bugs list` prints the catalogue; `bugs MEANS FROM SECONDS` prints one line: what noticed, after
//! how many seeds and milliseconds of processor time, at which seed. Run by `cargo xtask bugs`.

mod catalogue;
mod means;

use means::Means;
use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => catalogue::print(),
        [means, from, seconds] => {
            let means = Means::parse(means).expect("means that exist");
            let from: u64 = from.parse().expect("the first seed");
            let limit = Duration::from_secs(seconds.parse().expect("seconds"));
            play(means, from, limit);
        }
        _ => panic!("bugs list | bugs MEANS FROM SECONDS"),
    }
}

fn play(means: Means, from: u64, limit: Duration) {
    std::panic::set_hook(Box::new(|_| {}));
    let clock = Clock::start();
    let mut seed = from;
    let found = loop {
        match means.play(seed) {
            Some(what) => break Some(what),
            None if clock.spent() >= limit => break None,
            None => seed += 1,
        }
    };
    let tries = seed - from + 1;
    let ms = clock.spent().as_millis();
    match found {
        Some(what) => println!("killed\t{tries}\t{ms}\t{seed}\t{what}"),
        None => println!("survived\t{tries}\t{ms}\t{seed}\t"),
    }
}

/// Processor time of this thread, which does all the work: what else the machine does must not
/// count. Wall time where the system does not tell.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn spent(&self) -> Duration {
        let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
        nanos.map_or(self.0.elapsed(), Duration::from_nanos)
    }
}
