//! Captions on busy pictures, in several typefaces.

use super::grounds;
use crate::Scene;
use crate::random::Random;
use crate::svg::{COMIC, NARROW, POSTER, SANS, Svg, Type};

pub(super) fn mountains() -> Scene {
    let mut svg = Svg::new(900, 640);
    grounds::mountains(&mut svg, 900.0, 640.0, &mut Random::new(11));
    svg.caption(18.0, POSTER, 80.0, &["ONE DOES NOT SIMPLY"]);
    svg.caption(534.0, POSTER, 80.0, &["READ A MILLION MEMES BY HAND"]);
    Scene { svg: svg.finish(), grain: 18 }
}

pub(super) fn ocean() -> Scene {
    let mut svg = Svg::new(960, 600);
    grounds::ocean(&mut svg, 960.0, 600.0, &mut Random::new(5));
    let heavy = "Lato Black, Lato, Liberation Sans, DejaVu Sans";
    svg.caption(22.0, heavy, 62.0, &["I was told"]);
    svg.caption(510.0, heavy, 62.0, &["there would be backpressure"]);
    Scene { svg: svg.finish(), grain: 16 }
}

pub(super) fn city() -> Scene {
    let mut svg = Svg::new(720, 540);
    grounds::city(&mut svg, 720.0, 540.0, &mut Random::new(3));
    svg.caption(14.0, NARROW, 60.0, &["It works on my machine"]);
    svg.caption(462.0, NARROW, 60.0, &["then we ship your machine"]);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) fn party() -> Scene {
    let mut svg = Svg::new(800, 600);
    grounds::party(&mut svg, 800.0, 600.0, &mut Random::new(8));
    svg.caption(20.0, SANS, 66.0, &["All tests passed", "on the first try"]);
    svg.caption(510.0, SANS, 52.0, &["(there are no tests)"]);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) fn cat() -> Scene {
    let mut svg = Svg::new(760, 760);
    svg.ground("#e9c46a");
    // Wallpaper.
    for row in 0..10_u32 {
        for column in 0..11_u32 {
            let x = f64::from(column) * 76.0 + if row % 2 == 0 { 0.0 } else { 38.0 };
            let y = f64::from(row) * 80.0 + 20.0;
            svg.circle(x, y, 16.0, r##"fill="#e08a4a" opacity="0.7""##);
            svg.circle(x, y, 7.0, r##"fill="#fdf3d0""##);
            svg.path(
                &format!("M{x} {} q-18 14 0 30 q18 -16 0 -30", y + 18.0),
                r##"fill="#5a9367" opacity="0.8""##,
            );
        }
    }
    // Sofa.
    svg.rect([-20.0, 520.0, 800.0, 280.0], 60.0, r##"fill="#2a6f77""##);
    svg.rect([30.0, 560.0, 340.0, 240.0], 34.0, r##"fill="#33868f""##);
    svg.rect([390.0, 560.0, 340.0, 240.0], 34.0, r##"fill="#33868f""##);
    // Cat.
    let fur = r##"fill="#6b6f7a" stroke="#41444c" stroke-width="4""##;
    svg.path("M560 690 q140 -20 110 -150 q-8 -30 -26 -10 q20 100 -100 110 z", fur);
    svg.path("M220 760 q-30 -220 160 -230 q190 10 160 230 z", fur);
    svg.polygon(&[(232.0, 330.0), (240.0, 190.0), (346.0, 262.0)], fur);
    svg.polygon(&[(528.0, 330.0), (520.0, 190.0), (414.0, 262.0)], fur);
    svg.polygon(&[(252.0, 300.0), (256.0, 226.0), (312.0, 266.0)], r##"fill="#e8a6a6""##);
    svg.polygon(&[(508.0, 300.0), (504.0, 226.0), (448.0, 266.0)], r##"fill="#e8a6a6""##);
    svg.raw(&format!(r#"<ellipse cx="380" cy="390" rx="166" ry="142" {fur}/>"#));
    for stripe in [-60.0, 0.0, 60.0] {
        let d = format!("M{} 258 q{} 40 0 66", 380.0 + stripe, -stripe / 8.0);
        let style = r##"stroke="#41444c" stroke-width="14" fill="none" stroke-linecap="round""##;
        svg.path(&d, style);
    }
    for x in [312.0, 448.0] {
        svg.circle(x, 376.0, 37.0, r##"fill="#f2e85c" stroke="#2b2d33" stroke-width="5""##);
        svg.raw(&format!(r##"<ellipse cx="{x}" cy="376" rx="12" ry="30" fill="#15161a"/>"##));
        svg.circle(x + 8.0, 362.0, 7.0, r##"fill="#fff""##);
    }
    svg.raw(r##"<ellipse cx="380" cy="462" rx="64" ry="44" fill="#c9ccd4"/>"##);
    svg.polygon(&[(362.0, 430.0), (398.0, 430.0), (380.0, 450.0)], r##"fill="#e58b8b""##);
    let mouth = r##"stroke="#2b2d33" stroke-width="5" fill="none" stroke-linecap="round""##;
    svg.path("M380 450 v18 m-34 14 q17 16 34 -14 q17 30 34 14", mouth);
    for (side, tilt) in
        [(-1.0, -14.0), (-1.0, 4.0), (-1.0, 22.0), (1.0, -14.0), (1.0, 4.0), (1.0, 22.0)]
    {
        let start = 380.0 + side * 56.0;
        svg.line(
            [start, 456.0 + tilt / 3.0, start + side * 150.0, 448.0 + tilt * 1.8],
            r##"stroke="#f4f4f4" stroke-width="3""##,
        );
    }
    let bold = "DejaVu Sans Condensed, DejaVu Sans, Liberation Sans";
    svg.caption(16.0, bold, 45.0, &["When the queue is empty"]);
    svg.caption(690.0, bold, 45.0, &["but the fridge is too"]);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) fn panels() -> Scene {
    let mut svg = Svg::new(900, 720);
    svg.ground("#fffdf6");
    let look = Type { family: COMIC, size: 46.0, weight: 700, anchor: "middle", ..Type::PLAIN };
    for (row, ground, happy, lines) in [
        (0.0, "#f7b267", false, ["Sorting ten years of", "screenshots by hand"]),
        (360.0, "#7fc8a9", true, ["Asking a flock of", "small eyes to do it"]),
    ] {
        svg.rect([0.0, row, 360.0, 360.0], 0.0, &format!(r#"fill="{ground}""#));
        face(&mut svg, 180.0, row + 196.0, happy);
        svg.text(632.0, row + 170.0, look, lines[0]);
        svg.text(632.0, row + 228.0, look, lines[1]);
    }
    let frame = r##"stroke="#222" stroke-width="6" fill="none""##;
    svg.rect([3.0, 3.0, 894.0, 714.0], 0.0, frame);
    svg.line([0.0, 360.0, 900.0, 360.0], frame);
    svg.line([360.0, 0.0, 360.0, 720.0], frame);
    Scene { svg: svg.finish(), grain: 0 }
}

/// A person with a yellow cap who looks away, or approves.
fn face(svg: &mut Svg, x: f64, y: f64, happy: bool) {
    let line = r##"stroke="#2b2b2b" stroke-width="5" fill="none" stroke-linecap="round""##;
    svg.path(
        &format!("M{} {} q0 -90 120 -90 q120 0 120 90 z", x - 120.0, y + 170.0),
        r##"fill="#3a5a98" stroke="#2b2b2b" stroke-width="5""##,
    );
    svg.raw(&format!(
        r##"<ellipse cx="{x}" cy="{y}" rx="86" ry="98" fill="#f1c9a5" stroke="#2b2b2b" stroke-width="5"/>"##
    ));
    svg.path(
        &format!("M{} {} q6 -92 88 -92 q82 0 88 92 q-88 -34 -176 0 z", x - 88.0, y - 24.0),
        r##"fill="#ffd23f" stroke="#2b2b2b" stroke-width="5""##,
    );
    for side in [-34.0, 34.0] {
        if happy {
            svg.path(&format!("M{} {} q14 -22 28 0", x + side - 14.0, y + 12.0), line);
        } else {
            svg.path(&format!("M{} {} h30", x + side - 15.0, y + 4.0), line);
            svg.circle(x + side - 7.0, y + 12.0, 6.0, r##"fill="#2b2b2b""##);
        }
    }
    let mouth = if happy {
        format!("M{} {} q40 46 80 0", x - 40.0, y + 44.0)
    } else {
        format!("M{} {} q34 -34 66 4", x - 34.0, y + 66.0)
    };
    svg.path(&mouth, line);
    let hand = r##"fill="#f1c9a5" stroke="#2b2b2b" stroke-width="5" stroke-linejoin="round""##;
    if happy {
        // A thumb up.
        svg.rect([x + 84.0, y + 66.0, 62.0, 56.0], 16.0, hand);
        svg.rect([x + 88.0, y + 20.0, 24.0, 62.0], 12.0, hand);
    } else {
        // A hand held up against it.
        svg.rect([x + 92.0, y + 34.0, 58.0, 84.0], 22.0, hand);
        for finger in 0..4 {
            svg.rect([x + 92.0 + 15.0 * f64::from(finger), y - 6.0, 13.0, 60.0], 6.0, hand);
        }
    }
}
