//! A small etcd v3 client.
