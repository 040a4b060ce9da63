//! The small synchronous disk the journal and the checkpoints stand on.

mod mem;
mod part;
mod real;

pub use mem::MemDisk;
pub use part::Part;
pub use real::{DirLock, RealDisk, free_bytes};

use crate::ours::{Ours, Shape};
use std::io;

/// One flat directory. Names never hold a separator.
pub trait Disk: Send {
    /// Names of all files, sorted.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// Opens an existing file.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file, or empties the one that is there.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Atomic; replaces `to`. Durable only after [`Disk::sync_dir`].
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Only what is proven to be ours.
    fn remove(&mut self, file: &Ours) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&mut self) -> io::Result<()>;
}

impl Disk for Box<dyn Disk> {
    fn list(&mut self) -> io::Result<Vec<String>> {
        (**self).list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (**self).open(name)
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (**self).create(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        (**self).remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        (**self).sync_dir()
    }
}

/// An open file. Offsets and lengths are bytes.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: Send {
    fn len(&mut self) -> io::Result<u64>;
    /// Bytes read: less than asked only at the end of the file.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes`; extends the file, with zeros before `offset` if needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// `fdatasync`: content and length are durable on return. Never retried after an error.
    fn sync(&mut self) -> io::Result<()>;
}

/// Reads exactly `len` bytes, or fewer at the end of the file.
pub(crate) fn read_up_to(file: &mut dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done != len {
        let n = file.read_at(offset + done as u64, &mut bytes[done..])?;
        if n == 0 {
            break;
        }
        done += n;
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// Removes a file of this shape by the name that this process gave it.
pub fn remove_named(disk: &mut dyn Disk, shape: Shape, name: &str) -> io::Result<()> {
    let ours = shape.own(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no file of ours"))
    })?;
    disk.remove(&ours)
}

/// Whether an open segment was begun and never written to: all behind its header is zero.
pub(crate) fn is_blank(file: &mut dyn DiskFile, from: usize) -> io::Result<bool> {
    let mut at = from as u64;
    let mut piece = vec![0; 64 << 10];
    loop {
        let n = file.read_at(at, &mut piece)?;
        if n == 0 {
            return Ok(true);
        }
        if piece[..n].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three bytes at a time, as an operating system may.
    struct Slow(&'static [u8]);

    impl DiskFile for Slow {
        fn len(&mut self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[self.0.len().min(offset as usize)..];
            let n = rest.len().min(into.len()).min(3);
            into[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
        fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!("only read")
        }
        fn set_len(&mut self, _: u64) -> io::Result<()> {
            unreachable!("only read")
        }
        fn sync(&mut self) -> io::Result<()> {
            unreachable!("only read")
        }
    }

    #[test]
    fn short_reads_are_carried_on_to_the_length_asked_or_the_end() {
        let mut file = Slow(b"0123456789");
        let mut read = |offset, len| read_up_to(&mut file, offset, len).unwrap();
        assert_eq!(read(0, 10), b"0123456789");
        assert_eq!(read(2, 5), b"23456");
        assert_eq!(read(2, 99), b"23456789");
        assert_eq!((read(3, 0), read(10, 4), read(11, 4)), (vec![], vec![], vec![]));
    }
}
