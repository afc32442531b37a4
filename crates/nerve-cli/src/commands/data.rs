//! `nerve data`: the named data sets, and what data hold.

mod get;
mod list;
mod preview;

use crate::args::Data;
use crate::failure::Failure;

pub fn run(command: &Data) -> Result<(), Failure> {
    match command {
        Data::List(args) => list::run(args),
        Data::Get(args) => get::run(args),
        Data::Preview(args) => preview::run(args),
    }
}
