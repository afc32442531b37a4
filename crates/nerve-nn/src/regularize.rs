//! Regularisation: penalties on the size of parameters, and constraints that they are kept to.
//!
//! A penalty is an expression in the parameters; its gradient is added to that of the loss inside
//! the optimizer's pass, so it costs no pass of its own. The loss that is reported is that of the
//! data alone (Keras adds penalties to it); [`Regularizer::penalty`] gives the number to whoever
//! wants to add it. A penalty on what a *layer gives* is the layer
//! [`ActivityRegularization`](crate::layers::ActivityRegularization); weight decay belongs to the
//! optimizers.
//!
//! Both go to parameters by path: [`Group::regularizer`](crate::optim::Group::regularizer),
//! [`Group::constraint`](crate::optim::Group::constraint).

use nerve_core::Tensor;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};
use std::fmt::Debug;
use std::sync::Arc;

/// A penalty on parameters.
pub trait Regularizer: Debug + Send + Sync {
    /// The penalty for the parameter `w`: one number, to be added to the loss.
    fn penalty(&self, w: &Tensor) -> Tensor;

    /// Whether it is a sum over all elements, whatever the shape: then it is taken of all
    /// parameters of a group at once, without a pass of its own.
    fn elementwise(&self) -> bool {
        true
    }
}

/// Something that parameters are made to fulfil after each step.
pub trait Constraint: Debug + Send + Sync {
    /// The parameter nearest to `w` that fulfils it.
    fn project(&self, w: &Tensor) -> Tensor;
}

/// λ₁ Σ|w| + λ₂ Σw²: the lasso, the ridge, and with both the elastic net.
///
/// Tibshirani, "Regression shrinkage and selection via the lasso", 1996; Zou & Hastie,
/// "Regularization and variable selection via the elastic net", 2005. As in Keras there is no half
/// before λ₂: its gradient is 2 λ₂ w, where the `weight_decay` of optimizers, as in PyTorch, adds
/// λ w.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::regularize::{L1L2, Regularizer};
/// let w = Tensor::from_slice(&[3.0f64, -1.0], [2]);
/// assert_eq!(L1L2 { l1: 0.5, l2: 0.25 }.penalty(&w).item::<f64>(), 2.0 + 2.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct L1L2 {
    /// λ₁.
    pub l1: f64,
    /// λ₂.
    pub l2: f64,
}

impl L1L2 {
    /// λ₁ Σ|w| alone.
    pub fn l1(l1: f64) -> L1L2 {
        L1L2 { l1, l2: 0.0 }
    }

    /// λ₂ Σw² alone.
    pub fn l2(l2: f64) -> L1L2 {
        L1L2 { l1: 0.0, l2 }
    }
}

impl Regularizer for L1L2 {
    fn penalty(&self, w: &Tensor) -> Tensor {
        match (self.l1 != 0.0, self.l2 != 0.0) {
            (true, true) => (w.abs() * self.l1 + w.square() * self.l2).sum(),
            (true, false) => (w.abs() * self.l1).sum(),
            _ => (w.square() * self.l2).sum(),
        }
    }
}

/// The mean of |cos| of the angles between the rows of a matrix, times λ: rows are driven apart.
/// Axes behind the first count as columns.
///
/// Brock et al., "Neural photo editing with introspective adversarial networks", 2017, in the form
/// of Keras (`OrthogonalRegularizer`, whose matrices are transposed: its columns are these rows).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orthogonality {
    /// λ.
    pub factor: f64,
}

impl Regularizer for Orthogonality {
    fn penalty(&self, w: &Tensor) -> Tensor {
        let rows = w.shape().first().copied().unwrap_or(1);
        let w = w.reshape([rows, w.numel() / rows.max(1)]);
        let rows_of_length_1 = w.normalize(2.0, 1, 1e-12);
        let cosines = rows_of_length_1.matmul(&rows_of_length_1.t());
        let others = (Tensor::eye(rows) * -1.0 + 1.0).to_dtype(w.dtype());
        let pairs = (rows * rows.saturating_sub(1)).max(1) as f64;
        (cosines * others).abs().sum() * (self.factor / pairs)
    }

