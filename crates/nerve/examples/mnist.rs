//! The first lesson: a convolutional network learns handwritten digits.
//!
//! Run it with `cargo run --release -p nerve --example mnist`. It is what `nerve train mnist` does,
//! written as a program: the network of PyTorch's tutorial, five times over the 60,000 images,
//! then tested on 10,000 others.

use nerve::data::transform::{Normalization, NormalizationMethod, Pipeline};
use nerve::data::{Arrays, Dataset, Loader, LoaderOptions, catalogue, mnist};
use nerve::prelude::*;
use nerve::train::metrics::{Accuracy, Metric};
use nerve::train::{Callback, Evaluator, Options, Progress, Trainer};
use std::error::Error;
use std::sync::Arc;

/// Two convolutions find strokes and their combinations; two dense layers decide.
fn network(params: &Params) -> Sequential {
    let same = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
    Sequential::new(vec![
        Box::new(Conv2d::new(&params.at("conv1"), 1, 32, [3, 3], same)), // [32, 28, 28]
        Box::new(Relu),
        Box::new(MaxPool2d::new(2)), // [32, 14, 14]
        Box::new(Conv2d::new(&params.at("conv2"), 32, 64, [3, 3], same)), // [64, 14, 14]
        Box::new(Relu),
        Box::new(MaxPool2d::new(2)), // [64, 7, 7]
        Box::new(Flatten),           // [3136]
        Box::new(Dropout::new(0.5)),
        Box::new(Linear::new(&params.at("fc1"), 64 * 7 * 7, 512)),
        Box::new(Relu),
        Box::new(Dropout::new(0.5)),
        Box::new(Linear::new(&params.at("fc2"), 512, 10)), // a score for each digit
    ])
}

/// Batches of 64 normalised images with their labels.
fn batches(
    digits: Arrays,
    numbers: &Normalization,
    shuffle: bool,
) -> Result<Loader, Box<dyn Error>> {
    let pipeline = Pipeline::new(digits.fields()).normalize(mnist::IMAGE, numbers)?;
    let options = LoaderOptions { batch_size: 64, shuffle, seed: 42, ..LoaderOptions::default() };
    Ok(Loader::new(Arc::new(digits), options)?.with_pipeline(pipeline)?)
}

/// Trains for `epochs` and gives the share of test images that are recognised, and the parameters.
pub fn train(
    epochs: u64,
    callbacks: &mut [&mut dyn Callback],
) -> Result<(f64, Params), Box<dyn Error>> {
    let digits = mnist::load(&catalogue::find("mnist")?)?;
    // The numbers come from the training images alone: the test has to be a surprise.
    let numbers =
        Normalization::fit(NormalizationMethod::ZScore, false, &digits.train, mnist::IMAGE)?;
    let train = batches(digits.train, &numbers, true)?;
    let test = batches(digits.test, &numbers, false)?;

    let params = Params::new(42);
    let model = network(&params);
    let (loss, optimizer) = (CrossEntropy::default(), Adam::new(&params, 1e-3));
    let metrics = || -> Vec<Box<dyn Metric>> { vec![Box::new(Accuracy)] };
    Trainer::new(&model, &loss, &optimizer)
        .metrics(metrics())
        .options(Options { epochs, seed: 42, ..Options::default() })
        .fit(&train, None, callbacks)?;

    let metrics = metrics();
    let result = Evaluator::new(&model, &loss, &metrics).evaluate(&test)?;
    Ok((result.metrics[0], params))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (accuracy, _) = train(5, &mut [&mut Progress::auto()])?;
    println!("{:.2} % of the test images recognised", 100.0 * accuracy);
    Ok(())
}
