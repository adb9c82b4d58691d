//! The gallery: every image, the latest first.

use askama::Template;

use super::Frame;
use super::cards::{Card, ChipLink, FacetList, Wish, cards, chips, facets, total};
use crate::call::Call;
use crate::reply::Answer;
use crate::shown::link;

/// Images on a page: some screens full.
const PAGE: u32 = 48;

#[derive(Template)]
#[template(path = "gallery.html")]
struct Gallery {
    frame: Frame,
    cards: Vec<Card>,
    chips: Vec<ChipLink>,
    facets: Vec<FacetList>,
    /// Where the facets are counted, while they are not.
    narrow: String,
    total: String,
    /// Nothing was ever brought in.
    is_new: bool,
    /// From the first page on.
    first: String,
    next: Option<String>,
    twin: String,
    as_list: String,
    is_first: bool,
    filtered: bool,
}

/// `GET /`, `/gallery.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let mut wish = Wish::of(asked, PAGE, &app.options.query)?;
    if asked.get("sort").is_empty() {
        wish.sort = ocelli_catalog::search::Sort::Newest;
    }
    let page = wish.ask(&app.catalog).await?;
    if call.wants_json() {
        return call.json(&page);
    }
    let cards = cards(app, &page, &wish.typed).await?;
    let mut frame = call.frame("gallery");
    frame.query.clone_from(&wish.typed);
    let is_first = wish.cursor.is_empty();
    let gallery = Gallery {
        frame,
        chips: chips(&wish, "/"),
        facets: page.facets.as_ref().map(|all| facets(&wish, "/", all)).unwrap_or_default(),
        narrow: wish.narrowing("/"),
        total: total(&page),
        is_new: cards.is_empty() && wish.typed.is_empty() && is_first,
        cards,
        first: wish.with_query("/", &wish.typed),
        next: page.next.as_ref().map(|next| wish.with_cursor("/", &next.to_string())),
        twin: link("/gallery.json", &[("q", &wish.typed), ("cursor", &wish.cursor)]),
        as_list: link("/search", &[("q", &wish.typed)]),
        is_first,
        filtered: !wish.typed.is_empty(),
    };
    call.page(&gallery)
}
