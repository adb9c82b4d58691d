//! Locks an OCR child in: it decodes strangers' images with a C library, so it keeps nothing but its pipes and memory.
//!
//! Called once in the child, after the language data was loaded and before the first image. Each layer stands alone;
//! a kernel that lacks one gets the others, and the report says so (`ocelli doctor` prints it).

use std::collections::BTreeMap;
use std::time::Duration;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
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

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    let limits = Layer::from_result(limit(memory, cpu));
    let landlock = landlock();
    // Last: the filter forbids the system calls of the layers above.
    let seccomp = Layer::from_result(seccomp());
    SandboxReport { limits, dies_with_parent, landlock, seccomp }
}

fn limit(memory: u64, cpu: Duration) -> Result<(), String> {
    let limits = [
        (Resource::As, "address space", memory),
        (Resource::Fsize, "file size", 0),
        (Resource::Core, "core file", 0),
        // Standard input, output and error are open; nothing else will be.
        (Resource::Nofile, "open files", 4),
        (Resource::Nproc, "processes", 0),
        (Resource::Cpu, "CPU time", cpu.as_secs().max(1)),
    ];
    for (resource, name, value) in limits {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        rustix::process::setrlimit(resource, limit).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn landlock() -> Layer {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        // No rule is added: nothing is allowed.
        .and_then(landlock::RulesetCreated::restrict_self);
    match status.map(|status| status.ruleset) {
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
fn seccomp() -> Result<(), String> {
    let allowed = [
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
    ];
    let rules: BTreeMap<i64, Vec<_>> = allowed.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(text)?;
    let program: BpfProgram = filter.try_into().map_err(text)?;
    seccompiler::apply_filter(&program).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
