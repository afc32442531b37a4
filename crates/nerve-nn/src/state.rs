//! The state of a network as named bytes: saving it and loading it again.
//!
//! Names, shapes and layouts are those of a state dict of PyTorch, so a safetensors file from
//! there loads as it is, and one from here loads there.

mod near;

use crate::params::Params;
use nerve_core::{DType, Shape, Var};
use nerve_formats::safetensors::{Dtype, Elements, NewTensor, SafeTensors, TensorView};
use nerve_formats::{FormatError, escape, write_safetensors};
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// The content of one variable.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor {
    /// Its name: for parameters the path.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its shape.
    pub shape: Shape,
    /// Its elements, row-major, each in little-endian order.
    pub bytes: Vec<u8>,
}

impl StateTensor {
    /// The content of a variable, under this name.
    pub fn of(name: impl Into<String>, var: &Var) -> StateTensor {
        let (dtype, shape) = (var.dtype(), var.shape().clone());
        let mut tensor = StateTensor { name: name.into(), dtype, shape, bytes: Vec::new() };
        tensor.capture(var);
        tensor
    }

    /// Takes over the content of a variable of the same type and shape, into the memory it has.
    ///
    /// # Panics
    /// If type or shape differ.
    pub fn capture(&mut self, var: &Var) {
        assert!(
            self.dtype == var.dtype() && self.shape == *var.shape(),
            "`{}` is {} {}, `{}` is {} {}",
            self.name,
            self.dtype,
            self.shape,
            var.name(),
            var.dtype(),
            var.shape()
        );
        var.read_bytes(&mut self.bytes);
    }
}

/// The contents of variables, in their order.
pub fn of(vars: &[Var]) -> Vec<StateTensor> {
    vars.iter().map(|var| StateTensor::of(var.name(), var)).collect()
}

/// They as what a safetensors file is written from.
pub fn tensors(state: &[StateTensor]) -> Vec<NewTensor<'_>> {
    fn one(tensor: &StateTensor) -> NewTensor<'_> {
        let data = Elements::Raw(stored(tensor.dtype), &tensor.bytes);
        NewTensor { name: &tensor.name, shape: &tensor.shape, data }
    }
    state.iter().map(one).collect()
}

/// One way in which a state does not fit the variables it is loaded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A variable has no content in the state.
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Shape,
        /// What the state has under another name, and was perhaps meant.
        near: Option<String>,
    },
    /// The state has something for which there is no variable.
    Unexpected {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Shape,
    },
    /// The shapes differ.
    Shape {
        /// The name of both.
        name: String,
        /// The shape of the variable.
        expected: Shape,
        /// The shape in the state.
        found: Shape,
    },
    /// Several tensors of a file were given this name.
    Ambiguous {
        /// The name of the variable.
        name: String,
        /// Their names in the file.
        found: Vec<String>,
    },
    /// A pattern was given that none of the variables fits.
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The elements cannot be converted without loss of meaning.
    Elements {
        /// The name of both.
        name: String,
        /// What the variable holds.
        expected: DType,
        /// What the state holds, in words.
        found: String,
    },
}

