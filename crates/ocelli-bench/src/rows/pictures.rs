//! Pictures with text, as `bench-ocr` draws them, and the loops that read them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tempfile::TempDir;

use crate::fleet::folder;
use crate::lab::{Fallible, Lab};

/// Of twenty pictures of an archive so many are memes, pages, turned pages, and photographs without text: as in
/// `bench-ocr --section speed`.
const SHARES: [(&str, usize); 4] = [("memes", 10), ("pages", 4), ("turned", 1), ("photographs", 4)];
/// How many pictures a share is of.
const ROUND: u64 = 19;

/// Drawn pictures, mixed.
pub(crate) struct Pictures {
    /// The pictures in the folder `in`.
    pub(crate) files: Vec<PathBuf>,
    /// What a person reads in each.
    pub(crate) truths: Vec<String>,
    pub(crate) folder: TempDir,
}

impl Pictures {
    /// Draws `count` pictures.
    pub(crate) async fn draw(lab: &Lab, count: u64) -> Fallible<Self> {
        let folder = folder()?;
        let drawn = folder.path().join("drawn");
        let rounds = count.div_ceil(ROUND);
        let most = |share: u64| (rounds * share).to_string();
        let status = tokio::process::Command::new(lab.program("bench-ocr")?)
            .args(["--section", "draw", "--set", "memes,pages,turned,photographs", "--keep"])
            .arg(&drawn)
            .args(["--memes", &most(10), "--pages", &most(4)])
            .env_remove("OCELLI_SHARED_DATA")
            .stdout(Stdio::null())
            .status()
            .await?;
        if !status.success() {
            return Err(format!("bench-ocr could not draw the pictures: {status}").into());
        }
        let within = folder.path().join("in");
        std::fs::create_dir(&within)?;
        let (mut files, mut truths) = (Vec::new(), Vec::new());
        let sets = SHARES.map(|(name, _)| listed(&drawn.join(name)));
        'all: for round in 0.. {
            for ((_, share), set) in SHARES.iter().zip(&sets) {
                for picture in set
                    .as_ref()
                    .map_err(ToString::to_string)?
                    .iter()
                    .skip(round * share)
                    .take(*share)
                {
                    let name = picture.file_name().unwrap_or_default().to_string_lossy();
                    let place = within.join(format!("{:04}-{name}", files.len()));
                    std::fs::copy(picture, &place)?;
                    truths.push(std::fs::read_to_string(picture.with_extension("txt"))?);
                    files.push(place);
                    if files.len() as u64 >= count {
                        break 'all;
                    }
                }
            }
        }
        Ok(Self { files, truths, folder })
    }

    /// The same pictures as other images: some bytes behind the end of a picture are no part of it.
    pub(crate) fn again(&self, round: usize) -> Fallible<Vec<PathBuf>> {
        let folder = self.folder.path().join(format!("in-{round}"));
        std::fs::create_dir_all(&folder)?;
        let copy = |file: &PathBuf| -> Fallible<PathBuf> {
            let place = folder.join(file.file_name().unwrap_or_default());
            let bytes = [std::fs::read(file)?, format!("{round:08}").into_bytes()].concat();
            std::fs::write(&place, bytes)?;
            Ok(place)
        };
        self.files.iter().map(copy).collect()
    }
}

/// The pictures of a folder, by name.
fn listed(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension != "txt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Seconds that one thread takes to read these files in a loop: `reading` as a child of ocelli does, `plain` with one page
/// pass. Without the start of the process and the first picture, which is read once more before: it loads what the engine
/// loads when it is needed.
pub(crate) async fn one_loop(lab: &Lab, how: &str, files: &[PathBuf]) -> Fallible<f64> {
    let out = folder()?;
    let list = out.path().join("list");
    let warm = files.first().into_iter();
    let lines: Vec<String> = warm.chain(files).map(|file| file.display().to_string()).collect();
    std::fs::write(&list, lines.join("\n"))?;
    let status = tokio::process::Command::new(lab.program("bench-ocr")?)
        .args(["--loop", how, "eng"])
        .arg(&list)
        .arg(out.path())
        .env("OMP_THREAD_LIMIT", "1")
        .stderr(Stdio::null())
        .status()
        .await?;
    if !status.success() {
        return Err(format!("the loop ended with {status}").into());
    }
    let figures = std::fs::read_to_string(out.path().join("figures"))?;
    // Seconds of everything, the peak of its memory, then CPU seconds of each picture.
    let figures: Vec<f64> = figures.lines().map(str::parse).collect::<Result<_, _>>()?;
    match figures.as_slice() {
        [all, _peak, first, ..] => Ok(all - first),
        _ => Err("the loop gives no times".into()),
    }
}

/// Reads the files with the `tesseract` command, so many processes at once, and with one thread each or as many as it wants.
/// Returns seconds and what was read.
pub(crate) async fn command_line(
    lab: &Lab,
    files: &[PathBuf],
    one_thread: bool,
) -> Fallible<(f64, Vec<String>)> {
    let out = folder()?;
    let names: Vec<PathBuf> = (0..files.len()).map(|n| out.path().join(n.to_string())).collect();
    let pairs = files.iter().zip(&names);
    let lines: Vec<String> =
        pairs.map(|(file, name)| format!("{}\n{}\n", file.display(), name.display())).collect();
    let list = out.path().join("list");
    std::fs::write(&list, lines.concat())?;
    let mut command = tokio::process::Command::new("xargs");
    command
        .args(["-d", "\n", "-n", "2", "-P", &lab.cores.to_string(), "tesseract", "-l", "eng"])
        .stdin(std::fs::File::open(&list)?)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match one_thread {
        true => command.env("OMP_THREAD_LIMIT", "1"),
        false => command.env_remove("OMP_THREAD_LIMIT"),
    };
    let started = Instant::now();
    // A picture that it cannot read is part of the result.
    command.status().await?;
    let took = started.elapsed().as_secs_f64();
    let read = |name: &PathBuf| {
        let bytes = std::fs::read(name.with_extension("txt")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok((took, names.iter().map(read).collect()))
}
