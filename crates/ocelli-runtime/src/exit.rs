//! What a finished process says to its caller. Scripts and supervisors branch on these numbers: they never change
//! meaning.

use std::process::Termination;

/// Exit codes of every ocelli program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// 0: everything that was asked for is done.
    Ok,
    /// 1: an internal error, a stalled process, or an audit that found a difference.
    Internal,
    /// 2: the command line or the settings are wrong; nothing was started. (clap uses the same number.)
    Usage,
    /// 3: finished, but some references or analyses failed; they are listed and can be retried.
    SomeFailed,
    /// 4: a needed service (broker, catalog) is away or refuses; nothing is wrong with the input.
    ServiceAway,
    /// 5: ended because a budget is used up or an analyzer is paused; what is left is kept and can go on later.
    Paused,
    /// 130: interrupted by a signal (128 + SIGINT, as shells report it). What was accepted is kept.
    Interrupted,
}

impl ExitCode {
    /// All codes, in order.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::SomeFailed,
        Self::ServiceAway,
        Self::Paused,
        Self::Interrupted,
    ];

    /// The number the operating system sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::ServiceAway => 4,
            Self::Paused => 5,
            Self::Interrupted => 130,
        }
    }

    /// One line for `--help` and the documentation.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything asked for is done",
            Self::Internal => "internal error, or an audit found a difference",
            Self::Usage => "the command line or the settings are wrong; nothing was started",
            Self::SomeFailed => "finished, but some references or analyses failed",
            Self::ServiceAway => "a needed service (broker, catalog) is away or refuses",
            Self::Paused => {
                "ended because a budget is used up or an analyzer is paused; what is left is kept"
            }
            Self::Interrupted => "interrupted by a signal; what was accepted is kept",
        }
    }

    /// Ends the process at once, without running destructors: for a second signal and for a stalled process.
    pub fn exit_now(self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

impl Termination for ExitCode {
    fn report(self) -> std::process::ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_numbers() {
        assert_eq!(ExitCode::ALL.map(ExitCode::code), [0, 1, 2, 3, 4, 5, 130]);
    }
}
