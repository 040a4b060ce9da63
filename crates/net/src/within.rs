//! Where one message ends and the next begins in what a stream is sent.

use super::frames::FRAME_HEAD_BYTES;

/// How far into a message a stream is; each is a flag, its length in four bytes, and so many more.
#[derive(Debug, Default)]
pub(super) struct Within {
    /// What there is of a head that is not whole.
    head: [u8; FRAME_HEAD_BYTES],
    had: usize,
    /// Bytes to come of the message whose head is whole.
    left: usize,
}

impl Within {
    /// Takes in what follows.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let body = self.left.min(bytes.len());
            (self.left, bytes) = (self.left - body, &bytes[body..]);
            if bytes.is_empty() {
                return;
            }
            let taken = (FRAME_HEAD_BYTES - self.had).min(bytes.len());
            self.head[self.had..self.had + taken].copy_from_slice(&bytes[..taken]);
            (self.had, bytes) = (self.had + taken, &bytes[taken..]);
            if self.had == FRAME_HEAD_BYTES {
                let [_, length @ ..] = self.head;
                (self.left, self.had) = (u32::from_be_bytes(length) as usize, 0);
            }
        }
    }

    /// A message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.had > 0 || self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_stream_is_cut_it_is_known_whether_that_is_inside_a_message() {
        let message = |len: usize| {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&u32::try_from(len).expect("short").to_be_bytes());
            bytes.resize(FRAME_HEAD_BYTES + len, 7);
            bytes
        };
        let (mut all, mut ends) = (Vec::new(), vec![0]);
        for len in [3, 0, 0, 300, 1] {
            all.extend(message(len));
            ends.push(all.len());
        }
        for piece in 1..20 {
            let (mut within, mut upto) = (Within::default(), 0);
            for bytes in all.chunks(piece) {
                within.pass(bytes);
                upto += bytes.len();
                assert_eq!(within.is_inside(), !ends.contains(&upto), "{upto} in {piece}s");
            }
        }
    }
}
