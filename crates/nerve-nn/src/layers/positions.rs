use super::{Effect, Entry, Layer, Misfit, Sample, steps};
use crate::context::Context;
use crate::dims::product;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Numbers as a constant of a type of floats, so that nothing is converted in every step.
pub(crate) fn constant(values: &[f64], shape: [usize; 2], dtype: DType) -> Tensor {
    match dtype {
        DType::F32 => {
            let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            Tensor::from_slice(&single, shape)
        }
        _ => Tensor::from_slice(values, shape),
    }
}

/// The numbers of `count` places of which the first is `at`, i32 `[1]`.
pub(crate) fn places(at: &Tensor, count: usize) -> Tensor {
    Tensor::arange(count) + at
}

/// Turns pairs of features by an angle that grows with the place: the product of two turned vectors
/// depends on how far apart they stand, and on no place itself.
///
/// The pair number i of d/2 at place t is turned by the angle t · base^(−2i/d):
/// `(a, b) → (a cos − b sin, a sin + b cos)`. Which features make a pair has two meanings in the
/// field: here, as in LLaMA, GPT-NeoX and Keras, feature i goes with feature i + d/2; in the paper (and
/// GPT-J), if `interleaved`, 2i with 2i + 1. They differ by an order of the features, so weights
/// trained with one do not fit the other.
///
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
///
/// Input `[batch, …, time, features]` with an even number of features, output the same. Attention
/// turns its queries and keys by itself: see
/// [`AttentionPosition::Rotary`](super::AttentionPosition::Rotary).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::RotaryEmbedding};
/// let x = Tensor::from_slice(&[1.0f32, 0.0, 1.0, 0.0], [1, 2, 2]);
/// let y = RotaryEmbedding::default().forward(&x, &Context::eval()).to_vec::<f32>();
/// assert_eq!(y, [1.0, 0.0, 1f32.cos(), 1f32.sin()]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotaryEmbedding {
    /// The slowest pair turns about this many times as slowly as the fastest.
    pub base: f64,
    /// Whether neighbouring features make a pair.
    pub interleaved: bool,
}

impl Default for RotaryEmbedding {
    fn default() -> RotaryEmbedding {
        RotaryEmbedding { base: 10_000.0, interleaved: false }
    }
}

impl RotaryEmbedding {
    /// Cosines and sines `[time, pairs]` of the first places.
    fn turns(&self, time: usize, pairs: usize, dtype: DType) -> [Tensor; 2] {
        let angle =
            |n: usize| (n / pairs) as f64 * self.base.powf(-((n % pairs) as f64) / pairs as f64);
        let table =
            |f: fn(f64) -> f64| -> Vec<f64> { (0..time * pairs).map(|n| f(angle(n))).collect() };
        [f64::cos as fn(f64) -> f64, f64::sin].map(|f| constant(&table(f), [time, pairs], dtype))
    }

    /// Turns `x` `[…, time, features]`, whose first element stands at place `at`, i32 `[1]`, all of
    /// them before `longest`.
    ///
    /// # Panics
    /// If the number of features is odd.
    #[track_caller]
    pub fn rotate_from(&self, x: &Tensor, at: &Tensor, longest: usize) -> Tensor {
        let [time, features] = last_two(x);
        let index = places(at, time);
        let turns = self.turns(longest, features / 2, x.dtype());
        self.turned(x, turns.map(|table| table.index_select(0, &index)))
    }

    fn turned(&self, x: &Tensor, [cos, sin]: [Tensor; 2]) -> Tensor {
        let [time, features] = last_two(x);
        let (pairs, last) = (features / 2, x.rank() as isize - 1);
        if !self.interleaved {
            let (a, b) = (x.slice(last, 0, pairs), x.slice(last, pairs, features));
            return Tensor::concat(&[&a * &cos - &b * &sin, &a * &sin + &b * &cos], last);
        }
        let shape = [&x.shape()[..x.rank() - 2], &[time, pairs, 2]].concat();
        let split = x.reshape(shape);
        let part = |i: usize| split.slice(last + 1, i, i + 1).squeeze(last + 1);
        let (a, b) = (part(0), part(1));
        let both = [&a * &cos - &b * &sin, &a * &sin + &b * &cos];
        Tensor::stack(&both, x.rank()).reshape(x.shape())
    }
}

#[track_caller]
fn last_two(x: &Tensor) -> [usize; 2] {
    match x.shape()[..] {
        [.., time, features] if features.is_multiple_of(2) => [time, features],
        _ => panic!("RotaryEmbedding: expected […, time, an even number], found {}", x.shape()),
    }
}

