//! The steps at which a process may die, by name, so that a test can let it die exactly there.
//!
//! A program built for development ends at once, without unwinding, when it comes to the point that the environment
//! names: `OCELLI_FAILPOINT=collector-committed`, or `collector-committed:3` for the third time it comes there. Called
//! at every such step by the crates that take it; `tests/suite/failpoints` restarts what died and counts.
//!
//! Absent on purpose: anything of this in an optimised build. [`reached`] and [`due`] are then empty, and not even the
//! name of the variable is in the program. No cargo feature switches it: features unify over a workspace.

/// The environment variable that names a point, and the time of coming there that counts.
pub const VARIABLE: &str = "OCELLI_FAILPOINT";

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident => $name:literal),* $(,)?) => {
        /// A step after which a process may be gone.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Failpoint { $($(#[$doc])* $variant),* }

        impl Failpoint {
            /// Every point.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the point in the environment.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

points! {
    /// Producer: it is decided what an image needs, and nothing is published.
    ProducerPlanned => "producer-planned",
    /// Producer: one job queue of several has confirmed, the others and the results queue have nothing.
    ProducerFirstJob => "producer-first-job",
    /// Producer: all job queues have confirmed, the results queue does not have the sighting.
    ProducerJobs => "producer-jobs",
    /// Producer: everything about an image is confirmed, and not counted yet.
    ProducerConfirmed => "producer-confirmed",
    /// Producer: all images are confirmed, the last report of the batch is not sent.
    ProducerListed => "producer-listed",
    /// Producer: the last report is confirmed.
    ProducerReported => "producer-reported",
    /// Worker: its first announcement is confirmed.
    WorkerAnnounced => "worker-announced",
    /// Worker: a job was delivered.
    WorkerDelivered => "worker-delivered",
    /// Worker: the bytes are there and are those of the job.
    WorkerFetched => "worker-fetched",
    /// Worker: the analyzer has answered, or failed.
    WorkerAnalyzed => "worker-analyzed",
    /// Worker: what an answer cost is in the catalog, and nothing about it is published.
    WorkerPaid => "worker-paid",
    /// Worker: it is confirmed that another revision answers than was asked for, the answer is not published.
    WorkerSuperseded => "worker-superseded",
    /// Worker: everything about a delivery is confirmed, and it is not acked.
    WorkerPublished => "worker-published",
    /// Worker: a delivery is settled.
    WorkerSettled => "worker-settled",
    /// Worker: it is noted that a job waits for another attempt, and it is not in the delay queue.
    WorkerDeferred => "worker-deferred",
    /// A delivery was copied to the delay queue, and is not acked in its own.
    MovedToDelay => "moved-to-delay",
    /// A delivery was copied to the dead queue, and is not acked in its own.
    MovedToDead => "moved-to-dead",
    /// Collector: a batch of messages is in hand.
    CollectorGathered => "collector-gathered",
    /// Everything of a transaction is written, and not committed.
    CatalogWritten => "catalog-written",
    /// Collector: the batch is committed, and not acked.
    CollectorCommitted => "collector-committed",
    /// Collector: one message that the database refuses is kept as a dead letter, and not acked.
    CollectorBuried => "collector-buried",
    /// Collector: the batch is acked.
    CollectorAcked => "collector-acked",
    /// Collector: jobs whose needed answers are there are taken, none of them is published.
    DependentTaken => "dependent-taken",
    /// Collector: such jobs are published, and not noted as enqueued.
    DependentPublished => "dependent-published",
    /// Collector: dead letters are in hand.
    LettersGathered => "letters-gathered",
    /// Collector: dead letters are committed, and not acked.
    LettersCommitted => "letters-committed",
    /// Sweeper, `failures retry`, start of an embedded run: lost jobs are claimed, none of them is published.
    SweeperClaimed => "sweeper-claimed",
    /// The same: one claimed job is published, others are not.
    SweeperPublished => "sweeper-published",
    /// Sweeper: lost jobs are enqueued, the fences that proved it are forgotten.
    SweeperForgot => "sweeper-forgot",
    /// Sweeper: a fence is noted, and not published.
    FenceNoted => "fence-noted",
    /// Sweeper: a fence is published.
    FencePublished => "fence-published",
    /// `backfill`: jobs of a page are wanted, none of them is published.
    BackfillAdded => "backfill-added",
    /// `backfill`: jobs are published, and that is not noted.
    BackfillPublished => "backfill-published",
    /// Events: what is due is taken from the catalog, and nobody was told.
    EventsTaken => "events-taken",
    /// Events: listeners were told, and that is not noted.
    EventsTold => "events-told",
    /// `export`: a bucket has parts of a file that is not whole.
    ExportPart => "export-part",
    /// `export`: a file is whole and has its name, and no manifest lists it.
    ExportRenamed => "export-renamed",
    /// `failures retry`: failures are open again, and not enqueued.
    FailuresReopened => "failures-reopened",
}

/// Dies here if the environment says so. Nothing in an optimised build.
#[inline(always)]
pub fn reached(point: Failpoint) {
    if due(point) {
        die(point);
    }
}

/// Whether the process has to die at this passing of `point`, for callers that must bring about the state first. Never
/// in an optimised build.
#[inline(always)]
#[must_use]
pub fn due(point: Failpoint) -> bool {
    #[cfg(debug_assertions)]
    return armed::pass(point);
    #[cfg(not(debug_assertions))]
    {
        let _ = point;
        false
    }
}

/// Ends the process without unwinding, so that no destructor runs. Only behind [`due`]: what stands there after a pause is compiled
/// into an optimised build too, and must not bring the names along.
pub fn die(point: Failpoint) -> ! {
    #[cfg(debug_assertions)]
    eprintln!("failpoint {}: the process ends here", point.name());
    #[cfg(not(debug_assertions))]
    let _ = point;
    std::process::abort();
}

/// Whether the environment names a point that exists, for the start of a program.
///
/// # Errors
/// A message that names what is wrong.
#[inline(always)]
pub fn check() -> Result<(), String> {
    #[cfg(debug_assertions)]
    return armed::plan().as_ref().map(|_| ()).map_err(Clone::clone);
    #[cfg(not(debug_assertions))]
    Ok(())
}

#[cfg(debug_assertions)]
mod armed {
    //! Reads the environment once and counts passings.

    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Failpoint, VARIABLE};

    pub(super) struct Plan {
        pub(super) point: Failpoint,
        /// Passings that are still to come, this one included.
        left: AtomicU32,
    }

    /// What the environment says, read at the first question.
    pub(super) fn plan() -> &'static Result<Option<Plan>, String> {
        static PLAN: OnceLock<Result<Option<Plan>, String>> = OnceLock::new();
        PLAN.get_or_init(|| match std::env::var_os(VARIABLE) {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => parse(&text.to_string_lossy()).map(Some),
        })
    }

    pub(super) fn parse(text: &str) -> Result<Plan, String> {
        let (name, passing) = text.split_once(':').unwrap_or((text, "1"));
        let point = Failpoint::ALL.iter().find(|point| point.name() == name);
        let passing = passing.parse().ok().filter(|passing| *passing > 0);
        match (point, passing) {
            (Some(point), Some(passing)) => {
                Ok(Plan { point: *point, left: AtomicU32::new(passing) })
            }
            (None, _) => {
                let names: Vec<_> = Failpoint::ALL.iter().map(|point| point.name()).collect();
                Err(format!(
                    "{VARIABLE} names the failpoint '{name}', which does not exist; there are {}",
                    names.join(", ")
                ))
            }
            (_, None) => Err(format!("{VARIABLE}={text}: after the colon stands a number from 1")),
        }
    }

    /// Whether this passing is the one.
    pub(super) fn pass(point: Failpoint) -> bool {
        match plan() {
            Ok(None) => false,
            Ok(Some(plan)) => plan.point == point && plan.is_last(),
            // A program that did not check at its start must not go on as if nothing were asked of it.
            Err(message) => {
                eprintln!("{message}");
                std::process::abort();
            }
        }
    }

    impl Plan {
        pub(super) fn is_last(&self) -> bool {
            let before = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            before == Ok(1)
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::BTreeSet;

    use super::armed::parse;
    use super::*;

    #[test]
    fn a_point_is_found_by_its_name_and_counted() {
        for point in Failpoint::ALL {
            let plan = parse(point.name()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(plan.point, *point);
            assert!(plan.is_last() && !plan.is_last(), "the first passing, and only that");
        }
        let third = parse("worker-published:3").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([(); 5].map(|()| third.is_last()), [false, false, true, false, false]);
    }

    #[test]
    fn names_differ_and_what_is_wrong_is_named() {
        let names: BTreeSet<_> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Failpoint::ALL.len());
        for (text, words) in [
            ("no-such-point", "'no-such-point'"),
            ("", "''"),
            ("worker-published:0", "number from 1"),
            ("worker-published:often", "number from 1"),
        ] {
            let Err(message) = parse(text) else { panic!("'{text}' is taken") };
            assert!(message.contains(words), "{message}");
        }
    }
}
