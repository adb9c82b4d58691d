//! The conveyor between ocelli's processes: queues with confirmed publishing and settled deliveries.
//!
//! Producer, workers and collector talk only to [`Broker`]; whether it is the memory of one process or RabbitMQ is a
//! setting, and the meaning is the same: one conformance suite (`tests/conformance.rs`) runs every case on both.
//!
//! The meaning, in short:
//!
//! - [`Broker::publish`] returns `Ok` when every queue of the message has taken it. It waits while a queue is full, the
//!   broker refuses publishers or the connection is away; a queue that does not exist is an error that names it.
//! - A [`Delivery`] is consumed by settling it. Dropped unsettled, it goes back to its queue.
//! - Everything is delivered **at least once**: after a lost connection a message may come again, so handlers are
//!   idempotent. Truth lives in the catalog, never here.
//!
//! Absent on purpose: what the bodies mean (that is `ocelli_core::wire`), when to retry (that is
//! `ocelli_core::retry`), and any way to read settings or write files.
//!
//! | module | room for |
//! |---|---|
//! | `broker` | [`Broker`], the closed enum over the backends |
//! | `message` | [`Outgoing`], [`Event`] and our header names |
//! | `delivery`, `consumer` | [`Delivery`] and its settling, [`Consumer`] |
//! | `state` | [`BrokerState`], [`ConsumerState`] |
//! | `error` | one type per operation |
//! | [`topology`] | exchanges, queues and their limits; [`topology::definitions`] for deployment |
//! | [`roles`] | what the user of each role has to be allowed |
//! | `metrics` | [`BrokerMetrics`] |
//! | [`trace`] | traces across the queues |
//! | `memory`, `rabbit` | the backends |

mod broker;
mod consumer;
mod delivery;
mod error;
mod memory;
mod message;
mod metrics;
mod rabbit;
pub mod roles;
mod state;
pub mod topology;
pub mod trace;

pub use broker::{Broker, Depth};
pub use consumer::Consumer;
pub use delivery::{Death, Delivery};
pub use error::{ConnectError, ConsumeError, PublishError, SettleError, TopologyError};
pub use memory::MemoryOptions;
pub use message::{Event, Outgoing};
pub use metrics::BrokerMetrics;
pub use rabbit::RabbitOptions;
pub use state::{BrokerState, ConsumerState};
