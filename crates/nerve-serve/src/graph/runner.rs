//! Running the network of an ONNX file for requests.

use super::arrays::Array;
use crate::batch::{Runner, Work};
use nerve_onnx::import::{ImportError, ImportErrorKind, Network, Value};
use std::ops::Range;

/// The arrays of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// How many rows they have; 1 where the model has no axis of rows.
    pub rows: usize,
    /// Whether the first axis of each counts rows.
    pub batched: bool,
    /// For each input of the network its array.
    pub arrays: Vec<Array>,
}

/// For each output its array; or the status and the sentence of a refusal.
pub type Given = Result<Vec<Array>, (u16, String)>;

impl Work for Arrays {
    type Outputs = Given;

    fn rows(&self) -> usize {
        self.rows
    }

    fn joins(&self, other: &Arrays) -> bool {
        let same = |(a, b): (&Array, &Array)| a.dims[1..] == b.dims[1..];
        self.batched && self.arrays.iter().zip(&other.arrays).all(same)
    }

    fn part(outputs: &Given, range: Range<usize>, all: usize) -> Given {
        match outputs {
            Ok(arrays) if range != (0..all) => {
                Ok(arrays.iter().map(|array| array.rows(range.clone())).collect())
            }
            whole => whole.clone(),
        }
    }
}

/// A network, and how many rows it may be given at a time.
pub(super) struct Graphs {
    pub network: Network,
    /// The fewest and the most rows of a batch; `None` where the network has no axis of rows.
    pub rows: Option<(usize, usize)>,
}

impl Graphs {
    /// Runs arrays as they are.
    pub fn arrays(&self, arrays: &[Array]) -> Given {
        let values: Vec<Value> = arrays.iter().map(Array::value).collect();
        let outputs = self.network.run(&values).map_err(refused)?;
        let array = |value: &Value| {
            let found = || (500, "an output is no array".to_string());
            Array::of_value(value).ok_or_else(found)
        };
        outputs.iter().map(array).collect()
    }

    /// Runs rows in a batch of the next power of two, so that there are few plans: those behind them repeat the last.
    pub fn padded(&self, arrays: &[Array], rows: usize, (least, most): (usize, usize)) -> Given {
        let size = rows.next_power_of_two().min(most).max(least).max(rows);
        let padded: Vec<Array> = arrays.iter().map(|array| array.clone().padded(size)).collect();
        let outputs = self.arrays(&padded)?;
        if outputs.iter().any(|output| output.dims.first() != Some(&size)) {
            return Err((500, "an output has not as many rows as went in".to_string()));
        }
        Ok(outputs.iter().map(|output| output.rows(0..rows)).collect())
    }
}

/// Nothing of the message names a place of this machine: the network is called by the name of the model.
fn refused(error: ImportError) -> (u16, String) {
    let status = if error.kind() == ImportErrorKind::Input { 422 } else { 500 };
    (status, error.to_string())
}

impl Runner<Arrays> for Graphs {
    fn most_rows(&self) -> usize {
        self.rows.map_or(1, |(_, most)| most)
    }

    fn run(&mut self, batch: &[&Arrays], _: &dyn Fn() -> bool) -> Result<Given, String> {
        let given = match (self.rows, batch) {
            (None, [one]) => self.arrays(&one.arrays),
            (None, _) => return Err("requests that cannot be put together".into()),
            (Some(bounds), _) => {
                let stacked = |input: usize| {
                    Array::stacked(batch.iter().map(|arrays| &arrays.arrays[input]))
                        .ok_or("arrays of different types")
                };
                let inputs = batch.first().map_or(0, |arrays| arrays.arrays.len());
                let all = (0..inputs).map(stacked).collect::<Result<Vec<_>, _>>()?;
                self.padded(&all, batch.iter().map(|arrays| arrays.rows).sum(), bounds)
            }
        };
        match given {
            // Each is run alone then, so that one that is at fault takes no other with it.
            Err((_, message)) if batch.len() > 1 => Err(message),
            given => Ok(given),
        }
    }
}
