//! The few SVG elements that the scenes are put together from.

use std::fmt::Write;

/// An SVG document being written.
pub(crate) struct Svg {
    body: String,
    width: u32,
    height: u32,
}

/// How a line of text looks.
#[derive(Clone, Copy)]
pub(crate) struct Type<'a> {
    /// Families, the wanted one first.
    pub(crate) family: &'a str,
    pub(crate) size: f64,
    pub(crate) weight: u32,
    pub(crate) fill: &'a str,
    /// `start`, `middle` or `end`.
    pub(crate) anchor: &'a str,
    /// Further attributes.
    pub(crate) more: &'a str,
}

impl Type<'_> {
    pub(crate) const PLAIN: Self =
        Type { family: SANS, size: 16.0, weight: 400, fill: "#222", anchor: "start", more: "" };
}

pub(crate) const SANS: &str = "Liberation Sans, DejaVu Sans";
pub(crate) const HUMAN: &str = "Lato, Liberation Sans, DejaVu Sans";
pub(crate) const MONO: &str = "DejaVu Sans Mono, Liberation Mono";
pub(crate) const SERIF: &str = "Liberation Serif, DejaVu Serif";
pub(crate) const POSTER: &str = "Bebas Neue, Liberation Sans Narrow, DejaVu Sans";
pub(crate) const COMIC: &str = "Comic Neue, DejaVu Sans";
pub(crate) const NARROW: &str = "Liberation Sans Narrow, DejaVu Sans Condensed, DejaVu Sans";

impl Svg {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self { body: String::new(), width, height }
    }

    /// Any element, as it is.
    pub(crate) fn raw(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    pub(crate) fn rect(&mut self, [x, y, width, height]: [f64; 4], radius: f64, style: &str) {
        self.raw(&format!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="{radius}" {style}/>"#
        ));
    }

    /// The whole ground in one colour or gradient.
    pub(crate) fn ground(&mut self, fill: &str) {
        let size = [0.0, 0.0, f64::from(self.width), f64::from(self.height)];
        self.rect(size, 0.0, &format!(r#"fill="{fill}""#));
    }

    pub(crate) fn circle(&mut self, x: f64, y: f64, radius: f64, style: &str) {
        self.raw(&format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" {style}/>"#));
    }

    pub(crate) fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], style: &str) {
        self.raw(&format!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#
        ));
    }

    pub(crate) fn path(&mut self, d: &str, style: &str) {
        self.raw(&format!(r#"<path d="{d}" {style}/>"#));
    }

    /// A closed outline through points.
    pub(crate) fn polygon(&mut self, points: &[(f64, f64)], style: &str) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, "{x:.1},{y:.1} ");
        }
        self.raw(&format!(r#"<polygon points="{list}" {style}/>"#));
    }

    /// A vertical gradient, used as `url(#id)`.
    pub(crate) fn gradient(&mut self, id: &str, stops: &[(f64, &str)]) {
        let mut list = String::new();
        for (at, colour) in stops {
            let _ = write!(list, r#"<stop offset="{at}" stop-color="{colour}"/>"#);
        }
        self.raw(&format!(
            r#"<linearGradient id="{id}" x1="0" y1="0" x2="0" y2="1">{list}</linearGradient>"#
        ));
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, look: Type<'_>, text: &str) {
        let Type { family, size, weight, fill, anchor, more } = look;
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.raw(&format!(
            r#"<text x="{x:.1}" y="{y:.1}" font-family="{family}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}" xml:space="preserve" {more}>{text}</text>"#
        ));
    }

    /// White letters with a black outline, as memes have them, centred, one line per item.
    pub(crate) fn caption(&mut self, top: f64, family: &str, size: f64, lines: &[&str]) {
        let outline = format!(
            r##"stroke="#000" stroke-width="{:.1}" stroke-linejoin="round" paint-order="stroke" letter-spacing="{:.1}""##,
            size * 0.15,
            size * 0.02
        );
        let look =
            Type { family, size, weight: 700, fill: "#fff", anchor: "middle", more: &outline };
        let mut y = top + size * 0.9;
        for line in lines {
            self.text(f64::from(self.width) / 2.0, y, look, line);
            y += size * 1.08;
        }
    }

    pub(crate) fn finish(self) -> String {
        let Self { body, width, height } = self;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{body}</svg>"#
        )
    }
}
