//! Charts: lines, dots and bars over two axes.

use super::svg::{Anchor, Svg};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// An axis: what it says, and from where to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
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
        Axis { label: label.into(), low, high }
    }

    /// The place of a value between the ends, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
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
enum Mark {
    Line(usize, String, Vec<(f64, f64)>),
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
    x: Axis,
    y: Axis,
    marks: Vec<Mark>,
}

impl Chart {
    /// An empty chart.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Chart {
        Chart { title: title.into(), x, y, marks: Vec::new() }
    }

    /// A line in one of four colours, with its name; without one if it is empty.
    #[must_use]
    pub fn line(mut self, colour: usize, name: impl Into<String>, points: &[(f64, f64)]) -> Chart {
        self.marks.push(Mark::Line(colour % 4, name.into(), points.to_vec()));
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

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (LEFT + self.x.share(x) * (RIGHT - LEFT), BOTTOM - self.y.share(y) * (BOTTOM - TOP))
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let about = format!("{}: {} over {}", self.title, self.y.label, self.x.label);
        let mut svg = Svg::new(WIDTH, HEIGHT, &about);
        svg.text("title", (LEFT, 16.0), Anchor::Start, &self.title);
        self.axes(&mut svg);
        // What fills lies below what is thin.
        let depth = |mark: &&Mark| match mark {
            Mark::Bars(..) => 0,
            Mark::Even(..) => 1,
            Mark::Dots(..) => 2,
            Mark::Line(..) => 3,
        };
        let mut marks: Vec<&Mark> = self.marks.iter().collect();
        marks.sort_by_key(depth);
        let mut names = Vec::new();
        for mark in marks {
            self.mark(&mut svg, mark);
            if let Mark::Line(colour, name, _) = mark
                && !name.is_empty()
            {
                names.push((*colour, name.as_str()));
            }
        }
        self.legend(&mut svg, &names);
        svg.finish()
    }

    fn axes(&self, svg: &mut Svg) {
        for value in ticks(self.x.low, self.x.high, 5) {
            let (x, _) = self.place((value, self.y.low));
            svg.line("grid", [x, TOP, x, BOTTOM]);
            svg.text("soft", (x, BOTTOM + 16.0), Anchor::Middle, &tick_text(value));
        }
        for value in ticks(self.y.low, self.y.high, 5) {
            let (_, y) = self.place((self.x.low, value));
            svg.line("grid", [LEFT, y, RIGHT, y]);
            svg.text("soft", (LEFT - 6.0, y + 4.0), Anchor::End, &tick_text(value));
        }
        svg.line("axis", [LEFT, BOTTOM, RIGHT, BOTTOM]);
        svg.line("axis", [LEFT, TOP, LEFT, BOTTOM]);
        let middle = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        svg.text("soft", (middle.0, HEIGHT - 10.0), Anchor::Middle, &self.x.label);
        svg.upwards("soft", (14.0, middle.1), &self.y.label);
    }

    fn mark(&self, svg: &mut Svg, mark: &Mark) {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        match mark {
            Mark::Line(colour, _, points) => {
                let points: Vec<_> = points.iter().filter(|p| finite(p)).copied().collect();
                svg.polyline(&format!("s{colour}"), points.iter().map(|&p| self.place(p)));
                if points.len() <= 30 {
                    let class = format!("f{colour}");
                    points.iter().for_each(|&point| svg.dot(&class, self.place(point), 3.0));
                }
            }
            Mark::Dots(colour, points) => {
                let class = format!("dots f{colour}");
                let places = points.iter().filter(|p| finite(p)).map(|&p| self.place(p));
                places.for_each(|place| svg.dot(&class, place, 2.5));
            }
            Mark::Bars(colour, bars) => {
                for &(from, to, height) in bars {
                    let (x1, y) = self.place((from, height));
                    let (x2, _) = self.place((to, height));
                    let rect = [x1 + 0.5, y, (x2 - x1 - 1.0).max(0.5), BOTTOM - y];
                    svg.rect(&format!("bar f{colour}"), rect, 0.28);
                }
            }
            Mark::Even(from, to) => {
                let points = [self.place(*from), self.place(*to)];
                svg.polyline("even", points.into_iter());
            }
        }
    }

    fn legend(&self, svg: &mut Svg, names: &[(usize, &str)]) {
        let mut x = RIGHT;
        for (colour, name) in names.iter().rev() {
            svg.text("soft", (x, 16.0), Anchor::End, name);
            // About what twelve pixels high letters take.
            x -= 6.6 * name.chars().count() as f64 + 8.0;
            svg.line(&format!("s{colour}"), [x - 14.0, 12.0, x, 12.0]);
            x -= 26.0;
        }
    }
}

fn tick_text(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 || (size > 0.0 && size < 1e-3) => format!("{value:.1e}"),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}
