//! The report as Markdown and as a picture, beside its JSON and in the documentation.

use std::fmt::Write as _;
use std::path::Path;

use crate::chart;
use crate::lab::Fallible;
use crate::report::{Report, Row, figure};

/// Between these two lines of `BENCHMARKS.md` stands what was measured; all else there is written by people.
const BEGIN: &str = "<!-- Written by `make bench PUBLISH=1`: do not edit from here -->";
const END: &str = "<!-- to here -->";

/// Writes `report.md` and `chart.svg` into `folder`.
pub(crate) fn write(report: &Report, folder: &Path) -> Fallible<()> {
    std::fs::write(folder.join("report.md"), page(report))?;
    std::fs::write(folder.join("chart.svg"), chart::draw(report))?;
    Ok(())
}

/// Puts the figures into `BENCHMARKS.md` of the documentation folder, and the picture beside it.
pub(crate) fn publish(report: &Report, docs: &Path) -> Fallible<()> {
    let path = docs.join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let replaced = replace(&text, &page(report)).ok_or_else(|| {
        format!("{} has not the two lines between which the figures stand", path.display())
    })?;
    std::fs::write(&path, replaced)?;
    Ok(std::fs::write(docs.join("images").join("benchmarks.svg"), chart::draw(report))?)
}

fn replace(text: &str, page: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{page}\n{END}{after}"))
}

fn page(report: &Report) -> String {
    let machine = &report.machine;
    let versions: Vec<String> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut page = format!(
        "{} cores ({}), {} GB, {}.\n{}.\n\n",
        machine.cores,
        machine.processor,
        machine.memory_gb,
        machine.kernel,
        versions.join(", ")
    );
    page.push_str("| goal | asked | reached | |\n|---|---|---|---|\n");
    for goal in report.rows.values().flat_map(|row| &row.goals) {
        let reached = goal
            .reached
            .map_or("–".to_owned(), |value| format!("{} {}", figure(value), goal.unit));
        let (asked, verdict) = (goal.asked(), goal.verdict());
        let _ = writeln!(page, "| {} | {asked} | {reached} | {verdict} |", goal.what);
    }
    for (name, row) in &report.rows {
        section(&mut page, name, row);
    }
    page
}

fn section(page: &mut String, name: &str, row: &Row) {
    let Row { what, at, profile, command, .. } = row;
    let _ =
        writeln!(page, "\n### {name}\n\n{}. {at}, `{command}`, {profile} build.\n", capital(what));
    page.push_str("| | median | from | to | unit |\n|---|---|---|---|---|\n");
    for series in &row.series {
        let (least, most) =
            series.spread().map_or(("–".to_owned(), "–".to_owned()), |(least, most)| {
                (figure(least), figure(most))
            });
        let middle = series.median().map_or("–".to_owned(), figure);
        let _ =
            writeln!(page, "| {} | {middle} | {least} | {most} | {} |", series.name, series.unit);
    }
    page.push('\n');
    for series in &row.series {
        if !series.note.is_empty() {
            let _ = writeln!(page, "- {}: {}", series.name, series.note);
        }
        if let Some(failed) = &series.failed {
            let reason = failed.lines().next().unwrap_or_default();
            let _ = writeln!(page, "- {}: could not be measured to the end: {reason}", series.name);
        }
    }
    for line in &row.how {
        let _ = writeln!(page, "- {line}");
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Goal;
    use crate::series::Series;

    #[test]
    fn figures_go_between_the_two_lines_and_leave_the_rest() {
        let goals = vec![Goal::at_least("twice as fast", 2.0, "×", Some(3.0))];
        let series =
            vec![Series { note: "with care".into(), ..Series::of("it", "images/s", vec![7.0]) }];
        let mut report = Report::default();
        report
            .rows
            .insert("row".into(), Row { goals, series, what: "a thing".into(), ..Row::default() });
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace(&text, &page(&report)).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with("\nafter\n") && !new.contains("old"));
        assert!(new.contains("| twice as fast | ≥ 2.00 × | 3.00 × | met |"));
        assert!(new.contains("| it | 7.00 | 7.00 | 7.00 | images/s |\n\n- it: with care"));
        assert_eq!(replace("nothing", "page"), None);
    }
}
