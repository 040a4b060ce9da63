//! Requests in words.

use base::Blob;
use mvcc::{DeleteRequest, PutRequest};

pub fn b(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: b(key), value: b(value), ..PutRequest::default() }
}

pub fn delete(key: &str, end: &str) -> DeleteRequest {
    DeleteRequest { key: b(key), range_end: b(end), prev_kv: false }
}
