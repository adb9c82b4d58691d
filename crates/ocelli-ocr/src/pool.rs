//! The parent's side: children that wait for images, and what happens when one of them dies.
//!
//! A child reads one image at a time. It is killed and replaced when it exceeds the hard deadline, breaks the protocol,
//! dies, grows too large or has read enough images; each of these costs at most the job it was on. A replacement is
//! started when the next job needs it, so a child that cannot start fails jobs with a reason and never spins.
//! Dropping a future of [`Pool::read`] kills its child: a half-read pipe cannot be used again.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::child::CHILD_ARGUMENT;
use crate::conversions::Conversions;
use crate::metrics::OcrMetrics;
use crate::options::{Effort, OcrOptions};
use crate::protocol::{
    self, ReadRequest, Ready, Refusal, Reply, Request, SelfTest, Start, Transcript,
};

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be run.
    #[error("the OCR child {program} cannot be started")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It runs, and does not behave as an OCR child.
    #[error("the OCR child {program} did not answer: {reason}")]
    Silent {
        /// The program.
        program: String,
        /// What happened instead.
        reason: String,
    },
    /// It says why it cannot work.
    #[error("the OCR child cannot work: {0}")]
    NotReady(String),
    /// The pool is going away.
    #[error("the OCR children are being stopped")]
    Stopping,
}

/// Why an image was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The child looked at the image and says why it cannot be read.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// The child died on it.
    #[error("the OCR child died while reading: {0}")]
    Died(String),
    /// The child was killed after the hard deadline.
    #[error("the OCR child was killed after {0:?}: the engine did not come to an end")]
    Deadline(Duration),
    /// No child became free before the job's own deadline.
    #[error("no OCR child became free in time (waited {0:?}): all are at work on other images")]
    Busy(Duration),
    /// No child could be started for it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It is AVIF or HEIC and could not be made readable for a child.
    #[error(transparent)]
    Convert(#[from] ocelli_media::ConvertError),
}

/// Running children and the permission to use them.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<Worker>>,
    /// One permit per child that may exist.
    permits: Semaphore,
    spawner: Spawner,
    conversions: Conversions,
    options: OcrOptions,
    data_path: PathBuf,
    metrics: OcrMetrics,
}

#[derive(Debug)]
struct Worker {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    images: u32,
    ready: Ready,
}

impl Pool {
    /// Makes the pool; children are started by [`Pool::warm_up`] or by the first jobs. `data_path` is the folder of
    /// language data that was checked by the caller.
    #[must_use]
    pub fn new(options: OcrOptions, data_path: PathBuf, metrics: OcrMetrics) -> Self {
        let (converter, limits) = (options.converter.clone(), options.limits.clone());
        Self {
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(options.children()),
            spawner: Spawner::start(),
            conversions: Conversions::new(converter, limits, options.children()),
            options,
            data_path,
            metrics,
        }
    }

    /// Starts all children that are missing and not in use, one after the other.
    ///
    /// # Errors
    /// The first child that cannot start.
    pub async fn warm_up(&self) -> Result<Ready, StartError> {
        let missing = self.permits.available_permits().saturating_sub(self.lock().len());
        let Ok(count) = u32::try_from(missing) else { return Err(StartError::Stopping) };
        let mut ready = self.lock().first().map(|worker| worker.ready.clone());
        for _ in 0..count.max(u32::from(ready.is_none())) {
            let worker = self.start().await?;
            ready = Some(worker.ready.clone());
            self.keep(worker);
        }
        ready.ok_or(StartError::Stopping)
    }

    /// Reads one image, at the latest until `deadline`.
    ///
    /// # Errors
    /// See [`ReadError`]. In every case the pool goes on.
    pub async fn read(&self, image: Bytes, deadline: Instant) -> Result<Transcript, ReadError> {
        let (image, converted) = self.conversions.readable(image, deadline).await?;
        let request = Request::Read(ReadRequest {
            image,
            limits: (&self.options.limits).into(),
            soft_deadline: self.options.soft_deadline,
            page_only: self.options.effort == Effort::Page,
            page_mode: self.options.page_mode,
            frames: self.options.frames,
            sufficient_confidence: self.options.sufficient_confidence,
        });
        match self.ask(&request, deadline).await? {
            Reply::Read(Ok(transcript)) => {
                let decoded = transcript.decoded.saturating_add(converted);
                Ok(Transcript { decoded, ..transcript })
            }
            Reply::Read(Err(refusal)) => Err(ReadError::Refused(refusal)),
            other => Err(ReadError::Died(format!("it answered {}", kind(&other)))),
        }
    }

