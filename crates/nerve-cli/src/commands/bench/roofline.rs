//! The instructions under their roofs, as a picture: operations for each byte against operations a
//! second, both on logarithmic axes, with a dot an instruction whose area is its share of the time.
//!
//! Plain SVG that carries its own background and follows the colour scheme of whoever looks at it.

use super::measure::{Line, Profile, Roofs};
use nerve_recipe::summary::bytes_text;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 870.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 500.0;
/// Dots that are named: the largest.
const NAMED: usize = 8;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.back{fill:#ffffff}.grid{stroke:#d1d9e0}.roof{stroke:#59636e;stroke-width:1.5;fill:none}\
.dot{fill:#2a78b5;fill-opacity:.6;stroke:#2a78b5}.dot.memory{fill:#d9730d;stroke:#d9730d}\
.small{font-size:11px;fill:#59636e}.title{font-size:15px;font-weight:600}\
.end{text-anchor:end}.middle{text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.back{fill:#0d1117}.grid{stroke:#3d444d}\
.roof{stroke:#9198a1}.dot{fill:#4aa3e0;stroke:#4aa3e0}.dot.memory{fill:#f0883e;stroke:#f0883e}\
.small{fill:#9198a1}}";

/// The picture of a step.
pub fn picture(profile: &Profile, roofs: &Roofs, title: &str) -> String {
    // What computes nothing or moves nothing has no place on these axes.
    let mut dots: Vec<&Line> =
        profile.lines.iter().filter(|line| line.flops > 0 && line.bytes > 0).collect();
    dots.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let axes = Axes::over(&dots, roofs);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        escaped(title),
    );
    text(&mut svg, (LEFT, 24.0), "title", title);
    let about = "a dot an instruction, its area the share of the time; \
                 blue: bound by arithmetic, orange: by memory";
    text(&mut svg, (LEFT, 42.0), "small", about);
    grid(&mut svg, &axes);
    draw_roofs(&mut svg, &axes, roofs);
    let mut labels = Vec::new();
    for (i, line) in dots.iter().enumerate() {
        dot(&mut svg, &axes, line, profile.sum, (i < NAMED).then_some(&mut labels));
    }
    svg.push_str("</svg>\n");
    svg
}

/// From operations a byte and operations a second to places.
struct Axes {
    x: [f64; 2],
    y: [f64; 2],
}

impl Axes {
    fn over(dots: &[&Line], roofs: &Roofs) -> Axes {
        let intensities = dots.iter().map(|line| intensity(line));
        let (low, high) = ends(intensities.chain([0.1, 100.0]));
        let speeds = dots.iter().map(|line| speed(line)).chain(roofs.flops).chain([1e9]);
        let (slow, fast) = ends(speeds);
        // What takes no time worth a name may lie on the floor.
        let slow = slow.max(fast / 1e5);
        Axes { x: [low.log10(), high.log10()], y: [slow.log10(), (1.6 * fast).log10()] }
    }

    fn x(&self, intensity: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (intensity.log10() - self.x[0]) / (self.x[1] - self.x[0])
    }

    fn y(&self, speed: f64) -> f64 {
        let place = (speed.log10() - self.y[0]) / (self.y[1] - self.y[0]);
        BOTTOM - (BOTTOM - TOP) * place.max(0.0)
    }
}

/// Operations for each byte.
fn intensity(line: &Line) -> f64 {
    line.flops as f64 / line.bytes as f64
}

/// Operations a second.
fn speed(line: &Line) -> f64 {
    line.flops as f64 / line.seconds
}

/// A little below the least and above the largest.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    (low / 1.5, high * 1.5)
}

fn grid(svg: &mut String, axes: &Axes) {
    let decades = |[low, high]: [f64; 2]| low.ceil() as i32..=high.floor() as i32;
    for power in decades(axes.x) {
        let (value, x) = (10f64.powi(power), axes.x(10f64.powi(power)));
        rule(svg, [x, x, TOP, BOTTOM]);
        text(svg, (x, BOTTOM + 16.0), "small middle", &value.to_string());
    }
    for power in decades(axes.y) {
        let (value, y) = (10f64.powi(power - 9), axes.y(10f64.powi(power)));
        rule(svg, [LEFT, RIGHT, y, y]);
        text(svg, (LEFT - 8.0, y + 4.0), "small end", &value.to_string());
    }
    let middle = (LEFT + RIGHT) / 2.0;
    text(svg, (middle, BOTTOM + 38.0), "small middle", "operations for each byte of the operands");
    text(svg, (LEFT - 8.0, TOP - 6.0), "small end", "GFLOP/s");
}

fn rule(svg: &mut String, [x1, x2, y1, y2]: [f64; 4]) {
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\"/>"
    );
}

/// A slope for each working set, up to the peak.
fn draw_roofs(svg: &mut String, axes: &Axes, roofs: &Roofs) {
    let left = 10f64.powf(axes.x[0]);
    let highest = 10f64.powf(axes.y[1]);
    let peak = roofs.flops.unwrap_or(highest);
    let mut first = f64::INFINITY;
    for &(bytes, bandwidth) in &roofs.bandwidths {
        let (corner, bottom) = (peak / bandwidth, 10f64.powf(axes.y[0]) / bandwidth);
        first = first.min(corner);
        let from = left.max(bottom);
        let points = [(from, from * bandwidth), (corner, peak)];
        let [a, b] = points.map(|(x, y)| format!("{:.1},{:.1}", axes.x(x), axes.y(y)));
        let _ = writeln!(svg, "<polyline class=\"roof\" points=\"{a} {b}\"/>");
        // Written along the slope, near its lower end.
        let (x, y) = (axes.x(from * 1.3), axes.y(from * 1.3 * bandwidth));
        let angle = (axes.y(10.0 * bandwidth) - axes.y(bandwidth))
            .atan2(axes.x(10.0) - axes.x(1.0))
            .to_degrees();
        let size = bytes_text(bytes as u128).replace(".0 ", " ");
        let what = format!("{:.0} GB/s over {size}", bandwidth / 1e9);
        let _ = writeln!(
            svg,
            "<text class=\"small\" transform=\"translate({x:.1} {:.1}) rotate({angle:.1})\">{what}</text>",
            y - 5.0
        );
    }
    if let Some(peak) = roofs.flops.filter(|_| first.is_finite()) {
        let (x, y) = (axes.x(first), axes.y(peak));
        let _ =
            writeln!(svg, "<polyline class=\"roof\" points=\"{x:.1},{y:.1} {RIGHT:.1},{y:.1}\"/>");
        text(svg, (RIGHT, y - 6.0), "small end", &format!("{:.0} GFLOP/s", peak / 1e9));
    }
}

/// `labels` are the names so far, where this dot gets one too.
fn dot(svg: &mut String, axes: &Axes, line: &Line, all: f64, labels: Option<&mut Vec<Label>>) {
    let share = line.seconds / all;
    let (x, y, radius) = (axes.x(intensity(line)), axes.y(speed(line)), 3.0 + 40.0 * share.sqrt());
    let class = if line.roof.compute { "dot" } else { "dot memory" };
    let name = match line.layer.is_empty() {
        true => line.kernel.to_string(),
        false => format!("{} {}", line.kernel, line.layer),
    };
    let _ = writeln!(
        svg,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>",
        escaped(&format!(
            "{} {name} {}: {:.1} µs, {:.0} % of its roof",
            line.number,
            line.detail,
            line.seconds * 1e6,
            100.0 * line.reached()
        ))
    );
    if let Some(labels) = labels {
        let label = format!("{} {name}", line.number);
        let width = 6.5 * label.chars().count() as f64;
        let right = x + radius + 3.0 + width < RIGHT;
        let start = if right { x + radius + 3.0 } else { x - radius - 3.0 - width };
        let mut base = y + 4.0;
        // Below whatever is there already.
        while labels.iter().any(|other| other.overlaps(start, width, base)) {
            base += 12.0;
        }
        labels.push(Label { start, width, base });
        text(svg, (start, base), "small", &label);
    }
}

/// Where a name stands.
struct Label {
    start: f64,
    width: f64,
    base: f64,
}

impl Label {
    fn overlaps(&self, start: f64, width: f64, base: f64) -> bool {
        let beside = self.start + self.width < start || start + width < self.start;
        !beside && (self.base - base).abs() < 12.0
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, what: &str) {
    let what = escaped(what);
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
