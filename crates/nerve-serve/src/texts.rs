//! Models that write texts: what they are asked, and the thread on which they write.
//!
//! A text that is written from other columns shares its steps with those that wait beside it; a text that goes on has its
//! own, because what it looks back on is as long as it is.

use crate::batch::{Batcher, Batching, EXACT_ROWS, Examples, Runner, Work};
use crate::columns::Cellar;
use crate::plans::{fill, sizes};
use crate::refusal::Refusal;
use crate::watch::Watch;
use nerve_data::features::Answer;
use nerve_data::{Array, Cell, Field, Values};
use nerve_nn::generate::Strategy;
use nerve_recipe::writing::Writer;
use nerve_recipe::{ModelError, Predictor};
use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, mpsc};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The most tokens that a request may have a text go on for, where the model's own bound is not higher.
const MOST_TOKENS: usize = 4096;
/// The most bytes of the beginning of a text: far more than a model looks back on.
const MOST_BEGINNING: usize = 1 << 16;

/// What texts are written from.
#[derive(Clone, Debug)]
pub enum From {
    /// Rows of other columns.
    Rows(Examples),
    /// The beginnings of the texts.
    Beginnings(Vec<String>),
}

/// Texts that a request wants to have written.
#[derive(Clone, Debug)]
pub struct Texts {
    from: From,
    /// The most tokens of each.
    most_tokens: usize,
    /// Whether they may be written in one batch with others.
    together: bool,
    /// Who hears the pieces of a text that goes on, while it is written.
    hearer: Option<UnboundedSender<String>>,
}

impl Texts {
    /// Has the pieces heard.
    pub(crate) fn heard(&mut self) -> UnboundedReceiver<String> {
        let (hearer, pieces) = unbounded_channel();
        self.hearer = Some(hearer);
        pieces
    }
}

impl Work for Texts {
    /// For each row its text.
    type Outputs = Vec<Answer>;

    fn rows(&self) -> usize {
        match &self.from {
            From::Rows(examples) => examples.rows,
            From::Beginnings(texts) => texts.len(),
        }
    }

    fn joins(&self, other: &Texts) -> bool {
        self.together && other.together && self.most_tokens == other.most_tokens
    }

    fn part(outputs: &Vec<Answer>, range: Range<usize>, _: usize) -> Vec<Answer> {
        outputs[range].to_vec()
    }
}

/// A model that writes, and those who wait for it.
pub(crate) struct Scribe {
    pub batcher: Batcher<Texts>,
    /// Whether it goes on with a text, and does not write from other columns.
    pub continues: bool,
    /// The most tokens of a text that says nothing about it.
    tokens: usize,
    /// The most that it may say.
    pub most_tokens: usize,
    together: bool,
}

impl Scribe {
    /// Starts the thread and has it write a few tokens with each of its plans; `None` if the model writes no texts.
    ///
    /// # Errors
    /// The network cannot be asked to write, in words.
    pub fn start(
        predictor: &Arc<Predictor>,
        fields: &[Field],
        batching: Batching,
        watch: Arc<Watch>,
    ) -> Result<Option<Scribe>, String> {
        let writer = predictor.writer().map_err(|error| error.to_string())?;
        let Some(mut writer) = writer else { return Ok(None) };
        let (continues, options) = (writer.continues(), writer.options().clone());
        drop(writer);
        let (ready, told) = mpsc::channel();
        let (own, fields) = (predictor.clone(), fields.to_vec());
        // The plans borrow the model, so both live on the thread.
        let body =
            move |serve: &dyn Fn(&mut dyn Runner<Texts>)| match Hand::new(&own, fields, batching) {
                Ok(mut hand) => {
                    let _ = ready.send(Ok(()));
                    serve(&mut hand);
                }
                Err(error) => drop(ready.send(Err(error.to_string()))),
            };
        let batcher = Batcher::start_with(batching, watch, body).map_err(|it| it.to_string())?;
        let failed = |_| Err("the network cannot be compiled".to_string());
        told.recv().unwrap_or_else(failed)?;
        let tokens = options.max_new;
        Ok(Some(Scribe {
            batcher,
            continues,
            tokens,
            most_tokens: if continues { tokens.max(MOST_TOKENS) } else { tokens },
            // What chance says depends on the place in the batch: alone, a request always gets the same.
            together: !(continues || matches!(options.strategy, Strategy::Sample(_))),
        }))
    }

    /// Texts to write from rows of other columns.
    ///
    /// # Errors
    /// 422: more tokens than there may be.
    pub fn rows(
        &self,
        pieces: Vec<Examples>,
        most_tokens: Option<u64>,
    ) -> Result<Vec<Texts>, Refusal> {
        pieces.into_iter().map(|examples| self.texts(From::Rows(examples), most_tokens)).collect()
    }

