//! Declaring, checking and measuring queues, each on a short-lived channel of the consuming connection (which is never
//! blocked; and a channel does not survive an error answer).

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};
use ocelli_core::routing::Queue;
use tokio::time::Instant;

use super::{Rabbit, answer};
use crate::error::Cause;
use crate::topology::{
    Argument, ExchangeSpec, QueueSpec, delay_fits, events_exchange, main_exchange, spec,
};
use crate::{Depth, TopologyError};

/// A queue that is never made, see [`Rabbit::check_dead_lettering`]. Its name stands in the broker's log.
const PROBE: &str = "look-at-feature-flags";

/// What is missing then, in words.
const DEAD_LETTERING: &str = "dead-lettering at least once (feature flag stream_queue)";

/// Pause before a lost connection is tried again within the deadline.
const AGAIN: Duration = Duration::from_millis(100);

impl Rabbit {
    pub(crate) async fn declare(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        let main = main_exchange(self.namespace());
        self.on_channel(&main.name, |channel| {
            let main = main.clone();
            async move { declare_exchange(&channel, &main).await }
        })
        .await?;
        for spec in self.specs(queues)? {
            self.on_channel(&spec.name, |channel| {
                let spec = spec.clone();
                async move { declare_bound(&channel, &spec).await }
            })
            .await?;
        }
        self.0.healer.remember(self.namespace(), queues);
        Ok(())
    }

    pub(crate) async fn declare_events(&self) -> Result<(), TopologyError> {
        let events = events_exchange(self.namespace());
        self.on_channel(&events.name, |channel| {
            let events = events.clone();
            async move { declare_exchange(&channel, &events).await }
        })
        .await
    }

