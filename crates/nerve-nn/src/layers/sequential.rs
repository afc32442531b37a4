use super::{Effect, Layer, Misfit, find};
use crate::context::Context;
use crate::params::Params;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::Item;
use std::fmt;

/// Layers one after the other.
///
/// ```
/// use nerve_core::{Shape, Tensor};
/// use nerve_formats::spec::{Item, Value, check};
/// use nerve_nn::{Context, Layer, Params, layers};
///
/// // As a recipe names them; the sizes of the inputs are inferred.
/// let item = |name: &str, given: &[(String, Value)]| {
///     let spec = &layers::find(name).unwrap().spec;
///     Item { name: spec.name, args: check(spec, given).unwrap() }
/// };
/// let list = [item("Flatten", &[]), item("Dense", &[("units".into(), Value::Int(10))])];
/// let params = Params::new(42);
/// let (model, output) =
///     layers::Sequential::from_items(&list, &Shape::from([1, 28, 28]), &params).unwrap();
/// assert_eq!(*output, [10]);
/// assert_eq!(params.all()[0].path(), "1.weight");
/// let y = model.forward(&Tensor::ones([3, 1, 28, 28]), &Context::eval());
/// assert_eq!(**y.shape(), [3, 10]);
/// ```
#[derive(Default)]
pub struct Sequential {
    /// The layers, first to last.
    pub layers: Vec<Box<dyn Layer>>,
    /// What each is called in messages; those behind the last have their number and kind.
    names: Vec<String>,
}

/// A layer in a list that cannot take what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceError {
    /// Which layer, counted from 0.
    pub index: usize,
    /// Its name in the registry.
    pub name: &'static str,
    /// The shape of one example that it gets.
    pub input: Shape,
    /// What it needs.
    pub misfit: Misfit,
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SequenceError { index, name, input, misfit } = self;
        write!(f, "layer {index} ({name}) does not fit: it gets {input}, {misfit}")
    }
}

impl std::error::Error for SequenceError {}

impl Sequential {
    /// These layers, first to last.
    pub fn new(layers: Vec<Box<dyn Layer>>) -> Sequential {
        Sequential { layers, names: Vec::new() }
    }

    /// These layers, each with its name in messages.
    pub(crate) fn named(layers: Vec<(String, Box<dyn Layer>)>) -> Sequential {
        let (names, layers) = layers.into_iter().unzip();
        Sequential { layers, names }
    }

    fn name(&self, index: usize) -> String {
        let known = self.names.get(index).cloned();
        known.unwrap_or_else(|| format!("{index}.{}", self.layers[index].kind()))
    }

    /// What each layer of a checked list does to an example of shape `input`; nothing is created.
    ///
    /// # Errors
    /// The first layer that cannot take what it gets.
    ///
    /// # Panics
    /// If an item is not from the registry of layers.
    pub fn describe(items: &[Item], input: &Shape) -> Result<Vec<Effect>, SequenceError> {
        let mut effects: Vec<Effect> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let input = effects.last().map_or(input, |effect| &effect.shape);
            let fail =
                |misfit| SequenceError { index, name: item.name, input: input.clone(), misfit };
            let entry = find(item.name).unwrap_or_else(|| panic!("no layer `{}`", item.name));
            if entry.takes_indices && index > 0 {
                return Err(fail(Misfit {
                    needs: "whole numbers".into(),
                    hint: "it can only be the first layer".into(),
                }));
            }
            effects.push((entry.infer)(&item.args, input).map_err(fail)?);
        }
        Ok(effects)
    }

    /// Makes the layers of a checked list for examples of shape `input`; their parameters are
    /// called after their places in the list, as in PyTorch: `0.weight`. Those of a network of the
    /// zoo that is the whole list have the names that it gives them. Gives the shape of the output
    /// too.
    ///
    /// # Errors
    /// As [`describe`](Sequential::describe); nothing has then been created.
    ///
    /// # Panics
    /// If an item is not from the registry of layers.
    pub fn from_items(
        items: &[Item],
        input: &Shape,
        params: &Params,
    ) -> Result<(Sequential, Shape), SequenceError> {
        let effects = Sequential::describe(items, input)?;
        let mut shape = input.clone();
        let mut model = Sequential::default();
        let alone = is_network(items);
        for (index, (item, effect)) in items.iter().zip(effects).enumerate() {
            let entry = find(item.name).expect("`describe` has found it");
            let place = if alone { params.clone() } else { params.at(index) };
            model.layers.push((entry.make)(&item.args, &shape, &place));
            model.names.push(if alone { String::new() } else { format!("{index}.{}", item.name) });
            shape = effect.shape;
        }
        Ok((model, shape))
    }
}

/// Whether a list is one network of the zoo, which has names of its own for its parameters.
pub(crate) fn is_network(items: &[Item]) -> bool {
    let zoo = |item: &Item| crate::models::specs().iter().any(|spec| spec.name == item.name);
    matches!(items, [one] if zoo(one))
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
            let y = cx.part(&self.name(i), || layer.forward(&x, cx));
            // A layer may have made a mask of its own.
            if cx.mask(&y).is_none()
                && let Some(mask) = cx.mask(&x).and_then(|mask| layer.mask(&mask, &y))
            {
                cx.set_mask(&y, &mask);
            }
            y
        })
    }
}
