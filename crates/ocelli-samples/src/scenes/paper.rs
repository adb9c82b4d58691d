//! Pictures of paper.

use crate::Scene;
use crate::random::Random;
use crate::svg::{COMIC, HUMAN, MONO, POSTER, SERIF, Svg, Type};

pub(super) const RECEIPT: [&str; 14] = [
    "GREEN GROCER",
    "12 Market Lane",
    "04.05.2024  09:00",
    "Apples 1.2 kg        3.48",
    "Whole milk 1 l       1.29",
    "Rye bread            2.95",
    "Coffee beans         8.90",
    "Carrots 500 g        0.99",
    "SUBTOTAL            17.61",
    "VAT 7%               1.15",
    "TOTAL               17.61",
    "CASH                20.00",
    "CHANGE               2.39",
    "Thank you, come again!",
];

pub(super) fn receipt() -> Scene {
    let mut svg = Svg::new(700, 940);
    let mut random = Random::new(21);
    svg.ground("#8a5a35");
    // Planks and their grain.
    for plank in 0..7_u32 {
        let x = f64::from(plank) * 104.0 - 10.0;
        let brown = random.pick(&["#8f5f39", "#7d4f2c", "#996841", "#865732"]);
        svg.rect([x, 0.0, 102.0, 940.0], 0.0, &format!(r#"fill="{brown}""#));
        for _ in 0..16 {
            let (dx, bend) = (random.between(4.0, 96.0), random.between(-12.0, 12.0));
            svg.path(
                &format!("M{:.0} 0 q{bend:.0} 470 0 940", x + dx),
                r##"stroke="#5c3719" stroke-width="1.4" fill="none" opacity="0.5""##,
            );
        }
    }
    svg.raw(r#"<g transform="rotate(-1.6 350 470)">"#);
    svg.rect([126.0, 44.0, 460.0, 860.0], 2.0, r##"fill="#000" opacity="0.35""##);
    let mut edge = vec![(118.0, 34.0), (578.0, 34.0)];
    // Torn along the printer's teeth.
    for tooth in 0..=46_u32 {
        let y = if tooth % 2 == 0 { 892.0 } else { 884.0 };
        edge.push((578.0 - 10.0 * f64::from(tooth), y));
    }
    svg.polygon(&edge, r##"fill="#fbfaf4""##);
    svg.path("M118 420 q230 10 460 -4 v14 q-230 14 -460 4 z", r##"fill="#000" opacity="0.05""##);
    let look = Type { family: MONO, size: 25.0, fill: "#2a2a2e", ..Type::PLAIN };
    let mut y = 100.0;
    for (row, line) in RECEIPT.iter().enumerate() {
        match row {
            0 => {
                svg.text(
                    348.0,
                    y,
                    Type { size: 38.0, weight: 700, anchor: "middle", ..look },
                    line,
                );
            }
            1 | 2 | 13 => svg.text(348.0, y, Type { anchor: "middle", ..look }, line),
            10 => svg.text(150.0, y, Type { weight: 700, ..look }, line),
            _ => svg.text(150.0, y, look, line),
        }
        y += 46.0;
        if matches!(row, 2 | 7 | 12) {
            svg.line(
                [146.0, y - 18.0, 552.0, y - 18.0],
                r##"stroke="#2a2a2e" stroke-width="2" stroke-dasharray="8 6""##,
            );
            y += 26.0;
        }
    }
    let mut x = 190.0;
    while x < 506.0 {
        let bar = random.between(2.0, 7.0);
        svg.rect([x, y - 30.0, bar, 56.0], 0.0, r##"fill="#2a2a2e""##);
        x += bar + random.between(2.0, 7.0);
    }
    svg.raw("</g>");
    Scene { svg: svg.finish(), grain: 14 }
}

pub(super) const PAGE: [&str; 18] = [
    "CHAPTER THREE",
    "Of Small Eyes",
    "The dragonfly has two great eyes, and everybody",
    "admires them. Fewer know that between the two sit",
    "three more, each no larger than a grain of sand.",
    "They see no picture. They tell light from dark, and",
    "they do it sooner than the great eyes can, so that the",
    "insect keeps level with the horizon before it knows",
    "what the horizon is.",
    "Naturalists call such an eye an ocellus. One of them is",
    "of little use. Several of them, each asked a simple",
    "question and each answering at once, steer an animal",
    "through a storm.",
    "There is a lesson in this for the maker of machines:",
    "do not ask one great eye for everything when many",
    "small ones, well connected, would answer before it",
    "has opened.",
    "47",
];

pub(super) fn page() -> Scene {
    let mut svg = Svg::new(1000, 1300);
    svg.ground("#e9e7e2");
    svg.rect([0.0, 0.0, 26.0, 1300.0], 0.0, r##"fill="#6e6b66" opacity="0.7""##);
    svg.rect([26.0, 0.0, 40.0, 1300.0], 0.0, r##"fill="#8d8a84" opacity="0.25""##);
    let mut random = Random::new(47);
    svg.raw(r#"<g transform="rotate(0.7 500 650)">"#);
    let look = Type { family: SERIF, size: 35.0, fill: "#26241f", ..Type::PLAIN };
    let centred = Type { anchor: "middle", ..look };
    svg.text(510.0, 130.0, Type { size: 30.0, more: r#"letter-spacing="4""#, ..centred }, PAGE[0]);
    svg.text(510.0, 196.0, Type { size: 48.0, weight: 700, ..centred }, PAGE[1]);
    let mut y = 290.0;
    for (row, line) in PAGE.iter().enumerate().skip(2).take(15) {
        let first = matches!(row, 2 | 9 | 13);
        svg.text(if first { 146.0 } else { 110.0 }, y, look, line);
        y += 58.0;
    }
    svg.text(510.0, 1220.0, Type { size: 30.0, ..centred }, PAGE[17]);
    svg.raw("</g>");
    // Dust on the glass.
    for _ in 0..130 {
        let (x, y) = (random.between(0.0, 1000.0), random.between(0.0, 1300.0));
        svg.circle(x, y, random.between(0.4, 1.5), r##"fill="#3b3934" opacity="0.5""##);
    }
    Scene { svg: svg.finish(), grain: 22 }
}

pub(super) fn note() -> Scene {
    let mut svg = Svg::new(520, 320);
    let look = Type { family: COMIC, size: 58.0, weight: 700, fill: "#1c2b4a", ..Type::PLAIN };
    for (row, line) in (0_u32..).zip(["Buy milk", "Feed the rabbit", "Read the logs"]) {
        let y = 90.0 + 92.0 * f64::from(row);
        svg.circle(44.0, y - 18.0, 9.0, r##"fill="#c8553d""##);
        svg.text(76.0, y, look, line);
    }
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) fn poster() -> Scene {
    let mut svg = Svg::new(640, 880);
    svg.ground("#14213d");
    // Rising sun in rays.
    for ray in 0..18_u32 {
        let angle = f64::from(ray) * std::f64::consts::TAU / 18.0;
        let (left, right) = (angle - 0.09, angle + 0.09);
        let far = 900.0;
        let points = [
            (320.0, 400.0),
            (320.0 + far * left.cos(), 400.0 + far * left.sin()),
            (320.0 + far * right.cos(), 400.0 + far * right.sin()),
        ];
        svg.polygon(&points, r##"fill="#fca311" opacity="0.28""##);
    }
    svg.circle(320.0, 400.0, 170.0, r##"fill="#fca311""##);
    // An envelope with its seal.
    svg.rect(
        [200.0, 320.0, 240.0, 160.0],
        8.0,
        r##"fill="#fff8e7" stroke="#14213d" stroke-width="8""##,
    );
    svg.path(
        "M200 326 l120 92 l120 -92",
        r##"fill="none" stroke="#14213d" stroke-width="8" stroke-linejoin="round""##,
    );
    svg.circle(320.0, 424.0, 26.0, r##"fill="#c1121f""##);
    let look = Type {
        family: POSTER,
        size: 108.0,
        weight: 700,
        fill: "#ffffff",
        anchor: "middle",
        ..Type::PLAIN
    };
    svg.text(320.0, 142.0, look, "THE DEAD LETTERS");
    let human = Type { family: HUMAN, ..look };
    svg.text(
        320.0,
        650.0,
        Type { size: 40.0, fill: "#fca311", weight: 400, ..human },
        "live at the Exchange",
    );
    svg.text(320.0, 748.0, Type { size: 92.0, ..look }, "FRIDAY 9 MAY");
    svg.text(320.0, 812.0, Type { size: 34.0, weight: 400, ..human }, "doors open at 19:30");
    Scene { svg: svg.finish(), grain: 0 }
}
