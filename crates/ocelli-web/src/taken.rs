//! Taking out what the archive holds: one record as a file, many records as one stream, the hits of many queries.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use ocelli_catalog::search::{Place, Sort};
use ocelli_core::{AnalyzerName, Digest, Record};
use ocelli_export::hits::{Hits, Table, Written};
use ocelli_export::{Format, Lines, Options, SCHEMA, agreements, formats, layout};

use crate::app::App;
use crate::call::{Call, Named};
use crate::failure::WebError;
use crate::reply::{Answer, knows, tagged};
use crate::shown::Asked;
use crate::streams;

/// Behind which record an export ends: what comes later is got with `since`.
const CURSOR: HeaderName = HeaderName::from_static("ocelli-cursor");

/// How long it is looked whether the archive has changed: behind that an export without a tag is the better answer.
const LOOK: Duration = Duration::from_secs(5);

/// A record as a file: how it is asked for, what it is, how its name ends.
pub(crate) const FILES: [(&str, &str, &str); 6] = [
    ("hocr", "application/xhtml+xml; charset=utf-8", "hocr"),
    ("alto", "application/xml; charset=utf-8", "alto.xml"),
    ("tsv", "text/tab-separated-values; charset=utf-8", "tsv"),
    ("text", "text/plain; charset=utf-8", "txt"),
    ("markdown", "text/markdown; charset=utf-8", "md"),
    ("json", "application/json", "json"),
];

/// `GET /record/DIGEST/FORMAT?analyzer=NAME`: the record, or its words with their boxes, as a file.
pub(crate) async fn record(call: Call, Named((digest, format)): Named<(String, String)>) -> Answer {
    let app = &call.app;
    let digest = crate::pages::digest(&digest)?;
    let analyzer = match call.asked.get("analyzer") {
        "" => None,
        name => Some(crate::pages::analyzer(name)?),
    };
    let (_, kind, ending) =
        *FILES.iter().find(|(name, _, _)| *name == format).ok_or(WebError::Unknown)?;
    let record = crate::pages::record(app, &digest).await?;
    let order = app.options.names();
    let text = match format.as_str() {
        "text" => layout::text(&record, &order),
        "markdown" => {
            let pairs = app.catalog.agreement(&digest).await?;
            layout::markdown(&record, &order) + &agreements::markdown(&pairs)
        }
        "json" => {
            let pairs = app.catalog.agreement(&digest).await?;
            let whole = layout::Json::new(&record, &order, &pairs);
            serde_json::to_string_pretty(&whole).map_err(|_| WebError::Defect)?
        }
        "hocr" => words(&record, &order, analyzer.as_ref(), formats::hocr)?,
        "alto" => words(&record, &order, analyzer.as_ref(), formats::alto)?,
        _ => words(&record, &order, analyzer.as_ref(), formats::tsv)?,
    };
    let mut response = tagged(&call.head, kind, text.into_bytes());
    let name = format!("attachment; filename=\"{}.{ending}\"", digest.short());
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    // hOCR is a page: where a browser opens it all the same, it may do nothing.
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, sandbox);
    Ok(response)
}

