//! `ocelli migrate`, `ocelli backup` and `ocelli restore`: the whole archive into another database, into a file, and back.

use std::time::{Duration, Instant};

use ocelli_catalog::{Carried, CarryError, Catalog, CatalogOptions};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::{BackupArgs, MigrateArgs, RestoreArgs};
use crate::{archive, output};

/// Time between two lines about how far it is.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn migrate(
    settings: &Settings,
    arguments: &MigrateArgs,
) -> Result<ExitCode, Fault> {
    let source = archive::open(settings).await?;
    let options = CatalogOptions { half_carried: true, ..CatalogOptions::default() };
    let target = Catalog::open(&arguments.to, options).await?;
    if source.place() == target.place() {
        let message = format!("{} is this archive itself; name another database", target.place());
        return Err(Fault::new(ExitCode::Usage, message));
    }
    let carried = source.carry_to(&target, Lines::new().tell()).await;
    target.close().await;
    source.close().await;
    let carried = carried.map_err(|error| fault(&error))?;
    report(&carried, arguments.json, &format!("carried into {}", target.place()))?;
    eprintln!("hint: set catalog.url to it, and start the fleet again");
    Ok(ExitCode::Ok)
}

pub(crate) async fn backup(settings: &Settings, arguments: &BackupArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let written = catalog.back_up(&arguments.file, Lines::new().tell()).await;
    catalog.close().await;
    written.map_err(|error| fault(&error))?;
    eprintln!("the archive is in {}; it was checked", arguments.file.display());
    Ok(ExitCode::Ok)
}

pub(crate) async fn restore(
    settings: &Settings,
    arguments: &RestoreArgs,
) -> Result<ExitCode, Fault> {
    let url = settings.catalog.url.expose();
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    if let Some(folder) = path.and_then(|path| std::path::Path::new(path).parent()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            let folder = folder.display();
            Fault::new(
                ExitCode::ServiceAway,
                format!("cannot create the folder '{folder}': {error}"),
            )
        })?;
    }
    let options = CatalogOptions::default();
    let carried = Catalog::restore(&arguments.file, url, options, Lines::new().tell()).await;
    let carried = carried.map_err(|error| fault(&error))?;
    report(&carried, arguments.json, &format!("restored from {}", arguments.file.display()))?;
    Ok(ExitCode::Ok)
}

fn fault(error: &CarryError) -> Fault {
    use ocelli_catalog::CatalogError::{Exists, HalfCarried, NotEmpty};
    let (CarryError::Source(cause) | CarryError::Target(cause)) = error;
    let code = match cause {
        Exists { .. } | HalfCarried { .. } | NotEmpty { .. } => ExitCode::Usage,
        _ => ExitCode::ServiceAway,
    };
    Fault::caused(code, cause)
}

fn report(carried: &Carried, json: bool, what: &str) -> Result<(), Fault> {
    if json {
        return output::json(
            &serde_json::json!({ "rows": carried.rows, "written": carried.written }),
        );
    }
    let rows: u64 = carried.rows.values().sum();
    let images = carried.rows.get("images").copied().unwrap_or(0);
    output::print(&format!("{images} images ({rows} rows) {what}, compared and equal\n"))
}

/// Says now and then how far it is.
struct Lines(Instant);

impl Lines {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn tell(mut self) -> impl FnMut(&str, u64) {
        move |table, rows| {
            if self.0.elapsed() >= LINE_EVERY {
                eprintln!("{table}: {rows} rows");
                self.0 = Instant::now();
            }
        }
    }
}
