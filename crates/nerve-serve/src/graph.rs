//! A model that is an ONNX file: its tensors are what the file says.
//!
//! Requests are run together where the first axis of all inputs and outputs counts rows and rows do not depend on each
//! other. The file says the first, with a name instead of an extent; the second is tried out when the model is loaded.

mod arrays;
mod ask;
mod runner;

pub use arrays::{Array, Data};
pub use runner::{Arrays, Given};

use crate::batch::{Batcher, Batching, EXACT_ROWS};
use crate::model::{ServeError, collect, digest, room};
use crate::refusal::Refusal;
use crate::tensor::Datatype;
use crate::watch::Watch;
use nerve_formats::onnx::{Dim, Type, ValueInfo};
use nerve_onnx::import::{Limits, Network, Options, dtype};
use runner::Graphs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An input or an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its extents; -1 for any.
    pub shape: Vec<i64>,
}

impl Port {
    /// Whether an array may have this shape.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let fits = |(&extent, &found): (&i64, &usize)| extent < 0 || extent as usize == found;
        self.shape.len() == shape.len() && self.shape.iter().zip(shape).all(fits)
    }

    fn new(info: &ValueInfo) -> Result<Port, String> {
        let name = crate::refusal::shown(&info.name);
        let Some(Type::Tensor(element, dims)) = &info.kind else {
            return Err(format!(
                "`{name}` is no array: lists and dictionaries cannot be served (a classifier of scikit-learn is exported \
                 with zipmap=False)"
            ));
        };
        let dims =
            dims.as_ref().ok_or_else(|| format!("the file does not say the rank of `{name}`"))?;
        let datatype = match dtype(*element) {
            Some(dtype) => Datatype::of(dtype),
            None if *element == nerve_formats::onnx::DataType::String => Datatype::Bytes,
            None => {
                return Err(format!("`{name}` is of type {}, which nerve has not", element.name()));
            }
        };
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => i64::try_from(*extent).unwrap_or(i64::MAX),
            Dim::Named(_) => -1,
        };
        Ok(Port { name: info.name.clone(), datatype, shape: dims.iter().map(extent).collect() })
    }
}

/// One version of a model that is an ONNX file, ready to answer.
pub struct Graph {
    /// The name that clients use.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// What it has done so far.
    pub watch: Arc<Watch>,
    /// The digest of its file, in hexadecimal.
    pub sha256: String,
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// Why rows of several requests are not run together; `None` where they are.
    pub apart: Option<String>,
    batcher: Batcher<Arrays>,
}

/// Models of at most so many bytes of weights have the plans of all sizes of batches made when they are loaded; of larger
/// ones, whose plans take as much memory each, a plan is made when it is needed first.
const SMALL: usize = 16 << 20;
/// The extent of an axis that may have any, when a model is tried out.
const TRIED: usize = 32;

impl Graph {
    /// Opens a file and tries the network out. Weights in files beside it are read if `external_data` says so.
    ///
    /// # Errors
    /// The file cannot be read, is no ONNX model, uses what nerve does not have, or has inputs or outputs that are no arrays.
    pub fn open(
        name: &str,
        version: u64,
        file: &Path,
        batching: Batching,
        external_data: bool,
    ) -> Result<Graph, ServeError> {
        let refuse = |message: String| ServeError::Unfit {
            file: nerve_formats::escape(&file.to_string_lossy(), 200),
            message,
        };
        let model = nerve_formats::onnx::read_model(file, external_data)
            .map_err(|error| refuse(error.to_string()))?;
        let limits = Limits { time: Duration::from_secs(30), ..Limits::default() };
        // Its name, not its place: clients see the messages of its errors.
        let network = Network::new(name, model, Options { external_data, limits })
            .map_err(|error| refuse(error.to_string()))?;
        let inputs: Vec<Port> =
            network.input_infos().map(Port::new).collect::<Result<_, _>>().map_err(&refuse)?;
        let outputs: Vec<Port> = network
            .output_infos()
            .iter()
            .map(Port::new)
            .collect::<Result<_, _>>()
            .map_err(&refuse)?;
        let least = if batching.exact { EXACT_ROWS } else { 1 };
        let mut graphs = Graphs { network, rows: None };
        let apart = match together(&graphs, &inputs, &outputs) {
            Ok(()) => {
                graphs.rows = Some((least, batching.most_rows));
                warm(&graphs, &inputs, batching.most_rows);
                None
            }
            Err(why) => Some(why),
        };
        let watch = Arc::new(Watch::default());
        let batcher = Batcher::start(Box::new(graphs), batching, watch.clone())
            .map_err(|error| refuse(error.to_string()))?;
        let (name, sha256) = (name.to_string(), digest(file).map_err(|e| refuse(e.to_string()))?);
        Ok(Graph { name, version, watch, sha256, inputs, outputs, apart, batcher })
    }

