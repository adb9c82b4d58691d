//! The catalog: the database of images, sightings, wants and analyses. It is the truth; the broker is only the conveyor.
//!
//! [`Catalog`] is a closed enum over SQLite and PostgreSQL with one meaning. The collector writes to it with
//! [`Catalog::apply`], which takes the messages of the queues in any order, any number of times, and keeps in rows what
//! [`ocelli_core::Record`] keeps in memory. The producer asks [`Catalog::lookup`], the sweeper [`Catalog::open_jobs`],
//! workers [`Catalog::is_done`], and the command line everything else.
//!
//! | module | room for |
//! |---|---|
//! | `catalog` | [`Catalog`]: opening, closing, everything that writes |
//! | `sheets`, `pulse`, `deeds` | what pages for people need beside that: many images at once, the last half hour, who did what |
//! | `answers`, `overview` | what is asked of it: single records and jobs; counts, workers, batches |
//! | `dependents` | jobs that wait for what other analyzers answer, and those answers |
//! | `leaving` | jobs that a rule about answers leaves out |
//! | `failures`, `letters` | failed analyses and messages that died: listing, reopening, settling |
//! | `firsts` | jobs that are done for the first of near-identical images only |
//! | `fences` | the marks of the sweeper, and jobs that it takes |
//! | `fingerprint` | whether anything that an export holds has changed |
//! | `alike` | images that look alike: perceptual hashes and their groups |
//! | `deliveries` | who is told of complete records, and what each has not been told yet |
//! | `agreements`, `disagreements` | how far the answers of a complete record agree; all of them, the lowest first |
//! | `backfills` | one revision of an analyzer, asked of images that are here already |
//! | `claims` | who works on which job, budgets and pauses: what a worker asks before it pays |
//! | `references` | one batch: what became of each of its references, and how far it is |
//! | `known_files`, `known_urls` | what local files looked like when they were read, and by what servers know again what they sent |
//! | `orders` | batches that people paused, resumed or cancelled |
//! | `payments`, `spending`, `tidying` | what models cost, as it is written down, as it is asked, and as it grows old; budgets |
//! | [`rules`] | which analyzers an image gets |
//! | `saved` | searches that people keep |
//! | [`query`], [`search`] | what people type, as a tree; which records match, page by page, and the index behind it |
//! | `carry`, `backup` | the whole archive into another database; into a file and back |
//! | `auditing` | the check of the whole database against itself |
//! | `model` | what is asked and answered, as types |
//! | `gather`, `fold` | messages → facts; facts + stored rows → rows to write (pure, no SQL) |
//! | `unit` | one write transaction, written over the private seam between the backends |
//! | `rows`, `load`, `upserts` | rows and their translation from and to domain values; SQL that both backends share |
//! | `sqlite`, `postgres`, `migration` | what differs: opening, locking, bulk writes; the version of the schema |
//! | `error`, `metrics` | [`CatalogError`], [`CatalogMetrics`] |
//!
//! Absent on purpose: the clock (times are arguments or come from the database), files of any kind, and any knowledge of
//! queues.
//!
//! Times are kept in microseconds: finer parts are cut off. NUL characters, which PostgreSQL cannot hold in text, become
//! U+FFFD on both.

mod agreements;
mod alike;
mod answers;
mod auditing;
mod backfills;
mod backup;
mod carry;
mod catalog;
mod claims;
mod deeds;
mod deliveries;
mod dependents;
mod disagreements;
mod error;
mod failures;
mod fences;
mod fingerprint;
mod firsts;
mod fold;
mod gather;
mod known_files;
mod known_urls;
mod leaving;
mod letters;
mod load;
mod metrics;
mod migration;
mod model;
mod numbers;
mod orders;
mod overview;
mod payments;
mod postgres;
mod pulse;
pub mod query;
mod references;
mod rows;
pub mod rules;
mod saved;
pub mod search;
mod sheets;
mod sizing;
mod spending;
mod sqlite;
mod tidying;
mod unit;
mod upserts;

pub use alike::{Alike, Group, MOST_ALIKE};
pub use backfills::{Added, Backfill, BackfillProgress, BackfillState, Begun, Extent, Measured};
pub use carry::{Carried, CarryError};
pub use catalog::{Catalog, CatalogOptions};
pub use deeds::Deed;
pub use deliveries::{Due, ListenerState, Retry};
pub use disagreements::{Disagreement, DisagreementCursor, NoCursor, PairOfNames};
pub use error::CatalogError;
pub use failures::FailureCursor;
pub use firsts::{Firsts, SAME_RULE};
pub use known_files::{FileStamp, NotedFile, RememberedFile};
pub use known_urls::{NotedUrl, RememberedUrl, SeenImage};
pub use leaving::Left;
pub use letters::{Buried, Content, Letter, unknown_revision};
pub use metrics::CatalogMetrics;
pub use model::{
    AnalyzerStatus, Applied, Audit, BatchAudit, BatchCount, DeadLetter, Event, Failure,
    FailureFilter, Fate, FenceState, Heard, History, Hold, Known, OpenJob, OpenJobs, Postponed,
    SeenJob, Status,
};
pub use orders::{BatchOrder, Order, Withdrawn};
pub use pulse::FailureCount;
pub use references::{
    Reference, ReferenceCursor, ReferenceOutcome, ReferencePage, SightingCursor, SightingPage,
};
pub use saved::SavedSearch;
pub use sheets::{BatchView, Neighbours, Sheet};
pub use sizing::Service;
pub use spending::{BudgetState, SpendRow, amount};
pub use tidying::Tidied;
