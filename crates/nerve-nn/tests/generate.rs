//! Sequences written token by token are those that the whole network would write.

use nerve_core::{DType, Tensor};
use nerve_nn::generate::{
    Autoregressive, Beam, GenerateError, Generated, Generator, Options, Sampling, Strategy,
};
use nerve_nn::layers::TransformerOptions;
use nerve_nn::models::{Gpt, GptOptions, Places, RecurrentLanguage, Translator};
use nerve_nn::{Context, Layer, Params};
use std::ops::ControlFlow;

fn ids(tokens: &[i32]) -> Tensor {
    Tensor::from_slice(tokens, [1, tokens.len()])
}

fn tokens(written: &[Generated]) -> Vec<Vec<i32>> {
    written.iter().map(|sequence| sequence.tokens.clone()).collect()
}

/// Greater weights than those of an untrained network, so that it has something to say.
fn louder(params: &Params) {
    for var in params.trainable() {
        var.set(var.get() * 4.0);
    }
}

/// Greedily, with the whole sequence through the network for each token. `logits` gives those of the
/// last place.
fn one_by_one(prompt: &[i32], count: usize, logits: impl Fn(&Tensor) -> Tensor) -> Vec<i32> {
    let mut all = prompt.to_vec();
    for _ in 0..count {
        let all_logits = logits(&ids(&all));
        let time = all.len();
        all.push(all_logits.slice(1, time - 1, time).argmax(2, false).item::<i32>());
    }
    all.split_off(prompt.len())
}

fn prompt(length: usize, seed: i32) -> Vec<i32> {
    (0..length as i32).map(|i| (i * i + seed * 5 + i) % 13).collect()
}

fn gpt(change: impl Fn(&mut GptOptions)) -> Gpt {
    let params = Params::new(6);
    let mut options = GptOptions::new(13, 16, 2, 4, 48);
    change(&mut options);
    let model = Gpt::new(&params, options);
    louder(&params);
    model
}

#[test]
fn a_transformer_writes_with_its_cache_what_it_writes_without() {
    let models = [
        gpt(|_| {}),
        gpt(|o| (o.places, o.tied) = (Places::Sinusoidal, false)),
        gpt(|o| {
            (o.places, o.kv_heads) = (Places::Rotary, Some(2));
            (o.gated, o.rms_norm) = (true, true);
        }),
        gpt(|o| (o.places, o.kv_heads) = (Places::Alibi, Some(1))),
    ];
    for (i, model) in models.iter().enumerate() {
        let mut generator = Generator::new(model, 48);
        // With prompts of one length and of several, shorter and longer than a piece.
        for lengths in [[3, 1], [35, 33], [40, 2]] {
            let prompts = lengths.map(|length| prompt(length, i as i32));
            let options = Options { max_new: 6, ..Options::default() };
            let written = generator.generate(&prompts, &[], &options).unwrap();
            for (prompt, written) in prompts.iter().zip(tokens(&written)) {
                let expected = one_by_one(prompt, 6, |x| model.forward(x, &Context::eval()));
                assert_eq!(written, expected, "model {i}, prompt {}", prompt.len());
            }
        }
    }
}

#[test]
fn a_recurrent_network_carries_its_state() {
    let params = Params::new(3);
    let model = RecurrentLanguage::new(&params, 13, 8, 2, 0.0);
    louder(&params);
    let prompts = [prompt(34, 1), prompt(2, 2), prompt(5, 3)];
    let options = Options { max_new: 7, ..Options::default() };
    let written = Generator::new(&model, 48).generate(&prompts, &[], &options).unwrap();
    for (prompt, written) in prompts.iter().zip(tokens(&written)) {
        assert_eq!(written, one_by_one(prompt, 7, |x| model.forward(x, &Context::eval())));
    }
}

