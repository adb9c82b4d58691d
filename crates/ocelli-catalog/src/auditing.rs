//! The check of the whole database against itself: every derived column is derived again, in SQL that shares nothing with
//! the code that maintains it. Reads everything; meant for people and tests, not for a timer.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use ocelli_core::AnalyzerName;

use crate::catalog::{Catalog, Store, snapshot};
use crate::error::{CatalogError, Fault};
use crate::model::{Audit, BatchAudit, BatchCount};
use crate::rows::{Read, batch, number, parse};

const TABLES: [&str; 32] = [
    "agreements",
    "analyses",
    "backfill_jobs",
    "backfills",
    "batch_images",
    "batch_orders",
    "batches",
    "claims",
    "dead_letters",
    "deferrals",
    "events",
    "fences",
    "images",
    "known_files",
    "known_urls",
    "old_payments",
    "pauses",
    "payment_horizon",
    "payments",
    "perceptual_hashes",
    "problems",
    "revisions",
    "saved_searches",
    "search_answers",
    "search_texts",
    "search_vocabulary",
    "sighting_meta",
    "sightings",
    "spend",
    "transfers",
    "wants",
    "workers",
];

const WORDS: &str = "search_vocabulary";
/// In SQLite some of them are not sorted in yet.
const EVERY_WORD: &str = "(SELECT word FROM search_vocabulary UNION SELECT e.value FROM search_new_words n CROSS JOIN json_each(n.words) e)";

