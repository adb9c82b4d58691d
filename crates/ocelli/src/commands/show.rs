//! `ocelli show`

use ocelli_core::{AnalyzerName, Record};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::{Format, ShowArgs};
use crate::formats::{Document, alto, hocr, tsv};
use crate::{agreements, archive, formats, layout, output, revisions};

pub(crate) async fn show(settings: &Settings, arguments: &ShowArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let digest = archive::resolve(settings, &catalog, &arguments.image).await?;
    let record = catalog.record(&digest).await?.ok_or_else(|| {
        Fault::new(ExitCode::Internal, format!("the record of {digest} vanished while it was read"))
    })?;
    let agreement = catalog.agreement(&digest).await?;
    catalog.close().await;
    let order = archive::order(settings);
    let words = |write: fn(&Document<'_>) -> String| words(&record, &order, arguments, write);
    match arguments.format {
        Format::Text if arguments.all_revisions => output::print(&revisions::all(&record, &order)),
        Format::Text if arguments.revision.is_some() => {
            let beginning = arguments.revision.as_deref().unwrap_or_default();
            output::print(&revisions::of(&record, &order, beginning)?)
        }
        Format::Text if arguments.agreement => {
            output::print(&(layout::text(&record, &order) + &agreements::text(&agreement)))
        }
        Format::Text => {
            output::print(&(layout::text(&record, &order) + &layout::metadata(&record)))
        }
        Format::Markdown => {
            output::print(&(layout::markdown(&record, &order) + &agreements::markdown(&agreement)))
        }
        Format::Json => output::json(&layout::Json::new(&record, &order, &agreement)),
        Format::Hocr => output::print(&words(hocr)?),
        Format::Alto => output::print(&words(alto)?),
        Format::Tsv => output::print(&words(tsv)?),
    }?;
    Ok(ExitCode::Ok)
}

/// The words of the asked analyzer, or of the first one that read words.
fn words(
    record: &Record,
    order: &[AnalyzerName],
    arguments: &ShowArgs,
    write: fn(&Document<'_>) -> String,
) -> Result<String, Fault> {
    formats::words(record, order, arguments.analyzer.as_ref(), write).ok_or_else(|| {
        let whom = match &arguments.analyzer {
            Some(name) => format!("'{name}' has"),
            None => "no analyzer has".to_owned(),
        };
        Fault::new(
            ExitCode::Usage,
            format!(
                "{whom} read words with boxes in this image; --format text prints what there is"
            ),
        )
    })
}
