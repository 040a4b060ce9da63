//! The client port over real sockets, with a service made for the test.

mod calls;
mod http;
mod service;
