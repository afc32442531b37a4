//! Texts that a model writes: token by token, one batch after the other.

use crate::generate;
use crate::predictor::{ModelError, Predictor};
use nerve_core::{RunError, Shape, Tensor, compile};
use nerve_data::features::{Answer, Output, Writing};
use nerve_data::{Array, Batch, DataError, Values};
use nerve_formats::Meaning;
use nerve_nn::Context;
use nerve_nn::generate::{GenerateError, Generated, Generator, Options};
use std::ops::ControlFlow;

/// What writes the output of a model.
pub struct Writer<'p> {
    writing: &'p dyn Writing,
    generator: Generator<'p>,
    options: Options,
    /// The most tokens, prompt and result together.
    room: usize,
    /// How many inputs a text is written from.
    inputs: usize,
    /// Rows of a batch, once one of that size was written: another number needs other plans.
    rows: usize,
}

/// How well a model knew a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// The sum of −ln p over its tokens, each after all that is true before it.
    pub surprise: f64,
    /// How many tokens it has, the end among them.
    pub tokens: f64,
    /// How many of them were held to be the likeliest.
    pub right: f64,
}

impl Predictor {
    /// Whether the output is tokens: a text that is written, or tags of the steps of an input.
    pub(crate) fn in_steps(&self) -> bool {
        let [output] = &self.features().outputs[..] else { return false };
        matches!(output.feature.meaning(), Meaning::Tokens { .. })
    }

    /// What writes the output, if it is a text that is written.
    pub(crate) fn writing(&self) -> Option<&dyn Writing> {
        let [output] = &self.features().outputs[..] else { return None };
        output.feature.output().and_then(Output::writing)
    }

    /// The model made ready to write; `None` if its output is no text.
    ///
    /// # Errors
    /// There is a text and nothing that writes it: the network has adapters that were not merged.
    pub fn writer(&self) -> Result<Option<Writer<'_>>, ModelError> {
        let Some(writing) = self.writing() else { return Ok(None) };
        let output = &self.features().outputs[0];
        let longest = output.feature.stored().0[0];
        let options = generate::options(&output.column, longest, writing.boundary());
        let network = self.network.model.writer().ok_or_else(|| DataError::Column {
            column: output.column.name.clone(),
            message:
                "the network cannot be asked to write while it has adapters: open its model file"
                    .into(),
        })?;
        let inputs = self.features().asked;
        // Without a source the beginning of the text is all there is to go on.
        let room = if inputs == 0 { longest } else { options.max_new };
        let generator = Generator::new(network, room + 1);
        Ok(Some(Writer { writing, generator, options, room, inputs, rows: 0 }))
    }

    /// How well the model knows the texts of a batch with all of [`Features::slots`](crate::Features) in it.
    pub(crate) fn knowing(&self) -> Knowing<'_> {
        let model = &self.network.model;
        let run = compile(move |args: &[Tensor]| {
            let (target, inputs) = args.split_last().expect("the target");
            let scores = model.outputs(inputs, &Context::eval())[0].permute(&[0, 2, 1]);
            let &[rows, time, classes] = &scores.shape()[..] else {
                unreachable!("[rows, time, classes]")
            };
            let (scores, index) =
                (scores.reshape([rows * time, classes]), target.reshape([rows * time]));
            let surprise = scores.cross_entropy(&index, Some(0)).reshape([rows, time]);
            let counts = target.ne(0).to_dtype(surprise.dtype());
            let best = scores.argmax(1, false).reshape([rows, time]);
            let right = best.eq(target).to_dtype(counts.dtype()) * &counts;
            let sum = |t: &Tensor| t.sum_axes(&[1], false);
            vec![Tensor::stack(&[sum(&surprise), sum(&counts), sum(&right)], 1)]
        });
        Knowing { run: Box::new(move |args| run.try_call(args)), rows: 0 }
    }
}

type Run<'p> = Box<dyn Fn(&[&Tensor]) -> Result<Vec<Tensor>, RunError> + 'p>;

/// The network made ready to say how well it knows texts.
pub(crate) struct Knowing<'p> {
    run: Run<'p>,
    rows: usize,
}

impl Knowing<'_> {
    /// Of each row of a batch.
    pub(crate) fn of(&mut self, batch: &Batch) -> Result<Vec<Known>, ModelError> {
        self.rows = self.rows.max(batch.size());
        let args: Vec<Tensor> = batch.arrays().iter().map(|it| tensor(it, self.rows)).collect();
        let results = (self.run)(&args.iter().collect::<Vec<_>>());
        let results = results.map_err(|error| ModelError::Writing(GenerateError::Run(error)))?;
        let values = results[0].to_vec::<f32>();
        let known = |v: &[f32]| {
            let [surprise, tokens, right] = [v[0], v[1], v[2]].map(f64::from);
            Known { surprise, tokens, right }
        };
        Ok(values.chunks_exact(3).take(batch.size()).map(known).collect())
    }
}

