//! Lists as bytes: a length, then each.

use alloc::string::String;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::limits::URLS_MAX;

pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32(u32::try_from(len).expect("configuration lists are short"));
}

pub(crate) fn get_len(get: &mut Get<'_>, max: usize) -> Result<usize, DecodeError> {
    let len = get.u32()? as usize;
    if len > max {
        return Err(DecodeError::Invalid { what: "list length" });
    }
    Ok(len)
}

pub(crate) fn put_strings(out: &mut Vec<u8>, strings: &[String]) {
    put_len(out, strings.len());
    strings.iter().for_each(|s| out.put_bytes(s.as_bytes()));
}

pub(crate) fn get_strings(get: &mut Get<'_>) -> Result<Vec<String>, DecodeError> {
    (0..get_len(get, URLS_MAX)?).map(|_| Ok(String::from(get.str()?))).collect()
}
