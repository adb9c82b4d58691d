//! `[[rule]]`: from settings to rules that can be followed.

use ocelli_catalog::rules::{Rule, RuleSource, Rules};
use ocelli_core::needs::in_order;
use ocelli_core::{AnalyzerName, RuleText};
use ocelli_runtime::settings::{AnalyzerSettings, Enabled, RuleSettings};
use ocelli_runtime::{ExitCode, Settings};

use crate::{Fault, parts};

/// The rules of the settings.
///
/// # Errors
/// When one is no rule, or waits for an analyzer that may never answer: which, where it stands, and why. All at once.
pub fn rules(settings: &Settings) -> Result<Rules, Fault> {
    let limits = parts::query_limits(settings);
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for source in &settings.rules {
        let problem = |reason: String| {
            format!("{}: the rule '{}': when: {reason}", source.origin, source.name)
        };
        match Rule::new(read(source), &limits) {
            Ok(rule) => {
                problems.extend(waits(settings, &rule).into_iter().map(problem));
                rules.push(rule);
            }
            Err(error) => problems.push(problem(error.to_string())),
        }
    }
    let rules = Rules::new(rules);
    if problems.is_empty() {
        problems.extend(circle(settings, &rules));
    }
    if problems.is_empty() {
        return Ok(rules);
    }
    Err(Fault::new(
        ExitCode::Usage,
        match problems.as_slice() {
            [only] => format!("settings: {only}"),
            many => format!("settings: {} problems\n  {}", many.len(), many.join("\n  ")),
        },
    ))
}

fn read(source: &RuleSettings) -> RuleSource {
    RuleSource {
        text: RuleText { name: source.name.clone(), when: source.when.clone() },
        analyzers: source.analyzers.clone(),
        after: source.after.clone(),
    }
}

/// Why its analyzers would wait for ever, as for what they need.
fn waits(settings: &Settings, rule: &Rule) -> Vec<String> {
    let mut reasons = Vec::new();
    for name in rule.after() {
        match settings.analyzer(name).map(|one| one.enabled) {
            None => reasons.push(format!("there is no analyzer '{name}'")),
            Some(Enabled::No) => reasons.push(format!("the analyzer '{name}' is switched off")),
            Some(Enabled::Yes) => {}
            Some(Enabled::Auto) => {
                let always = settings
                    .analyzers
                    .iter()
                    .find(|one| one.enabled == Enabled::Yes && rule.covers(&one.name));
                reasons.extend(always.map(|one| {
                    format!(
                        "'{name}' is only on while it can work (enabled = \"auto\"), and '{}' always: set one of them as the other",
                        one.name
                    )
                }));
            }
        }
    }
    reasons
}

fn circle(settings: &Settings, rules: &Rules) -> Option<String> {
    let circle = ordered(settings, rules).err()?;
    let names: Vec<_> = circle.iter().map(AnalyzerName::as_str).collect();
    Some(format!("rules let analyzers wait for each other: {}", names.join(" waits for ")))
}

/// The wanted analyzers, each behind those that it waits for: because it is given their answers, or because a rule asks about them.
pub(crate) fn ordered<'a>(
    settings: &'a Settings,
    rules: &Rules,
) -> Result<Vec<&'a AnalyzerSettings>, Vec<AnalyzerName>> {
    let wanted = settings.analyzers.iter().filter(|one| one.enabled != Enabled::No);
    let waiting: Vec<(&AnalyzerSettings, Vec<AnalyzerName>)> = wanted
        .map(|one| {
            let mut before = one.needs().to_vec();
            before.extend(rules.after(&one.name));
            (one, before)
        })
        .collect();
    let ordered = in_order(&waiting, |one| &one.0.name, |one| &one.1)?;
    Ok(ordered.into_iter().map(|one| one.0).collect())
}
