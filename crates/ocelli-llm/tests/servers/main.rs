//! The analyzer against doubles of model servers, over real HTTP, each protocol.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod answers;
mod endpoints;
mod harness;
mod hostile;
mod json;
mod ledger;
mod limits;
mod probing;
mod recorded;
mod tls;
