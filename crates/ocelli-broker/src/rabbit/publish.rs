//! Publishing: one task owns the publishing channel and everything that is not confirmed yet.
//!
//! One message per queue, each with its own confirm, instead of one message with `CC`: `mandatory` would report only a
//! message that reached *no* queue, and one full queue would refuse the whole message, so that sending it again would
//! double it in the others.
//!
//! One task, because order matters twice: the library numbers a publish and queues its frames in two steps that must
//! not be interleaved, and a returned message can only be told apart by looking at all answers together (see
//! [`Answers`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use ocelli_core::retry::backoff;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::RabbitOptions;
use super::answer;
use super::link::{Link, Session};
use super::returns::Answers;
use super::wire::Parcel;
use crate::PublishError;

/// Pause before a refused publish is sent again: short, as a queue may have room any moment …
const REFUSED_FLOOR: Duration = Duration::from_millis(20);
/// … and bounded, so that room is used within a second.
const REFUSED_CAP: Duration = Duration::from_secs(1);
/// How often outstanding confirms are checked for a standstill.
const LOOK: Duration = Duration::from_millis(500);
/// A queue that refuses is mentioned in the log this often.
const MENTION: Duration = Duration::from_secs(30);
/// What is in the air when the broker is closed may still be confirmed for this long.
const CLOSING_GRACE: Duration = Duration::from_millis(500);

/// A parcel with who waits for it.
struct Entry {
    parcel: Box<Parcel>,
    /// Order of arrival, kept over resends.
    number: u64,
    refused: u32,
    reply: oneshot::Sender<Result<(), PublishError>>,
    _window: OwnedSemaphorePermit,
}

/// The way to the publishing task.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Unbounded, but every entry holds a permit of its queue's window: at most `confirm_window` per queue.
    entries: mpsc::UnboundedSender<Entry>,
    windows: Mutex<HashMap<String, Arc<Semaphore>>>,
    window: usize,
}

impl Publisher {
    pub(super) fn start(
        link: Link,
        blocked: watch::Receiver<bool>,
        options: RabbitOptions,
        closed: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (entries, incoming) = mpsc::unbounded_channel();
        let window = options.confirm_window.clamp(1, 4096);
        let desk = Desk {
            link,
            blocked,
            options,
            closed,
            incoming,
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            aloft: BTreeMap::new(),
            resting: Vec::new(),
            numbers: 0,
            mentioned: None,
        };
        tasks.spawn(desk.run());
        Self { entries, windows: Mutex::default(), window }
    }

    /// Publishes and returns when the queue has taken it.
    pub(super) async fn publish(&self, parcel: Box<Parcel>) -> Result<(), PublishError> {
        let id = parcel.id.clone();
        let window = {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            let window = windows
                .entry(parcel.queue.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(self.window)));
            Arc::clone(window)
        };
        let permit = window.acquire_owned().await.expect("the semaphore is never closed");
        let (reply, answer) = oneshot::channel();
        let entry = Entry { parcel, number: 0, refused: 0, reply, _window: permit };
        if self.entries.send(entry).is_err() {
            return Err(PublishError::Closed { id });
        }
        answer.await.unwrap_or(Err(PublishError::Closed { id }))
    }
}

/// The publishing task.
struct Desk {
    link: Link,
    blocked: watch::Receiver<bool>,
    options: RabbitOptions,
    closed: CancellationToken,
    incoming: mpsc::UnboundedReceiver<Entry>,
    /// To be sent, in order.
    waiting: VecDeque<Entry>,
    /// One of these made the broker close the channel: sent one at a time, to find out which.
    suspects: VecDeque<Entry>,
    /// Sent and not confirmed, by number. Kept here and not in the futures, so that nothing can be lost with one.
    aloft: BTreeMap<u64, Entry>,
    /// Refused ones, with the time they may try again.
    resting: Vec<(Instant, Entry)>,
    numbers: u64,
    mentioned: Option<Instant>,
}

/// Why a lane ended.
enum End {
    /// The broker was closed.
    Closed,
    /// The channel or the connection is gone.
    Lost,
}

impl Desk {
    async fn run(mut self) {
        let closed = self.closed.clone();
        loop {
            let lane = tokio::select! {
                biased;
                () = closed.cancelled() => break,
                lane = self.open() => lane,
            };
            let Some((session, channel)) = lane else { break };
            if matches!(self.serve(&session, &channel).await, End::Closed) {
                break;
            }
        }
        // The entries' replies are dropped with them: their senders read it as closed.
    }

