//! Proof by damage, development only: no shipped binary depends on this crate.
//!
//! The binary `ocelli-chaos` kills, cuts, freezes and starves the real programs on real servers and counts what that
//! cost. This library holds the other half: [`simulation`], thousands of small fleets per second, each with the faults
//! that its seed draws, in one thread and without a clock.
//!
//! Absent on purpose: a second implementation of anything that is decided in a pure function elsewhere.

pub mod simulation;
