//! A connection of its own to a member, for a thread that waits on it.

use super::frame::{self, Kind};
use super::limits;
use super::link::{check_answer, refused};
use bytes::BytesMut;
use member::Hello;
use member::meet::Seen;
use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};

pub(super) fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn connect(address: &str) -> Option<TcpStream> {
    address
        .to_socket_addrs()
        .ok()?
        .find_map(|addr| TcpStream::connect_timeout(&addr, limits::HANDSHAKE_MAX).ok())
}

/// The first of the addresses where the member answers: one may be up and deliver nothing.
pub(super) fn greet_one(
    addresses: &[String],
    hello: &Hello,
    seen: &Seen,
) -> io::Result<(TcpStream, BytesMut)> {
    let mut last = io::Error::from(io::ErrorKind::NotConnected);
    for address in addresses {
        let Some(stream) = connect(address) else { continue };
        match greet(stream, hello, seen) {
            Ok(greeted) => return Ok(greeted),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn greet(mut stream: TcpStream, hello: &Hello, seen: &Seen) -> io::Result<(TcpStream, BytesMut)> {
    stream.set_read_timeout(Some(limits::HANDSHAKE_MAX))?;
    stream.set_write_timeout(Some(limits::STALL_MAX))?;
    let mut out = Vec::new();
    let mut buffer = BytesMut::new();
    frame::encode(Kind::Hello, &mut out, |out| hello.encode(out));
    stream.write_all(&out)?;
    let (kind, body) = frame::read_blocking(&mut stream, &mut buffer)?;
    let other = check_answer(hello, kind, &body)?;
    seen.allows(other.member, other.life()).map_err(refused)?;
    Ok((stream, buffer))
}
