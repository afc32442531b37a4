//! A model that is served: its columns, its tensors, and the way from rows to answers.

use crate::batch::{Batcher, Batching, Done, EXACT_ROWS, Examples, Failed, Runner, Work};
use crate::columns::{Cellar, InputColumn, OutputColumn};
use crate::drift::{Drifting, Watching};
use crate::plans::Plans;
use crate::refusal::{Refusal, shown};
use crate::watch::Watch;
use nerve_data::features::{Answer, Room};
use nerve_data::series::Order;
use nerve_data::table::Slot;
use nerve_data::{Column, DataError, Field, Origin, Table, Values};
use nerve_recipe::{ModelError, Predictor, Rows};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file is no model, or its parts do not fit each other.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It is a model, and cannot be served.
    #[error("{file}: {message}")]
    Unfit {
        /// The file.
        file: String,
        /// Why not.
        message: String,
    },
}

/// One version of a model, ready to answer.
pub struct Served {
    /// The name that clients use.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// What it has done so far.
    pub watch: Arc<Watch>,
    /// The digest of its file, in hexadecimal.
    pub sha256: String,
    /// The columns that go in.
    pub inputs: Vec<InputColumn>,
    /// The columns that come out.
    pub outputs: Vec<OutputColumn>,
    /// Columns that are no inputs and say in which order rows follow each other.
    pub order: Vec<String>,
    /// What its rows are like; `None` where nobody wants to know.
    pub(crate) drifting: Option<Drifting>,
    predictor: Predictor,
    fields: Vec<Field>,
    slots: Vec<Slot>,
    /// For each slot the numbers of the inputs that are its parts.
    places: Vec<Vec<usize>>,
    batcher: Batcher,
}

impl Served {
    /// Opens a model file, compiles the network for batches up to the most rows, and runs each plan once.
    ///
    /// # Errors
    /// The file cannot be read, is no model, or takes files as inputs that no request can carry.
    pub fn open(
        name: &str,
        version: u64,
        file: &Path,
        batching: Batching,
    ) -> Result<Served, ServeError> {
        let predictor = Predictor::open(file)?;
        let refuse = |message: String| ServeError::Unfit {
            file: nerve_formats::escape(&file.to_string_lossy(), 200),
            message,
        };
        let tokens = |it: &nerve_recipe::features::Fitted| {
            matches!(it.feature.meaning(), nerve_formats::Meaning::Tokens { .. })
        };
        if predictor.features().outputs.iter().any(tokens) {
            let message = "its output is a text or a sequence, step by step, which a server does not answer with: `nerve \
                           predict` writes it from a table, `nerve generate` continues a text";
            return Err(refuse(message.into()));
        }
        let sha256 = digest(file).map_err(|error| refuse(error.to_string()))?;
        let fields = fields(&predictor);
        let least = if batching.exact { EXACT_ROWS } else { 1 };
        let plans = Plans::new(&predictor.network.model, &fields, (least, batching.most_rows));
        let plans = plans.map_err(&refuse)?;
        let served = Served::with_runner(name, version, predictor, Box::new(plans), batching);
        Ok(Served { sha256, ..served.map_err(refuse)? })
    }

    /// A model whose batches are run by something else than its plans.
    ///
    /// # Errors
    /// As [`Served::open`], in words.
    pub fn with_runner(
        name: &str,
        version: u64,
        predictor: Predictor,
        runner: Box<dyn Runner>,
        batching: Batching,
    ) -> Result<Served, String> {
        let features = predictor.features();
        if features.series_have_scales() {
            return Err("each of its series has a scale of its own (per_series_zscore), which a server does not \
                        give back: `nerve predict` answers"
                .into());
        }
        let inputs = features.inputs.iter().map(InputColumn::new).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<_> = features.outputs.iter().map(OutputColumn::new).collect();
        let slots = features.slots[..features.fed].to_vec();
        let Order { time, series, .. } = Order::from_args(&predictor.card.recipe.data);
        let mut order: Vec<String> = time.into_iter().chain(series).collect();
        order.retain(|name| predictor.reaches() && inputs.iter().all(|input| input.name != *name));
        let place = |name: &String| inputs.iter().position(|input| input.name == *name);
        let places = slots.iter().map(|slot| {
            slot.parts.iter().map(|(name, _)| place(name).expect("a part is an input")).collect()
        });
        let places = places.collect();
        let watch = Arc::new(Watch::default());
        let batcher =
            Batcher::start(runner, batching, watch.clone()).map_err(|error| error.to_string())?;
        Ok(Served {
            name: name.to_string(),
            version,
            watch,
            sha256: String::new(),
            inputs,
            outputs,
            order,
            drifting: Some(Drifting::new(&predictor, Watching::default())),
            fields: fields(&predictor),
            slots,
            places,
            predictor,
            batcher,
        })
    }

