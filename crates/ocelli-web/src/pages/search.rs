//! Search: which records have these words, where, and in whose reading.

use askama::Template;
use ocelli_catalog::search::Sort;

use super::Frame;
use super::cards::{Card, ChipLink, FacetList, Wish, cards, chips, facets, total};
use super::saved::{self, SavedLink};
use crate::call::Call;
use crate::failure::WebError;
use crate::guard::wants_json;
use crate::reply::Answer;
use crate::shown::link;

/// Records on a page.
const PAGE: u32 = 20;

#[derive(Template)]
#[template(path = "search.html")]
struct Found {
    frame: Frame,
    typed: String,
    /// What is wrong with the query.
    wrong: String,
    cards: Vec<Card>,
    chips: Vec<ChipLink>,
    facets: Vec<FacetList>,
    /// Where the facets are counted, while they are not.
    narrow: String,
    /// Whether they stand open on a small screen: when somebody went there for them, not when a script got them.
    opened: bool,
    total: String,
    sorts: Vec<(&'static str, String, bool)>,
    note: &'static str,
    next: Option<String>,
    first: String,
    is_first: bool,
    twin: String,
    atom: String,
    feed: String,
    as_gallery: String,
    saved: Vec<SavedLink>,
    /// Whether this search can be kept.
    can_save: bool,
}

/// `GET /search`, `/search.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let mut frame = call.frame("search");
    asked.get("q").clone_into(&mut frame.query);
    // The query can be mended where it was typed.
    let can_mend = !call.wants_json() && !wants_json(&call.head, &call.path);
    let wish = match Wish::of(asked, PAGE, &app.options.query) {
        Ok(wish) => wish,
        Err(WebError::Bad(wrong)) if can_mend => return mend(&call, frame, wrong),
        Err(other) => return Err(other),
    };
    let page = match wish.ask(&app.catalog).await {
        Ok(page) => page,
        // It names an image that is not here: that shows only now.
        Err(WebError::Bad(wrong)) if can_mend => return mend(&call, frame, wrong),
        Err(other) => return Err(other),
    };
    if call.wants_json() {
        return call.json(&page);
    }
    let typed = wish.typed.as_str();
    let can_save = frame.standing.signed_in && !typed.is_empty();
    let sort = |name, sort: &str, this| {
        (name, link("/search", &[("q", typed), ("sort", sort)]), wish.sort == this)
    };
    let cursor =
        |cursor: &ocelli_catalog::search::Cursor| wish.with_cursor("/search", &cursor.to_string());
    let found = Found {
        frame,
        wrong: String::new(),
        cards: cards(app, &page, typed).await?,
        chips: chips(&wish, "/search"),
        facets: page.facets.as_ref().map(|all| facets(&wish, "/search", all)).unwrap_or_default(),
        narrow: wish.narrowing("/search"),
        opened: wish.facets && !call.head.contains_key("hx-request"),
        total: total(&page),
        sorts: vec![
            sort("Best match", "", Sort::Relevance),
            sort("Newest", "newest", Sort::Newest),
            sort("Oldest", "oldest", Sort::Oldest),
        ],
        note: if wish.sort == Sort::Relevance && page.sort == Sort::Newest && page.total.more {
            "So many match that they are shown newest first."
        } else {
            ""
        },
        next: page.next.as_ref().map(cursor),
        first: wish.with_query("/search", typed),
        is_first: wish.cursor.is_empty(),
        twin: link(
            "/search.json",
            &[("q", typed), ("sort", wish.sort_name()), ("cursor", &wish.cursor)],
        ),
        atom: link("/search.atom", &[("q", typed)]),
        feed: link("/search.feed.json", &[("q", typed)]),
        as_gallery: link("/", &[("q", typed)]),
        can_save,
        saved: saved::links(app, typed).await?,
        typed: wish.typed.clone(),
    };
    call.page(&found)
}

/// The page that says what is wrong with the query.
fn mend(call: &Call, frame: Frame, wrong: String) -> Answer {
    let found = Found {
        typed: frame.query.chars().take(200).collect(),
        frame: Frame { query: frame.query.chars().take(4_000).collect(), ..frame },
        wrong,
        cards: Vec::new(),
        chips: Vec::new(),
        facets: Vec::new(),
        narrow: String::new(),
        opened: false,
        total: String::new(),
        sorts: Vec::new(),
        note: "",
        next: None,
        first: String::new(),
        is_first: true,
        twin: String::new(),
        atom: String::new(),
        feed: String::new(),
        as_gallery: String::new(),
        saved: Vec::new(),
        can_save: false,
    };
    let mut response = call.page(&found)?;
    *response.status_mut() = axum::http::StatusCode::BAD_REQUEST;
    Ok(response)
}
