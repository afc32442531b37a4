use super::axes::{Words, per_axis};
use super::conv::expect_axes;
use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::{names, product, spatial};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// What surrounds an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A number.
    Constant(f64),
    /// The elements next to the border, mirrored at the last one: `c b | a b c | b a`.
    Reflect,
    /// The last element again: `a a | a b c | c c`.
    Replicate,
    /// The elements of the other end: `b c | a b c | a b`.
    Circular,
}

impl PadMode {
    /// The name of its layers.
    fn name(self) -> &'static str {
        match self {
            PadMode::Constant(_) => "ConstantPad",
            PadMode::Reflect => "ReflectionPad",
            PadMode::Replicate => "ReplicationPad",
            PadMode::Circular => "CircularPad",
        }
    }

    /// The most that it can add to either end of an axis of this length.
    fn most(self, length: usize) -> usize {
        match self {
            PadMode::Constant(_) => usize::MAX,
            PadMode::Reflect => length.saturating_sub(1),
            PadMode::Replicate if length == 0 => 0,
            PadMode::Replicate => usize::MAX,
            PadMode::Circular => length,
        }
    }

    /// `x` with so many elements more in front of and behind an axis.
    fn around(self, x: &Tensor, axis: usize, (front, back): (usize, usize)) -> Tensor {
        let (n, a) = (x.shape()[axis], axis as isize);
        let again = |start: usize, count: usize| {
            let mut shape = x.shape().to_vec();
            shape[axis] = count;
            x.slice(a, start, start + 1).broadcast_to(shape)
        };
        let ends = match self {
            PadMode::Constant(value) => {
                let mut amounts = vec![(0, 0); x.rank()];
                amounts[axis] = (front, back);
                return x.pad(&amounts, value);
            }
            PadMode::Reflect => [
                x.slice(a, 1.min(n), (1 + front).min(n)).flip(&[a]),
                x.slice(a, n - 1 - back, n - 1).flip(&[a]),
            ],
            PadMode::Replicate => [again(0, front), again(n - 1, back)],
            PadMode::Circular => [x.slice(a, n - front, n), x.slice(a, 0, back)],
        };
        let [before, behind] = ends;
        let parts: Vec<Tensor> = [(front, before), (n, x.clone()), (back, behind)]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, part)| part)
            .collect();
        Tensor::concat(&parts, a)
    }
}

/// Surrounds the last `N` axes of `[batch, channels, extents…]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::{Pad, PadMode}};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [1, 1, 3]);
/// let pad = Pad { mode: PadMode::Reflect, amounts: [(2, 1)] };
/// let y = pad.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad<const N: usize> {
    /// With what.
    pub mode: PadMode,
    /// How many elements before and behind each axis.
    pub amounts: [(usize, usize); N],
}

impl<const N: usize> Layer for Pad<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>(self.mode.name(), x);
        self.amounts.iter().enumerate().fold(x.clone(), |x, (i, &amount)| {
            let (n, axis) = (x.shape()[i + 2], i + 2);
            assert!(
                amount.0.max(amount.1) <= self.mode.most(n),
                "{}{N}d: {amount:?} around an axis of {n}",
                self.mode.name()
            );
            if amount == (0, 0) { x } else { self.mode.around(&x, axis, amount) }
        })
    }
}

/// Cuts elements off from both ends of the last `N` axes of `[batch, channels, extents…]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Crop};
/// let y = Crop { amounts: [(1, 1), (0, 2)] }.forward(&Tensor::ones([1, 1, 4, 5]), &Context::eval());
/// assert_eq!(**y.shape(), [1, 1, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop<const N: usize> {
    /// How many elements at the beginning and at the end of each axis.
    pub amounts: [(usize, usize); N],
}

impl<const N: usize> Layer for Crop<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("Cropping", x);
        self.amounts.iter().enumerate().fold(x.clone(), |x, (i, &(front, back))| {
            x.slice(i as isize + 2, front, x.shape()[i + 2] - back)
        })
    }
}

const AMOUNT: Kind = Kind::int(0, 1 << 20);
const PAIR: Kind = Kind::List { of: &AMOUNT, min_len: 2, max_len: 2 };