impl Mismatch {
    /// The name of what is missing.
    fn missing(&self) -> Option<&str> {
        match self {
            Mismatch::Missing { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of a file may hold anything.
        let safe = |name: &str| escape(name, MAX_NAME);
        match self {
            Mismatch::Missing { name, shape, near: None } => {
                write!(f, "`{name}` {shape} is missing")
            }
            Mismatch::Missing { name, shape, near: Some(near) } => {
                write!(f, "`{name}` {shape} is missing; is it `{}`?", safe(near))
            }
            Mismatch::Unexpected { name, shape } => {
                write!(f, "`{}` {shape} is not expected", safe(name))
            }
            Mismatch::Ambiguous { name, found } => {
                let found: Vec<String> = found.iter().map(|name| safe(name)).collect();
                write!(f, "`{name}` could be any of {}", found.join(", "))
            }
            Mismatch::Pattern { pattern } => {
                write!(f, "the pattern `{pattern}` fits no parameter")
            }
            Mismatch::Shape { name, expected, found } => {
                write!(f, "`{name}`: expected shape {expected}, found {found}")
            }
            Mismatch::Elements { name, expected, found } => {
                write!(f, "`{name}`: expected {expected}, found {found}")
            }
        }
    }
}

/// A state that does not fit: everything that is wrong with it. Nothing has been loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The differences, those of the variables first, in their order.
    pub mismatches: Vec<Mismatch>,
    /// A renaming after which most of what is missing would be there: from, to, as
    /// [`Transfer::rename`](crate::transfer::Transfer::rename) takes them.
    pub renaming: Option<(String, String)>,
}

/// Longest name that is shown.
const MAX_NAME: usize = 120;

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state does not fit the network:")?;
        self.mismatches.iter().try_for_each(|mismatch| write!(f, "\n  {mismatch}"))?;
        if let Some((from, to)) = &self.renaming {
            let [from, to] = [from, to].map(|name| escape(name, MAX_NAME));
            write!(f, "\nmost of these fit if `{from}` is renamed to `{to}`")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Values ready to be written into a variable: as they lie in the file where it has the same type,
/// else converted.
pub(crate) enum Ready<'a> {
    Same(&'a [u8]),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// Writes a state into variables: each name must be there once, nothing may be left over.
///
/// # Errors
/// Lists all that is missing, unexpected or of another shape or type; nothing has then been
/// written.
pub fn load(vars: &[Var], state: &[StateTensor]) -> Result<(), LoadError> {
    let named: Vec<_> = vars.iter().map(|var| (var.name().to_string(), var.clone())).collect();
    load_named(&named, state.iter())
}

/// As [`load`], for variables that are known under these names.
///
/// # Errors
/// As [`load`].
pub fn load_named<'a>(
    vars: &[(String, Var)],
    state: impl Iterator<Item = &'a StateTensor> + Clone,
) -> Result<(), LoadError> {
    let find = |name: &str| state.clone().find(|tensor| tensor.name == name);
    let names = state.clone().map(|tensor| (tensor.name.as_str(), &*tensor.shape));
    let loaded = load_by(STRICT, vars, Vec::new(), names, |name, var| {
        let tensor = find(name)?;
        Some((tensor.shape.clone(), decode(tensor, var.dtype())))
    });
    loaded.map(drop)
}

/// As [`load`], from a safetensors file. Any floats fit floats, any integers that are in range fit
/// integers.
///
/// # Errors
/// As [`load`].
pub fn load_safetensors(vars: &[Var], file: &SafeTensors) -> Result<(), LoadError> {
    let named: Vec<_> = vars.iter().map(|var| (var.name().to_string(), var.clone())).collect();
    let names = file.iter().map(|tensor| (tensor.name, tensor.shape));
    let loaded = load_by(STRICT, &named, Vec::new(), names, |name, var| {
        let tensor = file.get(name)?;
        Some((tensor.shape.into(), ready(&tensor, var.dtype())))
    });
    loaded.map(drop)
}

/// Writes variables to a safetensors file, which is whole or absent.
///
/// # Errors
/// Those of the disk.
pub fn save_safetensors(
    path: impl AsRef<Path>,
    vars: &[Var],
    metadata: &[(String, String)],
) -> Result<(), FormatError> {
    let state = of(vars);
    write_safetensors(path, &tensors(&state), metadata)
}

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::Bool => Dtype::Bool,
    }
}

/// What may be left open when a state is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Variables without content stay as they are.
    pub missing: bool,
    /// What there is no variable for is left.
    pub unexpected: bool,
}

pub(crate) const STRICT: Rules = Rules { missing: false, unexpected: false };

