//! LoRA: adapters of low rank beside weights that are frozen.

use crate::context::Context;
use crate::init::{Uniform, Zeros};
use crate::layers::Layer;
use crate::model::Model;
use crate::params::{Params, Role};
use crate::pattern;
use nerve_core::{Tensor, Var, bind};
use nerve_formats::spec::{Item, Kind, Param, Peers, Spec, Value};
use std::sync::Arc;

/// How a network is adapted.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraOptions {
    /// r: the rank of what is added.
    pub rank: usize,
    /// α: what is added is scaled by α / r.
    pub alpha: f64,
    /// Patterns of the weights that get an adapter: those of them with two axes or more.
    pub paths: Vec<String>,
    /// Patterns of parameters that are trained as they are; all others are frozen.
    pub train: Vec<String>,
}

impl Default for LoraOptions {
    /// Rank 8, α = 16, all weights; nothing else is trained.
    fn default() -> Self {
        LoraOptions { rank: 8, alpha: 16.0, paths: vec!["*".into()], train: Vec::new() }
    }
}

static SPEC: Spec = Spec {
    name: "lora",
    aliases: &["LoRA"],
    peers: Peers::of("", "Model.enable_lora"),
    doc: "A product of low rank is trained beside each weight (Hu et al., 2022).",
    params: &[
        Param::with_default("rank", Kind::count(), Value::Int(8), "its rank").alias(&["r"]),
        Param::with_default("alpha", Kind::positive(), Value::Float(16.0), "its scale times rank")
            .alias(&["lora_alpha"]),
        Param::with_default("paths", PATTERNS, Value::list(&ALL), "patterns of the weights")
            .alias(&["target_modules"]),
        Param::with_default(
            "train",
            PATTERNS,
            Value::list(&[]),
            "patterns of parameters that are trained as they are",
        )
        .alias(&["modules_to_save"]),
    ],
};

static ALL: [Value; 1] = [Value::text("*")];
const PATTERNS: Kind = Kind::List { of: &Kind::Text, min_len: 0, max_len: 1000 };

/// The descriptions of the kinds of adapters.
pub fn specs() -> Vec<&'static Spec> {
    vec![&SPEC]
}

/// Which adapters a parameter takes.
pub const KIND: Kind = Kind::Item { what: "adapter", specs };

/// The options that a checked recipe gives.
pub fn options(item: &Item) -> LoraOptions {
    let args = &item.args;
    LoraOptions {
        rank: args.usize("rank"),
        alpha: args.float("alpha"),
        paths: args.texts("paths"),
        train: args.texts("train"),
    }
}

/// One adapter: W + α/r · B A in the place of W.
struct Adapter {
    weight: Var,
    down: Var,
    up: Var,
    scale: f64,
}

impl Adapter {
    fn value(&self) -> Tensor {
        let added = self.up.get().matmul(&self.down.get()) * self.scale;
        self.weight.get() + added.reshape(self.weight.shape())
    }
}

/// The adapters of a network.
///
/// Hu et al., "LoRA: low-rank adaptation of large language models", 2022. A weight W `[out, in]` is
/// frozen; in its place the network reads
///
/// ```text
/// W + α / r · B A         A: [r, in], uniform as the weights of a layer;  B: [out, r], zero
/// ```
///
/// so it starts as the network that it was, and only A and B are trained. The parameters are called
/// `….lora_A.weight` and `….lora_B.weight`, beside the weight. Of a convolution all axes behind the
/// first are columns. Any layer can be adapted, since it reads its variables and does not notice
/// what they are [bound](bind) to. Attention keeps query, key and value weights in one matrix
/// (`in_proj_weight`), which has one A and one B.
///
/// What becomes small is the state of the optimizer and what has to be saved. A step costs as much
/// as one that trains W: the sum is computed for each weight, and its gradient is what those of A
/// and B are made from.
pub struct Adapters {
    adapters: Vec<Adapter>,
}

impl Adapters {
    /// Freezes the parameters of a network and puts adapters beside those that the options name.
    ///
    /// # Errors
    /// A pattern that fits nothing: of `paths` no weight with two axes, of `train` no parameter.
    pub fn new(params: &Params, options: &LoraOptions) -> Result<Adapters, String> {
        let matrices: Vec<Var> = params
            .all()
            .into_iter()
            .filter(|entry| entry.role != Role::Buffer && entry.var.shape().len() >= 2)
            .map(|entry| entry.var)
            .collect();
        let fits = |p: &String, var: &Var| pattern::matches(p, var.name());
        for p in &options.paths {
            if !matrices.iter().any(|var| fits(p, var)) {
                return Err(format!("`{p}` fits no weight with two axes or more"));
            }
        }
        let vars = params.vars();
        if let Some(p) = options.train.iter().find(|p| !vars.iter().any(|var| fits(p, var))) {
            return Err(format!("`{p}` fits no parameter"));
        }
        params.freeze("");
        options.train.iter().for_each(|p| _ = params.thaw(p));
        let chosen = matrices.iter().filter(|var| options.paths.iter().any(|p| fits(p, var)));
        let adapter = |weight: &Var| {
            // The name is a whole path, from the root of the store.
            let stem = weight.name().strip_suffix(".weight").unwrap_or(weight.name());
            let place = params.root().at(stem);
            let (outputs, rank) = (weight.shape()[0], options.rank.max(1));
            let inputs = weight.shape().numel() / outputs.max(1);
            let small = Uniform::fan_in(inputs);
            Adapter {
                weight: weight.clone(),
                down: place.at("lora_A").var("weight", [rank, inputs], &small),
                up: place.at("lora_B").var("weight", [outputs, rank], &Zeros),
                scale: options.alpha / rank as f64,
            }
        };
        Ok(Adapters { adapters: chosen.map(adapter).collect() })
    }