    /// The most rows of a batch; 0 where requests are not run together.
    pub fn most_rows(&self) -> usize {
        if self.apart.is_none() { self.batcher.most_rows() } else { 0 }
    }

    /// Arrays, one for each input, in pieces of at most a batch.
    ///
    /// # Errors
    /// 422: the arrays have different numbers of rows, or too many.
    pub fn pieces(&self, arrays: Vec<Array>) -> Result<Vec<Arrays>, Refusal> {
        if self.apart.is_some() {
            return Ok(vec![Arrays { rows: 1, batched: false, arrays }]);
        }
        let rows = arrays[0].dims[0];
        if let Some(at) = arrays.iter().position(|array| array.dims[0] != rows) {
            let (name, found) = (crate::refusal::shown(&self.inputs[at].name), arrays[at].dims[0]);
            let message = format!("input `{name}` has {found} rows, another has {rows}");
            return Err(Refusal::unfit(message));
        }
        if rows == 0 || rows > crate::infer::MOST_ROWS {
            let most = crate::infer::MOST_ROWS;
            return Err(Refusal::unfit(format!("expected 1 to {most} rows, found {rows}")));
        }
        let most = self.batcher.most_rows();
        if rows <= most {
            return Ok(vec![Arrays { rows, batched: true, arrays }]);
        }
        let piece = |from: usize| {
            let range = from..(from + most).min(rows);
            let arrays = arrays.iter().map(|array| array.rows(range.clone())).collect();
            Arrays { rows: range.len(), batched: true, arrays }
        };
        Ok((0..rows).step_by(most).map(piece).collect())
    }

    /// Whether there is room for another request.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub fn room(&self) -> Result<(), Refusal> {
        room(&self.batcher, &self.watch)
    }

    /// For each output its array.
    ///
    /// # Errors
    /// 503 when too many wait, 504 when the time is over, 422 for shapes that do not fit, 500 when the network fails.
    pub async fn answer(&self, pieces: Vec<Arrays>, until: Instant) -> Result<Vec<Array>, Refusal> {
        let mut parts = Vec::new();
        for done in collect(&self.batcher, &self.watch, pieces, until).await? {
            let refused = |(status, message)| Refusal::new(status, message);
            parts.push(done.outputs.map_err(refused)?);
        }
        if parts.len() == 1 {
            return Ok(parts.swap_remove(0));
        }
        let stacked = |output: usize| Array::stacked(parts.iter().map(|part| &part[output]));
        let all: Option<Vec<Array>> = (0..self.outputs.len()).map(stacked).collect();
        all.ok_or_else(|| Refusal::new(500, "the parts of an answer do not fit each other"))
    }
}