/// Writes what `find` gives into variables, unless one of them, one of the names, or `others` says
/// that it does not fit. Gives the names of those that were written.
pub(crate) fn load_by<'a>(
    rules: Rules,
    vars: &[(String, Var)],
    others: Vec<Mismatch>,
    names: impl Iterator<Item = (&'a str, &'a [usize])>,
    find: impl Fn(&str, &Var) -> Option<(Shape, Result<Ready<'a>, String>)>,
) -> Result<Vec<String>, LoadError> {
    let mut mismatches = Vec::new();
    let mut ready = Vec::new();
    let known: HashSet<&str> = vars.iter().map(|(name, _)| name.as_str()).collect();
    let left: Vec<_> = names.filter(|(name, _)| !known.contains(name)).collect();
    for (name, var) in vars {
        let name = name.clone();
        match find(&name, var) {
            None if rules.missing => {}
            None => {
                let near = near::tensor(&name, var.shape(), &left).map(String::from);
                mismatches.push(Mismatch::Missing { name, shape: var.shape().clone(), near });
            }
            Some((found, _)) if found != *var.shape() => {
                mismatches.push(Mismatch::Shape { name, expected: var.shape().clone(), found });
            }
            Some((_, Err(found))) => {
                mismatches.push(Mismatch::Elements { name, expected: var.dtype(), found });
            }
            Some((_, Ok(values))) => ready.push((var, values)),
        }
    }
    if !rules.unexpected {
        let unexpected = |&(name, shape): &(&str, &[usize])| Mismatch::Unexpected {
            name: name.into(),
            shape: shape.into(),
        };
        mismatches.extend(left.iter().map(unexpected));
    }
    mismatches.extend(others);
    if !mismatches.is_empty() {
        let missing: Vec<&str> = mismatches.iter().filter_map(Mismatch::missing).collect();
        let renaming = near::renaming(&missing, &left);
        return Err(LoadError { mismatches, renaming });
    }
    let mut written = Vec::new();
    for (var, values) in ready {
        written.push(var.name().to_string());
        match values {
            Ready::Same(bytes) => var.write_bytes(bytes),
            Ready::F32(values) => var.write(&values),
            Ready::F64(values) => var.write(&values),
            Ready::I32(values) => var.write(&values),
            Ready::I64(values) => var.write(&values),
        }
    }
    Ok(written)
}

fn decode(tensor: &StateTensor, wanted: DType) -> Result<Ready<'_>, String> {
    let (bytes, numel) = (&tensor.bytes, tensor.shape.numel());
    if bytes.len() != numel * tensor.dtype.bytes() {
        return Err(format!("{} bytes for {numel} elements of {}", bytes.len(), tensor.dtype));
    }
    match tensor.dtype == wanted {
        true => Ok(Ready::Same(bytes)),
        false => Err(tensor.dtype.to_string()),
    }
}

/// The elements of a tensor of a file in the type of a variable; or what they are.
pub(crate) fn ready<'a>(tensor: &TensorView<'a>, wanted: DType) -> Result<Ready<'a>, String> {
    let name = || tensor.dtype.name().to_string();
    if tensor.dtype == stored(wanted) {
        return Ok(Ready::Same(tensor.data));
    }
    match wanted {
        DType::F32 => tensor.to_f32().map(Ready::F32).map_err(|_| name()),
        DType::F64 => tensor.to_f64().map(Ready::F64).map_err(|_| name()),
        DType::I32 => {
            let wide = tensor.to_i64().map_err(|_| name())?;
            let narrow = wide.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>();
            narrow.map(Ready::I32).map_err(|_| format!("{} out of the range of {wanted}", name()))
        }
        DType::I64 => tensor.to_i64().map(Ready::I64).map_err(|_| name()),
        DType::U8 | DType::I8 | DType::Bool => Err(name()),
    }
}

impl Params {
    /// The contents of all parameters and statistics at this path and below.
    pub fn state(&self) -> Vec<StateTensor> {
        of(&self.vars())
    }

