//! `POST /predict`: rows in the columns of the recipe, as JSON or CSV, and answers in the same form.

use crate::columns::Cellar;
use crate::infer::{MOST_ROWS, quoted};
use crate::model::Served;
use crate::refusal::{Refusal, shown};
use nerve_data::features::{Answer, quantile_fields};
use nerve_data::{Cells, Texts};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The form of rows and of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A list of objects.
    Json,
    /// One object.
    Object,
    /// Comma-separated values with a line of names.
    Csv,
}

/// Rows from JSON: an object, or a list of objects. What stands in a cell is kept as it is written, as in a JSON file.
///
/// # Errors
/// 400 for what cannot be read, 422 for a column that no row has.
pub fn from_json(model: &Served, body: &[u8]) -> Result<(Vec<Cellar>, Form), Refusal> {
    let names: Vec<&str> = model.columns().collect();
    let mut table = Table {
        names: &names,
        texts: vec![Texts::default(); names.len()],
        seen: vec![false; names.len()],
        rows: 0,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let one = All(&mut table).deserialize(&mut json).and_then(|one| json.end().map(|()| one));
    let one =
        one.map_err(|error| Refusal::unreadable(format!("failed to parse the rows: {error}")))?;
    let form = if one { Form::Object } else { Form::Json };
    let Table { texts, seen, rows, .. } = table;
    if rows == 0 {
        return Err(Refusal::unfit("there are no rows"));
    }
    if let Some(missing) = seen.iter().position(|seen| !seen) {
        return Err(no_column(names[missing]));
    }
    let columns = texts.into_iter().map(Cells::Text).collect();
    Ok((cellars(model, columns)?, form))
}

fn no_column(name: &str) -> Refusal {
    Refusal::unfit(format!("no row has a column `{}`", shown(name)))
}

fn cellars(model: &Served, columns: Vec<Cells>) -> Result<Vec<Cellar>, Refusal> {
    let cellar = |(at, cells): (usize, Cells)| match model.inputs.get(at) {
        Some(input) => input.texts(cells),
        None => Ok(Cellar::Column(cells)),
    };
    columns.into_iter().enumerate().map(cellar).collect()
}

struct Table<'n> {
    names: &'n [&'n str],
    texts: Vec<Texts>,
    seen: Vec<bool>,
    rows: usize,
}

/// An object (true) or a list of them (false).
struct All<'t, 'n>(&'t mut Table<'n>);

impl<'de> DeserializeSeed<'de> for All<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for All<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose keys are the columns, or a list of such objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        Row(self.0).visit_map(map).map(|()| true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while list.next_element_seed(Row(self.0))?.is_some() {
            if self.0.rows > MOST_ROWS {
                return Err(A::Error::custom(format!("more than {MOST_ROWS} rows")));
            }
        }
        Ok(false)
    }
}

struct Row<'t, 'n>(&'t mut Table<'n>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose keys are the columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Table { names, texts, seen, rows } = self.0;
        while let Some(at) = map.next_key_seed(Name(names))? {
            let Some(at) = at else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if texts[at].len() > *rows {
                return Err(A::Error::custom(format!(
                    "the key `{}` stands twice in a row",
                    shown(names[at])
                )));
            }
            let raw: &RawValue = map.next_value()?;
            seen[at] = true;
            match raw.get() {
                "null" => texts[at].push(None),
                text if text.starts_with('"') => {
                    let text: std::borrow::Cow<'_, str> =
                        match text[1..text.len() - 1].contains('\\') {
                            false => text[1..text.len() - 1].into(),
                            true => serde_json::from_str::<String>(text)
                                .map_err(A::Error::custom)?
                                .into(),
                        };
                    texts[at].push(Some(&text));
                }
                text => texts[at].push(Some(text)),
            }
        }
        *rows += 1;
        texts.iter_mut().filter(|texts| texts.len() < *rows).for_each(|texts| texts.push(None));
        Ok(())
    }
}

/// The number of the column that a key names; `None` for one that the model does not take.
struct Name<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

