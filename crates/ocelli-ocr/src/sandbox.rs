//! Locks an OCR child in: it decodes strangers' images with a C library, so it keeps nothing but its pipes and memory.
//!
//! Called once in the child, after the language data was loaded and before the first image. Each layer stands alone;
//! a kernel that lacks one gets the others, and the report says so (`ocelli doctor` prints it).

use std::fmt;
use std::time::Duration;

use ocelli_media::sandbox::{self, Bound, BpfProgram, Entered, RulesetError, RulesetStatus, Walls};
use rustix::process::{Resource, Signal};
use serde::{Deserialize, Serialize};

/// What locks a child in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// Address space, file size, core, open files, processes and CPU time are bounded.
    pub limits: Layer,
    /// The kernel kills the child when its parent dies.
    pub dies_with_parent: Layer,
    /// Landlock: no file can be opened, no port bound or connected.
    pub landlock: Layer,
    /// seccomp: only the system calls that reading pixels needs.
    pub seccomp: Layer,
}

/// One layer of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// In force.
    Active,
    /// In force as far as this kernel can.
    Partial(String),
    /// Not in force, and why.
    Missing(String),
}

impl Layer {
    fn from_result(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Missing, |()| Self::Active)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::Partial(why) => write!(f, "partial: {why}"),
            Self::Missing(why) => write!(f, "missing: {why}"),
        }
    }
}

/// Kills this child when the parent dies. Before anything else, so that a parent dying early leaves no orphan.
pub(crate) fn die_with_parent() -> Layer {
    Layer::from_result(
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| error.to_string()),
    )
}

/// Gives up everything else, for good.
pub(crate) fn enter(memory: u64, cpu: Duration, dies_with_parent: Layer) -> SandboxReport {
    // No rule is added to the ruleset: nothing is allowed.
    let (rules, no_landlock) = made(sandbox::ruleset());
    let (filter, no_seccomp) = made(filter());
    let filters = filter.into_iter().collect();
    let mut walls = Walls { bounds: bounds(memory, cpu), landlock: rules, filters };
    let Entered { limits, landlock, seccomp } = walls.enter();
    SandboxReport {
        limits: Layer::from_result(limits.map_err(|(name, error)| format!("{name}: {error}"))),
        dies_with_parent,
        landlock: no_landlock.map_or_else(|| of_landlock(landlock), Layer::Missing),
        seccomp: no_seccomp.map_or_else(
            || Layer::from_result(seccomp.map_err(|error| error.to_string())),
            Layer::Missing,
        ),
    }
}

/// A layer as far as it could be made, and else why not.
fn made<T>(result: Result<T, impl fmt::Display>) -> (Option<T>, Option<String>) {
    match result {
        Ok(made) => (Some(made), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn bounds(memory: u64, cpu: Duration) -> Vec<Bound> {
    vec![
        (Resource::As, "address space", memory),
        (Resource::Fsize, "file size", 0),
        (Resource::Core, "core file", 0),
        // Standard input, output and error are open; nothing else will be.
        (Resource::Nofile, "open files", 4),
        (Resource::Nproc, "processes", 0),
        (Resource::Cpu, "CPU time", cpu.as_secs().max(1)),
    ]
}

fn of_landlock(status: Result<RulesetStatus, RulesetError>) -> Layer {
    match status {
        Ok(RulesetStatus::FullyEnforced) => Layer::Active,
        Ok(RulesetStatus::PartiallyEnforced) => {
            Layer::Partial("this kernel knows only a part of what was asked".to_owned())
        }
        Ok(RulesetStatus::NotEnforced) => Layer::Missing("not offered by this kernel".to_owned()),
        Err(error) => Layer::Missing(error.to_string()),
    }
}

/// An allow list: what glibc, Rust's standard library, Leptonica and Tesseract call while they compute. Everything else
/// (files, sockets, processes, and whatever a future kernel invents) answers "not permitted".
fn filter() -> Result<BpfProgram, String> {
    sandbox::only([
        // pipes
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_ppoll,
        // memory
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        // waiting, time, chance
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_restart_syscall,
        // signals to itself (abort), end
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_getrusage,
    ])
}
