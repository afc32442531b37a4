//! The loop over tokens.

use super::beam::Search;
use super::choice::{adjust, best, draw, log_softmax};
use super::{Autoregressive, GenerateError, Generated, Options, Strategy};
use nerve_core::{DType, RunError, Shape, Tensor, Var, compile};
use std::cell::Cell;
use std::ops::ControlFlow;

/// A prompt is taken in pieces of this many tokens, and what is left one by one: so there are two
/// plans, whatever the lengths of prompts are.
const PIECE: usize = 32;

/// Hears which prompt goes on with which token, and says whether to go on.
type Tell<'t> = &'t mut dyn FnMut(usize, i32) -> ControlFlow<()>;

type Run<'m> = Box<dyn Fn(&[&Tensor]) -> Result<Vec<Tensor>, RunError> + 'm>;

/// Writes with one network, and keeps its state and its plans between calls.
///
/// The state has room for `longest` tokens from the beginning: a step of a transformer costs the
/// same at any place, and reads and writes all of that room. Take no more than is needed. Another
/// number of sequences, or of beams, needs other plans, which are made when it comes.
pub struct Generator<'m> {
    model: &'m dyn Autoregressive,
    longest: usize,
    /// What makes the first state, for so many sequences.
    reader: Option<(usize, Run<'m>)>,
    engine: Option<Engine<'m>>,
}

/// State and plans for one number of rows.
struct Engine<'m> {
    state: Vec<Var>,
    step: Run<'m>,
    /// Puts the states of other rows in the places of all rows.
    reorder: Run<'m>,
}

