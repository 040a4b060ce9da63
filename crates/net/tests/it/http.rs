//! HTTP/1.1: bodies, chunks, limits, time.

use super::service::{PIECE_BYTES, REQUEST_BYTES_MAX, Stage, until, with_limits, with_server};
use net::{GRPC_OVERHEAD_BYTES, Limits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(600);

async fn connect(stage: &Stage) -> TcpStream {
    TcpStream::connect(stage.address).await.unwrap()
}

/// Says all of it, and reads to the end.
async fn exchange(stage: &Stage, request: &[u8]) -> String {
    let mut socket = connect(stage).await;
    let mut text = Vec::new();
    // A refusal may come before all is said.
    let _ = socket.write_all(request).await;
    let _ = timeout(LONG, socket.read_to_end(&mut text)).await.expect("it ends");
    String::from_utf8(text).unwrap()
}

/// Reads until what has come ends so.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut bytes = [0; 1000];
        let n = timeout(LONG, socket.read(&mut bytes)).await.expect("it comes").unwrap();
        assert!(n > 0, "{text}");
        text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
    }
    text
}

fn with_body(length: usize) -> Vec<u8> {
    let head =
        format!("POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    [head.into_bytes(), vec![b'b'; length]].concat()
}

#[test]
fn a_body_comes_whole_or_in_chunks_and_is_bounded() {
    with_server(|stage| async move {
        let answer = exchange(&stage, &with_body(5)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nPOST /echo bbbbb"), "{answer}");
        assert!(answer.contains("content-length: 16\r\n"), "{answer}");
        let chunked = b"POST /echo?q HTTP/1.1\r\nConnection: close\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let answer = exchange(&stage, chunked).await;
        assert!(answer.ends_with("POST /echo?q abcde"), "{answer}");
        let longest = REQUEST_BYTES_MAX + GRPC_OVERHEAD_BYTES;
        let answer = exchange(&stage, &with_body(longest)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        let answer = exchange(&stage, &with_body(longest + 1)).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn a_stream_is_sent_in_chunks_and_one_that_ends_badly_is_cut_off() {
    with_server(|stage| async move {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = exchange(&stage, get("/pieces").as_bytes()).await;
        assert!(answer.contains("transfer-encoding: chunked\r\n"), "{answer}");
        assert_eq!(answer.matches('x').count() - 1, 3 * PIECE_BYTES, "the head has one");
        assert!(answer.ends_with("\r\n0\r\n\r\n"), "it has an end");
        let answer = exchange(&stage, get("/broken").as_bytes()).await;
        assert!(!answer.ends_with("\r\n0\r\n\r\n"), "it has none");
    });
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    with_server(|stage| async move {
        let mut socket = connect(&stage).await;
        for n in 0..3 {
            let request = format!("GET /{n} HTTP/1.1\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            read_until(&mut socket, &format!("GET /{n} ")).await;
        }
        let pipelined = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        socket.write_all(pipelined).await.unwrap();
        let answers = read_until(&mut socket, "GET /b ").await;
        assert!(answers.contains("GET /a "), "{answers}");
    });
}

#[test]
fn a_head_has_bounds_and_nonsense_is_refused() {
    with_server(|stage| async move {
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        for head in [&long, &many, "\u{1}\u{2} nonsense\r\n\r\n"] {
            let answer = exchange(&stage, head.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    });
}

#[test]
fn who_is_silent_slow_or_does_not_read_is_let_go() {
    with_server(|stage| async move {
        let mut idle = connect(&stage).await;
        idle.write_all(b"GET /once HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut idle, "GET /once ").await;
        let mut head = connect(&stage).await;
        head.write_all(b"GET /once HT").await.unwrap();
        let mut body = connect(&stage).await;
        body.write_all(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nbb").await.unwrap();
        let mut deaf = connect(&stage).await;
        deaf.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.unwrap();
        // It is sent what the sockets hold, and no more is made than that.
        let mut made = 0;
        while made == 0 || made != stage.service.made.get() {
            made = stage.service.made.get();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(made * PIECE_BYTES < 64 << 20, "{made}");
        // Time passes by itself from here on whenever nothing else is to be done.
        tokio::time::pause();
        for (socket, who) in [(&mut idle, "idle"), (&mut head, "head"), (&mut body, "body")] {
            let mut rest = Vec::new();
            let closed = timeout(LONG, socket.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "{who}");
        }
        let closed = async {
            while stage.server.connections() > 1 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        assert!(timeout(LONG, closed).await.is_ok(), "who does not read");
    });
}

#[test]
fn a_server_that_stops_closes_idle_connections_and_answers_what_is_under_way() {
    with_server(|stage| async move {
        let mut idle = connect(&stage).await;
        idle.write_all(b"GET /once HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut idle, "GET /once ").await;
        let mut waits = connect(&stage).await;
        waits.write_all(b"GET /never HTTP/1.1\r\n\r\n").await.unwrap();
        while stage.server.connections() < 3 || !stage.service.has_promised() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stage.server.stop();
        let mut rest = Vec::new();
        timeout(LONG, idle.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
        assert!(timeout(Duration::from_millis(50), stage.server.closed()).await.is_err());
        stage.service.forget();
        let mut answer = String::new();
        waits.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        stage.server.closed().await;
    });
}

#[test]
fn the_connection_too_many_waits_until_another_one_has_ended() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    with_limits(limits, |stage| async move {
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut socket = connect(&stage).await;
            let request = b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\nb";
            socket.write_all(request).await.unwrap();
            all.push(socket);
        }
        read_until(&mut all[0], "POST /echo b").await;
        read_until(&mut all[1], "POST /echo b").await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert!(stage.server.connections() <= 3, "the listener's and two clients'");
        }
        drop(all.remove(0));
        read_until(&mut all[1], "POST /echo b").await;
    });
}

#[test]
fn what_a_client_says_and_is_sent_counts_until_it_is_answered_and_taken() {
    with_server(|stage| async move {
        let mut waits = connect(&stage).await;
        waits.write_all(b"POST /never HTTP/1.1\r\nContent-Length: 9\r\n\r\nbb").await.unwrap();
        until(|| stage.server.requested() == 2).await;
        waits.write_all(b"bbbbbbb").await.unwrap();
        until(|| stage.service.has_promised()).await;
        assert_eq!(stage.server.requested(), 9, "it is not answered yet");
        stage.service.forget();
        until(|| stage.server.requested() == 0).await;
        let mut deaf = connect(&stage).await;
        deaf.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.unwrap();
        until(|| stage.server.unsent() > 0).await;
        drop(deaf);
        until(|| stage.server.unsent() == 0).await;
    });
}

#[test]
fn who_takes_an_answer_too_slowly_is_let_go() {
    with_server(|stage| async move {
        let mut slow = connect(&stage).await;
        slow.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.unwrap();
        until(|| stage.server.unsent() > 0).await;
        tokio::time::pause();
        let mut times = 0;
        // Each time so much that some of it makes room, and fewer bytes than are asked for.
        while stage.server.connections() > 1 {
            let mut bytes = [0; 20_000];
            let _ = timeout(LONG, slow.read(&mut bytes)).await.expect("it comes");
            tokio::time::sleep(Duration::from_secs(9)).await;
            times += 1;
            assert!(times < 100);
        }
    });
}
