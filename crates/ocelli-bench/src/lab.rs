//! What all rows share: the programs, the servers, how often and how much.

use std::path::{Path, PathBuf};

use ocelli_testkit::servers::{OwnPostgres, OwnRabbitmq, PostgresServer, RabbitmqServer};
use tokio::sync::OnceCell;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is committed is on the disk, for everybody: tests do without.
const DURABLE: [&str; 2] = ["fsync=on", "full_page_writes=on"];

/// The place where rows are measured.
pub(crate) struct Lab {
    /// Rounds that count.
    pub(crate) rounds: u32,
    /// Amounts that take longer than a coffee, where a goal names them: see `--whole`.
    pub(crate) whole: bool,
    /// Processor cores of this machine.
    pub(crate) cores: usize,
    size: f64,
    programs: PathBuf,
    python: Option<PathBuf>,
    rabbitmq: OnceCell<OwnRabbitmq>,
    postgres: OnceCell<OwnPostgres>,
}

impl Lab {
    pub(crate) fn new(
        programs: Option<PathBuf>,
        python: Option<PathBuf>,
        rounds: u32,
        size: f64,
        whole: bool,
    ) -> Fallible<Self> {
        let beside = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self {
            rounds: rounds.max(1),
            whole,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            size: size.clamp(0.001, 1_000.0),
            programs: std::path::absolute(programs.unwrap_or(beside))?,
            python: python.map(std::path::absolute).transpose()?,
            rabbitmq: OnceCell::new(),
            postgres: OnceCell::new(),
        })
    }

    /// So many as usual, scaled.
    pub(crate) fn count(&self, usual: u64) -> u64 {
        ((usual as f64 * self.size) as u64).max(1)
    }

    /// A built program, or a built example.
    pub(crate) fn program(&self, name: &str) -> Fallible<PathBuf> {
        let places = [self.programs.join(name), self.programs.join("examples").join(name)];
        let found = places.into_iter().find(|place| place.is_file());
        found.ok_or_else(|| {
            let folder = self.programs.display();
            format!("{name} is not built in {folder}\nhint: cargo build --release --workspace --bins --example bench-ocr").into()
        })
    }

    /// The Python that has the peers.
    pub(crate) fn python(&self) -> Option<&Path> {
        self.python.as_deref()
    }

    /// Whether the programs are optimised, by the folder they are in.
    pub(crate) fn profile(&self) -> String {
        self.programs.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A virtual host on the RabbitMQ of this run.
    pub(crate) async fn vhost(&self) -> Fallible<RabbitmqServer> {
        Ok(self.rabbitmq.get_or_try_init(OwnRabbitmq::try_start).await?.vhost().await)
    }

    /// A database on the PostgreSQL of this run.
    pub(crate) async fn database(&self) -> Fallible<PostgresServer> {
        let start = async || OwnPostgres::start_with(&DURABLE).await;
        Ok(self.postgres.get_or_try_init(start).await?.database().await)
    }
}
