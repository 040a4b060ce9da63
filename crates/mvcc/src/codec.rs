//! Commands as bytes: a version, a kind, then fixed fields. Any bytes decode or are refused.

use crate::command::{AlarmAction, AlarmKind, Command};
use crate::types::{
    Compare, CompareOp, CompareTarget, DeleteRequest, PutRequest, RangeRequest, SortOrder,
    SortTarget, TXN_DEPTH_MAX, TxnOp, TxnRequest,
};
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};

pub(crate) const VERSION: u8 = 1;

pub(crate) fn version(input: &mut Get<'_>) -> Result<(), DecodeError> {
    match input.u8()? {
        VERSION => Ok(()),
        other => unknown("command codec version", other),
    }
}

pub(crate) fn unknown<T>(what: &'static str, value: u8) -> Result<T, DecodeError> {
    Err(DecodeError::Unknown { what, value: u64::from(value) })
}

pub(crate) fn put_count(count: usize, out: &mut impl Put) {
    out.put_u32(u32::try_from(count).expect("lists are bounded by the request size"));
}

/// Reads a list; a forged count costs no memory ahead of its items.
pub(crate) fn list<'a, T>(
    input: &mut Get<'a>,
    mut item: impl FnMut(&mut Get<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = input.u32()?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(input)?);
    }
    Ok(items)
}

impl Command {
    /// Writes it to a buffer, or to what takes the same fields.
    pub fn encode(&self, out: &mut impl Put) {
        out.put_u8(VERSION);
        match self {
            Self::Put(request) => {
                out.put_u8(1);
                put(request, out);
            }
            Self::Delete(request) => {
                out.put_u8(2);
                delete(request, out);
            }
            Self::Txn(request) => {
                out.put_u8(3);
                txn(request, out);
            }
            Self::Compact { revision } => {
                out.put_u8(4);
                out.put_i64(*revision);
            }
            Self::LeaseGrant { id, ttl } => {
                out.put_u8(5);
                out.put_i64(*id);
                out.put_i64(*ttl);
            }
            Self::LeaseRevoke { id, renewal } => {
                out.put_u8(6);
                out.put_i64(*id);
                out.put_u8(u8::from(renewal.is_some()));
                out.put_u64(renewal.unwrap_or(0));
            }
            Self::LeaseRenew { ids } => {
                out.put_u8(7);
                put_count(ids.len(), out);
                ids.iter().for_each(|id| out.put_i64(*id));
            }
            Self::Alarm { action, member, kind } => {
                out.put_u8(8);
                out.put_u8(*action as u8);
                out.put_u64(*member);
                out.put_u8(*kind as u8);
            }
        }
    }

    /// What [`Command::encode`] wrote.
    ///
    /// # Errors
    /// Short, unknown or invalid bytes; what follows the command is left in `input`.
    pub fn decode(input: &mut Get<'_>) -> Result<Self, DecodeError> {
        version(input)?;
        Ok(match input.u8()? {
            1 => Self::Put(get_put(input)?),
            2 => Self::Delete(get_delete(input)?),
            3 => Self::Txn(get_txn(input, 0)?),
            4 => Self::Compact { revision: input.i64()? },
            5 => Self::LeaseGrant { id: input.i64()?, ttl: input.i64()? },
            6 => {
                let (id, is_some, renewal) = (input.i64()?, input.bool()?, input.u64()?);
                Self::LeaseRevoke { id, renewal: is_some.then_some(renewal) }
            }
            7 => Self::LeaseRenew { ids: list(input, Get::i64)? },
            8 => Self::Alarm {
                action: match input.u8()? {
                    0 => AlarmAction::Get,
                    1 => AlarmAction::Activate,
                    2 => AlarmAction::Deactivate,
                    other => return unknown("alarm action", other),
                },
                member: input.u64()?,
                kind: alarm_kind(input)?,
            },
            other => return unknown("command", other),
        })
    }
}

