//! The benchmark workloads on Burn: `bench-burn flex WORD...` with A B C D E F G H I rss cold.
//! `RAYON_NUM_THREADS` sets the number of threads.

#[path = "../../../src/peer.rs"]
mod peer;
#[path = "../../../src/timing.rs"]
mod timing;

mod networks;

use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::Distribution;
use networks::{Input, Network, Visitor, Which, visit};
use peer::{Call, Peer};
use std::error::Error;
use std::hint::black_box;
use timing::Random;

const VERSION: &str = "burn 0.22.1";

#[derive(Clone)]
enum Target {
    Values(Tensor<2>),
    Classes(Tensor<1, Int>),
}

/// Four batches in memory, one after the other and again from the start.
struct Cycle {
    batches: Vec<(Input, Target)>,
    next: usize,
}

impl Cycle {
    fn new(workload: &str, n: usize, device: &Device) -> Cycle {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let batches = (0..4).map(|_| batch(workload, n, &mut random, device)).collect();
        Cycle { batches, next: 0 }
    }

    fn advance(&mut self) -> (Input, Target) {
        self.next = (self.next + 1) % self.batches.len();
        self.batches[self.next].clone()
    }
}

fn values<const D: usize>(data: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(data, shape), device)
}

fn indices<const D: usize>(data: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let data: Vec<i64> = data.into_iter().map(i64::from).collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

fn batch(workload: &str, n: usize, random: &mut Random, device: &Device) -> (Input, Target) {
    let rows = |data: Vec<f32>, width| values(data, [n, width], device);
    let images = |data: Vec<f32>, shape: [usize; 4]| Input::Images(values(data, shape, device));
    let words = |random: &mut Random, length| {
        Input::Words(indices(random.classes(n * length, 10_000), [n, length], device))
    };
    let x = match workload {
        "B" => Input::Rows(rows(random.normals(n * 784), 784)),
        "H" => Input::Rows(rows(random.uniforms(n * 784), 784)),
        "I" => Input::Rows(rows(random.normals(n * 32), 32)),
        "E" => words(random, 100),
        "F" => words(random, 128),
        "G" => images(random.normals(n * 3072), [n, 3, 32, 32]),
        _ => images(random.normals(n * 784), [n, 1, 28, 28]),
    };
    let y = match (workload, &x) {
        ("H", Input::Rows(x)) => Target::Values(x.clone()),
        ("I", _) => Target::Values(rows(random.normals(n), 1)),
        _ => {
            let classes = if matches!(workload, "E" | "F") { 2 } else { 10 };
            Target::Classes(indices(random.classes(n, classes), [n], device))
        }
    };
    (x, y)
}

/// Makes the call that trains a network.
struct Train<'a>(&'a str, &'a Device);

impl Visitor for Train<'_> {
    fn visit<M: Network + 'static>(self, model: M) -> Call {
        let Train(workload, device) = self;
        let (mut optimizer, rate): (ModuleOptimizer, f64) = match workload {
            "B" => (SgdConfig::new().init(), 0.01),
            "G" => {
                let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
                (SgdConfig::new().with_momentum(Some(momentum)).init(), 0.01)
            }
            _ => (AdamConfig::new().init(), 1e-3),
        };
        let n = peer::batch(workload).expect("looked up before");
        let (mut data, device) = (Cycle::new(workload, n, device), device.clone());
        // A step takes the network and gives a new one.
        let mut model = Some(model);
        Box::new(move || {
            let (before, (x, y)) = (model.take().expect("put back"), data.advance());
            let output = before.forward(x);
            let loss = match y {
                Target::Classes(y) => {
                    CrossEntropyLossConfig::new().init(&device).forward(output, y)
                }
                Target::Values(y) => MseLoss::new().forward(output, y, Reduction::Mean),
            };
            let gradients = GradientsParams::from_grads(loss.backward(), &before);
            model = Some(optimizer.step(rate, before, gradients));
            device.sync().expect("a processor");
        })
    }
}

/// Makes the call that uses a network.
struct Use<'a>(&'a str, usize, &'a Device);

impl Visitor for Use<'_> {
    fn visit<M: Network + 'static>(self, model: M) -> Call {
        let Use(workload, n, device) = self;
        let (model, mut data) = (model.valid(), Cycle::new(workload, n, device));
        Box::new(move || {
            black_box(model.forward(data.advance().0).into_data());
        })
    }
}

struct Burn {
    device: Device,
    mode: String,
}

impl Peer for Burn {
    fn names(&self) -> [String; 2] {
        let threads = std::env::var("RAYON_NUM_THREADS").ok();
        let threads = threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |n| n.get()).to_string()
        });
        [VERSION.to_string(), format!("{}+x86-v4 {threads}T", self.mode)]
    }

    fn product(&self, n: usize) -> Call {
        let device = self.device.clone();
        let matrix = || Tensor::<2>::random([n, n], Distribution::Default, &device);
        let (a, b) = (matrix(), matrix());
        Box::new(move || {
            black_box(a.clone().matmul(b.clone()));
            device.sync().expect("a processor");
        })
    }

    fn trainer(&self, workload: &str) -> Call {
        let device = self.device.clone().autodiff();
        visit(Which { workload, device: &device }, Train(workload, &device))
    }

    fn user(&self, workload: &str, n: usize) -> Call {
        let device = self.device.clone().autodiff();
        visit(Which { workload, device: &device }, Use(workload, n, &self.device))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, words @ ..] = &words[..] else {
        return Err("usage: bench-burn flex WORD...".into());
    };
    let burn = Burn { device: Device::flex(), mode: mode.clone() };
    for word in words {
        if !peer::measure(&burn, &[mode], word)? {
            return Err(format!("there is no workload `{word}`").into());
        }
    }
    Ok(())
}
