use super::{Draw, Entry, Initializer};
use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// A random matrix whose rows (or columns, where there are fewer) are orthogonal and of length
/// `gain`. Axes behind the first count as columns.
///
/// Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
/// linear neural networks", 2013.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orthogonal {
    /// The length of the vectors.
    pub gain: f64,
}

impl Default for Orthogonal {
    /// Of length 1.
    fn default() -> Self {
        Orthogonal { gain: 1.0 }
    }
}

impl Initializer for Orthogonal {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        let rows = shape.first().copied().unwrap_or(1);
        let columns: usize = shape.iter().skip(1).product();
        let (count, length) = (rows.min(columns), rows.max(columns));
        // Drawn in f64 for both types: f32 is then the rounded f64, not another matrix.
        let wide = Draw { dtype: DType::F64, ..draw.clone() };
        let mut vectors = wide.normal(&Shape::from([count, length]), 0.0, 1.0).to_vec::<f64>();
        orthonormalize(&mut vectors, length);
        let q = Tensor::from_slice(&vectors, [count, length]) * self.gain;
        let q = if rows > columns { q.t() } else { q };
        q.reshape(shape).to_dtype(draw.dtype).evaluated()
    }
}

/// Gram–Schmidt over rows of `length` elements. Twice, because once leaves errors that grow with
/// the condition of the matrix (Giraud et al., "On the round-off error analysis of the
/// Gram–Schmidt algorithm with reorthogonalization", 2002). The result is that of a QR
/// decomposition whose R has a positive diagonal, so it is distributed evenly.
fn orthonormalize(vectors: &mut [f64], length: usize) {
    if length == 0 {
        return;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for i in 0..vectors.len() / length {
        let (done, rest) = vectors.split_at_mut(i * length);
        let vector = &mut rest[..length];
        for _ in 0..2 {
            for other in done.chunks_exact(length) {
                let along = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "orthogonal",
        aliases: &["Orthogonal"],
        peers: Peers::of("nn.init.orthogonal_", "initializers.Orthogonal"),
        doc: "A random orthogonal matrix.",
        params: &[Param::with_default(
            "gain",
            Kind::positive(),
            Value::Float(1.0),
            "the length of its rows",
        )],
    },
    build: |args| Box::new(Orthogonal { gain: args.float("gain") }),
};
