//! A lesson: a small transformer learns a text letter by letter, and then writes on its own.
//!
//! Run it with `cargo run --release -p nerve --example write`. Each letter is a token; the network
//! says at every place which letter comes next, and learns from being wrong. Then it continues a
//! beginning three times: with the most probable letter, at random, and by beam search.

use nerve::nn::generate::{Beam, Generator, Options, Sampling, Strategy};
use nerve::nn::models::{Gpt, GptOptions, Places};
use nerve::prelude::*;
use std::io::Write;
use std::ops::ControlFlow;

const TEXT: &str = "\
a neuron adds what it is told, each voice with its own weight, and speaks up if the sum is high. \
a layer is a row of neurons that listen to the same voices. \
a network is layers, one behind the other: the first ones see edges, the last ones see cats. \
it learns by being wrong: the error walks back, layer by layer, and each weight hears how much of it \
was its fault, and moves a little the other way. ";
/// Letters that are seen at once.
const WINDOW: usize = 96;
const BATCH: usize = 8;
const STEPS: u64 = 300;

fn main() {
    let mut letters: Vec<char> = TEXT.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let token = |c: char| letters.binary_search(&c).expect("a letter of the text") as i32;
    let text: Vec<i32> = TEXT.chars().map(token).collect();

    let params = Params::new(42);
    let options =
        GptOptions { places: Places::Rotary, ..GptOptions::new(letters.len(), 64, 2, 4, WINDOW) };
    let model = Gpt::new(&params, options);
    let optimizer = AdamW::new(&params, 3e-3);
    let step = compile(|args: &[Tensor]| {
        let logits = model.forward(&args[0], &Context::train(&args[2]));
        let rows = logits.reshape([BATCH * WINDOW, letters.len()]);
        let loss = rows.cross_entropy(&args[1].reshape([BATCH * WINDOW]), None).mean();
        optimizer.minimize(&loss);
        vec![loss]
    });
    for number in 1..=STEPS {
        // Windows from all over the text; the answer to each letter is the next one.
        let start = |row: usize| (row * 613 + number as usize * 97) % (text.len() - WINDOW - 1);
        let windows = |shift: usize| {
            let window = |row| text[start(row) + shift..][..WINDOW].iter().copied();
            let all: Vec<i32> = (0..BATCH).flat_map(window).collect();
            Tensor::from_slice(&all, [BATCH, WINDOW])
        };
        let loss = step.call(&[&windows(0), &windows(1), &Tensor::random_key(42, number)]);
        if number % 50 == 0 {
            println!("step {number:4}: {:.3} bits a letter", loss[0].item::<f32>() / 2f32.ln());
        }
    }

    let mut generator = Generator::new(&model, WINDOW);
    let prompt: Vec<i32> = "a network ".chars().map(token).collect();
    let random = Sampling { temperature: 0.8, top_k: Some(8), top_p: Some(0.95) };
    for (name, strategy) in [
        ("the most probable letter", Strategy::Greedy),
        ("at random", Strategy::Sample(random)),
        ("by beam search", Strategy::Beam(Beam { beams: 4, length_penalty: 1.0 })),
    ] {
        let options = Options { max_new: 80, strategy, seed: 7, ..Options::default() };
        print!("\n{name}:\n  a network ");
        let mut tell = |_: usize, token: i32| {
            print!("{}", letters[token as usize]);
            // A letter is shown when it is written; if nobody listens, that is no reason to stop.
            let _ = std::io::stdout().flush();
            ControlFlow::Continue(())
        };
        match generator.stream(std::slice::from_ref(&prompt), &[], &options, &mut tell) {
            Ok(_) => println!(),
            Err(error) => println!("{error}"),
        }
    }
}