impl Layer for RotaryEmbedding {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let [time, features] = last_two(x);
        self.turned(x, self.turns(time, features / 2, x.dtype()))
    }
}

/// What is added to the scores of attention so that they fall with the distance, `[heads, queries,
/// keys]`: −slope · |distance|, with slopes 2^(−8/heads), its square, its cube, … for a number of
/// heads that is a power of two; for others, those of the next smaller power, and every second one of
/// the next greater.
///
/// Press, Smith & Lewis, "Train short, test long", 2022. The first query stands at `at`, i32 `[1]`.
pub(crate) fn alibi(heads: usize, queries: &Tensor, keys: usize, dtype: DType) -> Tensor {
    let power = |n: usize, step: usize| {
        (1..).step_by(step).map(move |i| 2f64.powf(-8.0 * i as f64 / n as f64))
    };
    let whole = 1usize << heads.ilog2();
    let slopes = power(whole, 1).take(whole).chain(power(2 * whole, 2).take(heads - whole));
    let slopes = constant(&slopes.collect::<Vec<_>>(), [heads, 1], dtype).reshape([heads, 1, 1]);
    let distance = queries.reshape([queries.numel(), 1]) - Tensor::arange(keys);
    slopes * -distance.to_dtype(dtype).abs()
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "RotaryEmbedding",
        aliases: &["rotary_embedding", "RoPE"],
        peers: Peers::of("", "keras_hub.layers.RotaryEmbedding"),
        doc: "Turns pairs of features by an angle that grows with the place.",
        params: &[
            Param::with_default(
                "base",
                Kind::positive(),
                Value::Float(10_000.0),
                "how much slower the slowest pair turns",
            )
            .alias(&["max_wavelength"]),
            Param::with_default(
                "interleaved",
                Kind::Bool,
                Value::Bool(false),
                "whether neighbouring features make a pair",
            ),
        ],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[5, 6]), Sample::of("base = 100.0, interleaved = true", &[5, 6])],
    infer: |_, input| {
        let [_, features] = steps(input)?;
        match features.is_multiple_of(2) {
            true => Ok(Effect::cheap(input, product(input), 3)),
            false => Err(Misfit {
                needs: "an even number of features".into(),
                hint: format!("there are {features}"),
            }),
        }
    },
    make: |args, _, _| {
        let (base, interleaved) = (args.float("base"), args.bool("interleaved"));
        Box::new(RotaryEmbedding { base, interleaved })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(shape: [usize; 4]) -> Tensor {
        Tensor::normal(&Tensor::random_key(1, 1), 0, shape, DType::F64).evaluated()
    }

    #[test]
    fn turns_are_those_of_complex_numbers_and_products_depend_on_the_distance() {
        for interleaved in [false, true] {
            let rotary = RotaryEmbedding { interleaved, base: 100.0 };
            let x = normal([1, 2, 5, 6]);
            let (values, y) = (x.to_vec::<f64>(), rotary.forward(&x, &Context::eval()));
            for (row, turned) in values
                .chunks(6)
                .zip(y.to_vec::<f64>().chunks(6))
                .enumerate()
                .map(|(i, (row, turned))| ((i % 5, row), turned))
            {
                let (time, row) = row;
                for pair in 0..3 {
                    let at = if interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + 3] };
                    let angle = time as f64 * 100f64.powf(-2.0 * pair as f64 / 6.0);
                    let (sin, cos) = angle.sin_cos();
                    let expected =
                        [row[at[0]] * cos - row[at[1]] * sin, row[at[0]] * sin + row[at[1]] * cos];
                    for (i, e) in at.into_iter().zip(expected) {
                        assert!((turned[i] - e).abs() < 1e-14);
                    }
                }
            }
            // The same vectors three places further on.
            let at = |n: i32| rotary.rotate_from(&x, &Tensor::from_slice(&[n], [1]), 9);
            let products = |n: i32| at(n).matmul(&at(n).t()).to_vec::<f64>();
            for (a, b) in products(0).iter().zip(products(3)) {
                assert!((a - b).abs() < 1e-13, "{a} {b}");
            }
            assert_eq!(at(0).to_vec::<f64>(), y.to_vec::<f64>());
        }
    }

    #[test]
    fn slopes_of_alibi_are_those_of_the_paper() {
        let slopes = |heads| -> Vec<f64> {
            let bias = alibi(heads, &Tensor::from_slice(&[1i32], [1]), 1, DType::F64);
            bias.to_vec::<f64>().iter().map(|b| -b).collect()
        };
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        };
        close(slopes(4), &[0.25, 0.0625, 0.015625, 0.00390625]);
        close(slopes(3), &[0.0625, 0.00390625, 0.25]);
    }
}
