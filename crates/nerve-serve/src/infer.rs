//! `POST /v2/models/M/infer`: the request and the response of the Open Inference Protocol.

use crate::encode::Encoded;
use crate::graph::Data;
use crate::model::Served;
use crate::refusal::{Refusal, shown};
use crate::tensor::{self, Datatype, Json, Sent};
use nerve_data::features::Answer;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use std::fmt;
use std::marker::PhantomData;

/// More tensors than this are in no request.
const MOST_TENSORS: usize = 4096;
/// The most rows of a request.
pub const MOST_ROWS: usize = 1 << 16;

#[derive(Debug, Deserialize)]
struct Request {
    id: Option<String>,
    #[serde(default, deserialize_with = "parameters")]
    parameters: Map<String, Value>,
    #[serde(deserialize_with = "few")]
    inputs: Vec<Input>,
    #[serde(default, deserialize_with = "few")]
    outputs: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default, deserialize_with = "parameters")]
    parameters: Map<String, Value>,
    data: Option<Json>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default, deserialize_with = "parameters")]
    parameters: Map<String, Value>,
}

/// A list that is not longer than any request needs.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tensors")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                if all.len() == MOST_TENSORS {
                    return Err(A::Error::custom(format!("more than {MOST_TENSORS} tensors")));
                }
                all.push(one);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Few(PhantomData))
}

/// Names with a text, a number or a truth each.
fn parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let map = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    match map.iter().find(|(_, value)| value.is_object() || value.is_array()) {
        Some((key, _)) => Err(D::Error::custom(format!(
            "parameter `{}` has invalid type: expected a text, a number or a truth",
            shown(key)
        ))),
        None => Ok(map),
    }
}

/// A request that was read.
#[derive(Debug)]
pub struct Asked {
    id: Option<String>,
    /// How long it may take at most, in microseconds.
    pub timeout_us: Option<u64>,
    /// How many tokens a text may have at most.
    pub max_tokens: Option<u64>,
    pub(crate) inputs: Vec<Sent>,
    pub(crate) outputs: Vec<Output>,
    /// How outputs come that do not say it themselves.
    pub(crate) binary: bool,
    /// Whether outputs are those of the model because none were named.
    pub(crate) all: bool,
}

/// An output that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    pub name: String,
    pub binary: Option<bool>,
    pub classes: Option<usize>,
}

/// Reads a request: JSON, and behind its `head` bytes the tensors that are sent as bytes.
///
/// # Errors
/// 400 for what cannot be read, 422 for shapes and numbers that cannot be.
pub fn read(body: &[u8], head: Option<usize>) -> Result<Asked, Refusal> {
    let length = head.unwrap_or(body.len());
    let (json, mut bytes) = body.split_at_checked(length).ok_or_else(|| {
        Refusal::unreadable(format!(
            "Inference-Header-Content-Length is {length}, the body has {} bytes",
            body.len()
        ))
    })?;
    let request: Request = serde_json::from_slice(json)
        .map_err(|error| Refusal::unreadable(format!("failed to parse the request: {error}")))?;
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        inputs.push(sent(input, &mut bytes)?);
    }
    if !bytes.is_empty() {
        return Err(Refusal::unreadable(format!(
            "unexpected additional input data: {} bytes",
            bytes.len()
        )));
    }
    let flag = |map: &Map<String, Value>, key: &str| match map.get(key) {
        None => Ok(None),
        Some(Value::Bool(is)) => Ok(Some(*is)),
        Some(_) => Err(Refusal::unreadable(format!("parameter `{key}`: expected true or false"))),
    };
    let output = |wanted: Wanted| {
        let classes = match wanted.parameters.get("classification") {
            None => None,
            Some(value) => match whole(value).and_then(|count| usize::try_from(count).ok()) {
                Some(count) if count > 0 => Some(count),
                _ => {
                    return Err(Refusal::unreadable(
                        "parameter `classification`: expected a number above 0",
                    ));
                }
            },
        };
        Ok(Output { binary: flag(&wanted.parameters, "binary_data")?, classes, name: wanted.name })
    };
    let all = request.outputs.is_empty();
    let outputs = request.outputs.into_iter().map(output).collect::<Result<_, _>>()?;
    let binary = flag(&request.parameters, "binary_data_output")?.unwrap_or(false);
    let timeout_us = request.parameters.get("timeout").and_then(whole).filter(|&us| us > 0);
    let max_tokens = match request.parameters.get("max_tokens") {
        None => None,
        Some(value) => Some(whole(value).ok_or_else(|| {
            Refusal::unreadable("parameter `max_tokens`: expected a whole number above 0")
        })?),
    };
    Ok(Asked { id: request.id, timeout_us, max_tokens, inputs, outputs, binary, all })
}

