//! What clients call the server is no business of this server, and not always a legal name.
//!
//! etcdctl 3.4 sends the whole endpoint as `:authority` (`http://127.0.0.1:2379`), 3.5.0 sends
//! `#initially=[...]`, clients of a unix socket send its path, and gRPC's C core joins several
//! endpoints by `%2C`. grpc-go's server takes them all; `h2` resets the stream. So every literal
//! `:authority` is overwritten on its way in, in place and byte by byte, which keeps all lengths:
//! a Huffman-coded value becomes a plain one of as many bytes. That makes the entry in the
//! decoder's dynamic table no larger than the one in the encoder's, so everything the encoder
//! refers to is still there, at the same place (RFC 7541, sections 2.3.2 and 4).
//!
//! Why it is still done here, of all places: `h2` 0.4.20 parses the authority itself
//! (`server.rs`, `convert_poll_message`) and resets the stream before any code of ours has seen
//! the request; there is no setting for that, `http` 1.5's `Authority` takes none of the spellings
//! above (a test says so for as long as that is so), and the two ways around it cost more than
//! they save: a copy of `h2` with one line changed would have to be kept up with its security
//! fixes, and decoding and encoding every header block a second time needs a second dynamic table.
//! The frames have to be walked for [`Traffic`] in any case. All of the walk, heads and blocks,
//! takes 44 ns a request of 94 bytes (the headers of grpc-go once its table is warm, a put of 40
//! bytes, a window update; best of 200 runs, 2-core machine), of the 27,000 that a get costs.

use super::outbox::Outbox;
use super::traffic::Traffic;
use base::limits::UNHEARD_BYTES_MAX;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const PRIORITY_BYTES: usize = 5;
const TYPE_HEADERS: u8 = 1;
const TYPE_CONTINUATION: u8 = 9;
const FLAG_PADDED: u8 = 0x08;
const FLAG_PRIORITY: u8 = 0x20;
/// Place of `:authority` in HPACK's static table.
const INDEX_AUTHORITY: u8 = 1;
/// The same spelled out, as gRPC's C core does it, and that Huffman-coded (RFC 7541, appendix B).
const NAME_PLAIN: &[u8] = b":authority";
const NAME_CODED: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// What an authority is made of afterwards: a legal host name of any length.
const FILLER: u8 = b'q';
/// Longest integer followed, as a shift: more cannot be a length in one frame.
const SHIFT_MAX: u32 = 28;

const UNHEARD_MAX: Duration = Duration::from_secs(1);
/// Bytes read in one turn before other connections and the rest of the member get theirs: some
/// hundreds of the smallest calls.
const READ_BYTES_PER_TURN_MAX: usize = 64 * 1024;

/// A client's byte stream whose `:authority` values are blanked and whose frames are counted.
pub(super) struct Blanked {
    /// There until the end.
    inner: Option<OwnedReadHalf>,
    outbox: Rc<Outbox>,
    frames: Frames,
    traffic: Rc<Traffic>,
    read_in_turn: usize,
}

impl Blanked {
    pub(super) fn new(inner: OwnedReadHalf, outbox: Rc<Outbox>, traffic: Rc<Traffic>) -> Self {
        let frames = Frames::new(Rc::clone(&traffic));
        Self { inner: Some(inner), outbox, frames, traffic, read_in_turn: 0 }
    }
}

impl Drop for Blanked {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        if self.traffic.abandoned.get() {
            // What the kernel still holds for this client goes with the connection.
            let _ = inner.as_ref().set_zero_linger();
        } else if self.traffic.unheard.get() {
            tokio::task::spawn_local(discard(inner));
        }
    }
}

/// Reads to the end for a while.
async fn discard(mut socket: OwnedReadHalf) {
    let mut heard = tokio::io::AsyncReadExt::take(&mut socket, UNHEARD_BYTES_MAX);
    let mut nowhere = tokio::io::sink();
    let all = tokio::io::copy(&mut heard, &mut nowhere);
    // Whatever comes of it, the socket is closed.
    let _ = tokio::time::timeout(UNHEARD_MAX, all).await;
}

