//! Shapes of SVG as text.

use std::fmt::Write;

/// What classes look like, in light and in dark, on a screen and on paper.
pub const STYLE: &str = "\
:root{--ink:#1d2330;--soft:#667085;--line:#d5dae3;--paper:#fff;--panel:#f6f7f9;--bad:#c2410c;\
--s0:#2563eb;--s1:#d97706;--s2:#059669;--s3:#9333ea;--heat:37,99,235}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#3a4252;--paper:#14171d;\
--panel:#1c2028;--bad:#fb923c;--s0:#7aa2ff;--s1:#fbbf24;--s2:#34d399;--s3:#c084fc;--heat:122,162,255}}\
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--panel:#fff;--bad:#a33;\
--s0:#1d4ed8;--s1:#b45309;--s2:#047857;--s3:#7e22ce;--heat:37,99,235}}\
svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}\
svg text{fill:var(--ink);font-variant-numeric:tabular-nums}svg .soft{fill:var(--soft)}\
svg .title{font-weight:600;font-size:13px}svg .grid{stroke:var(--line);stroke-width:.7}\
svg .axis{stroke:var(--soft);stroke-width:1;fill:none}\
svg .even{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 4;fill:none}\
svg polyline{fill:none;stroke-width:2;stroke-linejoin:round}svg .faint{stroke-width:1;stroke-opacity:.3}\
svg .d1{stroke-dasharray:7 3}svg .d2{stroke-dasharray:2 3}\
svg .s0{stroke:var(--s0)}svg .s1{stroke:var(--s1)}svg .s2{stroke:var(--s2)}svg .s3{stroke:var(--s3)}\
svg circle{stroke:none}svg .dots{fill-opacity:.45}svg .f0{fill:var(--s0)}svg .f1{fill:var(--s1)}\
svg .f2{fill:var(--s2)}svg .f3{fill:var(--s3)}svg .bar{fill-opacity:.28}\
svg .cell{stroke:var(--paper);stroke-width:1}svg .heat{fill:rgb(var(--heat))}\
svg .over{fill:#fff}@media(prefers-color-scheme:dark){svg .over{fill:#0b0d11}}@media print{svg .over{fill:#fff}}";

/// A text as it may stand in HTML, SVG and their attributes. Characters that no such text may hold
/// (control characters) become spaces.
///
/// ```
/// use nerve_train::picture::escape;
/// assert_eq!(escape("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
/// ```
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) => safe.push(' '),
            // Text that changes its direction within a line can show another order than it has.
            '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Where a text stands from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A picture that is being drawn. Coordinates are pixels from the upper left corner.
#[derive(Clone, Debug)]
pub struct Svg {
    text: String,
}

impl Svg {
    /// An empty picture; `about` says what it shows to those who cannot see it.
    pub fn new(width: f64, height: f64, about: &str) -> Svg {
        let about = escape(about);
        Svg {
            text: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                 width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{about}\">\n"
            ),
        }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = writeln!(
            self.text,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A line through points.
    pub fn polyline(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let _ = write!(self.text, "<polyline class=\"{class}\" points=\"");
        for (x, y) in points {
            let _ = write!(self.text, "{x:.1},{y:.1} ");
        }
        self.text.push_str("\"/>\n");
    }

    /// A rectangle from its upper left corner, in this opacity.
    pub fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4], opacity: f64) {
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\" fill-opacity=\"{opacity:.3}\"/>"
        );
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(
            self.text,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
        );
    }

    /// A text; it is escaped.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    /// A text that reads upwards, its middle at the point; it is escaped.
    pub fn upwards(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" text-anchor=\"middle\" \
             transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{text}</text>"
        );
    }

    /// The picture.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A picture with the style in it, as a file of its own.
pub fn standalone(svg: &str) -> String {
    match svg.split_once(">\n") {
        Some((head, rest)) => format!("{head}>\n<style>{STYLE}</style>\n{rest}"),
        None => svg.to_string(),
    }
}
