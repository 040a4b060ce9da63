//! Just enough HTTP/1.1 for probes and scrapers: bodiless requests, keep-alive, fixed lengths.

use super::{HttpReply, OPENING_MAX, Service};
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// A body is read and dropped up to this size; nothing served here needs one.
const BODY_BYTES_MAX: usize = 64 * 1024;

struct Head {
    method: String,
    target: String,
    keep_alive: bool,
    body_bytes: usize,
    /// Bytes of the head itself.
    size: usize,
}

/// Serves requests until the client closes or breaks the rules, or the member stops.
pub(super) async fn run(
    mut socket: TcpStream,
    service: Rc<dyn Service>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let request = tokio::select! {
            biased;
            request = timeout(OPENING_MAX, read_request(&mut socket, &mut buffer)) => request,
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        };
        // An idle client is let go; it comes again when it has something to ask.
        let Some(mut head) = request.unwrap_or(Ok(None))? else { return Ok(()) };
        let (send, receive) = oneshot::channel();
        let done = Box::new(move |reply| {
            // The client may have gone: nobody is left to tell.
            let _ = send.send(reply);
        });
        service.http(&head.method, &head.target, done);
        let reply = receive.await.unwrap_or_else(|_| HttpReply {
            code: 500,
            content_type: "text/plain; charset=utf-8",
            body: "no answer\n".into(),
        });
        head.keep_alive &= !*stopping.borrow();
        let bytes = encode(&reply, &head);
        // One that does not read its answer is let go too.
        let Ok(written) = timeout(OPENING_MAX, socket.write_all(&bytes)).await else {
            return Ok(());
        };
        written?;
        if !head.keep_alive {
            return socket.shutdown().await;
        }
    }
}

/// The next request's head; its body is dropped. None when the client has closed.
async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let Some(head) = read_head(socket, buffer).await? else { return Ok(None) };
    let whole = head.size + head.body_bytes;
    while buffer.len() < whole {
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..whole);
    Ok(Some(head))
}

async fn read_head(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        if let Some(head) = parse(buffer)? {
            return Ok(Some(head));
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(invalid("request head is too large"));
        }
        if socket.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(invalid("head is cut off")) };
        }
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("HTTP/1.1: {}", what.into()))
}

fn parse(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let size = match request.parse(buffer) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(invalid(error.to_string())),
    };
    let mut keep_alive = request.version == Some(1);
    let mut body_bytes = 0;
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).map_err(|_| invalid("header value"))?.trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.parse().map_err(|_| invalid("content-length"))?;
            if body_bytes > BODY_BYTES_MAX {
                return Err(invalid("body is too large"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("chunked requests are not supported"));
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive = keep_alive && !value.eq_ignore_ascii_case("close");
        }
    }
    let method = request.method.unwrap_or_default().to_string();
    let target = request.path.unwrap_or_default().to_string();
    Ok(Some(Head { method, target, keep_alive, body_bytes, size }))
}

fn encode(reply: &HttpReply, head: &Head) -> Vec<u8> {
    let reason = match reply.code {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let connection = if head.keep_alive { "keep-alive" } else { "close" };
    let mut out = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n",
        reply.code,
        reply.content_type,
        reply.body.len(),
        connection,
    )
    .into_bytes();
    if head.method != "HEAD" {
        out.extend_from_slice(reply.body.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_parse_and_broken_ones_are_refused() {
        let head = parse(b"GET /health?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/health?x=1"));
        assert!(head.keep_alive);
        assert!(parse(b"GET /health HTTP/1.1\r\n").unwrap().is_none());
        assert!(parse(b"\x01\x02\x03 nonsense\r\n\r\n").is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").is_err());
    }
}
