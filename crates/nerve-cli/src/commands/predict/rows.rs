//! Answers for the rows of a file: read, answered and written in chunks, so that memory does not grow
//! with the file.

use super::arrays::Arrays;
#[cfg(feature = "parquet")]
use super::sheet::Sheet;
use super::writer::{Format, Sink, Writer};
use crate::args::Predict;
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output::complain;
use nerve::data::source::{self, Options};
use nerve::data::{DataError, Table};
use nerve::formats::write_atomic;
use nerve::train::TrainError;
use nerve_recipe::predictor::{Asking, ModelError, Said};
use nerve_recipe::source::escape;
use nerve_recipe::{Predictor, Rows};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// How many rows are in memory at a time.
const CHUNK: usize = 4096;
/// How many bad rows are named; the others are counted.
const NAMED: usize = 20;

pub fn run(args: &Predict, data: &Path) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let to_file = args.output != Path::new("-");
    let format = match to_file {
        true => Format::of(&args.output).map_err(Failure::Usage)?,
        false if args.common.json => Format::Lines,
        false => Format::Comma,
    };
    let (_, predictor) = open(&args.runs, &args.run)?;
    let spool = Spool::of(data).map_err(|error| {
        Failure::Runtime(format!("cannot keep standard input in a file: {error}"))
    })?;
    let format_of_stdin = spool.format();
    let asking = predictor.asking();
    let mut job =
        Job { predictor: &predictor, asking, args, format, format_of_stdin, bad: 0, answered: 0 };
    let mut result = Ok(());
    if matches!(format, Format::Arrays | Format::Array) {
        let mut arrays = Arrays::new(&predictor, format, args.keep)?;
        job.answer(spool.path(), &mut arrays, &mut io::sink())?;
        arrays.save(&args.output, format)?;
    } else if to_file {
        // An error of ours is kept; that of the file says that nothing was written.
        let written = write_atomic(&args.output, |out| {
            result = job.answer(spool.path(), &mut *job.sink(), &mut *out);
            match &result {
                Ok(()) => Ok(()),
                Err(_) => Err(io::Error::other("not all rows were answered")),
            }
        });
        result.and(written.map_err(|error| Failure::Runtime(error.to_string())))?;
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        job.answer(spool.path(), &mut *job.sink(), &mut out)?;
        out.flush()?;
    }
    let Job { answered, bad, .. } = job;
    if bad > 0 {
        complain(&format!("{answered} rows answered, {bad} passed over"));
    } else if to_file {
        let place = escape(&args.output.to_string_lossy());
        complain(&format!("{answered} rows answered, in {place}"));
    }
    Ok(())
}

struct Job<'a> {
    predictor: &'a Predictor,
    asking: Asking<'a>,
    args: &'a Predict,
    format: Format,
    /// Of standard input, which has no name that would tell it.
    format_of_stdin: Option<String>,
    bad: usize,
    answered: usize,
}

