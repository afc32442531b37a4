//! From what the network gives to what it says, by operations.

use crate::features::Fitted;
use nerve_core::{DType, Tensor};
use nerve_onnx::export::Output;

/// What becomes of an output of the network.
pub(super) struct Answered {
    pub name: String,
    pub note: Option<String>,
    way: Way,
}

enum Way {
    /// As the network gives it.
    Raw,
    /// The likeliest class, and how likely all are.
    Classes(Vec<String>),
    /// No or yes, by a threshold of the probability of yes.
    Binary(Vec<String>, f64),
    /// In the units of the column.
    Number {
        subtract: f64,
        divide: f64,
        log: bool,
    },
    /// How likely each name is there.
    Several,
    /// The class of each pixel.
    Pixels,
    Vector {
        subtract: Vec<f32>,
        divide: Vec<f32>,
    },
}

impl Answered {
    /// As the network gives it.
    pub fn raw(it: &Fitted) -> Answered {
        Answered { name: it.column.name.clone(), note: None, way: Way::Raw }
    }

    pub fn of(it: &Fitted) -> Answered {
        let state = it.feature.state();
        let classes = it.feature.output().map_or_else(Vec::new, |output| output.classes().to_vec());
        let way = match it.column.feature.name {
            "category" => Some(Way::Classes(classes)),
            "binary" => {
                let threshold = it.feature.output().and_then(|output| output.threshold());
                Some(Way::Binary(classes, threshold.unwrap_or(0.5)))
            }
            "number" => {
                let scale = &state["scale"];
                let both = scale["subtract"].as_f64().zip(scale["divide"].as_f64());
                both.zip(scale["log"].as_bool()).map(|((subtract, divide), log)| Way::Number {
                    subtract,
                    divide,
                    log,
                })
            }
            "set" => Some(Way::Several),
            "mask" => Some(Way::Pixels),
            "vector" => {
                let list = |key: &str| -> Option<Vec<f32>> {
                    state[key].as_array()?.iter().map(|x| x.as_f64().map(|x| x as f32)).collect()
                };
                list("subtract")
                    .zip(list("divide"))
                    .map(|(subtract, divide)| Way::Vector { subtract, divide })
            }
            _ => None,
        };
        let note = way.is_none().then(|| {
            let (name, kind) = (&it.column.name, it.column.feature.name);
            format!(
                "`{name}` ({kind}) comes out as the network gives it, not in the units of the data"
            )
        });
        Answered { name: it.column.name.clone(), note, way: way.unwrap_or(Way::Raw) }
    }

    /// The outputs of the file.
    pub fn outputs(&self, y: &Tensor) -> Vec<Output> {
        let named = |value: Tensor| Output::new(&*self.name, value);
        let likely = |value: Tensor| Output::new(format!("{}.probabilities", self.name), value);
        match &self.way {
            Way::Raw => vec![named(y.clone())],
            Way::Several => vec![likely(y.sigmoid())],
            Way::Pixels => vec![named(y.argmax(1, false))],
            Way::Classes(names) => {
                let words = Some(names.clone());
                vec![Output { words, ..named(y.argmax(-1, false)) }, likely(y.softmax(-1))]
            }
            Way::Binary(names, threshold) => {
                let yes = y.sigmoid();
                let which = yes.ge(*threshold).to_dtype(DType::I32).reshape([y.shape()[0]]);
                let words = Some(names.clone());
                let both = Tensor::concat(&[1.0 - &yes, yes], 1);
                vec![Output { words, ..named(which) }, likely(both)]
            }
            Way::Number { subtract, divide, log } => {
                let x = y * *divide + *subtract;
                vec![named(if *log { x.expm1() } else { x })]
            }
            Way::Vector { subtract, divide } => {
                let shape = [1, subtract.len()];
                let [subtract, divide] =
                    [subtract, divide].map(|values| Tensor::from_slice(values, shape));
                vec![named(y * divide + subtract)]
            }
        }
    }
}
