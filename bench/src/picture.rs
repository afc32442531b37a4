//! The ratios as a picture: one bar a row, on a logarithmic axis.
//!
//! Plain SVG that carries its own background and follows the colour scheme of whoever looks at it.

use crate::table::Row;
use std::fmt::Write;

const WIDTH: f64 = 980.0;
/// Where the axis begins and ends.
const LEFT: f64 = 200.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 94.0;
/// Letters of a small line.
const WRAP: usize = 130;
const LINE: f64 = 20.0;
/// Where ratios are marked.
const MARKS: [f64; 13] = [0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0];

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.back{fill:#ffffff}.grid{stroke:#d1d9e0}.one{stroke:#1f2328;stroke-width:1.5}\
.good{fill:#2a78b5}.bad{fill:#d9730d}.small{font-size:11px;fill:#59636e}.title{font-size:15px;\
font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.back{fill:#0d1117}.grid{stroke:#3d444d}\
.one{stroke:#f0f6fc}.good{fill:#4aa3e0}.bad{fill:#f0883e}.small{fill:#9198a1}}";

/// A horizontal bar for each row that has a peer, from 1 to the ratio: to the right where nerve is
/// better, to the left and in another colour where it is not.
pub fn bars(rows: &[Row], title: &str) -> String {
    let drawn: Vec<(&Row, f64, &str)> = rows
        .iter()
        .filter_map(|row| row.best.as_ref().map(|best| (row, best.ratio, best.who.as_str())))
        .filter(|(_, ratio, _)| ratio.is_finite() && *ratio > 0.0)
        .collect();
    let ratios = || drawn.iter().map(|d| d.1);
    let axis = Axis::new(ratios().fold(1.0, f64::min), ratios().fold(1.0, f64::max));
    let bottom = TOP + LINE * drawn.len() as f64;
    let height = bottom + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escaped(if title.is_empty() { "nerve and its peers" } else { title }),
    );
    text(&mut svg, (12.0, 24.0), "title", "nerve against the fastest peer of each row");
    for (i, line) in lines(title).iter().enumerate() {
        text(&mut svg, (12.0, 42.0 + 14.0 * i as f64), "small", line);
    }
    let mut free = 0.0;
    for mark in MARKS.into_iter().filter(|&mark| axis.holds(mark)) {
        let (x, class) = (axis.x(mark), if mark == 1.0 { "one" } else { "grid" });
        if x < free {
            continue;
        }
        free = x + 40.0;
        let line = format!("x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"");
        let _ = writeln!(svg, "<line class=\"{class}\" {line}/>");
        text(&mut svg, (x, TOP - 6.0), "small middle", &format!("{mark} ×"));
    }
    for (i, (row, ratio, who)) in drawn.iter().enumerate() {
        bar(&mut svg, &axis, TOP + LINE * i as f64, row, (*ratio, who));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The parts between commas, as many to a line as fit.
fn lines(title: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in title.split(", ") {
        match lines.last_mut().filter(|line| line.len() + part.len() < WRAP) {
            Some(line) => line.extend([", ", part]),
            None => lines.push(part.to_string()),
        }
    }
    lines
}

fn bar(svg: &mut String, axis: &Axis, y: f64, row: &Row, (ratio, who): (f64, &str)) {
    let (one, end) = (axis.x(1.0), axis.x(ratio));
    let (x, width) = (one.min(end), (one - end).abs().max(1.0));
    let class = if ratio >= 1.0 { "good" } else { "bad" };
    let size = format!("height=\"{:.1}\" width=\"{width:.1}\"", LINE - 6.0);
    let _ = writeln!(svg, "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" {size}/>", y + 3.0);
    let base = y + LINE - 6.0;
    let name = format!("{}  {}", row.workload, row.metric);
    text(svg, (LEFT - 12.0, base), "end", &name);
    let places = if ratio < 10.0 { 2 } else { 0 };
    // Right of the bar, where there is room.
    text(svg, (end.max(one) + 5.0, base), "", &format!("{ratio:.places$}"));
    text(svg, (RIGHT + 50.0, base), "small", who);
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, what: &str) {
    let what = escaped(what);
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// From a ratio to a place.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// Reaches from a little below the least to a little above the most; 1 is always on it.
    fn new(least: f64, most: f64) -> Axis {
        Axis { least: (least / 1.3).min(0.8).ln(), most: (most * 1.1).max(2.0).ln() }
    }

    fn x(&self, ratio: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (ratio.ln() - self.least) / (self.most - self.least)
    }

    fn holds(&self, ratio: f64) -> bool {
        (self.least..=self.most).contains(&ratio.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::example;

    #[test]
    fn the_axis_is_logarithmic_and_holds_one() {
        let axis = Axis::new(0.5, 200.0);
        assert!((axis.x(10.0) - axis.x(1.0) - (axis.x(100.0) - axis.x(10.0))).abs() < 1e-9);
        assert!(axis.x(0.5) > LEFT && axis.x(200.0) < RIGHT);
        assert!(Axis::new(1.0, 1.0).holds(1.0));
    }

    #[test]
    fn a_bar_for_each_row_that_has_a_peer() {
        let svg = bars(&example(), "two cores & more");
        assert_eq!(svg.matches("class=\"good\"").count(), 2);
        assert_eq!(svg.matches("class=\"bad\"").count(), 1);
        assert!(svg.contains("two cores &amp; more") && svg.contains(">1.60<"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(!svg.contains("NaN") && !svg.contains("=\"inf"), "{svg}");
    }

    #[test]
    fn long_titles_break_at_commas() {
        let title = "versions of peers 1.2.3, ".repeat(9);
        let lines = lines(title.trim_end_matches(", "));
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= WRAP), "{lines:?}");
        assert_eq!(lines.join(", ") + ", ", title);
    }

    #[test]
    fn nothing_to_compare_is_an_empty_picture() {
        let svg = bars(&[], "");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("1 ×"));
    }
}