impl AsyncRead for Blanked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.read_in_turn >= READ_BYTES_PER_TURN_MAX {
            // The connection's task ends its turn, and wakes itself for the next.
            self.read_in_turn = 0;
            self.traffic.paused.set(true);
        }
        if self.traffic.paused.get() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled =
            Pin::new(self.inner.as_mut().expect("there until the drop")).poll_read(cx, buf);
        let read = &mut buf.filled_mut()[before..];
        self.traffic.read(read.len());
        self.read_in_turn = if polled.is_ready() { self.read_in_turn + read.len() } else { 0 };
        self.frames.pass(read);
        polled
    }
}

impl AsyncWrite for Blanked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.outbox.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.outbox.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.outbox.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.outbox.poll_shutdown(cx)
    }
}

/// Where in the stream of frames the next byte is.
enum At {
    /// So many bytes of no interest.
    Skip(usize),
    /// Collecting a frame's head.
    Head(usize),
    /// The padding length of a HEADERS frame.
    PadLength { rest: usize },
    /// Header block bytes, then padding.
    Block { rest: usize, padding: usize },
}

struct Frames {
    at: At,
    head: [u8; FRAME_HEAD_BYTES],
    fields: Fields,
    traffic: Rc<Traffic>,
}

impl Frames {
    fn new(traffic: Rc<Traffic>) -> Self {
        let (at, head) = (At::Skip(PREFACE_BYTES), [0; FRAME_HEAD_BYTES]);
        Self { at, head, fields: Fields::Start, traffic }
    }

    /// Blanks the authorities in the next bytes of the stream.
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.at {
                At::Skip(rest) => {
                    let taken = bytes.len().min(*rest);
                    *rest -= taken;
                    if *rest == 0 {
                        self.at = At::Head(0);
                    }
                    taken
                }
                At::Head(have) => {
                    let taken = bytes.len().min(FRAME_HEAD_BYTES - *have);
                    self.head[*have..*have + taken].copy_from_slice(&bytes[..taken]);
                    *have += taken;
                    if *have == FRAME_HEAD_BYTES {
                        self.at = self.begin();
                    }
                    taken
                }
                At::PadLength { rest } => {
                    self.at = block(*rest - 1, usize::from(bytes[0]));
                    1
                }
                At::Block { rest, padding } => {
                    let taken = bytes.len().min(*rest);
                    bytes[..taken].iter_mut().for_each(|byte| self.fields.pass(byte));
                    *rest -= taken;
                    if *rest == 0 {
                        self.at = At::Skip(*padding);
                    }
                    taken
                }
            };
            bytes = &mut bytes[taken..];
        }
    }

    /// What a complete frame head announces.
    fn begin(&mut self) -> At {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.traffic.frame(kind, flags);
        match kind {
            _ if length == 0 => At::Head(0),
            TYPE_HEADERS => {
                let priority = flags & FLAG_PRIORITY != 0;
                self.fields =
                    if priority { Fields::Priority(PRIORITY_BYTES) } else { Fields::Start };
                if flags & FLAG_PADDED != 0 {
                    At::PadLength { rest: length }
                } else {
                    block(length, 0)
                }
            }
            TYPE_CONTINUATION => At::Block { rest: length, padding: 0 },
            _ => At::Skip(length),
        }
    }
}

/// The block inside `length` bytes. Sizes that contradict each other are left to `h2` to refuse.
fn block(length: usize, padding: usize) -> At {
    if length > padding { At::Block { rest: length - padding, padding } } else { At::Skip(length) }
}

