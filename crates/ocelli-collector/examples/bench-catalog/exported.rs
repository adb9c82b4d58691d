//! How fast records leave as Parquet, by the program.

use std::fs::File;
use std::process::Command;
use std::time::Instant;

use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::Failed;

pub(crate) fn to_parquet(url: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("records");
    let started = Instant::now();
    let done = Command::new(ocelli_testkit::bin("ocelli"))
        .args(["export", "--format", "parquet", "--log-level", "error", "--out"])
        .arg(&out)
        .env("OCELLI_CATALOG__URL", url)
        .output()?;
    let took = started.elapsed().as_secs_f64();
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }
    let (mut records, mut plain, mut files) = (0, 0, 0);
    for entry in out.read_dir()? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "parquet") {
            continue;
        }
        let reader = SerializedFileReader::new(File::open(&path)?)?;
        records += reader.metadata().file_metadata().num_rows();
        let groups = reader.metadata().row_groups();
        plain += groups.iter().map(RowGroupMetaData::total_byte_size).sum::<i64>();
        files += path.metadata()?.len();
    }
    println!(
        "  export to Parquet               {:>9.0} rows/s, {:.1} MB/s before compression, {:.1} MB/s of files ({records} rows)",
        records as f64 / took,
        plain as f64 / took / 1e6,
        files as f64 / took / 1e6,
    );
    Ok(())
}
