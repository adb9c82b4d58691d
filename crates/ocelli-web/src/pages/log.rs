//! The log of what people did.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use ocelli_catalog::Deed;

use super::Frame;
use crate::app::App;
use crate::failure::WebError;
use crate::reply::{self, Answer};
use crate::shown::{self, Asked, line, link};

/// Deeds on a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    deeds: Vec<Row>,
    next: Option<String>,
    twin: String,
}

struct Row {
    at: String,
    what: String,
    analyzer: String,
    image: Option<(String, String)>,
    detail: String,
}

async fn deeds(app: &App, asked: &Asked) -> Result<(Vec<Deed>, Option<i64>), WebError> {
    let before = match asked.get("before") {
        "" => None,
        text => Some(text.parse().map_err(|_| WebError::Bad("before is a number".to_owned()))?),
    };
    let deeds = app.catalog.deeds(before, PAGE).await?;
    let next = deeds.last().filter(|_| deeds.len() == PAGE as usize).map(|deed| deed.id);
    Ok((deeds, next))
}

/// `GET /log`
pub(crate) async fn page(
    State(app): State<App>,
    head: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let (deeds, next) = deeds(&app, &Asked::of(query.as_deref())).await?;
    let page = LogPage {
        frame: Frame::of(&app, &head, "log"),
        deeds: deeds.into_iter().map(row).collect(),
        next: next.map(|next| link("/log", &[("before", &next.to_string())])),
        twin: "/log.json".to_owned(),
    };
    reply::page(&head, &page)
}

/// `GET /log.json`
pub(crate) async fn twin(
    State(app): State<App>,
    head: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let (deeds, _) = deeds(&app, &Asked::of(query.as_deref())).await?;
    reply::json(&head, &deeds)
}

fn row(deed: Deed) -> Row {
    let detail = match &deed.detail {
        serde_json::Value::Object(fields) => {
            let shown = fields.iter().filter(|(_, value)| !value.is_null());
            let texts = shown.map(|(name, value)| match value {
                serde_json::Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            });
            texts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    Row {
        at: shown::time(deed.at),
        what: line(&deed.kind, 100),
        analyzer: deed.analyzer.map(|name| name.to_string()).unwrap_or_default(),
        image: deed.digest.map(|digest| (format!("/record/{digest}"), digest.short())),
        detail: line(&detail, 500),
    }
}
