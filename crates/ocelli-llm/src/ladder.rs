//! What to change about a question when its answer was bad. Pure, and bounded by the number of temperatures.

use crate::checks::{Fault, Verdict};
use crate::options::{LlmOptions, Protocol};

/// How one call is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rung {
    /// Calls made with an answer before this one.
    pub(crate) number: usize,
    /// Index into the temperatures.
    step: usize,
    pub(crate) temperature: f32,
    pub(crate) max_tokens: u32,
    pub(crate) think_off: bool,
}

/// The ladder of one analyzer.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    temperatures: Vec<f32>,
    max_tokens: u32,
    most_tokens: u32,
}

impl Ladder {
    pub(crate) fn new(options: &LlmOptions) -> Self {
        let doubled = options.max_tokens.saturating_mul(2);
        let most_tokens = match options.protocol {
            // The context is allocated once for all requests; prompt and image take a part of it.
            Protocol::Ollama => doubled.min(options.context_tokens / 4 * 3).max(options.max_tokens),
            Protocol::OpenAi => doubled,
        };
        let temperatures = options.temperatures.clone();
        Self { temperatures, max_tokens: options.max_tokens, most_tokens }
    }

    pub(crate) fn first(&self) -> Rung {
        let temperature = self.temperatures.first().copied().unwrap_or_default();
        let max_tokens = self.max_tokens;
        Rung { number: 0, step: 0, temperature, max_tokens, think_off: false }
    }

    /// The next call after an answer with faults, and why; `None`: what there is has to do.
    pub(crate) fn next(&self, rung: Rung, verdict: &Verdict) -> Option<(Rung, String)> {
        let number = rung.number + 1;
        if !verdict.asks_again() || number >= self.temperatures.len() {
            return None;
        }
        let fault = verdict.faults.iter().find(|fault| fault.asks_again())?;
        let rung = Rung { number, ..rung };
        match fault {
            Fault::Empty { thoughts: true } if !rung.think_off => {
                Some((Rung { think_off: true, ..rung }, format!("{fault}: thinking off")))
            }
            Fault::Truncated if rung.max_tokens < self.most_tokens => {
                let max_tokens = self.most_tokens;
                Some((Rung { max_tokens, ..rung }, format!("{fault}: {max_tokens} tokens")))
            }
            // With the largest budget it is simply long.
            Fault::Truncated => None,
            _ => {
                let step = rung.step + 1;
                let temperature = *self.temperatures.get(step)?;
                Some((
                    Rung { step, temperature, ..rung },
                    format!("{fault}: temperature {temperature}"),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ocelli_core::Reading;

    use super::*;

    fn ladder() -> Ladder {
        Ladder::new(&LlmOptions {
            temperatures: vec![0.1, 0.5, 0.9],
            max_tokens: 1000,
            context_tokens: 8192,
            ..LlmOptions::default()
        })
    }

    fn verdict(faults: &[Fault]) -> Verdict {
        Verdict { reading: Reading::default(), faults: faults.to_vec() }
    }

    #[test]
    fn a_loop_is_left_by_temperature_and_the_calls_are_bounded() {
        let (ladder, bad) = (ladder(), verdict(&[Fault::Repetition { percent: 90 }]));
        let (second, why) = ladder.next(ladder.first(), &bad).unwrap();
        assert_eq!((second.temperature, second.max_tokens), (0.5, 1000));
        assert_eq!(why, "90 % of the answer was a loop: temperature 0.5");
        let (third, _) = ladder.next(second, &bad).unwrap();
        assert_eq!(third.temperature, 0.9);
        assert_eq!(ladder.next(third, &bad), None);
    }

    #[test]
    fn a_cut_answer_gets_one_larger_budget_at_the_same_temperature() {
        let (ladder, cut) = (ladder(), verdict(&[Fault::Truncated]));
        let (second, _) = ladder.next(ladder.first(), &cut).unwrap();
        assert_eq!((second.temperature, second.max_tokens), (0.1, 2000));
        assert_eq!(ladder.next(second, &cut), None);
    }

    #[test]
    fn thoughts_without_an_answer_switch_thinking_off_once() {
        let (ladder, empty) = (ladder(), verdict(&[Fault::Empty { thoughts: true }]));
        let (second, _) = ladder.next(ladder.first(), &empty).unwrap();
        assert!(second.think_off && second.temperature < 0.2);
        let (third, _) = ladder.next(second, &empty).unwrap();
        assert!(third.think_off && third.temperature > 0.4);
    }

    #[test]
    fn a_good_answer_a_refusal_and_a_preamble_are_not_asked_again() {
        let ladder = ladder();
        for faults in [&[][..], &[Fault::Refused, Fault::Truncated], &[Fault::Preamble]] {
            assert_eq!(ladder.next(ladder.first(), &verdict(faults)), None);
        }
    }

    #[test]
    fn one_temperature_means_one_call() {
        let options = LlmOptions { temperatures: vec![0.0], ..LlmOptions::default() };
        let ladder = Ladder::new(&options);
        assert_eq!(ladder.next(ladder.first(), &verdict(&[Fault::Truncated])), None);
    }
}
