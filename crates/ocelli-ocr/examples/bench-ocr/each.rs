//! Image after image: scores, passes with their reasons, and the text. For finding out why.

use std::time::Duration;

use anyhow::Result;
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};

use crate::contenders::Arena;
use crate::score::compare;
use crate::sets::Set;

pub(crate) fn print(arena: &Arena, sets: &[Set]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options =
            OcrOptions { children: 1, languages: arena.languages.clone(), ..OcrOptions::default() };
        let pool = Pool::new(options, data::folder(None, None)?, OcrMetrics::unregistered()?);
        for sample in sets.iter().flat_map(|set| &set.samples) {
            let name = sample.path.file_name().unwrap_or_default().to_string_lossy();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
            let bytes = std::fs::read(&sample.path)?;
            let transcript = match pool.read(bytes.into(), deadline).await {
                Ok(transcript) => transcript,
                Err(error) => {
                    println!("{name}: {error}");
                    continue;
                }
            };
            let score = compare(&sample.truth, &transcript.text);
            println!(
                "{name}: recall {:.2}, precision {:.2}, CER {:.2}",
                score.recall, score.precision, score.error_rate
            );
            for step in &transcript.steps {
                let confidence = step.confidence.map_or("-".to_owned(), |c| format!("{c:.0}"));
                println!("    {} ({confidence}) {} ms: {}", step.name, step.took_ms, step.reason);
            }
            println!("    | {}", transcript.text.trim().replace('\n', "\n    | "));
        }
        Ok(())
    })
}
