//! Answers as arrays: npz and npy.

use super::writer::{Format, Sink};
use crate::failure::Failure;
use nerve::data::Table;
use nerve::data::features::{self, Answer};
use nerve::formats::{Npy, NpyData, write_atomic, write_npz};
use nerve_recipe::Predictor;
use nerve_recipe::predictor::Said;
use std::io;
use std::path::Path;

/// Arrays of all rows; they are in memory until the end, for their shape stands before their numbers.
pub struct Arrays<'a> {
    predictor: &'a Predictor,
    names: Vec<String>,
    /// The numbers of the rows that were answered, counted from 0.
    rows: Vec<i64>,
    before: i64,
    outputs: Vec<Gathered>,
}

/// What was said of one output so far.
enum Gathered {
    Nothing,
    Classes { chosen: Vec<i32>, p: Vec<f32> },
    Several { there: Vec<u8>, p: Vec<f32> },
    Numbers(Vec<f64>),
    Quantiles { count: usize, middle: Vec<f64>, all: Vec<f64> },
    Pixels(Vec<i32>),
}

impl<'a> Arrays<'a> {
    /// For the answers of a model; npy has one array, so one output.
    pub fn new(
        predictor: &'a Predictor,
        format: Format,
        keep: bool,
    ) -> Result<Arrays<'a>, Failure> {
        let outputs = &predictor.features().outputs;
        if keep {
            return Err(Failure::Usage("--keep is for tables: .csv, .tsv or .jsonl".into()));
        }
        if format == Format::Array && outputs.len() > 1 {
            let count = outputs.len();
            return Err(Failure::Usage(format!(
                "{count} outputs do not fit one array: -o FILE.npz"
            )));
        }
        let names = outputs.iter().map(|output| super::file_name(&output.column.name));
        let (names, count) = (names.collect(), outputs.len());
        let outputs = std::iter::repeat_with(|| Gathered::Nothing).take(count).collect();
        Ok(Arrays { predictor, names, rows: Vec::new(), before: 0, outputs })
    }

    /// Writes the file.
    pub fn save(self, path: &Path, format: Format) -> Result<(), Failure> {
        let rows = self.rows.len();
        let mut arrays =
            vec![("row".to_string(), Npy { shape: vec![rows], data: NpyData::I64(self.rows) })];
        let fitted = self.predictor.features().outputs.iter();
        for ((name, gathered), fitted) in self.names.iter().zip(self.outputs).zip(fitted) {
            // The shape of a picture, a mask, a forecast, a vector; a number has none.
            let shaped = |count: usize| -> Vec<usize> {
                let own = fitted.feature.stored().0;
                let each = count / rows.max(1);
                let known = own.iter().product::<usize>() == each && own != [1];
                let shape = if known {
                    own
                } else if each == 1 {
                    Vec::new()
                } else {
                    vec![each]
                };
                [vec![rows], shape].concat()
            };
            let flat = |p: &[f32]| vec![rows, p.len() / rows.max(1)];
            let probabilities = format!("{name}_probabilities");
            let mut put =
                |name: &str, shape, data| arrays.push((name.to_string(), Npy { shape, data }));
            match gathered {
                Gathered::Nothing => {}
                Gathered::Classes { chosen, p } => {
                    put(name, vec![rows], NpyData::I32(chosen));
                    put(&probabilities, flat(&p), NpyData::F32(p));
                }
                Gathered::Several { there, p } => {
                    put(name, flat(&p), NpyData::U8(there));
                    put(&probabilities, flat(&p), NpyData::F32(p));
                }
                Gathered::Numbers(v) => put(name, shaped(v.len()), NpyData::F64(v)),
                Gathered::Quantiles { count, middle, all } => {
                    let steps = middle.len() / rows.max(1);
                    put(name, vec![rows, steps], NpyData::F64(middle));
                    let quantiles = format!("{name}_quantiles");
                    put(&quantiles, vec![rows, steps, count], NpyData::F64(all));
                }
                Gathered::Pixels(v) => put(name, shaped(v.len()), NpyData::I32(v)),
            }
        }
        let named: Vec<(&str, Npy)> = arrays.iter().map(|(n, a)| (&**n, a.clone())).collect();
        if format == Format::Arrays {
            return Ok(write_npz(path, &named)?);
        }
        // The probabilities, or quantiles, where there are some: they say more.
        let bytes = arrays.pop().map(|(_, array)| array.to_bytes()).unwrap_or_default();
        Ok(write_atomic(path, |file| file.write_all(&bytes))?)
    }
}

impl Sink for Arrays<'_> {
    fn row(&mut self, _: &Table, said: &Said, _: &mut dyn io::Write) -> io::Result<()> {
        self.rows.push(self.before + said.row as i64);
        for (k, (gathered, answer)) in self.outputs.iter_mut().zip(&said.answers).enumerate() {
            if let Gathered::Nothing = gathered {
                *gathered = match answer {
                    Answer::Classes(_) => Gathered::Classes { chosen: Vec::new(), p: Vec::new() },
                    Answer::Several(_) => Gathered::Several { there: Vec::new(), p: Vec::new() },
                    Answer::Number(_) | Answer::Numbers(_) => Gathered::Numbers(Vec::new()),
                    Answer::Quantiles { at, .. } => {
                        let (middle, all) = (Vec::new(), Vec::new());
                        Gathered::Quantiles { count: at.len(), middle, all }
                    }
                    Answer::Pixels(_) => Gathered::Pixels(Vec::new()),
                    Answer::Text(_) => {
                        let name = &self.names[k];
                        let message = format!(
                            "`{name}` is a text, which has no place in an array: write .csv, .tsv or .jsonl"
                        );
                        return Err(io::Error::other(message));
                    }
                };
            }
            match (gathered, answer) {
                (Gathered::Classes { chosen, p }, Answer::Classes(said)) => {
                    chosen.push(self.predictor.decided(k, said) as i32);
                    p.extend_from_slice(said);
                }
                (Gathered::Several { there, p }, Answer::Several(said)) => {
                    there.extend(said.iter().map(|&p| u8::from(p > 0.5)));
                    p.extend_from_slice(said);
                }
                (Gathered::Numbers(all), Answer::Number(said)) => all.push(*said),
                (Gathered::Numbers(all), Answer::Numbers(said)) => all.extend_from_slice(said),
                (Gathered::Quantiles { middle, all, .. }, Answer::Quantiles { at, values }) => {
                    middle.extend(values.iter().skip(features::middle(at)).step_by(at.len()));
                    all.extend_from_slice(values);
                }
                (Gathered::Pixels(all), Answer::Pixels(said)) => all.extend_from_slice(said),
                _ => return Err(io::Error::other("answers of one output are of several kinds")),
            }
        }
        Ok(())
    }

    fn chunk(&mut self, rows: &Table, _: &mut dyn io::Write) -> io::Result<()> {
        self.before += rows.rows() as i64;
        Ok(())
    }
}
