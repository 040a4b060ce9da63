//! gRPC calls: what of them a connection may hold, and for how long.

use super::service::{LONG_BYTES, Stage, message, until, with_server};
use base::limits::{
    CONNECTION_REQUESTS_BYTES_MAX, CONNECTION_UNSENT_BYTES_MAX, HEADER_LIST_BYTES_MAX,
};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{PingPong, RecvStream, SendStream};
use http::{HeaderMap, Request};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Larger than what a frame carries, within what a request may have.
const MESSAGE_BYTES: usize = 500_000;
const HALF_BYTES: usize = 400_000;
/// Bytes of a frame by default: what one piece may have more than a bound.
const FRAME_BYTES: usize = 16 << 10;

struct Client {
    send: SendRequest<Bytes>,
    pings: PingPong,
}

impl Client {
    async fn connect(stage: &Stage) -> Self {
        let socket = TcpStream::connect(stage.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_max_send_streams(1000).max_send_buffer_size(1 << 20);
        let (send, mut connection) = builder.handshake(socket).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        tokio::task::spawn_local(connection);
        Self { send, pings }
    }

    fn open(&mut self, path: &str, extra: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("http://x{path}"))
            .header("content-type", "application/grpc")
            .header("extra", extra);
        self.send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// A whole call of `/t/Long`.
    fn long(&mut self) -> ResponseFuture {
        let (response, mut body) = self.open("/t/Long", "");
        body.send_data(message(3), true).unwrap();
        response
    }

    /// What was said before has been heard.
    async fn ping(&mut self) {
        self.pings.ping(h2::Ping::opaque()).await.unwrap();
    }
}

fn code(headers: &HeaderMap) -> Option<u32> {
    Some(headers.get("grpc-status")?.to_str().unwrap().parse().unwrap())
}

async fn rest(mut body: RecvStream) -> (usize, Option<u32>) {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes += data.len();
    }
    (bytes, body.trailers().await.unwrap().as_ref().and_then(code))
}

/// Bytes of the answer, and its status.
async fn ended(response: ResponseFuture) -> (usize, Option<u32>) {
    let response = response.await.unwrap();
    match code(response.headers()) {
        Some(code) => (0, Some(code)),
        None => rest(response.into_body()).await,
    }
}

#[test]
fn requests_of_which_each_has_a_half_are_bounded_and_those_that_are_not_refused_end_well() {
    with_server(|stage| async move {
        let mut client = Client::connect(&stage).await;
        let whole = message(MESSAGE_BYTES);
        let most = CONNECTION_REQUESTS_BYTES_MAX / HALF_BYTES + 1;
        let (ends, mut bodies) = (Rc::new(RefCell::new(Vec::new())), Vec::new());
        for n in 0..most + 20 {
            let (response, mut body) = client.open("/t/Long", "");
            body.send_data(whole.slice(..HALF_BYTES), false).unwrap();
            let ends = Rc::clone(&ends);
            tokio::task::spawn_local(async move {
                let end = ended(response).await;
                ends.borrow_mut().push((n, end));
            });
            bodies.push(body);
        }
        // It has room for the last half but one, at most for one more.
        until(|| ends.borrow().len() >= 19).await;
        client.ping().await;
        let held = stage.server.requested();
        assert!(held <= CONNECTION_REQUESTS_BYTES_MAX + FRAME_BYTES, "{held}");
        let refused: Vec<_> = ends.borrow().iter().map(|(n, _)| *n).collect();
        assert!(ends.borrow().iter().all(|(_, end)| *end == (0, Some(8))));
        for (n, body) in bodies.iter_mut().enumerate().filter(|(n, _)| !refused.contains(n)) {
            body.send_data(whole.slice(HALF_BYTES..), true).unwrap_or_else(|e| panic!("{n}: {e}"));
        }
        until(|| ends.borrow().len() == bodies.len()).await;
        // Some that are almost whole are refused still; who is makes room for several.
        let well = |(_, end): &&(usize, _)| *end == (LONG_BYTES + 5, Some(0));
        assert!(ends.borrow().iter().filter(well).count() > most / 2);
        assert_eq!(stage.server.requested(), 0);
    });
}

#[test]
fn a_request_that_does_not_get_on_is_ended_in_time_and_a_stream_between_two_is_not() {
    with_server(|stage| async move {
        let mut client = Client::connect(&stage).await;
        let (unary, mut half) = client.open("/t/Long", "");
        half.send_data(message(100).slice(..50), false).unwrap();
        let (stream, mut begun) = client.open("/t/Stream", "");
        begun.send_data(message(9), false).unwrap();
        begun.send_data(message(100).slice(..50), false).unwrap();
        let (quiet, mut between) = client.open("/t/Stream", "");
        between.send_data(message(9), false).unwrap();
        until(|| stage.service.asked.get() == 2).await;
        client.ping().await;
        assert_eq!(stage.server.requested(), 100);
        // Time passes by itself from here on whenever nothing else is to be done.
        tokio::time::pause();
        let minute = Duration::from_secs(60);
        assert_eq!(timeout(minute, ended(unary)).await.unwrap(), (0, Some(4)));
        assert_eq!(timeout(minute, ended(stream)).await.unwrap(), (5, Some(4)));
        assert_eq!(stage.server.requested(), 0);
        let quiet = quiet.await.unwrap().into_body();
        let mut quiet = Box::pin(rest(quiet));
        assert!(timeout(10 * minute, &mut quiet).await.is_err(), "nothing was begun");
        between.send_data(message(9), true).unwrap();
        assert_eq!(quiet.await, (10, Some(0)));
    });
}

#[test]
fn a_client_that_takes_no_answers_is_asked_for_no_more_and_misses_none_later() {
    const CALLS: usize = 300;
    with_server(|stage| async move {
        let mut client = Client::connect(&stage).await;
        let calls: Vec<_> = (0..CALLS).map(|_| client.long()).collect();
        until(|| stage.server.unsent() >= CONNECTION_UNSENT_BYTES_MAX).await;
        client.ping().await;
        let (asked, unsent) = (stage.service.asked.get(), stage.server.unsent());
        assert!(asked < CALLS / 2, "{asked}");
        assert!(unsent < CONNECTION_UNSENT_BYTES_MAX + 2 * LONG_BYTES, "{unsent}");
        let mut other = Client::connect(&stage).await;
        assert_eq!(ended(other.long()).await.1, Some(0), "another one is served");
        // Who was not answered yet may leave, and the others are answered.
        let mut stay = tokio::task::JoinSet::new();
        for (n, call) in calls.into_iter().enumerate() {
            if n % 3 > 0 {
                stay.spawn_local(ended(call));
            }
        }
        for end in stay.join_all().await {
            assert_eq!(end, (LONG_BYTES + 5, Some(0)));
        }
        until(|| stage.server.unsent() + stage.server.requested() == 0).await;
        assert!(stage.service.asked.get() < CALLS, "who left was not asked for");
    });
}

#[test]
fn a_head_that_is_too_long_is_refused_and_the_connection_goes_on() {
    with_server(|stage| async move {
        let mut client = Client::connect(&stage).await;
        let most = HEADER_LIST_BYTES_MAX as usize;
        for (length, is_served) in [(most / 2, true), (most + 1, false), (10, true)] {
            let (response, mut body) = client.open("/t/Long", &"x".repeat(length));
            let _ = body.send_data(message(3), true);
            let is_ok = matches!(&response.await, Ok(response) if response.status() == 200);
            assert_eq!(is_ok, is_served, "{length}");
        }
        assert_eq!(stage.service.asked.get(), 2);
    });
}