    /// Runs `f` with the adapted weights.
    pub fn apply<R>(&self, f: impl FnOnce() -> R) -> R {
        let values: Vec<(Var, Tensor)> =
            self.adapters.iter().map(|a| (a.weight.clone(), a.value())).collect();
        bind(&values, f)
    }

    /// Adds what the adapters have learnt to the weights, and sets B to zero: the network does the
    /// same with and without them from then on.
    pub fn merge(&self) {
        for adapter in &self.adapters {
            let merged = adapter.value().evaluated();
            adapter.weight.set(merged);
            adapter.up.set(adapter.up.get().zeros_like());
        }
    }

    /// The parameters and statistics that the network has without adapters, with their effect in
    /// them: what to save as a model by itself. They are copies where they differ.
    pub fn merged(&self, params: &Params) -> Vec<Var> {
        let mut vars = params.vars();
        vars.retain(|var| !self.adapters.iter().any(|a| a.down == *var || a.up == *var));
        for var in &mut vars {
            if let Some(adapter) = self.adapters.iter().find(|a| a.weight == *var) {
                *var = Var::new(var.name(), adapter.value().evaluated());
            }
        }
        vars
    }

    /// The variables of the adapters: all that was learnt, if nothing else is trained.
    pub fn vars(&self) -> Vec<Var> {
        self.adapters.iter().flat_map(|a| [a.down.clone(), a.up.clone()]).collect()
    }
}

/// A network with [`Adapters`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::lora::{Lora, LoraOptions};
/// use nerve_nn::{Context, Layer, Params, layers::Linear};
/// let params = Params::new(42);
/// let network = Linear::new(&params.at("fc"), 100, 50);
/// let options = LoraOptions { rank: 4, ..LoraOptions::default() };
/// let adapted = Lora::new(network, &params, &options).unwrap();
/// let trained: usize = params.trainable().iter().map(|var| var.shape().numel()).sum();
/// assert_eq!(trained, 4 * 100 + 50 * 4);
/// assert_eq!(**adapted.forward(&Tensor::ones([2, 100]), &Context::eval()).shape(), [2, 50]);
/// ```
pub struct Lora<L> {
    network: L,
    adapters: Arc<Adapters>,
}

impl<L: Layer> Lora<L> {
    /// `network`, whose parameters are in `params`, with adapters.
    ///
    /// # Errors
    /// As [`Adapters::new`].
    pub fn new(network: L, params: &Params, options: &LoraOptions) -> Result<Lora<L>, String> {
        Ok(Lora::with(network, Arc::new(Adapters::new(params, options)?)))
    }

    /// `network` with adapters that were made for it.
    pub fn with(network: L, adapters: Arc<Adapters>) -> Lora<L> {
        Lora { network, adapters }
    }

    /// The adapters.
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// The network with what the adapters have learnt in its weights.
    pub fn merge(self) -> L {
        self.adapters.merge();
        self.network
    }
}

impl<L: Layer> Layer for Lora<L> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.adapters.apply(|| self.network.forward(x, cx))
    }

    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        self.network.mask(mask, y)
    }
}

/// A network of any number of inputs and outputs with [`Adapters`].
pub struct Adapted {
    /// The network.
    pub network: Arc<dyn Model>,
    /// What is added to its weights.
    pub adapters: Arc<Adapters>,
}

