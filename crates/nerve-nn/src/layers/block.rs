//! Networks before they are made: a tree of layers of the registry, under the names of their
//! parameters. Containers, blocks and the zoo say what they are made of, and get from here what
//! that does to a shape, what it costs, and the layers.

use super::combine::{Combine, merged};
use super::{Branches, Effect, Layer, Misfit, Residual, Sequential, find};
use crate::dims::product;
use crate::params::Params;
use nerve_formats::spec::{Args, Item, Value, check};
use std::borrow::Cow;

/// Part of a network.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// A layer of the registry.
    Layer(Item),
    /// What cannot be, and why: numbers that are too large.
    Impossible(String),
    /// One after the other.
    Chain(Vec<Named>),
    /// activation(body(x) + shortcut(x)); without a shortcut x itself.
    Residual { body: Box<Named>, shortcut: Option<Box<Named>>, activation: Option<Item> },
    /// Side by side on the same input.
    Branches { parts: Vec<Named>, merge: Combine },
}

/// A part, and the step of the path that leads to its parameters: none if empty.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    name: Cow<'static, str>,
    block: Block,
}

/// What an argument can be made of.
pub(crate) trait Argument {
    /// As in a recipe.
    fn value(self) -> Value;
}

impl Argument for usize {
    fn value(self) -> Value {
        Value::Int(self as i64)
    }
}

impl Argument for f64 {
    fn value(self) -> Value {
        Value::Float(self)
    }
}

impl Argument for bool {
    fn value(self) -> Value {
        Value::Bool(self)
    }
}

impl Argument for &'static str {
    fn value(self) -> Value {
        Value::text(self)
    }
}

impl<T: Argument + Copy, const N: usize> Argument for [T; N] {
    fn value(self) -> Value {
        Value::List(self.iter().map(|&v| v.value()).collect::<Vec<_>>().into())
    }
}

impl Argument for Value {
    fn value(self) -> Value {
        self
    }
}

/// A layer of the registry as a block: `layer!("Conv2d", filters = 8, kernel = 3)`.
macro_rules! layer {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::layers::block::Block::layer(
            $name,
            vec![$((
                stringify!($key).to_string(),
                $crate::layers::block::Argument::value($value),
            )),*],
        )
    };
}
pub(crate) use layer;

impl Block {
    /// A layer with these arguments. Some come from the input, and may be out of its range.
    ///
    /// # Panics
    /// If there is no such layer.
    #[track_caller]
    pub fn layer(name: &str, given: Vec<(String, Value)>) -> Block {
        let entry = find(name).unwrap_or_else(|| panic!("no layer `{name}`"));
        match check(&entry.spec, &given) {
            Ok(args) => Block::Layer(Item { name: entry.spec.name, args }),
            Err(problems) => Block::Impossible(format!("{name}: {}", problems[0].kind)),
        }
    }