impl<'m> Engine<'m> {
    fn new(model: &'m dyn Autoregressive, begin: &[Tensor]) -> Engine<'m> {
        let named = |(i, tensor): (usize, &Tensor)| Var::new(format!("state.{i}"), tensor.clone());
        let state: Vec<Var> = begin.iter().enumerate().map(named).collect();
        let vars = state.clone();
        let step = compile(move |args: &[Tensor]| {
            let before: Vec<Tensor> = vars.iter().map(Var::get).collect();
            let (logits, after) = model.advance(&args[0], &args[1], &before);
            for ((var, old), new) in vars.iter().zip(&before).zip(after) {
                if old.id() != new.id() {
                    var.set(new);
                }
            }
            vec![logits.to_dtype(DType::F32)]
        });
        let vars = state.clone();
        let reorder = compile(move |args: &[Tensor]| {
            for var in &vars {
                var.set(var.get().index_select(0, &args[0]));
            }
            vec![]
        });
        Engine {
            state,
            step: Box::new(move |args| step.try_call(args)),
            reorder: Box::new(move |args| reorder.try_call(args)),
        }
    }

    fn fits(&self, begin: &[Tensor]) -> bool {
        let shapes = |(var, tensor): (&Var, &Tensor)| var.shape() == tensor.shape();
        self.state.len() == begin.len() && self.state.iter().zip(begin).all(shapes)
    }

    /// Logits after `tokens` `[rows, n]` from place `at` on, row by row.
    fn logits(&self, tokens: &[i32], rows: usize, at: usize) -> Result<Vec<f32>, GenerateError> {
        let tokens = Tensor::from_slice(tokens, [rows, tokens.len() / rows]);
        let at = Tensor::from_slice(&[at as i32], [1]);
        let results = (self.step)(&[&tokens, &at]).map_err(GenerateError::Run)?;
        Ok(results[0].to_vec())
    }
}

impl<'m> Generator<'m> {
    /// With room for `longest` tokens, prompt and result together.
    ///
    /// # Panics
    /// If the network knows fewer places.
    #[track_caller]
    pub fn new(model: &'m dyn Autoregressive, longest: usize) -> Generator<'m> {
        if let Some(most) = model.longest() {
            assert!(
                longest <= most,
                "Generator: {longest} tokens, the network knows {most} places"
            );
        }
        Generator { model, longest, reader: None, engine: None }
    }

    /// Continues `prompts`, which may be of different lengths. `source` is what they are written from
    /// (see [`Autoregressive::begin`]); nothing for most networks.
    ///
    /// # Errors
    /// If a prompt is empty, too long or has unknown tokens; if an option is out of range; if the
    /// network cannot be run.
    pub fn generate(
        &mut self,
        prompts: &[Vec<i32>],
        source: &[Tensor],
        options: &Options,
    ) -> Result<Vec<Generated>, GenerateError> {
        self.stream(prompts, source, options, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`generate`](Generator::generate), telling each token as soon as it is certain: which
    /// prompt it continues, and the token. If the answer is to break, nothing more is written. With
    /// a beam search tokens are certain when all is written.
    ///
    /// # Errors
    /// As [`generate`](Generator::generate).
    pub fn stream(
        &mut self,
        prompts: &[Vec<i32>],
        source: &[Tensor],
        options: &Options,
        tell: &mut dyn FnMut(usize, i32) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, GenerateError> {
        self.run(prompts, source, options, (&|| true, tell))
    }

    /// As [`generate`](Generator::generate), as long as somebody wants it: `wanted` is asked before each token of any
    /// [`Strategy`]. `None` if it said no.
    ///
    /// # Errors
    /// As [`generate`](Generator::generate).
    pub fn generate_while(
        &mut self,
        prompts: &[Vec<i32>],
        source: &[Tensor],
        options: &Options,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Generated>>, GenerateError> {
        let stopped = Cell::new(false);
        let asked = || {
            stopped.set(stopped.get() || !wanted());
            !stopped.get()
        };
        let tell = &mut |_, _| ControlFlow::Continue(());
        let written = self.run(prompts, source, options, (&asked, tell))?;
        Ok((!stopped.get()).then_some(written))
    }

    fn run(
        &mut self,
        prompts: &[Vec<i32>],
        source: &[Tensor],
        options: &Options,
        (wanted, tell): (&dyn Fn() -> bool, Tell<'_>),
    ) -> Result<Vec<Generated>, GenerateError> {
        options.check()?;
        self.check(prompts, options)?;
        if prompts.is_empty() || options.max_new == 0 {
            let nothing = Generated { tokens: vec![], log_probability: 0.0, stopped: false };
            return Ok(vec![nothing; prompts.len()]);
        }
        let beams = match &options.strategy {
            Strategy::Beam(beam) => beam.beams,
            _ => 1,
        };
        let vocabulary = self.model.vocabulary();
        let engine = self.begin(prompts.len(), beams, source)?;
        match &options.strategy {
            Strategy::Beam(beam) => {
                let written = Search::new(prompts, *beam, options);
                let written = written.run(vocabulary, engine, wanted)?;
                for (row, sequence) in written.iter().enumerate() {
                    for &token in &sequence.tokens {
                        if tell(row, token).is_break() {
                            return Ok(written);
                        }
                    }
                }
                Ok(written)
            }
            _ => write(engine, prompts, vocabulary, options, (wanted, tell)),
        }
    }

    fn check(&self, prompts: &[Vec<i32>], options: &Options) -> Result<(), GenerateError> {
        let vocabulary = self.model.vocabulary();
        for (row, prompt) in prompts.iter().enumerate() {
            if prompt.is_empty() {
                return Err(GenerateError::EmptyPrompt { row });
            }
            let known = |&token: &i32| usize::try_from(token).is_ok_and(|token| token < vocabulary);
            if let Some(&token) = prompt.iter().find(|&token| !known(token)) {
                return Err(GenerateError::UnknownToken { row, token, vocabulary });
            }
            // The last token that is written needs no place.
            let tokens = prompt.len().saturating_add(options.max_new);
            if tokens - 1 > self.longest {
                return Err(GenerateError::TooLong { row, tokens, longest: self.longest });
            }
        }
        Ok(())
    }

    /// The state before the first token.
    fn begin(
        &mut self,
        sequences: usize,
        beams: usize,
        source: &[Tensor],
    ) -> Result<&Engine<'m>, GenerateError> {
        if self.reader.as_ref().is_none_or(|(rows, _)| *rows != sequences) {
            let (model, longest) = (self.model, self.longest);
            let run = compile(move |source: &[Tensor]| model.begin(sequences, longest, source));
            self.reader = Some((sequences, Box::new(move |source| run.try_call(source))));
        }
        let (_, read) = self.reader.as_ref().expect("it was made just now");
        let source: Vec<&Tensor> = source.iter().collect();
        let mut begin = read(&source).map_err(GenerateError::Run)?;
        if beams > 1 {
            begin = begin.iter().map(|state| state.repeat_interleave(beams, 0)).collect();
        }
        let rows = sequences * beams;
        let expect = |state: &Tensor| state.shape().first() == Some(&rows);
        assert!(begin.iter().all(expect), "Generator: the state's first axis is not the rows");
        Ok(match self.engine.take() {
            Some(engine) if engine.fits(&begin) => {
                engine.state.iter().zip(begin).for_each(|(var, value)| var.set(value));
                self.engine.insert(engine)
            }
            _ => self.engine.insert(Engine::new(self.model, &begin)),
        })
    }
}

/// What beam search needs of the network.
pub(super) trait Steps {
    /// Logits `[rows, vocabulary]` after `tokens` `[rows, n]` from place `at` on.
    fn logits(&self, tokens: &[i32], rows: usize, at: usize) -> Result<Vec<f32>, GenerateError>;

    /// Puts the states of the rows `parents` in the places of all rows.
    fn reorder(&self, parents: &[i32]) -> Result<(), GenerateError>;
}

impl Steps for Engine<'_> {
    fn logits(&self, tokens: &[i32], rows: usize, at: usize) -> Result<Vec<f32>, GenerateError> {
        Engine::logits(self, tokens, rows, at)
    }

    fn reorder(&self, parents: &[i32]) -> Result<(), GenerateError> {
        let parents = Tensor::from_slice(parents, Shape::from([parents.len()]));
        (self.reorder)(&[&parents]).map(|_| ()).map_err(GenerateError::Run)
    }
}

/// How many tokens are taken at once from place `at` on, if all prompts have `shortest` or more.
pub(super) fn piece(at: usize, shortest: usize) -> usize {
    if at + PIECE <= shortest { PIECE } else { 1 }
}

/// Greedy and random choices.
fn write(
    engine: &Engine<'_>,
    prompts: &[Vec<i32>],
    vocabulary: usize,
    options: &Options,
    (wanted, tell): (&dyn Fn() -> bool, Tell<'_>),
) -> Result<Vec<Generated>, GenerateError> {
    let mut rows: Vec<Vec<i32>> = prompts.to_vec();
    let nothing = Generated { tokens: vec![], log_probability: 0.0, stopped: false };
    let mut written = vec![nothing; rows.len()];
    let ended = |g: &Generated| g.stopped || g.tokens.len() >= options.max_new;
    let shortest = rows.iter().map(Vec::len).min().unwrap_or(0);
    let mut at = 0;
    while !written.iter().all(ended) && wanted() {
        let count = piece(at, shortest);
        // What ended goes on with any token, and nobody looks.
        let next =
            |row: &Vec<i32>| (at..at + count).map(|i| row.get(i).copied().unwrap_or(0)).collect();
        let tokens: Vec<i32> = rows.iter().flat_map(|row| -> Vec<i32> { next(row) }).collect();
        let all = engine.logits(&tokens, rows.len(), at)?;
        at += count;
        let numbers = numbers(options, rows.len(), at);
        for (i, logits) in all.chunks(vocabulary).enumerate() {
            let (row, result) = (&mut rows[i], &mut written[i]);
            if row.len() != at || ended(result) {
                continue;
            }
            let mut logits: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
            adjust(&mut logits, row, result.tokens.len(), options);
            let token = match &options.strategy {
                Strategy::Sample(sampling) => draw(&logits, *sampling, numbers[i]),
                _ => best(&logits, 1)[0],
            };
            result.log_probability += log_softmax(&logits)[token];
            row.push(token as i32);
            result.tokens.push(token as i32);
            result.stopped = options.stop.contains(&(token as i32));
            if tell(i, token as i32).is_break() {
                return Ok(written);
            }
        }
    }
    Ok(written)
}

/// A uniform number for each row at this place, from the seed.
fn numbers(options: &Options, rows: usize, at: usize) -> Vec<f64> {
    match options.strategy {
        Strategy::Sample(_) => {
            let key = Tensor::random_key(options.seed, at as u64);
            Tensor::uniform(&key, 0, [rows], DType::F64).to_vec()
        }
        _ => vec![],
    }
}
