//! The settings as types, section by section. Names, defaults and the reason of each are in `defaults/*.toml`; the
//! reference in the documentation is made from those files.

use std::path::PathBuf;
use std::time::Duration;

use ocelli_core::retry::RetryPolicy;
use ocelli_core::{AnalyzerName, Budget};
use secrecy::SecretString;
use serde::Deserialize;

use super::analyzer::AnalyzerSettings;
use super::rule::RuleSettings;
use super::secret::ServiceUrl;
use super::units::{ByteSize, duration, durations};
use super::webhook::WebhookSettings;

/// All settings of a process, checked as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[data]`
    pub data: DataSettings,
    /// `[catalog]`
    pub catalog: CatalogSettings,
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[objects]`
    pub objects: ObjectSettings,
    /// `[retry]`
    pub retry: RetrySettings,
    /// `[worker]`
    pub worker: WorkerSettings,
    /// `[collector]`
    pub collector: CollectorSettings,
    /// `[producer]`
    pub producer: ProducerSettings,
    /// `[search]`
    pub search: SearchSettings,
    /// `[near]`
    pub near: NearSettings,
    /// `[http]`
    pub http: HttpSettings,
    /// `[web]`
    pub web: WebSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[analyzers.NAME]`, in the order of display: by `order`, then by name. Disabled ones included.
    pub analyzers: Vec<AnalyzerSettings>,
    /// `[[budget]]`, in the order of writing.
    pub budgets: Vec<Budget>,
    /// `[events]`
    pub events: EventSettings,
    /// `[[webhook]]`, in the order of writing.
    pub webhooks: Vec<WebhookSettings>,
    /// `[[rule]]`, in the order of writing.
    pub rules: Vec<RuleSettings>,
}

impl Settings {
    /// The analyzer called `name`.
    #[must_use]
    pub fn analyzer(&self, name: &AnalyzerName) -> Option<&AnalyzerSettings> {
        self.analyzers.iter().find(|analyzer| analyzer.name == *name)
    }

    /// The retry policy that follows from `[retry]` and the broker's delay steps.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            transient_attempts: self.retry.transient_attempts,
            crash_attempts: self.retry.crash_attempts,
            quality_attempts: self.retry.quality_attempts,
            steps: self.broker.delay_steps.clone(),
        }
    }
}

/// `[events]`: telling others of complete records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSettings {
    /// Whether events are published to the broker's exchange.
    pub publish: bool,
    /// The largest record in an event.
    pub record_bytes: ByteSize,
    /// The first pause after an event was not taken.
    #[serde(deserialize_with = "duration")]
    pub retry_first: Duration,
    /// The longest one.
    #[serde(deserialize_with = "duration")]
    pub retry_longest: Duration,
    /// How long an event is tried again.
    #[serde(deserialize_with = "duration")]
    pub give_up_after: Duration,
    /// How long nobody else tells what one process took to tell.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
}

/// `[data]`: what ocelli keeps itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The folder. Always set after loading; created by whoever writes there first.
    pub dir: PathBuf,
    /// Where copies of images are kept: a folder, or a prefix of a bucket; none: in `dir`.
    pub kept: Option<String>,
}

/// `[catalog]`: the database of records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    /// `sqlite:/path` or `postgres://…`. Always set after loading.
    pub url: ServiceUrl,
    /// Connections at once (SQLite: readers).
    pub connections: u32,
    /// Bytes of a SQLite file's pages in memory.
    pub cache: ByteSize,
    /// Bytes of SQLite's write-ahead log before it is begun anew.
    pub log_size: ByteSize,
    /// Bound of one statement, and of the wait for a connection.
    #[serde(deserialize_with = "duration")]
    pub operation_timeout: Duration,
}

/// `[broker]`: the conveyor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// `memory:`, `amqp://…` or `amqps://…`.
    pub url: ServiceUrl,
    /// First part of every queue name.
    pub namespace: String,
    /// Waits of retries, ascending, never empty.
    #[serde(deserialize_with = "durations")]
    pub delay_steps: Vec<Duration>,
    /// Unconfirmed publishes at once.
    pub confirm_window: usize,
    /// Messages one queue may hold.
    pub queue_capacity: u32,
    /// Bound of one attempt to connect.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// Bound of one answer of the broker.
    #[serde(deserialize_with = "duration")]
    pub operation_timeout: Duration,
    /// AMQP heartbeat; whole seconds.
    #[serde(deserialize_with = "duration")]
    pub heartbeat: Duration,
}

impl BrokerSettings {
    /// Whether the queues live in this process.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.url.scheme() == "memory"
    }
}

