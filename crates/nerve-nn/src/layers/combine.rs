use super::{Layer, Misfit, place};
use crate::context::Context;
use nerve_core::{Shape, Tensor};

/// How several tensors become one.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::Combine;
/// let (a, b) = (Tensor::ones([2, 3]), Tensor::ones([2, 3]) * 3.0);
/// assert_eq!(**Combine::Concat { axis: 1 }.of(&[a.clone(), b.clone()]).shape(), [2, 6]);
/// assert_eq!(Combine::Mean.of(&[a, b]).to_vec::<f32>(), [2.0; 6]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Next to each other along an axis, counted with the batch or from the end: `Concatenate` of
    /// Keras.
    Concat {
        /// The axis.
        axis: isize,
    },
    /// Their sum; shapes broadcast.
    Add,
    /// Their product; shapes broadcast.
    Multiply,
    /// The first less all others; shapes broadcast.
    Subtract,
    /// Their mean: `Average` of Keras; shapes broadcast.
    Mean,
    /// The largest at each place; shapes broadcast.
    Max,
    /// The smallest at each place; shapes broadcast.
    Min,
}

impl Combine {
    /// One tensor of all.
    ///
    /// # Panics
    /// If there is none, or the shapes do not fit.
    #[track_caller]
    pub fn of(self, tensors: &[Tensor]) -> Tensor {
        let pairs = |f: fn(Tensor, &Tensor) -> Tensor| {
            let (first, rest) = tensors.split_first().expect("merge: needs at least one tensor");
            rest.iter().fold(first.clone(), f)
        };
        match self {
            Combine::Concat { axis } => Tensor::concat(tensors, axis),
            Combine::Add => pairs(|a, b| a + b),
            Combine::Multiply => pairs(|a, b| a * b),
            Combine::Subtract => pairs(|a, b| a - b),
            Combine::Mean => pairs(|a, b| a + b) * (1.0 / tensors.len() as f64),
            Combine::Max => pairs(|a, b| a.maximum(b)),
            Combine::Min => pairs(|a, b| a.minimum(b)),
        }
    }

    /// The words that stand for it in a recipe.
    pub(crate) const WORDS: &'static [&'static str] =
        &["concat", "add", "multiply", "subtract", "mean", "max", "min"];

    /// From one of the words.
    pub(crate) fn named(word: &str, axis: isize) -> Combine {
        match word {
            "add" => Combine::Add,
            "multiply" => Combine::Multiply,
            "subtract" => Combine::Subtract,
            "mean" => Combine::Mean,
            "max" => Combine::Max,
            "min" => Combine::Min,
            _ => Combine::Concat { axis },
        }
    }
}

/// The shape of one example of what is merged of examples of these shapes.
pub(super) fn merged<'a>(
    merge: Combine,
    mut shapes: impl Iterator<Item = &'a [usize]>,
) -> Result<Shape, Misfit> {
    let misfit = |needs: &str, a: &[usize], b: &[usize]| Misfit {
        needs: needs.into(),
        hint: format!("they give {} and {}", Shape::from(a), Shape::from(b)),
    };
    let mut all = match shapes.next() {
        Some(first) => Shape::from(first),
        None => return Err(Misfit { needs: "one branch or more".into(), hint: String::new() }),
    };
    for shape in shapes {
        let Combine::Concat { axis } = merge else {
            // Without the batch, which all have: only equal ranks are the same with and without it.
            let fit = all.broadcast(&Shape::from(shape)).filter(|_| all.rank() == shape.len());
            all = fit.ok_or_else(|| misfit("branches whose shapes broadcast", &all, shape))?;
            continue;
        };
        let (needs, rank) = ("branches that differ along one axis only", all.rank());
        let place = place(axis, &all)?;
        let same = shape.len() == rank && (0..rank).all(|a| a == place || all[a] == shape[a]);
        if !same {
            return Err(misfit(needs, &all, shape));
        }
        let mut sum = all.to_vec();
        sum[place] = sum[place].saturating_add(shape[place]);
        all = sum.into();
    }
    Ok(all)
}

/// Layers side by side on the same input, whose outputs are merged.
///
/// Szegedy et al., "Going deeper with convolutions", 2015, has it with `Combine::Concat`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::activations::{Identity, Tanh};
/// use nerve_nn::layers::{Branches, Combine};
/// use nerve_nn::{Context, Layer};
/// let branches: Vec<Box<dyn Layer>> = vec![Box::new(Identity), Box::new(Tanh)];
/// let layer = Branches { branches, merge: Combine::Concat { axis: 1 } };
/// assert_eq!(**layer.forward(&Tensor::ones([2, 3]), &Context::eval()).shape(), [2, 6]);
/// ```
pub struct Branches {
    /// The layers.
    pub branches: Vec<Box<dyn Layer>>,
    /// How their outputs become one.
    pub merge: Combine,
}

impl Layer for Branches {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let outputs: Vec<Tensor> = self.branches.iter().map(|b| b.forward(x, cx)).collect();
        self.merge.of(&outputs)
    }
}
