//! The picture of a report: a bar for each goal, how much of it is reached, on a logarithmic scale whose middle line is the goal.

use std::fmt::Write as _;

use crate::report::{Goal, Report, figure};

const WIDTH: f64 = 900.0;
const LINE: f64 = 26.0;
const LABELS: f64 = 430.0;
/// The scale goes from a tenth of a goal to ten times as much.
const DECADE: f64 = (WIDTH - LABELS - 90.0) / 2.0;

/// An SVG that is readable on light and on dark ground.
pub(crate) fn draw(report: &Report) -> String {
    let goals: Vec<&Goal> = report
        .rows
        .values()
        .flat_map(|row| &row.goals)
        .filter(|goal| goal.reached.is_some())
        .collect();
    let height = LINE * goals.len() as f64 + 50.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"How much of each goal is reached\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (share, label) in [(0.1, "0.1 of the goal"), (1.0, "goal"), (10.0, "10 ×")] {
        let at = x(share);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"28\" y2=\"{:.1}\" stroke=\"#767676\" stroke-dasharray=\"{}\"/>\
             <text x=\"{at:.1}\" y=\"18\" text-anchor=\"middle\" fill=\"#444444\">{label}</text>",
            height - 14.0,
            if label == "goal" { "none" } else { "2 4" }
        );
    }
    for (number, goal) in goals.iter().enumerate() {
        bar(&mut svg, goal, 34.0 + LINE * number as f64);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, goal: &Goal, y: f64) {
    let (Some(share), Some(reached)) = (goal.share(), goal.reached) else { return };
    let (zero, end) = (x(1.0), x(share));
    let (left, width) = (zero.min(end), (zero - end).abs().max(2.0));
    let colour = if share >= 1.0 { "#2f7d4f" } else { "#b5502f" };
    let what = escaped(&goal.what);
    let text = format!("{} {}", figure(reached), escaped(&goal.unit));
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222222\">{what}</text>\
         <rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{text}</text>",
        LABELS - 12.0,
        y + 13.0,
        zero.max(end) + 6.0,
        y + 13.0
    );
}

fn x(share: f64) -> f64 {
    LABELS + DECADE * (1.0 + share.clamp(0.1, 10.0).log10())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    #[test]
    fn bars_begin_at_the_goal_and_end_where_it_came_to() {
        let goals = vec![
            Goal::at_least("more <much>", 2.0, "×", Some(20.0)),
            Goal::at_most("less", 10.0, "ms", Some(20.0)),
            Goal::at_most("unknown", 10.0, "ms", None),
        ];
        let mut report = Report::default();
        report.rows.insert("row".into(), Row { goals, ..Row::default() });
        let svg = draw(&report);
        assert!(svg.contains("more &lt;much&gt;") && svg.contains("20.0 ms"));
        assert!(!svg.contains("unknown"));
        let met = format!("x=\"{:.1}\" y=\"34.0\" width=\"{DECADE:.1}\"", x(1.0));
        assert!(svg.contains(&met), "{svg}");
    }
}
