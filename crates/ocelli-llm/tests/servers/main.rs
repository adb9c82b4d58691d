//! The analyzer against doubles of model servers, over real HTTP, each protocol.

mod answers;
mod endpoints;
mod harness;
mod hostile;
mod limits;
mod probing;
