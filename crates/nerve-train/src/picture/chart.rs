//! Charts: lines, dots and bars over two axes.

use super::canvas::Canvas;
use super::raster::Raster;
use super::svg::{Anchor, Svg};

const LEFT: f64 = 62.0;
const TOP: f64 = 34.0;
/// A row of the legend below the axis.
const ROW: f64 = 18.0;

/// An axis: what it says, and from where to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// From the lowest to the highest of these values; those that are not finite do not count.
    pub fn of(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Axis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let wider = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), wider);
        let (low, high) = match (low.is_finite(), high - low) {
            (false, _) => (0.0, 1.0),
            (true, width) if width > 0.0 && width.is_finite() => (low, high),
            // A single value, in the middle.
            (true, _) => (low - low.abs().max(1.0) * 0.5, low + low.abs().max(1.0) * 0.5),
        };
        Axis { label: label.into(), low, high, log: false }
    }

    /// As [`Axis::of`], on which equal ratios are equally far apart; what is not positive does not count,
    /// and is not drawn.
    pub fn log(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Axis {
        let positive = values.into_iter().filter(|value| *value > 0.0);
        let mut axis = Axis::of(label, positive);
        if axis.low <= 0.0 {
            (axis.low, axis.high) = (0.1, 1.0);
        }
        Axis { log: true, ..axis }
    }

    /// What it says.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// From where to where.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Whether a value has a place on it.
    pub(super) fn takes(&self, value: f64) -> bool {
        value.is_finite() && (!self.log || value > 0.0)
    }

    /// The place of a value between the ends, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let (value, low, high) = match self.log {
            true => (value.log10(), self.low.log10(), self.high.log10()),
            false => (value, self.low, self.high),
        };
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Round numbers on it, about `count`.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        if !self.log {
            return ticks(self.low, self.high, count);
        }
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let every = ((last - first) as usize).div_ceil(count.max(1)).max(1);
        let inside = |value: &f64| (self.low * 0.999..=self.high * 1.001).contains(value);
        let decades = (first..=last).step_by(every).map(|power| 10f64.powi(power));
        let decades: Vec<f64> = decades.filter(inside).collect();
        if decades.len() > 2 {
            return decades;
        }
        let finer = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(power)));
        let finer: Vec<f64> = finer.filter(inside).collect();
        if finer.len() > 2 { finer } else { ticks(self.low, self.high, count) }
    }
}

/// Round numbers between two ends, about `count`: multiples of 1, 2 or 5 times a power of ten.
///
/// ```
/// use nerve_train::picture::ticks;
/// assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
/// ```
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let raw = (high - low) / count.max(1) as f64;
    if raw <= 0.0 || !raw.is_finite() || raw.log10().floor() < -300.0 {
        return vec![low];
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = (last - first).clamp(0.0, 100.0) as usize;
    // Divided where the step is below one: 0.6, not 0.6000000000000001.
    let value = |i: f64| if step < 1.0 { i / (1.0 / step).round() } else { i * step };
    (0..=count).map(|i| value(first + i as f64)).collect()
}

/// What is drawn into a chart.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    Line(usize, String, Vec<(f64, f64)>),
    /// What a line was smoothed from, behind it.
    Faint(usize, Vec<(f64, f64)>),
    Dots(usize, Vec<(f64, f64)>),
    /// From, to, height.
    Bars(usize, Vec<(f64, f64, f64)>),
    /// A dashed line between two points: where it should be.
    Even((f64, f64), (f64, f64)),
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) marks: Vec<Mark>,
    width: f64,
    height: f64,
}

