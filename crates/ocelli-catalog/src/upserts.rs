//! The ends of the insert statements: what happens when a row with that key is there. The same text for both backends.
//!
//! Rows of images, wants and analyses were decided in [`crate::fold`] with the stored row in hand, so they simply replace it.
//! The others are decided here, by comparing columns.

macro_rules! images {
    () => {
        " ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes, format = excluded.format, \
     width = excluded.width, height = excluded.height, refusal = excluded.refusal, \
     first_seen = excluded.first_seen, complete = excluded.complete, learned = excluded.learned"
    };
}

macro_rules! sightings {
    () => {
        " ON CONFLICT (image, source_key) DO UPDATE SET seen_at = excluded.seen_at, \
     batch = excluded.batch WHERE (excluded.seen_at, excluded.batch) < (sightings.seen_at, sightings.batch)"
    };
}

macro_rules! sighting_meta {
    () => {
        " ON CONFLICT (digest, source_key, name) DO UPDATE SET batch = excluded.batch, text = excluded.text, \
     text_key = excluded.text_key WHERE (excluded.batch, excluded.text) > (sighting_meta.batch, sighting_meta.text)"
    };
}

macro_rules! wants {
    () => {
        " ON CONFLICT (image, analyzer) DO UPDATE SET revision = excluded.revision, \
     asked_at = excluded.asked_at, enqueued_at = excluded.enqueued_at, state = excluded.state, \
     answer = excluded.answer, reopened = excluded.reopened, needs = excluded.needs, hold = excluded.hold, \
     near = excluded.near, waits_for = excluded.waits_for, rules = excluded.rules, rules_after = excluded.rules_after"
    };
}

macro_rules! analyses {
    () => {
        " ON CONFLICT (image, analyzer, revision) DO UPDATE SET kind = excluded.kind, \
     class = excluded.class, attempts = excluded.attempts, finished_at = excluded.finished_at, \
     rule = excluded.rule, reason = excluded.reason, text = excluded.text, reading = excluded.reading, \
     provenance = excluded.provenance"
    };
}

macro_rules! deferrals {
    () => {
        " ON CONFLICT (digest, analyzer) DO UPDATE SET class = excluded.class, \
     reason = excluded.reason, attempts = excluded.attempts, next_at = excluded.next_at \
     WHERE (excluded.next_at, excluded.attempts, excluded.class, excluded.reason) \
     > (deferrals.next_at, deferrals.attempts, deferrals.class, deferrals.reason)"
    };
}

/// What a worker said later stays, whenever it arrives, and only that counts as hearing it. A word from the future, which a worker
/// said before its clock was put right, gives way to any other: else it would be deaf to the worker until that time has come.
macro_rules! workers {
    () => {
        " ON CONFLICT (analyzer, worker) DO UPDATE SET at = excluded.at, \
     leaving = excluded.leaving, body = excluded.body, heard_at = excluded.heard_at \
     WHERE (excluded.at, excluded.leaving, excluded.body) > (workers.at, workers.leaving, workers.body) \
     OR workers.at > excluded.heard_at + 60000000"
    };
}

macro_rules! revisions {
    () => {
        " ON CONFLICT (analyzer, revision) DO UPDATE SET \
     kind = CASE WHEN (excluded.last_announced, excluded.kind, excluded.description) \
         > (revisions.last_announced, revisions.kind, revisions.description) \
         THEN excluded.kind ELSE revisions.kind END, \
     description = CASE WHEN (excluded.last_announced, excluded.kind, excluded.description) \
         > (revisions.last_announced, revisions.kind, revisions.description) \
         THEN excluded.description ELSE revisions.description END, \
     first_announced = CASE WHEN excluded.first_announced < revisions.first_announced \
         THEN excluded.first_announced ELSE revisions.first_announced END, \
     last_announced = CASE WHEN excluded.last_announced > revisions.last_announced \
         THEN excluded.last_announced ELSE revisions.last_announced END"
    };
}

macro_rules! batches {
    () => {
        " ON CONFLICT (batch) DO UPDATE SET name = excluded.name, \
     started_at = excluded.started_at, at = excluded.at, finished = excluded.finished, \
     accepted = excluded.accepted, known = excluded.known, skipped = excluded.skipped, \
     problems = excluded.problems \
     WHERE (excluded.at, excluded.finished, excluded.accepted, excluded.known, excluded.skipped, \
         excluded.problems, excluded.name, excluded.started_at) \
     > (batches.at, batches.finished, batches.accepted, batches.known, batches.skipped, \
         batches.problems, batches.name, batches.started_at)"
    };
}

macro_rules! problems {
    () => {
        " ON CONFLICT (batch, reference_key) DO UPDATE SET reason = excluded.reason, \
     at = excluded.at, source = excluded.source, rule = excluded.rule, told = excluded.told \
     WHERE (excluded.at, excluded.reason) < (problems.at, problems.reason)"
    };
}

macro_rules! fences {
    () => {
        " ON CONFLICT (analyzer, published_at) DO UPDATE SET \
     passed_at = coalesce(fences.passed_at, excluded.passed_at)"
    };
}

macro_rules! spend {
    () => {
        " ON CONFLICT (month, analyzer, currency, model, batch) DO UPDATE SET calls = spend.calls + excluded.calls, \
     tokens_in = spend.tokens_in + excluded.tokens_in, tokens_out = spend.tokens_out + excluded.tokens_out, \
     micros = spend.micros + excluded.micros, wasted_tokens = spend.wasted_tokens + excluded.wasted_tokens, \
     wasted_micros = spend.wasted_micros + excluded.wasted_micros"
    };
}

pub(crate) use {
    analyses, batches, deferrals, fences, images, problems, revisions, sighting_meta, sightings,
    spend, wants, workers,
};

/// Worker processes that were not heard of for 30 days are history: every restart makes a new name.
pub(crate) const FORGET_WORKERS_AFTER_MICROSECONDS: i64 = 30 * 24 * 3_600 * 1_000_000;

/// The kind of the event that a failure leaves when its job is opened again.
pub(crate) const REOPENED: &str = "failure reopened";

/// The kind of the event that a failure leaves when it is settled without another attempt.
pub(crate) const DISCARDED: &str = "failure discarded";
