//! Answers as lines of CSV or JSON.

use nerve::data::features::{Answer, middle, quantile_fields};
use nerve::data::{Cell, Table};
use nerve::train::judge::{cell_text, files::csv_cell};
use nerve_recipe::Predictor;
use nerve_recipe::predictor::Said;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fields between commas.
    Comma,
    /// Fields between tabs.
    Tab,
    /// One JSON object a line.
    Lines,
    /// npz: an array for each output.
    Arrays,
    /// npy: one array.
    Array,
    /// Parquet or Arrow, whichever the name says.
    Sheet,
}

impl Format {
    /// By the ending of a name.
    pub fn of(path: &Path) -> Result<Format, String> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("csv") => Ok(Format::Comma),
            Some("tsv") => Ok(Format::Tab),
            Some("jsonl" | "ndjson") => Ok(Format::Lines),
            Some("npz") => Ok(Format::Arrays),
            Some("npy") => Ok(Format::Array),
            Some("parquet" | "arrow" | "feather") if cfg!(feature = "parquet") => Ok(Format::Sheet),
            Some(ending @ ("parquet" | "arrow" | "feather")) => Err(format!(
                "cannot write .{ending}: this nerve was built without the feature `parquet` \
                 (cargo build --release --features parquet)"
            )),
            _ => Err(format!(
                "cannot tell how to write `{}`: expected a name that ends in .csv, .tsv, .jsonl, .npz, .npy, .parquet \
                 or .arrow",
                nerve_recipe::source::escape(&path.to_string_lossy())
            )),
        }
    }
}

/// What takes the answers, row by row.
pub trait Sink {
    /// What was said of a row of a table.
    fn row(&mut self, table: &Table, said: &Said, out: &mut dyn Write) -> io::Result<()>;

    /// There are no more answers for rows of this table.
    fn chunk(&mut self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let _ = (table, out);
        Ok(())
    }

    /// There are no more answers.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}

/// Writes answers row by row.
pub struct Writer<'a> {
    predictor: &'a Predictor,
    /// The names of outputs and of their classes.
    outputs: Vec<(String, Vec<String>)>,
    format: Format,
    /// Whether the columns of the data come before the answers.
    pub keep: bool,
    begun: bool,
}

impl Sink for Writer<'_> {
    /// Writes what was said of a row, and first of all the names of the columns.
    fn row(&mut self, table: &Table, said: &Said, out: &mut dyn Write) -> io::Result<()> {
        if self.format == Format::Lines {
            return writeln!(out, "{}", self.object(table, said));
        }
        if !self.begun {
            self.begun = true;
            self.line(self.head(table, said)?, out)?;
        }
        self.line(self.fields(table, said)?, out)
    }
}