    fn elementwise(&self) -> bool {
        false
    }
}

/// Rows no longer than `max`, and no shorter than `min`: longer ones are shortened, by the share
/// `rate` of what is too much.
///
/// A row holds the weights of what comes in to one unit, all axes behind the first; a vector is one
/// row. Srebro & Shraibman, "Rank, trace-norm and max-norm", 2005; used with dropout in Srivastava
/// et al., 2014. `MaxNorm`, `MinMaxNorm` and `UnitNorm` of Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowNorm {
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// From 0, never, to 1, at once.
    pub rate: f64,
}

impl RowNorm {
    /// No longer than this.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// use nerve_nn::regularize::{Constraint, RowNorm};
    /// let w = Tensor::from_slice(&[3.0f64, 4.0, 0.6, 0.8], [2, 2]);
    /// let w = RowNorm::max(2.5).project(&w).to_vec::<f64>();
    /// assert!((w[0] - 1.5).abs() < 1e-6 && (w[1] - 2.0).abs() < 1e-6);
    /// assert!((w[2] - 0.6).abs() < 1e-6 && (w[3] - 0.8).abs() < 1e-6);
    /// ```
    pub fn max(max: f64) -> RowNorm {
        RowNorm { min: 0.0, max, rate: 1.0 }
    }

    /// Of length 1.
    pub fn unit() -> RowNorm {
        RowNorm { min: 1.0, max: 1.0, rate: 1.0 }
    }
}

impl Constraint for RowNorm {
    fn project(&self, w: &Tensor) -> Tensor {
        let rank = w.rank() as isize;
        let axes: Vec<isize> = if rank < 2 { (0..rank).collect() } else { (1..rank).collect() };
        let norm = w.square().sum_axes(&axes, true).sqrt();
        let wanted = norm.clamp(self.min, self.max) * self.rate + &norm * (1.0 - self.rate);
        w * (wanted / (norm + 1e-7))
    }
}

/// No element below zero: `NonNeg` of Keras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonNegative;

impl Constraint for NonNegative {
    fn project(&self, w: &Tensor) -> Tensor {
        w.maximum(0.0)
    }
}

/// A kind of penalty: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Arc<dyn Regularizer>,
}

const fn weight(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::non_negative(), Value::Float(default), doc)
}

/// All penalties.
pub static REGISTRY: &[&Entry] = &[
    &Entry {
        spec: Spec {
            name: "l1",
            aliases: &["L1"],
            peers: Peers::of("", "regularizers.L1"),
            doc: "λ Σ|w|: most parameters become zero.",
            params: &[weight("l1", 0.01, "λ")],
        },
        build: |args| Arc::new(L1L2::l1(args.float("l1"))),
    },
    &Entry {
        spec: Spec {
            name: "l2",
            aliases: &["L2"],
            peers: Peers::of("", "regularizers.L2"),
            doc: "λ Σw²: parameters stay small.",
            params: &[weight("l2", 0.01, "λ")],
        },
        build: |args| Arc::new(L1L2::l2(args.float("l2"))),
    },
    &Entry {
        spec: Spec {
            name: "l1_l2",
            aliases: &["L1L2", "l1l2"],
            peers: Peers::of("", "regularizers.L1L2"),
            doc: "λ₁ Σ|w| + λ₂ Σw² (Zou & Hastie, 2005).",
            params: &[weight("l1", 0.0, "λ₁"), weight("l2", 0.0, "λ₂")],
        },
        build: |args| Arc::new(L1L2 { l1: args.float("l1"), l2: args.float("l2") }),
    },
    &Entry {
        spec: Spec {
            name: "orthogonality",
            aliases: &["OrthogonalRegularizer", "orthogonal_regularizer"],
            peers: Peers::of("", "regularizers.OrthogonalRegularizer"),
            doc: "The rows of a matrix are driven to right angles.",
            params: &[weight("factor", 0.01, "λ")],
        },
        build: |args| Arc::new(Orthogonality { factor: args.float("factor") }),
    },
];