#[test]
fn a_translator_reads_its_source_once() {
    let params = Params::new(8);
    let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(2, 24) };
    let model = Translator::new(&params, [9, 13], 12, [2, 2], options);
    louder(&params);
    let sources = [[3, 1, 4, 1, 5], [2, 7, 0, 0, 0]];
    let batch = Tensor::from_slice(&sources.concat(), [2, 5]);
    let prompts = [vec![1], vec![2, 3]];
    let options = Options { max_new: 6, ..Options::default() };
    let mut generator = Generator::new(&model, 10);
    for sources in [sources, [sources[1], sources[0]]] {
        let batch = Tensor::from_slice(&sources.concat(), [2, 5]);
        let written = generator.generate(&prompts, &[batch], &options).unwrap();
        for ((source, prompt), written) in sources.iter().zip(&prompts).zip(tokens(&written)) {
            let real: Vec<i32> = source.iter().copied().filter(|&token| token != 0).collect();
            let logits = |x: &Tensor| model.logits(&ids(&real), x, &Context::eval());
            assert_eq!(written, one_by_one(prompt, 6, logits));
        }
    }
    // A beam of one is greedy, and every beam has its own copy of the source.
    let greedy = generator.generate(&prompts, std::slice::from_ref(&batch), &options).unwrap();
    let beam = |beams| Options {
        strategy: Strategy::Beam(Beam { beams, length_penalty: 1.0 }),
        ..options.clone()
    };
    let one = generator.generate(&prompts, std::slice::from_ref(&batch), &beam(1)).unwrap();
    assert_eq!(tokens(&one), tokens(&greedy));
    let three = generator.generate(&prompts, &[batch], &beam(3)).unwrap();
    for (wide, narrow) in three.iter().zip(&greedy) {
        assert!(wide.log_probability >= narrow.log_probability - 1e-5);
    }
    let unknown = Tensor::from_slice(&[99i32; 10], [2, 5]);
    let error = generator.generate(&prompts, &[unknown], &options).unwrap_err();
    assert!(matches!(error, GenerateError::Run(_)), "{error}");
}

/// The next token depends on the last two; the one before the last is the state.
struct Pairs {
    /// `[vocabulary · vocabulary, vocabulary]`.
    logits: Vec<f32>,
    vocabulary: usize,
}

impl Pairs {
    fn new(vocabulary: usize, seed: u64) -> Pairs {
        let shape = [vocabulary.pow(3)];
        let values = Tensor::normal(&Tensor::random_key(seed, 1), 0, shape, DType::F32) * 2.0;
        Pairs { logits: values.to_vec(), vocabulary }
    }

    fn log_probabilities(&self, before: i32, last: i32) -> Vec<f64> {
        let n = self.vocabulary;
        let row = &self.logits[(before as usize * n + last as usize) * n..][..n];
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        row.iter().map(|&l| f64::from(l) - sum.ln()).collect()
    }
}

impl Autoregressive for Pairs {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn begin(&self, rows: usize, _: usize, _: &[Tensor]) -> Vec<Tensor> {
        vec![Tensor::full([rows, 1], 0.0, DType::I32)]
    }

    fn advance(&self, tokens: &Tensor, _: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let n = self.vocabulary;
        let table = Tensor::from_slice(&self.logits, [n * n, n]);
        let (rows, time) = (tokens.shape()[0], tokens.shape()[1]);
        let last = tokens.slice(1, time - 1, time);
        let before = if time > 1 { &tokens.slice(1, time - 2, time - 1) } else { &state[0] };
        let row = (before * n as f64 + &last).reshape([rows]);
        (table.index_select(0, &row), vec![last])
    }
}

/// The best of all sequences that there are.
fn best_of_all(
    model: &Pairs,
    [before, last]: [i32; 2],
    (most, stop, penalty): (usize, i32, f64),
) -> (f64, Vec<i32>) {
    let mut open = vec![(0.0, vec![before, last])];
    let mut best = (f64::NEG_INFINITY, vec![]);
    while let Some((total, tokens)) = open.pop() {
        let n = tokens.len();
        let next = model.log_probabilities(tokens[n - 2], tokens[n - 1]);
        for (token, log_probability) in next.into_iter().enumerate() {
            let (token, total) = (token as i32, total + log_probability);
            let all = [&tokens[..], &[token]].concat();
            let written = all.len() - 2;
            if token == stop || written == most {
                let score = total / (written as f64).powf(penalty);
                if score > best.0 {
                    best = (score, all[2..].to_vec());
                }
            } else {
                open.push((total, all));
            }
        }
    }
    best
}

