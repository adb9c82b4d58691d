//! The ways to read a set: ocelli's pool, the command line program, and one thread in a loop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ocelli_media::DecodeLimits;
use ocelli_ocr::engine::{Engine, Layout, Pixels, Until};
use ocelli_ocr::local::LocalReader;
use ocelli_ocr::pool::ReadError;
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};

use crate::clock;
use crate::sets::Sample;

/// First argument of this program when it is the loop.
pub(crate) const LOOP: &str = "--loop";

/// What one contender did with one set.
#[derive(Default, Clone)]
pub(crate) struct Run {
    /// What was read, sample by sample.
    pub(crate) texts: Vec<String>,
    /// CPU seconds by sample; empty where only the sum is known.
    pub(crate) each: Vec<f64>,
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    /// Largest resident memory of a process, in bytes.
    pub(crate) peak: u64,
    /// Pictures that ended in a refusal.
    pub(crate) refused: usize,
    /// Pictures that cost a child.
    pub(crate) crashed: usize,
}

/// Children, languages, and a folder for what the command line program writes.
#[derive(Clone)]
pub(crate) struct Arena {
    pub(crate) children: usize,
    pub(crate) languages: String,
    pub(crate) scratch: PathBuf,
}

impl Arena {
    fn options(&self) -> OcrOptions {
        OcrOptions {
            children: self.children,
            languages: self.languages.clone(),
            // The processes whose CPU time is read at the end must be those of the beginning.
            images_per_child: u32::MAX,
            ..OcrOptions::default()
        }
    }

    /// The worker's way: as many readers as children, all through the pool.
    pub(crate) fn pool(&self, samples: &[Sample]) -> Result<Run> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let folder = data::folder(None, None)?;
            let pool = Arc::new(Pool::new(self.options(), folder, OcrMetrics::unregistered()?));
            pool.warm_up().await?;
            let mut pids = pool.idle_pids();
            let before = clock::processes(&pids) + clock::own();
            let started = Instant::now();
            let next = Arc::new(AtomicUsize::new(0));
            let paths: Arc<Vec<PathBuf>> =
                Arc::new(samples.iter().map(|s| s.path.clone()).collect());
            // As the worker does: two images more than children are in hand, so that no child waits for a file.
            let readers: Vec<_> = (0..self.children + 2)
                .map(|_| {
                    let (pool, next, paths) = (pool.clone(), next.clone(), paths.clone());
                    tokio::spawn(async move {
                        let mut results = Vec::new();
                        while let Some((index, path)) = {
                            let index = next.fetch_add(1, Ordering::Relaxed);
                            paths.get(index).map(|path| (index, path))
                        } {
                            let bytes = tokio::fs::read(path).await?;
                            let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
                            results.push((index, pool.read(bytes.into(), deadline).await));
                        }
                        Ok::<_, std::io::Error>(results)
                    })
                })
                .collect();
            let mut run = Run { texts: vec![String::new(); samples.len()], ..Run::default() };
            for reader in readers {
                for (index, result) in reader.await?? {
                    match result {
                        Ok(transcript) => run.texts[index] = transcript.text,
                        Err(ReadError::Refused(_)) => run.refused += 1,
                        Err(error) => {
                            eprintln!("{}: {error}", samples[index].path.display());
                            run.crashed += 1;
                        }
                    }
                }
            }
            run.wall = started.elapsed().as_secs_f64();
            pids.retain(|pid| pool.idle_pids().contains(pid));
            run.cpu = clock::processes(&pids) + clock::own() - before;
            run.peak = pids.iter().map(|pid| clock::peak_memory(*pid)).max().unwrap_or(0);
            Ok(run)
        })
    }

    /// `xargs -P W tesseract`, with or without the limit on its threads.
    pub(crate) fn command_line(&self, samples: &[Sample], one_thread: bool) -> Result<Run> {
        let out = self.scratch.join("cli");
        std::fs::create_dir_all(&out)?;
        let mut list = String::new();
        for (index, sample) in samples.iter().enumerate() {
            list.push_str(&format!(
                "{}\n{}\n",
                sample.path.display(),
                out.join(index.to_string()).display()
            ));
        }
        let list_file = self.scratch.join("list");
        std::fs::write(&list_file, list)?;
        let mut command = Command::new("xargs");
        command
            .args(["-d", "\n", "-n", "2", "-P", &self.children.to_string(), "tesseract"])
            .args(["-l", &self.languages])
            .stdin(File::open(&list_file)?)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if one_thread {
            command.env("OMP_THREAD_LIMIT", "1");
        } else {
            command.env_remove("OMP_THREAD_LIMIT");
        }
        let (before, started) = (clock::reaped(), Instant::now());
        // A picture that it cannot read is part of the result.
        command.status().context("xargs and tesseract are needed for comparison")?;
        let wall = started.elapsed().as_secs_f64();
        let cpu = clock::reaped() - before;
        let texts = (0..samples.len())
            .map(|index| {
                let path = out.join(format!("{index}.txt"));
                let text = std::fs::read(&path).unwrap_or_default();
                std::fs::remove_file(&path).ok();
                String::from_utf8_lossy(&text).into_owned()
            })
            .collect();
        Ok(Run { texts, cpu, wall, ..Run::default() })
    }

    /// One thread in a loop, in a process of its own because the thread limit is read at its start.
    pub(crate) fn one_loop(&self, samples: &[Sample], how: Loop) -> Result<Run> {
        let list: Vec<String> = samples.iter().map(|s| s.path.display().to_string()).collect();
        let list_file = self.scratch.join("loop-list");
        std::fs::write(&list_file, list.join("\n"))?;
        let out = self.scratch.join("loop");
        std::fs::create_dir_all(&out)?;
        let status = Command::new(std::env::current_exe()?)
            .args([LOOP, how.name(), &self.languages])
            .args([&list_file, &out])
            .env("OMP_THREAD_LIMIT", "1")
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "the loop ended with {status}");
        let mut run = Run::default();
        for index in 0..samples.len() {
            run.texts.push(std::fs::read_to_string(out.join(format!("{index}.txt")))?);
        }
        let figures = std::fs::read_to_string(out.join("figures"))?;
        let mut lines = figures.lines();
        run.wall = lines.next().context("no time")?.parse()?;
        run.peak = lines.next().context("no peak")?.parse()?;
        run.each = lines.map(str::parse).collect::<Result<_, _>>()?;
        run.cpu = run.each.iter().sum();
        Ok(run)
    }
}

