//! One child reads set after set, and then a mixture of all: how much memory does it take, and does that stay what it is?

use std::time::Duration;

use anyhow::Result;
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};

use crate::clock;
use crate::contenders::Arena;
use crate::sets::{Sample, Set};

/// Lines printed of the mixture.
const ROWS: usize = 10;

pub(crate) fn watch(arena: &Arena, sets: &[Set], images: usize) -> Result<()> {
    println!("Memory of one child with '{}'", arena.languages);
    println!("{:<16} {:>8}  {:>9}  {:>9}", "set", "images", "resident", "peak");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for set in sets {
            let child = Child::start(arena).await?;
            for sample in &set.samples {
                child.read(sample).await?;
            }
            let name = if set.name == "screens" { "screens, 1080p" } else { set.name.as_str() };
            child.print(name, set.samples.len())?;
        }
        let mixture: Vec<_> = sets.iter().flat_map(|set| &set.samples).collect();
        let child = Child::start(arena).await?;
        for index in 0..images {
            // Sets take turns, so that every tenth of the row holds the same.
            child.read(mixture[index * 7_919 % mixture.len()]).await?;
            if (index + 1) % (images / ROWS).max(1) == 0 {
                child.print("all, in turns", index + 1)?;
            }
        }
        println!();
        Ok(())
    })
}

struct Child {
    pool: Pool,
    pid: u32,
}

impl Child {
    async fn start(arena: &Arena) -> Result<Self> {
        let options = OcrOptions {
            children: 1,
            images_per_child: u32::MAX,
            recycle_memory: u64::MAX,
            languages: arena.languages.clone(),
            ..OcrOptions::default()
        };
        let pool = Pool::new(options, data::folder(None, None)?, OcrMetrics::unregistered()?);
        pool.warm_up().await?;
        Ok(Self { pid: pool.idle_pids()[0], pool })
    }

    async fn read(&self, sample: &Sample) -> Result<()> {
        let bytes = std::fs::read(&sample.path)?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
        self.pool.read(bytes.into(), deadline).await.ok();
        Ok(())
    }

    fn print(&self, set: &str, images: usize) -> Result<()> {
        anyhow::ensure!(self.pool.idle_pids() == [self.pid], "the child was replaced");
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (now, peak) = (mb(clock::memory(self.pid)), mb(clock::peak_memory(self.pid)));
        println!("{set:<16} {images:>8}  {now:>6.1} MB  {peak:>6.1} MB");
        Ok(())
    }
}
