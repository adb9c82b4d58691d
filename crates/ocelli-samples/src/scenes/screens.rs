//! Pictures of screens: dark and light, old and new.

use crate::Scene;
use crate::svg::{HUMAN, MONO, SANS, Svg, Type};

pub(super) const TERMINAL: [&str; 9] = [
    "ada@lovelace: ~/archive",
    "$ ocelli run ~/screenshots",
    "found 1842 images, 1790 new",
    "tesseract-ocr    done 1644   empty 131   failed 15",
    "$ ocelli show 9f2c41 --format text",
    "First Seen",
    "2024-05-04T09:00:51+00:00",
    "tesseract-ocr",
    "The best time to plant a tree was twenty years ago.",
];

pub(super) fn terminal() -> Scene {
    let mut svg = Svg::new(1040, 560);
    svg.ground("#c9d3e0");
    svg.rect([24.0, 24.0, 992.0, 512.0], 14.0, r##"fill="#1d2330""##);
    svg.rect([24.0, 24.0, 992.0, 46.0], 14.0, r##"fill="#2b3344""##);
    for (x, colour) in [(52.0, "#ff5f57"), (78.0, "#febc2e"), (104.0, "#28c840")] {
        svg.circle(x, 47.0, 8.0, &format!(r#"fill="{colour}""#));
    }
    let look = Type { family: MONO, size: 20.0, fill: "#d8dee9", ..Type::PLAIN };
    svg.text(
        520.0,
        54.0,
        Type { size: 17.0, anchor: "middle", fill: "#aeb8c9", ..look },
        TERMINAL[0],
    );
    let mut y = 118.0;
    for (index, line) in TERMINAL.iter().enumerate().skip(1) {
        let fill = match index {
            1 | 4 => "#a3e48b",
            3 => "#8fd0ff",
            5 | 7 => "#ffd479",
            _ => "#d8dee9",
        };
        svg.text(52.0, y, Type { fill, ..look }, line);
        y += if index == 3 { 60.0 } else { 42.0 };
    }
    svg.rect([52.0, y - 18.0, 12.0, 24.0], 0.0, r##"fill="#d8dee9""##);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) const SETTINGS: [&str; 13] = [
    "Settings",
    "General",
    "Notifications",
    "Storage",
    "Privacy",
    "Storage",
    "Images are kept on this device only.",
    "Save originals",
    "Compress after 30 days",
    "Share with nobody",
    "48.2 GB of 64 GB used",
    "Free up space",
    "Cancel",
];

pub(super) fn settings() -> Scene {
    let mut svg = Svg::new(1000, 640);
    svg.ground("#f3f4f6");
    svg.rect([0.0, 0.0, 250.0, 640.0], 0.0, r##"fill="#e7e9ee""##);
    let look = Type { family: HUMAN, size: 22.0, fill: "#1f2430", ..Type::PLAIN };
    let heading = Type { size: 30.0, weight: 700, ..look };
    svg.text(32.0, 60.0, heading, SETTINGS[0]);
    svg.rect([16.0, 202.0, 218.0, 46.0], 10.0, r##"fill="#3366d6""##);
    for (row, name) in (0_u32..).zip(&SETTINGS[1..5]) {
        let fill = if row == 2 { "#ffffff" } else { "#3c4353" };
        svg.text(40.0, 124.0 + 54.0 * f64::from(row), Type { fill, ..look }, name);
    }
    svg.text(296.0, 72.0, heading, SETTINGS[5]);
    svg.text(296.0, 112.0, Type { size: 20.0, fill: "#5b6476", ..look }, SETTINGS[6]);
    svg.rect([290.0, 140.0, 670.0, 216.0], 14.0, r##"fill="#fff" stroke="#dde0e6""##);
    for (row, (name, on)) in (0_u32..).zip(SETTINGS[7..10].iter().zip([true, false, true])) {
        let y = 188.0 + 70.0 * f64::from(row);
        svg.text(316.0, y, look, name);
        let (ground, knob) = if on { ("#34a36b", 912.0) } else { ("#c3c8d2", 886.0) };
        svg.rect([870.0, y - 22.0, 58.0, 32.0], 16.0, &format!(r#"fill="{ground}""#));
        svg.circle(knob, y - 6.0, 13.0, r##"fill="#fff""##);
        if row < 2 {
            svg.line([316.0, y + 26.0, 940.0, y + 26.0], r##"stroke="#e5e7ec""##);
        }
    }
    svg.text(296.0, 420.0, look, SETTINGS[10]);
    svg.rect([296.0, 440.0, 664.0, 18.0], 9.0, r##"fill="#dde0e6""##);
    svg.rect([296.0, 440.0, 500.0, 18.0], 9.0, r##"fill="#e8a13a""##);
    svg.rect([712.0, 540.0, 248.0, 58.0], 12.0, r##"fill="#3366d6""##);
    let button = Type { anchor: "middle", weight: 700, ..look };
    svg.text(836.0, 577.0, Type { fill: "#fff", ..button }, SETTINGS[11]);
    svg.rect(
        [536.0, 540.0, 156.0, 58.0],
        12.0,
        r##"fill="#fff" stroke="#c3c8d2" stroke-width="2""##,
    );
    svg.text(614.0, 577.0, button, SETTINGS[12]);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) const CHAT: [&str; 8] = [
    "Grace",
    "last seen 14:02",
    "Did the import finish?",
    "Almost. 912 of 1000 images.",
    "And the rest?",
    "Waiting for the rabbit :)",
    "It hops as fast as it can",
    "Message",
];

pub(super) fn chat() -> Scene {
    let mut svg = Svg::new(560, 900);
    svg.ground("#0f1419");
    svg.rect([0.0, 0.0, 560.0, 96.0], 0.0, r##"fill="#1a222b""##);
    svg.circle(62.0, 48.0, 30.0, r##"fill="#8a6fd1""##);
    let look = Type { family: HUMAN, size: 26.0, fill: "#eef2f6", ..Type::PLAIN };
    svg.text(62.0, 59.0, Type { size: 30.0, anchor: "middle", weight: 700, ..look }, "G");
    svg.text(108.0, 44.0, Type { weight: 700, ..look }, CHAT[0]);
    svg.text(108.0, 74.0, Type { size: 20.0, fill: "#93a1b0", ..look }, CHAT[1]);
    let bubbles = [(false, 300.0), (true, 368.0), (false, 208.0), (true, 320.0), (true, 330.0)];
    for (row, (text, (mine, width))) in (0_u32..).zip(CHAT[2..7].iter().zip(bubbles)) {
        let y = 140.0 + 116.0 * f64::from(row);
        let (x, ground) = if mine { (536.0 - width, "#1f6f54") } else { (24.0, "#243040") };
        svg.rect([x, y, width, 76.0], 24.0, &format!(r#"fill="{ground}""#));
        svg.text(x + 24.0, y + 47.0, look, text);
    }
    svg.rect([20.0, 812.0, 440.0, 64.0], 32.0, r##"fill="#1a222b""##);
    svg.text(52.0, 852.0, Type { fill: "#7f8b99", ..look }, CHAT[7]);
    svg.circle(508.0, 844.0, 32.0, r##"fill="#2aa876""##);
    svg.polygon(
        &[(496.0, 830.0), (526.0, 844.0), (496.0, 858.0), (502.0, 844.0)],
        r##"fill="#fff""##,
    );
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) const POST: [&str; 7] = [
    "Margaret H.",
    "@margaret",
    "There is no cloud. It is just",
    "somebody else's rabbit carrying",
    "your messages up the hill.",
    "9:41 AM, May 4, 2024",
    "312 Reposts   1,204 Likes",
];

pub(super) fn post() -> Scene {
    let mut svg = Svg::new(860, 480);
    svg.ground("#ffffff");
    svg.rect([1.0, 1.0, 858.0, 478.0], 18.0, r##"fill="#fff" stroke="#d6dbe1" stroke-width="2""##);
    svg.circle(78.0, 80.0, 40.0, r##"fill="#f2a65a""##);
    svg.circle(78.0, 72.0, 15.0, r##"fill="#fff3e2""##);
    svg.path("M48 106 q30 -34 60 0 q-30 22 -60 0", r##"fill="#fff3e2""##);
    let look = Type { family: HUMAN, size: 24.0, fill: "#5b6775", ..Type::PLAIN };
    svg.text(136.0, 74.0, Type { weight: 700, size: 28.0, fill: "#101820", ..look }, POST[0]);
    svg.text(136.0, 106.0, look, POST[1]);
    for (row, line) in (0_u32..).zip(&POST[2..5]) {
        let y = 184.0 + 52.0 * f64::from(row);
        svg.text(40.0, y, Type { size: 38.0, fill: "#101820", ..look }, line);
    }
    svg.text(40.0, 352.0, look, POST[5]);
    svg.line([40.0, 378.0, 820.0, 378.0], r##"stroke="#e3e7ec" stroke-width="2""##);
    svg.text(40.0, 426.0, Type { fill: "#101820", ..look }, POST[6]);
    Scene { svg: svg.finish(), grain: 0 }
}

pub(super) const DIALOG: [&str; 5] =
    ["Printer", "Keyboard not found.", "Press any key to continue.", "OK", "Help"];

pub(super) fn dialog() -> Scene {
    let mut svg = Svg::new(560, 300);
    svg.ground("#008080");
    bevel(&mut svg, [30.0, 30.0, 500.0, 240.0]);
    svg.rect([36.0, 36.0, 488.0, 36.0], 0.0, r##"fill="#000080""##);
    let look = Type { family: SANS, size: 22.0, fill: "#000", ..Type::PLAIN };
    svg.text(48.0, 62.0, Type { fill: "#fff", weight: 700, ..look }, DIALOG[0]);
    svg.circle(92.0, 128.0, 28.0, r##"fill="#e00000" stroke="#600" stroke-width="2""##);
    svg.path("M80 116 l24 24 m0 -24 l-24 24", r##"stroke="#fff" stroke-width="7""##);
    svg.text(146.0, 122.0, look, DIALOG[1]);
    svg.text(146.0, 154.0, look, DIALOG[2]);
    for (x, name) in [(150.0, DIALOG[3]), (300.0, DIALOG[4])] {
        bevel(&mut svg, [x, 204.0, 120.0, 44.0]);
        svg.text(x + 60.0, 233.0, Type { anchor: "middle", ..look }, name);
    }
    Scene { svg: svg.finish(), grain: 0 }
}

/// A raised grey panel, lit from the upper left.
fn bevel(svg: &mut Svg, [x, y, width, height]: [f64; 4]) {
    svg.rect([x, y, width, height], 0.0, r##"fill="#404040""##);
    svg.rect([x, y, width - 2.0, height - 2.0], 0.0, r##"fill="#ffffff""##);
    svg.rect([x + 2.0, y + 2.0, width - 4.0, height - 4.0], 0.0, r##"fill="#c0c0c0""##);
}
