//! The registry of one process and what every process reports about itself.
//!
//! Other crates define structs of metrics and register them here; names and labels follow the naming rules of the
//! Prometheus documentation (base units, `_total`, `_info`, no unbounded label).

use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

/// The commit this was built from, where whoever built it said so.
const REVISION: &str = match option_env!("OCELLI_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// A registry with `ocelli_build_info{version, revision, binary} = 1` and, on Linux, the `process_*` metrics.
///
/// # Errors
/// Only when a metric is registered twice, which would be a mistake in this function.
pub fn registry(binary: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new("ocelli_build_info", "Always 1; the labels say which program and version runs."),
        &["version", "revision", "binary"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION, binary]).set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Adds `ocelli_catalog_free_bytes`: room on the disk of the folder that holds the catalog's file.
///
/// # Errors
/// When it was added before.
pub fn free_space(registry: &Registry, folder: PathBuf) -> Result<(), prometheus::Error> {
    let gauge = IntGauge::new(
        "ocelli_catalog_free_bytes",
        "Free bytes on the disk of the catalog's file.",
    )?;
    registry.register(Box::new(FreeSpace { gauge, folder }))
}

/// Asks the file system when somebody asks for the metric.
#[derive(Debug)]
struct FreeSpace {
    gauge: IntGauge,
    folder: PathBuf,
}

impl Collector for FreeSpace {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    /// Nothing while the disk cannot be asked: a wrong figure would be worse than none.
    fn collect(&self) -> Vec<MetricFamily> {
        // The folder is made by whoever writes first.
        let space = self.folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
        let Some(space) = space else { return Vec::new() };
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        self.gauge.set(i64::try_from(free).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_says_which_program_and_version_it_is() {
        let families = registry("ocelli-collector").unwrap().gather();
        let build = families.iter().find(|family| family.name() == "ocelli_build_info").unwrap();
        let labels: Vec<_> =
            build.get_metric()[0].get_label().iter().map(|label| label.value()).collect();
        assert_eq!(labels, ["ocelli-collector", REVISION, env!("CARGO_PKG_VERSION")]);
    }

    #[test]
    fn free_space_is_that_of_the_folder_or_of_the_nearest_one_that_exists() {
        let registry = Registry::new();
        let folder = tempfile::tempdir().unwrap();
        free_space(&registry, folder.path().join("not/yet")).unwrap();
        assert!(registry.gather()[0].get_metric()[0].get_gauge().get_value() > 0.0);
    }
}
