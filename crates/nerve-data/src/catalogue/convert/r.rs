//! Data frames of R as CSV.

use nerve_formats::Limits;
use nerve_formats::archive::{Member, decompress};
use nerve_formats::rdata::{RColumn, read_rda};

use super::{Job, csv_line};
use crate::DataError;

/// The member holds one data frame, which becomes a CSV file.
pub(super) fn make(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut out = String::new();
    for member in &job.members {
        let bytes = decompress(&member.path, &member.bytes, &Limits::default())?;
        for (_, frame) in read_rda(&member.path, &bytes)? {
            csv_line(&mut out, frame.iter().map(|(name, _)| name.as_str()));
            let columns: Vec<Vec<String>> = frame.iter().map(|(_, column)| cells(column)).collect();
            for row in 0..columns.iter().map(Vec::len).min().unwrap_or(0) {
                csv_line(&mut out, columns.iter().map(|cells| cells[row].as_str()));
            }
        }
    }
    Ok(job.one(out))
}

/// The cells as text; empty where R has no value.
fn cells(column: &RColumn) -> Vec<String> {
    fn all<T: ToString>(values: &[Option<T>]) -> Vec<String> {
        values.iter().map(|value| value.as_ref().map_or(String::new(), T::to_string)).collect()
    }
    match column {
        RColumn::Logical(values) => all(values),
        RColumn::Integers(values) => all(values),
        RColumn::Texts(values) => all(values),
        RColumn::Reals(values) => {
            values.iter().map(|x| if x.is_nan() { String::new() } else { x.to_string() }).collect()
        }
        RColumn::Factor(levels, places) => {
            let name =
                |place: &Option<usize>| place.map_or(String::new(), |place| levels[place].clone());
            places.iter().map(name).collect()
        }
    }
}
