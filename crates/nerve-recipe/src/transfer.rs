//! What `[model]` says beside the layers: parameters of another model, what is frozen, adapters.

use crate::diagnostic::{Code, Diagnostic, Report};
use crate::network::Network;
use crate::recipe::{Recipe, path};
use nerve_formats::spec::Target;
use nerve_formats::{Limits, SafeTensors};
use nerve_nn::lora::{self, Adapters};
use nerve_nn::transfer::Transfer;
use std::path::Path;

impl Recipe {
    /// Prepares a fresh network for the training: takes parameters over, freezes, adds adapters.
    ///
    /// # Errors
    /// The file cannot be read or lacks parameters; a pattern fits nothing.
    pub fn prepare_network(&self, network: &Network) -> Result<Option<Adapters>, Report> {
        let refuse = |key: &str, message: String| {
            let span = self.place(&path("model", key), Target::Value);
            self.refuse(Diagnostic::new(Code::Contradiction, message, Some(span)))
        };
        let (model, params) = (&self.model, &network.params);
        let except = model.texts("init_except");
        let except: Vec<&str> = except.iter().map(String::as_str).collect();
        if model.has("init_from") {
            let open = SafeTensors::open(Path::new(model.text("init_from")), &Limits::default());
            let file = open.map_err(|error| refuse("init_from", error.to_string()))?;
            let mut transfer = Transfer::new().except(&except);
            for renaming in model.texts("init_rename") {
                let with = transfer.rename_by(&renaming);
                transfer = with.map_err(|message| refuse("init_rename", message))?;
            }
            let loaded = transfer.load(params, &file);
            // A message is one line.
            let line = |text: String| {
                text.replace(":\n  ", ": ").replace("\n  ", "; ").replace('\n', "; ")
            };
            loaded.map_err(|error| refuse("init_from", line(error.to_string())))?;
        }
        for key in ["init_except", "init_rename"] {
            if !model.has("init_from") && !model.texts(key).is_empty() {
                return Err(refuse(key, format!("`{key}` is given without `init_from`")));
            }
        }
        for pattern in model.texts("freeze") {
            let before = params.frozen().len();
            // What an earlier pattern has frozen fits all the same.
            let known = params.frozen().iter().any(|p| nerve_nn::pattern::matches(&pattern, p));
            params.freeze(&pattern);
            if params.frozen().len() == before && !known {
                let paths: Vec<String> =
                    params.trainable().iter().take(8).map(|var| var.name().to_string()).collect();
                let message =
                    format!("`{pattern}` fits no parameter; there are {}", paths.join(", "));
                return Err(refuse("freeze", message));
            }
        }
        if !model.has("lora") {
            return Ok(None);
        }
        let adapters = Adapters::new(params, &lora::options(model.item("lora")));
        adapters.map(Some).map_err(|message| refuse("lora", message))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Predictor, Recipe, Session, SessionError, Source};
    use nerve_formats::safetensors::{Elements, NewTensor, write_safetensors};
    use nerve_formats::{Idx, IdxData, Limits, SafeTensors, write_idx};
    use nerve_track::RunFolder;
    use std::path::Path;
    use std::sync::Arc;

    /// Pictures of 4 x 4 whose class is the row of a stripe.
    fn data(folder: &Path) {
        let pixels =
            |i: usize| (0..16).map(move |p| if p / 4 == i % 2 { 200 + p as u8 } else { 0 });
        let save = |name: &str, dims: Vec<usize>, data: Vec<u8>| {
            write_idx(folder.join(name), &Idx { dims, data: IdxData::U8(data) }).unwrap();
        };
        save("train-images", vec![40, 4, 4], (0..40).flat_map(pixels).collect());
        save("train-labels", vec![40], (0..40).map(|i| (i % 2) as u8).collect());
    }