    /// With parameters under a name.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Named {
        Named { name: name.into(), block: self }
    }

    /// With parameters where the whole has them.
    pub fn inline(self) -> Named {
        self.named("")
    }

    /// One after the other, with numbers for names.
    pub fn chain(blocks: impl IntoIterator<Item = Block>) -> Block {
        let number = |(i, block): (usize, Block)| block.named(i.to_string());
        Block::Chain(blocks.into_iter().enumerate().map(number).collect())
    }

    /// One after the other under these names.
    pub fn sequence<const N: usize>(parts: [(&'static str, Block); N]) -> Block {
        Block::Chain(parts.map(|(name, block)| block.named(name)).into())
    }

    /// The layers that a list among the arguments names.
    pub fn from_list(args: &Args, name: &str) -> Block {
        Block::chain(items(args.get(name)).into_iter().map(Block::Layer))
    }

    /// What it does to an example.
    ///
    /// # Errors
    /// The first layer that cannot take what it gets.
    pub fn infer(&self, input: &[usize]) -> Result<Effect, Misfit> {
        let nothing = || Effect { kept: 0, ..Effect::cheap(input, 0, 0) };
        match self {
            Block::Layer(item) => {
                let entry = find(item.name).expect("the check has found it");
                if entry.takes_indices {
                    return Err(Misfit {
                        needs: "whole numbers".into(),
                        hint: "it can only be the first layer of a network".into(),
                    });
                }
                (entry.infer)(&item.args, input)
            }
            Block::Impossible(why) => {
                Err(Misfit { needs: "other numbers".into(), hint: why.clone() })
            }
            Block::Chain(parts) => {
                parts.iter().enumerate().try_fold(nothing(), |all, (i, part)| {
                    let effect = part.block.infer(&all.shape);
                    effect.map_err(|misfit| part.inside(i, &all.shape, misfit)).map(|e| all.then(e))
                })
            }
            Block::Residual { body, shortcut, .. } => {
                let body = body.block.infer(input)?;
                let other = shortcut.as_ref().map_or(Ok(nothing()), |s| s.block.infer(input))?;
                if body.shape != other.shape {
                    return Err(Misfit {
                        needs: format!("layers that give {} as the shortcut does", other.shape),
                        hint: format!("they give {}: project the shortcut", body.shape),
                    });
                }
                let values = product(&body.shape);
                let shape = body.shape.clone();
                Ok(body.then(other).then(Effect::cheap(shape, values, 1)))
            }
            Block::Branches { parts, merge } => {
                let effects = parts.iter().enumerate().map(|(i, part)| {
                    part.block.infer(input).map_err(|misfit| part.inside(i, input, misfit))
                });
                let effects = effects.collect::<Result<Vec<_>, _>>()?;
                let shape = merged(*merge, effects.iter().map(|e| &*e.shape))?;
                let values = product(&shape);
                let all = effects.into_iter().fold(nothing(), Effect::then);
                Ok(all.then(Effect::cheap(shape, values, parts.len() as u128)))
            }
        }
    }

    /// The layers, for an input that `infer` has accepted.
    pub fn make(&self, input: &[usize], params: &Params) -> Box<dyn Layer> {
        match self {
            Block::Layer(item) => {
                let entry = find(item.name).expect("the check has found it");
                (entry.make)(&item.args, input, params)
            }
            Block::Impossible(why) => unreachable!("`infer` has refused it: {why}"),
            Block::Chain(parts) => {
                let mut shape = input.to_vec();
                let mut layers = Vec::with_capacity(parts.len());
                for part in parts {
                    layers.push((part.label(), part.make(&shape, params)));
                    shape =
                        part.block.infer(&shape).expect("`infer` has accepted it").shape.to_vec();
                }
                Box::new(Sequential::named(layers))
            }
            Block::Residual { body, shortcut, activation } => Box::new(Residual {
                body: body.make(input, params),
                shortcut: shortcut.as_ref().map(|part| part.make(input, params)),
                activation: activation.as_ref().and_then(crate::activations::build),
            }),
            Block::Branches { parts, merge } => Box::new(Branches {
                branches: parts.iter().map(|part| part.make(input, params)).collect(),
                merge: *merge,
            }),
        }
    }
}

impl Named {
    /// What it is called in messages: a number alone says too little.
    fn label(&self) -> String {
        match &self.block {
            Block::Layer(item) if self.name.parse::<usize>().is_ok() => {
                format!("{}.{}", self.name, item.name)
            }
            _ => self.name.to_string(),
        }
    }

    fn make(&self, input: &[usize], params: &Params) -> Box<dyn Layer> {
        match self.name.is_empty() {
            true => self.block.make(input, params),
            false => self.block.make(input, &params.at(&self.name)),
        }
    }

    /// Says where inside of the whole it is that something does not fit.
    fn inside(&self, index: usize, got: &[usize], misfit: Misfit) -> Misfit {
        let what = match &self.block {
            Block::Layer(item) => format!("layer {index} ({})", item.name),
            _ => format!("part {index}"),
        };
        let got = nerve_core::Shape::from(got);
        Misfit {
            needs: "what its layers take".into(),
            hint: format!("{what} gets {got}, {misfit}"),
        }
    }
}

/// The layers that a value of checked arguments holds.
pub(crate) fn items(value: Option<&Value>) -> Vec<Item> {
    let Some(Value::List(values)) = value else { return Vec::new() };
    let item = |value: &Value| match value {
        Value::Item(item) => Some((**item).clone()),
        _ => None,
    };
    values.iter().filter_map(item).collect()
}