/// Where in a header block the next byte is (RFC 7541, sections 5 and 6).
enum Fields {
    /// Stream priority before the first field: so many bytes.
    Priority(usize),
    Start,
    /// In an integer whose value does not matter; a literal's value may follow.
    Integer {
        literal: bool,
    },
    /// The first byte of a string's length.
    Length(Text),
    LengthMore {
        length: usize,
        shift: u32,
        text: Text,
    },
    /// So many bytes of a string.
    Text {
        rest: usize,
        text: Text,
    },
    /// The block makes no sense: `h2` will say so.
    Lost,
}

/// What a string is.
#[derive(Clone, Copy)]
enum Text {
    /// A name, of which so much is spelled like `:authority`; its value follows.
    Name(Option<&'static [u8]>),
    Value,
    /// The value of `:authority`.
    Authority,
}

impl Text {
    /// As it is once its length is known: only a name as long can be the one that is looked for.
    fn of(self, length: usize) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.filter(|name| name.len() == length)),
            other => other,
        }
    }

    /// Whether the name that ends here was the one.
    fn value(self) -> Self {
        if matches!(self, Self::Name(Some([]))) { Self::Authority } else { Self::Value }
    }
}

impl Fields {
    fn pass(&mut self, byte: &mut u8) {
        let bits = *byte;
        match self {
            Self::Priority(rest) => {
                *rest -= 1;
                if *rest == 0 {
                    *self = Self::Start;
                }
            }
            Self::Start => *self = Self::field(bits),
            Self::Integer { literal } => {
                if bits & 0x80 == 0 {
                    *self = if *literal { Self::Length(Text::Value) } else { Self::Start };
                }
            }
            Self::Length(text) => {
                let (length, coded) = (usize::from(bits & 0x7f), bits & 0x80 != 0);
                let text = match text {
                    Text::Name(_) => Text::Name(Some(if coded { NAME_CODED } else { NAME_PLAIN })),
                    Text::Authority => {
                        *byte = bits & 0x7f; // no longer Huffman-coded
                        Text::Authority
                    }
                    Text::Value => Text::Value,
                };
                *self = if length == 0x7f {
                    Self::LengthMore { length, shift: 0, text }
                } else {
                    Self::text(length, text.of(length))
                };
            }
            Self::LengthMore { length, shift, text } => {
                *length += usize::from(bits & 0x7f) << *shift;
                *shift += 7;
                if bits & 0x80 == 0 {
                    *self = Self::text(*length, text.of(*length));
                } else if *shift > SHIFT_MAX {
                    *self = Self::Lost;
                }
            }
            Self::Text { rest, text } => {
                let text = match text {
                    Text::Name(name) => {
                        let rest = name.and_then(|name| name.split_first());
                        Text::Name(rest.filter(|(first, _)| **first == bits).map(|(_, rest)| rest))
                    }
                    Text::Authority => {
                        *byte = FILLER;
                        Text::Authority
                    }
                    Text::Value => Text::Value,
                };
                *self = Self::text(*rest - 1, text);
            }
            Self::Lost => {}
        }
    }

    /// What a field's first byte says is next.
    fn field(bits: u8) -> Self {
        let (mask, literal) = match bits {
            0x80.. => (0x7f, false),
            0x40..0x80 => (0x3f, true),
            0x20..0x40 => (0x1f, false),
            0x00..0x20 => (0x0f, true),
        };
        let index = bits & mask;
        if index == mask {
            Self::Integer { literal }
        } else if literal {
            Self::Length(match index {
                0 => Text::Name(None),
                INDEX_AUTHORITY => Text::Authority,
                _ => Text::Value,
            })
        } else {
            Self::Start
        }
    }

    /// The state in front of `rest` more bytes of a string.
    fn text(rest: usize, text: Text) -> Self {
        match (rest, text) {
            (0, Text::Name(_)) => Self::Length(text.value()),
            (0, _) => Self::Start,
            _ => Self::Text { rest, text },
        }
    }
}

#[cfg(test)]
mod tests;
