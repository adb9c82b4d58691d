//! Searches that people keep under a name. They are listed beside every search.

use axum::extract::State;
use jiff::Timestamp;

use crate::app::App;
use crate::call::Press;
use crate::failure::WebError;
use crate::reply::{Answer, see};
use crate::shown::{line, link};

/// Characters of a name.
const LONGEST_NAME: usize = 80;

/// A kept search, as a page shows it.
#[derive(Debug, Clone)]
pub(crate) struct SavedLink {
    pub(crate) name: String,
    pub(crate) href: String,
    /// As it is called in the catalog: what a form names.
    pub(crate) key: String,
    /// Whether the page shows this search.
    pub(crate) chosen: bool,
}

/// All of them, beside a search for `typed`.
pub(crate) async fn links(app: &App, typed: &str) -> Result<Vec<SavedLink>, WebError> {
    let all = app.catalog.saved_searches().await?.into_iter();
    Ok(all
        .map(|one| SavedLink {
            name: line(&one.name, LONGEST_NAME),
            href: link("/search", &[("q", &one.query)]),
            chosen: one.query == typed,
            key: one.name,
        })
        .collect())
}

/// A name that somebody gives: short, on one line, and not empty.
fn name(given: &str) -> Result<String, WebError> {
    let name = line(given, usize::MAX);
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(WebError::Bad(format!(
            "the name of a search has 1 to {LONGEST_NAME} characters"
        )));
    }
    Ok(name)
}

/// Keeps a search; one of the same name is replaced.
pub(crate) async fn keep(app: &App, given: &str, typed: &str) -> Result<String, WebError> {
    let (name, typed) = (name(given)?, typed.trim());
    if typed.is_empty() {
        return Err(WebError::Bad("there is no query to keep".to_owned()));
    }
    super::query(app, typed)?;
    let (now, most) = (Timestamp::now(), app.options.saved_searches);
    if !app.catalog.save_search(&name, typed, now, most).await? {
        let text = format!("{most} searches are kept already (web.saved_searches)");
        return Err(WebError::TooLarge(text));
    }
    let detail = serde_json::json!({ "name": name, "query": line(typed, 500) });
    app.catalog.note_deed(now, "search saved", None, &detail).await?;
    Ok(name)
}

/// Forgets a search.
pub(crate) async fn drop_search(app: &App, name: &str) -> Result<(), WebError> {
    if !app.catalog.forget_search(name).await? {
        return Err(WebError::Missing(format!(
            "no search is called '{}'",
            line(name, LONGEST_NAME)
        )));
    }
    let detail = serde_json::json!({ "name": line(name, LONGEST_NAME) });
    app.catalog.note_deed(Timestamp::now(), "search forgotten", None, &detail).await?;
    Ok(())
}

/// `POST /search/save`
pub(crate) async fn save(State(app): State<App>, Press(form): Press) -> Answer {
    keep(&app, form.get("name"), form.get("q")).await?;
    Ok(see(&link("/search", &[("q", form.get("q")), ("facets", "1")])))
}

/// `POST /search/forget`
pub(crate) async fn forget(State(app): State<App>, Press(form): Press) -> Answer {
    drop_search(&app, form.get("name")).await?;
    Ok(see(&link("/search", &[("q", form.get("q")), ("facets", "1")])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line() {
        assert_eq!(name("  hot \n dogs ").unwrap(), "hot dogs");
        for given in ["", " \n ", &"x".repeat(81)] {
            assert!(name(given).is_err(), "{given}");
        }
    }
}