    /// Without the permission to configure, a look is all there is: it needs no permission.
    pub(crate) async fn provide(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        let refusal = match self.declare(queues).await {
            Err(TopologyError::Forbidden { source, .. }) => source,
            declared => return declared,
        };
        for spec in self.specs(queues)? {
            match self.measure(&spec.name).await {
                Ok(_) => {}
                Err(TopologyError::Missing { queue }) => {
                    return Err(TopologyError::Forbidden { name: queue, source: refusal });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Dead-lettering at least once needs the feature flag of streams, which AMQP does not show. A stream that can never be
    /// (it would be exclusive) is refused in one way where the flag is on, and in another where it is off.
    pub(crate) async fn check_dead_lettering(&self) -> Result<(), TopologyError> {
        let name = format!("{}.{PROBE}", self.namespace());
        let asked = self.on_channel(&name, |channel| {
            let name = name.clone();
            async move {
                let mut arguments = FieldTable::default();
                let stream = AMQPValue::LongString(LongString::from("stream"));
                arguments.insert("x-queue-type".into(), stream);
                let options =
                    QueueDeclareOptions { durable: true, exclusive: true, ..Default::default() };
                channel.queue_declare(name.as_str().into(), options, arguments).await.map(|_| ())
            }
        });
        match asked.await {
            Err(TopologyError::Unsupported { source, .. }) if is_off(source.as_ref()) => {
                Err(TopologyError::Unsupported { name: DEAD_LETTERING.to_owned(), source })
            }
            Err(error @ (TopologyError::Timeout { .. } | TopologyError::Closed)) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Passive first: it creates nothing. As a passive declare compares no arguments, an existing queue is then
    /// declared as we would; that changes nothing either, but tells drift. Without the permission to configure, that
    /// second look is left out.
    pub(crate) async fn check(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        for spec in self.specs(queues)? {
            self.measure(&spec.name).await?;
            let compared = self
                .on_channel(&spec.name, |channel| {
                    let spec = spec.clone();
                    async move { declare_queue(&channel, &spec).await }
                })
                .await;
            match compared {
                Ok(()) | Err(TopologyError::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) async fn depth(&self, queue: &Queue) -> Result<Depth, TopologyError> {
        self.measure(&queue.name(self.namespace())).await
    }

    async fn measure(&self, name: &str) -> Result<Depth, TopologyError> {
        self.on_channel(name, |channel| {
            let name = name.to_owned();
            async move {
                let options =
                    QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
                let found =
                    channel.queue_declare(name.into(), options, FieldTable::default()).await?;
                Ok(Depth {
                    ready: found.message_count().into(),
                    consumers: found.consumer_count().into(),
                })
            }
        })
        .await
    }

    fn specs(&self, queues: &[Queue]) -> Result<Vec<QueueSpec>, TopologyError> {
        let (namespace, max_length) = (self.namespace(), self.options().max_length);
        queues
            .iter()
            .map(|queue| match queue {
                Queue::Delay(delay) if !delay_fits(*delay) => Err(TopologyError::Broker {
                    name: queue.name(namespace),
                    source: "a delay must be from 1 ms to 49 days".into(),
                }),
                _ => Ok(spec(namespace, queue, max_length)),
            })
            .collect()
    }

    /// Runs `work` on a fresh channel; again on the next connection when this one is lost, within the operation timeout.
    ///
    /// `work` owns what it needs: a queue is also declared again from within tasks, which move between threads.
    async fn on_channel<T, F: Future<Output = Result<T, lapin::Error>>>(
        &self,
        name: &str,
        work: impl Fn(Channel) -> F,
    ) -> Result<T, TopologyError> {
        let timeout = self.options().operation_timeout;
        let deadline = Instant::now() + timeout;
        let timed_out = || TopologyError::Timeout { name: name.to_owned(), timeout };
        loop {
            if self.0.stopping.is_cancelled() {
                return Err(TopologyError::Closed);
            }
            let session = tokio::time::timeout_at(deadline, self.0.consuming.session())
                .await
                .map_err(|_elapsed| timed_out())?
                .ok_or(TopologyError::Closed)?;
            let cause: Cause = match session.channel(timeout).await {
                Ok(channel) => {
                    let Ok(result) = tokio::time::timeout_at(deadline, work(channel.clone())).await
                    else {
                        session.condemn("no answer to a declaration");
                        return Err(timed_out());
                    };
                    match result {
                        Ok(value) => {
                            // A channel that is only dropped would race with the connection's close.
                            let closing = channel.close(200, "done".into());
                            let _late = tokio::time::timeout_at(deadline, closing).await;
                            return Ok(value);
                        }
                        Err(error) => match classify(name, error) {
                            Ok(error) => return Err(error),
                            Err(lost) => lost.into(),
                        },
                    }
                }
                Err(reason) => reason.into(),
            };
            if Instant::now() + AGAIN >= deadline {
                return Err(TopologyError::Broker { name: name.to_owned(), source: cause });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// What RabbitMQ says of a feature that is off. It ends the whole connection with it, under a code that is also used for
/// its own faults: these words are all that tells.
fn is_off(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("feature flag is disabled")
}

/// The broker's answer as our error; `Err` when it is no answer but a lost connection.
fn classify(name: &str, error: lapin::Error) -> Result<TopologyError, lapin::Error> {
    let name = name.to_owned();
    if is_off(&error) {
        return Ok(TopologyError::Unsupported { name, source: Box::new(error) });
    }
    if !answer::concerns_channel(&error) {
        return Err(error);
    }
    Ok(match answer::code(&error) {
        Some(answer::NOT_FOUND) => TopologyError::Missing { queue: name },
        // "inequivalent arg 'x-max-length' …" of what exists, "invalid arg 'x-…' …" of what it never heard of.
        Some(answer::PRECONDITION_FAILED) if error.to_string().contains("invalid arg") => {
            TopologyError::Unsupported { name, source: Box::new(error) }
        }
        Some(answer::PRECONDITION_FAILED) => {
            TopologyError::Drifted { name, source: Box::new(error) }
        }
        Some(answer::ACCESS_REFUSED) => TopologyError::Forbidden { name, source: Box::new(error) },
        _ => TopologyError::Broker { name, source: Box::new(error) },
    })
}

async fn declare_exchange(channel: &Channel, spec: &ExchangeSpec) -> Result<(), lapin::Error> {
    let kind = match spec.kind {
        "fanout" => ExchangeKind::Fanout,
        "topic" => ExchangeKind::Topic,
        _ => ExchangeKind::Direct,
    };
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(spec.name.as_str().into(), kind, options, FieldTable::default()).await
}

/// The queue with its exchange and binding.
async fn declare_bound(channel: &Channel, spec: &QueueSpec) -> Result<(), lapin::Error> {
    declare_exchange(channel, &spec.exchange).await?;
    declare_queue(channel, spec).await?;
    let (name, exchange) = (spec.name.as_str(), spec.exchange.name.as_str());
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.into(), exchange.into(), spec.key.as_str().into(), options, none).await
}

async fn declare_queue(channel: &Channel, spec: &QueueSpec) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    for (name, value) in &spec.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
            Argument::Number(number) => AMQPValue::LongLongInt((*number).into()),
        };
        arguments.insert((*name).into(), value);
    }
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(spec.name.as_str().into(), options, arguments).await?;
    Ok(())
}
