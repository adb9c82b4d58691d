//! The log of what people did.

use askama::Template;
use ocelli_catalog::Deed;

use super::Frame;
use crate::app::App;
use crate::call::Call;
use crate::failure::WebError;
use crate::reply::{Answer, with_next};
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

/// `GET /log`, `/log.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (deeds, next) = deeds(&call.app, &call.asked).await?;
    let to = |path: &str, next: i64| link(path, &[("before", &next.to_string())]);
    if call.wants_json() {
        return Ok(with_next(call.json(&deeds)?, next.map(|next| to(&call.path, next))));
    }
    let page = LogPage {
        frame: call.frame("log"),
        deeds: deeds.into_iter().map(row).collect(),
        next: next.map(|next| to("/log", next)),
        twin: "/log.json".to_owned(),
    };
    call.page(&page)
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
