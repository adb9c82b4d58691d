//! `ocelli show`

use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::{Format, ShowArgs};
use crate::{archive, layout, output};

pub(crate) async fn show(settings: &Settings, arguments: &ShowArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let digest = archive::resolve(settings, &catalog, &arguments.image).await?;
    let record = catalog.record(&digest).await?.ok_or_else(|| {
        Fault::new(ExitCode::Internal, format!("the record of {digest} vanished while it was read"))
    })?;
    let order = archive::order(settings);
    match arguments.format {
        Format::Text => output::print(&layout::text(&record, &order)),
        Format::Markdown => output::print(&layout::markdown(&record, &order)),
        Format::Json => output::json(&layout::Json::new(&record, &order)),
    }?;
    catalog.close().await;
    Ok(ExitCode::Ok)
}
