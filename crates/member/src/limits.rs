//! Limits that the configuration replicates, by their names.

use cluster::Configuration;

/// Bytes of all retained versions.
pub const LIMIT_QUOTA: &str = "quota_bytes";
/// Operations of one transaction.
pub const LIMIT_TXN_OPS: &str = "max_txn_ops";

/// A replicated limit, or `default` where the configuration has none.
pub fn limit(config: &Configuration, name: &str, default: u64) -> u64 {
    let found = config.limits.iter().find(|(limit, _)| limit == name);
    found.map_or(default, |(_, value)| *value)
}

/// The data model's limits as this cluster replicates them.
pub fn store_limits(config: &Configuration) -> mvcc::Limits {
    let mut limits = mvcc::Limits::default();
    limits.quota_bytes = limit(config, LIMIT_QUOTA, limits.quota_bytes);
    let ops = limit(config, LIMIT_TXN_OPS, limits.max_txn_ops as u64);
    limits.max_txn_ops = usize::try_from(ops).unwrap_or(usize::MAX);
    limits
}