fn words(
    record: &Record,
    order: &[AnalyzerName],
    analyzer: Option<&AnalyzerName>,
    write: fn(&formats::Document<'_>) -> String,
) -> Result<String, WebError> {
    formats::words(record, order, analyzer, write)
        .ok_or_else(|| WebError::Missing("nobody read words with boxes in this image".to_owned()))
}

/// All records that match, as one stream: `format`, `where`, `since`, `older`.
///
/// Whoever has it already gets nothing: its tag is that of the archive as it was when it was asked, and of what was asked. What
/// is written meanwhile can be in the stream, so that its tag is rather too old than too new. The look is a walk through the archive:
/// whoever wants it needs a place, so that there are never more of them at once than exports.
pub(crate) async fn export(call: &Call) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let (format, kind) = match asked.get("format") {
        "" | "jsonl" => (Format::Jsonl, "application/x-ndjson"),
        "csv" => (Format::Csv, "text/csv; charset=utf-8"),
        "text" => (Format::Text, "text/plain; charset=utf-8"),
        _ => return Err(WebError::Bad("format is jsonl, csv or text".to_owned())),
    };
    let since: Option<Place> =
        match asked.get("since") {
            "" => None,
            text => Some(text.parse().map_err(|error: ocelli_catalog::search::NoPlace| {
                WebError::Bad(error.to_string())
            })?),
        };
    let query = crate::pages::query(app, asked.get("where"))?;
    let order = app.options.names();
    let place = streams::place(app)?;
    let tag = match tokio::time::timeout(LOOK, app.catalog.fingerprint()).await {
        Ok(mark) => {
            // Another program may write the same records in other words.
            let program = (env!("CARGO_PKG_VERSION"), SCHEMA);
            let question = (asked.get("where"), since, asked.get("older"));
            let what = (mark?, program, kind, question, &order);
            Some(format!("\"{}\"", Digest::of(format!("{what:?}").as_bytes()).short()))
        }
        Err(_) => None,
    };
    if let Some(tag) = tag.as_deref().filter(|tag| knows(&call.head, tag)) {
        return Ok(with_tag(StatusCode::NOT_MODIFIED.into_response(), tag));
    }
    // What comes in meanwhile is for the next export: so this one has an end, and that is known now.
    let until = app.catalog.last_place(&query).await?;
    let options = Options {
        format,
        query,
        older: !asked.get("older").is_empty(),
        file_bytes: u64::MAX,
        text: Box::new(move |record| layout::text(record, &order)),
        hocr: Box::new(|_: &Record| Vec::new()),
    };
    let lines = Lines::begin(&options, since, until).map_err(|_| WebError::Defect)?;
    let catalog = app.catalog.clone();
    let pieces = stream::unfold(Some((lines, options)), move |state| {
        let catalog = catalog.clone();
        async move {
            let (mut lines, options) = state?;
            match lines.next(&catalog, &options).await {
                Ok(Some(piece)) => Some((Ok(piece), Some((lines, options)))),
                Ok(None) => Some((lines.finish().map(|(rest, _)| rest), None)),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let name = format!("ocelli.{}", format.ending());
    let mut response = streams::answer(app, place, (kind, &name), pieces);
    // An archive without a match goes on where it began.
    if let Some(cursor) = until.max(since)
        && let Ok(cursor) = HeaderValue::try_from(cursor.to_string())
    {
        response.headers_mut().insert(CURSOR, cursor);
    }
    Ok(match tag {
        Some(tag) => with_tag(response, &tag),
        None => response,
    })
}

/// With its tag: a weak one, for the same records may come in other bytes.
fn with_tag(mut response: Response, tag: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(format!("W/{tag}")) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// The hits of these queries as one stream: `format`, `sort`.
pub(crate) fn hits(app: &App, queries: Vec<Written>, asked: &Asked) -> Result<Response, WebError> {
    let (table, kind, ending) = match asked.get("format") {
        "" | "ndjson" => (Table::Ndjson, "application/x-ndjson", "ndjson"),
        "csv" => (Table::Csv, "text/csv; charset=utf-8", "csv"),
        _ => return Err(WebError::Bad("format is ndjson or csv".to_owned())),
    };
    let sort: Sort = crate::pages::cards::sort(asked.get("sort"))?;
    let place = streams::place(app)?;
    let hits = Hits::of(queries, sort, app.options.batch_hits, table, true);
    let catalog = app.catalog.clone();
    let pieces = stream::unfold(Some(hits), move |hits| {
        let catalog = catalog.clone();
        async move {
            let mut hits = hits?;
            match hits.next(&catalog).await {
                Ok(Some(piece)) => Some((Ok(piece.bytes), Some(hits))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    Ok(streams::answer(app, place, (kind, &format!("hits.{ending}")), pieces))
}
