//! The registry of one process and what every process reports about itself.
//!
//! Other crates define structs of metrics and register them here; names and labels follow the naming rules of the
//! Prometheus documentation (base units, `_total`, `_info`, no unbounded label).

use prometheus::{IntGaugeVec, Opts, Registry};

/// A registry with `ocelli_build_info{version, binary} = 1` and, on Linux, the `process_*` metrics.
///
/// # Errors
/// Only when a metric is registered twice, which would be a mistake in this function.
pub fn registry(binary: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new("ocelli_build_info", "Always 1; the labels say which program and version runs."),
        &["version", "binary"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION"), binary]).set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
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
        assert_eq!(labels, ["ocelli-collector", env!("CARGO_PKG_VERSION")]);
    }
}
