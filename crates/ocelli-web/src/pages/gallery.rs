//! The gallery: every image, the latest first.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;

use super::Frame;
use super::cards::{Card, ChipLink, Wish, cards, chips, total};
use crate::app::App;
use crate::reply::{self, Answer, Form};
use crate::shown::{Asked, link};

/// Images on a page: some screens full.
const PAGE: u32 = 48;

#[derive(Template)]
#[template(path = "gallery.html")]
struct Gallery {
    frame: Frame,
    cards: Vec<Card>,
    chips: Vec<ChipLink>,
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

/// `GET /`
pub(crate) async fn page(
    State(app): State<App>,
    head: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    show(&app, &head, query.as_deref(), Form::Page).await
}

/// `GET /gallery.json`
pub(crate) async fn twin(
    State(app): State<App>,
    head: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    show(&app, &head, query.as_deref(), Form::Json).await
}

async fn show(app: &App, head: &HeaderMap, query: Option<&str>, form: Form) -> Answer {
    let asked = Asked::of(query);
    let mut wish = Wish::of(&asked, PAGE, &app.options.query)?;
    if asked.get("sort").is_empty() {
        wish.sort = ocelli_catalog::search::Sort::Newest;
    }
    let page = wish.ask(&app.catalog).await?;
    if form == Form::Json {
        return reply::json(head, &page);
    }
    let cards = cards(app, &page, &wish.typed).await?;
    let mut frame = Frame::of(app, head, "gallery");
    frame.query.clone_from(&wish.typed);
    let is_first = wish.cursor.is_empty();
    let gallery = Gallery {
        frame,
        chips: chips(&wish, "/"),
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
    reply::page(head, &gallery)
}