    fn session(folder: &Path, model: &str) -> Result<Session, SessionError> {
        let text = format!(
            "[data]\ntrain = \"train-images\"\nvalidation = 0.0\n[model]\nlayers = [\"Flatten\", \
             {{ type = \"Dense\", units = 5, activation = \"relu\" }}, \
             {{ type = \"Dense\", units = 2 }}]\n{model}\n[trainer]\nepochs = 2\n"
        );
        let mut source = Source::new("r.toml", text);
        source.folder = folder.to_path_buf();
        Session::new(&Recipe::load(source, &[])?)
    }

    fn values(session: &Session, path: &str) -> Vec<f32> {
        session.network.params.get(path).unwrap().var.to_vec::<f32>()
    }

    #[test]
    fn a_network_goes_on_from_another_frozen_or_adapted() {
        let folder = tempfile::tempdir().unwrap();
        data(folder.path());
        let run = |name: &str, session: &Session| {
            let fit = session.fit(Arc::default(), None, &mut []).unwrap();
            let run = RunFolder::create(&folder.path().join("runs"), name, &[]).unwrap();
            session.save(&run, &fit.history).unwrap();
            run.model()
        };
        let first = session(folder.path(), "").unwrap();
        run("first", &first);
        let from = "init_from = \"runs/first/model.safetensors\"";
        let keys = format!("{from}\ninit_except = [\"2\"]\nfreeze = [\"1\"]");
        let second = session(folder.path(), &keys).unwrap();
        assert_eq!(values(&second, "1.weight"), values(&first, "1.weight"));
        let head = values(&second, "2.weight");
        assert_ne!(head, values(&first, "2.weight"), "it begins fresh");
        run("second", &second);
        assert_eq!(values(&second, "1.weight"), values(&first, "1.weight"), "frozen");
        assert_ne!(values(&second, "2.weight"), head);

        // The same under other names.
        let keys = "init_from = \"renamed.safetensors\"\ninit_rename = [\"net.* = *\"]";
        let file = SafeTensors::open(
            folder.path().join("runs/first/model.safetensors"),
            &Limits::default(),
        );
        let file = file.unwrap();
        let names: Vec<String> = file.names().map(|name| format!("net.{name}")).collect();
        let tensors: Vec<NewTensor<'_>> = file
            .iter()
            .zip(&names)
            .map(|(t, name)| NewTensor {
                name,
                shape: t.shape,
                data: Elements::Raw(t.dtype, t.data),
            })
            .collect();
        write_safetensors(folder.path().join("renamed.safetensors"), &tensors, &[]).unwrap();
        let renamed = session(folder.path(), keys).unwrap();
        assert_eq!(values(&renamed, "2.weight"), values(&first, "2.weight"));

        let keys = format!("{from}\nlora = {{ type = \"lora\", rank = 2, paths = [\"2\"] }}");
        let third = session(folder.path(), &keys).unwrap();
        let model = run("third", &third);
        assert_eq!(values(&third, "2.weight"), values(&first, "2.weight"), "trained beside");
        // What is saved is the network of the layers, with the adapters in its weights.
        let saved = Predictor::open(&model).unwrap();
        assert_eq!(saved.network.params.vars().len(), 4);
        let merged = saved.network.params.get("2.weight").unwrap().var.to_vec::<f32>();
        assert_ne!(merged, values(&first, "2.weight"));
    }

    #[test]
    fn what_does_not_fit_is_told_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        data(folder.path());
        let why = |model: &str| session(folder.path(), model).err().unwrap().to_string();
        assert!(why("init_from = \"no.safetensors\"").contains("no.safetensors"));
        assert!(why("init_rename = [\"a = b\"]").contains("without `init_from`"));
        assert!(why("init_except = [\"2\"]").contains("without `init_from`"));
        let text = why("freeze = [\"1\", \"encoder\"]");
        assert!(text.contains("`encoder` fits no parameter; there are 2.weight"), "{text}");
        let text = why("lora = { type = \"lora\", paths = [\"0\"] }");
        assert!(text.contains("`0` fits no weight with two axes or more"), "{text}");
    }
}
