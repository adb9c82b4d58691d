//! Busy pictures for captions to stand on.

use crate::random::Random;
use crate::svg::Svg;

/// Ridges one behind the other, lighter with distance, snow on the far ones and trees on the near ones.
pub(super) fn mountains(svg: &mut Svg, width: f64, height: f64, random: &mut Random) {
    svg.gradient("sky", &[(0.0, "#3b6ea5"), (0.45, "#a9c8e0"), (0.7, "#f4d9b8")]);
    svg.ground("url(#sky)");
    svg.circle(width * 0.72, height * 0.3, 46.0, r##"fill="#fff4d2""##);
    clouds(svg, width, height * 0.3, random);
    let colours = ["#8fa3bd", "#6c819f", "#4c6179", "#33473f", "#1f2e26"];
    for (depth, colour) in (0_u32..).zip(colours) {
        let depth = f64::from(depth);
        let base = height * (0.42 + 0.12 * depth);
        let mut outline = vec![(0.0, height)];
        let (mut x, mut y) = (0.0, base);
        let mut slope = -1.0;
        while x < width + 40.0 {
            outline.push((x, y));
            let step = random.between(8.0, 30.0 - 3.0 * depth);
            y += slope * step * random.between(0.3, 1.5 - 0.2 * depth);
            if y < base - height * (0.2 - 0.03 * depth) {
                slope = 1.0;
            } else if y > base {
                slope = -1.0;
            } else if random.between(0.0, 1.0) < 0.2 {
                slope = -slope;
            }
            x += step;
        }
        outline.push((width, height));
        svg.polygon(&outline, &format!(r#"fill="{colour}""#));
        for pair in
            outline.windows(2).filter(|pair| depth < 2.0 && pair[0].1 < base - height * 0.08)
        {
            let (x, y) = pair[0];
            let snow = [(x, y), pair[1], (x + 6.0, y + 34.0), (x - 10.0, y + 22.0)];
            svg.polygon(&snow, r##"fill="#f7fafc" opacity="0.75""##);
        }
        if depth > 2.0 {
            for _ in 0..90 {
                let (x, y) = (random.between(0.0, width), random.between(base, height));
                let tall = random.between(14.0, 44.0);
                let green = random.pick(&["#16261c", "#24402f", "#2f5138"]);
                let tree = [(x - tall * 0.22, y), (x, y - tall), (x + tall * 0.22, y)];
                svg.polygon(&tree, &format!(r#"fill="{green}""#));
            }
        }
    }
}

/// Heaps of discs, each heap as one, so that no disc shows through another.
pub(super) fn clouds(svg: &mut Svg, width: f64, height: f64, random: &mut Random) {
    for _ in 0..7 {
        let (x, y) = (random.between(0.0, width), random.between(height * 0.15, height));
        let size = random.between(0.6, 1.3);
        svg.raw(r#"<g opacity="0.6">"#);
        for _ in 0..11 {
            let dx = random.between(-70.0, 70.0) * size;
            let radius = (34.0 - dx.abs() / size * 0.3) * size * random.between(0.7, 1.1);
            svg.circle(x + dx, y - radius * 0.5, radius, r##"fill="#fff""##);
        }
        svg.rect(
            [x - 80.0 * size, y - 22.0 * size, 160.0 * size, 26.0 * size],
            13.0,
            r##"fill="#fff""##,
        );
        svg.raw("</g>");
    }
}

/// A skyline with lit windows, and lights out of focus before it.
pub(super) fn city(svg: &mut Svg, width: f64, height: f64, random: &mut Random) {
    svg.gradient("night", &[(0.0, "#0b1030"), (0.6, "#3a2556"), (1.0, "#c4554f")]);
    svg.ground("url(#night)");
    for _ in 0..120 {
        let (x, y) = (random.between(0.0, width), random.between(0.0, height * 0.5));
        svg.circle(x, y, random.between(0.4, 1.4), r##"fill="#fff" opacity="0.8""##);
    }
    for (layer, wall) in (1_u32..).zip(["#241c3f", "#16122b"]) {
        let mut x = -10.0;
        while x < width {
            let wide = random.between(40.0, 90.0);
            let top = height * random.between(0.25, 0.6) + 60.0 * f64::from(layer - 1);
            svg.rect([x, top, wide, height - top], 0.0, &format!(r#"fill="{wall}""#));
            let mut y = top + 10.0;
            while y < height {
                let mut window = x + 7.0;
                while window < x + wide - 9.0 {
                    if random.between(0.0, 1.0) < 0.45 {
                        let light = random.pick(&["#ffd97a", "#ffb347", "#cfe8ff", "#fff2c4"]);
                        let style = format!(r#"fill="{light}" opacity="0.85""#);
                        svg.rect([window, y, 6.0, 8.0], 0.0, &style);
                    }
                    window += 12.0;
                }
                y += 16.0;
            }
            x += wide + random.between(0.0, 8.0);
        }
    }
    for _ in 0..40 {
        let (x, y) = (random.between(0.0, width), random.between(height * 0.72, height));
        let light = random.pick(&["#ff5e5e", "#ffd97a", "#7ad1ff", "#ff9df0"]);
        svg.circle(x, y, random.between(6.0, 26.0), &format!(r#"fill="{light}" opacity="0.28""#));
    }
}

/// Rows of waves, each with a crest of foam.
pub(super) fn ocean(svg: &mut Svg, width: f64, height: f64, random: &mut Random) {
    svg.gradient("dawn", &[(0.0, "#f9b16e"), (0.35, "#f7e1a8"), (0.5, "#a8d5d8")]);
    svg.ground("url(#dawn)");
    clouds(svg, width, height * 0.35, random);
    for row in 0..11_u32 {
        let row = f64::from(row);
        let level = height * (0.38 + row * 0.06);
        let mut d = format!("M-40 {level:.0}");
        let mut x = -40.0;
        while x < width + 40.0 {
            let long = random.between(40.0, 90.0) + 6.0 * row;
            let tall = random.between(8.0, 16.0) + 2.5 * row;
            d.push_str(&format!(" q{:.0} {:.0} {:.0} 0", long / 2.0, -tall * 2.0, long));
            x += long;
        }
        let fill = format!("hsl({:.0},{:.0}%,{:.0}%)", 188.0 + row * 2.0, 55.0, 52.0 - row * 3.4);
        svg.path(
            &format!("{d} V{height} H-40 Z"),
            &format!(r##"fill="{fill}" stroke="#eefcfb" stroke-width="3" stroke-opacity="0.75""##),
        );
    }
    for _ in 0..260 {
        let (x, y) = (random.between(0.0, width), random.between(height * 0.4, height));
        svg.circle(x, y, random.between(0.8, 3.2), r##"fill="#fff" opacity="0.6""##);
    }
}

/// Paper snippets and streamers in every colour.
pub(super) fn party(svg: &mut Svg, width: f64, height: f64, random: &mut Random) {
    svg.gradient("stage", &[(0.0, "#35156b"), (1.0, "#b2277a")]);
    svg.ground("url(#stage)");
    for ray in 0..14 {
        let x = f64::from(ray) * width / 7.0 - width / 2.0;
        let beam = [(width / 2.0, -40.0), (x, height), (x + width * 0.07, height)];
        svg.polygon(&beam, r##"fill="#fff" opacity="0.07""##);
    }
    for _ in 0..420 {
        let (x, y) = (random.between(0.0, width), random.between(0.0, height));
        let colour =
            random.pick(&["#ffd400", "#00d3a7", "#ff5a5f", "#49b6ff", "#ffffff", "#ff8ad8"]);
        let (turn, long) = (random.between(0.0, 180.0), random.between(8.0, 20.0));
        svg.rect(
            [x, y, long, long * 0.45],
            1.0,
            &format!(
                r#"fill="{colour}" opacity="0.9" transform="rotate({turn:.0} {x:.0} {y:.0})""#
            ),
        );
    }
}
