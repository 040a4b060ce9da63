//! Probes before the data is loaded: the ports of clients are open from the first moment on. Who
//! asks over HTTP/1 whether the member lives, and what it is doing, is told so; every other
//! connection is kept, unread, for those who serve clients later.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections that are kept, and for how long: who has said something and left is not seen to have
/// left. The oldest go first, since a probe may be behind them.
const KEPT_MAX: usize = 256;
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Bytes of a request's head that are looked at.
const HEAD_BYTES_MAX: usize = 4096;
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(5);
/// A client that takes its answer no faster is let go of.
const ANSWER_MAX: Duration = Duration::from_millis(200);

/// What the member is doing, in words.
pub type Doing = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers until it is stopped.
pub struct Early {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<TcpStream>>>,
}

impl Early {
    /// # Errors
    /// When the system gives no thread, or no second handle on a listener.
    pub fn start(listeners: &[TcpListener], doing: Doing) -> io::Result<Self> {
        let listeners: Vec<TcpListener> =
            listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        let stops = Arc::<AtomicBool>::default();
        let asked = Arc::clone(&stops);
        let work = move || {
            let mut kept = VecDeque::new();
            while !asked.load(Ordering::Relaxed) {
                accept(&listeners, &mut kept);
                kept.retain(|(socket, since)| {
                    since.elapsed() < KEPT_FOR && !is_answered(socket, &doing)
                });
                std::thread::sleep(PAUSE);
            }
            kept.into_iter().map(|(socket, _)| socket).collect()
        };
        let thread = std::thread::Builder::new().name("quorate-early".into()).spawn(work)?;
        Ok(Self { stops, thread: Some(thread) })
    }

    /// Connections that came meanwhile, with everything that was said on them.
    pub fn stop(mut self) -> Vec<TcpStream> {
        self.end()
    }

    fn end(&mut self) -> Vec<TcpStream> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(listeners: &[TcpListener], kept: &mut VecDeque<(TcpStream, Instant)>) {
    for listener in listeners {
        // No more in one look, so that each is looked at before it may have to go.
        for _ in 0..KEPT_MAX / 2 {
            let Ok((socket, _)) = listener.accept() else { break };
            // One that is not looked at without waiting is not looked at.
            if socket.set_nonblocking(true).is_ok() {
                kept.push_back((socket, Instant::now()));
            }
        }
    }
    while kept.len() > KEPT_MAX {
        kept.pop_front();
    }
}

/// Whether it is over with a connection: it was answered, or is closed.
fn is_answered(socket: &TcpStream, doing: &Doing) -> bool {
    let mut head = [0; HEAD_BYTES_MAX];
    let seen = match socket.peek(&mut head) {
        Ok(0) => return true,
        Ok(seen) => &head[..seen],
        Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
    };
    let is_asked = seen.starts_with(b"GET ") && seen.windows(4).any(|four| four == b"\r\n\r\n");
    if is_asked {
        let target = seen[4..].split(|byte| *byte == b' ').next().unwrap_or_default();
        let answer = page(&String::from_utf8_lossy(target), &doing());
        // A client that has gone needs none.
        let _ = say(socket, seen.len(), &answer);
    }
    is_asked
}

/// Of a request of so many bytes, which are taken first: a close with bytes unread would cut the
/// answer off.
fn say(mut socket: &TcpStream, asked: usize, answer: &str) -> io::Result<()> {
    let mut taken = vec![0; asked];
    socket.read_exact(&mut taken)?;
    let until = Instant::now() + ANSWER_MAX;
    let mut left = answer.as_bytes();
    while !left.is_empty() && Instant::now() < until {
        match socket.write(left) {
            Ok(n) => left = &left[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    socket.shutdown(std::net::Shutdown::Write)
}

fn page(target: &str, doing: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let (code, kind, text) = match path {
        "/livez" => ("200 OK", "text/plain; charset=utf-8", "ok\n".to_owned()),
        "/health" => {
            let text = format!("{{\"health\":\"false\",\"reason\":\"loading: {doing}\"}}");
            ("503 Service Unavailable", "application/json", text)
        }
        _ => {
            let text = format!("[-]loading failed: {doing}\n");
            ("503 Service Unavailable", "text/plain; charset=utf-8", text)
        }
    };
    let len = text.len();
    format!(
        "HTTP/1.1 {code}\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\n\
         connection: close\r\n\r\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> (TcpListener, Early) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it is ours");
        let doing: Doing = Arc::new(|| "the index, 40 %".to_owned());
        let early = Early::start(std::slice::from_ref(&listener), doing).expect("a thread");
        (listener, early)
    }

    fn connect(listener: &TcpListener) -> TcpStream {
        TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens")
    }

    fn ask(listener: &TcpListener, target: &str) -> String {
        let mut socket = connect(listener);
        write!(socket, "GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered and closed");
        answer
    }

    #[test]
    fn probes_hear_that_it_lives_and_what_it_is_doing() {
        let (listener, early) = started();
        let live = ask(&listener, "/livez?verbose");
        assert!(
            live.starts_with("HTTP/1.1 200 OK\r\n") && live.ends_with("\r\n\r\nok\n"),
            "{live}"
        );
        let ready = ask(&listener, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        assert!(ready.ends_with("\r\n\r\n[-]loading failed: the index, 40 %\n"), "{ready}");
        let health = ask(&listener, "/health");
        let told = "{\"health\":\"false\",\"reason\":\"loading: the index, 40 %\"}";
        assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with(told), "{health}");
        assert!(early.stop().is_empty(), "nobody is left");
    }

    #[test]
    fn a_probe_is_answered_however_many_connections_say_nothing() {
        let (listener, early) = started();
        let silent: Vec<TcpStream> = (0..KEPT_MAX + 20).map(|_| connect(&listener)).collect();
        assert!(ask(&listener, "/livez").ends_with("ok\n"));
        assert!(early.stop().len() <= KEPT_MAX);
        drop(silent);
    }

    #[test]
    fn what_is_no_probe_is_kept_whole_for_later() {
        let (listener, early) = started();
        let mut two = connect(&listener);
        two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
        let mut half = connect(&listener);
        half.write_all(b"GET /live").expect("sent");
        drop(connect(&listener));
        // Whoever is answered came later than these.
        assert!(ask(&listener, "/livez").ends_with("ok\n"));
        let mut kept = early.stop();
        kept.retain(|socket| socket.peek(&mut [0]).is_ok_and(|n| n > 0));
        assert_eq!(kept.len(), 2);
        let mut said: Vec<Vec<u8>> = Vec::new();
        for mut socket in kept {
            let mut bytes = vec![0; 64];
            let n = socket.read(&mut bytes).expect("it was said");
            said.push(bytes[..n].to_vec());
        }
        said.sort();
        assert_eq!(said, [&b"GET /live"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
    }
}
