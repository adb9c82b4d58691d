//! The ceiling: the rows that the collector wrote, inserted by nothing but the database, in transactions of as many records.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use ocelli_catalog::{Catalog, CatalogOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::{Failed, texts};

/// The tables of records, in the order in which they depend on each other.
const TABLES: [&str; 8] = [
    "images",
    "sightings",
    "batch_images",
    "wants",
    "analyses",
    "search_answers",
    "search_texts",
    "agreements",
];
/// Where SQLite keeps the words of texts.
const WORDS: [&str; 2] = ["search_vocabulary", "search_new_words"];
/// Rows of one INSERT.
const ROWS: usize = 500;

/// Inserts the first `records` records of the catalog `from` into a new one at `to`. Returns how long that took.
pub(crate) async fn insert(
    from: &str,
    to: &str,
    records: u64,
    at_once: u64,
    with_search: bool,
) -> Result<Duration, Failed> {
    match (from.strip_prefix("sqlite:"), to.strip_prefix("sqlite:")) {
        (Some(from), Some(to)) => sqlite(from, to, records, at_once, with_search).await,
        _ => postgres(from, to, records, at_once, with_search).await,
    }
}

/// Which part of a table belongs to a transaction: records by their time, words in equal parts.
fn parts(records: u64, at_once: u64) -> Vec<(i64, i64)> {
    (0..records.div_ceil(at_once))
        .map(|part| {
            let to = ((part + 1) * at_once).min(records);
            (texts::seen_at(part * at_once), texts::seen_at(to))
        })
        .collect()
}

async fn sqlite(
    from: &str,
    to: &str,
    records: u64,
    at_once: u64,
    with_search: bool,
) -> Result<Duration, Failed> {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{to}{end}"));
    }
    Catalog::open(&format!("sqlite:{to}"), CatalogOptions::default()).await?.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(from);
    let mut source = sqlx::SqliteConnection::connect_with(&options).await?;
    let parts = parts(records, at_once);
    let mut words = Vec::new();
    for table in WORDS {
        let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut source).await?;
        words.push((table, count / parts.len() as i64 + 1));
    }
    let mut transactions: Vec<Vec<String>> = Vec::new();
    for (number, (begin, end)) in parts.iter().enumerate() {
        let mut statements = Vec::new();
        for table in TABLES {
            let of = match table {
                "search_texts" => {
                    "t.id IN (SELECT s.id FROM search_answers s WHERE s.seen >= $1 AND s.seen < $2)"
                }
                "search_answers" => "t.seen >= $1 AND t.seen < $2",
                "images" => "t.first_seen >= $1 AND t.first_seen < $2",
                _ => {
                    "t.image IN (SELECT i.id FROM images i WHERE i.first_seen >= $1 AND i.first_seen < $2)"
                }
            };
            statements.extend(literals(&mut source, table, of, (*begin, *end)).await?);
        }
        for (table, share) in &words {
            let range = (number as i64 * share, (number as i64 + 1) * share);
            let of = "t.id > $1 AND t.id <= $2";
            statements.extend(literals(&mut source, table, of, range).await?);
        }
        transactions.push(statements);
    }
    source.close().await?;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(to)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", "16384");
    let mut target = sqlx::SqliteConnection::connect_with(&options).await?;
    if !with_search {
        for statement in ["DROP TRIGGER search_texts_added", "DROP TRIGGER search_vocabulary_added"]
        {
            target.execute(statement).await?;
        }
    }
    let started = Instant::now();
    for statements in transactions {
        target.execute("BEGIN IMMEDIATE").await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut target).await?;
        }
        target.execute("COMMIT").await?;
    }
    let took = started.elapsed();
    target.close().await?;
    Ok(took)
}

/// Rows of a table as INSERT statements.
async fn literals(
    source: &mut sqlx::SqliteConnection,
    table: &str,
    of: &str,
    range: (i64, i64),
) -> Result<Vec<String>, Failed> {
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(&mut *source)
        .await?;
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote(t.{column})")).collect();
    let sql =
        format!("SELECT '(' || {} || ')' FROM {table} t WHERE {of}", quoted.join(" || ',' || "));
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(range.0)
        .bind(range.1)
        .fetch_all(&mut *source)
        .await?;
    let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
    Ok(rows.chunks(ROWS).map(|rows| format!("{head}{}", rows.join(","))).collect())
}

async fn postgres(
    from: &str,
    to: &str,
    records: u64,
    at_once: u64,
    with_search: bool,
) -> Result<Duration, Failed> {
    let mut target = sqlx::PgConnection::connect(to).await?;
    target.execute("DROP SCHEMA public CASCADE").await?;
    target.execute("CREATE SCHEMA public").await?;
    Catalog::open(to, CatalogOptions::default()).await?.close().await;
    if !with_search {
        target.execute("DROP INDEX search_words").await?;
        target.execute("DROP INDEX search_parts").await?;
    }
    let mut source = sqlx::PgConnection::connect(from).await?;
    let parts = parts(records, at_once);
    let words: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM search_vocabulary").fetch_one(&mut source).await?;
    let share = words / parts.len() as i64 + 1;
    let mut transactions = Vec::new();
    for (number, (begin, end)) in parts.iter().enumerate() {
        let mut tables = Vec::new();
        for table in TABLES.into_iter().filter(|table| *table != "search_texts") {
            let of = match table {
                "search_answers" => format!("t.seen >= {begin} AND t.seen < {end}"),
                "images" => format!("t.first_seen >= {begin} AND t.first_seen < {end}"),
                _ => format!(
                    "t.image IN (SELECT i.id FROM images i WHERE i.first_seen >= {begin} AND i.first_seen < {end})"
                ),
            };
            tables.push((
                table,
                out(&mut source, &format!("SELECT t.* FROM {table} t WHERE {of}")).await?,
            ));
        }
        let offset = number as i64 * share;
        let words = format!(
            "SELECT word FROM search_vocabulary ORDER BY ctid OFFSET {offset} LIMIT {share}"
        );
        tables.push(("search_vocabulary", out(&mut source, &words).await?));
        transactions.push(tables);
    }
    let started = Instant::now();
    for tables in transactions {
        target.execute("BEGIN").await?;
        for (table, rows) in tables {
            let mut copy = target.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
            copy.send(rows).await?;
            copy.finish().await?;
        }
        target.execute("COMMIT").await?;
    }
    let took = started.elapsed();
    target.close().await?;
    source.close().await?;
    Ok(took)
}

/// What COPY says of a question.
async fn out(source: &mut sqlx::PgConnection, question: &str) -> Result<Vec<u8>, Failed> {
    let mut stream = source.copy_out_raw(&format!("COPY ({question}) TO STDOUT")).await?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