impl Writer<'_> {
    /// How tokens are chosen, and how many there are to be at most.
    pub fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    /// The texts for the rows of a batch whose first arrays are the inputs.
    pub(crate) fn batch(&mut self, batch: &Batch) -> Result<Vec<Answer>, ModelError> {
        let written = self.write(&batch.arrays()[..self.inputs], &|| true)?;
        Ok(written.expect("it is wanted"))
    }

    /// The texts for the rows of the inputs, as long as somebody wants them: `wanted` is asked before each token. `None` if
    /// it said no. Plans are made for the most rows that ever came.
    ///
    /// # Errors
    /// Options that are out of their range; a network that cannot be run.
    ///
    /// # Panics
    /// When there are no inputs: such a model [continues](Writer::stream) a text.
    pub fn write(
        &mut self,
        inputs: &[Array],
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Answer>>, ModelError> {
        let count = inputs[0].rows();
        self.rows = self.rows.max(count);
        let source: Vec<Tensor> = inputs.iter().map(|array| tensor(array, self.rows)).collect();
        let prompts = vec![vec![self.writing.boundary()]; self.rows];
        let written = self.generator.generate_while(&prompts, &source, &self.options, wanted);
        let text =
            |it: &Generated| Answer::Text(self.writing.decode(&it.tokens).trim().to_string());
        let texts = |all: Vec<Generated>| all.iter().take(count).map(text).collect();
        Ok(written.map_err(ModelError::Writing)?.map(texts))
    }

    /// Continues a text, at most as many tokens as the options say, and tells each piece as soon as it is certain; if the
    /// answer is to break, nothing more is written. What the model cannot look back on any more is forgotten: half of what it
    /// can is kept.
    ///
    /// # Errors
    /// Options that are out of their range; a model that writes from other columns.
    pub fn stream(
        &mut self,
        prompt: &str,
        tell: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        let mut tokens = self.writing.encode(prompt);
        let begun = tokens.len();
        let mut told = self.writing.decode(&tokens).len();
        let (writing, options) = (self.writing, self.options.clone());
        let mut stopped = false;
        for leg in 0.. {
            let written = tokens.len() - begun;
            if stopped || written >= options.max_new {
                break;
            }
            // The boundary stands before what is kept.
            let keep = match tokens.len() < self.room {
                true => tokens.len(),
                false => (self.room / 2).max(1),
            };
            let kept = &tokens[tokens.len() - keep..];
            let context: Vec<i32> = [&[writing.boundary()], kept].concat();
            let max_new = (options.max_new - written).min(self.room + 1 - context.len());
            let seed = options.seed.wrapping_add(leg);
            let options = Options { max_new, seed, ..options.clone() };
            let mut each = |_: usize, token: i32| {
                if token == writing.boundary() {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                tokens.push(token);
                let text = writing.decode(&tokens);
                // Bytes of a character that is not whole yet wait for the others.
                match text.get(told..).filter(|_| !text.ends_with('\u{fffd}')) {
                    Some(new) => {
                        told = text.len();
                        let next = tell(new);
                        stopped = next.is_break();
                        next
                    }
                    None => ControlFlow::Continue(()),
                }
            };
            let written = self.generator.stream(&[context], &[], &options, &mut each);
            written.map_err(ModelError::Writing)?;
        }
        Ok(())
    }

    /// Whether it continues a text, and does not write from other columns.
    pub fn continues(&self) -> bool {
        self.inputs == 0
    }
}

/// The rows of an array as a tensor of `rows` rows; the last is repeated where there are fewer.
fn tensor(array: &Array, rows: usize) -> Tensor {
    let (count, width) = (array.rows(), array.shape()[1..].iter().product::<usize>());
    let shape: Shape = [&[rows], &array.shape()[1..]].concat().into();
    fn filled<T: Copy>(values: &[T], [count, width, rows]: [usize; 3]) -> Vec<T> {
        let last = &values[(count - 1) * width..count * width];
        let mut all = values[..count * width].to_vec();
        (count..rows).for_each(|_| all.extend_from_slice(last));
        all
    }
    let sizes = [count, width, rows];
    match array.values() {
        Values::F32(values) => Tensor::from_slice(&filled(values, sizes), shape),
        Values::I32(values) => Tensor::from_slice(&filled(values, sizes), shape),
        Values::U8(values) => Tensor::from_slice(&filled(values, sizes), shape),
    }
}

#[cfg(test)]
mod tests;
