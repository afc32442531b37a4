//! Drawing: charts as SVG, PNG or characters of a terminal, heat maps as SVG, pixels as PNG. For reports and pages that need nothing beside
//! themselves.
//!
//! ```
//! use nerve_train::picture::{Axis, Chart};
//! let losses = [(1.0, 2.3), (2.0, 0.9), (3.0, 0.4)];
//! let chart = Chart::new("Loss", Axis::of("epoch", [1.0, 3.0]), Axis::of("loss", [0.0, 2.3]))
//!     .line(0, "training", &losses);
//! let svg = chart.svg();
//! assert!(svg.starts_with("<svg") && svg.contains("<polyline"));
//! ```
//!
//! Colours are classes (`s0`, `s1`, … for what is drawn, `axis`, `grid`, …), which [`STYLE`] sets for
//! light and dark; a page has it once, [`standalone`] puts it into a file of its own.

mod braille;
mod canvas;
mod chart;
mod font;
mod heat;
mod png;
mod raster;
mod spark;
mod svg;
mod thin;

pub use chart::{Axis, Chart, ticks};
pub use heat::heat_map;
pub use png::{data_uri, encode};
pub use spark::sparkline;
pub use svg::{STYLE, Svg, escape, standalone};
pub use thin::thinned;
