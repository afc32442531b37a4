//! A trained network as an ONNX model, with what stands before and behind it.
//!
//! Columns go in as they stand in the data, as far as ONNX can say what happens to them: numbers are filled in
//! and scaled, names become numbers, pictures are bytes. Of classes their names come out, and how likely each is.
//! What ONNX cannot say (tokens of texts, sounds, dates) is left out and said: then the prepared values go in.

mod answers;
mod columns;

use crate::features::Features;
use crate::predictor::Predictor;
use answers::Answered;
use columns::Given;
use nerve_core::Tensor;
use nerve_formats::onnx::{self, Model};
use nerve_nn::Context;
use nerve_onnx::export::{self, Exported, Input, Output};
pub use nerve_onnx::export::{Difference, ExportError, Options, VerifyError};

/// What a file is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Version and number of examples.
    pub options: Options,
    /// Whether columns go in and answers come out; else what the network itself takes and gives.
    pub preprocessing: bool,
}

/// A network as an ONNX model.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    /// The model, with what is known of it as metadata.
    pub model: Model,
    /// What is not in it, or otherwise than one would think.
    pub notes: Vec<String>,
}

/// A network with the ways into it and out of it.
struct Plan<'p> {
    predictor: &'p Predictor,
    /// For each field of the network the inputs of the file that it is made of.
    fields: Vec<Vec<Given>>,
    answers: Vec<Answered>,
}

impl Predictor {
    /// The network as an ONNX model.
    ///
    /// # Errors
    /// Something that ONNX cannot say.
    pub fn to_onnx(&self, wanted: &Wanted) -> Result<OnnxModel, ExportError> {
        if self.writing().is_some() {
            let name = crate::source::escape(&self.features().outputs[0].column.name);
            return Err(ExportError::Usage(format!(
                "`{name}` is written token by token, each from those before it, which an ONNX file does not do: `nerve predict` or \
                 `nerve generate` write it"
            )));
        }
        let plan = Plan::new(self, wanted.preprocessing);
        let Exported { mut model, fixed } =
            export::export(&plan.inputs(), &|x| plan.outputs(x), &wanted.options)?;
        let mut notes = plan.notes();
        if let Some(why) = fixed {
            notes.push(format!("it takes one example at a time: something {why}"));
        }
        let classes = |it: &crate::features::Fitted| {
            it.feature.output().map_or_else(Vec::new, |output| output.classes().to_vec())
        };
        for it in &self.features().outputs {
            let names = classes(it);
            if !names.is_empty() {
                let list = serde_json::Value::from(names).to_string();
                model.metadata.push((format!("classes of {}", it.column.name), list));
            }
        }
        let card = self
            .card
            .metadata()
            .into_iter()
            .filter(|(key, _)| key != "features" && key != crate::model::BASE);
        model.metadata.extend(card);
        if !notes.is_empty() {
            model.metadata.push(("notes".into(), notes.join("\n")));
            model.doc = notes.join("\n");
        }
        Ok(OnnxModel { model, notes })
    }

    /// Writes the model, reads it again, and compares what it gives with what the network does, for `examples`
    /// examples at random.
    ///
    /// # Errors
    /// It cannot be written, or not be read again.
    pub fn verify_onnx(
        &self,
        wanted: &Wanted,
        examples: usize,
    ) -> Result<Vec<Difference>, VerifyError> {
        let plan = Plan::new(self, wanted.preprocessing);
        let examples = wanted.options.batch.unwrap_or(examples);
        let samples = plan.samples(examples);
        export::verify(&plan.inputs(), &|x| plan.outputs(x), &wanted.options, &samples)
    }