/// What is wrong with the rows that a statement counts, and the statement.
const CHECKS: [(&str, &str); 30] = [
    (
        "rows of the search index belong to no analysis",
        "SELECT COUNT(*) FROM search_answers s WHERE NOT EXISTS (SELECT 1 FROM analyses a WHERE a.id = s.id)",
    ),
    (
        "jobs wait for a near-identical image although they are not held, or nothing is to be done",
        "SELECT COUNT(*) FROM wants w WHERE w.waits_for IS NOT NULL \
         AND (w.state <> 'open' OR w.hold IS NULL OR w.hold <> 'needs')",
    ),
    (
        "perceptual hashes belong to no row of images",
        "SELECT COUNT(*) FROM perceptual_hashes h WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = h.digest)",
    ),
    (
        "analyses are not in the search index as what they are",
        // Those of no image are found below.
        "SELECT COUNT(*) FROM analyses a LEFT JOIN images i ON i.id = a.image WHERE NOT EXISTS \
         (SELECT 1 FROM search_answers s WHERE s.id = a.id AND (i.digest IS NULL OR s.digest = i.digest) \
          AND s.analyzer = a.analyzer AND s.kind = a.kind)",
    ),
    (
        "analyses have a text and none in the search index, or the other way round",
        "SELECT COUNT(*) FROM analyses a LEFT JOIN search_texts t ON t.id = a.id \
         WHERE (a.text IS NULL) <> (t.id IS NULL)",
    ),
    (
        "analyses are in the search index as current and are not, or the other way round",
        // Current is what answers the want, and beside an answer that is missing, failed or a rule's (their revisions begin with
        // eight zeros, and only who wants them is answered by them) the newest text.
        "SELECT COUNT(*) FROM search_answers s JOIN analyses a ON a.id = s.id \
         LEFT JOIN wants w ON w.image = a.image AND w.analyzer = a.analyzer WHERE s.current <> \
         ((CASE WHEN w.revision IS NOT NULL THEN w.revision = a.revision ELSE a.revision NOT LIKE '00000000%' AND NOT EXISTS \
         (SELECT 1 FROM analyses o WHERE o.image = a.image AND o.analyzer = a.analyzer AND o.revision NOT LIKE '00000000%' \
          AND (o.finished_at, o.revision) > (a.finished_at, a.revision)) END) \
         OR (a.kind = 'done' AND NOT EXISTS (SELECT 1 FROM analyses o WHERE o.image = a.image \
          AND o.analyzer = a.analyzer AND o.kind = 'done' \
          AND (o.finished_at, o.revision) > (a.finished_at, a.revision)) \
          AND NOT EXISTS (SELECT 1 FROM analyses o WHERE o.image = a.image AND o.analyzer = a.analyzer \
          AND o.kind <> 'failed' AND o.revision NOT LIKE '00000000%' \
          AND CASE WHEN w.revision IS NOT NULL THEN w.revision = o.revision ELSE NOT EXISTS \
          (SELECT 1 FROM analyses n WHERE n.image = o.image AND n.analyzer = o.analyzer \
           AND n.revision NOT LIKE '00000000%' AND (n.finished_at, n.revision) > (o.finished_at, o.revision)) END)))",
    ),
    (
        "answers are in the search index with another time than their image",
        "SELECT COUNT(*) FROM search_answers s LEFT JOIN images i ON i.digest = s.digest WHERE s.seen IS DISTINCT FROM \
         CASE WHEN i.bytes IS NOT NULL THEN coalesce(i.first_seen, -9000000000000000000) END",
    ),
    (
        "images have analyses, but their intake has not arrived: it is on its way, or was never sent because a producer \
         was killed (run their producer again)",
        "SELECT COUNT(*) FROM images WHERE bytes IS NULL",
    ),
    (
        "analyses belong to no row of images",
        "SELECT COUNT(*) FROM analyses a WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.id = a.image)",
    ),
    (
        "sightings belong to an image without intake",
        "SELECT COUNT(*) FROM sightings s WHERE NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.id = s.image AND i.bytes IS NOT NULL)",
    ),
    (
        "wants belong to an image without intake",
        "SELECT COUNT(*) FROM wants w WHERE NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.id = w.image AND i.bytes IS NOT NULL)",
    ),
    (
        "wants are noted as answered by an analysis that is not there or not of that kind",
        "SELECT COUNT(*) FROM wants w WHERE w.answer IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM analyses a WHERE a.image = w.image AND a.analyzer = w.analyzer \
          AND a.revision = w.answer AND a.kind = w.state \
          AND CASE WHEN w.revision IS NULL THEN a.revision NOT LIKE '00000000%' ELSE w.revision = a.revision END)",
    ),
    (
        "wants are noted as open although there is an answer",
        "SELECT COUNT(*) FROM wants w WHERE w.answer IS NULL AND EXISTS \
         (SELECT 1 FROM analyses a WHERE a.image = w.image AND a.analyzer = w.analyzer \
          AND CASE WHEN w.revision IS NULL THEN a.revision NOT LIKE '00000000%' ELSE w.revision = a.revision END)",
    ),
    (
        "wants without an answer contradict their image about whether it was refused",
        "SELECT COUNT(*) FROM wants w JOIN images i ON i.id = w.image WHERE w.answer IS NULL \
         AND w.state <> CASE WHEN i.refusal IS NULL THEN 'open' ELSE 'refused' END",
    ),
    (
        "jobs are held back although nothing is to be done",
        "SELECT COUNT(*) FROM wants w WHERE w.hold IS NOT NULL AND w.state <> 'open'",
    ),
    (
        "jobs wait for other analyzers, of which none will answer",
        "SELECT COUNT(*) FROM wants w WHERE w.hold = 'needs' AND w.waits_for IS NULL AND NOT EXISTS \
         (SELECT 1 FROM wants n WHERE n.image = w.image AND n.state = 'open' \
          AND ' ' || coalesce(w.needs, '') || ' ' || coalesce(w.rules_after, '') || ' ' LIKE '% ' || n.analyzer || ' %')",
    ),
    (
        "agreements are about records that are not complete, or about analyzers without a current text",
        "SELECT COUNT(*) FROM agreements g WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.id = g.image AND i.complete) \
         OR (SELECT COUNT(*) FROM analyses a JOIN search_answers s ON s.id = a.id WHERE a.image = g.image AND a.analyzer IN (g.a, g.b) \
          AND s.current AND s.kind = 'done') <> 2",
    ),
    (
        "jobs of backfills are not among the images of their batch, or were taken back and are",
        "SELECT COUNT(*) FROM backfill_jobs j WHERE (j.withdrawn = 1) = EXISTS \
         (SELECT 1 FROM images i JOIN batch_images m ON m.image = i.id WHERE i.digest = j.digest AND m.batch = j.batch)",
    ),
    (
        "images are noted as complete although a want is open",
        "SELECT COUNT(*) FROM images i WHERE i.complete AND (i.bytes IS NULL OR EXISTS \
         (SELECT 1 FROM wants w WHERE w.image = i.id AND w.state = 'open'))",
    ),
    (
        "images are noted as incomplete although no want is open",
        "SELECT COUNT(*) FROM images i WHERE NOT i.complete AND i.bytes IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM wants w WHERE w.image = i.id AND w.state = 'open')",
    ),
    (
        "images have another first sighting than noted",
        "SELECT COUNT(*) FROM images i WHERE i.first_seen IS DISTINCT FROM \
         (SELECT MIN(s.seen_at) FROM sightings s WHERE s.image = i.id)",
    ),
    (
        "wants are noted as answered by an analysis although there is a newer one",
        "SELECT COUNT(*) FROM wants w JOIN analyses a ON a.image = w.image AND a.analyzer = w.analyzer \
          AND a.revision = w.answer \
         WHERE w.revision IS NULL AND EXISTS (SELECT 1 FROM analyses b WHERE b.image = w.image \
          AND b.analyzer = w.analyzer AND b.revision NOT LIKE '00000000%' AND (b.finished_at, b.revision) > (a.finished_at, a.revision))",
    ),
    (
        "references of batches belong to an image without intake",
        "SELECT COUNT(*) FROM batch_images b WHERE NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.id = b.image AND i.bytes IS NOT NULL)",
    ),
    (
        "metadata belongs to no sighting",
        "SELECT COUNT(*) FROM sighting_meta m WHERE NOT EXISTS \
         (SELECT 1 FROM images i JOIN sightings s ON s.image = i.id WHERE i.digest = m.digest AND s.source_key = m.source_key)",
    ),
    (
        "sightings are in no batch",
        "SELECT COUNT(*) FROM sightings s WHERE NOT EXISTS \
         (SELECT 1 FROM batch_images b WHERE b.batch = s.batch AND b.image = s.image)",
    ),
    (
        "images are in a batch but were seen nowhere",
        "SELECT COUNT(DISTINCT b.image) FROM batch_images b WHERE NOT EXISTS \
         (SELECT 1 FROM sightings s WHERE s.image = b.image)",
    ),
    (
        "jobs were noted as failed after they died in their queue, but nothing answers them",
        "SELECT COUNT(*) FROM dead_letters l WHERE l.fate = 'failed' AND NOT EXISTS \
         (SELECT 1 FROM images i JOIN analyses a ON a.image = i.id WHERE i.digest = l.digest AND a.analyzer = l.analyzer) \
         AND NOT EXISTS (SELECT 1 FROM events e WHERE e.digest = l.digest AND e.analyzer = l.analyzer)",
    ),
    (
        "sums of spending are not those of the payments",
        "SELECT COUNT(*) FROM (SELECT month, analyzer, currency, model, batch, SUM(calls) AS calls, \
         SUM(tokens_in) AS tokens_in, SUM(tokens_out) AS tokens_out, SUM(micros) AS micros, \
         SUM(wasted_tokens) AS wasted_tokens, SUM(wasted_micros) AS wasted_micros FROM \
         (SELECT month, analyzer, currency, model, batch, calls, tokens_in, tokens_out, micros, \
         CASE WHEN kept THEN wasted_tokens ELSE tokens_in + tokens_out END AS wasted_tokens, \
         CASE WHEN kept THEN wasted_micros ELSE micros END AS wasted_micros FROM payments \
         UNION ALL SELECT month, analyzer, currency, model, batch, calls, tokens_in, tokens_out, micros, \
         wasted_tokens, wasted_micros FROM old_payments) AS parts GROUP BY month, analyzer, currency, model, batch) AS p \
         FULL JOIN spend s ON s.month = p.month AND s.analyzer = p.analyzer AND s.currency = p.currency \
         AND s.model = p.model AND s.batch = p.batch \
         WHERE COALESCE(s.calls, 0) <> COALESCE(p.calls, 0) OR COALESCE(s.tokens_in, 0) <> COALESCE(p.tokens_in, 0) \
         OR COALESCE(s.tokens_out, 0) <> COALESCE(p.tokens_out, 0) OR COALESCE(s.micros, 0) <> COALESCE(p.micros, 0) \
         OR COALESCE(s.wasted_tokens, 0) <> COALESCE(p.wasted_tokens, 0) \
         OR COALESCE(s.wasted_micros, 0) <> COALESCE(p.wasted_micros, 0)",
    ),
    (
        "payments are noted as kept, but there is no answer",
        "SELECT COUNT(*) FROM payments p WHERE p.kept AND NOT EXISTS \
         (SELECT 1 FROM images i JOIN analyses a ON a.image = i.id WHERE i.digest = p.digest AND a.analyzer = p.analyzer \
          AND a.revision = p.revision AND a.kind IN ('done', 'empty'))",
    ),
    (
        "answers were paid for more than once as the one that is kept",
        "SELECT COUNT(*) FROM (SELECT 1 AS twice FROM payments WHERE kept \
         GROUP BY digest, analyzer, revision HAVING COUNT(*) > 1) AS doubled",
    ),
];

