//! Dead letters: messages that died in their queue, and what becomes of each. Pure, but for the questions at the end.
//!
//! A job becomes a failed analysis of the revision that was asked for, so that its want counts as settled. Nothing that is
//! already answered is touched: with a want for any revision, a failure that comes later would hide the reading. Where
//! nobody knows a revision, [`unknown_revision`] stands for it; a later reading has a later time and takes its place.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, Digest, FailureClass, Outcome, Provenance, Revision, RevisionBuilder,
};

use crate::catalog::{Catalog, Store, ask};
use crate::error::CatalogError;
use crate::fold::Stored;
use crate::gather::{clean, gather, micros};
use crate::model::{DeadLetter, FailureFilter, Fate};
use crate::rows::{LetterRow, Read, State, number, parse_some, time, unreadable};

/// How much of a body is kept. A job is some hundred bytes; sixteen sources of the greatest length make 128 KiB.
const KEPT_BYTES: usize = 256 * 1024;

/// A message that died in its queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Its id; empty when its sender gave none.
    pub message_id: String,
    /// Full name of the queue in which it died.
    pub queue: String,
    /// Why.
    pub reason: String,
    /// The message as it travelled.
    pub body: Vec<u8>,
    /// When it is taken in.
    pub at: Timestamp,
    /// What it was.
    pub content: Content,
}

/// What a dead letter was.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A job in a job queue.
    Job {
        /// The job.
        intake: Box<Intake>,
        /// In whose queue.
        analyzer: AnalyzerName,
        /// The class its failure gets.
        class: FailureClass,
        /// Attempts spent.
        attempts: u32,
    },
    /// A message in the results queue: written down if that is possible now.
    Fact(Box<Message>),
    /// A mark of the sweeper, which will send another one.
    Mark,
    /// Anything else.
    Unusable,
}

impl Letter {
    /// The same for every delivery of one message, another one for the same job enqueued again (its time differs).
    pub(crate) fn key(&self) -> [u8; 16] {
        let mut text = format!("{} {} ", self.queue, self.message_id).into_bytes();
        text.extend_from_slice(&self.body);
        let digest = Digest::of(&text);
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_bytes()[..16]);
        key
    }
}

/// What one call of [`Catalog::bury`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buried {
    /// New letters by what became of them.
    pub fates: BTreeMap<Fate, u64>,
    /// Images whose record became complete.
    pub completed: Vec<Digest>,
    /// When something was asked of each of these for the last time, refused images left out.
    pub asked: Vec<Timestamp>,
}

impl Buried {
    pub(crate) fn count(&mut self, fate: Fate) {
        *self.fates.entry(fate).or_default() += 1;
    }
}

/// The revision of a failure of which nobody knows the revision.
#[must_use]
pub fn unknown_revision() -> Revision {
    RevisionBuilder::new("dead").build()
}

/// The images that a letter is about.
pub(crate) fn images(letter: &Letter) -> Vec<Digest> {
    match &letter.content {
        Content::Job { intake, .. } => vec![intake.image.digest],
        Content::Fact(message) => {
            gather(std::slice::from_ref(message)).images.into_keys().collect()
        }
        Content::Mark | Content::Unusable => Vec::new(),
    }
}

/// What becomes of a letter, and what is to be written for it.
pub(crate) fn decide(letter: &Letter, stored: &BTreeMap<Digest, Stored>) -> (Fate, Vec<Message>) {
    let (intake, analyzer, class, attempts) = match &letter.content {
        Content::Job { intake, analyzer, class, attempts } => (intake, analyzer, class, attempts),
        Content::Fact(message) => {
            let message = (**message).clone();
            let writable = gather(std::slice::from_ref(&message)).rejected.is_empty();
            return if writable {
                (Fate::Written, vec![message])
            } else {
                (Fate::Kept, Vec::new())
            };
        }
        Content::Mark => return (Fate::Needless, Vec::new()),
        Content::Unusable => return (Fate::Kept, Vec::new()),
    };
    let job = intake.wants.iter().find(|want| want.analyzer == *analyzer);
    let asked = job.and_then(|want| want.revision.clone());
    let mut news = Vec::new();
    let want = stored.get(&intake.image.digest).and_then(|stored| stored.wants.get(analyzer));
    let revision = match want {
        Some(want) if want.state != State::Open => return (Fate::Needless, news),
        // Asked for anew, in another revision: that is another job.
        Some(want) if want.asked_at > micros(intake.enqueued_at) && want.revision != asked => {
            return (Fate::Needless, news);
        }
        Some(want) => want.revision.clone().or(asked),
        None => {
            // Its intake has not been written: the job says the same.
            let mut intake = (**intake).clone();
            intake.wants.retain(|want| want.analyzer == *analyzer);
            news.push(Message::Intake(intake));
            asked
        }
    };
    news.push(Message::Partial(Box::new(Partial {
        digest: intake.image.digest,
        analysis: Analysis {
            analyzer: analyzer.clone(),
            revision: revision.unwrap_or_else(unknown_revision),
            outcome: Outcome::Failed { class: *class, reason: letter.reason.clone() },
            attempts: *attempts,
            finished_at: letter.at,
            provenance: Provenance::default(),
        },
        hash: None,
        image: None,
    })));
    (Fate::Failed, news)
}

