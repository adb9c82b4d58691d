//! Everything that is tested across crates, in one binary: one file per concern.
//!
//! Nothing here replaces a part of the system: tests start the built programs as a user would, on real images, with
//! the real RabbitMQ and PostgreSQL of `make test`. Only the vision models are doubles, which speak the real servers'
//! wire formats.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agreement;
mod audit;
mod backfill;
mod bad_input;
mod batches;
mod bringing;
mod buckets;
mod carrying;
mod cli;
mod crash;
mod deploy;
mod deploy_dashboards;
mod deploy_files;
mod deploy_package;
mod deploy_rules;
mod distributed;
mod embedded;
mod events;
mod export;
mod export_bucket;
mod failpoints;
mod failures;
mod hanging;
mod health;
mod kept;
mod metrics;
mod models;
mod monitoring;
mod objectives;
mod promql;
mod real_model;
mod roles;
mod rules;
mod search;
mod security;
mod services;
mod shipped;
mod similar;
mod site;
mod spend;
mod startup;
mod strangers;
mod supply;
mod tidy;
mod top;
mod tracing;
mod watching;
mod web;
mod web_showing;
mod web_taking;
mod world;
