//! What a run may do: filters, limits and widths, each with its reason.
//!
//! The binary fills these from the settings; this module reads no file and no environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ocelli_catalog::rules::Rules;
use ocelli_core::AnalyzerName;
use ocelli_core::phash::DEFAULT_DISTANCE;
use ocelli_media::{DecodeLimits, FetchLimits, Manners};

use crate::metadata::MetaLimits;

/// How a producer lists, reads and publishes.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Whether symbolic links below a folder are followed. A path named by the user is always followed.
    pub follow_links: bool,
    /// Whether files and folders whose name begins with a dot are listed.
    pub hidden: bool,
    /// Globs in the syntax of `.gitignore`, relative to each folder: when any is given, only files that match one.
    pub include: Vec<String>,
    /// Globs in the syntax of `.gitignore`, relative to each folder: files and folders that are left out.
    pub exclude: Vec<String>,
    /// Folders that are never walked, wherever they are met: ocelli's own data.
    pub exclude_dirs: Vec<PathBuf>,
    /// The only folder whose files are read, whatever a list names: for lists that come from elsewhere.
    pub within: Option<PathBuf>,
    /// Limits for `http:` and `https:` sources.
    pub fetch: FetchLimits,
    /// Limits for images; `bytes` also bounds how much of a file is held in memory.
    pub decode: DecodeLimits,
    /// Files over `decode.bytes` are still hashed up to this size, so that their refusal has an image to stand on.
    /// Above it they become a problem: a disk image among photos should not cost minutes.
    pub hash_bytes: u64,
    /// Members of one archive that are listed (setting `limits.archive_members`).
    pub archive_members: u64,
    /// Whether a file is taken as known, without being read, that looks as it did when it was read last.
    pub skip_unchanged: bool,
    /// The coarsest clock of a file system: what changed so shortly before it was read may have changed again since, and still look the
    /// same. FAT counts in two seconds.
    pub clock_grain: Duration,
    /// Whether a URL that a list names with its digest is taken for that image without being fetched: whoever reads it first compares.
    pub trust_digests: bool,
    /// What is kept of what a list says about a reference.
    pub meta: MetaLimits,
    /// Whether images of URLs are kept, in `fetch.kept`: what they name goes away.
    pub keep_urls: bool,
    /// Whether members of packed archives are kept there: else each worker unpacks everything before its member.
    pub keep_packed: bool,
    /// Whether every image is decoded for its perceptual hash.
    pub hash: bool,
    /// Files read at once. Memory for encoded images is at most this many times `decode.bytes`.
    pub readers: usize,
    /// URLs fetched at once: more than readers, because they wait for the network and not for a disk.
    pub fetchers: usize,
    /// How the hosts of URLs are treated.
    pub manners: Manners,
    /// Tries for a URL that fails in a way that may pass.
    pub fetch_attempts: u32,
    /// Whether jobs go to the queues for backfills, so that fresh work overtakes them.
    pub bulk: bool,
    /// Images of one batch whose jobs count as fresh work. Those behind them go to the queues for backfills, so that a small
    /// batch overtakes a huge one.
    pub fresh_images: u64,
    /// Messages that may wait for collectors before a batch beyond that share waits too; any number when zero.
    pub results_ahead: u64,
    /// What each dependent analyzer needs: its jobs are wanted here, and enqueued by the collector.
    pub needs: BTreeMap<AnalyzerName, Vec<AnalyzerName>>,
    /// Which analyzers an image gets.
    pub rules: Rules,
    /// Analyzers that are asked of the first of near-identical images only: which that is the collector decides.
    pub only_first: BTreeSet<AnalyzerName>,
    /// Up to which distance of their perceptual hashes images count as near-identical.
    pub near_distance: u32,
    /// Name of the batch; made from the first source when absent.
    pub batch_name: Option<String>,
    /// References listed ahead of the readers.
    pub listed_ahead: usize,
    /// Digests asked of the catalog in one query.
    pub lookup_batch: usize,
    /// How long an incomplete batch of digests waits for more.
    pub lookup_linger: Duration,
    /// How long a catalog that cannot answer is asked again before the run ends with its error: a restart of the
    /// database should not end a run of hours.
    pub lookup_patience: Duration,
    /// Messages waiting for the broker's confirm at once.
    pub publish_window: usize,
    /// Digests published in this run that are remembered, because the collector may not have written them yet when
    /// the same bytes come again (about 55 bytes each): at most so many, at least half as many. A forgotten one costs a
    /// second job, which its worker skips.
    pub remember: usize,
    /// Time between two reports of the batch.
    pub report_every: Duration,
    /// How long confirms are waited for after a shutdown was asked.
    pub drain: Duration,
    /// How long a watched file must keep size and time of change before it counts as written, when nobody said that
    /// it was closed.
    pub settle: Duration,
    /// How often a watched folder is listed again, for filesystems that lose events or have none.
    pub rescan: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            follow_links: false,
            hidden: false,
            include: Vec::new(),
            exclude: Vec::new(),
            exclude_dirs: Vec::new(),
            within: None,
            fetch: FetchLimits::default(),
            decode: DecodeLimits::default(),
            hash_bytes: 4 << 30,
            archive_members: 10_000_000,
            skip_unchanged: true,
            clock_grain: Duration::from_secs(2),
            trust_digests: true,
            meta: MetaLimits::default(),
            keep_urls: true,
            keep_packed: true,
            hash: false,
            readers: cores.clamp(2, 16),
            fetchers: 32,
            manners: Manners::default(),
            fetch_attempts: 3,
            bulk: false,
            fresh_images: 1000,
            results_ahead: 5_000,
            needs: BTreeMap::new(),
            rules: Rules::default(),
            only_first: BTreeSet::new(),
            near_distance: DEFAULT_DISTANCE,
            batch_name: None,
            listed_ahead: 1024,
            lookup_batch: 500,
            lookup_linger: Duration::from_millis(50),
            lookup_patience: Duration::from_secs(60),
            publish_window: 256,
            remember: 200_000,
            report_every: Duration::from_secs(2),
            drain: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            rescan: Duration::from_secs(600),
        }
    }
}

impl ProducerOptions {
    /// Whether an image at a URL need not be fetched when its digest is known: nobody who is not a stranger gave the list, nobody asked
    /// for all bytes, and nothing here looks at pixels.
    pub(crate) fn trusts(&self) -> bool {
        let looks = self.hash || !self.only_first.is_empty() || self.rules.ask_about_pixels();
        self.trust_digests && self.skip_unchanged && self.within.is_none() && !looks
    }

    /// The options with every width at least 1, so that no setting can stop the run by accident.
    #[must_use]
    pub(crate) fn sane(mut self) -> Self {
        for width in [
            &mut self.readers,
            &mut self.fetchers,
            &mut self.manners.connections,
            &mut self.listed_ahead,
            &mut self.lookup_batch,
            &mut self.publish_window,
        ] {
            *width = (*width).max(1);
        }
        self.fetch_attempts = self.fetch_attempts.max(1);
        self.report_every = self.report_every.max(Duration::from_millis(10));
        self.settle = self.settle.max(Duration::from_millis(10));
        self.rescan = self.rescan.max(Duration::from_secs(1));
        self
    }
}
