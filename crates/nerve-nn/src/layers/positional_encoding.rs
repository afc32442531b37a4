use super::positions::{constant, places};
use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Initializer, Normal};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Adds to each element of a sequence what says where it stands: attention by itself does not
/// know the order of what it looks at.
///
/// Input `[batch, time, features]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::PositionalEncoding};
/// let waves = PositionalEncoding::sinusoidal();
/// let y = waves.forward(&Tensor::zeros([1, 3, 2]), &Context::eval()).to_vec::<f32>();
/// assert_eq!(y, [0.0, 1.0, 1f32.sin(), 1f32.cos(), 2f32.sin(), 2f32.cos()]);
///
/// let learned = PositionalEncoding::learned(&Params::new(42).at("position"), 128, 16);
/// assert_eq!(**learned.forward(&Tensor::zeros([4, 100, 16]), &Context::eval()).shape(), [4, 100, 16]);
/// ```
pub struct PositionalEncoding {
    /// A learned row for each place, `[longest, features]`; none for waves.
    pub weight: Option<Var>,
}

impl PositionalEncoding {
    /// Waves of many lengths: `sin(t / 10000^(i / features))` at the even features i, and the cosine
    /// of the same at the odd ones after them. Nothing is learned, and any length will do.
    ///
    /// Vaswani et al., "Attention is all you need", 2017, section 3.5.
    pub fn sinusoidal() -> PositionalEncoding {
        PositionalEncoding { weight: None }
    }

    /// A learned row for each of `longest` places, normal with deviation 0.02 to begin with.
    #[track_caller]
    pub fn learned(params: &Params, longest: usize, features: usize) -> PositionalEncoding {
        let init = Normal { mean: 0.0, std: 0.02 };
        PositionalEncoding::with_init(params, longest, features, &init)
    }

    /// Learned rows with values from an initialiser.
    #[track_caller]
    pub fn with_init(
        params: &Params,
        longest: usize,
        features: usize,
        init: &dyn Initializer,
    ) -> PositionalEncoding {
        PositionalEncoding { weight: Some(params.var("weight", [longest, features], init)) }
    }
}

impl PositionalEncoding {
    /// As [`forward`](Layer::forward) for elements whose first stands at place `at`, i32 `[1]`, all
    /// of them before `longest`.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_from(&self, x: &Tensor, at: &Tensor, longest: usize) -> Tensor {
        let (time, features) = (x.shape()[1], x.shape()[2]);
        let table = match &self.weight {
            None => constant(&waves(longest, features), [longest, features], x.dtype()),
            Some(weight) => weight.get(),
        };
        assert!(
            longest <= table.shape()[0],
            "PositionalEncoding: places for {}, and {longest} are needed",
            table.shape()
        );
        x + table.index_select(0, &places(at, time))
    }
}

/// The waves at `time` places.
fn waves(time: usize, features: usize) -> Vec<f64> {
    let wave = |t: usize, i: usize| {
        let angle = t as f64 / 10_000f64.powf((i - i % 2) as f64 / features as f64);
        if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    (0..time).flat_map(|t| (0..features).map(move |i| wave(t, i))).collect()
}

impl Layer for PositionalEncoding {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let &[_, time, features] = &x.shape()[..] else {
            panic!("PositionalEncoding: expected [batch, time, features], found {}", x.shape())
        };
        match &self.weight {
            None => x + constant(&waves(time, features), [time, features], x.dtype()),
            Some(weight) => {
                let longest = weight.shape()[0];
                assert!(
                    time <= longest && features == weight.shape()[1],
                    "PositionalEncoding: places for {}, found {}",
                    weight.shape(),
                    x.shape()
                );
                x + weight.get().slice(0, 0, time)
            }
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "PositionalEncoding",
        aliases: &["positional_encoding", "PositionEmbedding"],
        peers: Peers::NONE,
        doc: "Adds to each element of a sequence what says where it stands.",
        params: &[Param::with_default(
            "kind",
            Kind::Choice(&["sinusoidal", "learned"]),
            Value::text("sinusoidal"),
            "waves of many lengths, or a learned row for each place",
        )],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[4, 6]), Sample::of("kind = 'learned'", &[4, 6])],
    infer: |args, input| {
        let &[time, features] = input else {
            return Err(Misfit {
                needs: "[time, features]".into(),
                hint: "put an Embedding before it".into(),
            });
        };
        let learned = args.text("kind") == "learned";
        let parameters = if learned { product(&[time, features]) } else { 0 };
        Ok(Effect { parameters, ..Effect::cheap(input, product(input), 1) })
    },
    make: |args, input, params| {
        Box::new(match args.text("kind") {
            "learned" => PositionalEncoding::learned(params, input[0], input[1]),
            _ => PositionalEncoding::sinusoidal(),
        })
    },
};