/// What the loop does with the pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// All that a child does.
    Reading,
    /// One page pass of Tesseract over the pixels as they are.
    Plain,
}

impl Loop {
    fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Plain => "plain",
        }
    }
}

/// The loop itself: `--loop reading|plain LANGUAGES LIST OUT`.
pub(crate) fn run_loop(arguments: &[String]) -> Result<()> {
    let [how, languages, list, out] = arguments else { bail!("not to be called by hand") };
    let list = std::fs::read_to_string(list)?;
    let out = Path::new(out);
    let folder = data::folder(None, None)?;
    let options = OcrOptions { languages: languages.clone(), ..OcrOptions::default() };
    let limits = DecodeLimits::default();
    let mut reader: Box<dyn FnMut(image::RgbImage) -> Result<String>> = if how == "plain" {
        let mut engine = Engine::new(&folder, languages)?;
        Box::new(move |picture| plain(&mut engine, &picture))
    } else {
        let mut reader = LocalReader::new(&folder, options)?;
        Box::new(move |picture| Ok(reader.read(picture)?.text))
    };
    let started = Instant::now();
    let mut each = Vec::new();
    for (index, path) in list.lines().enumerate() {
        let before = clock::main_thread();
        let mut texts = Vec::new();
        // What cannot be decoded has no text; the pool's run counts refusals.
        for page in ocelli_media::decode(&std::fs::read(path)?, &limits).unwrap_or_default() {
            texts.push(reader(page.pixels)?);
        }
        each.push((clock::main_thread() - before).to_string());
        std::fs::write(out.join(format!("{index}.txt")), texts.join("\n"))?;
    }
    let wall = started.elapsed().as_secs_f64();
    let peak = clock::peak_memory(std::process::id());
    std::fs::write(out.join("figures"), format!("{wall}\n{peak}\n{}", each.join("\n")))?;
    Ok(())
}

fn plain(engine: &mut Engine, picture: &image::RgbImage) -> Result<String> {
    let pixels = Pixels {
        bytes: picture.as_raw(),
        width: picture.width(),
        height: picture.height(),
        channels: 3,
    };
    let until = Until { deadline: Duration::from_secs(60), words: None };
    let words = engine.read(pixels, Layout::Page, 70, until)?.words;
    let mut text = String::new();
    for word in words {
        text.push(if word.starts_line { '\n' } else { ' ' });
        text.push_str(&word.text);
    }
    Ok(text)
}
