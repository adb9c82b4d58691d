//! `ocelli search`

mod arguments;
mod batch;
mod page;

pub(crate) use arguments::SearchArgs;
use ocelli_catalog::CatalogError;
use ocelli_catalog::query::{Query, QueryError};
use ocelli_catalog::search::{Cursor, Page, Search};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};

use crate::{archive, output};

/// Records on a page, unless something else is asked for.
const LIMIT: u32 = 20;

/// No record matches: as `grep` says it.
const NOTHING: ExitCode = ExitCode::Internal;

pub(crate) async fn search(settings: &Settings, arguments: &SearchArgs) -> Result<ExitCode, Fault> {
    if let Some(file) = &arguments.queries {
        return batch::batch(settings, arguments, file).await;
    }
    let text = arguments.query.join(" ");
    let query = parse(settings, &text)?;
    let sort = arguments.sort.into();
    let cursor = match &arguments.cursor {
        None => None,
        Some(text) => {
            let cursor: Cursor = text.parse().map_err(|error| usage(&error))?;
            cursor.check(&query, sort).map_err(|error| usage(&error))?;
            Some(cursor)
        }
    };
    let limit = arguments.limit.unwrap_or(LIMIT);
    let search = Search { query, sort, limit, cursor, facets: arguments.facets };
    let catalog = archive::open(settings).await?;
    let page = catalog.search(&search).await;
    catalog.close().await;
    let page: Page = page.map_err(|error| match error {
        CatalogError::Query(error) => wrong(&text, &error),
        other => other.into(),
    })?;
    if arguments.json {
        output::json(&page)?;
    } else {
        let order = archive::order(settings);
        output::print(&page::text(&page, &order, page::Look::of_stdout()))?;
        eprintln!("{}", page::summary(&page));
    }
    Ok(if page.hits.is_empty() { NOTHING } else { ExitCode::Ok })
}

pub(crate) fn parse(settings: &Settings, text: &str) -> Result<Query, Fault> {
    Query::parse_within(text, &parts::query_limits(settings)).map_err(|error| wrong(text, &error))
}

/// What is wrong with a query, with the place under it where it is one line and short enough to be seen whole.
fn wrong(text: &str, error: &QueryError) -> Fault {
    let length = text.chars().count();
    let shown = length <= 100 && !text.chars().any(char::is_control);
    let place = " ".repeat(error.character - 1);
    let under = if shown { format!("\n  {text}\n  {place}^") } else { String::new() };
    Fault::new(
        ExitCode::Usage,
        format!("{error}{under}\nhint: 'ocelli search --help' shows what can be asked"),
    )
}

fn usage(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(ExitCode::Usage, error.to_string())
}