type ReportColumns = (Vec<u8>, Option<String>, Option<bool>, Option<i64>, Option<i64>, i64, i64);
type CountColumns = (Vec<u8>, String, String, i64);

/// Every batch with its references and images, and what its producer reported.
const BATCHES: &str = "SELECT known.batch, r.name, r.finished, r.accepted, r.known, \
     (SELECT COUNT(*) FROM batch_images b WHERE b.batch = known.batch), \
     (SELECT COUNT(DISTINCT b.image) FROM batch_images b WHERE b.batch = known.batch) \
     FROM (SELECT batch FROM batches UNION SELECT batch FROM batch_images) AS known \
     LEFT JOIN batches r ON r.batch = known.batch ORDER BY known.batch DESC";

/// What became of the images of each batch, from the analyses themselves.
const STATES: &str = "SELECT m.batch, w.analyzer, \
     CASE WHEN a.kind = w.state THEN a.kind \
          WHEN w.answer IS NULL AND w.state IN ('open', 'refused') THEN w.state ELSE 'lost' END AS became, \
     COUNT(*) \
     FROM (SELECT DISTINCT batch, image FROM batch_images) AS m JOIN wants w ON w.image = m.image \
     LEFT JOIN analyses a ON a.image = w.image AND a.analyzer = w.analyzer AND a.revision = w.answer \
     GROUP BY m.batch, w.analyzer, became";

