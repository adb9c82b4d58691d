//! The bare ceiling of queueing: the same messages through the same queues, with a client and nothing else. One publisher,
//! one worker for each queue that publishes an answer and acks, one collector that acks many at once; no file is read, no
//! record kept, no lost connection mended.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use ocelli_broker::{Broker, RabbitOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::{AnalyzerName, BatchId, Digest};
use ocelli_testkit::servers::RabbitmqServer;

use crate::fleet::{NULLS, PATIENCE};
use crate::lab::{Fallible, Lab};
use crate::texts;

/// Namespace of the queues, which is that of a fleet.
const NAMESPACE: &str = "ocelli";
/// Publishes in the air: beyond, throughput grows no more.
const WINDOW: usize = 1024;
/// Jobs a worker has in hand.
const PREFETCH: u16 = 256;
/// Answers that the collector acks at once.
const ACK_EVERY: u64 = 500;

/// A virtual host with the queues of these analyzers, their names, and the job of an image.
async fn queued(
    lab: &Lab,
    analyzers: &[&str],
) -> Fallible<(RabbitmqServer, Vec<AnalyzerName>, Vec<u8>)> {
    let vhost = lab.vhost().await?;
    let names: Vec<AnalyzerName> =
        analyzers.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let broker = Broker::rabbitmq(RabbitOptions::new(&vhost.url)).await?;
    broker.declare(&queues(&names, &[])).await?;
    broker.close().await;
    let batch = BatchId::new(uuid::Uuid::now_v7());
    let source = "file:///dev/shm/ocelli-bench-000000/in/0/0.png".parse()?;
    let job = texts::intake(Digest::of(b"bare"), source, &names, batch).encode()?;
    Ok((vhost, names, job))
}

/// Publishes the jobs and the sightings of so many images, which nobody takes. Returns how long that took.
pub(crate) async fn published(lab: &Lab, analyzers: &[&str], images: u64) -> Fallible<Duration> {
    let (vhost, names, job) = queued(lab, analyzers).await?;
    let connection = connect(&vhost.url).await?;
    let channel = confirming(&connection).await?;
    let started = Instant::now();
    publisher(&channel, &names, &job, images).await?;
    let took = started.elapsed();
    // It closes the channel; a channel that was dropped before would be closed twice.
    connection.close(200, "done".into()).await?;
    Ok(took)
}

/// Moves the messages of so many images. Returns how long that took.
pub(crate) async fn moved(lab: &Lab, images: u64) -> Fallible<Duration> {
    let (vhost, names, job) = queued(lab, &NULLS).await?;
    let digest = Digest::of(b"bare");
    let answer = texts::partial(digest, &names[0]).encode()?;

    let consuming = connect(&vhost.url).await?;
    let publishing = connect(&vhost.url).await?;
    let all = images * (1 + names.len() as u64);
    let (_collecting, results) = consume(&consuming, &Queue::Results, 4 * PREFETCH).await?;
    let (mut workers, mut channels) = (Vec::new(), Vec::new());
    for name in &names {
        let (working, jobs) = consume(&consuming, &Queue::Jobs(name.clone()), PREFETCH).await?;
        channels.push(working);
        let channel = confirming(&publishing).await?;
        workers.push(tokio::spawn(worker(jobs, channel, answer.clone(), images)));
    }
    let collector = tokio::spawn(collector(results, all));
    let started = Instant::now();
    let channel = confirming(&publishing).await?;
    publisher(&channel, &names, &job, images).await?;
    for worker in workers {
        worker.await??;
    }
    tokio::time::timeout(PATIENCE, collector).await???;
    let took = started.elapsed();
    for connection in [consuming, publishing] {
        connection.close(200, "done".into()).await?;
    }
    Ok(took)
}

async fn connect(url: &str) -> Fallible<Connection> {
    Ok(Connection::connect(url, ConnectionProperties::default()).await?)
}

async fn confirming(connection: &Connection) -> Fallible<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A consumer, and the channel that has to live as long.
async fn consume(
    connection: &Connection,
    queue: &Queue,
    prefetch: u16,
) -> Fallible<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (queue, options) = (queue.name(NAMESPACE), BasicConsumeOptions::default());
    let consumer =
        channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, consumer))
}

/// Publishes one message and waits for its confirm.
async fn publish(channel: Channel, queue: String, body: Vec<u8>) -> Fallible<()> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let sent =
        channel.basic_publish(NAMESPACE.into(), queue.into(), options, &body, persistent).await?;
    match sent.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("not confirmed: {other:?}").into()),
    }
}

async fn publisher(
    channel: &Channel,
    names: &[AnalyzerName],
    job: &[u8],
    images: u64,
) -> Fallible<()> {
    let mut air = FuturesUnordered::new();
    let mut targets: Vec<String> =
        names.iter().map(|name| Queue::Jobs(name.clone()).name(NAMESPACE)).collect();
    targets.push(Queue::Results.name(NAMESPACE));
    for _ in 0..images {
        for queue in &targets {
            if air.len() >= WINDOW
                && let Some(sent) = air.next().await
            {
                let sent: Fallible<()> = sent;
                sent?;
            }
            air.push(publish(channel.clone(), queue.clone(), job.to_vec()));
        }
    }
    while let Some(sent) = air.next().await {
        sent?;
    }
    Ok(())
}

/// Answers every job, and acks it when the answer is confirmed.
async fn worker(
    mut jobs: Consumer,
    channel: Channel,
    answer: Vec<u8>,
    images: u64,
) -> Fallible<()> {
    let mut hand = FuturesUnordered::new();
    let (mut taken, results) = (0, Queue::Results.name(NAMESPACE));
    while taken < images || !hand.is_empty() {
        tokio::select! {
            Some(done) = hand.next(), if !hand.is_empty() => {
                let done: Fallible<()> = done;
                done?;
            }
            job = jobs.next(), if taken < images => {
                let job = job.ok_or("the jobs ended")??;
                taken += 1;
                let (channel, results, answer) = (channel.clone(), results.clone(), answer.clone());
                hand.push(async move {
                    publish(channel, results, answer).await?;
                    job.acker.ack(BasicAckOptions::default()).await?;
                    Ok(())
                });
            }
        }
    }
    Ok(())
}

async fn collector(mut results: Consumer, all: u64) -> Fallible<()> {
    for number in 1..=all {
        let result = results.next().await.ok_or("the results ended")??;
        if number.is_multiple_of(ACK_EVERY) || number == all {
            result.acker.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok(())
}
