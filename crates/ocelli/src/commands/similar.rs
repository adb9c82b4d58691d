//! `ocelli similar`: which images look alike.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::Args;
use ocelli_catalog::{Alike, Catalog, Group};
use ocelli_core::phash::MOST_DISTANCE;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::{archive, layout, output};

/// Nothing looks alike: as `grep` says it.
const NOTHING: ExitCode = ExitCode::Internal;

#[derive(Debug, Args)]
pub(crate) struct SimilarArgs {
    /// The image to compare with: a path, a URL, a digest, or the beginning of one. Without it, groups of images: each image
    /// that looks like none before it, and those seen later that look like it.
    #[arg(value_name = "IMAGE")]
    image: Option<OsString>,
    /// In how many of the 64 bits of their perceptual hashes images may differ [default: near.distance of the settings].
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=MOST_DISTANCE as i64))]
    distance: Option<u32>,
    /// At most so many groups, or images.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one JSON object per group, or image, and line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn similar(
    settings: &Settings,
    arguments: &SimilarArgs,
) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let distance = arguments.distance.unwrap_or(settings.near.distance);
    let found = match &arguments.image {
        Some(image) => {
            let digest = archive::resolve(settings, &catalog, image).await?;
            let hash = catalog.perceptual_hash(&digest).await?.ok_or_else(|| {
                Fault::new(
                    ExitCode::Usage,
                    format!(
                        "the image {} has no perceptual hash: no reader has decoded it yet, it is of one colour, or it \
                         was read before there were hashes; with near.hash = true producing it again makes one",
                        digest.short()
                    ),
                )
            })?;
            let mut alike = catalog.alike(&hash, distance).await?;
            alike.retain(|one| one.digest != digest);
            alike.truncate(arguments.limit);
            for one in &alike {
                say(arguments, one, || line(one))?;
            }
            alike.len()
        }
        None => groups(&catalog, arguments, distance).await?,
    };
    catalog.close().await;
    Ok(if found == 0 { NOTHING } else { ExitCode::Ok })
}

/// Prints groups as they are found. Returns how many.
async fn groups(catalog: &Catalog, arguments: &SimilarArgs, distance: u32) -> Result<usize, Fault> {
    let (mut count, mut after) = (0, None);
    loop {
        let (groups, next) = catalog.groups(distance, after).await?;
        for group in &groups {
            if count == arguments.limit {
                eprintln!("{count} groups, and more; --limit sets how many");
                return Ok(count);
            }
            say(arguments, group, || text(group))?;
            count += 1;
        }
        match next {
            Some(next) => after = Some(next),
            None => {
                eprintln!("{count} {}", if count == 1 { "group" } else { "groups" });
                return Ok(count);
            }
        }
    }
}

fn say(
    arguments: &SimilarArgs,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Fault> {
    if arguments.json { output::json_line(value) } else { output::print(&text()) }
}

fn text(group: &Group) -> String {
    let mut text = line(&group.first);
    for other in &group.others {
        let _ = write!(text, "\n{}", line(other));
    }
    text.push('\n');
    text
}

/// Distance, image, time, place. Nothing in it moves the cursor.
fn line(one: &Alike) -> String {
    let seen = one.first_seen.map_or_else(|| "time unknown".to_owned(), layout::time);
    let source = one.source.as_ref().map(|source| source.as_str()).unwrap_or_default();
    let source: String = source.chars().filter(|char| !char.is_control()).collect();
    format!("{:>2}  {}  {seen}  {source}", one.distance, one.digest.short())
}
