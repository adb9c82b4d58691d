//! One error type per operation, one variant per way it fails. Addresses in them never carry a password.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// The backend's own error: kept as a source, never matched on outside this crate.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the first connection to RabbitMQ could not be made. Later losses are healed, not reported as this.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address or an option cannot work.
    #[error("the broker address '{address}' is not usable: {reason}")]
    Address {
        /// The address without its password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host name has no address.
    #[error(
        "the broker's host '{host}' (of {address}) cannot be resolved; check its spelling and this machine's name service"
    )]
    Resolve {
        /// The address without its password.
        address: String,
        /// The host name.
        host: String,
        /// The resolver's answer.
        #[source]
        source: io::Error,
    },
    /// Nothing listens there.
    #[error("nothing listens at {address}; check host and port, and that RabbitMQ is running")]
    Refused {
        /// The address without its password.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The network has no way there, or the connection broke during the handshake.
    #[error("cannot reach the broker at {address}; check the network between here and there")]
    Unreachable {
        /// The address without its password.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Nothing answered in time: a firewall that drops packets, or something that is not RabbitMQ.
    #[error(
        "no answer from {address} within {timeout:?} ({stage}); check that it is RabbitMQ's AMQP port and not the management port, and that no firewall is between"
    )]
    Silent {
        /// The address without its password.
        address: String,
        /// How long was waited.
        timeout: Duration,
        /// How far it came.
        stage: &'static str,
    },
    /// Wrong user or password.
    #[error(
        "the broker at {address} refused the user '{user}'; check user and password (the user 'guest' may only connect from the broker's own machine)"
    )]
    Credentials {
        /// The address without its password.
        address: String,
        /// The user name tried.
        user: String,
        /// The broker's answer.
        #[source]
        source: Cause,
    },
    /// The virtual host does not exist or the user may not use it.
    #[error(
        "the broker at {address} refused the virtual host '{vhost}'; create it (rabbitmqctl add_vhost) and give the user permissions on it (rabbitmqctl set_permissions)"
    )]
    VirtualHost {
        /// The address without its password.
        address: String,
        /// The virtual host.
        vhost: String,
        /// The broker's answer.
        #[source]
        source: Cause,
    },
    /// The TLS handshake failed.
    #[error(
        "no TLS connection to {address}; check that the port speaks TLS and that the certificate is valid for this host name and trusted here"
    )]
    Tls {
        /// The address without its password.
        address: String,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// Something answered, but not as RabbitMQ does.
    #[error("the peer at {address} does not speak AMQP 0-9-1 as RabbitMQ does")]
    Protocol {
        /// The address without its password.
        address: String,
        /// What went wrong.
        #[source]
        source: Cause,
    },
}

/// Why queues could not be declared, checked or measured.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// The queue does not exist.
    #[error(
        "the queue '{queue}' does not exist; it is declared by the producer and the collector, or by importing the definitions"
    )]
    Missing {
        /// Its full name.
        queue: String,
    },
    /// The queue or exchange exists with other arguments than ours.
    #[error(
        "'{name}' exists with other arguments than this version declares; drain and delete it, or use another namespace"
    )]
    Drifted {
        /// The full name of the queue or exchange.
        name: String,
        /// The broker's answer, which names the argument.
        #[source]
        source: Cause,
    },
    /// The broker does not know what was asked for: it is too old, or a feature of it is off.
    #[error(
        "the broker cannot provide '{name}': ocelli needs RabbitMQ 3.10 or later with all stable feature flags; 'rabbitmqctl list_feature_flags' shows them, 'rabbitmqctl enable_feature_flag all' turns them on"
    )]
    Unsupported {
        /// The full name of the queue or exchange.
        name: String,
        /// The broker's answer.
        #[source]
        source: Cause,
    },
    /// The user may not do this.
    #[error(
        "the broker's user lacks the permission for '{name}'; rabbitmqctl set_permissions gives it, or a collector or imported definitions declare it first"
    )]
    Forbidden {
        /// The full name of the queue or exchange.
        name: String,
        /// The broker's answer.
        #[source]
        source: Cause,
    },
    /// The broker did not do it for another reason.
    #[error("the broker could not declare or look at '{name}'")]
    Broker {
        /// The full name of the queue or exchange.
        name: String,
        /// What went wrong.
        #[source]
        source: Cause,
    },
    /// No answer in time; the connection is being made anew.
    #[error("no answer from the broker about '{name}' within {timeout:?}")]
    Timeout {
        /// The full name of the queue or exchange.
        name: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
}

/// Why a message was not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The message names no queue.
    #[error("the message '{id}' names no queue")]
    NoRoute {
        /// Its id.
        id: String,
    },
    /// Delay queues are reached only by [`Delivery::retry`](crate::Delivery::retry).
    #[error("the message '{id}' cannot be published to the delay queue '{queue}' directly")]
    DelayRoute {
        /// Its id.
        id: String,
        /// The queue's full name.
        queue: String,
    },
    /// A queue does not exist; the others may have taken the message.
    #[error("the message '{id}' was returned: the queue '{queue}' does not exist")]
    NoQueue {
        /// Its id.
        id: String,
        /// The full name of the missing queue.
        queue: String,
    },
    /// The message can never be taken (too large, not allowed).
    #[error("the broker can never take the message '{id}'")]
    Refused {
        /// Its id.
        id: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The broker was closed while the message was waiting; it may or may not have been taken.
    #[error("the broker was closed before the message '{id}' was confirmed")]
    Closed {
        /// Its id.
        id: String,
    },
}

/// Why consuming could not begin.
#[derive(Debug, Error)]
pub enum ConsumeError {
    /// The queue does not exist.
    #[error(
        "the queue '{queue}' does not exist; it is declared by the producer and the collector, or by importing the definitions"
    )]
    NoQueue {
        /// Its full name.
        queue: String,
    },
    /// A prefetch of 0 would mean "everything at once".
    #[error("the prefetch for '{queue}' must be at least 1")]
    NoPrefetch {
        /// The queue's full name.
        queue: String,
    },
    /// The user may not read it.
    #[error("the broker's user may not read '{queue}'; rabbitmqctl set_permissions gives it")]
    Forbidden {
        /// The queue's full name.
        queue: String,
        /// The broker's answer.
        #[source]
        source: Cause,
    },
    /// The broker did not register the consumer for another reason.
    #[error("the broker did not register a consumer on '{queue}'")]
    Broker {
        /// The queue's full name.
        queue: String,
        /// What went wrong.
        #[source]
        source: Cause,
    },
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
}

/// Why a delivery was not settled. Whatever the variant, the message is not lost: it comes again.
#[derive(Debug, Error)]
pub enum SettleError {
    /// The connection or channel that delivered it is gone; the broker has taken it back and delivers it again.
    #[error("the delivery '{id}' belongs to a lost connection and will be delivered again")]
    Stale {
        /// The message's id.
        id: String,
    },
    /// The retry or the dead letter could not be published; the delivery was given back.
    #[error("the delivery '{id}' could not be moved to '{queue}' and was given back")]
    Move {
        /// The message's id.
        id: String,
        /// Where it should have gone.
        queue: String,
        /// Why it did not.
        #[source]
        source: PublishError,
    },
    /// The broker was closed.
    #[error(
        "the broker was closed before the delivery '{id}' was settled; it will be delivered again"
    )]
    Closed {
        /// The message's id.
        id: String,
    },
}
