//! How many calls of each method began, and how they ended.

use super::kind::Kind;
use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;

/// gRPC's codes by number, as `grpc_server_handled_total` names them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const UNKNOWN: usize = 2;
const CANCELED: u32 = 1;

#[derive(Default)]
struct Counters {
    started: Cell<u64>,
    handled: [Cell<u64>; CODES.len()],
}

/// Counters of every method, by its number in the service's table.
pub struct CallStats {
    methods: Vec<Counters>,
}

fn add(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl CallStats {
    pub fn new(methods: usize) -> Rc<Self> {
        Rc::new(Self { methods: (0..methods).map(|_| Counters::default()).collect() })
    }

    /// Counts a call that begins; what is returned counts its end.
    pub(super) fn begin(self: &Rc<Self>, method: u16) -> Tally {
        add(&self.methods[usize::from(method)].started);
        Tally { stats: Some(Rc::clone(self)), method }
    }

    /// Appends both counters, under the names of `go-grpc-prometheus`. `table` gives the paths
    /// (`/service/method`) and kinds by number.
    pub fn write<'a>(&self, table: impl Iterator<Item = (&'a str, Kind)>, out: &mut String) {
        let (mut started, mut handled) = (String::new(), String::new());
        for (counters, (path, kind)) in self.methods.iter().zip(table) {
            let (service, method) = path[1..].split_once('/').expect("a path of the table");
            let kind = match kind {
                Kind::Unary => "unary",
                Kind::ServerStream => "server_stream",
                Kind::Bidi => "bidi_stream",
            };
            let labels =
                format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"");
            let n = counters.started.get();
            let _ = writeln!(started, "grpc_server_started_total{{{labels}}} {n}");
            for (at, (counter, code)) in counters.handled.iter().zip(CODES).enumerate() {
                // A method that never failed shows no failures, one that was never called a zero.
                if at == 0 || counter.get() > 0 {
                    let (n, labels) = (counter.get(), format!("grpc_code=\"{code}\",{labels}"));
                    let _ = writeln!(handled, "grpc_server_handled_total{{{labels}}} {n}");
                }
            }
        }
        let _ = write!(out, "# TYPE grpc_server_started_total counter\n{started}");
        let _ = write!(out, "# TYPE grpc_server_handled_total counter\n{handled}");
    }
}

/// Counts the end of one call, once. Dropped before, the client cancelled it.
pub(super) struct Tally {
    stats: Option<Rc<CallStats>>,
    method: u16,
}

impl Tally {
    pub(super) fn end(&mut self, code: u32) {
        if let Some(stats) = self.stats.take() {
            let code = usize::try_from(code).unwrap_or(UNKNOWN);
            let handled = &stats.methods[usize::from(self.method)].handled;
            add(handled.get(code).unwrap_or(&handled[UNKNOWN]));
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.end(CANCELED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_began_ends_once() {
        let stats = CallStats::new(2);
        stats.begin(0).end(0);
        let mut twice = stats.begin(0);
        twice.end(14);
        twice.end(0);
        drop(twice);
        drop(stats.begin(1));
        stats.begin(1).end(99);
        let mut text = String::new();
        let table = [("/s.KV/Put", Kind::Unary), ("/s.Watch/Watch", Kind::Bidi)];
        stats.write(table.into_iter(), &mut text);
        let put = "grpc_method=\"Put\",grpc_service=\"s.KV\",grpc_type=\"unary\"";
        let watch = "grpc_method=\"Watch\",grpc_service=\"s.Watch\",grpc_type=\"bidi_stream\"";
        for line in [
            format!("grpc_server_started_total{{{put}}} 2\n"),
            format!("grpc_server_handled_total{{grpc_code=\"OK\",{put}}} 1\n"),
            format!("grpc_server_handled_total{{grpc_code=\"Unavailable\",{put}}} 1\n"),
            format!("grpc_server_handled_total{{grpc_code=\"OK\",{watch}}} 0\n"),
            format!("grpc_server_handled_total{{grpc_code=\"Canceled\",{watch}}} 1\n"),
            format!("grpc_server_handled_total{{grpc_code=\"Unknown\",{watch}}} 1\n"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