pub(crate) fn alarm_kind(input: &mut Get<'_>) -> Result<AlarmKind, DecodeError> {
    Ok(match input.u8()? {
        0 => AlarmKind::None,
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        3 => AlarmKind::LowDisk,
        4 => AlarmKind::LowMark,
        other => return unknown("alarm kind", other),
    })
}

fn put<O: Put>(r: &PutRequest, out: &mut O) {
    out.put_bytes(&r.key);
    out.put_bytes(&r.value);
    out.put_i64(r.lease);
    [r.prev_kv, r.ignore_value, r.ignore_lease].iter().for_each(|x| out.put_u8(u8::from(*x)));
}

fn get_put(input: &mut Get<'_>) -> Result<PutRequest, DecodeError> {
    Ok(PutRequest {
        key: input.blob()?,
        value: input.blob()?,
        lease: input.i64()?,
        prev_kv: input.bool()?,
        ignore_value: input.bool()?,
        ignore_lease: input.bool()?,
    })
}

fn delete<O: Put>(r: &DeleteRequest, out: &mut O) {
    out.put_bytes(&r.key);
    out.put_bytes(&r.range_end);
    out.put_u8(u8::from(r.prev_kv));
}

fn get_delete(input: &mut Get<'_>) -> Result<DeleteRequest, DecodeError> {
    Ok(DeleteRequest { key: input.blob()?, range_end: input.blob()?, prev_kv: input.bool()? })
}

fn range<O: Put>(r: &RangeRequest, out: &mut O) {
    out.put_bytes(&r.key);
    out.put_bytes(&r.range_end);
    out.put_i64(r.limit);
    out.put_i64(r.revision);
    out.put_u8(r.sort_order as u8);
    out.put_u8(r.sort_target as u8);
    [r.keys_only, r.count_only, r.serializable].iter().for_each(|x| out.put_u8(u8::from(*x)));
    out.put_i64(r.min_mod_revision);
    out.put_i64(r.max_mod_revision);
    out.put_i64(r.min_create_revision);
    out.put_i64(r.max_create_revision);
}

fn get_range(input: &mut Get<'_>) -> Result<RangeRequest, DecodeError> {
    let invalid = DecodeError::Invalid { what: "sort option" };
    Ok(RangeRequest {
        key: input.blob()?,
        range_end: input.blob()?,
        limit: input.i64()?,
        revision: input.i64()?,
        sort_order: SortOrder::from_number(i32::from(input.u8()?)).ok_or(invalid)?,
        sort_target: SortTarget::from_number(i32::from(input.u8()?)).ok_or(invalid)?,
        keys_only: input.bool()?,
        count_only: input.bool()?,
        serializable: input.bool()?,
        min_mod_revision: input.i64()?,
        max_mod_revision: input.i64()?,
        min_create_revision: input.i64()?,
        max_create_revision: input.i64()?,
    })
}

/// How each kind of operation, or of answer, is written.
pub(crate) struct PutOps<O, R, P, D, T> {
    pub range: fn(&R, &mut O),
    pub put: fn(&P, &mut O),
    pub delete: fn(&D, &mut O),
    pub txn: fn(&T, &mut O),
}

impl<O: Put, R, P, D, T> PutOps<O, R, P, D, T> {
    pub fn write(&self, ops: &[TxnOp<R, P, D, T>], out: &mut O) {
        put_count(ops.len(), out);
        for op in ops {
            out.put_u8(match op {
                TxnOp::Range(_) => 1,
                TxnOp::Put(_) => 2,
                TxnOp::Delete(_) => 3,
                TxnOp::Txn(_) => 4,
            });
            match op {
                TxnOp::Range(x) => (self.range)(x, out),
                TxnOp::Put(x) => (self.put)(x, out),
                TxnOp::Delete(x) => (self.delete)(x, out),
                TxnOp::Txn(x) => (self.txn)(x, out),
            }
        }
    }
}