#[test]
fn a_beam_that_is_wide_enough_finds_the_best_of_all() {
    let mut differs = false;
    for seed in 0..6 {
        let model = Pairs::new(4, seed);
        let mut generator = Generator::new(&model, 9);
        for penalty in [0.0, 1.0, 2.0] {
            let prompts = [vec![1, 2], vec![0, 3, 1]];
            // The second is longer: its search begins later.
            let options = Options {
                max_new: 4,
                stop: vec![0],
                strategy: Strategy::Beam(Beam { beams: 64, length_penalty: penalty }),
                ..Options::default()
            };
            let written = generator.generate(&prompts, &[], &options).unwrap();
            for (prompt, written) in prompts.iter().zip(&written) {
                let last = [prompt[prompt.len() - 2], prompt[prompt.len() - 1]];
                let (score, expected) = best_of_all(&model, last, (4, 0, penalty));
                assert_eq!(written.tokens, expected, "seed {seed}, penalty {penalty}");
                let length = (expected.len() as f64).powf(penalty);
                assert!((written.log_probability / length - score).abs() < 1e-6);
                assert_eq!(written.stopped, expected.ends_with(&[0]));
            }
            let narrow = Options {
                strategy: Strategy::Beam(Beam { beams: 2, length_penalty: penalty }),
                ..options.clone()
            };
            let two = generator.generate(&prompts, &[], &narrow).unwrap();
            let greedy = Options { strategy: Strategy::Greedy, ..options };
            let greedy = generator.generate(&prompts, &[], &greedy).unwrap();
            differs |= tokens(&two) != tokens(&greedy);
        }
    }
    assert!(differs, "two are not followed as one is");
}

#[test]
fn random_choices_follow_the_seed_and_nothing_else() {
    let model = Pairs::new(9, 1);
    let sample = |seed, sampling| Options {
        max_new: 12,
        seed,
        strategy: Strategy::Sample(sampling),
        ..Options::default()
    };
    let write = |prompts: &[Vec<i32>], options: &Options| {
        tokens(&Generator::new(&model, 20).generate(prompts, &[], options).unwrap())
    };
    let (plain, prompts) = (Sampling::default(), [vec![1], vec![1], vec![2]]);
    let first = write(&prompts, &sample(1, plain));
    assert_eq!(first, write(&prompts, &sample(1, plain)));
    assert_ne!(first, write(&prompts, &sample(2, plain)));
    assert_ne!(first[0], first[1], "each row draws its own");
    assert_eq!(first[0], write(&prompts[..1], &sample(1, plain))[0], "whoever stands beside it");
    let greedy = write(&prompts, &Options { max_new: 12, ..Options::default() });
    assert_eq!(greedy, write(&prompts, &sample(3, Sampling { top_k: Some(1), ..plain })));
    assert_eq!(greedy, write(&prompts, &sample(3, Sampling { top_p: Some(1e-6), ..plain })));
    assert_eq!(greedy, write(&prompts, &sample(3, Sampling { temperature: 1e-3, ..plain })));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let options = Options {
        max_new: 6,
        strategy: Strategy::Sample(Sampling { top_k: Some(5), ..Sampling::default() }),
        ..Options::default()
    };
    let model = gpt(|o| (o.places, o.kv_heads) = (Places::Rotary, Some(2)));
    let write = |threads| {
        nerve_core::set_threads(threads);
        let prompts = [prompt(35, 1), prompt(3, 2)];
        let written = Generator::new(&model, 48).generate(&prompts, &[], &options).unwrap();
        let bits: Vec<u64> = written.iter().map(|w| w.log_probability.to_bits()).collect();
        (tokens(&written), bits)
    };
    let one = write(1);
    assert!([2, 3].map(write).iter().all(|other| *other == one));
}