    /// A channel in confirm mode on the current connection; tries until there is one.
    async fn open(&self) -> Option<(Arc<Session>, Channel)> {
        let timeout = self.options.operation_timeout;
        for attempt in 0_u32.. {
            let session = self.link.session().await?;
            let reason = match session.channel(timeout).await {
                Ok(channel) => {
                    let select = channel.confirm_select(ConfirmSelectOptions::default());
                    match tokio::time::timeout(timeout, select).await {
                        Ok(Ok(())) => return Some((session, channel)),
                        Ok(Err(error)) => error.to_string(),
                        Err(_elapsed) => {
                            session.condemn("no answer to confirm.select");
                            "no answer to confirm.select".to_owned()
                        }
                    }
                }
                Err(reason) => reason,
            };
            tracing::debug!(reason, "no publishing channel yet");
            let (floor, cap) = (self.options.reconnect_floor, self.options.reconnect_cap);
            tokio::time::sleep(backoff(attempt, floor, cap, rand::random())).await;
        }
        None
    }

    /// Publishes over one channel until it is gone.
    async fn serve(&mut self, session: &Session, channel: &Channel) -> End {
        let mut air = FuturesUnordered::new();
        let mut answers = Answers::default();
        let mut progressed = Instant::now();
        let mut look = tokio::time::interval(LOOK);
        let closed = self.closed.clone();
        loop {
            let blocked = *self.blocked.borrow_and_update();
            if !blocked {
                if air.is_empty() {
                    progressed = Instant::now();
                }
                while let Some(entry) = self.next_to_send() {
                    air.push(fly(channel.clone(), entry.number, &entry.parcel));
                    self.aloft.insert(entry.number, entry);
                }
            }
            let rested = self.resting.iter().map(|(at, _)| *at).min();
            let ended = tokio::select! {
                biased;
                () = closed.cancelled() => true,
                Some(landed) = air.next(), if !air.is_empty() => {
                    progressed = Instant::now();
                    let mut batch = vec![landed];
                    // All that are ready now, see `Answers`.
                    while let Some(Some(landed)) = air.next().now_or_never() {
                        batch.push(landed);
                    }
                    if let Err(error) = self.land(batch, &mut answers) {
                        self.take_back(session, &error);
                        return End::Lost;
                    }
                    false
                }
                entry = self.incoming.recv() => match entry {
                    Some(entry) => {
                        self.accept(entry);
                        false
                    }
                    // Every handle on the broker is gone.
                    None => true,
                },
                () = sleep_until(rested) => {
                    self.wake_rested();
                    false
                }
                changed = self.blocked.changed() => {
                    progressed = Instant::now();
                    // The sender lives in the supervisor, which ends only when the broker is closed.
                    changed.is_err()
                }
                _ = look.tick() => {
                    if !air.is_empty()
                        && !blocked
                        && progressed.elapsed() > self.options.confirm_timeout
                    {
                        session.condemn("no confirm for too long");
                    }
                    if !session.connected() || !channel.status().connected() {
                        if air.is_empty() {
                            return End::Lost;
                        }
                        if progressed.elapsed() > self.options.operation_timeout {
                            // The library should have failed them by now; they are safe in `aloft`.
                            self.resend_later();
                            return End::Lost;
                        }
                    }
                    false
                }
            };
            if ended {
                let last = async {
                    while let Some(landed) = air.next().await {
                        if self.land(vec![landed], &mut answers).is_err() {
                            break;
                        }
                    }
                };
                let _in_time = tokio::time::timeout(CLOSING_GRACE, last).await;
                return End::Closed;
            }
        }
    }

    /// Takes in what has come, in order.
    fn accept(&mut self, first: Entry) {
        let mut next = Some(first);
        while let Some(mut entry) = next {
            self.numbers += 1;
            entry.number = self.numbers;
            self.waiting.push_back(entry);
            next = self.incoming.try_recv().ok();
        }
    }

    /// Suspects go alone; everything else as it comes.
    fn next_to_send(&mut self) -> Option<Entry> {
        if self.suspects.is_empty() {
            return self.waiting.pop_front();
        }
        if self.aloft.is_empty() { self.suspects.pop_front() } else { None }
    }

    fn wake_rested(&mut self) {
        let now = Instant::now();
        let (ready, resting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.resting).into_iter().partition(|(at, _)| *at <= now);
        self.resting = resting;
        self.queue_up(ready.into_iter().map(|(_, entry)| entry));
    }