/// A whole number that is not negative; JSON has 2, 2.0 and 2e0 for the same one.
fn whole(value: &Value) -> Option<u64> {
    let exact =
        |number: &f64| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number);
    value.as_u64().or_else(|| value.as_f64().filter(exact).map(|number| number as u64))
}

/// A tensor with its elements from `data`, or from the next of the bytes.
fn sent(input: Input, bytes: &mut &[u8]) -> Result<Sent, Refusal> {
    let Input { name, shape, datatype, parameters, data } = input;
    let label = shown(&name);
    let known = Datatype::find(&datatype);
    let datatype = known.ok_or_else(|| {
        Refusal::unfit(format!("input `{label}`: there is no datatype `{}`", shown(&datatype)))
    })?;
    match (parameters.get("binary_data_size"), data) {
        (Some(_), Some(_)) => Err(Refusal::unreadable(format!(
            "input `{label}` has both `data` and `binary_data_size`"
        ))),
        (None, None) => Err(Refusal::unreadable(format!("input `{label}` has no `data`"))),
        (None, Some(data)) => tensor::from_json(&name, datatype, &shape, data),
        (Some(size), None) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| {
                Refusal::unreadable(format!(
                    "input `{label}`: `binary_data_size` is no number of bytes"
                ))
            })?;
            let (own, rest) = bytes.split_at_checked(size).ok_or_else(|| {
                Refusal::unreadable(format!(
                    "unexpected size for input `{label}`: expecting {} additional bytes",
                    size - bytes.len()
                ))
            })?;
            *bytes = rest;
            tensor::from_bytes(&name, datatype, &shape, own)
        }
    }
}

/// A request whose body is the one input of the model, in bytes: `Inference-Header-Content-Length: 0`.
///
/// # Errors
/// 400 when the model has several inputs.
pub fn read_raw(body: &[u8], model: &Served) -> Result<Asked, Refusal> {
    let [input] = &model.inputs[..] else {
        return Err(Refusal::unreadable("raw bytes are for a model with one input"));
    };
    let (datatype, shape) = input.tensor();
    // One text or file is the whole body; of numbers there is one row.
    let shape: Vec<i64> = std::iter::once(1).chain(shape.iter().map(|&n| n as i64)).collect();
    let sent = match datatype {
        Datatype::Bytes => {
            let length = (body.len() as u32).to_le_bytes();
            tensor::from_bytes(&input.name, datatype, &shape, &[&length[..], body].concat())?
        }
        _ => tensor::from_bytes(&input.name, datatype, &shape, body)?,
    };
    Ok(Asked::raw(sent))
}

impl Asked {
    /// One tensor and nothing else, answered in bytes.
    pub(crate) fn raw(sent: Sent) -> Asked {
        let (inputs, outputs) = (vec![sent], Vec::new());
        Asked {
            id: None,
            timeout_us: None,
            max_tokens: None,
            inputs,
            outputs,
            binary: true,
            all: true,
        }
    }