#[test]
fn it_stops_where_it_is_told() {
    let model = Pairs::new(5, 4);
    let mut generator = Generator::new(&model, 40);
    let long = Options { max_new: 30, ..Options::default() };
    let free = generator.generate(&[vec![1]], &[], &long).unwrap().remove(0);
    assert_eq!((free.tokens.len(), free.stopped), (30, false));
    let stop = free.tokens[3];
    let first = free.tokens.iter().position(|&token| token == stop).unwrap();
    let with_stop = Options { stop: vec![stop], ..long.clone() };
    let short = generator.generate(&[vec![1]], &[], &with_stop).unwrap().remove(0);
    assert_eq!((&short.tokens[..], short.stopped), (&free.tokens[..=first], true));
    let later = Options { min_new: 9, ..with_stop };
    let later = generator.generate(&[vec![1]], &[], &later).unwrap().remove(0);
    assert!(later.tokens.len() > 9 && !later.tokens[..9].contains(&stop));
    // A penalty for what is there, the prompt too.
    let fresh = Options { repetition_penalty: 1.5, max_new: 12, ..long.clone() };
    let penalised = generator.generate(&[vec![1]], &[], &fresh).unwrap().remove(0).tokens;
    let mut expected = vec![0, 1];
    for _ in 0..12 {
        let n = expected.len();
        let row = (expected[n - 2] * 5 + expected[n - 1]) as usize;
        let score = |token: usize| {
            let logit = f64::from(model.logits[row * 5 + token]);
            let seen = expected[1..].contains(&(token as i32));
            match (seen, logit > 0.0) {
                (false, _) => logit,
                (true, true) => logit / 1.5,
                (true, false) => logit * 1.5,
            }
        };
        let best = (0..5).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap();
        expected.push(best as i32);
    }
    assert_eq!(penalised, expected[2..]);
    assert_ne!(penalised, free.tokens[..12]);
    // Told one by one, until enough is enough.
    let mut heard = vec![];
    let mut tell = |row: usize, token: i32| {
        heard.push((row, token));
        if heard.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    generator.stream(&[vec![1]], &[], &long, &mut tell).unwrap();
    let expected: Vec<(usize, i32)> = free.tokens[..5].iter().map(|&token| (0, token)).collect();
    assert_eq!(heard, expected);
}

#[test]
fn what_cannot_be_written_is_said() {
    let model = Pairs::new(5, 4);
    let mut generator = Generator::new(&model, 8);
    let options = Options { max_new: 4, ..Options::default() };
    let mut error = |prompts: &[Vec<i32>], options: &Options| {
        generator.generate(prompts, &[], options).unwrap_err().to_string()
    };
    assert_eq!(
        error(&[vec![1], vec![]], &options),
        "prompt 1 is empty; begin it with a token that means the beginning"
    );
    assert_eq!(
        error(&[vec![5]], &options),
        "prompt 0 has the token 5; there are the tokens 0 to 4"
    );
    assert_eq!(
        error(&[vec![-1]], &options),
        "prompt 0 has the token -1; there are the tokens 0 to 4"
    );
    assert_eq!(
        error(&[vec![1; 6]], &options),
        "prompt 0 and its continuation are 10 tokens; there is room for 8"
    );
    let cold = Strategy::Sample(Sampling { temperature: 0.0, ..Sampling::default() });
    assert_eq!(
        error(&[vec![1]], &Options { strategy: cold, ..options }),
        "temperature: expected a number above 0"
    );
    let mut generator = Generator::new(&model, 8);
    assert!(generator.generate(&[], &[], &Options::default()).unwrap().is_empty());
    let none = Options { max_new: 0, ..Options::default() };
    assert_eq!(generator.generate(&[vec![1]], &[], &none).unwrap()[0].tokens, [0i32; 0]);
}
