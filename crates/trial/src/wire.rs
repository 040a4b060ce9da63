//! HTTP/2 by hand, for clients that no library would be: they reset at once, or never read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use api::Message;
use client::frame;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
/// `ENHANCE_YOUR_CALM`.
pub const CALM: u32 = 11;
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
const FIRST_WINDOW_BYTES: u32 = 65_535;
/// A server that takes nothing for so long has stopped reading.
const WRITE_MAX: Duration = Duration::from_secs(5);
const NO_CODE: u32 = u32::MAX;

/// One connection with windows as wide as they get.
pub struct Wire {
    writer: Arc<Mutex<TcpStream>>,
    authority: String,
    next_stream: u32,
    heard: Arc<Heard>,
}

/// What the server said, as far as it is read.
struct Heard {
    goaway: AtomicU32,
    ended: AtomicBool,
}

impl Wire {
    /// Connects; with `reads`, a thread reads and answers pings and settings.
    pub fn connect(endpoint: &str, reads: bool) -> Result<Self> {
        let mut stream = TcpStream::connect(endpoint).with_context(|| endpoint.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_MAX))?;
        let mut settings = 4u16.to_be_bytes().to_vec();
        settings.extend(WINDOW_BYTES_MAX.to_be_bytes());
        let more = (WINDOW_BYTES_MAX - FIRST_WINDOW_BYTES).to_be_bytes();
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        put_frame(&mut hello, SETTINGS, 0, 0, &settings);
        put_frame(&mut hello, WINDOW_UPDATE, 0, 0, &more);
        stream.write_all(&hello)?;
        let (goaway, ended) = (AtomicU32::new(NO_CODE), AtomicBool::new(false));
        let heard = Arc::new(Heard { goaway, ended });
        let reader = stream.try_clone()?;
        let writer = Arc::new(Mutex::new(stream));
        if reads {
            let (writer, heard) = (Arc::clone(&writer), Arc::clone(&heard));
            std::thread::spawn(move || {
                // The end of the connection is the end of what there is to hear.
                let _ = listen(reader, &writer, &heard);
                heard.ended.store(true, Ordering::SeqCst);
            });
        }
        Ok(Self { writer, authority: endpoint.to_owned(), next_stream: 1, heard })
    }

    /// A whole call, and what takes it back.
    pub fn call(&mut self, path: &str, request: &impl Message) -> (Vec<u8>, Vec<u8>) {
        let id = self.next_stream;
        self.next_stream += 2;
        let mut head = vec![0x83, 0x86];
        literal(&mut head, &[0x04], path);
        literal(&mut head, &[0x01], &self.authority);
        literal(&mut head, &[0x0f, 0x10], "application/grpc");
        head.extend([0x00, 2]);
        head.extend(b"te");
        head.push(8);
        head.extend(b"trailers");
        let mut bytes = Vec::new();
        put_frame(&mut bytes, HEADERS, END_HEADERS, id, &head);
        put_frame(&mut bytes, DATA, END_STREAM, id, &frame::encode(request));
        let mut reset = Vec::new();
        put_frame(&mut reset, RST_STREAM, 0, id, &CANCEL.to_be_bytes());
        (bytes, reset)
    }

    /// Sends; false when the server no longer takes it.
    pub fn send(&self, bytes: &[u8]) -> bool {
        self.writer.lock().expect("no holder panics").write_all(bytes).is_ok()
    }

    /// The code of a GOAWAY that came.
    pub fn goaway(&self) -> Option<u32> {
        Some(self.heard.goaway.load(Ordering::SeqCst)).filter(|code| *code != NO_CODE)
    }

    /// Whether the server ended the connection.
    pub fn ended(&self) -> bool {
        self.heard.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let stream = self.writer.lock().expect("no holder panics");
        // Its reader ends with it.
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

fn listen(mut stream: TcpStream, writer: &Mutex<TcpStream>, heard: &Heard) -> std::io::Result<()> {
    let mut payload = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        payload.resize(length, 0);
        stream.read_exact(&mut payload)?;
        let (kind, flags) = (head[3], head[4]);
        let mut answer = Vec::new();
        match kind {
            GOAWAY if length >= 8 => {
                let code = [payload[4], payload[5], payload[6], payload[7]];
                heard.goaway.store(u32::from_be_bytes(code), Ordering::SeqCst);
            }
            SETTINGS if flags & ACK == 0 => put_frame(&mut answer, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => put_frame(&mut answer, PING, ACK, 0, &payload),
            _ => {}
        }
        if !answer.is_empty() {
            writer.lock().expect("no holder panics").write_all(&answer)?;
        }
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    out.extend(&length[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A header field that is not indexed, its name given by the static table.
fn literal(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend(name);
    out.push(u8::try_from(value.len()).ok().filter(|n| *n < 127).expect("a short value"));
    out.extend(value.as_bytes());
}
