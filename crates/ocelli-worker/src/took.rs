//! What is noted of an attempt: which it was, what it took, and what it said when it died.

use std::time::Duration;

use jiff::Timestamp;
use ocelli_core::Provenance;

use crate::hold::Hold;

/// Writes down which attempt it was, so that what it cost is counted once.
pub(crate) fn sign(provenance: &mut Provenance, hold: &Hold) {
    if hold.is_claimed() || provenance.has_cost() {
        provenance.attempt = Some(hold.attempt);
        provenance.batch = hold.batch;
    }
}

/// Clocks may disagree: a negative wait counts as none.
pub(crate) fn since(then: Timestamp) -> Duration {
    Timestamp::now().duration_since(then).try_into().unwrap_or(Duration::ZERO)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