/// A kind of constraint: its description, and how to make one from checked arguments.
pub struct ConstraintEntry {
    /// Names and parameters.
    pub spec: Spec,
    /// Makes one from arguments that [`check`](nerve_formats::spec::check) gave for `spec`.
    pub build: fn(&Args) -> Arc<dyn Constraint>,
}

/// All constraints.
pub static CONSTRAINTS: &[&ConstraintEntry] = &[
    &ConstraintEntry {
        spec: Spec {
            name: "max_norm",
            aliases: &["MaxNorm"],
            peers: Peers::of("", "constraints.MaxNorm"),
            doc: "What comes in to a unit has weights of at most this length.",
            params: &[weight("max", 2.0, "the length").alias(&["max_value"])],
        },
        build: |args| Arc::new(RowNorm::max(args.float("max"))),
    },
    &ConstraintEntry {
        spec: Spec {
            name: "min_max_norm",
            aliases: &["MinMaxNorm"],
            peers: Peers::of("", "constraints.MinMaxNorm"),
            doc: "What comes in to a unit has weights of a length in between.",
            params: &[
                weight("min", 0.0, "the shortest").alias(&["min_value"]),
                weight("max", 1.0, "the longest").alias(&["max_value"]),
                Param::with_default(
                    "rate",
                    Kind::float(0.0, 1.0),
                    Value::Float(1.0),
                    "how much of the difference goes in one step",
                ),
            ],
        },
        build: |args| {
            let [min, max, rate] = ["min", "max", "rate"].map(|name| args.float(name));
            Arc::new(RowNorm { min: min.min(max), max, rate })
        },
    },
    &ConstraintEntry {
        spec: Spec {
            name: "unit_norm",
            aliases: &["UnitNorm"],
            peers: Peers::of("", "constraints.UnitNorm"),
            doc: "What comes in to a unit has weights of length 1.",
            params: &[],
        },
        build: |_| Arc::new(RowNorm::unit()),
    },
    &ConstraintEntry {
        spec: Spec {
            name: "non_negative",
            aliases: &["NonNeg", "non_neg"],
            peers: Peers::of("", "constraints.NonNeg"),
            doc: "No parameter is below zero.",
            params: &[],
        },
        build: |_| Arc::new(NonNegative),
    },
];

/// The descriptions of all penalties.
pub fn specs() -> Vec<&'static Spec> {
    REGISTRY.iter().map(|entry| &entry.spec).collect()
}

/// The descriptions of all constraints.
pub fn constraint_specs() -> Vec<&'static Spec> {
    CONSTRAINTS.iter().map(|entry| &entry.spec).collect()
}

/// Which penalties a parameter takes.
pub const KIND: Kind = Kind::Item { what: "regularizer", specs };

/// Which constraints a parameter takes.
pub const CONSTRAINT: Kind = Kind::Item { what: "constraint", specs: constraint_specs };

/// Makes the penalty that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build(item: &Item) -> Arc<dyn Regularizer> {
    let entry = REGISTRY.iter().find(|entry| entry.spec.answers_to(item.name));
    (entry.unwrap_or_else(|| panic!("no regularizer `{}`", item.name)).build)(&item.args)
}

/// Makes the constraint that a checked recipe names.
///
/// # Panics
/// If `item` is not from this registry.
pub fn build_constraint(item: &Item) -> Arc<dyn Constraint> {
    let entry = CONSTRAINTS.iter().find(|entry| entry.spec.answers_to(item.name));
    (entry.unwrap_or_else(|| panic!("no constraint `{}`", item.name)).build)(&item.args)
}