/// Images of batches that were refused before anything was asked of the analyzer: by batch, for each analyzer of it.
const REFUSED: &str = "SELECT m.batch, known.analyzer, 'refused', COUNT(*) \
     FROM (SELECT DISTINCT batch, image FROM batch_images) AS m \
     JOIN images i ON i.id = m.image AND i.refusal IS NOT NULL \
     JOIN (SELECT DISTINCT b.batch, w.analyzer FROM batch_images b JOIN wants w ON w.image = b.image) AS known \
       ON known.batch = m.batch \
     WHERE NOT EXISTS (SELECT 1 FROM wants w WHERE w.image = m.image AND w.analyzer = known.analyzer) \
     GROUP BY m.batch, known.analyzer";

/// What SQLite says about the file. Its check trusts what the connection remembers of the FTS tables, which others may have
/// changed since: a question to each makes it look again, and the transaction keeps it from changing.
async fn damage(store: &crate::sqlite::Store) -> Result<Vec<String>, sqlx::Error> {
    let mut reading = store.snapshot().await?;
    for question in [
        "SELECT COUNT(*) FROM search_words WHERE search_words MATCH '\"aaa\"'",
        "SELECT COUNT(*) FROM search_parts WHERE search_parts MATCH '\"aaa\"'",
    ] {
        sqlx::query(question).execute(&mut *reading).await?;
    }
    let lines = sqlx::query_scalar("PRAGMA quick_check").fetch_all(&mut *reading).await?;
    reading.end().await?;
    Ok(lines)
}