    /// Lets a child try what its sandbox must refuse; `file` is what it tries to write.
    ///
    /// # Errors
    /// When no child answers.
    #[doc(hidden)]
    pub async fn self_test(&self, file: PathBuf) -> Result<SelfTest, ReadError> {
        let deadline = Instant::now() + self.options.hard_deadline;
        match self.ask(&Request::SelfTest { file }, deadline).await? {
            Reply::SelfTest(result) => Ok(result),
            other => Err(ReadError::Died(format!("it answered {}", kind(&other)))),
        }
    }

    /// Process ids of the children that wait for work.
    #[must_use]
    pub fn idle_pids(&self) -> Vec<u32> {
        self.lock().iter().filter_map(|worker| worker.process.id()).collect()
    }

    async fn ask(&self, request: &Request, deadline: Instant) -> Result<Reply, ReadError> {
        let asked = Instant::now();
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        // On a full machine a timer fires late, and lets a child through that became free after the deadline.
        if deadline <= Instant::now() {
            return Err(ReadError::Busy(asked.elapsed()));
        }
        let permit = permit.map_err(|_| ReadError::Busy(asked.elapsed()))?;
        let _permit = permit.map_err(|_| StartError::Stopping)?;
        // Bounded by the deadline for starting.
        let mut worker = self.idle_worker().await?;
        let hard = self.options.hard_deadline;
        let started = Instant::now();
        let conversation = async {
            protocol::send_async(&mut worker.input, request).await?;
            protocol::receive_async::<Reply>(&mut worker.output).await
        };
        let reply = timeout_at(deadline.min(started + hard), conversation).await;
        match reply {
            Ok(Ok(reply)) => {
                worker.images += 1;
                self.give_back(worker);
                Ok(reply)
            }
            Ok(Err(error)) => {
                let reason = end(&mut worker.process, &error).await;
                self.metrics.children_lost.with_label_values(&["died"]).inc();
                Err(ReadError::Died(reason))
            }
            Err(_) => {
                // Not waited for: the runtime reaps what is dropped.
                worker.process.start_kill().ok();
                self.metrics.children_lost.with_label_values(&["deadline"]).inc();
                // Waiting for a child took the time that the reading was to have: nothing is known about the image.
                let whole = hard.min(deadline.saturating_duration_since(asked));
                let had = hard.min(deadline.saturating_duration_since(started));
                if had * 10 < whole * 9 {
                    return Err(ReadError::Busy(started.duration_since(asked)));
                }
                Err(ReadError::Deadline(started.elapsed()))
            }
        }
    }

    /// A child that is alive: one that died while idle is no reason to fail a job.
    async fn idle_worker(&self) -> Result<Worker, StartError> {
        while let Some(mut worker) = self.pop() {
            match worker.process.try_wait() {
                Ok(None) => return Ok(worker),
                Ok(Some(_)) | Err(_) => {
                    self.metrics.children_lost.with_label_values(&["idle"]).inc();
                }
            }
        }
        self.start().await
    }

    fn give_back(&self, worker: Worker) {
        let resident = worker.process.id().and_then(resident_memory).unwrap_or(0);
        self.metrics.child_memory.set(i64::try_from(resident).unwrap_or(i64::MAX));
        let worn = worker.images >= self.options.images_per_child;
        if worn || resident > self.options.recycle_memory {
            let why = if worn { "images" } else { "memory" };
            self.metrics.children_replaced.with_label_values(&[why]).inc();
            // Dropped: its input closes and it is killed.
            return;
        }
        self.keep(worker);
    }

    /// Puts a child back, unless a probe and a job started one too many between them.
    fn keep(&self, worker: Worker) {
        let mut idle = self.lock();
        if idle.len() < self.options.children() {
            idle.push(worker);
        }
    }