    /// Examples at random for the inputs of the file, and what it must give for them, as the constants of a model:
    /// for comparing it with other programs. `written` is what [`to_onnx`](Predictor::to_onnx) gave: an output whose
    /// name an input has is called otherwise there.
    pub fn onnx_examples(&self, written: &OnnxModel, wanted: &Wanted, examples: usize) -> Model {
        let plan = Plan::new(self, wanted.preprocessing);
        let samples = plan.samples(examples);
        let run = nerve_core::compile(|x: &[Tensor]| {
            plan.outputs(x).into_iter().map(|output| output.value).collect()
        });
        let results = run.call(&samples.iter().collect::<Vec<_>>());
        let mut values = Model::new(wanted.options.opset);
        for (input, x) in plan.inputs().iter().zip(&samples) {
            values.graph.initializers.push(match &input.words {
                None => export::constant(&input.name, x),
                Some(words) => {
                    let of = |n: &i32| words.list.iter().find(|(_, number)| number == n);
                    let text = |n: &i32| of(n).map_or("none of the names", |(text, _)| text);
                    texts(&input.name, x, x.to_vec::<i32>().iter().map(text))
                }
            });
        }
        let names = written.model.graph.outputs.iter().map(|info| &*info.name);
        for ((output, name), y) in plan.outputs(&samples).iter().zip(names).zip(&results) {
            values.graph.initializers.push(match &output.words {
                None => export::constant(name, y),
                Some(words) => {
                    let places = y.to_vec::<i32>();
                    texts(name, y, places.iter().map(|&place| &*words[place as usize]))
                }
            });
        }
        values
    }
}

/// Texts in the shape of a tensor.
fn texts<'a>(name: &str, like: &Tensor, texts: impl Iterator<Item = &'a str>) -> onnx::Tensor {
    onnx::Tensor {
        name: name.to_string(),
        dims: like.shape().to_vec(),
        data_type: onnx::DataType::String,
        data: onnx::TensorData::Strings(texts.map(|text| text.as_bytes().to_vec()).collect()),
    }
}

