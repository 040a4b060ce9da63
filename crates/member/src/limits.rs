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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::configuration;

    #[test]
    fn limits_are_those_that_the_configuration_names() {
        let mut config = configuration(&[], "majority(a)");
        config.limits.push(("other".to_string(), 5));
        let own = mvcc::Limits::default();
        let found = store_limits(&config);
        assert_eq!((found.quota_bytes, found.max_txn_ops), (own.quota_bytes, own.max_txn_ops));
        config.limits.push((LIMIT_QUOTA.to_string(), 7000));
        config.limits.push((LIMIT_TXN_OPS.to_string(), 9));
        let found = store_limits(&config);
        assert_eq!((found.quota_bytes, found.max_txn_ops), (7000, 9));
        assert_eq!(limit(&config, "other", 1), 5);
        assert_eq!(limit(&config, "none", 1), 1);
    }
}
