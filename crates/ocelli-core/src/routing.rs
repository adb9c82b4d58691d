//! Queue names. One namespace per fleet, so that several can share a broker.

use std::fmt;
use std::time::Duration;

use crate::AnalyzerName;

/// A queue of the fleet. Its name is `<namespace>.<Display>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Sightings, partial results and everything else the collector writes down.
    Results,
    /// Jobs of one analyzer.
    Jobs(AnalyzerName),
    /// Jobs of one analyzer from backfills: fresh work goes first.
    Bulk(AnalyzerName),
    /// Messages that wait this long and then return to the queue they are for.
    Delay(Duration),
    /// Messages that cannot be handled, kept for people.
    Dead,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results => f.write_str("results"),
            Self::Jobs(analyzer) => write!(f, "jobs.{analyzer}"),
            Self::Bulk(analyzer) => write!(f, "bulk.{analyzer}"),
            Self::Delay(delay) => write!(f, "delay.{}ms", delay.as_millis()),
            Self::Dead => f.write_str("dead"),
        }
    }
}

impl Queue {
    /// The full name in the broker.
    #[must_use]
    pub fn name(&self, namespace: &str) -> String {
        format!("{namespace}.{self}")
    }
}

/// All queues a fleet with these analyzers and delay steps needs.
#[must_use]
pub fn queues(analyzers: &[AnalyzerName], delays: &[Duration]) -> Vec<Queue> {
    let mut all = vec![Queue::Results, Queue::Dead];
    all.extend(delays.iter().copied().map(Queue::Delay));
    all.extend(analyzers.iter().cloned().map(Queue::Jobs));
    all.extend(analyzers.iter().cloned().map(Queue::Bulk));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_namespace_and_the_analyzer() {
        let analyzer: AnalyzerName = "tesseract-ocr".parse().unwrap();
        assert_eq!(Queue::Jobs(analyzer.clone()).name("ocelli"), "ocelli.jobs.tesseract-ocr");
        assert_eq!(Queue::Results.name("x"), "x.results");
        assert_eq!(Queue::Delay(Duration::from_secs(10)).name("x"), "x.delay.10000ms");
        assert_eq!(queues(&[analyzer], &[Duration::from_secs(1)]).len(), 5);
    }
}
