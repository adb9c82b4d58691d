//! The rows, in the order in which they are measured.

mod growth;
mod latency;
mod memory;
mod ocr;
mod pictures;
mod producer;
mod queueing;
mod rescan;
mod start;

use crate::lab::{Fallible, Lab};
use crate::report::Row;

/// Name, what is measured, and how.
macro_rules! rows {
    ($($name:literal $what:literal => $measure:path),* $(,)?) => {
        /// Name, and what is measured.
        pub(crate) const ROWS: &[(&str, &str)] = &[$(($name, $what)),*];

        /// Measures the row `name`.
        pub(crate) async fn measure(name: &str, lab: &Lab) -> Fallible<Row> {
            match name {
                $($name => $measure(lab).await,)*
                _ => Err(format!("there is no row '{name}'").into()),
            }
        }
    };
}

rows! {
    "start" "how soon a program is there" => start::measure,
    "latency" "one image alone through an idle fleet" => latency::measure,
    "queueing" "images with three null analyzers each, from files to complete records" => queueing::measure,
    "producer" "files and references listed, hashed, checked against the catalog and published" => producer::measure,
    "rescan" "a folder whose files are all known" => rescan::measure,
    "ocr" "images read by Tesseract, from files to complete records" => ocr::measure,
    "memory" "resident memory of the programs, idle and under load" => memory::measure,
    "growth" "images with three null analyzers each, in archives of growing size" => growth::measure,
}