    /// Puts entries in line again, where they were.
    fn queue_up(&mut self, entries: impl Iterator<Item = Entry>) {
        self.waiting.extend(entries);
        self.waiting.make_contiguous().sort_by_key(|entry| entry.number);
    }

    /// Answers the senders of a batch. An error means that the channel is gone; what it concerns stays in `aloft`.
    fn land(&mut self, batch: Vec<Landed>, answers: &mut Answers) -> Result<(), lapin::Error> {
        let mut lost = Ok(());
        for (_, result) in &batch {
            if let Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) =
                result
            {
                answers.returned(returned);
            }
        }
        for (number, result) in batch {
            let confirmation = match result {
                Ok(confirmation) => confirmation,
                Err(error) => {
                    lost = Err(error);
                    continue;
                }
            };
            let Some(entry) = self.aloft.remove(&number) else { continue };
            match confirmation {
                Confirmation::Ack(_) if answers.is_returned(&entry.parcel) => {
                    self.options.metrics.returned.inc();
                    let (id, queue) = (entry.parcel.id.clone(), entry.parcel.queue.clone());
                    entry.answer(Err(PublishError::NoQueue { id, queue }));
                }
                Confirmation::Ack(_) => {
                    self.options.metrics.confirmed.inc();
                    entry.answer(Ok(()));
                }
                Confirmation::Nack(_) => self.rest(entry),
                Confirmation::NotRequested => {
                    // The channel is not in confirm mode: nothing on it can be believed.
                    self.aloft.insert(number, entry);
                    lost = Err(std::io::Error::other("the channel does not confirm").into());
                }
            }
        }
        lost
    }

    /// The queue is full (or its leader is changing): later.
    fn rest(&mut self, mut entry: Entry) {
        self.options.metrics.nacked.inc();
        if self.mentioned.is_none_or(|at| at.elapsed() > MENTION) {
            self.mentioned = Some(Instant::now());
            tracing::warn!(
                queue = entry.parcel.queue,
                "the queue takes no more messages for now; publishers wait"
            );
        }
        let pause = backoff(entry.refused, REFUSED_FLOOR, REFUSED_CAP, rand::random());
        entry.refused = entry.refused.saturating_add(1);
        self.resting.push((Instant::now() + pause, entry));
    }

    /// The channel is gone. A lost connection is nobody's fault: all are sent again. When the broker closed the channel
    /// over one of them, they are sent again one by one, until the one that was alone in the air is known.
    fn take_back(&mut self, session: &Session, error: &lapin::Error) {
        if !answer::concerns_channel(error) || !session.connected() {
            self.resend_later();
            return;
        }
        if self.aloft.len() > 1 {
            let suspects = std::mem::take(&mut self.aloft).into_values();
            self.suspects.extend(suspects);
            return;
        }
        let Some((_, entry)) = self.aloft.pop_first() else { return };
        let id = entry.parcel.id.clone();
        let refusal = if answer::code(error) == Some(answer::NOT_FOUND) {
            // The exchange is missing, which is declared with its queue.
            self.options.metrics.returned.inc();
            PublishError::NoQueue { id, queue: entry.parcel.missing() }
        } else {
            PublishError::Refused { id, source: Box::new(error.clone()) }
        };
        entry.answer(Err(refusal));
    }

    fn resend_later(&mut self) {
        self.options.metrics.resent.inc_by(self.aloft.len() as u64);
        let entries = std::mem::take(&mut self.aloft).into_values();
        self.queue_up(entries);
    }
}

impl Entry {
    fn answer(self, result: Result<(), PublishError>) {
        // Whoever asked may have stopped waiting.
        let _gone = self.reply.send(result);
    }
}

/// The number of an entry, and what became of it.
type Landed = (u64, Result<Confirmation, lapin::Error>);

/// Sends one parcel and waits for its confirm.
fn fly(channel: Channel, number: u64, parcel: &Parcel) -> impl Future<Output = Landed> + use<> {
    let (exchange, key) = (parcel.exchange.clone(), parcel.key.clone());
    let (body, properties) = (parcel.body.clone(), parcel.properties.clone());
    let options = BasicPublishOptions { mandatory: parcel.mandatory, ..Default::default() };
    async move {
        let result = match channel.basic_publish(exchange, key, options, &body, properties).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        (number, result)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