impl Catalog {
    /// Checks everything, in one snapshot. Takes time in proportion to the catalog, and has no time limit.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn audit(&self) -> Result<Audit, CatalogError> {
        let mut audit = self.counts().await.map_err(|fault| fault.at(&self.place, "audit"))?;
        if let Store::Sqlite(store) = &self.store {
            let lines = damage(store)
                .await
                .map_err(|error| Fault::Sql(error).at(&self.place, "check the file"))?;
            let damage = lines.into_iter().filter(|line| line != "ok");
            audit.problems.extend(damage.map(|line| format!("the file is damaged: {line}")));
        }
        Ok(audit)
    }

    async fn counts(&self) -> Result<Audit, Fault> {
        let of_words = match &self.store {
            Store::Sqlite(_) => EVERY_WORD,
            Store::Postgres(_) => WORDS,
        };
        snapshot!(self, connection => {
            let mut rows = BTreeMap::new();
            for table in TABLES {
                let source = if table == WORDS { of_words } else { table };
                let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {source}"));
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                rows.insert(table.to_owned(), u64::try_from(count).unwrap_or(0));
            }
            let mut problems = Vec::new();
            for (text, sql) in CHECKS {
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                if count > 0 {
                    problems.push(format!("{count} {text}"));
                }
            }
            let reports: Vec<ReportColumns> =
                sqlx::query_as(BATCHES).fetch_all(&mut *connection).await?;
            let mut states: Vec<CountColumns> =
                sqlx::query_as(STATES).fetch_all(&mut *connection).await?;
            states.extend(
                sqlx::query_as::<_, CountColumns>(REFUSED).fetch_all(&mut *connection).await?,
            );
            let dead: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM dead_letters WHERE fate = 'kept'")
                    .fetch_one(&mut *connection)
                    .await?;
            let batches = batches(reports, states)?;
            problems.extend(batches.iter().flat_map(differences));
            Ok::<_, Fault>(Audit { rows, batches, dead_letters: number("count", dead)?, problems })
        })
        .await
    }
}

fn batches(reports: Vec<ReportColumns>, states: Vec<CountColumns>) -> Read<Vec<BatchAudit>> {
    let mut counts: BTreeMap<Vec<u8>, BTreeMap<AnalyzerName, BatchCount>> = BTreeMap::new();
    for (id, analyzer, became, images) in states {
        let images: u64 = number("count", images)?;
        let by_analyzer = counts.entry(id).or_default();
        let count = by_analyzer.entry(parse("analyzer name", &analyzer)?).or_default();
        count.accepted += images;
        match became.as_str() {
            "done" => count.done += images,
            "empty" => count.empty += images,
            "skipped" => count.skipped += images,
            "failed" => count.failed += images,
            "refused" => count.refused += images,
            "open" => count.open += images,
            // Accepted, and not accounted for.
            _ => {}
        }
    }
    let account = |row: ReportColumns| {
        let (id, name, finished, accepted, known, references, images) = row;
        Ok(BatchAudit {
            batch: batch(&id)?,
            name: name.unwrap_or_default(),
            finished: finished.unwrap_or(false),
            reported: number("count", accepted.unwrap_or(0))?,
            known: number("count", known.unwrap_or(0))?,
            references: number("count", references)?,
            images: number("count", images)?,
            analyzers: counts.remove(&id).unwrap_or_default(),
        })
    };
    reports.into_iter().map(account).collect()
}

/// What does not add up in the account of one batch.
fn differences(account: &BatchAudit) -> Vec<String> {
    let mut problems = Vec::new();
    let batch = account.batch;
    for (analyzer, count) in &account.analyzers {
        if count.accepted != count.accounted() {
            problems.push(format!(
                "batch {batch}: {} images accepted for {analyzer}, but {} accounted for",
                count.accepted,
                count.accounted()
            ));
        }
    }
    // Until its end is reported, references are on their way. Of references to known images a list may name one twice.
    if account.finished {
        let (low, high) = (account.reported.saturating_sub(account.known), account.reported);
        if !(low..=high).contains(&account.references) {
            problems.push(format!(
                "batch {batch}: its producer accepted {high} references ({} of them known), but there are {}",
                account.known, account.references
            ));
        }
    }
    problems
}
