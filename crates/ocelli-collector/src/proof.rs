//! Which jobs are proven lost: a pure decision over fences and the last words of workers.
//!
//! A job enqueued before fence A was handed out when A came through. From then on it is in the hands of a worker for the
//! longest job at most, unless that worker goes away: then it returns to the queue. So when the workers of that time are
//! all still there, it was settled by `A.passed_at + longest_job`. Its outcome may still wait in the results queue.
//! Hence a second fence B, published only after that: when B has come through all queues, so has every outcome before it.
//! What was enqueued before A, waits for no later attempt and is still open then, is lost.

use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::FenceState;
use ocelli_core::wire::Announcement;

use crate::SweepOptions;

/// What the fences of one analyzer say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Open jobs enqueued before this time are lost, unless they wait for a later attempt.
    pub lost_before: Option<Timestamp>,
    /// Fences published before this time say nothing that a later one does not say.
    pub forget_before: Option<Timestamp>,
    /// Whether to send another fence.
    pub send: bool,
}

/// Judges the fences of one analyzer, the earliest first, with the last words of its workers.
///
/// Pure: the sweeper acts on it, and the simulation in `ocelli-chaos` puts it to the test.
#[must_use]
pub fn judge(
    fences: &[FenceState],
    words: &[&Announcement],
    options: &SweepOptions,
    now: Timestamp,
) -> Verdict {
    let settle = options.settle();
    let passed: Vec<(Timestamp, Timestamp)> = fences
        .iter()
        .filter_map(|fence| fence.passed_at.map(|passed_at| (fence.published_at, passed_at)))
        .collect();
    let has_second = |passed_at: Timestamp| {
        let settled = later(passed_at, settle);
        passed.iter().map(|(published_at, _)| *published_at).rev().find(|at| *at >= settled)
    };
    let mut verdict = Verdict::default();
    for (published_at, passed_at) in passed.iter().rev() {
        let Some(second) = has_second(*passed_at) else { continue };
        if !somebody_left(*published_at, *passed_at, words, options, now) {
            verdict.lost_before = Some(earlier(*published_at, options.clock_skew));
            verdict.forget_before = Some(second);
            break;
        }
    }
    // A proof that is void now may hold later: the last word of a worker whose clock is slow looks old until its next
    // ones have left the time in question behind.
    if verdict.forget_before.is_none() {
        let oldest = passed.len().saturating_sub(REMEMBERED);
        verdict.forget_before = (oldest > 0).then(|| passed[oldest].0);
    }
    // A fence that is sent before the last one is settled proves nothing with it.
    let helps = passed.last().is_none_or(|(_, passed_at)| later(*passed_at, settle) <= now);
    verdict.send = helps && !is_under_way(fences, options, now);
    verdict
}

/// Fences that came through and have proven nothing yet, of one analyzer. There is one in the time of the longest job or
/// more, so that these reach back over clocks that are wrong by hours.
const REMEMBERED: usize = 64;

/// Whether one may still come through: it was sent after the last one that did. Of those that were sent in vain, each is waited for as long as for all before.
fn is_under_way(fences: &[FenceState], options: &SweepOptions, now: Timestamp) -> bool {
    let came = fences.iter().rposition(|fence| fence.passed_at.is_some()).map_or(0, |at| at + 1);
    let sent = &fences[came..];
    let mut sent = sent.iter().map(|fence| fence.published_at);
    let Some(first) = sent.next() else { return false };
    let last = sent.next_back().unwrap_or(first);
    let waited = std::time::Duration::try_from(last.duration_since(first)).unwrap_or_default();
    later(last, waited.max(options.fence_patience)) > now
}

/// Whether a worker went away that may have held jobs of this fence: they returned to the queue, and the next one to take
/// them has its own time.
fn somebody_left(
    published_at: Timestamp,
    passed_at: Timestamp,
    words: &[&Announcement],
    options: &SweepOptions,
    now: Timestamp,
) -> bool {
    let from = earlier(earlier(published_at, options.silence), options.clock_skew);
    let to = later(later(passed_at, options.longest_job), options.clock_skew);
    let silent = earlier(now, options.silence);
    words.iter().any(|word| (from..=to).contains(&word.at) && (word.leaving || word.at < silent))
}