impl<const N: usize> Words<N> {
    const EACH: Kind = Kind::List { of: &AMOUNT, min_len: N, max_len: N };
    const PAIRS: Kind = Kind::List { of: &PAIR, min_len: N, max_len: N };
    const AMOUNTS: Kind = Kind::OneOf(&[AMOUNT, Self::PAIRS, Self::EACH]);
    const AROUND: Param = Param::required(
        "padding",
        Self::AMOUNTS,
        "how many elements: around all axes, around each, or [before, behind] for each",
    );
    const PAD: &'static [Param] = &[Self::AROUND];
    const CONSTANT_PAD: &'static [Param] = &[
        Self::AROUND,
        Param::with_default("value", Kind::number(), Value::Float(0.0), "the number around it"),
    ];
    const CROP: &'static [Param] = &[Param::required(
        "cropping",
        Self::AMOUNTS,
        "how many elements: from all axes, from each, or [beginning, end] of each",
    )];
}

/// Numbers before and behind each axis.
fn amounts<const N: usize>(args: &Args, name: &str) -> [(usize, usize); N] {
    let pairs = match args.get(name) {
        Some(Value::List(values)) => match &values[..] {
            all if all.iter().all(|v| matches!(v, Value::List(_))) => Some(all),
            _ => None,
        },
        _ => None,
    };
    let number = |value: &Value| match value {
        Value::Int(n) => usize::try_from(*n).unwrap_or(0),
        _ => 0,
    };
    match pairs {
        Some(pairs) => std::array::from_fn(|i| match &pairs[i] {
            Value::List(pair) => (number(&pair[0]), number(&pair[1])),
            _ => (0, 0),
        }),
        None => per_axis::<N>(args, name).map(|n| (n, n)),
    }
}

fn infer_pad<const N: usize>(
    mode: PadMode,
    args: &Args,
    input: &[usize],
) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let mut shape = vec![channels];
    for (i, (front, back)) in amounts::<N>(args, "padding").into_iter().enumerate() {
        let most = mode.most(extents[i]);
        if front.max(back) > most {
            return Err(Misfit {
                needs: format!("a padding of at most {most} along the {}", names::<N>()[i]),
                hint: format!("it is {}", front.max(back)),
            });
        }
        shape.push(extents[i].saturating_add(front + back));
    }
    let values = product(&shape);
    Ok(Effect::cheap(shape, values, 1))
}

fn infer_crop<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let mut shape = vec![channels];
    for (i, (front, back)) in amounts::<N>(args, "cropping").into_iter().enumerate() {
        let rest = extents[i].checked_sub(front + back).filter(|&n| n > 0);
        shape.push(rest.ok_or_else(|| Misfit {
            needs: format!("more than {} values along the {}", front + back, names::<N>()[i]),
            hint: "so many are cut off".into(),
        })?);
    }
    Ok(Effect { kept: 0, ..Effect::cheap(shape, 0, 0) })
}

macro_rules! pads {
    ($($id:ident $n:literal $params:ident $mode:expr, $name:literal [$($alias:literal),*]
        $torch:literal $keras:literal $doc:literal [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: Words::<$n>::$params,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: |args, input| infer_pad::<$n>($mode(args), args, input),
            make: |args, _, _| {
                Box::new(Pad::<$n> { mode: $mode(args), amounts: amounts(args, "padding") })
            },
        };)*
    };
}

const CONSTANT: fn(&Args) -> PadMode = |args| PadMode::Constant(args.float("value"));
const REFLECT: fn(&Args) -> PadMode = |_| PadMode::Reflect;
const REPLICATE: fn(&Args) -> PadMode = |_| PadMode::Replicate;
const CIRCULAR: fn(&Args) -> PadMode = |_| PadMode::Circular;

