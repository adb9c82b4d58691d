//! The time, in the precision that the catalog keeps.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp, Unit};

/// Now, in whole microseconds.
pub(crate) fn now() -> Timestamp {
    whole_microseconds(Timestamp::now())
}

/// The time as a database keeps it, so that it compares equal after its way through one.
pub(crate) fn whole_microseconds(time: Timestamp) -> Timestamp {
    time.round(Unit::Microsecond).unwrap_or(time)
}

/// Times that never repeat: reports and problems of one batch are told apart by theirs.
#[derive(Debug)]
pub(crate) struct Stamps(Mutex<Timestamp>);

impl Stamps {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Timestamp::MIN))
    }

    /// Now, or a microsecond after the last one when the clock did not move on (or went back).
    pub(crate) fn next(&self) -> Timestamp {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let after = last.checked_add(SignedDuration::from_micros(1)).unwrap_or(*last);
        *last = now().max(after);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_never_repeat() {
        let stamps = Stamps::new();
        let all: Vec<_> = (0..1000).map(|_| stamps.next()).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
