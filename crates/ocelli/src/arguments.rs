//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ocelli_core::{AnalyzerName, BatchId, FailureClass};
use ocelli_wiring::{CommonArgs, SourceArgs};

use crate::commands::batch::BatchCommand;
use crate::commands::export::Layout;
use crate::commands::search::SearchArgs;
use crate::commands::similar::SimilarArgs;
use crate::commands::sizing::FleetArgs;
use crate::commands::verify::VerifyArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for is done
  1    internal error, an audit or a verification found a difference, or a search found nothing
  2    the command line or the settings are wrong; nothing was started
  3    finished, but some references or analyses failed
  4    a needed service (broker, catalog) is away or refuses
  5    ended because a budget is used up, or because people paused or cancelled something; what is left is kept
  130  interrupted by a signal; what was accepted is kept

Data goes to standard output, everything else to standard error. NO_COLOR is honoured.";

/// Turns piles of images into a searchable archive of records: when each image was first seen, and what every analyzer
/// (Tesseract, vision models) read in it.
///
/// Start with: ocelli run FOLDER. It needs no server and can be stopped and started at any time.
#[derive(Debug, Parser)]
#[command(name = "ocelli", version, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The folder of the archive (default: ocelli in the XDG data directory).
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read all images of folders, files or manifests on this machine, then end. No server needed.
    Run(RunArgs),
    /// Like run, but stay, read new images as they appear in the folders, and serve the archive as a web site.
    Up(SourceArgs),
    /// Serve the archive as a web site, without reading new images.
    Web,
    /// Enqueue images for a fleet of workers on RabbitMQ.
    Produce(ProduceArgs),
    /// Print the record of one image.
    Show(ShowArgs),
    /// Find records by their words: phrases, prefixes, parts of words, filters.
    Search(SearchArgs),
    /// Images that look alike: copies in another size, compressed again, slightly cropped.
    Similar(SimilarArgs),
    /// Write records into files that other programs read: JSONL, CSV, Parquet, WebDataset, text, hOCR.
    Export(ExportArgs),
    /// What asking an analyzer about the archive would take: images, tokens, money, hours.
    Plan(PlanArgs),
    /// Ask an analyzer about images that are in the archive already.
    Backfill(BackfillArgs),
    /// How far each analyzer is.
    Status(StatusArgs),
    /// The fleet at a glance, in a terminal, with keys to pause, resume and retry.
    Top(TopArgs),
    /// How far a batch is and what became of its references; pause, resume or cancel it.
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Let an analyzer finish what it has in hand and take no more, in the whole fleet.
    Pause(PauseArgs),
    /// Let a paused analyzer go on.
    Resume(ResumeArgs),
    /// What failed and why; try it again.
    #[command(subcommand)]
    Failures(FailuresCommand),
    /// Who is told of complete records, what waits for them, and what was given up.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Check the whole archive against itself; exit code 1 when something does not add up.
    Audit(JsonArgs),
    /// Carry the whole archive over into another, empty database. Run again after a kill, it goes on; at the end both are
    /// compared. Stop collectors first.
    Migrate(MigrateArgs),
    /// Copy the whole archive into one new file, while others write.
    Backup(BackupArgs),
    /// Make an archive that is empty, or not there yet, from a backup.
    Restore(RestoreArgs),
    /// Read every image again where it was seen: what is missing or has changed; exit code 1 when anything is.
    Verify(VerifyArgs),
    /// Look at everything ocelli needs, and say what to do about what is missing.
    Doctor(JsonArgs),
    /// Ask the program that listens at http.listen whether it is healthy; exit code 0 or 1.
    Healthcheck {
        /// Another program than that of the settings.
        #[arg(value_name = "ADDRESS:PORT")]
        address: Option<String>,
        /// Ask whether it can work now, which is not a matter of health.
        #[arg(long)]
        ready: bool,
    },
    /// Settings: where each value comes from, and whether they are right.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Print this record at the end: a path, URL or digest.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) show: Option<std::ffi::OsString>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Stay, and enqueue new files as they appear in the folders.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A path, a URL, a digest, or the beginning of one (at least 4 characters).
    #[arg(value_name = "IMAGE")]
    pub(crate) image: std::ffi::OsString,
    /// Layout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// For hocr, alto and tsv: whose words (default: the first analyzer that read words).
    #[arg(long, value_name = "NAME")]
    pub(crate) analyzer: Option<AnalyzerName>,
    /// Only answers of the revision that begins so, also of older ones.
    #[arg(long, value_name = "REVISION", conflicts_with = "all_revisions")]
    pub(crate) revision: Option<String>,
    /// Add how far the answers agree, and which quotes of models nobody else has read. JSON and Markdown always have that.
    #[arg(long, conflicts_with_all = ["revision", "all_revisions"])]
    pub(crate) agreement: bool,
    /// Every answer there is: below the current one of each analyzer its older ones. JSON always has them.
    #[arg(long)]
    pub(crate) all_revisions: bool,
}