impl Model for Adapted {
    fn input_count(&self) -> usize {
        self.network.input_count()
    }

    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        self.adapters.apply(|| self.network.outputs(inputs, cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{
        BatchNorm, Conv2d, Conv2dOptions, Flatten, Linear, MultiHeadAttention, Sequential,
    };
    use crate::optim::{Adam, Optimizer};
    use nerve_core::{DType, compile};

    fn noise(stream: u32, shape: &[usize]) -> Tensor {
        Tensor::normal(&Tensor::random_key(7, 1), stream, shape, DType::F64).evaluated()
    }

    /// Trains adapters alone; they change the network, and merging changes it no more.
    fn check(network: impl Layer, params: &Params, shape: &[usize], options: &LoraOptions) {
        let x = noise(0, shape);
        let plain = network.forward(&x, &Context::eval()).to_vec::<f64>();
        let frozen: Vec<Var> = params.trainable();
        let before: Vec<Vec<f64>> = frozen.iter().map(|var| var.to_vec::<f64>()).collect();
        let network = Lora::new(network, params, options).unwrap();
        let forward = || network.forward(&x, &Context::eval()).to_vec::<f64>();
        assert_eq!(forward(), plain, "it starts as it was");
        assert_eq!(params.trainable(), network.adapters().vars());
        let adam = Adam::new(params, 0.01);
        let target = noise(1, &[plain.len()]);
        let step = compile(|args: &[Tensor]| {
            let y = network.forward(&args[0], &Context::train(&args[2]));
            let loss = (y.reshape([plain.len()]) - &args[1]).square().mean();
            adam.minimize(&loss);
            vec![loss]
        });
        let key = Tensor::random_key(1, 1);
        let losses: Vec<f64> = (0..30).map(|_| step.call(&[&x, &target, &key])[0].item()).collect();
        assert!(losses[29] < 0.95 * losses[0], "{losses:?}");
        for (var, before) in frozen.iter().zip(before) {
            assert_eq!(var.to_vec::<f64>(), before, "{} is frozen", var.name());
        }
        let adapted = forward();
        let near = |found: Vec<f64>| {
            adapted.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + a.abs()))
        };
        let merged = network.adapters().merged(params);
        let names: Vec<&str> = merged.iter().map(Var::name).collect();
        assert!(names.iter().all(|name| !name.contains("lora")) && names.len() >= frozen.len());
        let saved = merged.iter().find(|var| var.shape().len() >= 2).unwrap().to_vec::<f64>();
        let network = network.merge();
        assert!(near(network.forward(&x, &Context::eval()).to_vec::<f64>()));
        let kept = params.vars().into_iter().find(|var| var.shape().len() >= 2).unwrap();
        assert_eq!(kept.to_vec::<f64>(), saved);
    }

    #[test]
    fn a_linear_layer_below_a_scope() {
        let params = Params::with_dtype(1, DType::F64);
        let scope = params.at("net");
        let network = Linear::new(&scope.at("fc"), 6, 5);
        check(network, &scope, &[8, 6], &LoraOptions { rank: 2, ..LoraOptions::default() });
        let names: Vec<String> = params.vars().iter().map(|v| v.name().to_string()).collect();
        assert_eq!(names[2..], ["net.fc.lora_A.weight", "net.fc.lora_B.weight"]);
    }

    #[test]
    fn a_convolution_with_statistics_behind_it() {
        let params = Params::with_dtype(1, DType::F64);
        let network = Sequential::new(vec![
            Box::new(Conv2d::new(&params.at("conv"), 2, 4, [3, 3], Conv2dOptions::default())),
            Box::new(BatchNorm::new(&params.at("bn"), 4)),
            Box::new(Flatten),
        ]);
        let options = LoraOptions { paths: vec!["conv".into()], ..LoraOptions::default() };
        check(network, &params, &[4, 2, 5, 5], &options);
        let mean = params.get("bn.running_mean").unwrap().var.to_vec::<f64>();
        assert!(mean.iter().any(|&m| m != 0.0), "statistics are kept of what is computed");
    }

    #[test]
    fn attention() {
        let params = Params::with_dtype(1, DType::F64);
        let network = MultiHeadAttention::new(&params.at("a"), 8, 2);
        check(network, &params, &[2, 3, 8], &LoraOptions { rank: 3, ..LoraOptions::default() });
    }

    #[test]
    fn patterns_that_fit_nothing_and_parameters_that_stay_trainable() {
        let params = Params::new(1);
        Linear::new(&params.at("body"), 4, 8);
        Linear::new(&params.at("head"), 8, 2);
        let with = |paths: &[&str], train: &[&str]| LoraOptions {
            paths: paths.iter().map(|p| p.to_string()).collect(),
            train: train.iter().map(|p| p.to_string()).collect(),
            ..LoraOptions::default()
        };
        let why = |options| Adapters::new(&params, &options).err().unwrap();
        assert_eq!(why(with(&["*.bias"], &[])), "`*.bias` fits no weight with two axes or more");
        assert_eq!(why(with(&["body"], &["hed"])), "`hed` fits no parameter");
        assert_eq!(params.trainable().len(), 4, "an error changes nothing");
        Adapters::new(&params, &with(&["body"], &["head"])).unwrap();
        let names: Vec<String> = params.trainable().iter().map(|v| v.name().to_string()).collect();
        let expected = ["head.weight", "head.bias", "body.lora_A.weight", "body.lora_B.weight"];
        assert_eq!(names, expected);
    }
}