    /// The same, whose rows are watched in another way, or not at all.
    #[must_use]
    pub fn watching(mut self, watching: Option<Watching>) -> Served {
        self.drifting = watching.map(|watching| Drifting::new(&self.predictor, watching));
        self
    }

    /// What the model file says beside its numbers.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// The names of the columns that rows must have, in the order of the cells that [`Served::encode`] takes.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .map(|input| input.name.as_str())
            .chain(self.order.iter().map(String::as_str))
    }

    /// The most rows of a batch.
    pub fn most_rows(&self) -> usize {
        self.batcher.most_rows()
    }

    /// The shapes of what the network takes.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Rows as the network takes them, in pieces of at most a batch. `cells` has as many columns as [`Served::columns`].
    ///
    /// # Errors
    /// 422 with the column and the row of a cell that its feature cannot take.
    pub fn encode(&self, cells: &[Cellar], rows: usize) -> Result<Vec<Examples>, Refusal> {
        let examples = match self.predictor.reaches() {
            true => self.encode_series(cells),
            false => {
                let most = self.batcher.most_rows();
                let starts = (0..rows).step_by(most);
                starts.map(|from| self.piece(cells, from..(from + most).min(rows))).collect()
            }
        }?;
        if let Some(drifting) = &self.drifting {
            drifting.observe(cells, rows);
        }
        Ok(examples)
    }

    fn piece(&self, cells: &[Cellar], rows: std::ops::Range<usize>) -> Result<Examples, Refusal> {
        let mut room = Room::default();
        let mut values = |(number, field): (usize, &Field)| -> Result<Values, Refusal> {
            let slot = &self.slots[number];
            let mut all = Values::zeros(field.element, rows.len() * field.values_per_sample());
            let width = field.values_per_sample();
            let alone = match &slot.parts[..] {
                [(_, feature)] if feature.delivers() => Some(feature),
                _ => None,
            };
            let stored = slot.field();
            let mut one = Values::zeros(stored.element, stored.values_per_sample());
            for (at, row) in rows.clone().enumerate() {
                match alone {
                    Some(feature) => {
                        self.store(number, cells, row, &mut one, 0)?;
                        feature.deliver(&one, all.slice(at * width, width), None, &mut room);
                    }
                    None => self.store(number, cells, row, &mut all, at * width)?,
                }
            }
            Ok(all)
        };
        let fields = self
            .fields
            .iter()
            .enumerate()
            .map(|(k, field)| values((k, field)))
            .collect::<Result<_, _>>()?;
        Ok(Examples { rows: rows.len(), fields })
    }

    /// Writes the values of a row as they are stored, from `from` on.
    fn store(
        &self,
        slot: usize,
        cells: &[Cellar],
        row: usize,
        into: &mut Values,
        mut from: usize,
    ) -> Result<(), Refusal> {
        for ((column, feature), &at) in self.slots[slot].parts.iter().zip(&self.places[slot]) {
            let width = feature.stored().0.iter().product();
            let (cells, place) = cells[at].at(row);
            feature.store(cells, place, into.slice(from, width)).map_err(|refusal| {
                let (column, expected, found) = (shown(column), refusal.expected, refusal.found);
                let row = row + 1;
                Refusal::unfit(format!(
                    "column `{column}`, row {row}: expected {expected}, found {found}"
                ))
            })?;
            from += width;
        }
        Ok(())
    }

    /// Rows that follow each other: each sample needs those around its own.
    fn encode_series(&self, cells: &[Cellar]) -> Result<Vec<Examples>, Refusal> {
        let unfit = |error: DataError| Refusal::unfit(error.to_string());
        let column = |(name, cells): (&str, &Cellar)| match cells {
            Cellar::Column(cells) => Ok(Column { name: name.to_string(), cells: cells.clone() }),
            Cellar::Rows(_) => Err(Refusal::unfit("a series has no files among its columns")),
        };
        let columns = self.columns().zip(cells).map(column).collect::<Result<Vec<_>, _>>()?;
        let table = Table::new(columns, Origin::default()).map_err(unfit)?;
        let rows = self.predictor.samples(&Rows::all(table), false).map_err(unfit)?;
        let loader = self.predictor.loader(&rows, self.slots.clone()).map_err(unfit)?;
        let most = self.batcher.most_rows();
        let mut pieces = Vec::new();
        for batch in loader.epoch(0, 0) {
            let batch = batch.map_err(unfit)?;
            for from in (0..batch.size()).step_by(most) {
                let rows = most.min(batch.size() - from);
                let part = |(array, field): (&nerve_data::Array, &Field)| {
                    let width = field.values_per_sample();
                    cut(array.values(), from * width..(from + rows) * width)
                };
                let fields = batch.arrays().iter().zip(&self.fields).map(part).collect();
                pieces.push(Examples { rows, fields });
            }
        }
        Ok(pieces)
    }

    /// Whether there is room for another request.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub fn room(&self) -> Result<(), Refusal> {
        room(&self.batcher, &self.watch)
    }

    /// Hands examples to the network, and gives what it says of each row.
    ///
    /// # Errors
    /// 503 when too many wait, 504 when the time is over, 500 when the network fails or gives what is no number.
    pub async fn answer(
        &self,
        pieces: Vec<Examples>,
        until: Instant,
    ) -> Result<Vec<Vec<Answer>>, Refusal> {
        let mut answers: Vec<Vec<Answer>> = self.outputs.iter().map(|_| Vec::new()).collect();
        for done in collect(&self.batcher, &self.watch, pieces, until).await? {
            self.read(&done, &mut answers)?;
        }
        if let Some(drifting) = &self.drifting {
            drifting.said(&self.predictor, &answers);
        }
        Ok(answers)
    }

    fn read(&self, done: &Done, answers: &mut [Vec<Answer>]) -> Result<(), Refusal> {
        for (k, (values, answers)) in done.outputs.iter().zip(answers).enumerate() {
            let count = values.iter().filter(|value| !value.is_finite()).count();
            if count > 0 {
                let name = shown(&self.outputs[k].name);
                return Err(Refusal::new(
                    500,
                    format!("non_finite_output: `{name}` has {count} values that are no numbers"),
                ));
            }
            let output = self.predictor.features().outputs[k].feature.output();
            let output = output.expect("an output of the model");
            let width = self.outputs[k].width.max(1);
            answers.extend(values.chunks_exact(width).map(|row| output.answer(row)));
        }
        Ok(())
    }
}

