//! Who used the processors: the CPU time of this process and of everything it started (proc(5), `/proc/PID/stat`).

use std::collections::BTreeMap;

use crate::series::Series;

/// Seconds of CPU time by name of the program. What has ended counts for whoever waited for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(BTreeMap<String, f64>);

/// A process as the system describes it.
struct Process {
    name: String,
    parent: u32,
    seconds: f64,
}

/// Linux counts in hundredths of a second, whatever the kernel was built with.
const TICKS: f64 = 100.0;

impl Process {
    /// The name is in brackets and may hold anything, brackets too.
    fn read(stat: &str) -> Option<Self> {
        let (before, behind) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        // Behind the name: state, parent, …; the 12th to 15th are utime, stime, cutime, cstime.
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<f64>().unwrap_or(0.0));
        let parent = fields.get(1)?.parse().ok()?;
        Some(Self { name: name.to_owned(), parent, seconds: ticks.sum::<f64>() / TICKS })
    }
}

impl Used {
    /// So far.
    pub(crate) fn now() -> Self {
        let mut processes = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            processes.extend(Process::read(&stat).map(|process| (id, process)));
        }
        let own = std::process::id();
        let is_ours = |id: u32| {
            let above = std::iter::successors(Some(id), |id| Some(processes.get(id)?.parent));
            above.take(processes.len()).any(|id| id == own)
        };
        let mut used = BTreeMap::new();
        for (id, process) in &processes {
            if is_ours(*id) {
                *used.entry(role(&process.name).to_owned()).or_default() += process.seconds;
            }
        }
        Self(used)
    }

    /// Microseconds for each of so many images since an earlier look.
    pub(crate) fn each(&self, before: &Self, images: u64) -> BTreeMap<String, f64> {
        let since = |(name, seconds): (&String, &f64)| {
            let seconds = seconds - before.0.get(name).copied().unwrap_or(0.0);
            (name.clone(), seconds * 1e6 / images as f64)
        };
        self.0.iter().map(since).collect()
    }
}

/// What a program is here, by the first 15 letters of its name.
fn role(name: &str) -> &str {
    match name {
        "postgres" => "PostgreSQL",
        "ocelli-collecto" => "collector",
        "ocelli-chaos" | "ocelli-ocr-work" => "workers",
        // It waits for producers.
        "ocelli-bench" | "ocelli" => "producer, or the client",
        "beam.smp" => "RabbitMQ",
        // Helpers of the servers: many, and they do next to nothing.
        _ => "others",
    }
}

/// One series for each program; the first round warms up.
pub(crate) fn series(contender: &str, rounds: &[BTreeMap<String, f64>]) -> Vec<Series> {
    let rounds = rounds.get(1..).unwrap_or_default();
    let names: std::collections::BTreeSet<&String> =
        rounds.iter().flat_map(BTreeMap::keys).collect();
    let of = |name: &&String| -> Vec<f64> {
        rounds.iter().map(|round| round.get(*name).copied().unwrap_or(0.0)).collect()
    };
    let named = names.iter().map(|name| (name, of(name)));
    named
        .filter(|(_, values)| values.iter().any(|value| *value >= 1.0))
        .map(|(name, values)| {
            Series::of(&format!("CPU time of {contender}: {name}"), "µs/image", values)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "17 (a) b (c) S 5 17 17 0 -1 4194560 9 8 7 6 150 50 30 20 20 0 1 0 99";
        let process = Process::read(stat).unwrap();
        assert_eq!((process.name.as_str(), process.parent), ("a) b (c", 5));
        assert!((process.seconds - 2.5).abs() < 1e-9);
        assert!(Process::read("").is_none());
    }

    #[test]
    fn what_this_process_computes_is_counted() {
        let before = Used::now();
        let started = std::time::Instant::now();
        let mut number = 1_u64;
        while Used::now().0.values().sum::<f64>() < before.0.values().sum::<f64>() + 0.05 {
            number = std::hint::black_box(number.wrapping_mul(3));
            assert!(started.elapsed().as_secs() < 60, "nothing was counted");
        }
    }
}