    /// The rows as the model takes them.
    ///
    /// # Errors
    /// 422: an input that is missing, unknown, twice, or does not fit.
    pub fn encode(&mut self, model: &Served) -> Result<Encoded, Refusal> {
        let tensors: Vec<_> = model.outputs.iter().flat_map(|output| output.tensors()).collect();
        let known = tensors.iter().map(|(name, datatype, _)| (name.as_str(), *datatype));
        self.check_outputs(&known.collect::<Vec<_>>())?;
        let names: Vec<&str> = model.columns().collect();
        let inputs = std::mem::take(&mut self.inputs);
        let mut cells: Vec<Option<crate::columns::Cellar>> = names.iter().map(|_| None).collect();
        let mut rows = None;
        for sent in inputs {
            let name = shown(&sent.name);
            let Some(at) = names.iter().position(|known| *known == sent.name) else {
                return Err(Refusal::unfit(format!(
                    "the model has no input `{name}`: it has {}",
                    names.join(", ")
                )));
            };
            if cells[at].is_some() {
                return Err(Refusal::unfit(format!("the input `{name}` was sent twice")));
            }
            let count = sent.shape.first().copied().unwrap_or(0);
            if *rows.get_or_insert(count) != count {
                return Err(Refusal::unfit(format!(
                    "input `{name}` has {count} rows, another has {}",
                    rows.unwrap_or(0)
                )));
            }
            let column = model.inputs.get(at).cloned();
            // What orders a series is a text or a number.
            let column = column.unwrap_or_else(|| crate::columns::InputColumn {
                name: sent.name.clone(),
                kind: "date",
                holds: crate::columns::Holds::Cell,
                feature: model.inputs[0].feature.clone(),
            });
            cells[at] = Some(sent.cells(&column)?);
        }
        let missing = cells.iter().position(Option::is_none);
        if let Some(missing) = missing {
            return Err(Refusal::unfit(format!(
                "the input `{}` is missing",
                shown(names[missing])
            )));
        }
        let cells: Vec<_> = cells.into_iter().flatten().collect();
        let rows = rows.unwrap_or(0);
        if rows == 0 || rows > MOST_ROWS {
            return Err(Refusal::unfit(format!("expected 1 to {MOST_ROWS} rows, found {rows}")));
        }
        model.encode(&cells, rows, self.max_tokens)
    }

    /// Checks that there are outputs of the names that were asked for.
    pub(crate) fn check_outputs(&self, tensors: &[(&str, Datatype)]) -> Result<(), Refusal> {
        for (at, wanted) in self.outputs.iter().enumerate() {
            let name = shown(&wanted.name);
            if self.outputs[..at].iter().any(|other| other.name == wanted.name) {
                return Err(Refusal::unfit(format!("the output `{name}` is wanted twice")));
            }
            let Some((_, datatype)) = tensors.iter().find(|(known, _)| *known == wanted.name)
            else {
                let known: Vec<&str> = tensors.iter().map(|(name, _)| *name).collect();
                return Err(Refusal::unfit(format!(
                    "the model has no output `{name}`: it has {}",
                    known.join(", ")
                )));
            };
            if wanted.classes.is_some() && *datatype == Datatype::Bytes {
                return Err(Refusal::unfit(format!(
                    "`classification` is for numbers, `{name}` has texts"
                )));
            }
        }
        Ok(())
    }

    /// The response: its body, and where its tensors in bytes begin if it has any.
    pub fn response(&self, model: &Served, answers: &[Vec<Answer>]) -> (Vec<u8>, Option<usize>) {
        let mut tensors = Vec::new();
        for (k, output) in model.outputs.iter().enumerate() {
            for (name, datatype, shape) in output.tensors() {
                let wanted = self.outputs.iter().find(|wanted| wanted.name == name);
                if wanted.is_none() && !self.all {
                    continue;
                }
                let binary = wanted.and_then(|wanted| wanted.binary).unwrap_or(self.binary);
                let values = column(model, k, name != output.name, &answers[k]);
                let shape = [&[answers[k].len()], &shape[..]].concat();
                let made = match wanted.and_then(|wanted| wanted.classes) {
                    Some(count) => Made::classified(name, &shape, &values, count, &output.classes),
                    None => Made { name, datatype, shape, values },
                };
                tensors.push((made, binary));
            }
        }
        self.arranged(&model.name, model.version, tensors)
    }