/// Arrays of made-up numbers for `rows` rows: small whole ones, which are indices everywhere, where whole ones are wanted.
fn made_up(inputs: &[Port], rows: usize) -> Option<Vec<Array>> {
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let array = |port: &Port| {
        let extent = |&extent: &i64| usize::try_from(extent).unwrap_or(TRIED);
        let mut dims: Vec<usize> = port.shape.iter().map(extent).collect();
        *dims.first_mut()? = rows;
        let count =
            dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1 << 24)?;
        let data = match port.datatype {
            Datatype::Fp32 => {
                Data::F32((0..count).map(|_| next() as f32 / (1 << 24) as f32).collect())
            }
            Datatype::Fp64 => {
                Data::F64((0..count).map(|_| f64::from(next()) / f64::from(1 << 24)).collect())
            }
            Datatype::Int64 => Data::I64((0..count).map(|_| i64::from(next() & 1)).collect()),
            Datatype::Int32 => Data::I32((0..count).map(|_| (next() & 1) as i32).collect()),
            Datatype::Int8 => Data::I8((0..count).map(|_| (next() & 1) as i8).collect()),
            Datatype::Uint8 => Data::U8((0..count).map(|_| next() as u8).collect()),
            Datatype::Bool => Data::Bool((0..count).map(|_| next() & 1 == 0).collect()),
            _ => Data::Texts((0..count).map(|_| next().to_string()).collect()),
        };
        Some(Array { dims, data })
    };
    inputs.iter().map(array).collect()
}

/// Whether rows can be run together: three made-up ones get the same answers together and alone.
fn together(graphs: &Graphs, inputs: &[Port], outputs: &[Port]) -> Result<(), String> {
    let all = inputs.iter().chain(outputs);
    if let Some(port) = all.clone().find(|port| port.shape.first() != Some(&-1)) {
        let name = crate::refusal::shown(&port.name);
        return Err(format!("the first axis of `{name}` does not count rows"));
    }
    if inputs.is_empty() {
        return Err("nothing goes in".into());
    }
    let rows = made_up(inputs, 3).ok_or("a row is too large to try it out")?;
    let failed = |(_, message): (u16, String)| format!("it cannot be tried out: {message}");
    let whole = graphs.arrays(&rows).map_err(failed)?;
    if whole.iter().any(|output| output.dims.first() != Some(&3)) {
        return Err("an output has not as many rows as went in".into());
    }
    for at in 0..3 {
        let row: Vec<Array> = rows.iter().map(|array| array.rows(at..at + 1)).collect();
        let alone = graphs.arrays(&row).map_err(failed)?;
        let same = |(whole, alone): (&Array, &Array)| {
            let own = whole.rows(at..at + 1);
            own.dims == alone.dims && alike(&own.data, &alone.data)
        };
        if !whole.iter().zip(&alone).all(same) {
            return Err("what a row gets depends on the rows beside it".into());
        }
    }
    Ok(())
}

/// The same up to the order in which sums are added.
fn alike(a: &Data, b: &Data) -> bool {
    if matches!(a, Data::Texts(_)) {
        return a == b;
    }
    let (a, b) = (a.numbers(), b.numbers());
    let size = a.iter().fold(0f64, |size, v| size.max(v.abs()));
    let close =
        |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-3 * size || (a.is_nan() && b.is_nan());
    a.len() == b.len() && a.iter().zip(&b).all(close)
}

/// Makes the plans for all sizes of batches of a small network whose rows have one shape.
fn warm(graphs: &Graphs, inputs: &[Port], most: usize) {
    let bytes = 4 * graphs.network.params().count();
    let fixed = inputs.iter().all(|port| port.shape[1..].iter().all(|&extent| extent >= 0));
    let Some((least, _)) = graphs.rows else { return };
    if bytes > SMALL || !fixed {
        return;
    }
    let sizes =
        std::iter::successors(Some(least), |size| (*size < most).then(|| (size * 2).min(most)));
    for size in sizes {
        let Some(rows) = made_up(inputs, size) else { return };
        // What fails will fail in a request again, where it can be told.
        let _ = graphs.arrays(&rows);
    }
}
