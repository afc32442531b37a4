//! The kinds of recurrent layers, and the functions within them.

use crate::import::call::Call;
use crate::import::error::Stop;
use nerve_core::Tensor;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Lstm,
    Gru,
    Simple,
}

impl Cell {
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Simple => 1,
        }
    }

    /// The functions where none are named.
    fn defaults(self) -> &'static [Kind] {
        match self {
            Cell::Lstm => &[Kind::Sigmoid, Kind::Tanh, Kind::Tanh],
            Cell::Gru => &[Kind::Sigmoid, Kind::Tanh],
            Cell::Simple => &[Kind::Tanh],
        }
    }

    /// Whether these functions are those of the machine's layers.
    pub fn usual(self, activations: &[Activation]) -> bool {
        let kinds = activations.iter().map(|a| a.kind);
        kinds.eq(self.defaults().iter().copied())
            || (self == Cell::Simple && activations[0].is_relu())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sigmoid,
    Tanh,
    Relu,
    Affine,
    LeakyRelu,
    ThresholdedRelu,
    ScaledTanh,
    HardSigmoid,
    Elu,
    Softsign,
    Softplus,
}

/// A function within a recurrent layer.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    kind: Kind,
    alpha: f64,
    beta: f64,
}

impl Activation {
    pub fn is_relu(self) -> bool {
        self.kind == Kind::Relu
    }

    pub fn apply(self, x: &Tensor) -> Tensor {
        let Activation { kind, alpha, beta } = self;
        match kind {
            Kind::Sigmoid => x.sigmoid(),
            Kind::Tanh => x.tanh(),
            Kind::Relu => x.maximum(0.0),
            Kind::Affine => x * alpha + beta,
            Kind::LeakyRelu => x.leaky_relu(alpha),
            Kind::ThresholdedRelu => x.ge(alpha).select(x, &x.zeros_like()),
            Kind::ScaledTanh => (x * beta).tanh() * alpha,
            Kind::HardSigmoid => (x * alpha + beta).clamp(0.0, 1.0),
            Kind::Elu => x.maximum(0.0) + x.minimum(0.0).expm1() * alpha,
            Kind::Softsign => x / (x.abs() + 1.0),
            Kind::Softplus => x.softplus(),
        }
    }
}

/// The name, and the numbers if nothing is said: not every function has both.
fn named(name: &str) -> Option<(Kind, Option<f64>, Option<f64>)> {
    Some(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => (Kind::Sigmoid, None, None),
        "tanh" => (Kind::Tanh, None, None),
        "relu" => (Kind::Relu, None, None),
        "affine" => (Kind::Affine, Some(1.0), Some(0.0)),
        "leakyrelu" => (Kind::LeakyRelu, Some(0.01), None),
        "thresholdedrelu" => (Kind::ThresholdedRelu, Some(1.0), None),
        "scaledtanh" => (Kind::ScaledTanh, Some(1.0), Some(1.0)),
        "hardsigmoid" => (Kind::HardSigmoid, Some(0.2), Some(0.5)),
        "elu" => (Kind::Elu, Some(1.0), None),
        "softsign" => (Kind::Softsign, None, None),
        "softplus" => (Kind::Softplus, None, None),
        _ => return None,
    })
}

/// The functions of each direction. Their numbers stand in lists, from which each takes those that it has.
pub(super) fn activations(
    call: &Call<'_>,
    cell: Cell,
    directions: usize,
) -> Result<Vec<Vec<Activation>>, Stop> {
    let each = cell.defaults().len();
    let Some(names) = call.texts("activations")? else {
        let usual = |&kind: &Kind| Activation { kind, alpha: 0.0, beta: 0.0 };
        return Ok(vec![cell.defaults().iter().map(usual).collect(); directions]);
    };
    if names.len() != each * directions {
        let (expected, found) = (each * directions, names.len());
        return Err(format!("activations: expected {expected} names, found {found}").into());
    }
    let mut alphas = call.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = call.floats("activation_beta")?.unwrap_or_default().into_iter();
    let mut all = Vec::new();
    for name in &names {
        let found = named(name).ok_or_else(|| format!("activations: unknown {name:?}"))?;
        let (kind, alpha, beta) = found;
        let alpha = alpha.map_or(0.0, |default| alphas.next().unwrap_or(default));
        let beta = beta.map_or(0.0, |default| betas.next().unwrap_or(default));
        all.push(Activation { kind, alpha, beta });
    }
    Ok(all.chunks(each).map(<[_]>::to_vec).collect())
}
