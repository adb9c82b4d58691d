//! CPU time and memory of processes, from `/proc` (proc(5)).

/// Ticks of `/proc/PID/stat`: 100 a second on every Linux that ocelli runs on.
const TICKS: f64 = 100.0;

/// CPU seconds of these processes.
pub(crate) fn processes(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| stat(&pid.to_string(), 11) + stat(&pid.to_string(), 12)).sum()
}

/// CPU seconds of this process.
pub(crate) fn own() -> f64 {
    stat("self", 11) + stat("self", 12)
}

/// CPU seconds of all processes that this one has started and waited for, with theirs.
pub(crate) fn reaped() -> f64 {
    stat("self", 13) + stat("self", 14)
}

/// CPU seconds of the main thread, finer than a tick.
pub(crate) fn main_thread() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let fine = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
    fine.map_or_else(own, |ns| ns / 1e9)
}

/// Largest resident memory so far, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    kilobytes(pid, "VmHWM:") * 1024
}

/// Resident memory now, in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    kilobytes(pid, "VmRSS:") * 1024
}

fn kilobytes(pid: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

/// A field of `/proc/PID/stat`, counted from the one after the name, as seconds.
fn stat(pid: &str, field: usize) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let value = after_name.split_whitespace().nth(field).and_then(|v| v.parse::<f64>().ok());
    value.unwrap_or(0.0) / TICKS
}
