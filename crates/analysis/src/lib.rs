//! What a quorum system costs and what it survives.