impl<'p> Plan<'p> {
    fn new(predictor: &'p Predictor, preprocessing: bool) -> Plan<'p> {
        let features: &Features = predictor.features();
        let field = |slot: &nerve_data::table::Slot| -> Vec<Given> {
            let column = |name: &str| features.inputs.iter().find(|it| it.column.name == name);
            let part = |(name, _): &(String, _)| column(name).map(Given::column);
            match preprocessing {
                true => slot.parts.iter().filter_map(part).collect(),
                false => vec![Given::field(slot)],
            }
        };
        let fields = features.slots[..features.fed].iter().map(field).collect();
        let answered = |it| if preprocessing { Answered::of(it) } else { Answered::raw(it) };
        Plan { predictor, fields, answers: features.outputs.iter().map(answered).collect() }
    }

    fn given(&self) -> impl Iterator<Item = &Given> {
        self.fields.iter().flatten()
    }

    fn inputs(&self) -> Vec<Input> {
        self.given().map(|given| given.input.clone()).collect()
    }

    fn samples(&self, examples: usize) -> Vec<Tensor> {
        self.given().enumerate().map(|(i, given)| given.sample(examples, i as u32)).collect()
    }

    fn notes(&self) -> Vec<String> {
        let before = self.given().filter_map(|given| given.note.clone());
        before.chain(self.answers.iter().filter_map(|answer| answer.note.clone())).collect()
    }

    /// From the inputs of the file to its outputs.
    fn outputs(&self, x: &[Tensor]) -> Vec<Output> {
        let mut next = x.iter();
        let mut field = |parts: &Vec<Given>| {
            let parts: Vec<Tensor> = parts
                .iter()
                .map(|given| {
                    let x = next.next().expect("as many tensors as inputs");
                    nerve_core::scope(&given.input.name, || given.prepare(x))
                })
                .collect();
            match &parts[..] {
                [only] => only.clone(),
                _ => Tensor::concat(&parts, 1),
            }
        };
        let fields: Vec<Tensor> = self.fields.iter().map(&mut field).collect();
        let given = self.predictor.network.model.outputs(&fields, &Context::eval());
        let answers = self.answers.iter().zip(&given);
        answers
            .flat_map(|(answer, y)| nerve_core::scope(&answer.name, || answer.outputs(y)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rows;
    use crate::{Card, Network, Recipe, Source};
    use nerve_data::{Cells, Column, Origin, Table};
    use nerve_formats::onnx::Type;

    const RECIPE: &str = "[data]\npath = \"x.csv\"\n\
        [[input]]\nname = \"size\"\ntype = \"number\"\n\
        [[input]]\nname = \"rooms\"\ntype = \"number\"\nnormalize = \"log1p\"\nclip = 3.0\n\
        [[input]]\nname = \"town\"\ntype = \"category\"\n\
        [[input]]\nname = \"sold\"\ntype = \"binary\"\n\
        [[input]]\nname = \"day\"\ntype = \"date\"\n\
        [[output]]\nname = \"kind\"\ntype = \"category\"\n\
        [[output]]\nname = \"price\"\ntype = \"number\"\n\
        [[output]]\nname = \"new\"\ntype = \"binary\"\n";

    fn predictor() -> Predictor {
        let text = |name: &str, cells: [&str; 6]| Column {
            name: name.into(),
            cells: Cells::Text(cells.iter().map(|&cell| Some(cell)).collect()),
        };
        let days =
            ["2020-01-05", "2021-02-06", "2021-07-08", "2022-03-04", "2023-12-31", "2024-02-29"];
        let columns = vec![
            text("size", ["80", "120", "", "95", "60", "200"]),
            text("rooms", ["3", "5", "2", "4", "2", "9"]),
            text("town", ["Ulm", "Bonn", "Ulm", "", "Bonn", "Kiel"]),
            text("sold", ["yes", "no", "no", "", "yes", "no"]),
            text("day", days),
            text("kind", ["house", "flat", "flat", "flat", "house", "house"]),
            text("price", ["3", "5", "2", "4", "2", "9"]),
            text("new", ["yes", "no", "no", "yes", "yes", "no"]),
        ];
        let table = Table::new(columns, Origin::default()).unwrap();
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        let features = Features::fit(&recipe, &Rows::all(table)).unwrap();
        let network = Network::new(&recipe, &features).unwrap();
        let card = Card { recipe, features, trained: serde_json::Value::Null };
        Predictor { card, network }
    }

    fn wanted(preprocessing: bool) -> Wanted {
        Wanted { options: Options::default(), preprocessing }
    }

    #[test]
    fn columns_go_in_and_answers_come_out() {
        let predictor = predictor();
        let OnnxModel { model, notes } = predictor.to_onnx(&wanted(true)).unwrap();
        let names = |all: &[onnx::ValueInfo]| -> Vec<String> {
            all.iter().map(|info| info.name.clone()).collect()
        };
        let mut inputs = names(&model.graph.inputs);
        inputs.sort();
        assert_eq!(inputs, ["day", "rooms", "size", "sold", "town"]);
        let town = model.graph.inputs.iter().find(|info| info.name == "town").unwrap();
        assert!(matches!(town.kind, Some(Type::Tensor(onnx::DataType::String, _))));
        let outputs = ["kind", "kind.probabilities", "price", "new", "new.probabilities"];
        assert_eq!(names(&model.graph.outputs), outputs);
        assert!(notes.len() == 1 && notes[0].starts_with("`day` (date) goes in as"), "{notes:?}");
        let classes = ("classes of kind".to_string(), "[\"flat\",\"house\"]".to_string());
        assert!(model.metadata.contains(&classes));
    }

    #[test]
    fn without_preprocessing_the_network_is_left() {
        let OnnxModel { model, notes } = predictor().to_onnx(&wanted(false)).unwrap();
        assert_eq!((model.graph.outputs.len(), notes.len()), (3, 0));
        let text = |info: &onnx::ValueInfo| {
            matches!(info.kind, Some(Type::Tensor(onnx::DataType::String, _)))
        };
        assert!(!model.graph.inputs.iter().chain(&model.graph.outputs).any(text));
    }

    #[test]
    fn examples_have_texts_where_the_file_has() {
        let predictor = predictor();
        let written = predictor.to_onnx(&wanted(true)).unwrap();
        let examples = predictor.onnx_examples(&written, &wanted(true), 4);
        let texts: Vec<&str> = (examples.graph.initializers.iter())
            .filter(|tensor| tensor.data_type == onnx::DataType::String)
            .map(|tensor| &*tensor.name)
            .collect();
        assert_eq!(texts, ["sold", "town", "kind", "new"]);
    }
}
