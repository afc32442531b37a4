//! Answers as the columns of a Parquet or Arrow file.

use super::writer::{Sink, Writer};
use nerve::data::features::{Answer, quantile_fields};
use nerve::data::{Cells, Column, Element, Field, Origin, Table};
use nerve_recipe::predictor::Said;
use std::io;
use std::path::{Path, PathBuf};

/// The answers of some rows as a table: place, kept columns, answers, as [`Writer`] names them.
pub fn table(names: &Writer<'_>, table: &Table, said: &[Said]) -> io::Result<Table> {
    let Some(first) = said.first() else { return Err(io::Error::other("no row was answered")) };
    let rows: Vec<usize> = said.iter().map(|said| said.row).collect();
    let places: Vec<String> = rows.iter().map(|&row| table.place(row)).collect();
    let texts = |texts: &[String]| Cells::Text(texts.iter().map(|text| Some(&**text)).collect());
    let mut columns = vec![Column { name: "place".into(), cells: texts(&places) }];
    if names.keep {
        columns.extend(table.select(&rows).columns().iter().cloned());
    }
    for (k, answer) in first.answers.iter().enumerate() {
        let name = names.name(k, table);
        let answers = || said.iter().map(|said| &said.answers[k]);
        match answer {
            Answer::Pixels(classes) => {
                let field = Field::new(name.clone(), &[classes.len()], Element::I32);
                let all: Vec<i32> = answers().flat_map(pixels).copied().collect();
                columns.push(Column { name, cells: Cells::Arrays(field, all.into()) });
            }
            Answer::Classes(_) | Answer::Several(_) => {
                let words: Vec<String> = answers().map(|answer| names.words(k, answer)).collect();
                columns.push(Column { name: name.clone(), cells: texts(&words) });
                columns.extend(numbers(&name, names.classes(k), answers()));
            }
            Answer::Text(_) => {
                let words: Vec<String> = answers().map(|answer| names.words(k, answer)).collect();
                columns.push(Column { name, cells: texts(&words) });
            }
            Answer::Quantiles { at, values } => {
                let fields = |answer: &Answer| match answer {
                    Answer::Quantiles { at, values } => quantile_fields(&name, at, values),
                    _ => Vec::new(),
                };
                let all: Vec<Vec<(String, f64)>> = answers().map(fields).collect();
                for (i, (name, _)) in quantile_fields(&name, at, values).into_iter().enumerate() {
                    let numbers = all.iter().map(|fields| fields[i].1).collect();
                    columns.push(Column { name, cells: Cells::Numbers(numbers) });
                }
            }
            Answer::Number(_) | Answer::Numbers(_) => {
                columns.extend(numbers(&name, &[], answers()))
            }
        }
    }
    Table::new(columns, Origin::default()).map_err(io::Error::other)
}

fn pixels(answer: &Answer) -> &[i32] {
    match answer {
        Answer::Pixels(classes) => classes,
        _ => &[],
    }
}

/// A column for each number of an answer.
fn numbers<'a>(
    name: &str,
    classes: &[String],
    answers: impl Iterator<Item = &'a Answer>,
) -> Vec<Column> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let mut alone = false;
    for answer in answers {
        let values: Vec<f64> = match answer {
            // The digits that an f32 has, not those of its f64.
            Answer::Classes(p) | Answer::Several(p) => p.iter().map(|&p| digits(p)).collect(),
            Answer::Numbers(values) => values.clone(),
            Answer::Number(value) => {
                alone = true;
                vec![*value]
            }
            Answer::Pixels(_) | Answer::Quantiles { .. } | Answer::Text(_) => Vec::new(),
        };
        columns.resize(values.len(), Vec::new());
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let named = |(i, numbers): (usize, Vec<f64>)| {
        let name = match classes.get(i) {
            Some(class) => format!("{name}_p_{class}"),
            None if alone => name.to_string(),
            None => format!("{name}_{}", i + 1),
        };
        Column { name, cells: Cells::Numbers(numbers) }
    };
    columns.into_iter().enumerate().map(named).collect()
}

fn digits(p: f32) -> f64 {
    p.to_string().parse().unwrap_or(f64::NAN)
}

/// Parquet and Arrow: chunk after chunk.
pub struct Sheet<'a> {
    names: Writer<'a>,
    path: PathBuf,
    said: Vec<Said>,
    file: Option<nerve_parquet::Writer>,
}

impl<'a> Sheet<'a> {
    pub fn new(names: Writer<'a>, path: &Path) -> Sheet<'a> {
        Sheet { names, path: path.into(), said: Vec::new(), file: None }
    }
}

impl Sink for Sheet<'_> {
    fn row(&mut self, _: &Table, said: &Said, _: &mut dyn io::Write) -> io::Result<()> {
        self.said.push(said.clone());
        Ok(())
    }

    fn chunk(&mut self, rows: &Table, out: &mut dyn io::Write) -> io::Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        let answers = table(&self.names, rows, &std::mem::take(&mut self.said))?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nerve_parquet::Writer::new(&self.path, &answers)?),
        };
        file.write(&answers, out)
    }

    fn finish(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        let file = self.file.take().ok_or_else(|| io::Error::other("no row was answered"))?;
        file.finish(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_columns() {
        let names = |columns: &[Column]| -> Vec<String> {
            columns.iter().map(|column| column.name.clone()).collect()
        };
        let classes = ["no".to_string(), "yes".to_string()];
        let said = [Answer::Classes(vec![0.1, 0.9]), Answer::Classes(vec![0.7, 0.3])];
        let columns = numbers("y", &classes, said.iter());
        assert_eq!(names(&columns), ["y_p_no", "y_p_yes"]);
        assert_eq!(columns[0].cells.get(1), nerve::data::Cell::Number(0.7));
        let columns = numbers("y", &[], [Answer::Numbers(vec![1.0, 2.0])].iter());
        assert_eq!(names(&columns), ["y_1", "y_2"]);
        assert_eq!(names(&numbers("y", &[], [Answer::Number(1.0)].iter())), ["y"]);
    }
}
