//! The cases of the conformance suite.

mod consuming;
mod publishing;
mod settling;

pub(crate) use consuming::*;
pub(crate) use publishing::*;
pub(crate) use settling::*;