/// Rows from comma-separated values (RFC 4180) whose first line has the names; also with semicolons or tabs.
///
/// # Errors
/// 400 with the line for what cannot be read, 422 for a column that is not there.
pub fn from_csv(model: &Served, body: &[u8]) -> Result<Vec<Cellar>, Refusal> {
    let text =
        std::str::from_utf8(body).map_err(|_| Refusal::unreadable("the rows are no UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let head = text.lines().next().unwrap_or("");
    let delimiter =
        [',', ';', '\t'].into_iter().max_by_key(|d| (head.matches(*d).count(), *d == ','));
    let mut records = Records { rest: text, line: 1, delimiter: delimiter.unwrap_or(',') };
    let mut fields = Vec::new();
    records.next(&mut fields)?;
    let names: Vec<&str> = model.columns().collect();
    let found = |name: &&str| {
        fields.iter().position(|field| field.trim() == *name).ok_or_else(|| no_column(name))
    };
    let places = names.iter().map(found).collect::<Result<Vec<usize>, _>>()?;
    let width = fields.len();
    let mut texts = vec![Texts::default(); names.len()];
    let mut rows = 0;
    while let Some(line) = records.next(&mut fields)? {
        if fields.len() != width {
            let found = fields.len();
            return Err(Refusal::unreadable(format!(
                "line {line}: expected {width} fields, found {found}"
            )));
        }
        rows += 1;
        if rows > MOST_ROWS {
            return Err(Refusal::unfit(format!("more than {MOST_ROWS} rows")));
        }
        places.iter().zip(&mut texts).for_each(|(&at, texts)| texts.push(Some(&fields[at])));
    }
    if rows == 0 {
        return Err(Refusal::unfit("there are no rows"));
    }
    cellars(model, texts.into_iter().map(Cells::Text).collect())
}

struct Records<'a> {
    rest: &'a str,
    line: usize,
    delimiter: char,
}

impl Records<'_> {
    /// The fields of the next line that has any, and its number; `None` at the end.
    fn next(&mut self, fields: &mut Vec<String>) -> Result<Option<usize>, Refusal> {
        fields.clear();
        while let Some(rest) = self.rest.strip_prefix(['\r', '\n']) {
            self.line += usize::from(self.rest.starts_with('\n'));
            self.rest = rest;
        }
        let line = self.line;
        if self.rest.is_empty() {
            return Ok(None);
        }
        loop {
            fields.push(self.field(line)?);
            let mut chars = self.rest.chars();
            match chars.next() {
                Some(c) if c == self.delimiter => self.rest = chars.as_str(),
                _ => return Ok(Some(line)),
            }
        }
    }

    fn field(&mut self, line: usize) -> Result<String, Refusal> {
        let ends = [self.delimiter, '\r', '\n'];
        let Some(mut quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(ends).unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Ok(field.to_string());
        };
        let mut field = String::new();
        loop {
            let unclosed =
                || Refusal::unreadable(format!("line {line}: a quote that is not closed"));
            let (before, after) = quoted.split_once('"').ok_or_else(unclosed)?;
            self.line += before.matches('\n').count();
            field.push_str(before);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    quoted = more;
                }
                None => {
                    self.rest = after;
                    break;
                }
            }
        }
        match self.rest.chars().next() {
            Some(c) if !ends.contains(&c) => {
                Err(Refusal::unreadable(format!("line {line}: text behind a closing quote")))
            }
            _ => Ok(field),
        }
    }
}

