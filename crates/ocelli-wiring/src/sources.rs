//! What the command lines of all programs that list sources have in common.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

/// Sources, and what of them is taken.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Folders, image files, URLs, buckets (s3://BUCKET/PREFIX/, gs:, az:), archives (.tar, .tar.gz, .zip; tar:FILE!MEMBER for one member),
    /// manifests (.ndjson, .csv, .parquet, .txt with uri and first_seen), or - for a list on standard input.
    #[arg(required_unless_present = "retry", value_name = "SOURCE")]
    pub sources: Vec<OsString>,
    /// Only files below folders, and members of archives, that match this glob, beside those of producer.include.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Not what matches this glob, beside those of producer.exclude.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Beside the sources: what failed of an earlier batch, which --of names.
    #[arg(long, value_enum, requires = "of", value_name = "WHAT")]
    pub retry: Option<Retry>,
    /// Name or id of that batch.
    #[arg(long, requires = "retry", value_name = "BATCH")]
    pub of: Option<String>,
    /// Name of this batch.
    #[arg(long, value_name = "NAME")]
    pub batch: Option<String>,
    /// Read every file, also those that look as they did when they were read last.
    #[arg(long)]
    pub verify: bool,
}

/// Which references of an earlier batch are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Retry {
    /// Those that could not be read.
    Failed,
}
