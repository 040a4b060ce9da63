//! Numbers in as few bytes as they need: seven bits each, low ones first.

use alloc::vec::Vec;

pub(super) fn put_u64(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small ones of either sign are short.
pub(super) fn put_i64(number: i64, out: &mut Vec<u8>) {
    put_u64(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
}

/// Takes one off the front of what [`put_u64`] wrote; none of anything else.
pub(super) fn get_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // One form for each number.
            return (byte > 0 || shift == 0).then_some(number);
        }
        shift += 7;
        if shift >= 64 {
            return None;
        }
    }
}

pub(super) fn get_i64(bytes: &mut &[u8]) -> Option<i64> {
    let number = get_u64(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// The next eight bytes as they are.
pub(super) fn get_word(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

pub(super) fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_small_ones_take_a_byte() {
        let edges = [0, 1, 63, 64, 127, 128, 1 << 32, u64::MAX - 1, u64::MAX];
        for number in edges {
            let mut out = Vec::new();
            put_u64(number, &mut out);
            assert_eq!((get_u64(&mut &out[..]), out.len() == 1), (Some(number), number < 128));
            assert_eq!(get_u64(&mut &out[..out.len() - 1]), None, "cut short");
        }
        for number in [0, -1, 1, -64, 63, 64, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_i64(number, &mut out);
            let small = (-64..64).contains(&number);
            assert_eq!((get_i64(&mut &out[..]), out.len() == 1), (Some(number), small));
        }
    }
    #[test]
    fn what_nobody_writes_is_no_number() {
        assert_eq!(get_u64(&mut &[0x80, 0][..]), None, "a longer form of 0");
        assert_eq!(get_u64(&mut &[0xff; 11][..]), None);
        assert_eq!(get_u64(&mut &[][..]), None);
        assert_eq!(get_word(&mut &[1; 7][..]), None);
    }
}