impl Chart {
    /// An empty chart.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Chart {
        Chart { title: title.into(), x, y, marks: Vec::new(), width: 420.0, height: 320.0 }
    }

    /// Another size in pixels than 420 by 320; at least 160 by 120.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Chart {
        (self.width, self.height) = (f64::from(width.max(160)), f64::from(height.max(120)));
        self
    }

    /// A line in one of four colours, dashed from the fifth on, with its name; without one if it is empty.
    #[must_use]
    pub fn line(mut self, colour: usize, name: impl Into<String>, points: &[(f64, f64)]) -> Chart {
        self.marks.push(Mark::Line(colour % 12, name.into(), points.to_vec()));
        self
    }

    /// A thin line behind the others: what one of this colour was smoothed from.
    #[must_use]
    pub fn faint(mut self, colour: usize, points: &[(f64, f64)]) -> Chart {
        self.marks.push(Mark::Faint(colour % 12, points.to_vec()));
        self
    }

    /// Dots in one of four colours.
    #[must_use]
    pub fn dots(mut self, colour: usize, points: &[(f64, f64)]) -> Chart {
        self.marks.push(Mark::Dots(colour % 4, points.to_vec()));
        self
    }

    /// Bars from the lower axis, each from one x to another, in one of four colours.
    #[must_use]
    pub fn bars(mut self, colour: usize, bars: &[(f64, f64, f64)]) -> Chart {
        self.marks.push(Mark::Bars(colour % 4, bars.to_vec()));
        self
    }

    /// A dashed line where all would lie if all were right.
    #[must_use]
    pub fn even(mut self, from: (f64, f64), to: (f64, f64)) -> Chart {
        self.marks.push(Mark::Even(from, to));
        self
    }

    /// The right end of the horizontal axis, and how deep the axis lies.
    fn corner(&self) -> (f64, f64) {
        (self.width - 14.0, self.height - 46.0)
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (right, bottom) = self.corner();
        (LEFT + self.x.share(x) * (right - LEFT), bottom - self.y.share(y) * (bottom - TOP))
    }

    /// The picture as SVG.
    pub fn svg(&self) -> String {
        let about = format!("{}: {} over {}", self.title, self.y.label, self.x.label);
        let mut svg = Svg::new(self.width, self.height + self.below(), &about);
        self.draw(&mut svg);
        svg.finish()
    }

    /// The picture as a PNG file in the light colours, `scale` pixels for one of the SVG.
    pub fn png(&self, scale: u32) -> Vec<u8> {
        let mut raster = Raster::new(self.width, self.height + self.below(), scale);
        self.draw(&mut raster);
        raster.png()
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        canvas.text("title", (LEFT, 16.0), Anchor::Start, &self.title);
        self.axes(canvas);
        // What fills lies below what is thin.
        let depth = |mark: &&Mark| match mark {
            Mark::Bars(..) => 0,
            Mark::Even(..) => 1,
            Mark::Dots(..) => 2,
            Mark::Faint(..) => 3,
            Mark::Line(..) => 4,
        };
        let mut marks: Vec<&Mark> = self.marks.iter().collect();
        marks.sort_by_key(depth);
        marks.into_iter().for_each(|mark| self.mark(canvas, mark));
        self.legend(canvas);
    }

    fn axes(&self, canvas: &mut dyn Canvas) {
        let (right, bottom) = self.corner();
        for value in self.x.ticks(5) {
            let (x, _) = self.place((value, self.y.low));
            canvas.line("grid", [x, TOP, x, bottom]);
            canvas.text("soft", (x, bottom + 16.0), Anchor::Middle, &tick_text(value));
        }
        for value in self.y.ticks(5) {
            let (_, y) = self.place((self.x.low, value));
            canvas.line("grid", [LEFT, y, right, y]);
            canvas.text("soft", (LEFT - 6.0, y + 4.0), Anchor::End, &tick_text(value));
        }
        canvas.line("axis", [LEFT, bottom, right, bottom]);
        canvas.line("axis", [LEFT, TOP, LEFT, bottom]);
        let middle = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let below = (middle.0, self.height - 10.0);
        canvas.text("soft", below, Anchor::Middle, &self.x.label);
        canvas.upwards("soft", (14.0, middle.1), &self.y.label);
    }

    fn mark(&self, canvas: &mut dyn Canvas, mark: &Mark) {
        let drawn = |(x, y): &&(f64, f64)| self.x.takes(*x) && self.y.takes(*y);
        let places = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().filter(drawn).map(|&point| self.place(point)).collect()
        };
        let (_, bottom) = self.corner();
        match mark {
            Mark::Line(colour, _, points) => {
                let points = places(points);
                canvas.polyline(&line_class(*colour), &points);
                if points.len() <= 30 {
                    let class = format!("f{}", colour % 4);
                    points.iter().for_each(|&place| canvas.dot(&class, place, 3.0));
                }
            }
            Mark::Faint(colour, points) => {
                canvas.polyline(&format!("s{} faint", colour % 4), &places(points));
            }
            Mark::Dots(colour, points) => {
                let class = format!("dots f{colour}");
                places(points).into_iter().for_each(|place| canvas.dot(&class, place, 2.5));
            }
            Mark::Bars(colour, bars) => {
                for &(from, to, height) in bars {
                    let (x1, y) = self.place((from, height));
                    let (x2, _) = self.place((to, height));
                    let rect = [x1 + 0.5, y, (x2 - x1 - 1.0).max(0.5), bottom - y];
                    canvas.rect(&format!("bar f{colour}"), rect, 0.28);
                }
            }
            Mark::Even(from, to) => canvas.polyline("even", &[self.place(*from), self.place(*to)]),
        }
    }

    /// The colours and names of the lines that have one, and how wide each is in the legend.
    fn names(&self) -> Vec<(usize, &str, f64)> {
        let named = self.marks.iter().filter_map(|mark| match mark {
            Mark::Line(colour, name, _) if !name.is_empty() => {
                // About what twelve pixels high letters take.
                Some((*colour, name.as_str(), 6.6 * name.chars().count() as f64 + 34.0))
            }
            _ => None,
        });
        named.collect()
    }

    /// Whether the names stand beside the title.
    fn beside(&self) -> bool {
        let names: f64 = self.names().iter().map(|(_, _, width)| width).sum();
        let title = 7.2 * self.title.chars().count() as f64;
        LEFT + title + names <= self.corner().0
    }

    /// The rows of the legend, where it stands below the chart.
    fn rows(&self) -> Vec<Vec<(usize, &str, f64)>> {
        let room = self.corner().0 - LEFT;
        let (mut rows, mut used) = (vec![Vec::new()], 0.0);
        for name in self.names() {
            if used > 0.0 && used + name.2 > room {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += name.2;
            rows.last_mut().expect("there is one").push(name);
        }
        rows
    }

    /// How much higher the picture is for the legend.
    fn below(&self) -> f64 {
        if self.beside() { 0.0 } else { ROW * self.rows().len() as f64 }
    }

    fn legend(&self, canvas: &mut dyn Canvas) {
        if self.beside() {
            let mut x = self.corner().0;
            for (colour, name, width) in self.names().iter().rev() {
                canvas.text("soft", (x, 16.0), Anchor::End, name);
                x -= width - 26.0;
                canvas.polyline(&line_class(*colour), &[(x - 14.0, 12.0), (x, 12.0)]);
                x -= 26.0;
            }
            return;
        }
        for (i, row) in self.rows().iter().enumerate() {
            let (mut x, y) = (LEFT, self.height + ROW * i as f64 + 10.0);
            for (colour, name, width) in row {
                canvas.polyline(&line_class(*colour), &[(x, y - 4.0), (x + 14.0, y - 4.0)]);
                canvas.text("soft", (x + 20.0, y), Anchor::Start, name);
                x += width;
            }
        }
    }
}

