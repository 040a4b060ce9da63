//! Answers and refusals as bytes.

use crate::codec::{GetOps, PutOps, VERSION, alarm_kind, list, put_count, unknown, version};
use crate::command::{Error, Response};
use crate::types::{DeleteResponse, KeyValue, PutResponse, RangeResponse, TxnResponse};
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};

impl Response {
    /// A version, a kind, then fixed fields, as commands have them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        match self {
            Self::Put(response) => {
                out.put_u8(1);
                put(response, out);
            }
            Self::Delete(response) => {
                out.put_u8(2);
                delete(response, out);
            }
            Self::Txn(response) => {
                out.put_u8(3);
                txn(response, out);
            }
            Self::Compact { revision } => {
                out.put_u8(4);
                out.put_i64(*revision);
            }
            Self::LeaseGrant { id, ttl, revision } => {
                out.put_u8(5);
                [*id, *ttl, *revision].iter().for_each(|x| out.put_i64(*x));
            }
            Self::LeaseRevoke { revision } => {
                out.put_u8(6);
                out.put_i64(*revision);
            }
            Self::LeaseRenew { ttls } => {
                out.put_u8(7);
                put_count(ttls.len(), out);
                for (id, ttl) in ttls {
                    out.put_i64(*id);
                    out.put_i64(*ttl);
                }
            }
            Self::Alarm { alarms } => {
                out.put_u8(8);
                put_count(alarms.len(), out);
                for (member, kind) in alarms {
                    out.put_u64(*member);
                    out.put_u8(*kind as u8);
                }
            }
        }
    }

    /// What [`Response::encode`] wrote.
    ///
    /// # Errors
    /// Short, unknown or invalid bytes.
    pub fn decode(input: &mut Get<'_>) -> Result<Self, DecodeError> {
        version(input)?;
        Ok(match input.u8()? {
            1 => Self::Put(get_put(input)?),
            2 => Self::Delete(get_delete(input)?),
            3 => Self::Txn(get_txn(input, 0)?),
            4 => Self::Compact { revision: input.i64()? },
            5 => Self::LeaseGrant { id: input.i64()?, ttl: input.i64()?, revision: input.i64()? },
            6 => Self::LeaseRevoke { revision: input.i64()? },
            7 => Self::LeaseRenew { ttls: list(input, |x| Ok((x.i64()?, x.i64()?)))? },
            8 => Self::Alarm { alarms: list(input, |x| Ok((x.u64()?, alarm_kind(x)?)))? },
            other => return unknown("response", other),
        })
    }
}

impl Error {
    /// A version and the error's number, one byte each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_u8(*self as u8);
    }

    /// What [`Error::encode`] wrote.
    ///
    /// # Errors
    /// Short or unknown bytes.
    pub fn decode(input: &mut Get<'_>) -> Result<Self, DecodeError> {
        version(input)?;
        let number = input.u8()?;
        let error = Self::ALL.get(usize::from(number)).copied();
        error.ok_or(DecodeError::Unknown { what: "error", value: u64::from(number) })
    }
}

pub(crate) fn key_value(kv: &KeyValue, out: &mut impl Put) {
    out.put_bytes(&kv.key);
    out.put_bytes(&kv.value);
    let numbers = [kv.create_revision, kv.mod_revision, kv.version, kv.lease];
    numbers.iter().for_each(|x| out.put_i64(*x));
}

pub(crate) fn get_key_value(input: &mut Get<'_>) -> Result<KeyValue, DecodeError> {
    Ok(KeyValue {
        key: input.blob()?,
        value: input.blob()?,
        create_revision: input.i64()?,
        mod_revision: input.i64()?,
        version: input.i64()?,
        lease: input.i64()?,
    })
}

fn key_values(kvs: &[KeyValue], out: &mut Vec<u8>) {
    put_count(kvs.len(), out);
    kvs.iter().for_each(|kv| key_value(kv, out));
}

fn put(r: &PutResponse, out: &mut Vec<u8>) {
    out.put_i64(r.revision);
    key_values(r.prev_kv.as_slice(), out);
}

fn get_put(input: &mut Get<'_>) -> Result<PutResponse, DecodeError> {
    let revision = input.i64()?;
    let mut prev = list(input, get_key_value)?;
    if prev.len() > 1 {
        return Err(DecodeError::Invalid { what: "previous values of a put" });
    }
    Ok(PutResponse { revision, prev_kv: prev.pop() })
}

fn delete(r: &DeleteResponse, out: &mut Vec<u8>) {
    out.put_i64(r.revision);
    out.put_i64(r.deleted);
    key_values(&r.prev_kvs, out);
}

fn get_delete(input: &mut Get<'_>) -> Result<DeleteResponse, DecodeError> {
    let (revision, deleted) = (input.i64()?, input.i64()?);
    Ok(DeleteResponse { revision, deleted, prev_kvs: list(input, get_key_value)? })
}

fn range(r: &RangeResponse, out: &mut Vec<u8>) {
    out.put_i64(r.revision);
    out.put_i64(r.count);
    out.put_u8(u8::from(r.more));
    key_values(&r.kvs, out);
}

fn get_range(input: &mut Get<'_>) -> Result<RangeResponse, DecodeError> {
    let (revision, count, more) = (input.i64()?, input.i64()?, input.bool()?);
    Ok(RangeResponse { revision, count, more, kvs: list(input, get_key_value)? })
}

fn txn(r: &TxnResponse, out: &mut Vec<u8>) {
    out.put_i64(r.revision);
    out.put_u8(u8::from(r.succeeded));
    PutOps { range, put, delete, txn }.write(&r.responses, out);
}

fn get_txn(input: &mut Get<'_>, depth: usize) -> Result<TxnResponse, DecodeError> {
    let ops = GetOps { range: get_range, put: get_put, delete: get_delete, txn: get_txn };
    let (revision, succeeded) = (input.i64()?, input.bool()?);
    Ok(TxnResponse { revision, succeeded, responses: ops.read(input, depth)? })
}