/// `[limits]`: what hostile or broken input may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// The largest file.
    pub image_bytes: ByteSize,
    /// The longest side in pixels.
    pub image_side: u32,
    /// Pixels in all.
    pub image_pixels: u64,
    /// Pages of one file.
    pub image_pages: u32,
    /// Memory of one decoder.
    pub decode_memory: ByteSize,
    /// Bound of decoding one image where no child process does it.
    #[serde(deserialize_with = "duration")]
    pub decode_deadline: Duration,
    /// Bound of converting one AVIF or HEIC image.
    #[serde(deserialize_with = "duration")]
    pub convert_deadline: Duration,
    /// Address space of the program that does it.
    pub convert_memory: ByteSize,
    /// The most text of one analyzer that is given to another.
    pub needed_text: ByteSize,
    /// The most unpacked bytes of one archive.
    pub archive_bytes: ByteSize,
    /// The most members of one archive.
    pub archive_members: u64,
    /// The most rules.
    pub rules: usize,
    /// Redirects followed.
    pub http_redirects: u32,
    /// Bound of connecting.
    #[serde(deserialize_with = "duration")]
    pub http_connect_timeout: Duration,
    /// Bound of silence within an answer.
    #[serde(deserialize_with = "duration")]
    pub http_read_timeout: Duration,
    /// Bound of a whole download.
    #[serde(deserialize_with = "duration")]
    pub http_total_timeout: Duration,
    /// Whether private and loopback addresses are fetched.
    pub allow_private_hosts: bool,
    /// Hosts that are fetched even on private addresses.
    pub allowed_hosts: Vec<String>,
}

/// `[objects]`: buckets of Amazon S3, Google Cloud Storage and Azure, and of servers that speak their protocols.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectSettings {
    /// The server; none: Amazon's, or that of the environment.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Name of the key. `access_key_file` has been read into it.
    pub access_key: Option<String>,
    /// Its secret. `secret_key_file` has been read into it.
    pub secret_key: Option<SecretString>,
    /// The server of `gs:` addresses; none: Google's.
    pub gs_endpoint: Option<String>,
    /// The key of a service account. `gs_key_file` has been read into it.
    pub gs_key: Option<SecretString>,
    /// The server of `az:` addresses; none: Azure's.
    pub az_endpoint: Option<String>,
    /// The storage account.
    pub az_account: Option<String>,
    /// Its key. `az_key_file` has been read into it.
    pub az_key: Option<SecretString>,
    /// The only buckets that are read; empty: all.
    pub buckets: Vec<String>,
}

/// `[retry]`: attempts in all, by class of failure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrySettings {
    /// Passing failures.
    pub transient_attempts: u32,
    /// Images that kill their reader.
    pub crash_attempts: u32,
    /// Answers that are not good enough.
    pub quality_attempts: u32,
}

/// `[worker]`: how the pipe from job to answer runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Bound of a graceful stop, for every kind of process.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
    /// The longest pause before an analyzer that is away is asked again.
    #[serde(deserialize_with = "duration")]
    pub probe_every: Duration,
    /// How long a claim on a job counts without being renewed.
    #[serde(deserialize_with = "duration")]
    pub claim_lease: Duration,
    /// How long an answer may be on its way before its job is done again.
    #[serde(deserialize_with = "duration")]
    pub answer_lease: Duration,
    /// How often a worker announces that it lives.
    #[serde(deserialize_with = "duration")]
    pub announce_every: Duration,
    /// The watchdog's limit.
    #[serde(deserialize_with = "duration")]
    pub stall_after: Duration,
}

/// `[collector]`: how partial results become records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorSettings {
    /// Messages of one transaction.
    pub batch: usize,
    /// Least time between the beginnings of two transactions.
    #[serde(deserialize_with = "duration")]
    pub linger: Duration,
    /// The same while many messages come.
    #[serde(deserialize_with = "duration")]
    pub busy_linger: Duration,
    /// Unacknowledged messages at once.
    pub prefetch: u16,
    /// The sweeper's period.
    #[serde(deserialize_with = "duration")]
    pub sweep_every: Duration,
    /// Time after its deadline within which an outcome is in the results queue.
    #[serde(deserialize_with = "duration")]
    pub job_reserve: Duration,
    /// Bound of the difference between the clocks of two machines.
    #[serde(deserialize_with = "duration")]
    pub clock_skew: Duration,
    /// How long the sweeper waits for one of its marks before it sends another.
    #[serde(deserialize_with = "duration")]
    pub fence_patience: Duration,
    /// How long a job that was taken from the catalog may take into its queue.
    #[serde(deserialize_with = "duration")]
    pub dispatch_lease: Duration,
    /// How long each paid attempt is remembered.
    #[serde(deserialize_with = "duration")]
    pub keep_payments: Duration,
    /// Period of the marks that go the way of every job.
    #[serde(deserialize_with = "duration")]
    pub heartbeat_every: Duration,
    /// Period of counting the catalog; zero: never.
    #[serde(deserialize_with = "duration")]
    pub count_every: Duration,
    /// Period of checking the catalog against itself; zero: never.
    #[serde(deserialize_with = "duration")]
    pub audit_every: Duration,
}