    /// Loads what [`state`](Params::state) gave.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self, state: &[StateTensor]) -> Result<(), LoadError> {
        load(&self.vars(), state)
    }

    /// Loads a safetensors file.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load_safetensors(&self, file: &SafeTensors) -> Result<(), LoadError> {
        load_safetensors(&self.vars(), file)
    }

    /// Writes all parameters and statistics to a safetensors file, which is whole or absent.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save_safetensors(
        &self,
        path: impl AsRef<Path>,
        metadata: &[(String, String)],
    ) -> Result<(), FormatError> {
        save_safetensors(path, &self.vars(), metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm, Linear};
    use nerve_formats::safetensors::to_bytes;

    fn network(seed: u64) -> Params {
        let params = Params::new(seed);
        Linear::new(&params.at("fc"), 3, 2);
        BatchNorm::new(&params.at("bn"), 2);
        params
    }

    #[test]
    fn integers_keep_all_their_bits_in_a_file() {
        use nerve_core::Tensor;
        let long = [i64::MIN, -1, (1 << 53) + 1, i64::MAX];
        let small = [i8::MIN, -1, 0, i8::MAX];
        let vars = || {
            let zeros = |name, dtype| Var::new(name, Tensor::full([4], 0.0, dtype));
            [zeros("long", DType::I64), zeros("small", DType::I8)]
        };
        let [a, b] = vars();
        a.write(&long);
        b.write(&small);
        let state = of(&[a, b]);
        let bytes = to_bytes(&tensors(&state), &[]).unwrap();
        let file = SafeTensors::from_bytes("memory", &bytes).unwrap();
        let other = vars();
        load_safetensors(&other, &file).unwrap();
        assert_eq!(other[0].to_vec::<i64>(), long);
        assert_eq!(other[1].to_vec::<i8>(), small);
    }

    #[test]
    fn a_state_goes_to_another_network() {
        let (a, b) = (network(1), network(2));
        assert_ne!(a.state(), b.state());
        b.load(&a.state()).unwrap();
        assert_eq!(a.state(), b.state());
        let names: Vec<String> = a.state().into_iter().map(|t| t.name).collect();
        let bn = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        let expected: Vec<String> = ["fc.weight".to_string(), "fc.bias".to_string()]
            .into_iter()
            .chain(bn.map(|name| format!("bn.{name}")))
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_nothing_is_loaded() {
        let params = network(1);
        let before = params.state();
        let mut state = network(2).state();
        state[0].shape = Shape::from([3, 2]);
        state[1].name = "fc.offset".into();
        state[2].dtype = DType::I32;
        let error = params.load(&state).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state does not fit the network:\n  \
             `fc.weight`: expected shape [2, 3], found [3, 2]\n  \
             `fc.bias` [2] is missing\n  \
             `bn.weight`: expected f32, found i32\n  \
             `fc.offset` [2] is not expected"
        );
        assert_eq!(params.state(), before);
    }

    #[test]
    fn a_file_of_another_library_is_converted() {
        let params = network(1);
        let tensors = [
            NewTensor { name: "fc.weight", shape: &[2, 3], data: Elements::F64(&[0.5; 6]) },
            NewTensor { name: "fc.bias", shape: &[2], data: Elements::F32(&[1.0, 2.0]) },
            NewTensor { name: "bn.weight", shape: &[2], data: Elements::F32(&[1.0, 1.0]) },
            NewTensor { name: "bn.bias", shape: &[2], data: Elements::F32(&[0.0, 0.0]) },
            NewTensor { name: "bn.running_mean", shape: &[2], data: Elements::F32(&[0.0, 0.0]) },
            NewTensor { name: "bn.running_var", shape: &[2], data: Elements::F32(&[1.0, 1.0]) },
            NewTensor { name: "bn.num_batches_tracked", shape: &[], data: Elements::I64(&[9]) },
        ];
        let file = SafeTensors::from_bytes("model", &to_bytes(&tensors, &[]).unwrap()).unwrap();
        params.load_safetensors(&file).unwrap();
        assert_eq!(params.get("fc.weight").unwrap().var.to_vec::<f32>(), [0.5; 6]);
        assert_eq!(params.get("bn.num_batches_tracked").unwrap().var.to_vec::<i32>(), [9]);

        let narrow = &tensors[..1];
        let file = SafeTensors::from_bytes("model", &to_bytes(narrow, &[]).unwrap()).unwrap();
        assert_eq!(params.load_safetensors(&file).unwrap_err().mismatches.len(), 6);
    }
}
