//! What `ocelli doctor` tells about OCR on this machine.

use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::metrics::OcrMetrics;
use crate::options::OcrOptions;
use crate::pool::Pool;
use crate::sandbox::SandboxReport;
use crate::{data, engine};

/// State of OCR on this machine.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// Version of the linked Tesseract.
    pub engine_version: String,
    /// Folder of the language data, or why there is none.
    pub data_path: Result<PathBuf, String>,
    /// Languages with data.
    pub present: Vec<String>,
    /// Wanted languages without data; [`data::advice`] says what to do.
    pub missing: Vec<String>,
    /// What locks the children in, or why none could be started.
    pub sandbox: Result<SandboxReport, String>,
}

/// Value of `TESSDATA_PREFIX`, Tesseract's own setting for the folder of its data.
pub(crate) fn data_prefix() -> Option<PathBuf> {
    std::env::var_os("TESSDATA_PREFIX").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Looks at the language data and starts one child, which must be able to start as `child_program` (`None`: this
/// program, which then calls [`crate::run_if_child`] first in its `main`).
pub async fn diagnose(
    languages: &str,
    data_path: Option<&Path>,
    child_program: Option<PathBuf>,
) -> Diagnosis {
    let looked = look(languages, data_path).map_err(|error| error.to_string());
    let (data_path, present, missing, sandbox) = match looked {
        Ok((folder, wanted, missing)) => {
            let present = data::present(&folder);
            // The sandbox does not depend on the language: take one that is there.
            let sandbox = match wanted.iter().find(|name| !missing.contains(name)) {
                Some(language) => start_one(language, &folder, child_program).await,
                None => Err("no child was started".to_owned()),
            };
            (Ok(folder), present, missing, sandbox)
        }
        Err(reason) => (Err(reason.clone()), Vec::new(), Vec::new(), Err(reason)),
    };
    Diagnosis { engine_version: engine::version(), data_path, present, missing, sandbox }
}

/// The folder of language data, the languages that are wanted, and those of them without data.
fn look(
    languages: &str,
    data_path: Option<&Path>,
) -> Result<(PathBuf, Vec<String>, Vec<String>), DataError> {
    let wanted = data::languages(languages)?;
    let folder = data::folder(data_path, data_prefix().as_deref())?;
    match data::check(&folder, &wanted) {
        Ok(()) => Ok((folder, wanted, Vec::new())),
        Err(DataError::Missing { missing, .. }) => Ok((folder, wanted, missing)),
        Err(error) => Err(error),
    }
}

async fn start_one(
    language: &str,
    folder: &Path,
    child_program: Option<PathBuf>,
) -> Result<SandboxReport, String> {
    let options = OcrOptions {
        languages: language.to_owned(),
        children: 1,
        child_program,
        ..OcrOptions::default()
    };
    let metrics = OcrMetrics::unregistered().map_err(|error| error.to_string())?;
    let pool = Pool::new(options, folder.to_owned(), metrics);
    let ready = pool.warm_up().await.map_err(|error| ocelli_core::chain(&error))?;
    Ok(ready.sandbox)
}
