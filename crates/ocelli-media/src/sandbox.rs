//! What a process gives up before code in C sees a stranger's bytes: the reader children of OCR, and what converts AVIF and HEIC.
//!
//! [`Walls`] are made first, where memory is taken and paths are opened. [`Walls::enter`] then calls nothing but the kernel, so
//! that it may run between `fork` and `exec`. Each layer stands alone: a kernel that lacks one gets the others.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope, path_beneath_rules,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use seccompiler::{SeccompAction, SeccompFilter};

pub use landlock::{RulesetCreated, RulesetError, RulesetStatus};
pub use seccompiler::{BpfProgram, SeccompRule};

/// The newest Landlock whose rights are asked for; an older kernel holds those that it knows.
const LANDLOCK: ABI = ABI::V6;

/// One limit of the kernel, and its name for people.
pub type Bound = (Resource, &'static str, u64);

/// Everything that is given up at once.
#[derive(Debug)]
pub struct Walls {
    /// Both the soft and the hard limit.
    pub bounds: Vec<Bound>,
    /// What may still be opened; none: this layer is left out.
    pub landlock: Option<RulesetCreated>,
    /// Which system calls are still answered; each filter adds to what those before it refuse.
    pub filters: Vec<BpfProgram>,
}

/// What became of each layer.
#[derive(Debug)]
pub struct Entered {
    /// The first limit that the kernel refused; those after it were not tried.
    pub limits: Result<(), (&'static str, Errno)>,
    /// How far Landlock holds.
    pub landlock: Result<RulesetStatus, RulesetError>,
    /// The first filter that the kernel refused.
    pub seccomp: Result<(), seccompiler::Error>,
}

impl Walls {
    /// Puts them up around this thread and whatever it starts, for good. Takes no memory and opens nothing.
    pub fn enter(&mut self) -> Entered {
        let limits = self.bounds.iter().try_for_each(|&(resource, name, most)| {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            rustix::process::setrlimit(resource, limit).map_err(|error| (name, error))
        });
        let landlock = match self.landlock.take() {
            Some(rules) => rules.restrict_self().map(|status| status.ruleset),
            None => Ok(RulesetStatus::NotEnforced),
        };
        // Last: the filters forbid the system calls of the layers above.
        let seccomp = self.filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter));
        Entered { limits, landlock, seccomp }
    }
}

/// A ruleset that allows nothing yet: no file, no port, no signal to others.
///
/// # Errors
/// When the kernel has Landlock and makes none.
pub fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create)
}

/// What may be done with paths and all that is beneath them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read, listed and run.
    Run,
    /// Read and listed.
    Read,
    /// Files that are there already: written, from their beginning or elsewhere.
    Write,
}

/// Allows that for `paths`; those that are not there are left out.
///
/// # Errors
/// When the kernel refuses a rule.
pub fn allow<P: AsRef<Path>>(
    rules: RulesetCreated,
    right: Right,
    paths: impl IntoIterator<Item = P>,
) -> Result<RulesetCreated, RulesetError> {
    let access: BitFlags<AccessFs> = match right {
        Right::Run => AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir,
        Right::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Right::Write => AccessFs::WriteFile | AccessFs::Truncate,
    };
    rules.add_rules(path_beneath_rules(paths, access))
}

/// A filter that answers `calls`, and "not permitted" to everything else, whatever a future kernel invents.
///
/// # Errors
/// On a processor that filters cannot be made for.
pub fn only(calls: impl IntoIterator<Item = i64>) -> Result<BpfProgram, String> {
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    program(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

/// A filter that answers `errno` to `calls`, to those with rules only where one of them holds.
///
/// # Errors
/// On a processor that filters cannot be made for.
pub fn refuse(
    calls: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    errno: i32,
) -> Result<BpfProgram, String> {
    let rules = calls.into_iter().collect();
    program(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()))
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let filter = SeccompFilter::new(rules, otherwise, then, arch).map_err(text)?;
    filter.try_into().map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
