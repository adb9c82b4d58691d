//! What can be said to `ocelli search`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ocelli_catalog::search::Sort;

const EXAMPLES: &str = "\
What can be asked (put it in quotes, so that the shell leaves it alone):
  scaling language          both words in one answer; accents and case make no difference
  \"open language\"           words in this order
  scal*  *16tg*             a word that begins so; these characters anywhere (3 or more)
  cat OR dog   cat -dog     one of them; the first, and the second in no answer of the record
  (cat OR dog) -\"hot dog\"   groups
  analyzer:NAME             the answer is by this analyzer
  has:NAME  missing:NAME    the record has a text by it (has:text: by any); it has not answered
  is:failed                 also done, empty, skipped, partial, flagged, older, complete, incomplete, refused, same
  conf:<60  conf:60..80     how sure the analyzer was
  lang:eng  model:gemma3  format:png  source:example.org  batch:NAME
  bytes < 20MB  width >= 640  height  pixels > 2MP   numbers of the image; also AND, NOT
  agreement:<0.5            what a model quotes and what others have read agree less than half
  like:cfbfaddac8ae         looks like the image whose digest begins so; like:cfbfaddac8ae~4: differs in at most 4 of 64 bits
  after:2024-05 before:2024-06-15   first seen; before excludes the day, after includes it

Examples:
  ocelli search scaling
  ocelli search '\"open language\" OR llama*' --sort newest
  ocelli search 'is:failed analyzer:tesseract-ocr' --facets
  ocelli search --queries names.txt --format csv > hits.csv

Exit codes: 0 with hits, 1 without, 2 when the query is none.";

/// See `ocelli search --help`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SearchArgs {
    /// What to look for; several arguments are one query.
    #[arg(value_name = "QUERY", required_unless_present = "queries")]
    pub(super) query: Vec<String>,
    /// Order of the records.
    #[arg(long, value_enum, default_value_t = Order::Relevance)]
    pub(super) sort: Order,
    /// At most this many records [default: 20; with --queries 1000 per query].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) limit: Option<u32>,
    /// Go on where the page before ended.
    #[arg(long, value_name = "CURSOR", conflicts_with = "queries")]
    pub(super) cursor: Option<String>,
    /// Count the matching records by analyzer, outcome, format, month and batch.
    #[arg(long, conflicts_with = "queries")]
    pub(super) facets: bool,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "queries")]
    pub(super) json: bool,
    /// Ask every line of this file (- for standard input); lines that are empty or begin with # are left out.
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    pub(super) queries: Option<PathBuf>,
    /// With --queries: how to print the hits, one line for each answer that matches.
    #[arg(long, value_enum, default_value_t = Table::Ndjson, requires = "queries")]
    pub(super) format: Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// More matching answers and shorter ones first.
    Relevance,
    /// First seen last.
    Newest,
    /// First seen first.
    Oldest,
}

impl From<Order> for Sort {
    fn from(order: Order) -> Self {
        match order {
            Order::Relevance => Self::Relevance,
            Order::Newest => Self::Newest,
            Order::Oldest => Self::Oldest,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Table {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}
