//! One file per page: what is asked of the catalog, what the page says, its twin for programs.

pub(crate) mod agreement;
pub(crate) mod attempts;
pub(crate) mod batch;
pub(crate) mod batch_search;
pub(crate) mod bring;
pub(crate) mod cards;
pub(crate) mod compare;
pub(crate) mod failures;
pub(crate) mod fleet;
pub(crate) mod gallery;
pub(crate) mod help;
pub(crate) mod image;
pub(crate) mod log;
pub(crate) mod record;
pub(crate) mod saved;
pub(crate) mod search;
pub(crate) mod sign_in;
pub(crate) mod trouble;

use axum::body::Body;
use axum::http::HeaderMap;
use ocelli_catalog::query::Query;
use ocelli_core::{AnalyzerName, BatchId, Digest, Record};

use crate::app::Site;
use crate::assets;
use crate::failure::WebError;
use crate::session::Standing;
use crate::shown::Asked;

/// The longest body of a form that carries no files.
const LONGEST_FORM: usize = 64 * 1024;

/// What is around every page.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Which entry of the navigation this is.
    pub(crate) here: &'static str,
    /// What stands in the search field.
    pub(crate) query: String,
    pub(crate) standing: Standing,
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) htmx: String,
    pub(crate) icon: String,
    /// Seconds after which the page asks again by itself.
    pub(crate) refresh: Option<u32>,
}

impl Frame {
    pub(crate) fn new(here: &'static str, standing: Standing) -> Self {
        Self {
            here,
            query: String::new(),
            standing,
            style: assets::at("ocelli.css"),
            script: assets::at("ocelli.js"),
            htmx: assets::at("htmx.js"),
            icon: assets::at("icon.svg"),
            refresh: None,
        }
    }

    pub(crate) fn of(site: &Site, head: &HeaderMap, here: &'static str) -> Self {
        Self::new(here, site.session.standing(head))
    }
}

/// The digest in an address.
pub(crate) fn digest(text: &str) -> Result<Digest, WebError> {
    text.parse().map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))
}

/// The name of an analyzer in an address.
pub(crate) fn analyzer(text: &str) -> Result<AnalyzerName, WebError> {
    text.parse().map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))
}

/// The record of an image.
pub(crate) async fn record(site: &Site, digest: &Digest) -> Result<Record, WebError> {
    let record = site.catalog.record(digest).await?;
    let short = digest.short();
    record.ok_or_else(|| WebError::Missing(format!("there is no image {short} in this archive")))
}

/// A query as somebody typed it.
pub(crate) fn query(site: &Site, typed: &str) -> Result<Query, WebError> {
    Query::parse_within(typed, &site.options.query)
        .map_err(|error| WebError::Bad(error.to_string()))
}

/// The number of a batch in an address.
pub(crate) fn batch_id(text: &str) -> Result<BatchId, WebError> {
    text.parse().map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))
}

/// The fields of a form.
pub(crate) async fn form(body: Body) -> Result<Asked, WebError> {
    let bytes = axum::body::to_bytes(body, LONGEST_FORM)
        .await
        .map_err(|_| WebError::TooLarge(format!("a form has at most {LONGEST_FORM} bytes")))?;
    Ok(Asked::of(std::str::from_utf8(&bytes).ok()))
}

/// How long a page of a list is. Pages have no numbers: whoever asks for one is told where the next one is.
pub(crate) fn limit(asked: &Asked, default: u32, most: u32) -> Result<u32, WebError> {
    if !asked.get("page").is_empty() {
        return Err(WebError::Bad(
            "pages have no numbers here: each ends with the address of the next one; before: and after: in a query lead \
             to any time"
                .to_owned(),
        ));
    }
    number(asked, "limit", default, most)
}

/// The number in a parameter, or `default`.
fn number(asked: &Asked, name: &str, default: u32, most: u32) -> Result<u32, WebError> {
    match asked.get(name) {
        "" => Ok(default),
        text => text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
            let text: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
            WebError::Bad(format!("{name} is a number from 1 to {most}, not '{text}'"))
        }),
    }
}
