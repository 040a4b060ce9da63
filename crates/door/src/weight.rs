//! How long an answer gets, about, and so how it is written down.

use crate::cursor::KEY_VALUE_OVERHEAD_BYTES;
use crate::query::Found;
use base::limits::COUNTED_BYTES_MAX;
use mvcc::{KeyValue, Response, ResponseOp, TxnResponse};

/// Bytes of the id of a lease in any front's form at most.
const LEASE_BYTES: usize = 16;
/// Bytes of a key beside itself, in any front's form at most.
const KEY_OVERHEAD_BYTES: usize = 8;

/// Adds up the bytes of an answer, until they are many.
#[derive(Default)]
struct Scales(usize);

impl Scales {
    const fn is_full(&self) -> bool {
        self.0 >= COUNTED_BYTES_MAX
    }

    fn key_values<'a>(&mut self, all: impl IntoIterator<Item = &'a KeyValue>) {
        self.0 += KEY_VALUE_OVERHEAD_BYTES;
        for kv in all {
            if self.is_full() {
                return;
            }
            self.0 += KEY_VALUE_OVERHEAD_BYTES + kv.key.len() + kv.value.len();
        }
    }

    fn txn(&mut self, txn: &TxnResponse) {
        self.0 += KEY_VALUE_OVERHEAD_BYTES;
        for op in &txn.responses {
            if self.is_full() {
                return;
            }
            match op {
                ResponseOp::Range(range) => self.key_values(&range.kvs),
                ResponseOp::Put(put) => self.key_values(&put.prev_kv),
                ResponseOp::Delete(delete) => self.key_values(&delete.prev_kvs),
                ResponseOp::Txn(txn) => self.txn(txn),
            }
        }
    }

    fn read(self) -> usize {
        assert!(self.0 > 0, "no answer is nothing");
        self.0.min(COUNTED_BYTES_MAX)
    }
}

/// Bytes of an answer that tells what was found, about.
pub(crate) fn of_found(found: &Found) -> usize {
    let mut scales = Scales::default();
    match found {
        Found::Range(range) => scales.key_values(&range.kvs),
        Found::Txn(txn) => scales.txn(txn),
        Found::Leases(ids) => {
            scales.0 = KEY_VALUE_OVERHEAD_BYTES + ids.len().saturating_mul(LEASE_BYTES);
        }
        Found::Hash(_) | Found::Lease(None) => scales.0 = KEY_VALUE_OVERHEAD_BYTES,
        Found::Lease(Some(lease)) => {
            let each = lease.keys.iter().map(|key| key.len() + KEY_OVERHEAD_BYTES);
            let counted = COUNTED_BYTES_MAX / KEY_OVERHEAD_BYTES;
            scales.0 = KEY_VALUE_OVERHEAD_BYTES + each.take(counted).sum::<usize>();
        }
    }
    scales.read()
}

/// Bytes of an answer to a write, about; [`COUNTED_BYTES_MAX`] stands for more, and one value at
/// most counts as none: there is nothing to cut.
pub fn response_bytes(response: &Response) -> usize {
    let mut scales = Scales::default();
    match response {
        Response::Delete(delete) => scales.key_values(&delete.prev_kvs),
        Response::Txn(txn) => scales.txn(txn),
        _ => scales.0 = KEY_VALUE_OVERHEAD_BYTES,
    }
    scales.read()
}
