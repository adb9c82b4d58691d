//! The words of ocelli as types, and every decision that can be made without touching the world.
//!
//! All other crates use this one; it uses none of them. It opens no file, no socket and never reads the clock or a
//! random source: times and jitter are arguments. That keeps record assembly, retry and routing testable as plain
//! functions.
//!
//! | module | room for |
//! |---|---|
//! | [`agreement`] | what model answers quote, looked up in what others read |
//! | [`claim`] | who works on which job |
//! | [`mod@chain`] | an error with its causes, as text |
//! | [`estimate`] | what so many jobs will take, from what others took |
//! | [`ids`] | [`Digest`], [`AnalyzerName`], [`Revision`], [`BatchId`] |
//! | [`source`] | [`SourceUri`]: where bytes were found |
//! | [`image`] | facts about an image that need no pixels |
//! | [`meta`] | what lists say about references: [`Meta`] |
//! | [`member`] | members of archives as sources |
//! | [`needs`] | analyzers that read what others answered: [`Dependence`], [`NeededText`] |
//! | [`object`] | objects of buckets as sources |
//! | [`outcome`] | what an analyzer answered: [`Outcome`], [`Reading`], [`FailureClass`], [`Provenance`] |
//! | [`phash`] | what images look like: [`PerceptualHash`] |
//! | [`record`] | [`Record`] and its merge |
//! | [`spend`] | what attempts cost, and budgets |
//! | [`wire`] | the messages on the queues and their versioned envelope |
//! | [`retry`] | what happens after a failed attempt |
//! | [`routing`] | queue names |

pub mod agreement;
pub mod chain;
pub mod claim;
pub mod estimate;
pub mod ids;
pub mod image;
pub mod member;
pub mod meta;
pub mod needs;
pub mod object;
pub mod outcome;
pub mod phash;
pub mod record;
pub mod retry;
pub mod routing;
pub mod source;
pub mod spend;
pub mod trace;
pub mod wire;

pub use chain::chain;
pub use ids::{AnalyzerName, BatchId, Digest, DigestPrefix, Revision, RevisionBuilder};
pub use image::{ImageFacts, ImageFormat};
pub use meta::{Meta, Said};
pub use needs::{Dependence, LeftOut, Need, NeededText, RuleText};
pub use outcome::{
    Analysis, FailureClass, Flag, Outcome, OutcomeKind, Provenance, Reading, Section, Step, Word,
};
pub use phash::PerceptualHash;
pub use record::{Record, Sighting, Want};
pub use source::SourceUri;
pub use spend::{AttemptId, Budget, Limit, Micros, Period, Spent};