/// The names that an answer with classes says: the class that is decided for, or all of a set that are likelier than not.
pub(crate) fn said<'m>(model: &'m Served, output: usize, answer: &Answer) -> Vec<&'m str> {
    let classes = &model.outputs[output].classes;
    match answer {
        Answer::Classes(p) => {
            let decided = model.predictor().decided(output, p);
            vec![classes.get(decided).map_or("", String::as_str)]
        }
        Answer::Several(p) => {
            let likely = classes.iter().zip(p).filter(|(_, p)| **p > 0.5);
            likely.map(|(name, _)| name.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// The answers of all rows; `answers` has for each output those of all rows.
///
/// # Errors
/// 406: a mask has no place in a table.
pub fn write(model: &Served, answers: &[Vec<Answer>], form: Form) -> Result<String, Refusal> {
    let rows = answers.first().map_or(0, Vec::len);
    if form == Form::Csv {
        return csv(model, answers, rows);
    }
    let objects: Vec<String> = (0..rows).map(|row| object(model, answers, row)).collect();
    Ok(match (form, &objects[..]) {
        (Form::Object, [one]) => one.clone(),
        _ => format!("[{}]", objects.join(",\n")),
    })
}

fn object(model: &Served, answers: &[Vec<Answer>], row: usize) -> String {
    use fmt::Write;
    let mut text = String::from("{");
    for (k, (output, answers)) in model.outputs.iter().zip(answers).enumerate() {
        let comma = if k > 0 { "," } else { "" };
        let answer = &answers[row];
        let _ = write!(text, "{comma}{}:", quoted(&output.name));
        let _ = match answer {
            Answer::Number(number) => write!(text, "{}", serde_json::Value::from(*number)),
            Answer::Numbers(numbers) => {
                write!(text, "{}", serde_json::Value::from(numbers.clone()))
            }
            // For each number its quantiles, from the lowest on.
            Answer::Quantiles { at, values } => {
                let each: Vec<&[f64]> = values.chunks_exact(at.len().max(1)).collect();
                write!(text, "{}", serde_json::json!(each))
            }
            Answer::Pixels(pixels) => write!(text, "{}", serde_json::Value::from(pixels.clone())),
            Answer::Text(answer) => write!(text, "{}", quoted(answer)),
            Answer::Classes(_) => write!(text, "{}", quoted(said(model, k, answer)[0])),
            Answer::Several(_) => write!(text, "{}", serde_json::json!(said(model, k, answer))),
        };
        if let Answer::Classes(p) | Answer::Several(p) = answer {
            let _ = write!(text, ",{}:{{", quoted(&format!("{}_probabilities", output.name)));
            for (at, (class, p)) in output.classes.iter().zip(p).enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{}:{p}", quoted(class));
            }
            text.push('}');
        }
    }
    text.push('}');
    text
}

fn csv(model: &Served, answers: &[Vec<Answer>], rows: usize) -> Result<String, Refusal> {
    let mut head = Vec::new();
    for output in &model.outputs {
        let name = &output.name;
        match &output.sample {
            Answer::Number(_) | Answer::Text(_) => head.push(name.clone()),
            Answer::Numbers(values) => {
                head.extend((1..=values.len()).map(|step| format!("{name}_{step}")))
            }
            Answer::Quantiles { at, values } => {
                head.extend(quantile_fields(name, at, values).into_iter().map(|(name, _)| name));
            }
            Answer::Classes(_) | Answer::Several(_) => {
                head.push(name.clone());
                head.extend(output.classes.iter().map(|class| format!("{name}_p_{class}")));
            }
            Answer::Pixels(_) => {
                let name = shown(name);
                return Err(Refusal::new(
                    406,
                    format!(
                        "`{name}` is a mask, which has no place in a table: accept application/json"
                    ),
                ));
            }
        }
    }
    let line = |fields: Vec<String>| {
        fields.iter().map(|field| csv_field(field)).collect::<Vec<_>>().join(",") + "\n"
    };
    let mut text = line(head);
    for row in 0..rows {
        let mut fields = Vec::new();
        for (k, answers) in answers.iter().enumerate() {
            match &answers[row] {
                Answer::Number(number) => fields.push(number.to_string()),
                Answer::Text(text) => fields.push(text.clone()),
                Answer::Numbers(values) => fields.extend(values.iter().map(f64::to_string)),
                Answer::Quantiles { at, values } => {
                    let values = quantile_fields("", at, values).into_iter();
                    fields.extend(values.map(|(_, value)| value.to_string()));
                }
                answer @ (Answer::Classes(p) | Answer::Several(p)) => {
                    fields.push(said(model, k, answer).join(" "));
                    fields.extend(p.iter().map(f32::to_string));
                }
                Answer::Pixels(_) => {}
            }
        }
        text.push_str(&line(fields));
    }
    Ok(text)
}

/// A field, in quotes where it must be.
fn csv_field(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
