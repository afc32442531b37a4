//! A model that is served: its columns, its tensors, and the way from rows to answers.

use crate::batch::{Batcher, Batching, Done, EXACT_ROWS, Examples, Failed, Runner, Work};
use crate::columns::{InputColumn, OutputColumn};
use crate::drift::{Drifting, Watching};
use crate::encode::{Encoded, Pieces};
use crate::events::Hearing;
use crate::plans::Plans;
use crate::refusal::{Refusal, shown};
use crate::texts::Scribe;
use crate::watch::Watch;
use nerve_data::Field;
use nerve_data::features::Answer;
use nerve_data::series::Order;
use nerve_data::table::Slot;
use nerve_formats::Meaning;
use nerve_recipe::features::Fitted;
use nerve_recipe::{ModelError, Predictor};
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
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) fields: Vec<Field>,
    pub(crate) slots: Vec<Slot>,
    /// For each slot the numbers of the inputs that are its parts.
    pub(crate) places: Vec<Vec<usize>>,
    pub(crate) way: Way,
}

/// How answers come about.
pub(crate) enum Way {
    /// All of a row at once.
    Computed(Batcher),
    /// Token by token.
    Written(Scribe),
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
        let outputs = &predictor.features().outputs;
        let tokens = |it: &Fitted| matches!(it.feature.meaning(), Meaning::Tokens { .. });
        if let (Some(it), [_, _, ..]) = (outputs.iter().find(|it| tokens(it)), &outputs[..]) {
            let (name, count) = (shown(&it.column.name), outputs.len());
            return Err(refuse(format!(
                "`{name}` is a text or a sequence, which must be the only output, and there are {count}"
            )));
        }
        let sha256 = digest(file).map_err(|error| refuse(error.to_string()))?;
        let (fields, predictor) = (fields(&predictor), Arc::new(predictor));
        let watch = Arc::new(Watch::default());
        let scribe = Scribe::start(&predictor, &fields, batching, watch.clone());
        let way = match scribe.map_err(&refuse)? {
            Some(scribe) => Way::Written(scribe),
            None => {
                let least = if batching.exact { EXACT_ROWS } else { 1 };
                let sizes = (least, batching.most_rows);
                let plans =
                    Plans::new(&predictor.network.model, &fields, sizes).map_err(&refuse)?;
                let batcher = Batcher::start(Box::new(plans), batching, watch.clone());
                Way::Computed(batcher.map_err(|error| refuse(error.to_string()))?)
            }
        };
        let served = Served::new((name, version), predictor, way, watch).map_err(refuse)?;
        Ok(Served { sha256, ..served })
    }

    /// A model whose batches are run by something else than its plans.
    ///
    /// # Errors
    /// As [`Served::open`], in words.
    pub fn with_runner(
        name: &str,
        version: u64,
        predictor: Predictor,
        runner: Box<dyn Runner + Send>,
        batching: Batching,
    ) -> Result<Served, String> {
        let watch = Arc::new(Watch::default());
        let batcher = Batcher::start(runner, batching, watch.clone());
        let way = Way::Computed(batcher.map_err(|error| error.to_string())?);
        Served::new((name, version), Arc::new(predictor), way, watch)
    }

    fn new(
        (name, version): (&str, u64),
        predictor: Arc<Predictor>,
        way: Way,
        watch: Arc<Watch>,
    ) -> Result<Served, String> {
        let features = predictor.features();
        // Of a text that goes on its beginning is what goes in.
        let asked = match &way {
            Way::Written(scribe) if scribe.continues => &features.outputs,
            _ => &features.inputs,
        };
        let inputs = asked.iter().map(InputColumn::new).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<_> = features.outputs.iter().map(OutputColumn::new).collect();
        let slots = features.slots[..features.asked].to_vec();
        let Order { time, series, .. } = Order::from_args(&predictor.card.recipe.data);
        let mut order: Vec<String> = time.into_iter().chain(series).collect();
        order.retain(|name| predictor.reaches() && inputs.iter().all(|input| input.name != *name));
        let place = |name: &String| inputs.iter().position(|input| input.name == *name);
        let places = slots.iter().map(|slot| {
            slot.parts.iter().map(|(name, _)| place(name).expect("a part is an input")).collect()
        });
        let places = places.collect();
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
            way,
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
        match &self.way {
            Way::Computed(batcher) => batcher.most_rows(),
            Way::Written(scribe) => scribe.batcher.most_rows(),
        }
    }

    /// The most tokens that a request may want; `None` if the model writes no texts.
    pub fn most_tokens(&self) -> Option<usize> {
        match &self.way {
            Way::Computed(_) => None,
            Way::Written(scribe) => Some(scribe.most_tokens),
        }
    }

    /// Whether it goes on with a text, whose beginning is its one input.
    pub fn continues(&self) -> bool {
        matches!(&self.way, Way::Written(scribe) if scribe.continues)
    }

    /// The shapes of what the network takes.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether there is room for another request.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub fn room(&self) -> Result<(), Refusal> {
        match &self.way {
            Way::Computed(batcher) => room(batcher, &self.watch),
            Way::Written(scribe) => room(&scribe.batcher, &self.watch),
        }
    }

    /// Hands rows to the model, and gives what it says of each.
    ///
    /// # Errors
    /// 503 when too many wait, 504 when the time is over, 500 when the network fails or gives what is no number.
    ///
    /// # Panics
    /// When they are those of a model of another kind.
    pub async fn answer(
        &self,
        encoded: Encoded,
        until: Instant,
    ) -> Result<Vec<Vec<Answer>>, Refusal> {
        let answers = match (&self.way, encoded.pieces) {
            (Way::Computed(batcher), Pieces::Examples(pieces)) => {
                self.computed(batcher, pieces, until).await?
            }
            (Way::Written(scribe), Pieces::Texts(pieces)) => {
                let done = collect(&scribe.batcher, &self.watch, pieces, until).await?;
                vec![done.into_iter().flat_map(|done| done.outputs).collect()]
            }
            _ => unreachable!("rows are encoded by the model that answers"),
        };
        let answers = match encoded.samples {
            Some(samples) => samples.told(answers),
            None => answers,
        };
        if let Some(drifting) = &self.drifting {
            drifting.said(&self.predictor, &answers);
        }
        Ok(answers)
    }

    /// What the network says of rows, for each output.
    async fn computed(
        &self,
        batcher: &Batcher,
        pieces: Vec<Examples>,
        until: Instant,
    ) -> Result<Vec<Vec<Answer>>, Refusal> {
        let steps: Vec<_> = pieces.iter().map(|piece| self.steps(piece)).collect();
        let mut answers: Vec<Vec<Answer>> = self.outputs.iter().map(|_| Vec::new()).collect();
        let done = collect(batcher, &self.watch, pieces, until).await?;
        for (done, steps) in done.iter().zip(&steps) {
            self.read(done, steps, &mut answers)?;
        }
        Ok(answers)
    }

    /// Has one text written that goes on, and whose pieces are heard meanwhile.
    ///
    /// # Errors
    /// 422 for more than one row, 503 when too many wait.
    ///
    /// # Panics
    /// When the model does not go on with texts.
    pub(crate) fn hear(&self, encoded: Encoded, until: Instant) -> Result<Hearing, Refusal> {
        let (Way::Written(scribe), Pieces::Texts(pieces)) = (&self.way, encoded.pieces) else {
            unreachable!("asked of models that go on with a text")
        };
        let rows = pieces.iter().map(Work::rows).sum::<usize>();
        let mut texts = pieces.into_iter().next().filter(|_| rows == 1).ok_or_else(|| {
            Refusal::unfit(format!("a text in pieces comes alone: expected one row, found {rows}"))
        })?;
        let pieces = texts.heard();
        let reply = scribe.batcher.submit(texts, until);
        scribe.batcher.wake();
        let reply = reply.map_err(|failed| refusal(&self.watch, failed))?;
        Ok(Hearing { pieces, reply })
    }

    /// For each row how many tags it gets; nothing where the model names no steps.
    fn steps(&self, piece: &Examples) -> Vec<usize> {
        let first = piece.fields.first();
        let of = |row| first.and_then(|first| self.predictor.steps(first, row));
        (0..piece.rows).map_while(of).collect()
    }

    fn read(
        &self,
        done: &Done,
        steps: &[usize],
        answers: &mut [Vec<Answer>],
    ) -> Result<(), Refusal> {
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
            let answer = |(row, values): (usize, &[f32])| match steps.get(row) {
                Some(&steps) => output.answer_steps(values, steps),
                None => output.answer(values),
            };
            answers.extend(values.chunks_exact(width).enumerate().map(answer));
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
    watch.computed(waited, ran);
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

pub(crate) fn refusal(watch: &Watch, failed: Failed) -> Refusal {
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
    features.slots[..features.asked].iter().map(delivered).collect()
}