impl<'a> Job<'a> {
    /// What writes the answers.
    fn sink(&self) -> Box<dyn Sink + 'a> {
        let names = Writer::new(self.predictor, self.format, self.args.keep);
        #[cfg(feature = "parquet")]
        if self.format == Format::Sheet {
            return Box::new(Sheet::new(names, &self.args.output));
        }
        Box::new(names)
    }

    fn answer(
        &mut self,
        data: &Path,
        sink: &mut dyn Sink,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let refuse = |error: DataError| Failure::Data(error.to_string());
        let mut options = Options::from_args(&self.predictor.card.recipe.data);
        // How the training data were written says nothing about this file, but for what cannot be seen in it.
        options.format = self.format_of_stdin.clone();
        options.skip_ragged |= self.args.skip_bad;
        let source = source::open(data, &options).map_err(refuse)?;
        if self.predictor.reaches() {
            // A window of a series would end at the end of a chunk.
            let table = source::read_all(&*source);
            let table = table.and_then(|table| self.predictor.card.recipe.in_order(table));
            let table = table.map_err(refuse)?;
            table.notes().iter().for_each(|note| complain(note));
            self.chunk(table, sink, out)?;
            return Ok(sink.finish(out)?);
        }
        let mut chunks = source.chunks().map_err(refuse)?;
        while let Some(table) = chunks.next(CHUNK).map_err(refuse)? {
            self.chunk(table, sink, out)?;
        }
        chunks.notes().iter().for_each(|note| complain(note));
        Ok(sink.finish(out)?)
    }

    fn chunk(
        &mut self,
        table: Table,
        sink: &mut dyn Sink,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let rows = self.rows(table)?;
        if !rows.rows.is_empty() {
            self.answered += self.write(&rows, sink, out)?;
        }
        Ok(sink.chunk(&rows.table, out)?)
    }

    /// The rows of a chunk; without those that cannot be read, where they may be passed over.
    fn rows(&mut self, table: Table) -> Result<Rows, Failure> {
        let mut rows = Rows::all(table);
        if !self.args.skip_bad {
            return Ok(rows);
        }
        let refused = self.predictor.refused(&rows);
        for (bad, reason) in refused.map_err(|error| Failure::Data(error.to_string()))? {
            self.bad += 1;
            if self.bad <= NAMED {
                complain(&format!("passed over: {reason}"));
            }
            rows.rows.retain(|&row| row != bad);
        }
        Ok(rows)
    }

    /// Writes the answers, and gives their number.
    fn write(
        &mut self,
        rows: &Rows,
        sink: &mut dyn Sink,
        out: &mut dyn Write,
    ) -> Result<usize, Failure> {
        let (mut failed, mut answered) = (None, 0);
        let ended = self.asking.answers(rows, false, |said: Said| {
            answered += 1;
            sink.row(&rows.table, &said, out).map_err(|error| {
                failed = Some(error);
                "the answers cannot be written".into()
            })
        });
        match (failed, ended) {
            (Some(error), _) => Err(error.into()),
            (None, Ok(())) => Ok(answered),
            (None, Err(error)) if of_a_cell(&error) => {
                let hint = "--skip-bad passes over rows that cannot be read";
                Err(Failure::Data(format!("{error}\n{hint}")))
            }
            (None, Err(error)) => Err(error.into()),
        }
    }
}

/// Whether one row is at fault, and not the file.
fn of_a_cell(error: &ModelError) -> bool {
    let error = match error {
        ModelError::Data(error) | ModelError::Train(TrainError::Data(error)) => error,
        _ => return false,
    };
    matches!(error, DataError::Cell { .. })
}

/// Standard input as a file, for sources want to look at a file twice; or a file itself.
enum Spool {
    File(PathBuf),
    Kept(PathBuf),
}

impl Spool {
    fn of(data: &Path) -> io::Result<Spool> {
        if data != Path::new("-") {
            return Ok(Spool::File(data.to_path_buf()));
        }
        let number = std::process::id();
        let folder = std::env::temp_dir().join(format!("nerve-predict-{number}"));
        fs::create_dir(&folder)?;
        let kept = Spool::Kept(folder.join("stdin"));
        let mut file = OpenOptions::new().write(true).create_new(true).open(kept.path())?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(kept)
    }

    /// What standard input holds: objects of JSON, Parquet, Arrow, or else fields between commas, tabs, semicolons.
    fn format(&self) -> Option<String> {
        let Spool::Kept(path) = self else { return None };
        let mut first = Vec::new();
        // What cannot be read is told where it is read as a table.
        let _ = fs::File::open(path).and_then(|file| file.take(6).read_to_end(&mut first));
        let named = match &first[..] {
            [b'{', ..] => "jsonl",
            start if start.starts_with(b"PAR1") => "parquet",
            b"ARROW1" => "arrow",
            _ => "csv",
        };
        Some(named.to_string())
    }

    fn path(&self) -> &Path {
        match self {
            Spool::File(path) | Spool::Kept(path) => path,
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Spool::Kept(path) = self {
            let _ = fs::remove_file(&*path);
            let _ = path.parent().map(fs::remove_dir);
        }
    }
}