/// `[search]`: what a query may ask at most.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSettings {
    /// Characters of a query.
    pub query_characters: usize,
    /// Words, phrases and filters of a query.
    pub query_terms: usize,
    /// Groups in groups.
    pub query_depth: usize,
    /// Characters of one word, phrase or value.
    pub term_characters: usize,
    /// Records of an answer that are counted and sorted by relevance.
    pub counted: u64,
}

/// `[near]`: which images look alike.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearSettings {
    /// In how many of 64 bits their hashes may differ.
    pub distance: u32,
    /// Whether producers decode every image for its hash.
    pub hash: bool,
}

/// `[producer]`: how sources are listed and enqueued.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerSettings {
    /// Whether symbolic links are followed.
    pub follow_links: bool,
    /// Whether dot files are read.
    pub hidden: bool,
    /// Globs of files that are read.
    pub include: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// Images looked up together.
    pub batch: usize,
    /// Files read at once; 0 = one per core.
    pub readers: usize,
    /// Whether files that look as they did are taken as known without being read.
    pub skip_unchanged: bool,
    /// Whether a digest that a list gives for a URL is believed until a worker reads the image.
    pub trust_digests: bool,
    /// Whether images of URLs are kept.
    pub keep_urls: bool,
    /// Names of metadata of one reference.
    pub meta_names: usize,
    /// Bytes of them and their texts.
    pub meta_bytes: ByteSize,
    /// Whether members of packed archives are kept.
    pub keep_packed: bool,
    /// Images of one batch whose jobs count as fresh work.
    pub fresh_images: u64,
    /// Messages that may wait for collectors before a batch beyond that share waits too.
    pub results_ahead: u64,
    /// URLs fetched at once.
    pub fetchers: usize,
    /// Tries for a URL.
    pub fetch_attempts: u32,
    /// URLs fetched at once from one host.
    pub host_connections: usize,
    /// Requests a second to one host; 0 = no bound.
    pub host_requests_per_second: f64,
    /// The longest pause that a host is given.
    #[serde(deserialize_with = "duration")]
    pub host_silence: Duration,
    /// How long a host is left alone that takes no connection.
    #[serde(deserialize_with = "duration")]
    pub host_away: Duration,
    /// Whether `robots.txt` and `X-Robots-Tag` are obeyed.
    pub obey_robots: bool,
    /// Quiet time before a watched file is read.
    #[serde(deserialize_with = "duration")]
    pub settle: Duration,
}

/// `[http]`: the side door for metrics and health.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// `address:port`, or `off`.
    pub listen: String,
}

impl HttpSettings {
    /// Where to listen; none when `off`.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        (self.listen != "off").then_some(self.listen.as_str())
    }
}

/// `[web]`: the archive as a web site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSettings {
    /// `address:port`, or `off`.
    pub listen: String,
    /// Who has it may change things. `token_file` has been read into it.
    pub token: Option<SecretString>,
    /// Host names that are answered besides those of this machine.
    pub hosts: Vec<String>,
    /// Connections at once.
    pub connections: usize,
    /// Requests one address may make in a second.
    pub rate: u32,
    /// Bound of one request.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// Images decoded at once; 0 = one per core.
    pub decoders: usize,
    /// Disk space for thumbnails and views.
    pub pictures: ByteSize,
    /// Bytes of one upload.
    pub upload_bytes: ByteSize,
    /// Files, and addresses, of one upload.
    pub upload_files: usize,
    /// Bound of one upload.
    #[serde(deserialize_with = "duration")]
    pub upload_timeout: Duration,
    /// Exports and batch searches at once.
    pub exports: usize,
    /// How long the reader of one may take nothing.
    #[serde(deserialize_with = "duration")]
    pub export_stall: Duration,
    /// Queries of one batch search.
    pub batch_queries: usize,
    /// Bytes of all of them.
    pub batch_bytes: ByteSize,
    /// Records of each of them.
    pub batch_hits: u32,
    /// Searches that are kept.
    pub saved_searches: u32,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// A level or a filter.
    pub level: String,
    /// Where spans go: `off`, or an OpenTelemetry collector's address.
    pub traces: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// Compact lines for people.
    Pretty,
    /// One JSON object per line.
    Json,
}