type GetOne<X> = fn(&mut Get<'_>) -> Result<X, DecodeError>;

/// How each kind is read; a nested transaction is told its depth.
pub(crate) struct GetOps<R, P, D, T> {
    pub range: GetOne<R>,
    pub put: GetOne<P>,
    pub delete: GetOne<D>,
    pub txn: fn(&mut Get<'_>, usize) -> Result<T, DecodeError>,
}

impl<R, P, D, T> GetOps<R, P, D, T> {
    /// The operations of a transaction at `depth`; a deep nest is refused, not followed.
    pub fn read(
        &self,
        input: &mut Get<'_>,
        depth: usize,
    ) -> Result<Vec<TxnOp<R, P, D, T>>, DecodeError> {
        if depth > TXN_DEPTH_MAX {
            return Err(DecodeError::Invalid { what: "depth of nested transactions" });
        }
        list(input, |input| {
            Ok(match input.u8()? {
                1 => TxnOp::Range((self.range)(input)?),
                2 => TxnOp::Put((self.put)(input)?),
                3 => TxnOp::Delete((self.delete)(input)?),
                4 => TxnOp::Txn((self.txn)(input, depth + 1)?),
                other => return unknown("transaction operation", other),
            })
        })
    }
}

fn txn<O: Put>(r: &TxnRequest, out: &mut O) {
    put_count(r.compare.len(), out);
    r.compare.iter().for_each(|x| compare(x, out));
    let ops = PutOps { range, put, delete, txn };
    ops.write(&r.success, out);
    ops.write(&r.failure, out);
}

fn get_txn(input: &mut Get<'_>, depth: usize) -> Result<TxnRequest, DecodeError> {
    let ops = GetOps { range: get_range, put: get_put, delete: get_delete, txn: get_txn };
    Ok(TxnRequest {
        compare: list(input, get_compare)?,
        success: ops.read(input, depth)?,
        failure: ops.read(input, depth)?,
    })
}

fn compare(c: &Compare, out: &mut impl Put) {
    out.put_bytes(&c.key);
    out.put_bytes(&c.range_end);
    out.put_u8(c.op as u8);
    let (target, number) = match &c.target {
        CompareTarget::Version(x) => (0, *x),
        CompareTarget::Create(x) => (1, *x),
        CompareTarget::Mod(x) => (2, *x),
        CompareTarget::Lease(x) => (3, *x),
        CompareTarget::Value(value) => {
            out.put_u8(4);
            return out.put_bytes(value);
        }
    };
    out.put_u8(target);
    out.put_i64(number);
}

fn get_compare(input: &mut Get<'_>) -> Result<Compare, DecodeError> {
    Ok(Compare {
        key: input.blob()?,
        range_end: input.blob()?,
        op: match input.u8()? {
            0 => CompareOp::Equal,
            1 => CompareOp::Greater,
            2 => CompareOp::Less,
            3 => CompareOp::NotEqual,
            other => return unknown("compare operator", other),
        },
        target: match input.u8()? {
            0 => CompareTarget::Version(input.i64()?),
            1 => CompareTarget::Create(input.i64()?),
            2 => CompareTarget::Mod(input.i64()?),
            3 => CompareTarget::Lease(input.i64()?),
            4 => CompareTarget::Value(input.blob()?),
            other => return unknown("compare target", other),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_nest_of_transactions_is_read_and_one_deeper_is_refused() {
        let nested = |depth: usize| {
            let op = |request| TxnOp::Txn(request);
            (0..depth).fold(TxnRequest::default(), |inner, _| TxnRequest {
                success: Vec::from([op(inner)]),
                ..TxnRequest::default()
            })
        };
        let read = |command: &Command| {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            Command::decode(&mut Get::new(&bytes))
        };
        let deepest = Command::Txn(nested(TXN_DEPTH_MAX));
        assert_eq!(read(&deepest).as_ref(), Ok(&deepest));
        let refused = Err(DecodeError::Invalid { what: "depth of nested transactions" });
        assert_eq!(read(&Command::Txn(nested(TXN_DEPTH_MAX + 1))), refused);
    }
}
