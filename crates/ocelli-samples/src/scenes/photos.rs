//! Pictures as a camera takes them: grain, soft light, and sometimes no word at all.

use super::grounds;
use crate::Scene;
use crate::random::Random;
use crate::svg::{HUMAN, SANS, SERIF, Svg, Type};

pub(super) fn shop() -> Scene {
    let mut svg = Svg::new(720, 960);
    let mut random = Random::new(31);
    svg.ground("#9c4a3c");
    // Bricks.
    for row in 0..40_u32 {
        for column in 0..13_u32 {
            let x = f64::from(column) * 60.0 - if row % 2 == 0 { 0.0 } else { 30.0 };
            let red = random.pick(&["#a9503f", "#98432f", "#b35a47", "#8d3f30"]);
            svg.rect([x, f64::from(row) * 24.0, 57.0, 21.0], 1.0, &format!(r#"fill="{red}""#));
        }
    }
    svg.rect(
        [40.0, 90.0, 640.0, 130.0],
        6.0,
        r##"fill="#12372a" stroke="#d9b45b" stroke-width="6""##,
    );
    let look = Type {
        family: SERIF,
        size: 66.0,
        weight: 700,
        fill: "#f4dfa6",
        anchor: "middle",
        ..Type::PLAIN
    };
    svg.text(360.0, 177.0, look, "CORNER BAKERY");
    // Awning.
    for stripe in 0..16_u32 {
        let x = 40.0 + 40.0 * f64::from(stripe);
        let cloth = if stripe % 2 == 0 { "#f5efe0" } else { "#c0392b" };
        let d = format!("M{x} 220 h40 v84 q-20 26 -40 0 z");
        svg.path(&d, &format!(r#"fill="{cloth}""#));
    }
    // Window with loaves, and the door.
    svg.gradient("glass", &[(0.0, "#35505c"), (1.0, "#6f8f96")]);
    svg.rect(
        [60.0, 340.0, 350.0, 430.0],
        4.0,
        r##"fill="url(#glass)" stroke="#2b1d14" stroke-width="12""##,
    );
    for loaf in 0..9_u32 {
        let (x, y) = (110.0 + 62.0 * f64::from(loaf % 5), 640.0 + 76.0 * f64::from(loaf / 5));
        svg.raw(&format!(
            r##"<ellipse cx="{x}" cy="{y}" rx="36" ry="22" fill="#c98a45" stroke="#8a5a26" stroke-width="3"/>"##
        ));
        svg.path(
            &format!("M{} {} l10 -16 m6 18 l10 -18", x - 16.0, y + 4.0),
            r##"stroke="#f0cf96" stroke-width="4" fill="none""##,
        );
    }
    svg.rect([60.0, 664.0, 350.0, 8.0], 0.0, r##"fill="#2b1d14""##);
    svg.rect(
        [110.0, 380.0, 250.0, 190.0],
        8.0,
        r##"fill="#fdfbf3" stroke="#2b1d14" stroke-width="5""##,
    );
    let plate = Type { family: SANS, fill: "#1d1d1f", ..look };
    svg.text(235.0, 458.0, Type { fill: "#b3261e", size: 70.0, ..plate }, "OPEN");
    svg.text(235.0, 512.0, Type { size: 34.0, ..plate }, "8 AM TO 6 PM");
    svg.rect(
        [450.0, 340.0, 210.0, 560.0],
        4.0,
        r##"fill="#1e4d3b" stroke="#2b1d14" stroke-width="12""##,
    );
    svg.rect([484.0, 376.0, 142.0, 240.0], 4.0, r##"fill="url(#glass)""##);
    svg.circle(478.0, 660.0, 11.0, r##"fill="#d9b45b""##);
    svg.rect(
        [50.0, 790.0, 370.0, 96.0],
        6.0,
        r##"fill="#232323" stroke="#7a5230" stroke-width="9""##,
    );
    let chalk = Type { family: HUMAN, size: 42.0, weight: 400, fill: "#f3f3ee", ..look };
    svg.text(235.0, 852.0, chalk, "Fresh bread daily");
    svg.rect([0.0, 904.0, 720.0, 56.0], 0.0, r##"fill="#77736c""##);
    Scene { svg: svg.finish(), grain: 16 }
}

pub(super) fn road() -> Scene {
    let mut svg = Svg::new(960, 640);
    let mut random = Random::new(66);
    svg.gradient("noon", &[(0.0, "#4f9bd9"), (0.6, "#d7ebf5")]);
    svg.ground("url(#noon)");
    grounds::clouds(&mut svg, 960.0, 200.0, &mut random);
    svg.polygon(
        &[
            (0.0, 400.0),
            (120.0, 330.0),
            (260.0, 390.0),
            (330.0, 300.0),
            (420.0, 300.0),
            (470.0, 400.0),
        ],
        r##"fill="#b0643c""##,
    );
    svg.polygon(
        &[(600.0, 400.0), (740.0, 340.0), (860.0, 340.0), (960.0, 390.0), (960.0, 420.0)],
        r##"fill="#a45a35""##,
    );
    svg.rect([0.0, 396.0, 960.0, 244.0], 0.0, r##"fill="#d9a765""##);
    for _ in 0..420 {
        let (x, y) = (random.between(0.0, 960.0), random.between(404.0, 640.0));
        let sand = random.pick(&["#c08e4f", "#e6bd82", "#8a7a3c", "#b98345"]);
        svg.circle(x, y, random.between(1.0, 4.0), &format!(r#"fill="{sand}""#));
    }
    svg.polygon(
        &[(300.0, 640.0), (452.0, 398.0), (468.0, 398.0), (620.0, 640.0)],
        r##"fill="#4a4a4d""##,
    );
    for dash in [(630.0, 12.0, 50.0), (550.0, 7.0, 34.0), (495.0, 4.0, 22.0), (455.0, 3.0, 14.0)] {
        let (y, half, long) = dash;
        svg.rect([460.0 - half / 2.0, y - long, half, long], 0.0, r##"fill="#f5d547""##);
    }
    for x in [606.0, 858.0] {
        svg.rect([x, 330.0, 14.0, 250.0], 0.0, r##"fill="#8c8f94""##);
    }
    svg.rect(
        [540.0, 120.0, 390.0, 250.0],
        18.0,
        r##"fill="#0b6b3a" stroke="#f5f7f5" stroke-width="8""##,
    );
    let look = Type { family: SANS, size: 50.0, weight: 700, fill: "#ffffff", ..Type::PLAIN };
    for (row, (name, far)) in
        (0_u32..).zip([("Nowhere", "12"), ("Somewhere", "340"), ("Anywhere", "1105")])
    {
        let y = 190.0 + 70.0 * f64::from(row);
        svg.text(566.0, y, Type { size: 44.0, ..look }, name);
        svg.text(906.0, y, Type { size: 44.0, anchor: "end", ..look }, far);
    }
    Scene { svg: svg.finish(), grain: 16 }
}

pub(super) fn hills() -> Scene {
    let mut svg = Svg::new(960, 640);
    grounds::mountains(&mut svg, 960.0, 640.0, &mut Random::new(77));
    Scene { svg: svg.finish(), grain: 18 }
}

pub(super) fn balloons() -> Scene {
    let mut svg = Svg::new(800, 600);
    let mut random = Random::new(99);
    svg.gradient("day", &[(0.0, "#5fb3e6"), (1.0, "#e8f6fd")]);
    svg.ground("url(#day)");
    grounds::clouds(&mut svg, 800.0, 520.0, &mut random);
    for (x, y, size, colour) in [
        (200.0, 220.0, 110.0, "#e4572e"),
        (500.0, 160.0, 80.0, "#f3a712"),
        (640.0, 340.0, 120.0, "#6a4c93"),
        (370.0, 400.0, 60.0, "#2a9d8f"),
        (90.0, 460.0, 40.0, "#d62246"),
    ] {
        let whole = format!(r#"fill="{colour}""#);
        svg.circle(x, y, size, &whole);
        svg.polygon(
            &[
                (x - size * 0.86, y + size * 0.5),
                (x + size * 0.86, y + size * 0.5),
                (x, y + size * 1.5),
            ],
            &whole,
        );
        for gore in [0.66, 0.3] {
            svg.raw(&format!(
                r##"<ellipse cx="{x}" cy="{y}" rx="{:.0}" ry="{size}" fill="none" stroke="#fff" stroke-width="3" opacity="0.55"/>"##,
                size * gore
            ));
        }
        svg.rect(
            [x - size * 0.16, y + size * 1.62, size * 0.32, size * 0.24],
            4.0,
            r##"fill="#7a4a22""##,
        );
        for side in [-0.15, 0.15] {
            svg.line(
                [x + size * side, y + size * 1.62, x + size * side * 0.6, y + size * 1.3],
                r##"stroke="#5a3a1c" stroke-width="2""##,
            );
        }
    }
    Scene { svg: svg.finish(), grain: 0 }
}
