//! The dashboard: one page over the run folders, and the report in one file.
//!
//! | place | what lives there |
//! |---|---|
//! | [`Dashboard`] | the server: on the loopback, for reading only |
//! | [`report`] | the page and the data of one run in one file |
//! | `book.rs` | a run as its events tell it, read once and then only what is new |
//! | `thin.rs` | the points of a curve that a picture needs |
//! | `api.rs`, `examples.rs` | what the page asks for, as JSON |
//! | `live.rs` | new events, as they are written |
//! | `assets/` | the page: HTML, CSS and scripts of our own, and uPlot for the curves |
//!
//! # What the page asks for
//!
//! | address | answer |
//! |---|---|
//! | `/api/runs` | every run: how it stands, its last and best scores |
//! | `/api/runs/RUN/tags` | what there is of a run, its epochs, notes and checkpoints |
//! | `/api/runs/RUN/scalars?tags=A,B&x=step&from&to&px` | curves; thinned where there are more than 4 points a pixel |
//! | `/api/runs/RUN/events?from=OFFSET` | new lines of `events.jsonl` (server-sent events; the id is the offset) |
//! | `/api/runs/RUN/confusion?tag`, `histograms?tag`, `layers` | as their names say |
//! | `/api/runs/RUN/evaluation`, `worst?part&output&truth&said&wrong&n` | verdicts, and the examples behind them |
//! | `/api/runs/RUN/recipe`, `model` | the recipe with its settings; the layers |
//! | `/api/runs/RUN/picture?name` | a picture that an event or an example named |
//! | `/api/tunings`, `/api/tunings/NAME` | the tunings of the folder; the trials of one, and which parameters decided |
//!
//! Names of runs are looked up among those that are there; no path is made of what a request says.
//! Everything is asked with GET, from this machine, by its own name.
#![forbid(unsafe_code)]

mod api;
mod book;
mod examples;
mod files;
mod live;
mod page;
mod report;
mod runs;
mod server;
mod thin;
mod tuning;

pub use api::Refusal;
pub use report::{report, write_report};
pub use server::{Dashboard, UiError};
