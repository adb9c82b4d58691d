//! What the tests of every crate stand on: fresh virtual hosts and databases on real servers, private servers that a
//! test may kill, programs as children, buckets, a proxy that breaks connections, servers behind TLS, and doubles of model
//! servers. Development only: no shipped binary depends on this crate.
//!
//! A server that a test needs and does not find is a failure with a hint, never a skip: `make test` starts all of them
//! (see the binary `ocelli-testkit`).

mod binaries;
pub mod buckets;
pub mod clouds;
pub mod models;
pub mod ports;
pub mod program;
pub mod proxy;
pub mod servers;
pub mod tls;
mod wait;

pub use binaries::bin;
pub use wait::wait_until;
