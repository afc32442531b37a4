//! `nerve monitor`: whether data are still like those that a model was trained on.

use crate::args::Monitor;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::data::features::{self, Words};
use nerve::data::source::{self, Options as Reading, Source};
use nerve::data::{Cells, DataError, Table};
use nerve::formats::kind::Kind;
use nerve::formats::{spec, write_atomic};
use nerve_lens::drift::{
    self, Drift, Gauge, Measured, Observer, Options, Reference, Summary, Test,
};
use nerve_recipe::reference::{Predicted, gauge};
use nerve_recipe::source::escape;
use nerve_recipe::{Predictor, Rows, nearest};
use nerve_track::RunFolder;
use std::path::Path;

/// How many rows are in memory at a time.
const CHUNK: usize = 4096;
/// Up to this many numbers of a column are compared as they are, of more a sketch.
const EXACT: usize = 1 << 17;
/// How many rows of a chunk a model is asked about at most.
const ASKED: usize = 1000;

pub fn run(args: &Monitor) -> Result<(), Failure> {
    set_threads(&args.common)?;
    if !(0.0..=1.0).contains(&args.share) {
        return Err(Failure::Usage("--share: expected a share from 0 to 1".to_string()));
    }
    let (known, current) = match model(args)? {
        Some(predictor) => of_model(&predictor, args)?,
        None => of_files(args)?,
    };
    let options = options(args, &known)?;
    let drift = compare(known, current, args, &options)?;
    if let Some(path) = &args.output {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let title = format!("{} beside {}", name(&args.current), name(&args.reference));
        let page = drift::page(&title, &drift);
        write_atomic(path, |out| out.write_all(page.as_bytes()))
            .map_err(|error| Failure::Runtime(error.to_string()))?;
    }
    match args.common.json {
        true => output::json(&drift.to_json())?,
        false => output::result(&table(&drift))?,
    }
    match drift.drifted() {
        false => Ok(()),
        true => Err(Failure::Gate(format!(
            "the data have drifted: {} of {} columns",
            drift.drifted_columns(),
            drift.columns.len()
        ))),
    }
}

/// The model that REF names; `None` where it is a file of data.
fn model(args: &Monitor) -> Result<Option<Predictor>, Failure> {
    let path = &args.reference;
    let file = match path.is_file() {
        true if Kind::of(path)? == Kind::SafeTensors => path.clone(),
        true => return Ok(None),
        // A folder of pictures, or of data in files, is no run.
        false if path.is_dir() && RunFolder::find(&args.runs, path).is_err() => return Ok(None),
        false => RunFolder::find(&args.runs, path)?.model(),
    };
    Ok(Some(Predictor::open(&file)?))
}

type Sides = (Vec<Measured>, Vec<Measured>);

fn data(error: DataError) -> Failure {
    Failure::Data(error.to_string())
}

/// What a model remembers of its training rows, and the same of the current ones.
fn of_model(predictor: &Predictor, args: &Monitor) -> Result<Sides, Failure> {
    let Some(reference) = predictor.reference() else {
        return Err(Failure::Data(format!(
            "{}: the model file does not say what its training data were like: it was written by an older version; \
             train it again, or give the training data in place of the model",
            escape(&args.reference.to_string_lossy())
        )));
    };
    let source = source::open(&args.current, &Reading::from_args(&predictor.card.recipe.data))
        .map_err(data)?;
    let features = predictor.features();
    let mut columns: Vec<(String, Gauge)> = Vec::new();
    for (fitted, needed) in (features.inputs.iter().map(|it| (it, true)))
        .chain(features.outputs.iter().map(|it| (it, false)))
    {
        let name = &fitted.column.name;
        let there = source.columns().contains(name);
        let new = columns.iter().all(|(known, _)| known != name) && wanted(args, name);
        // What should come out is seldom known when it is asked for.
        if new && (needed || there) {
            columns.extend(gauge(fitted).map(|gauge| (name.clone(), gauge)));
        }
    }
    let mut predicted = Asked::new(predictor, reference, args);
    let current = observe(&*source, columns, |table| predicted.ask(table))?;
    let there = |it: &&Measured| current.iter().any(|now| now.feature == it.feature);
    let mut known: Vec<Measured> = reference.features.iter().filter(there).cloned().collect();
    let mut current: Vec<Measured> = current;
    if let Some(said) = predicted.said {
        known.extend(reference.predictions.iter().cloned());
        current.extend(said.measured());
    }
    Ok((known, current))
}

/// Asks the model about the current rows, until one of them is nothing that it can take.
struct Asked<'p> {
    predictor: &'p Predictor,
    said: Option<Predicted>,
}