pub(crate) fn row(letter: &Letter, fate: Fate) -> LetterRow {
    let (digest, analyzer) = match &letter.content {
        Content::Job { intake, analyzer, .. } => {
            (Some(intake.image.digest), Some(analyzer.clone()))
        }
        Content::Fact(_) | Content::Mark | Content::Unusable => (None, None),
    };
    let kept = match fate {
        Fate::Failed | Fate::Kept => &letter.body[..letter.body.len().min(KEPT_BYTES)],
        Fate::Written | Fate::Needless | Fate::Discarded => &[],
    };
    LetterRow {
        key: letter.key(),
        at: micros(letter.at),
        queue: clean(&letter.queue),
        message_id: clean(&letter.message_id),
        reason: clean(&letter.reason),
        fate,
        digest,
        analyzer,
        size: letter.body.len() as u64,
        body: kept.to_vec(),
    }
}

pub(crate) type LetterColumns =
    (Vec<u8>, i64, String, String, String, String, Option<String>, i64, Vec<u8>);

pub(crate) fn letter(row: LetterColumns) -> Read<DeadLetter> {
    let (letter, at, queue, message_id, reason, fate, analyzer, size, body) = row;
    let fate = Fate::ALL.into_iter().find(|known| known.name() == fate);
    Ok(DeadLetter {
        letter: letter.iter().map(|byte| format!("{byte:02x}")).collect(),
        at: time(at)?,
        queue,
        message_id,
        reason,
        fate: fate.ok_or_else(|| unreadable("fate of a letter", "an unknown one"))?,
        analyzer: parse_some("analyzer name", analyzer.as_deref())?,
        size: number("size", size)?,
        body,
    })
}

impl Catalog {
    /// Dead letters that wait for people, the latest first. Of the filter, reason, time and limit count; the other
    /// parts say nothing about them.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn dead_letters(
        &self,
        filter: &FailureFilter,
    ) -> Result<Vec<DeadLetter>, CatalogError> {
        let sql = format!(
            "SELECT letter, at, queue, message_id, reason, fate, analyzer, size, body FROM dead_letters \
             WHERE fate = 'kept' AND {} ORDER BY at DESC, letter LIMIT $4",
            self.letter_filter()
        );
        let (reason, after, before) = bounds(filter);
        let rows: Vec<LetterColumns> = ask!(self, "list dead letters", pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(reason)
                .bind(after)
                .bind(before)
                .bind(i64::from(filter.limit))
                .fetch_all(pool)
        })?;
        rows.into_iter().map(letter).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// Marks the dead letters that [`Catalog::dead_letters`] lists, whatever the limit, as seen. Returns how many.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn discard_letters(&self, filter: &FailureFilter) -> Result<u64, CatalogError> {
        let sql = format!(
            "UPDATE dead_letters SET fate = 'discarded' WHERE fate = 'kept' AND {}",
            self.letter_filter()
        );
        let (reason, after, before) = bounds(filter);
        let action = "discard dead letters";
        let query = sqlx::AssertSqlSafe(sql);
        match &self.store {
            Store::Sqlite(store) => {
                let query = sqlx::query(query).bind(reason).bind(after).bind(before);
                let done = self.timed(action, query.execute(&store.write)).await;
                done.map(|done| done.rows_affected())
            }
            Store::Postgres(store) => {
                let query = sqlx::query(query).bind(reason).bind(after).bind(before);
                let done = self.timed(action, query.execute(&store.pool)).await;
                done.map(|done| done.rows_affected())
            }
        }
    }

    fn letter_filter(&self) -> String {
        let position = self.position();
        format!(
            "(CAST($1 AS TEXT) IS NULL OR {position}(reason, $1) > 0) \
             AND (CAST($2 AS BIGINT) IS NULL OR at >= $2) AND (CAST($3 AS BIGINT) IS NULL OR at < $3)"
        )
    }
}

fn bounds(filter: &FailureFilter) -> (Option<String>, Option<i64>, Option<i64>) {
    (
        filter.reason_contains.as_deref().map(clean),
        filter.after.map(|at| micros(at).as_microsecond()),
        filter.before.map(|at| micros(at).as_microsecond()),
    )
}
