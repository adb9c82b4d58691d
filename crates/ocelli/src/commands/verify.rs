//! `ocelli verify`: whether the images are still where they were seen, and still the same.

use clap::Args;
use ocelli_catalog::SightingCursor;
use ocelli_core::member::ArchiveKind;
use ocelli_core::{Digest, SourceUri};
use ocelli_media::{FetchError, FetchLimits, Fetcher};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{archive, output};

/// Said of a URL, whose bytes may be gone for good.
const NO_COPY: &str = "no copy of it is kept where data.kept says, although producer.keep_urls wants one; produce it again";

/// Sources read from the catalog at once.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Fetch URLs as well. Without it their kept copies are read: hosts are not asked for everything again by accident.
    #[arg(long)]
    urls: bool,
    /// Print each source that is not as it was as JSON, one per line, and the sums at the end.
    #[arg(long)]
    json: bool,
}

/// What was found at a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
enum Finding {
    /// The same bytes.
    Same,
    /// Other bytes.
    Changed {
        /// What they are now.
        now: Digest,
        /// Whether they are those of the kept copy, and not of the source.
        kept: bool,
    },
    /// No bytes.
    Missing {
        /// Why.
        reason: String,
    },
    /// A URL that is not kept, or more bytes than are read.
    NotLookedAt,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    digest: Digest,
    source: &'a SourceUri,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Debug, Default, Serialize)]
struct Sums {
    same: u64,
    changed: u64,
    missing: u64,
    not_looked_at: u64,
}

pub(crate) async fn verify(settings: &Settings, arguments: &VerifyArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    // What was refused because it is no image is looked at as well.
    let limits = FetchLimits { images_only: false, ..parts::fetch_limits(settings) };
    let fetcher = Fetcher::new(limits).map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
    let width = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2;
    let mut sums = Sums::default();
    let mut after: Option<SightingCursor> = None;
    loop {
        let page = catalog.sighted_sources(after.as_ref(), PAGE).await?;
        let mut looking = JoinSet::new();
        for (digest, source) in page.sources {
            if looking.len() >= width {
                note(looking.join_next().await, &mut sums, arguments.json)?;
            }
            let (fetcher, urls) = (fetcher.clone(), arguments.urls);
            let keeps = keeps(settings, &source);
            looking.spawn(async move {
                let finding = if source.is_web() && !urls {
                    look_kept(&fetcher, digest, keeps).await
                } else if keeps {
                    // The copy is what is read first, of an archive that is packed as a whole.
                    match look_kept(&fetcher, digest, false).await {
                        Finding::NotLookedAt => look(&fetcher, digest, &source).await,
                        found => found,
                    }
                } else {
                    look(&fetcher, digest, &source).await
                };
                (digest, source, finding)
            });
        }
        while let Some(looked) = looking.join_next().await {
            note(Some(looked), &mut sums, arguments.json)?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    catalog.close().await;
    if arguments.json {
        output::json_line(&sums)?;
    } else {
        output::print(&format!(
            "{} sources are as they were, {} changed, {} missing, {} not looked at",
            sums.same, sums.changed, sums.missing, sums.not_looked_at
        ))?;
    }
    Ok(if sums.changed + sums.missing > 0 { ExitCode::Internal } else { ExitCode::Ok })
}

/// Whether the settings want a copy of what is read there.
fn keeps(settings: &Settings, source: &SourceUri) -> bool {
    match source.member() {
        Some(member) => settings.producer.keep_packed && member.kind == ArchiveKind::TarGz,
        None => settings.producer.keep_urls && source.is_web(),
    }
}

/// The copy of what a source named. With `keeps` there must be one.
async fn look_kept(fetcher: &Fetcher, digest: Digest, keeps: bool) -> Finding {
    match fetcher.kept(&digest).await {
        Ok(Some(bytes)) => compare(digest, bytes, true).await,
        Ok(None) if keeps => Finding::Missing { reason: NO_COPY.to_owned() },
        Ok(None) | Err(FetchError::TooLarge { .. }) => Finding::NotLookedAt,
        Err(error) => Finding::Missing { reason: ocelli_core::chain(&error) },
    }
}

async fn look(fetcher: &Fetcher, digest: Digest, source: &SourceUri) -> Finding {
    let bytes = match fetcher.fetch(source).await {
        Ok(bytes) => bytes,
        Err(FetchError::TooLarge { .. }) => return Finding::NotLookedAt,
        Err(error) => return Finding::Missing { reason: ocelli_core::chain(&error) },
    };
    compare(digest, bytes, false).await
}

async fn compare(digest: Digest, bytes: impl AsRef<[u8]> + Send + 'static, kept: bool) -> Finding {
    match tokio::task::spawn_blocking(move || Digest::of(bytes.as_ref())).await {
        Ok(now) if now == digest => Finding::Same,
        Ok(now) => Finding::Changed { now, kept },
        Err(error) => Finding::Missing { reason: error.to_string() },
    }
}

type Looked = Result<(Digest, SourceUri, Finding), tokio::task::JoinError>;

fn note(looked: Option<Looked>, sums: &mut Sums, json: bool) -> Result<(), Fault> {
    let Some(looked) = looked else { return Ok(()) };
    let (digest, source, finding) =
        looked.map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
    let (sum, said) = match &finding {
        Finding::Same => (&mut sums.same, None),
        Finding::NotLookedAt => (&mut sums.not_looked_at, None),
        Finding::Changed { now, kept } => {
            let whose = if *kept { "its kept copy is" } else { "is" };
            let line =
                format!("changed  {}  {source}  {whose} {} now", digest.short(), now.short());
            (&mut sums.changed, Some(line))
        }
        Finding::Missing { reason } if reason == NO_COPY => {
            (&mut sums.missing, Some(format!("missing  {}  {source}: {reason}", digest.short())))
        }
        Finding::Missing { reason } => {
            (&mut sums.missing, Some(format!("missing  {}  {reason}", digest.short())))
        }
    };
    *sum += 1;
    match said {
        Some(_) if json => output::json_line(&Line { digest, source: &source, finding: &finding }),
        Some(line) => output::print(&line.replace(|c: char| c.is_control(), " ")),
        None => Ok(()),
    }
}
