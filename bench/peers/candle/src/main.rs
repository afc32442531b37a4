//! The benchmark workloads on Candle: `bench-candle cpu WORD...` with A B C D E F G H I rss cold.
//! `RAYON_NUM_THREADS` sets the number of threads.

#[path = "../../../src/peer.rs"]
mod peer;
#[path = "../../../src/timing.rs"]
mod timing;

mod networks;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap, loss};
use networks::Network;
use peer::{Call, Peer};
use std::error::Error;
use std::hint::black_box;
use timing::Random;

const VERSION: &str = "candle 0.11.1";
const DEVICE: Device = Device::Cpu;

enum Update {
    Sgd(SGD),
    /// Candle's SGD has no momentum: by hand, parameters and their velocities.
    Momentum(Vec<(Var, Tensor)>),
    Adam(AdamW),
}

impl Update {
    fn new(workload: &str, vars: Vec<Var>) -> Result<Update> {
        Ok(match workload {
            "B" => Update::Sgd(SGD::new(vars, 0.01)?),
            "G" => {
                let still = |var: Var| var.zeros_like().map(|zero| (var, zero));
                Update::Momentum(vars.into_iter().map(still).collect::<Result<_>>()?)
            }
            _ => {
                let params = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() };
                Update::Adam(AdamW::new(vars, params)?)
            }
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        match self {
            Update::Sgd(sgd) => sgd.step(gradients),
            Update::Adam(adam) => adam.step(gradients),
            Update::Momentum(all) => all.iter_mut().try_for_each(|(var, velocity)| {
                let Some(gradient) = gradients.get(var) else { return Ok(()) };
                *velocity = ((&*velocity * 0.9)? + gradient)?;
                var.set(&(var.as_tensor() - (&*velocity * 0.01)?)?)
            }),
        }
    }
}

/// Four batches in memory, one after the other and again from the start.
struct Cycle {
    batches: Vec<(Tensor, Tensor)>,
    next: usize,
}

impl Cycle {
    fn new(workload: &str, n: usize) -> Result<Cycle> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let batches = (0..4).map(|_| batch(workload, n, &mut random)).collect::<Result<_>>()?;
        Ok(Cycle { batches, next: 0 })
    }

    fn advance(&mut self) -> &(Tensor, Tensor) {
        self.next = (self.next + 1) % self.batches.len();
        &self.batches[self.next]
    }
}

fn batch(workload: &str, n: usize, random: &mut Random) -> Result<(Tensor, Tensor)> {
    let indices = |random: &mut Random, n, below| -> Vec<u32> {
        random.classes(n, below).into_iter().map(|index| index as u32).collect()
    };
    let x = match workload {
        "B" => Tensor::from_vec(random.normals(n * 784), (n, 784), &DEVICE),
        "H" => Tensor::from_vec(random.uniforms(n * 784), (n, 784), &DEVICE),
        "I" => Tensor::from_vec(random.normals(n * 32), (n, 32), &DEVICE),
        "E" => Tensor::from_vec(indices(random, n * 100, 10_000), (n, 100), &DEVICE),
        "F" => Tensor::from_vec(indices(random, n * 128, 10_000), (n, 128), &DEVICE),
        "G" => Tensor::from_vec(random.normals(n * 3072), (n, 3, 32, 32), &DEVICE),
        _ => Tensor::from_vec(random.normals(n * 784), (n, 1, 28, 28), &DEVICE),
    }?;
    let y = match workload {
        "H" => x.clone(),
        "I" => Tensor::from_vec(random.normals(n), (n, 1), &DEVICE)?,
        "E" | "F" => Tensor::from_vec(indices(random, n, 2), n, &DEVICE)?,
        _ => Tensor::from_vec(indices(random, n, 10), n, &DEVICE)?,
    };
    Ok((x, y))
}

fn build(workload: &str) -> Result<(Network, VarMap)> {
    let vars = VarMap::new();
    let builder = VarBuilder::from_varmap(&vars, DType::F32, &DEVICE);
    Ok((networks::build(workload, builder)?, vars))
}

fn trainer(workload: &str) -> Result<Call> {
    let (network, vars) = build(workload)?;
    let mut update = Update::new(workload, vars.all_vars())?;
    let mut data = Cycle::new(workload, peer::batch(workload).expect("looked up before"))?;
    let squared = matches!(workload, "H" | "I");
    let mut step = move || {
        let (x, y) = data.advance();
        let output = network(x, true)?;
        let loss = if squared { loss::mse(&output, y) } else { loss::cross_entropy(&output, y) }?;
        update.step(&loss.backward()?)
    };
    Ok(Box::new(move || step().expect("a step")))
}

fn user(workload: &str, n: usize) -> Result<Call> {
    let ((network, _), mut data) = (build(workload)?, Cycle::new(workload, n)?);
    let mut run = move || network(&data.advance().0, false)?.to_vec2::<f32>();
    Ok(Box::new(move || {
        black_box(run().expect("a result"));
    }))
}

struct Candle {
    mode: String,
}

impl Peer for Candle {
    fn names(&self) -> [String; 2] {
        let threads = std::env::var("RAYON_NUM_THREADS").ok();
        let threads = threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |n| n.get()).to_string()
        });
        [VERSION.to_string(), format!("{}+x86-v4 {threads}T", self.mode)]
    }

    fn product(&self, n: usize) -> Call {
        let matrix = || Tensor::randn(0f32, 1.0, (n, n), &DEVICE);
        let (a, b) = (matrix().expect("memory"), matrix().expect("memory"));
        Box::new(move || {
            black_box(a.matmul(&b).expect("shapes that fit"));
        })
    }

    fn trainer(&self, workload: &str) -> Call {
        trainer(workload).expect("a network")
    }

    fn user(&self, workload: &str, n: usize) -> Call {
        user(workload, n).expect("a network")
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, words @ ..] = &words[..] else {
        return Err("usage: bench-candle cpu WORD...".into());
    };
    let candle = Candle { mode: mode.clone() };
    for word in words {
        if !peer::measure(&candle, &[mode], word)? {
            return Err(format!("there is no workload `{word}`").into());
        }
    }
    Ok(())
}
