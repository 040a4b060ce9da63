//! Histories of operations, and whether an order of them exists that explains every answer.