    /// Texts that go on, from a column with their beginnings, in pieces of at most a batch.
    ///
    /// # Errors
    /// 422: a beginning that is no text or too long; more tokens than there may be.
    pub fn beginnings(
        &self,
        name: &str,
        cells: &Cellar,
        most_tokens: Option<u64>,
    ) -> Result<Vec<Texts>, Refusal> {
        let beginning = |row: usize| {
            let wrong = |found: String| {
                Refusal::unfit(format!(
                    "column `{}`, row {}: expected the beginning of a text of at most {MOST_BEGINNING} bytes, found {found}",
                    crate::refusal::shown(name),
                    row + 1
                ))
            };
            let (cells, place) = cells.at(row);
            let text = match cells.get(place) {
                Cell::Missing => Cow::Borrowed(""),
                Cell::Text(text) => Cow::Borrowed(text),
                Cell::Number(number) => Cow::Owned(number.to_string()),
                _ => return Err(wrong("an array".to_string())),
            };
            match text.len() {
                0..=MOST_BEGINNING => Ok(text.into_owned()),
                bytes => Err(wrong(format!("{bytes} bytes"))),
            }
        };
        let all = (0..cells.rows()).map(beginning).collect::<Result<Vec<_>, _>>()?;
        let pieces = all.chunks(self.batcher.most_rows());
        pieces.map(|piece| self.texts(From::Beginnings(piece.to_vec()), most_tokens)).collect()
    }

    fn texts(&self, from: From, most_tokens: Option<u64>) -> Result<Texts, Refusal> {
        let most = match most_tokens {
            None => self.tokens,
            Some(asked) => usize::try_from(asked)
                .ok()
                .filter(|most| (1..=self.most_tokens).contains(most))
                .ok_or_else(|| {
                    let most = self.most_tokens;
                    Refusal::unfit(format!(
                        "parameter `max_tokens`: expected 1 to {most}, found {asked}"
                    ))
                })?,
        };
        Ok(Texts { from, most_tokens: most, together: self.together, hearer: None })
    }
}

/// What writes: plans for batches of 1, 2, 4, ... rows; one of one row for texts that go on.
struct Hand<'p> {
    fields: Vec<Field>,
    writers: Vec<(usize, Writer<'p>)>,
}

impl<'p> Hand<'p> {
    fn new(
        predictor: &'p Predictor,
        fields: Vec<Field>,
        batching: Batching,
    ) -> Result<Hand<'p>, ModelError> {
        let least = if batching.exact { EXACT_ROWS } else { 1 };
        let mut hand = Hand { fields, writers: Vec::new() };
        for rows in sizes(least, batching.most_rows) {
            let mut writer = predictor.writer()?.expect("it writes");
            let continues = writer.continues();
            hand.warm(&mut writer, rows)?;
            hand.writers.push((rows, writer));
            if continues {
                break;
            }
        }
        Ok(hand)
    }

    /// Writes two tokens, for which all is compiled that a text needs: here, not in a request.
    fn warm(&self, writer: &mut Writer<'_>, rows: usize) -> Result<(), ModelError> {
        let whole = writer.options().max_new;
        writer.options().max_new = whole.min(2);
        if writer.continues() {
            // Long enough to be taken in pieces.
            writer.stream(&"a ".repeat(64), &mut |_| ControlFlow::Continue(()))?;
        } else {
            let zeros: Vec<Array> = self.fields.iter().map(|it| Array::zeros(it, rows)).collect();
            writer.write(&zeros, &|| true)?;
        }
        writer.options().max_new = whole;
        Ok(())
    }
}

/// What is said where nobody waits any more; nobody hears it.
const UNWANTED: &str = "nobody waits for it";

impl Runner<Texts> for Hand<'_> {
    fn most_rows(&self) -> usize {
        self.writers.last().map_or(1, |(rows, _)| *rows)
    }

    fn run(&mut self, batch: &[&Texts], wanted: &dyn Fn() -> bool) -> Result<Vec<Answer>, String> {
        let rows: usize = batch.iter().map(|texts| texts.rows()).sum();
        let most_tokens = batch.first().map_or(0, |texts| texts.most_tokens);
        let fits = |(size, writer): &(usize, Writer<'_>)| *size >= rows || writer.continues();
        let (_, writer) = self
            .writers
            .iter_mut()
            .find(|it| fits(it))
            .ok_or("more rows than the largest plan has")?;
        writer.options().max_new = most_tokens;
        if let [Texts { from: From::Beginnings(texts), hearer, .. }] = batch {
            let heard =
                |piece: &str| hearer.as_ref().is_none_or(|it| it.send(piece.to_string()).is_ok());
            return texts.iter().map(|text| continued(writer, text, wanted, &heard)).collect();
        }
        let examples: Vec<&Examples> = batch
            .iter()
            .filter_map(|texts| match &texts.from {
                From::Rows(examples) => Some(examples),
                From::Beginnings(_) => None,
            })
            .collect();
        let stacked = |(k, field): (usize, &Field)| {
            let mut all = Values::zeros(field.element, rows * field.values_per_sample());
            fill(&mut all, examples.iter().map(|examples| &examples.fields[k]));
            Array::new(field, all).map_err(|error| error.to_string())
        };
        let inputs = self.fields.iter().enumerate().map(stacked).collect::<Result<Vec<_>, _>>()?;
        let written = writer.write(&inputs, wanted).map_err(|error| error.to_string())?;
        written.ok_or_else(|| UNWANTED.to_string())
    }
}

/// What comes behind the beginning of a text. `heard` gets each piece, and says whether somebody listens.
fn continued(
    writer: &mut Writer<'_>,
    beginning: &str,
    wanted: &dyn Fn() -> bool,
    heard: &dyn Fn(&str) -> bool,
) -> Result<Answer, String> {
    let (mut text, mut broken) = (String::new(), !wanted());
    if !broken {
        let mut tell = |piece: &str| {
            text.push_str(piece);
            broken = !(wanted() && heard(piece));
            if broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        writer.stream(beginning, &mut tell).map_err(|error| error.to_string())?;
    }
    if broken { Err(UNWANTED.to_string()) } else { Ok(Answer::Text(text)) }
}
