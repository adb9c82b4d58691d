//! The analyzer against doubles of model servers, over real HTTP, each protocol.

mod answers;
mod endpoints;
mod harness;
mod hostile;
mod json;
mod ledger;
mod limits;
mod probing;
mod tls;
