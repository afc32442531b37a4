//! `nerve data`: the named data sets, and what data hold.

pub mod cache;
mod check;
mod get;
mod list;
mod look;
mod preview;
mod split;
mod stats;

use crate::args::Data;
use crate::failure::Failure;

pub fn run(command: &Data) -> Result<(), Failure> {
    match command {
        Data::List(args) => list::run(args),
        Data::Get(args) => get::run(args),
        Data::Preview(args) => preview::run(args),
        Data::Check(args) => check::run(args),
        Data::Stats(args) => stats::run(args),
        Data::Split(args) => split::run(args),
        Data::Cache(args) => cache::run(args),
    }
}
