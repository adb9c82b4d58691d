//! The chart that started it all: open models by the compute they took and the questions they answer.

use crate::Scene;
use crate::svg::{HUMAN, Svg, Type};

pub(super) const TRUTH: [&str; 22] = [
    "conor",
    "Scaling Open Language Models",
    "Llama 3 is here!",
    "Llama 3 70B",
    "Mixtral 8x22B",
    "Qwen1.5 72B",
    "DBRX",
    "Mixtral 8x7B",
    "Llama 2 70B",
    "Llama 3 8B",
    "Gemma 7B",
    "Mistral 7B",
    "Qwen1.5 7B",
    "Phi-2",
    "Falcon 40B",
    "Llama 2 13B",
    "OLMo 1.7 7B",
    "Llama 2 7B",
    "Gemma 2B",
    "StableLM 2 1.6B",
    "MMLU",
    "less compute < Active Param x Training Tokens, log scale > more compute",
];

/// Name, logarithm of the compute, MMLU, colour, whether its label stands to the right or to the left.
const POINTS: [(&str, f64, f64, &str, char); 17] = [
    ("Llama 3 70B", 24.02, 79.5, META, 'r'),
    ("Llama 3 8B", 23.08, 66.6, META, 'r'),
    ("Llama 2 70B", 23.15, 68.9, META, 'r'),
    ("Llama 2 13B", 22.41, 54.8, META, 'r'),
    ("Llama 2 7B", 22.15, 45.3, META, 'r'),
    ("Mixtral 8x22B", 23.49, 77.8, MISTRAL, 'r'),
    ("Mixtral 8x7B", 23.02, 71.4, MISTRAL, 'l'),
    ("Mistral 7B", 22.75, 62.5, MISTRAL, 'r'),
    ("Gemma 7B", 22.70, 65.2, GOOGLE, 'l'),
    ("Gemma 2B", 21.80, 42.3, GOOGLE, 'r'),
    ("Qwen1.5 72B", 23.33, 77.5, QWEN, 'l'),
    ("Qwen1.5 7B", 22.45, 61.0, QWEN, 'l'),
    ("DBRX", 23.64, 73.7, OTHER, 'r'),
    ("OLMo 1.7 7B", 22.15, 52.0, OTHER, 'r'),
    ("Falcon 40B", 22.62, 57.0, OTHER, 'r'),
    ("Phi-2", 21.58, 56.7, OTHER, 'r'),
    ("StableLM 2 1.6B", 21.51, 38.9, OTHER, 'r'),
];

const META: &str = "#2563c9";
const MISTRAL: &str = "#e8710a";
const GOOGLE: &str = "#188038";
const QWEN: &str = "#8430ce";
const OTHER: &str = "#5f6368";

const LEFT: f64 = 110.0;
const RIGHT: f64 = 1230.0;
const TOP: f64 = 120.0;
const BOTTOM: f64 = 760.0;

fn across(log: f64) -> f64 {
    LEFT + (log - 21.3) / (24.3 - 21.3) * (RIGHT - LEFT)
}

fn up(score: f64) -> f64 {
    BOTTOM - (score - 30.0) / 50.0 * (BOTTOM - TOP)
}

pub(super) fn draw() -> Scene {
    let mut svg = Svg::new(1280, 860);
    svg.ground("#ffffff");
    let look = Type { family: HUMAN, ..Type::PLAIN };
    svg.text(28.0, 40.0, Type { size: 20.0, fill: "#777", ..look }, "conor");
    let title = Type { size: 40.0, weight: 700, anchor: "middle", fill: "#1a1a1a", ..look };
    svg.text(670.0, 74.0, title, "Scaling Open Language Models");

    for step in 0..=5 {
        let score = 30.0 + 10.0 * f64::from(step);
        svg.line([LEFT, up(score), RIGHT, up(score)], r##"stroke="#e3e3e3" stroke-width="1""##);
        let tick = Type { size: 20.0, anchor: "end", fill: "#444", ..look };
        svg.text(LEFT - 14.0, up(score) + 7.0, tick, &format!("{score:.0}"));
    }
    for decade in 21..24 {
        for unit in 1..10 {
            let log = f64::from(decade) + f64::from(unit).log10();
            if (21.3..24.3).contains(&log) {
                let length = if unit == 1 { 14.0 } else { 7.0 };
                let x = across(log);
                svg.line([x, BOTTOM, x, BOTTOM + length], r##"stroke="#888" stroke-width="1.5""##);
                if unit == 1 {
                    svg.line([x, TOP, x, BOTTOM], r##"stroke="#eee" stroke-width="1""##);
                }
            }
        }
    }
    svg.path(
        &format!("M{LEFT} {TOP} V{BOTTOM} H{RIGHT}"),
        r##"fill="none" stroke="#333" stroke-width="2""##,
    );
    let axis = Type { size: 24.0, weight: 700, fill: "#333", anchor: "middle", ..look };
    let middle = f64::midpoint(TOP, BOTTOM);
    let upright = format!(r#"transform="rotate(-90 42 {middle})""#);
    svg.text(42.0, middle, Type { more: &upright, ..axis }, "MMLU");
    svg.text(
        f64::midpoint(LEFT, RIGHT),
        822.0,
        Type { weight: 400, ..axis },
        "less compute  <  Active Param x Training Tokens, log scale  >  more compute",
    );

    for (name, log, score, colour, side) in POINTS {
        let (x, y) = (across(log), up(score));
        svg.circle(x, y, 8.0, &format!(r##"fill="{colour}" stroke="#fff" stroke-width="2""##));
        let weight = if name.starts_with("Llama 3") { 700 } else { 400 };
        let label = Type { size: 21.0, weight, fill: colour, ..look };
        match side {
            'l' => svg.text(x - 15.0, y + 7.0, Type { anchor: "end", ..label }, name),
            _ => svg.text(x + 15.0, y + 7.0, label, name),
        }
    }

    let (x, y) = (across(24.02), up(79.5));
    let remark = Type { size: 34.0, weight: 700, fill: "#d93025", anchor: "middle", ..look };
    svg.text(across(23.98), up(67.0), remark, "Llama 3 is here!");
    svg.path(
        &format!(
            "M{:.0} {:.0} C{:.0} {:.0} {:.0} {:.0} {:.0} {:.0} m-12 10 L{:.0} {:.0} L{:.0} {:.0}",
            across(23.98) + 30.0,
            up(67.0) - 40.0,
            x + 60.0,
            y + 100.0,
            x + 36.0,
            y + 60.0,
            x + 8.0,
            y + 18.0,
            x + 8.0,
            y + 18.0,
            x + 22.0,
            y + 24.0,
        ),
        r##"fill="none" stroke="#d93025" stroke-width="4" stroke-linecap="round" stroke-linejoin="round""##,
    );
    Scene { svg: svg.finish(), grain: 0 }
}