    async fn start(&self) -> Result<Worker, StartError> {
        let program = match &self.options.child_program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|source| StartError::Spawn {
                program: "(this program)".to_owned(),
                source,
            })?,
        };
        let name = program.display().to_string();
        let mut process = self
            .spawner
            .spawn(program)
            .await?
            .map_err(|source| StartError::Spawn { program: name.clone(), source })?;
        let silent = |reason: String| StartError::Silent { program: name.clone(), reason };
        let (Some(mut input), Some(mut output)) = (process.stdin.take(), process.stdout.take())
        else {
            return Err(silent("it has no pipes".to_owned()));
        };
        let request = Request::Start(Start {
            languages: self.options.languages.clone(),
            data_path: self.data_path.clone(),
            memory_limit: self.options.memory_limit,
            // Generous: the hard deadline is what ends one image; this ends a child that lost its parent.
            cpu_limit: self.options.hard_deadline * self.options.images_per_child.max(1),
        });
        let conversation = async {
            protocol::send_async(&mut input, &request).await?;
            protocol::receive_async::<Reply>(&mut output).await
        };
        let reply = match timeout(self.options.start_deadline, conversation).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(silent(end(&mut process, &error).await)),
            Err(_) => return Err(silent(format!("within {:?}", self.options.start_deadline))),
        };
        match reply {
            Reply::Ready(ready) => {
                self.metrics.children_started.inc();
                Ok(Worker { process, input, output, images: 0, ready })
            }
            Reply::NotReady { reason } => Err(StartError::NotReady(reason)),
            other => Err(silent(format!("it answered {}", kind(&other)))),
        }
    }

    fn pop(&self) -> Option<Worker> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        // A panic cannot leave a vector of children half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts children from one thread that lives as long as the pool.
///
/// The kernel sends the parent-death signal when the *thread* that forked ends, and the runtime's threads come and go.
#[derive(Debug)]
struct Spawner {
    orders: mpsc::UnboundedSender<Order>,
}

struct Order {
    program: PathBuf,
    runtime: tokio::runtime::Handle,
    result: oneshot::Sender<std::io::Result<Child>>,
}

impl Spawner {
    fn start() -> Self {
        // Bounded by the permits of the pool: each order is waited for by the holder of one.
        let (orders, mut incoming) = mpsc::unbounded_channel::<Order>();
        std::thread::spawn(move || {
            while let Some(order) = incoming.blocking_recv() {
                let _context = order.runtime.enter();
                // A receiver that is gone drops the child, which kills it.
                order.result.send(command(&order.program).spawn()).ok();
            }
        });
        Self { orders }
    }

    async fn spawn(&self, program: PathBuf) -> Result<std::io::Result<Child>, StartError> {
        let (result, answer) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        self.orders.send(Order { program, runtime, result }).map_err(|_| StartError::Stopping)?;
        answer.await.map_err(|_| StartError::Stopping)
    }
}

/// The child's command line and environment: nothing of the parent's environment goes along, it may hold secrets.
fn command(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(CHILD_ARGUMENT)
        .env_clear()
        // Read by OpenMP when the program is loaded. Without it every line costs up to ten times as much on a busy
        // machine, because Tesseract's threads wait for each other by spinning.
        .env("OMP_THREAD_LIMIT", "1")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal goes to the whole group in front: it asks the parent to drain, and must not kill the
        // reading that the parent then waits for.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
}

/// How a child ended whose pipe broke with `error`.
async fn end(process: &mut Child, error: &std::io::Error) -> String {
    process.start_kill().ok();
    // It is dead or has just been killed; the time is for a machine under load.
    match timeout(Duration::from_secs(5), process.wait()).await {
        Ok(Ok(status)) => format!("{} ({error})", describe(status)),
        _ => error.to_string(),
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status.signal() {
        Some(6) => "aborted (an assertion of the engine, or out of memory)".to_owned(),
        Some(9) => "killed".to_owned(),
        Some(11) => "segmentation fault".to_owned(),
        _ => status.to_string(),
    }
}

/// Resident memory in bytes.
fn resident_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

const fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Ready(_) => "ready",
        Reply::NotReady { .. } => "not ready",
        Reply::Read(_) => "a reading",
        Reply::SelfTest(_) => "a self-test",
    }
}
