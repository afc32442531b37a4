//! From a column as it stands in the data to what the network sees, by operations.

use crate::features::Fitted;
use nerve_core::{DType, Tensor};
use nerve_data::Element;
use nerve_data::table::Slot;
use nerve_formats::Meaning;
use nerve_onnx::export::{Input, Words};
use serde_json::Value as Json;

/// An input of the file, and what happens to it.
pub(super) struct Given {
    pub input: Input,
    pub note: Option<String>,
    way: Way,
    /// Integers go from 0 up to this.
    most: usize,
}

enum Way {
    /// It is what the network takes.
    Prepared,
    Number {
        subtract: f64,
        divide: f64,
        log: bool,
        fill: Option<f64>,
        flag: bool,
        clip: Option<f64>,
    },
    /// A number of a name, as a column of its own.
    Category,
    /// 0 for no, 1 for yes, 2 for what stands for neither.
    Binary {
        fill: f64,
        flag: bool,
    },
    /// Bytes `[height, width, channels]`.
    Picture {
        subtract: Vec<f32>,
        divide: Vec<f32>,
    },
    Vector {
        subtract: Vec<f32>,
        divide: Vec<f32>,
    },
}

fn list(value: &Json) -> Option<Vec<f32>> {
    value.as_array()?.iter().map(|x| x.as_f64().map(|x| x as f32)).collect()
}

fn dtype(element: Element) -> DType {
    match element {
        Element::F32 => DType::F32,
        Element::I32 => DType::I32,
        Element::U8 => DType::U8,
    }
}

/// How many different numbers an integer may be.
fn count(meaning: &Meaning) -> usize {
    match meaning {
        Meaning::Category { names } => names.len(),
        Meaning::Tokens { vocabulary } => *vocabulary,
        Meaning::Mask { classes } => *classes,
        Meaning::Numbers | Meaning::Image | Meaning::Frames => 2,
    }
}

impl Given {
    /// A field of the network, as it takes it.
    pub fn field(slot: &Slot) -> Given {
        match &slot.parts[..] {
            [(_, feature)] => {
                let (shape, element) = feature.delivered();
                let input = Input::new(&*slot.name, shape, dtype(element));
                Given { input, note: None, way: Way::Prepared, most: count(&feature.meaning()) }
            }
            _ => {
                let input = Input::new(&*slot.name, slot.field().shape, DType::F32);
                Given { input, note: None, way: Way::Prepared, most: 2 }
            }
        }
    }

    /// A column as it stands in the data, if what happens to it can be said.
    pub fn column(it: &Fitted) -> Given {
        let state = it.feature.state();
        let name = &*it.column.name;
        let known = match it.column.feature.name {
            "number" => number(it, &state),
            "category" => category(it, &state),
            "binary" => binary(it, &state),
            "image" => picture(name, &state),
            "vector" => vector(name, &state),
            _ => None,
        };
        known.unwrap_or_else(|| {
            let (shape, element) = it.feature.delivered();
            let kind = it.column.feature.name;
            let note = format!(
                "`{name}` ({kind}) goes in as the network sees it, {} {shape:?}: ONNX cannot say how it is prepared",
                dtype(element)
            );
            let input = Input::new(name, shape, dtype(element));
            let most = count(&it.feature.meaning());
            Given { input, note: Some(note), way: Way::Prepared, most }
        })
    }

    /// What the network sees.
    pub fn prepare(&self, x: &Tensor) -> Tensor {
        match &self.way {
            Way::Prepared => x.clone(),
            Way::Category => x.reshape([x.shape()[0]]),
            Way::Binary { fill, flag } => {
                let missing = x.ge(2);
                let value = missing
                    .select(&x.to_dtype(DType::F32).full_like(*fill), &x.to_dtype(DType::F32));
                with_flag(value, &missing, *flag)
            }
            Way::Number { subtract, divide, log, fill, flag, clip } => {
                let missing = x.is_nan();
                let x = match fill {
                    Some(fill) => missing.select(&x.full_like(*fill), x),
                    None => x.clone(),
                };
                let x = if *log { x.log1p() } else { x };
                let mut x = (x - *subtract) / *divide;
                if let Some(clip) = clip {
                    x = &x * *clip / (x.square() + clip * clip).sqrt();
                }
                with_flag(x, &missing, *flag)
            }
            Way::Picture { subtract, divide } => {
                let x = x.to_dtype(DType::F32).permute(&[0, 3, 1, 2]);
                let shape = [1, subtract.len(), 1, 1];
                let [subtract, divide] =
                    [subtract, divide].map(|values| Tensor::from_slice(values, shape));
                (x - subtract) / divide
            }
            Way::Vector { subtract, divide } => {
                let shape = [1, subtract.len()];
                let [subtract, divide] =
                    [subtract, divide].map(|values| Tensor::from_slice(values, shape));
                (x - subtract) / divide
            }
        }
    }