pads! {
    CONSTANT1D 1 CONSTANT_PAD CONSTANT, "ConstantPad1d" ["ZeroPad1d", "ZeroPadding1D"]
        "nn.ConstantPad1d, ZeroPad1d" "layers.ZeroPadding1D"
        "Surrounds a sequence with zeros, or another number." [
        Sample::of("padding = [[1, 2]], value = 0.5", &[2, 3])
    ];
    CONSTANT2D 2 CONSTANT_PAD CONSTANT, "ConstantPad2d" ["ZeroPad2d", "ZeroPadding2D"]
        "nn.ConstantPad2d, ZeroPad2d" "layers.ZeroPadding2D"
        "Surrounds an image with zeros, or another number." [
        Sample::of("padding = 1", &[2, 3, 2]), Sample::of("padding = [[0, 1], [2, 0]]", &[1, 3, 2])
    ];
    CONSTANT3D 3 CONSTANT_PAD CONSTANT, "ConstantPad3d" ["ZeroPad3d", "ZeroPadding3D"]
        "nn.ConstantPad3d, ZeroPad3d" "layers.ZeroPadding3D"
        "Surrounds a volume with zeros, or another number." [
        Sample::of("padding = [1, 0, 2]", &[2, 3, 2, 2])
    ];
    REFLECT1D 1 PAD REFLECT, "ReflectionPad1d" [] "nn.ReflectionPad1d" ""
        "Surrounds a sequence with its mirror image." [Sample::of("padding = [[2, 1]]", &[2, 3])];
    REFLECT2D 2 PAD REFLECT, "ReflectionPad2d" [] "nn.ReflectionPad2d" ""
        "Surrounds an image with its mirror image." [Sample::of("padding = [1, 2]", &[2, 3, 4])];
    REFLECT3D 3 PAD REFLECT, "ReflectionPad3d" [] "nn.ReflectionPad3d" ""
        "Surrounds a volume with its mirror image." [Sample::of("padding = 1", &[1, 2, 3, 2])];
    REPLICATE1D 1 PAD REPLICATE, "ReplicationPad1d" [] "nn.ReplicationPad1d" ""
        "Surrounds a sequence with its last elements." [Sample::of("padding = [[4, 1]]", &[2, 3])];
    REPLICATE2D 2 PAD REPLICATE, "ReplicationPad2d" [] "nn.ReplicationPad2d" ""
        "Surrounds an image with its last elements." [Sample::of("padding = 2", &[2, 1, 3])];
    REPLICATE3D 3 PAD REPLICATE, "ReplicationPad3d" [] "nn.ReplicationPad3d" ""
        "Surrounds a volume with its last elements." [Sample::of("padding = 1", &[1, 2, 3, 2])];
    CIRCULAR1D 1 PAD CIRCULAR, "CircularPad1d" [] "nn.CircularPad1d" ""
        "Surrounds a sequence with its other end." [Sample::of("padding = [[3, 1]]", &[2, 3])];
    CIRCULAR2D 2 PAD CIRCULAR, "CircularPad2d" [] "nn.CircularPad2d" ""
        "Surrounds an image with its other end." [Sample::of("padding = [0, 2]", &[2, 3, 4])];
    CIRCULAR3D 3 PAD CIRCULAR, "CircularPad3d" [] "nn.CircularPad3d" ""
        "Surrounds a volume with its other end." [Sample::of("padding = 1", &[1, 2, 3, 2])];
}

macro_rules! crops {
    ($($id:ident $n:literal $name:literal $alias:literal $keras:literal $doc:literal
        $sample:expr;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$alias],
                peers: Peers::of("", $keras),
                doc: $doc,
                params: Words::<$n>::CROP,
            },
            takes_indices: false,
            samples: &[$sample],
            infer: infer_crop::<$n>,
            make: |args, _, _| Box::new(Crop::<$n> { amounts: amounts(args, "cropping") }),
        };)*
    };
}

crops! {
    CROP1D 1 "Cropping1d" "Cropping1D" "layers.Cropping1D" "Cuts the ends of a sequence off."
        Sample::of("cropping = [[1, 2]]", &[2, 5]);
    CROP2D 2 "Cropping2d" "Cropping2D" "layers.Cropping2D" "Cuts the border of an image off."
        Sample::of("cropping = 1", &[2, 4, 3]);
    CROP3D 3 "Cropping3d" "Cropping3D" "layers.Cropping3D" "Cuts the border of a volume off."
        Sample::of("cropping = [0, 1, 1]", &[1, 2, 3, 4]);
}
