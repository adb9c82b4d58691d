//! The archive as a web site: read, search, compare and mend in a browser.
//!
//! [`serve`] answers on a listener with what the catalog holds; the images themselves it reads from where they were seen,
//! checks their digest, and shows only what was decoded within limits and encoded again. Pages are plain HTML that works
//! without JavaScript; each has a `.json` twin. Whoever has no token can only read.
//!
//! | module | room for |
//! |---|---|
//! | [`options`] | [`WebOptions`]: limits and widths, each with its reason |
//! | `server` | where it listens, and what connections may cost |
//! | `app`, `guard` | which address is answered by whom; what every answer and every request must be like |
//! | `session`, `rate` | who may change things; how often one address may ask |
//! | `call` | what a request asks: the head of every handler |
//! | `reply`, `failure` | answers with their ETag; what went wrong, as a page or as JSON |
//! | `assets` | style, scripts, icon: embedded |
//! | `pictures` | thumbnails and views: made once, bounded, kept in a folder |
//! | `records`, `prose`, `shown`, `boxes` | what a record says; model answers, texts and words as HTML that cannot do harm |
//! | `pages` | one file per page |
//! | `taken`, `streams` | what is taken out of the archive as files; answers that are made while they are read |
//! | `live`, `feeds`, `api` | what changes while one looks; Atom and JSON Feed; the same for programs |
//! | [`hands`] | what changes something outside of the catalog: wired in by `main` |
//! | [`role`], `settings` | the program: what opens the catalog, the broker and the listener |
//!
//! Absent on purpose: sessions and users (one token), a build step for scripts, pixels of foreign encoders, queues.

mod api;
mod app;
mod assets;
mod boxes;
mod call;
mod failure;
mod feeds;
mod guard;
pub mod hands;
mod live;
pub mod options;
mod pages;
mod pictures;
mod prose;
mod rate;
mod records;
mod reply;
pub mod role;
mod server;
mod session;
mod settings;
mod shown;
mod streams;
mod taken;

pub use app::Parts;
pub use hands::{Delivery, Hand, Hands, QueueDepth, Requeued};
pub use options::{AnalyzerLine, WebOptions};
pub use role::serve;
pub use server::{ListenError, Listener};