impl<'p> Asked<'p> {
    fn new(predictor: &'p Predictor, reference: &Reference, args: &Monitor) -> Asked<'p> {
        // A sample of a series needs those around it, which may be in another chunk.
        let can = !(reference.predictions.is_empty() || predictor.reaches());
        let said = (can && args.columns.is_empty()).then(|| Predicted::new(predictor.features()));
        Asked { predictor, said }
    }

    fn ask(&mut self, table: &Table) {
        let Some(said) = &mut self.said else { return };
        let mut rows = Rows::all(table.clone());
        rows.rows.truncate(ASKED);
        let each = |row: nerve_recipe::Said| {
            let answers = row.answers.iter().enumerate();
            answers.for_each(|(k, answer)| said.add(self.predictor, k, answer));
            Ok(())
        };
        if let Err(error) = self.predictor.answers(&rows, false, each) {
            complain(&format!(
                "what the model says is not compared, it cannot take all rows: {error}"
            ));
            self.said = None;
        }
    }
}

fn wanted(args: &Monitor, column: &str) -> bool {
    args.columns.is_empty() || args.columns.iter().any(|name| name == column)
}

/// Two files of data: what their columns are follows from the first.
fn of_files(args: &Monitor) -> Result<Sides, Failure> {
    let open = |path: &Path| source::open(path, &Reading::default()).map_err(data);
    let (reference, current) = (open(&args.reference)?, open(&args.current)?);
    let mut chunks = reference.chunks().map_err(data)?;
    let first = chunks.next(CHUNK).map_err(data)?;
    let first = first.ok_or_else(|| data(DataError::Empty { what: "reference".into() }))?;
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    for (column, proposal) in first.columns().iter().zip(features::propose(&first)) {
        let asked = args.columns.contains(&column.name);
        if !wanted(args, &column.name) || !(asked || current.columns().contains(&column.name)) {
            continue;
        }
        let gauge = match proposal.kind {
            Some(kind) => features::find(kind).and_then(|entry| {
                let args = spec::check(entry.spec, &[]).ok()?;
                Gauge::of(kind, &args, None)
            }),
            // A constant, or names of which each is its own: the former may change.
            None => Some(plain(&column.cells)).filter(|_| asked || constant(&column.cells)),
        };
        match gauge {
            Some(gauge) => columns.push((column.name.clone(), gauge)),
            None => left_out.push(escape(&column.name)),
        }
    }
    if !left_out.is_empty() {
        complain(&format!("not compared (names of rows, dates, files): {}", left_out.join(", ")));
    }
    let known = observe(&*reference, columns.clone(), |_| ())?;
    Ok((known, observe(&*current, columns, |_| ())?))
}

/// Numbers if all cells are, else names.
fn plain(cells: &Cells) -> Gauge {
    let words = Words::of_numbers();
    match (0..cells.len()).all(|row| words.number(cells.get(row)).is_ok()) {
        true => Gauge::Number(words),
        false => Gauge::Name(Words::of_names()),
    }
}

fn constant(cells: &Cells) -> bool {
    (1..cells.len()).all(|row| cells.get(row) == cells.get(0))
}

/// Measures the columns of a source; `each` sees its chunks, too.
fn observe(
    source: &dyn Source,
    columns: Vec<(String, Gauge)>,
    mut each: impl FnMut(&Table),
) -> Result<Vec<Measured>, Failure> {
    let mut observer = Observer::new(columns, EXACT);
    let names: Vec<String> = observer.columns().map(str::to_string).collect();
    let mut chunks = source.chunks().map_err(data)?;
    let mut rows = 0;
    while let Some(table) = chunks.next(CHUNK).map_err(data)? {
        observer.within(&table.origin().folder);
        for (at, name) in names.iter().enumerate() {
            let cells = &table.column(name).map_err(data)?.cells;
            (0..table.rows()).for_each(|row| observer.observe(at, cells, row));
        }
        rows += table.rows();
        each(&table);
    }
    chunks.notes().iter().for_each(|note| complain(note));
    if rows == 0 {
        return Err(data(DataError::Empty { what: "data to be compared".into() }));
    }
    if observer.refused() > 0 {
        let refused = observer.refused();
        complain(&format!("{refused} cells are nothing of their type, and count as missing"));
    }
    Ok(observer.measured())
}

/// The columns and features that were asked for by name must exist.
fn options(args: &Monitor, known: &[Measured]) -> Result<Options, Failure> {
    let of = |name: &str| -> Result<Vec<String>, Failure> {
        let own = known.iter().filter(|it| it.feature == name || it.column == name);
        let own: Vec<String> = own.map(|it| it.feature.clone()).collect();
        if !own.is_empty() {
            return Ok(own);
        }
        let names: Vec<&str> = known.iter().map(|it| it.feature.as_str()).collect();
        let near = nearest(name, names.iter().copied());
        let near = near.map_or(String::new(), |near| format!("; did you mean `{}`?", escape(near)));
        let names = escape(&names.join(", "));
        Err(Failure::Usage(format!(
            "no column `{}` is compared{near}\nthere are {names}",
            escape(name)
        )))
    };
    args.columns.iter().try_for_each(|name| of(name).map(drop))?;
    let mut options = Options { share: args.share, ..Options::default() };
    for text in &args.test {
        let found = text.rsplit_once('=').and_then(|(name, test)| Some((name, Test::find(test)?)));
        let Some((name, test)) = found else {
            let tests = Test::ALL.map(Test::name).join(", ");
            let text = escape(text);
            return Err(Failure::Usage(format!(
                "--test `{text}`: expected COLUMN=TEST, the tests are {tests}"
            )));
        };
        options.tests.extend(of(name)?.into_iter().map(|feature| (feature, test)));
    }
    for text in &args.threshold {
        let (name, number) = match text.rsplit_once('=') {
            Some((name, number)) => (Some(name), number),
            None => (None, text.as_str()),
        };
        let Some(x) = number.parse().ok().filter(|x: &f64| *x >= 0.0 && x.is_finite()) else {
            let text = escape(text);
            return Err(Failure::Usage(format!("--threshold `{text}`: expected a number from 0")));
        };
        match name {
            None => options.threshold = Some(x),
            Some(name) => options.thresholds.extend(of(name)?.into_iter().map(|f| (f, x))),
        }
    }
    Ok(options)
}

fn compare(
    known: Vec<Measured>,
    current: Vec<Measured>,
    args: &Monitor,
    options: &Options,
) -> Result<Drift, Failure> {
    let mut columns = Vec::new();
    for it in known {
        let now = current.iter().find(|now| now.feature == it.feature);
        if let Some(now) = now {
            columns.push(drift::compare(&it.feature, it.summary, now.summary.clone(), options));
        }
    }
    if columns.is_empty() {
        let name = escape(&args.current.to_string_lossy());
        return Err(Failure::Data(format!("{name} has no column that can be compared")));
    }
    Ok(Drift { columns, share: options.share })
}

/// What is said to people.
fn table(drift: &Drift) -> String {
    let name = |column: &drift::ColumnDrift| escape(&column.feature);
    let width = drift.columns.iter().map(|it| name(it).chars().count()).max().unwrap_or(0).max(6);
    let mut text = format!(
        "{:width$}  {:13}  {:>10}  {:>9}  {:5}  {:>17}\n",
        "column", "test", "score", "threshold", "drift", "missing"
    );
    for column in &drift.columns {
        let (test, score, threshold) = match &column.verdict {
            Ok(v) => (v.test.name(), number(v.score), number(v.threshold)),
            Err(_) => ("none", "-".to_string(), "-".to_string()),
        };
        let share = |summary: &Summary| format!("{:.1} %", 100.0 * summary.missing_share());
        let missing = format!("{} > {}", share(&column.reference), share(&column.current));
        let drifted = if column.drifted() { "yes" } else { "no" };
        let mut notes = Vec::new();
        notes.extend(column.verdict.as_ref().err().cloned());
        notes.extend(column.missing_changed().then(|| "another share is missing".to_string()));
        if !column.new_names.is_empty() {
            let names: Vec<String> =
                column.new_names.iter().map(|(name, _)| escape(name)).collect();
            notes.push(format!("new: {}", names.join(", ")));
        }
        let line = format!(
            "{:width$}  {test:13}  {score:>10}  {threshold:>9}  {drifted:5}  {missing:>17}  {}",
            name(column),
            notes.join("; ")
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let verdict = if drift.drifted() { "the data have drifted" } else { "no drift of the data" };
    text.push_str(&format!(
        "{} of {} columns have drifted ({:.0} %; {verdict}, which is said from {:.0} % on)",
        drift.drifted_columns(),
        drift.columns.len(),
        100.0 * drift.drifted_share(),
        100.0 * drift.share
    ));
    text
}

/// Four digits, small ones with an exponent.
fn number(x: f64) -> String {
    if x != 0.0 && x.abs() < 1e-3 { format!("{x:.2e}") } else { format!("{x:.4}") }
}
