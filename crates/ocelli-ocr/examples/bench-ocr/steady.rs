//! One child reads thousands of images: does its memory stay what it is?

use std::time::Duration;

use anyhow::Result;
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};

use crate::clock;
use crate::contenders::Arena;
use crate::sets::Set;

/// Lines printed.
const ROWS: usize = 10;

pub(crate) fn watch(arena: &Arena, sets: &[Set], images: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = OcrOptions {
            children: 1,
            images_per_child: u32::MAX,
            recycle_memory: u64::MAX,
            languages: arena.languages.clone(),
            ..OcrOptions::default()
        };
        let pool = Pool::new(options, data::folder(None, None)?, OcrMetrics::unregistered()?);
        pool.warm_up().await?;
        let pid = pool.idle_pids()[0];
        let samples: Vec<_> = sets.iter().flat_map(|set| &set.samples).collect();
        println!("{:>8}  {:>9}  {:>9}", "images", "resident", "peak");
        for index in 0..images {
            let bytes = std::fs::read(&samples[index % samples.len()].path)?;
            let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
            pool.read(bytes.into(), deadline).await.ok();
            if (index + 1) % (images / ROWS).max(1) == 0 {
                let mb = |bytes: u64| bytes as f64 / 1e6;
                let (now, peak) = (mb(clock::memory(pid)), mb(clock::peak_memory(pid)));
                println!("{:>8}  {now:>6.1} MB  {peak:>6.1} MB", index + 1);
            }
        }
        anyhow::ensure!(pool.idle_pids() == [pid], "the child was replaced");
        Ok(())
    })
}
