//! What a search finds, as Atom (RFC 4287) and JSON Feed 1.1: the latest first.

use askama::Template;
use axum::http::{HeaderMap, header};
use ocelli_catalog::search::{Hit, Sort};
use serde_json::json;

use crate::call::Call;
use crate::failure::WebError;
use crate::pages::cards::Wish;
use crate::reply::{Answer, tagged};
use crate::shown::{self, line, link};

/// Records of a feed.
const ENTRIES: u32 = 50;

struct Entry {
    id: String,
    title: String,
    href: String,
    thumb: String,
    at: String,
    text: String,
}

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed {
    title: String,
    id: String,
    href: String,
    here: String,
    updated: String,
    entries: Vec<Entry>,
}

async fn read(call: &Call) -> Result<Feed, WebError> {
    let (app, name) = (&call.app, call.path.as_str());
    let mut wish = Wish::of(&call.asked, ENTRIES, &app.options.query)?;
    wish.sort = Sort::Newest;
    wish.cursor.clear();
    let page = wish.ask(&app.catalog).await?;
    let base = base(&call.head);
    let entries: Vec<Entry> = page.hits.iter().map(|hit| entry(hit, &base, &wish.typed)).collect();
    Ok(Feed {
        title: if wish.typed.is_empty() {
            "ocelli".to_owned()
        } else {
            format!("ocelli: {}", xml(&line(&wish.typed, 200)))
        },
        id: format!(
            "urn:ocelli:search:{}",
            ocelli_core::Digest::of(wish.query.to_string().as_bytes()).short()
        ),
        href: format!("{base}{}", link("/search", &[("q", &wish.typed)])),
        here: format!("{base}{}", link(name, &[("q", &wish.typed)])),
        updated: entries
            .first()
            .map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), |one| one.at.clone()),
        entries,
    })
}

fn entry(hit: &Hit, base: &str, typed: &str) -> Entry {
    let texts = hit.answers.iter().map(|answer| {
        let said = match (&answer.snippet, &answer.reason) {
            (Some(snippet), _) => line(&snippet.text, 300),
            (None, Some(reason)) => line(reason, 300),
            (None, None) => answer.kind.name().to_owned(),
        };
        format!("{}: {said}", answer.analyzer)
    });
    Entry {
        id: format!("urn:ocelli:image:{}", hit.digest),
        title: xml(&hit.source.as_ref().map_or_else(|| hit.digest.short(), shown::name)),
        href: format!("{base}{}", link(&format!("/record/{}", hit.digest), &[("q", typed)])),
        thumb: format!("{base}/image/{}/thumb", hit.digest),
        at: hit.first_seen.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), shown::time),
        text: xml(&texts.collect::<Vec<_>>().join("\n")),
    }
}

/// How this site was reached: feeds need whole addresses.
fn base(head: &HeaderMap) -> String {
    let text = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    let host = text(header::HOST.as_str()).unwrap_or("localhost");
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(*c)).collect();
    format!("{scheme}://{host}")
}

/// Without the characters that XML 1.0 cannot hold (2.2).
fn xml(text: &str) -> String {
    let is_char = |c: &char| {
        !matches!(c, '\u{fffe}' | '\u{ffff}') && (!c.is_control() || *c == '\n' || *c == '\t')
    };
    text.chars().map(|c| if is_char(&c) { c } else { '\u{fffd}' }).collect()
}

/// `GET /search.atom`
pub(crate) async fn atom(call: Call) -> Answer {
    let feed = read(&call).await?;
    let text = feed.render().map_err(|_| WebError::Defect)?;
    Ok(tagged(&call.head, "application/atom+xml; charset=utf-8", text.into_bytes()))
}

/// `GET /search.feed.json`
pub(crate) async fn json_feed(call: Call) -> Answer {
    let feed = read(&call).await?;
    let items: Vec<_> = feed
        .entries
        .iter()
        .map(|entry| {
            json!({
                "id": entry.id, "url": entry.href, "title": entry.title, "image": entry.thumb,
                "date_published": entry.at, "content_text": entry.text,
            })
        })
        .collect();
    let whole = json!({
        "version": "https://jsonfeed.org/version/1.1", "title": feed.title, "home_page_url": feed.href,
        "feed_url": feed.here, "items": items,
    });
    let text = serde_json::to_vec(&whole).map_err(|_| WebError::Defect)?;
    Ok(tagged(&call.head, "application/feed+json; charset=utf-8", text))
}