/// Four colours; then the same ones dashed, and dotted.
fn line_class(colour: usize) -> String {
    match colour / 4 {
        0 => format!("s{}", colour % 4),
        dashes => format!("s{} d{dashes}", colour % 4),
    }
}

pub(super) fn tick_text(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 || (size > 0.0 && size < 1e-3) => format!("{value:.1e}"),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_axis_has_ticks_and_places_at_equal_ratios() {
        let axis = Axis::log("loss", [0.001, 10.0, -1.0, 0.0, f64::NAN]);
        assert_eq!(axis.range(), (0.001, 10.0));
        assert_eq!(axis.ticks(5), [0.001, 0.01, 0.1, 1.0, 10.0]);
        assert!((axis.share(0.1) - 0.5).abs() < 1e-12);
        assert!(!axis.takes(0.0) && axis.takes(0.5));
        assert_eq!(Axis::log("a", [0.3, 3.0]).ticks(5), [0.5, 1.0, 2.0]);
        assert_eq!(Axis::log("a", [1.0, 1.1]).ticks(2), [1.0, 1.05, 1.1]);
        assert_eq!(Axis::log("a", [-1.0]).range(), (0.1, 1.0));
        let far = Axis::log("a", [1e-30, 1e30]).ticks(5);
        assert!(far.len() <= 7 && far.len() > 2, "{far:?}");
    }

    #[test]
    fn a_legend_that_is_too_wide_stands_below() {
        let chart = |names: &[&str]| {
            let axis = || Axis::of("x", [0.0, 1.0]);
            names.iter().enumerate().fold(Chart::new("t", axis(), axis()), |chart, (i, name)| {
                chart.line(i, *name, &[(0.0, 0.0), (1.0, 1.0)])
            })
        };
        assert_eq!(chart(&["a", "b"]).below(), 0.0);
        let long = "a run with a long name, loss/train";
        let wide = chart(&[long, long, "b", "c", "dashed"]);
        assert_eq!(wide.below(), 3.0 * ROW);
        let svg = wide.svg();
        assert!(svg.contains("height=\"374\"") && svg.contains("s0 d1"), "{svg}");
        assert_eq!(svg.matches(long).count(), 2);
        assert!(wide.size(840, 420).svg().contains("width=\"840\""));
    }
}
