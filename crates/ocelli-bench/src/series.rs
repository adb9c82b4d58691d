//! Measuring in turns, and what the figures come to.

use serde::{Deserialize, Serialize};

use crate::lab::{Fallible, Lab};

/// What one contender reached, round by round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// `images/s`, `ms`, `MB`.
    pub(crate) unit: String,
    /// One for each round that counts.
    pub(crate) values: Vec<f64>,
    /// What it does otherwise than the others, and what it gives up.
    #[serde(default)]
    pub(crate) note: String,
    /// Why it could not be measured to the end.
    #[serde(default)]
    pub(crate) failed: Option<String>,
}

impl Series {
    pub(crate) fn new(name: &str, unit: &str, note: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            note: note.to_owned(),
            ..Self::default()
        }
    }

    /// One that is measured once and has no rounds.
    pub(crate) fn of(name: &str, unit: &str, values: Vec<f64>) -> Self {
        Self { values, ..Self::new(name, unit, "") }
    }

    pub(crate) fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    /// The smallest and the largest.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let least = self.values.iter().copied().reduce(f64::min)?;
        Some((least, self.values.iter().copied().reduce(f64::max)?))
    }

    /// How many times as much as `other`: the median of the rounds, each beside its neighbour in time.
    pub(crate) fn ratio(&self, other: &Self) -> Option<f64> {
        let pairs = self.values.iter().zip(&other.values);
        let ratios: Vec<f64> = pairs.map(|(mine, theirs)| mine / theirs).collect();
        median(&ratios)
    }
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

/// The value below which so many percent are; between two it is the middle for the median, the upper one otherwise.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    if percent == 50 {
        return Some(f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]));
    }
    sorted.get((last * percent).div_ceil(100)).copied()
}

/// Lets the contenders take turns, in the opposite order every other round. The first round warms up. One that fails is not
/// tried again, and its series says why.
pub(crate) async fn alternate(
    lab: &Lab,
    mut contenders: Vec<Series>,
    mut one: impl AsyncFnMut(usize) -> Fallible<f64>,
) -> Vec<Series> {
    for round in 0..=lab.rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for index in order {
            let series = &mut contenders[index];
            if series.failed.is_some() {
                continue;
            }
            match one(index).await {
                Ok(value) => {
                    let counts = if round == 0 { "warm-up".to_owned() } else { round.to_string() };
                    eprintln!("  {counts:>7}  {:<40} {value:.4} {}", series.name, series.unit);
                    if round > 0 {
                        series.values.push(value);
                    }
                }
                Err(error) => {
                    eprintln!("  {:<40} failed: {error}", series.name);
                    series.failed = Some(error.to_string());
                }
            }
        }
    }
    contenders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_of_some_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), Some(2.5));
        assert_eq!(percentile(&values, 99), Some(4.0));
        assert_eq!(median(&[]), None);
        let series = Series::of("a", "s", values.to_vec());
        assert_eq!(series.spread(), Some((1.0, 4.0)));
    }

    #[test]
    fn a_ratio_is_the_middle_of_the_ratios_of_neighbours() {
        let (mine, theirs) = (vec![2.0, 30.0, 8.0], vec![1.0, 10.0, 2.0]);
        let ratio = Series::of("a", "s", mine).ratio(&Series::of("b", "s", theirs));
        assert_eq!(ratio, Some(3.0));
    }

    #[tokio::test]
    async fn contenders_take_turns_and_one_that_fails_is_left_out() {
        let lab = Lab::new(None, None, 3, 1.0, false).unwrap();
        let contenders = vec![Series::new("a", "s", ""), Series::new("b", "s", "")];
        let mut turns = Vec::new();
        let measured = alternate(&lab, contenders, async |index| {
            turns.push(index);
            match (index, turns.len()) {
                (1, 5..) => Err("no more".into()),
                _ => Ok(turns.len() as f64),
            }
        })
        .await;
        assert_eq!(turns, [0, 1, 1, 0, 0, 1, 0]);
        assert_eq!(measured[0].values, [4.0, 5.0, 7.0], "the warm-up does not count");
        assert_eq!(measured[1].failed.as_deref(), Some("no more"));
    }
}
