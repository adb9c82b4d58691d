//! Everything that is tested across crates, in one binary: one file per concern.

mod tidy;
