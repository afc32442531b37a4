//! From a request to the arrays of an ONNX file, and from its outputs to the response.

use super::arrays::{Array, Data};
use super::{Arrays, Graph};
use crate::infer::{Asked, Made, quoted};
use crate::refusal::{Refusal, shown};
use crate::tensor::{self, Datatype, Json, Sent};
use std::collections::BTreeMap;

impl Graph {
    /// What was sent, in the order of the inputs.
    ///
    /// # Errors
    /// 422: an input that is missing, unknown, twice, or does not fit.
    fn take(&self, sent: Vec<Sent>) -> Result<Vec<Arrays>, Refusal> {
        let mut arrays: Vec<Option<Array>> = self.inputs.iter().map(|_| None).collect();
        for sent in sent {
            let name = shown(&sent.name);
            let Some(at) = self.inputs.iter().position(|port| port.name == sent.name) else {
                let known: Vec<String> = self.inputs.iter().map(|port| shown(&port.name)).collect();
                let known = known.join(", ");
                let message = format!("the model has no input `{name}`: it has {known}");
                return Err(Refusal::unfit(message));
            };
            let array = Array::of(sent, &self.inputs[at])?;
            if arrays[at].replace(array).is_some() {
                return Err(Refusal::unfit(format!("the input `{name}` was sent twice")));
            }
        }
        if let Some(missing) = arrays.iter().position(Option::is_none) {
            let name = shown(&self.inputs[missing].name);
            return Err(Refusal::unfit(format!("the input `{name}` is missing")));
        }
        self.pieces(arrays.into_iter().flatten().collect())
    }

    /// The rows of a request of the protocol.
    ///
    /// # Errors
    /// As it does not fit the model.
    pub(crate) fn asked(&self, asked: &mut Asked) -> Result<Vec<Arrays>, Refusal> {
        let outputs = self.outputs.iter().map(|port| (port.name.as_str(), port.datatype));
        asked.check_outputs(&outputs.collect::<Vec<_>>())?;
        self.take(std::mem::take(&mut asked.inputs))
    }

    /// The one input of the model in bytes: one row.
    ///
    /// # Errors
    /// 400: the model has several inputs, or one whose extents are not known.
    pub(crate) fn raw(&self, body: &[u8]) -> Result<Asked, Refusal> {
        let [port] = &self.inputs[..] else {
            return Err(Refusal::unreadable("raw bytes are for a model with one input"));
        };
        let mut shape = port.shape.clone();
        if self.apart.is_none() {
            shape[0] = 1;
        }
        if shape.iter().any(|&extent| extent < 0) {
            return Err(Refusal::unreadable("raw bytes are for a model whose input has one shape"));
        }
        Ok(Asked::raw(tensor::from_bytes(&port.name, port.datatype, &shape, body)?))
    }

    /// The inputs as nested lists: `{"name": [[1, 2], [3, 4]]}`.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for what does not fit.
    pub(crate) fn lists(&self, body: &[u8]) -> Result<Vec<Arrays>, Refusal> {
        let lists: BTreeMap<String, Json> = serde_json::from_slice(body).map_err(|error| {
            Refusal::unreadable(format!(
                "failed to parse the inputs: {error}; expected an object with nested lists for each input"
            ))
        })?;
        let sent = |(name, json): (String, Json)| {
            let port = self.inputs.iter().find(|port| port.name == name);
            let datatype = port.map_or(Datatype::Fp32, |port| port.datatype);
            // One number stands for an array without axes.
            let shape = match port {
                Some(port) if port.shape.is_empty() => vec![],
                _ => json.shape(),
            };
            tensor::from_json(&name, datatype, &shape, json)
        };
        self.take(lists.into_iter().map(sent).collect::<Result<_, _>>()?)
    }

    /// The response of the protocol: its body, and where its tensors in bytes begin if it has any.
    ///
    /// # Errors
    /// 500: what is no number has no place in JSON.
    pub(crate) fn response(
        &self,
        asked: &Asked,
        arrays: Vec<Array>,
    ) -> Result<(Vec<u8>, Option<usize>), Refusal> {
        let mut tensors = Vec::new();
        for (port, array) in self.outputs.iter().zip(arrays) {
            let wanted = asked.outputs.iter().find(|wanted| wanted.name == port.name);
            if wanted.is_none() && !asked.all {
                continue;
            }
            let binary = wanted.and_then(|wanted| wanted.binary).unwrap_or(asked.binary);
            let Array { dims, data } = array;
            let made = match wanted.and_then(|wanted| wanted.classes) {
                Some(_) if dims.is_empty() => {
                    let name = shown(&port.name);
                    return Err(Refusal::unfit(format!("`{name}` has no rows to classify")));
                }
                Some(count) => Made::classified(port.name.clone(), &dims, &data, count, &[]),
                None => {
                    let datatype = data.datatype();
                    Made { name: port.name.clone(), datatype, shape: dims, values: data }
                }
            };
            if !binary {
                finite(&made.name, &made.values)?;
            }
            tensors.push((made, binary));
        }
        Ok(asked.arranged(&self.name, self.version, tensors))
    }

    /// The outputs as nested lists.
    ///
    /// # Errors
    /// 500: what is no number has no place in JSON.
    pub(crate) fn listed(&self, arrays: &[Array]) -> Result<String, Refusal> {
        let mut text = String::from("{");
        for (at, (port, array)) in self.outputs.iter().zip(arrays).enumerate() {
            finite(&port.name, &array.data)?;
            text.push_str(if at > 0 { "," } else { "" });
            text.push_str(&quoted(&port.name));
            text.push(':');
            array.nested(&mut text);
        }
        text.push('}');
        Ok(text)
    }
}

fn finite(name: &str, data: &Data) -> Result<(), Refusal> {
    match data.not_finite() {
        0 => Ok(()),
        count => Err(Refusal::new(
            500,
            format!(
                "non_finite_output: `{}` has {count} values that are no numbers, which JSON cannot say; ask for it with \
                 `binary_data`",
                shown(name)
            ),
        )),
    }
}
