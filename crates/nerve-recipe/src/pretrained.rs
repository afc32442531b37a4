//! Sizes that stand beside the weights: an encoder that begins as a network of Hugging Face is what `config.json` of its folder says.
//!
//! What the recipe leaves open is taken from there, and what it says must be the same. A model file stands alone: its recipe has
//! all sizes, and no folder is looked at.

use crate::columns::Column;
use crate::diagnostic::{Code, Diagnostic};
use crate::embedder::config;
use crate::recipe::{item_of, path};
use crate::tree::{Data, Node};
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Item, Segment, Target, Value};
use nerve_nn::encoders;
use nerve_nn::models::BertOptions;
use std::path::Path;

/// Fills what the only encoder `bert` leaves open from the folder of `init_from`, if that has a `config.json`.
pub(crate) fn fill(
    tree: &Node,
    model: &Args,
    inputs: &mut [Column],
    problems: &mut Vec<Diagnostic>,
) {
    let encoder = |column: &Column| column.args.get("encoder").and_then(item_of);
    let is_bert = |item: &Item| item.name == "bert";
    let mut berts: Vec<&mut Column> =
        inputs.iter_mut().filter(|column| encoder(column).is_some_and(|it| is_bert(&it))).collect();
    // Of several, the file could be meant for any.
    let ([column], true) = (&mut berts[..], model.has("init_from")) else { return };
    let Some(folder) = Path::new(model.text("init_from")).parent() else { return };
    if !folder.join("config.json").is_file() {
        return;
    }
    let sizes = match config::sizes(folder) {
        Ok(sizes) => sizes,
        Err(error) => {
            let span = Some(tree.find(&path("model", "init_from"), Target::Value));
            let problem = Diagnostic::new(Code::Contradiction, error.to_string(), span);
            return problems.push(problem.label("the encoder `bert` has the sizes of its folder"));
        }
    };
    let Some(mut item) = encoder(column) else { return };
    let place = column.path(Role::Input, Some("encoder"));
    for (name, value) in wanted(&sizes) {
        match given(tree, &place, name) {
            Some(key) if item.args.get(name) != Some(&value) => {
                let place = [&place[..], &[Segment::Key(key.to_string())]].concat();
                let span = Some(tree.find(&place, Target::Value));
                let (found, said) = (shown(item.args.get(name)), shown(Some(&value)));
                let file = crate::source::escape(&folder.join("config.json").to_string_lossy());
                let message = format!("`{key}` is {found}, and {said} in {file}");
                let problem = Diagnostic::new(Code::Contradiction, message, span);
                problems.push(problem.label("leave it out: the file says it"));
            }
            Some(_) => {}
            None => item.args = item.args.with(name, value),
        }
    }
    // In the order in which they are declared, as everywhere.
    if let Some(entry) = encoders::find("bert") {
        item.args = in_order(entry.spec.params.iter().map(|param| param.name), &item.args);
    }
    let names: Vec<&'static str> = column.args.iter().map(|(name, _)| name).collect();
    let args = column.args.with("encoder", Value::Item(Box::new(item)));
    column.args = in_order(names.into_iter(), &args);
}

fn in_order(names: impl Iterator<Item = &'static str>, args: &Args) -> Args {
    let value = |name: &'static str| Some((name, args.get(name)?.clone()));
    names.filter_map(value).fold(Args::default(), |all, (name, value)| all.with(name, value))
}

/// What the parameters of the encoder have to be. How much is dropped is a matter of the training.
fn wanted(sizes: &BertOptions) -> [(&'static str, Value); 9] {
    let count = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    [
        ("vocabulary", count(sizes.vocabulary)),
        ("features", count(sizes.features)),
        ("layers", count(sizes.depth)),
        ("heads", count(sizes.heads)),
        ("feed_forward", count(sizes.feed_forward)),
        ("longest", count(sizes.longest)),
        ("types", count(sizes.types)),
        ("activation", Value::Item(Box::new(sizes.activation.clone()))),
        ("eps", Value::Float(sizes.eps)),
    ]
}

/// The name under which the recipe gives a parameter of the encoder, if it does.
fn given(tree: &Node, place: &[Segment], name: &str) -> Option<&'static str> {
    let spec = &encoders::find("bert")?.spec;
    let param = spec.params.iter().find(|param| param.name == name)?;
    let mut node = tree;
    for segment in place {
        node = match (segment, &node.data) {
            (Segment::Key(key), _) => &node.get(key)?.node,
            (Segment::Index(at), Data::List(nodes)) => nodes.get(*at)?,
            _ => return None,
        };
    }
    let mut names = [param.name].into_iter().chain(param.aliases.iter().copied());
    names.find(|name| node.get(name).is_some())
}

fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Float(number)) => format!("{number:e}"),
        Some(Value::Item(item)) => item.name.to_string(),
        _ => "another".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Recipe, Source};
    use std::path::Path;

    /// A recipe with the BERT of the folder as its encoder.
    fn recipe(encoder: &str) -> Result<Recipe, String> {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/embedder/golden/tiny");
        let tiny = tiny.display();
        let text = format!(
            "[data]\npath = \"t.csv\"\n[[input]]\nname = \"text\"\ntype = \"text\"\n\
             tokenizer = {{ type = \"file\", path = \"{tiny}/tokenizer.json\", special_tokens = true }}\n\
             encoder = {encoder}\n[[output]]\nname = \"animal\"\ntype = \"category\"\n\
             [model]\ninit_from = \"{tiny}/model.safetensors\"\ninit_rename = [\"*=encoders.text.0.*\"]\n\
             init_except = [\"decoders\"]\n[trainer]\nepochs = 2\n"
        );
        Recipe::load(Source::new("r.toml", text), &[]).map_err(|report| report.to_string())
    }

    fn sizes(recipe: &Recipe) -> [usize; 5] {
        let encoder = recipe.inputs[0].args.item("encoder");
        ["vocabulary", "features", "layers", "feed_forward", "longest"]
            .map(|name| encoder.args.usize(name))
    }

    #[test]
    fn the_sizes_are_those_of_the_folder() {
        let all = [22, 8, 2, 12, 24];
        for encoder in ["\"bert\"", "{ type = \"bert\", hidden_size = 8, layers = 2 }"] {
            let recipe = recipe(encoder).unwrap();
            assert_eq!(sizes(&recipe), all, "{encoder}");
            let again = Recipe::load(Source::new("again", recipe.resolved()), &[]).unwrap();
            assert!(again.same(&recipe));
            // Later the folder may say something else: a model file is what it was.
            let gone = recipe.resolved().replace("golden/tiny/model", "golden/gone/model");
            assert_eq!(sizes(&Recipe::of_model(Source::new("m", gone)).unwrap()), all);
        }
    }

    #[test]
    fn p_a_size_that_is_another_is_told_at_its_place() {
        let why = recipe("{ type = \"bert\", hidden_size = 16, layers = 2 }").unwrap_err();
        assert!(why.contains("`hidden_size` is 16, and 8 in"), "{why}");
        assert!(why.contains("r.toml:7:42"), "{why}");
        let why = recipe("{ type = \"bert\", eps = 1e-5 }").unwrap_err();
        assert!(why.contains("`eps` is 1e-5, and 1e-12"), "{why}");
    }
}
