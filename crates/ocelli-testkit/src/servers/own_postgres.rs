//! A private PostgreSQL for tests that stop, kill or freeze the database, and for `with-servers`.
//!
//! Its data lies in a temporary folder and it listens on 127.0.0.1 only. PostgreSQL refuses to run as root; started by
//! root it runs as the user `postgres` that Debian's package makes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::PostgresServer;
use super::process::{Process, StartError, bound_command, find_program};
use crate::ports;

/// Below a second on an idle machine; several times that while it compiles or recovers from a kill.
const START: Duration = Duration::from_secs(60);
/// A fast shutdown ends sessions and writes one checkpoint.
const STOP: Duration = Duration::from_secs(30);

const PACKAGE: &str = "postgresql";

/// A PostgreSQL of one's own. Killed and removed when dropped.
///
/// Start it from the test itself, not from a spawned blocking task: the kernel ends it with the thread that started it.
#[derive(Debug)]
pub struct OwnPostgres {
    server: Option<Process>,
    programs: PathBuf,
    user: Option<&'static str>,
    port: u16,
    settings: Vec<String>,
    // Last: fields are dropped in order, and the server writes into the folder.
    folder: TempDir,
}

impl OwnPostgres {
    /// Makes a database cluster, starts a server for it on a free port and waits until it answers.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up, with the end of its log.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("no private PostgreSQL: {error}"))
    }

    /// As [`OwnPostgres::start`].
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub async fn try_start() -> Result<Self, StartError> {
        Self::start_with(&[]).await
    }

    /// As [`OwnPostgres::start`], with settings (`name=value`) that go before those of tests.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub async fn start_with(settings: &[&str]) -> Result<Self, StartError> {
        let initdb = find_program(&installed("initdb"), "initdb", PACKAGE)?;
        let programs = initdb.parent().unwrap_or(Path::new("/")).to_owned();
        let user = rustix::process::geteuid().is_root().then_some("postgres");
        let folder = tempfile::Builder::new()
            .prefix("ocelli-postgres-")
            .tempdir()
            .map_err(|source| StartError::Prepare { path: std::env::temp_dir(), source })?;
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let port = ports::free();
        let mut this = Self { server: None, programs, user, port, settings, folder };
        this.prepare().await?;
        this.spawn().await?;
        Ok(this)
    }

    /// A database of its own on this server.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn database(&self) -> PostgresServer {
        super::shared_postgres::fresh(self.url()).await
    }

    /// URL with the administrator's name, without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Where it is served, for a proxy in front of it.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Stops the server in order (fast shutdown). Its data stays for [`OwnPostgres::start_again`].
    pub async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::INT);
            // One that does not end in time is killed by its drop.
            server.ended(STOP).await;
        }
    }

    /// Kills the server and its sessions (`kill -9`). Its data stays for [`OwnPostgres::start_again`].
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts a stopped or killed server again, on the same port and data.
    ///
    /// # Panics
    /// When it does not come up, with the end of its log.
    pub async fn start_again(&mut self) {
        self.kill();
        self.spawn().await.unwrap_or_else(|error| panic!("PostgreSQL did not come back: {error}"));
    }

    /// Freezes the server and its sessions: connections stay open and nothing answers.
    pub fn pause(&self) {
        if let Some(server) = &self.server {
            server.signal_all(Signal::STOP);
        }
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        if let Some(server) = &self.server {
            server.signal_all(Signal::CONT);
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn prepare(&self) -> Result<(), StartError> {
        let root = self.folder.path();
        let failed = |source| StartError::Prepare { path: root.to_owned(), source };
        // The server's user has to pass through the folder, and makes its own one inside.
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o777)).map_err(failed)?;
        let mut initdb = bound_command("KILL", self.user, &self.programs.join("initdb"));
        initdb
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(self.data())
            .current_dir(root);
        let log = root.join("initdb.log");
        let mut initdb = Process::spawn("initdb", initdb, &log)?;
        match initdb.ended(START).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(StartError::Ended {
                program: "initdb".to_owned(),
                status: status.to_string(),
                log: std::fs::read_to_string(&log).unwrap_or_default(),
            }),
            None => Err(StartError::Late {
                program: "initdb".to_owned(),
                after: START,
                log: std::fs::read_to_string(&log).unwrap_or_default(),
            }),
        }
    }

    async fn spawn(&mut self) -> Result<(), StartError> {
        let mut postgres = bound_command("QUIT", self.user, &self.programs.join("postgres"));
        postgres.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // Every test has its own pool.
            "max_connections=300",
            // The data outlives a killed server in the page cache, and nobody pulls the plug of a test.
            "fsync=off",
            "full_page_writes=off",
        ] {
            postgres.arg("-c").arg(setting);
        }
        // Of two values of one setting the server takes the later.
        for setting in &self.settings {
            postgres.arg("-c").arg(setting);
        }
        postgres.current_dir(self.folder.path());
        let mut server =
            Process::spawn("postgres", postgres, &self.folder.path().join("output.log"))?;
        let url = format!("{}/postgres", self.url());
        server
            .ready(START, || async {
                match PgConnection::connect(&url).await {
                    Ok(connection) => connection.close().await.is_ok(),
                    Err(_) => false,
                }
            })
            .await?;
        self.server = Some(server);
        Ok(())
    }
}

/// Debian keeps the server's programs off the search path, one folder per version; newest first.
fn installed(program: &str) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(program)))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, path)| path).collect()
}