/// The digest of a file, in hexadecimal.
pub(crate) fn digest(file: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let (mut sha256, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => sha256.update(&piece[..length]),
        }
    }
    Ok(sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hands the pieces of a request to the network, and waits for what comes out of each.
///
/// # Errors
/// 503 when too many wait, 504 when the time is over, 500 when the network fails.
pub(crate) async fn collect<W: Work>(
    batcher: &Batcher<W>,
    watch: &Watch,
    pieces: Vec<W>,
    until: Instant,
) -> Result<Vec<Done<W::Outputs>>, Refusal> {
    let submit = |piece| batcher.submit(piece, until).map_err(|failed| refusal(watch, failed));
    let waiting = pieces.into_iter().map(submit).collect::<Result<Vec<_>, _>>();
    // Whoever else is ready hands over first: a thread that shares its core with this one runs as soon as it is woken, and would
    // run a batch of one.
    tokio::task::yield_now().await;
    batcher.wake();
    let waiting = waiting?;
    let (mut waited, mut ran) = (Duration::ZERO, Duration::ZERO);
    let mut all = Vec::with_capacity(waiting.len());
    for receiver in waiting {
        let left = tokio::time::Instant::from_std(until);
        let done = match tokio::time::timeout_at(left, receiver).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Failed::Stopped),
            Err(_) => Err(Failed::Late),
        };
        let done = done.map_err(|failed| refusal(watch, failed))?;
        waited = waited.max(done.waited);
        ran += done.ran;
        all.push(done);
    }
    watch.queue.add(waited);
    watch.queue_seconds.add(waited.as_secs_f64());
    watch.infer.add(ran);
    Ok(all)
}

/// Refuses where too many wait: before a request is turned into numbers, so that a flood of them costs little of the time
/// in which others are answered.
///
/// # Errors
/// 503.
pub(crate) fn room<W: Work>(batcher: &Batcher<W>, watch: &Watch) -> Result<(), Refusal> {
    match batcher.is_full() {
        true => Err(refusal(watch, Failed::Full)),
        false => Ok(()),
    }
}

fn refusal(watch: &Watch, failed: Failed) -> Refusal {
    match failed {
        Failed::Full => {
            watch.full.add(1);
            Refusal::busy("too many requests wait for the model")
        }
        Failed::Stopped => Refusal::busy("the model is being replaced"),
        Failed::Late => {
            watch.late.add(1);
            Refusal::new(504, "the time of the request was over before it was answered")
        }
        Failed::Fault => Refusal::new(500, "the model failed on this request"),
    }
}

/// What the network takes: the fields as they are delivered.
fn fields(predictor: &Predictor) -> Vec<Field> {
    let features = predictor.features();
    let delivered = |slot: &Slot| match &slot.parts[..] {
        [(_, feature)] => {
            let (shape, element) = feature.delivered();
            Field::new(slot.name.clone(), &shape, element)
        }
        _ => slot.field(),
    };
    features.slots[..features.fed].iter().map(delivered).collect()
}

fn cut(values: &Values, range: std::ops::Range<usize>) -> Values {
    match values {
        Values::F32(values) => values[range].to_vec().into(),
        Values::I32(values) => values[range].to_vec().into(),
        Values::U8(values) => values[range].to_vec().into(),
    }
}