/// Exports go through the archive in the order of first sightings. Killed anywhere, the same command goes on; after the end it
/// exports what was first seen since.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Layout.
    #[arg(long, value_enum)]
    pub(crate) format: Layout,
    /// Which records, as for 'ocelli search' (default: all).
    #[arg(long = "where", value_name = "QUERY", default_value = "", hide_default_value = true)]
    pub(crate) query: String,
    /// Into this folder, or below s3://bucket/prefix/, with a manifest; without it jsonl, csv and text go to standard output.
    #[arg(long, value_name = "DIR|URI")]
    pub(crate) out: Option<PathBuf>,
    /// Begin behind the cursor that an export ended with.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
    /// Close a file that has reached this size: 256MB, 64MiB.
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = crate::commands::export::parse_size)]
    pub(crate) file_size: u64,
    /// With the answers of older revisions.
    #[arg(long)]
    pub(crate) all_revisions: bool,
    /// Print the summary as JSON.
    #[arg(long, requires = "out")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Whom to ask.
    #[arg(long, value_name = "NAME", required_unless_present = "fleet", conflicts_with = "fleet")]
    pub(crate) analyzer: Option<AnalyzerName>,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// Of which images, as for 'ocelli search' (default: all).
    #[arg(long = "where", value_name = "QUERY", default_value = "", hide_default_value = true)]
    pub(crate) query: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Asks an analyzer, at its present revision, about images that are in the archive already, as far as it has not answered yet. The
/// same command again goes on with the same backfill.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackfillCommand>,
    /// Whom to ask.
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) analyzer: Option<AnalyzerName>,
    /// Of which images, as for 'ocelli search' (default: all).
    #[arg(long = "where", value_name = "QUERY", default_value = "", hide_default_value = true)]
    pub(crate) query: String,
    /// What it may cost: 200, or "200 USD".
    #[arg(long, value_name = "MONEY", conflicts_with = "max_tokens")]
    pub(crate) max_cost: Option<String>,
    /// How many tokens it may read and write.
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<u64>,
    /// Only so many of the images, the same ones each time; wait for their answers and print them beside the older ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) sample: Option<u32>,
    /// Its name (default: made of analyzer, revision and query).
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// How far each backfill is, and what it has cost.
    List(JsonArgs),
    /// Begin nothing more of it until it is resumed.
    Pause(NamedArgs),
    /// Go on with it.
    Resume(NamedArgs),
    /// Take back what has no answer yet; what was wanted before is wanted again.
    Cancel(NamedArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Which backfill.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// First Seen, then each analyzer's text.
    Text,
    /// Everything, as one JSON object.
    Json,
    /// With sightings and provenance, as Markdown.
    Markdown,
    /// Words with boxes as hOCR 1.2 (XHTML).
    Hocr,
    /// Words with boxes as ALTO 4 (XML).
    Alto,
    /// Words with boxes as Tesseract's TSV.
    Tsv,
}

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Where to: postgres://user@host/database (it exists and is empty), or sqlite:/path/to/file.db.
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// Print the rows of each table as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file; it must not be there yet.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What 'ocelli backup' wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print the rows of each table as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Add what models cost, by analyzer and month, what of it was for nothing, and how budgets stand.
    #[arg(long)]
    pub(crate) spend: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// How often everything is looked at again: 500ms, 2s, 1m.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = every)]
    pub(crate) every: std::time::Duration,
    /// Print one look, without a terminal, and end.
    #[arg(long)]
    pub(crate) once: bool,
}

/// A time that is not nothing.
fn every(text: &str) -> Result<std::time::Duration, String> {
    let time = ocelli_runtime::settings::parse_duration(text).ok();
    time.filter(|time| !time.is_zero()).ok_or_else(|| "expected a time such as 2s".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Which analyzer.
    #[arg(value_name = "ANALYZER")]
    pub(crate) analyzer: AnalyzerName,
    /// Why, for whoever looks at 'ocelli status'.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Which analyzer.
    #[arg(value_name = "ANALYZER")]
    pub(crate) analyzer: AnalyzerName,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FailuresCommand {
    /// List failed analyses, unreadable references and messages that died in their queue.
    List(FailuresArgs),
    /// Everything about the failed jobs of one image: attempts, passes, sources, the job as it travelled.
    Show(FailureShowArgs),
    /// Open failed analyses again: a fleet gets them at once, an archive without a broker with the next run.
    Retry(FailuresArgs),
    /// Settle failed analyses without another attempt: they count as skipped by the rule 'discarded'. Messages that died are
    /// marked as seen, unless --analyzer, --class or --batch is given.
    Discard(FailuresArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FailureShowArgs {
    /// A path, a URL, a digest, or the beginning of one (at least 4 characters).
    #[arg(value_name = "IMAGE")]
    pub(crate) image: std::ffi::OsString,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FailuresArgs {
    /// Only of this analyzer.
    #[arg(long)]
    pub(crate) analyzer: Option<AnalyzerName>,
    /// Only of this class: transient, permanent, crash, quality, outage.
    #[arg(long)]
    pub(crate) class: Option<FailureClass>,
    /// Only with this text in the reason.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only of images that this batch saw; 'ocelli audit' lists the ids.
    #[arg(long, value_name = "ID")]
    pub(crate) batch: Option<BatchId>,
    /// Only failures that are older: 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "AGE", value_parser = crate::commands::failures::parse_age)]
    pub(crate) older_than: Option<jiff::SignedDuration>,
    /// Only failures that are younger: 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "AGE", value_parser = crate::commands::failures::parse_age)]
    pub(crate) newer_than: Option<jiff::SignedDuration>,
    /// At most this many.
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: u32,
    /// Print JSON, one object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print who is told, what waits and what was given up.
    List(JsonArgs),
    /// Tell a listener what it did not take for too long.
    Retry {
        /// Its name.
        listener: String,
    },
    /// Forget a listener that is no longer in the settings, with all that it was not told.
    Forget {
        /// Its name.
        listener: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting with its value and origin; secrets are masked.
    Show(JsonArgs),
    /// Check the settings and say what is wrong.
    Check,
    /// Print the built-in settings as a commented file to start from.
    Default,
    /// Print a RabbitMQ user for each role, with the least rights, as definitions for 'rabbitmqctl import_definitions'.
    Roles {
        /// The virtual host that they may use.
        #[arg(long, default_value = "/")]
        vhost: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