    /// Writes tensors in the order in which they were asked for.
    pub(crate) fn arranged(
        &self,
        model: &str,
        version: u64,
        mut tensors: Vec<(Made, bool)>,
    ) -> (Vec<u8>, Option<usize>) {
        let place = |name: &str| self.outputs.iter().position(|wanted| wanted.name == name);
        tensors.sort_by_key(|(made, _)| place(&made.name));
        let model = quoted(model);
        let mut text = format!("{{\"model_name\":{model},\"model_version\":\"{version}\"");
        if let Some(id) = &self.id {
            text.push_str(",\"id\":");
            text.push_str(&quoted(id));
        }
        text.push_str(",\"outputs\":[");
        let mut bytes = Vec::new();
        let any = tensors.iter().any(|(_, binary)| *binary);
        for (at, (made, binary)) in tensors.into_iter().enumerate() {
            let Made { name, datatype, shape, values } = made;
            let comma = if at > 0 { "," } else { "" };
            let name = quoted(&name);
            let datatype = datatype.name();
            text.push_str(&format!(
                "{comma}{{\"name\":{name},\"datatype\":\"{datatype}\",\"shape\":{}",
                json!(shape)
            ));
            if binary {
                let before = bytes.len();
                values.bytes(&mut bytes);
                let size = bytes.len() - before;
                text.push_str(&format!(",\"parameters\":{{\"binary_data_size\":{size}}}}}"));
            } else {
                text.push_str(",\"data\":");
                values.json(&mut text);
                text.push('}');
            }
        }
        text.push_str("]}");
        let head = any.then_some(text.len());
        let mut body = text.into_bytes();
        body.extend(bytes);
        (body, head)
    }
}

/// A text in JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An output of a response.
pub(crate) struct Made {
    pub name: String,
    pub datatype: Datatype,
    pub shape: Vec<usize>,
    pub values: Data,
}

impl Made {
    /// The likeliest classes of each row: `value:index:label`.
    pub(crate) fn classified(
        name: String,
        shape: &[usize],
        values: &Data,
        count: usize,
        labels: &[String],
    ) -> Made {
        let width = shape[1..].iter().product::<usize>().max(1);
        let numbers = values.numbers();
        let count = count.min(width);
        let best = |row: &[f64]| {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let entry = |&at: &usize| match labels.get(at) {
                Some(label) if labels.len() == width => format!("{}:{at}:{label}", row[at]),
                _ => format!("{}:{at}", row[at]),
            };
            order[..count].iter().map(entry).collect::<Vec<_>>()
        };
        let texts: Vec<String> = numbers.chunks_exact(width).flat_map(best).collect();
        Made {
            name,
            datatype: Datatype::Bytes,
            shape: vec![shape[0], count],
            values: Data::Texts(texts),
        }
    }
}

/// The elements of an output.
fn column(model: &Served, output: usize, probabilities: bool, answers: &[Answer]) -> Data {
    let column = &model.outputs[output];
    let share = |answer: &Answer| match answer {
        Answer::Classes(p) | Answer::Several(p) => p.clone(),
        _ => Vec::new(),
    };
    let numbers = |answer: &Answer| match answer {
        Answer::Number(number) => vec![*number],
        Answer::Numbers(numbers) | Answer::Quantiles { values: numbers, .. } => numbers.clone(),
        _ => Vec::new(),
    };
    match &column.sample {
        Answer::Classes(_) | Answer::Several(_) if probabilities => {
            Data::F32(answers.iter().flat_map(share).collect())
        }
        Answer::Classes(_) | Answer::Several(_) => {
            let said = |answer| crate::rows::said(model, output, answer).join(" ");
            Data::Texts(answers.iter().map(said).collect())
        }
        Answer::Number(_) | Answer::Numbers(_) | Answer::Quantiles { .. } => {
            Data::F64(answers.iter().flat_map(numbers).collect())
        }
        Answer::Pixels(_) => {
            let pixels = |answer: &Answer| match answer {
                Answer::Pixels(pixels) => pixels.clone(),
                _ => Vec::new(),
            };
            Data::I32(answers.iter().flat_map(pixels).collect())
        }
        Answer::Text(_) => {
            let text = |answer: &Answer| match answer {
                Answer::Text(text) => text.clone(),
                _ => String::new(),
            };
            Data::Texts(answers.iter().map(text).collect())
        }
    }
}