impl<'a> Writer<'a> {
    /// For the answers of a model; with the columns of the data before them, if they are kept.
    pub fn new(predictor: &'a Predictor, format: Format, keep: bool) -> Writer<'a> {
        let output = |fitted: &nerve_recipe::features::Fitted| {
            let classes = fitted.feature.output().map_or(Vec::new(), |o| o.classes().to_vec());
            (fitted.column.name.clone(), classes)
        };
        let outputs = predictor.features().outputs.iter().map(output).collect();
        Writer { predictor, outputs, format, keep, begun: false }
    }

    fn line(&self, fields: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        let (separator, cell): (_, fn(&str) -> String) = match self.format {
            Format::Tab => ("\t", tab_cell),
            _ => (",", csv_cell),
        };
        let fields: Vec<String> = fields.iter().map(|field| cell(field)).collect();
        writeln!(out, "{}", fields.join(separator))
    }

    /// The name under which an output is answered: its own, unless the data have such a column too.
    pub fn name(&self, output: usize, table: &Table) -> String {
        let name = &self.outputs[output].0;
        let taken = self.keep && table.columns().iter().any(|column| column.name == *name);
        if taken { format!("{name}_answer") } else { name.clone() }
    }

    fn head(&self, table: &Table, said: &Said) -> io::Result<Vec<String>> {
        let mut names = vec!["place".to_string()];
        if self.keep {
            names.extend(table.columns().iter().map(|column| column.name.clone()));
        }
        for (k, answer) in said.answers.iter().enumerate() {
            let (name, classes) = (self.name(k, table), &self.outputs[k].1);
            match answer {
                Answer::Classes(_) | Answer::Several(_) => {
                    names.push(name.clone());
                    names.extend(classes.iter().map(|class| format!("{name}_p_{class}")));
                }
                Answer::Number(_) | Answer::Text(_) => names.push(name),
                Answer::Numbers(values) => {
                    names.extend((1..=values.len()).map(|step| format!("{name}_{step}")));
                }
                Answer::Quantiles { at, values } => {
                    names.extend(quantile_fields(&name, at, values).into_iter().map(|it| it.0));
                }
                Answer::Pixels(_) => return Err(no_pixels(&name)),
            }
        }
        Ok(names)
    }

    fn fields(&self, table: &Table, said: &Said) -> io::Result<Vec<String>> {
        let mut fields = vec![table.place(said.row)];
        if self.keep {
            let cells = table.columns().iter().map(|column| cell_text(column.cells.get(said.row)));
            fields.extend(cells);
        }
        for (k, answer) in said.answers.iter().enumerate() {
            match answer {
                Answer::Classes(p) | Answer::Several(p) => {
                    fields.push(self.words(k, answer));
                    fields.extend(p.iter().map(f32::to_string));
                }
                Answer::Number(number) => fields.push(number.to_string()),
                Answer::Text(text) => fields.push(text.clone()),
                Answer::Numbers(values) => fields.extend(values.iter().map(f64::to_string)),
                Answer::Quantiles { at, values } => {
                    let values = quantile_fields("", at, values).into_iter();
                    fields.extend(values.map(|(_, value)| value.to_string()));
                }
                Answer::Pixels(_) => return Err(no_pixels(&self.outputs[k].0)),
            }
        }
        Ok(fields)
    }

    /// The names of the classes of an output.
    #[cfg(feature = "parquet")]
    pub fn classes(&self, output: usize) -> &[String] {
        &self.outputs[output].1
    }

    /// The class that an answer names, or the names of a set, between spaces.
    pub fn words(&self, output: usize, answer: &Answer) -> String {
        match answer {
            Answer::Classes(p) => self.class(output, p).to_string(),
            Answer::Several(p) => self.several(output, p).join(" "),
            Answer::Text(text) => text.clone(),
            _ => String::new(),
        }
    }

    fn class(&self, output: usize, p: &[f32]) -> &str {
        self.outputs[output].1.get(self.predictor.decided(output, p)).map_or("", String::as_str)
    }

    /// The names that are likelier than not.
    fn several(&self, output: usize, p: &[f32]) -> Vec<&str> {
        let named = self.outputs[output].1.iter().zip(p);
        named.filter(|(_, p)| **p > 0.5).map(|(name, _)| name.as_str()).collect()
    }

    fn object(&self, table: &Table, said: &Said) -> Value {
        let mut object = Map::new();
        object.insert("place".into(), json!(table.place(said.row)));
        if self.keep {
            for column in table.columns() {
                let cell = match column.cells.get(said.row) {
                    Cell::Missing => Value::Null,
                    Cell::Number(number) => json!(number),
                    other => json!(cell_text(other)),
                };
                object.insert(column.name.clone(), cell);
            }
        }
        for (k, answer) in said.answers.iter().enumerate() {
            let name = self.name(k, table);
            let value = match answer {
                Answer::Classes(p) => {
                    let named = self.outputs[k].1.iter().cloned().zip(p.iter().map(|&p| short(p)));
                    let named: Map<String, Value> = named.collect();
                    object.insert(format!("{name}_probabilities"), named.into());
                    json!(self.class(k, p))
                }
                Answer::Several(p) => {
                    let named = self.outputs[k].1.iter().cloned().zip(p.iter().map(|&p| short(p)));
                    let named: Map<String, Value> = named.collect();
                    object.insert(format!("{name}_probabilities"), named.into());
                    json!(self.several(k, p))
                }
                Answer::Number(number) => json!(number),
                Answer::Numbers(values) => json!(values),
                Answer::Quantiles { at, values } => {
                    let of = |i: usize| values.iter().skip(i).step_by(at.len()).collect::<Vec<_>>();
                    let named = at.iter().enumerate().map(|(i, q)| (q.to_string(), json!(of(i))));
                    let named: Map<String, Value> = named.collect();
                    object.insert(format!("{name}_quantiles"), named.into());
                    json!(of(middle(at)))
                }
                Answer::Pixels(classes) => json!(classes),
                Answer::Text(text) => json!(text),
            };
            object.insert(name, value);
        }
        object.into()
    }
}

/// A probability with the digits that it has, not those of its f64.
fn short(p: f32) -> Value {
    json!(p.to_string().parse::<f64>().ok())
}

fn no_pixels(name: &str) -> io::Error {
    let name = nerve_recipe::source::escape(name);
    io::Error::other(format!(
        "`{name}` is a mask, which has no place in a table: write .jsonl or .npz"
    ))
}

/// A field between tabs: what would end it becomes a space.
fn tab_cell(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}