pub(crate) fn earlier(at: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

pub(crate) fn later(at: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn options() -> SweepOptions {
        SweepOptions {
            longest_job: Duration::from_secs(60),
            silence: Duration::from_secs(20),
            clock_skew: Duration::from_secs(5),
            ..SweepOptions::default()
        }
    }

    fn passed(published: i64, passed: i64) -> FenceState {
        FenceState { published_at: at(published), passed_at: Some(at(passed)) }
    }

    fn word(seconds: i64, leaving: bool) -> Announcement {
        Announcement {
            analyzer: "a".parse().unwrap(),
            revision: None,
            kind: String::new(),
            description: String::new(),
            worker: "host:1".to_owned(),
            slots: 1,
            in_progress: 0,
            waiting: None,
            paused: false,
            leaving,
            at: at(seconds),
        }
    }

    fn verdict(fences: &[FenceState], words: &[Announcement], now: i64) -> Verdict {
        judge(fences, &words.iter().collect::<Vec<_>>(), &options(), at(now))
    }

    #[test]
    fn one_fence_proves_nothing_however_old_it_is() {
        for fence in [passed(0, 10), FenceState { published_at: at(0), passed_at: None }] {
            assert_eq!(verdict(&[fence], &[], 1_000_000).lost_before, None);
        }
        assert!(verdict(&[], &[], 0).send, "the first one is sent");
        assert!(!verdict(&[passed(0, 10)], &[], 90).send, "too early for the second");
        assert!(verdict(&[passed(0, 10)], &[], 95).send);
    }

    #[test]
    fn a_fence_that_does_not_come_is_sent_again_ever_more_seldom() {
        let mut fences = Vec::new();
        let mut sent = Vec::new();
        for second in 0..2_000 {
            if verdict(&fences, &[], second).send {
                sent.push(second);
                fences.push(FenceState { published_at: at(second), passed_at: None });
            }
        }
        assert_eq!(sent, [0, 30, 60, 120, 240, 480, 960, 1920]);
    }

    #[test]
    fn a_second_fence_sent_after_the_first_was_settled_proves_it() {
        let second = verdict(&[passed(0, 10), passed(95, 400)], &[], 400);
        assert_eq!(second.lost_before, Some(at(-5)), "clocks differ");
        assert_eq!(second.forget_before, Some(at(95)));
        let early = verdict(&[passed(0, 10), passed(94, 400)], &[], 1_000);
        assert_eq!((early.lost_before, early.forget_before), (None, None));
        let waiting = [passed(0, 10), FenceState { published_at: at(95), passed_at: None }];
        assert_eq!(verdict(&waiting, &[], 1_000_000).lost_before, None);
    }

    #[test]
    fn a_worker_that_left_or_fell_silent_meanwhile_voids_the_proof() {
        let fences = [passed(0, 10), passed(95, 100)];
        let proof = |word| verdict(&fences, &[word], 120).lost_before.is_some();
        assert!(!proof(word(50, true)), "left");
        assert!(!proof(word(50, false)), "silent");
        assert!(!proof(word(-20, false)), "its jobs may have come back after the fence");
        assert!(proof(word(119, false)), "alive");
        assert!(proof(word(90, true)), "left after everything of that time was settled");
        assert!(proof(word(-30, true)), "left before");
    }

    #[test]
    fn a_worker_whose_clock_is_slow_delays_the_proof_and_does_not_prevent_it() {
        // It lives and says so every ten seconds, and its clock is so late that it always looks gone.
        let (mut fences, mut proven_at) = (Vec::new(), None);
        for second in 0..3_000 {
            let verdict = verdict(&fences, &[word(second / 10 * 10 - 100, false)], second);
            if verdict.lost_before.is_some() {
                proven_at = Some(second);
                break;
            }
            if let Some(before) = verdict.forget_before {
                fences.retain(|fence: &FenceState| fence.published_at >= before);
            }
            if verdict.send {
                fences.push(passed(second, second + 1));
            }
        }
        let proven_at = proven_at.unwrap_or(i64::MAX);
        assert!((100..300).contains(&proven_at), "{proven_at}");
    }

    #[test]
    fn of_fences_that_prove_nothing_the_latest_are_remembered() {
        let fences: Vec<_> = (0..100).map(|n| passed(n * 100, n * 100 + 1)).collect();
        // Somebody left in the middle of each.
        let words: Vec<_> = (0..100).map(|n| word(n * 100 + 50, true)).collect();
        let verdict = verdict(&fences, &words, 100_000);
        assert_eq!((verdict.lost_before, verdict.forget_before), (None, Some(at(3600))));
    }
}
