//! One file per command.

pub(crate) mod audit;
pub(crate) mod backfill;
pub(crate) mod batch;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod failures;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod produce;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod similar;
pub(crate) mod sizing;
pub(crate) mod spend;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod verify;
