//! What all tests of a run share: its scale, its seed, and the servers that no test harms.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_testkit::servers::{
    self, OwnPostgres, OwnRabbitmq, Place, PostgresServer, RabbitmqServer,
};
use tokio::sync::OnceCell;

use super::row::Fallible;

/// Counts that are half a second old at most; the default of five would see nothing of what is going on.
const STATISTICS: &str = "collect_statistics_interval = 500";

/// Scale of a run and what its tests share.
pub(crate) struct Lab {
    minutes: f64,
    seed: u64,
    /// Keep the folders of tests that passed as well.
    pub(super) keep: bool,
    rabbitmq: OnceCell<OwnRabbitmq>,
    postgres: OnceCell<OwnPostgres>,
    /// Folders with logs that were kept and not printed yet.
    pub(super) kept: Arc<Mutex<Vec<PathBuf>>>,
}

impl Lab {
    pub(super) fn new(minutes: f64, seed: u64, keep: bool) -> Self {
        Self {
            minutes: minutes.clamp(0.5, 600.0),
            seed,
            keep,
            rabbitmq: OnceCell::new(),
            postgres: OnceCell::new(),
            kept: Arc::default(),
        }
    }

    pub(super) fn minutes(&self) -> f64 {
        self.minutes
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// So many at ten minutes, in proportion otherwise, and never fewer than `least`: below that the test no longer
    /// shows what it is for.
    pub(super) fn count(&self, at_ten_minutes: u64, least: u64) -> u64 {
        let scaled = at_ten_minutes as f64 * self.minutes / 10.0;
        (scaled as u64).max(least)
    }

    /// So long at ten minutes, in proportion otherwise, and never shorter than `least`.
    pub(super) fn lasting(&self, at_ten_minutes: Duration, least: Duration) -> Duration {
        at_ten_minutes.mul_f64(self.minutes / 10.0).max(least)
    }

    /// The choices of one test: others of the same run do not shift them.
    pub(super) fn chance(&self, test: &str) -> Chance {
        Chance::new(
            test.bytes().fold(self.seed, |state, byte| {
                state.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
            }),
        )
    }

    /// A virtual host on the RabbitMQ of this run, for a test that does not harm the server itself.
    pub(super) async fn vhost(&self) -> Fallible<RabbitmqServer> {
        let start = async || OwnRabbitmq::start_with(STATISTICS, &Place::temporary()).await;
        Ok(self.rabbitmq.get_or_try_init(start).await?.vhost().await)
    }

    /// A database on the PostgreSQL of this run.
    pub(super) async fn database(&self) -> Fallible<PostgresServer> {
        Ok(self.postgres.get_or_try_init(OwnPostgres::try_start).await?.database().await)
    }

    /// What tests of the crates look for in their environment: the servers of this run.
    pub(super) async fn environment(&self) -> Fallible<Vec<(&'static str, String)>> {
        // Both are running once somebody has asked.
        drop((self.vhost().await?, self.database().await?));
        let (Some(rabbitmq), Some(postgres)) = (self.rabbitmq.get(), self.postgres.get()) else {
            return Err("the servers of the run are not there".into());
        };
        Ok(vec![
            (servers::RABBITMQ, rabbitmq.url()),
            (servers::RABBITMQ_MANAGEMENT, rabbitmq.management_url()),
            (servers::POSTGRES, postgres.url()),
        ])
    }

    /// Where the logs of the last test are, if they were kept.
    pub(super) fn take_kept(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Choices that a seed repeats (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end`, without `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A place in a list of this length.
    pub(super) fn pick(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}