    /// Examples at random, as they might be.
    pub fn sample(&self, examples: usize, stream: u32) -> Tensor {
        let shape = [&[examples], &self.input.shape[..]].concat();
        let key = Tensor::random_key(1, 0);
        let uniform = || Tensor::uniform(&key, stream, &shape[..], DType::F32);
        let normal = || Tensor::normal(&key, stream, &shape[..], DType::F32);
        let below = |most: usize| (uniform() * most as f64).floor();
        match (&self.way, self.input.dtype) {
            (Way::Number { subtract, divide, log, fill, .. }, _) => {
                let x = normal() * *divide + *subtract;
                let x = if *log { x.expm1() } else { x };
                // Now and then there is none.
                let none = uniform().lt(0.1);
                if fill.is_some() { none.select(&x.full_like(f64::NAN), &x) } else { x }
            }
            (Way::Vector { subtract, divide }, _) => {
                let shape = [1, subtract.len()];
                normal() * Tensor::from_slice(divide, shape) + Tensor::from_slice(subtract, shape)
            }
            (Way::Binary { .. }, _) => below(3).to_dtype(DType::I32),
            (_, DType::U8) => below(256).to_dtype(DType::U8),
            (_, DType::I32) => below(self.most).to_dtype(DType::I32),
            _ => normal(),
        }
        .evaluated()
    }
}

/// With a column beside it that says where there was nothing.
fn with_flag(value: Tensor, missing: &Tensor, flag: bool) -> Tensor {
    match flag {
        true => Tensor::concat(&[value, missing.to_dtype(DType::F32)], 1),
        false => value,
    }
}

fn number(it: &Fitted, state: &Json) -> Option<Given> {
    let args = &it.column.feature.args;
    let (name, scale) = (&*it.column.name, &state["scale"]);
    let (subtract, divide) = (scale["subtract"].as_f64()?, scale["divide"].as_f64()?);
    let missing = args.item("missing").name;
    let refuses = matches!(missing, "error" | "drop");
    let way = Way::Number {
        subtract,
        divide,
        log: scale["log"].as_bool()?,
        fill: if refuses { None } else { Some(state["fill"].as_f64()?) },
        flag: state["flag"].as_bool()?,
        clip: args.get("clip").map(|_| args.float("clip")),
    };
    let note = (missing == "ffill").then(|| {
        format!(
            "`{name}`: a missing number is filled in with the mean, as the row above is not known"
        )
    });
    Some(Given { input: Input::new(name, [1], DType::F32), note, way, most: 2 })
}

fn category(it: &Fitted, state: &Json) -> Option<Given> {
    let names: Vec<String> = state["names"]
        .as_array()?
        .iter()
        .map(|x| x.as_str().map(String::from))
        .collect::<Option<_>>()?;
    let fill = i32::try_from(state["fill"].as_i64()?).ok()?;
    let refuses = it.column.feature.args.text("unknown") == "error";
    // What has no row in a table of embeddings is an error there.
    let other = if refuses { names.len() as i32 } else { 0 };
    let mut list: Vec<(String, i32)> = names.iter().cloned().zip(0..).collect();
    if !names.iter().any(String::is_empty) {
        list.push((String::new(), fill));
    }
    let input = Input {
        words: Some(Words { list, other }),
        ..Input::new(&*it.column.name, [1], DType::I32)
    };
    Some(Given { input, note: None, way: Way::Category, most: names.len() })
}

fn binary(it: &Fitted, state: &Json) -> Option<Given> {
    let name = |i: usize| state["names"][i].as_str().map(String::from);
    let list = vec![(name(0)?, 0), (name(1)?, 1)];
    let input = Input {
        words: Some(Words { list, other: 2 }),
        ..Input::new(&*it.column.name, [1], DType::I32)
    };
    let way = Way::Binary { fill: state["fill"].as_f64()?, flag: state["flag"].as_bool()? };
    Some(Given { input, note: None, way, most: 3 })
}

fn picture(name: &str, state: &Json) -> Option<Given> {
    let side = |at: usize| state["size"][at].as_u64().map(|side| side as usize);
    let channels = state["channels"].as_u64()? as usize;
    let each = |key: &str| {
        let values = list(&state[key])?;
        match values.len() {
            1 => Some(vec![values[0]; channels]),
            n => (n == channels).then_some(values),
        }
    };
    let way = Way::Picture { subtract: each("subtract")?, divide: each("divide")? };
    let input = Input::new(name, [side(0)?, side(1)?, channels], DType::U8);
    Some(Given { input, note: None, way, most: 256 })
}

fn vector(name: &str, state: &Json) -> Option<Given> {
    let (subtract, divide) = (list(&state["subtract"])?, list(&state["divide"])?);
    let input = Input::new(name, [subtract.len()], DType::F32);
    Some(Given { input, note: None, way: Way::Vector { subtract, divide }, most: 2 })
}
