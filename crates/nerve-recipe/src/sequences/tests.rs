use crate::data::Rows;
use crate::{Recipe, Session, Source, Tables};
use nerve_data::{Cells, Column, Origin, Table};
use nerve_formats::spec::Value;

const TRANSLATION: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"en\"\ntype = \"text\"\n\
    encoder = { type = \"transformer\", dim = 8, heads = 2 }\n\
    [[output]]\nname = \"fr\"\ntype = \"text\"\n\
    decoder = { type = \"generator\", dim = 8, heads = 2 }\n";

fn load(text: &str) -> Result<Recipe, String> {
    Recipe::load(Source::new("r.toml", text), &[]).map_err(|report| report.to_string())
}

/// What is said of a recipe in which something stands instead of something else, and where.
#[track_caller]
fn refused(from: &str, to: &str, place: &str, message: &str) {
    let text = TRANSLATION.replace(from, to);
    assert_ne!(text, TRANSLATION, "nothing was replaced");
    let error = load(&text).err().unwrap_or_else(|| panic!("was accepted:\n{text}"));
    assert!(error.contains(message) && error.contains(&format!("r.toml:{place}")), "{error}");
}

#[test]
fn the_encoder_keeps_the_steps_that_the_decoder_looks_at() {
    let recipe = load(TRANSLATION).unwrap();
    let Some(Value::Item(encoder)) = recipe.inputs[0].args.get("encoder") else { panic!() };
    assert_eq!(encoder.args.text("reduce"), "none");
    assert!(load(&recipe.resolved()).unwrap().same(&recipe), "{}", recipe.resolved());
    // One that is not named is a transformer of the same size as the decoder.
    let plain =
        TRANSLATION.replace("encoder = { type = \"transformer\", dim = 8, heads = 2 }\n", "");
    let recipe = load(&plain).unwrap();
    let Some(Value::Item(encoder)) = recipe.inputs[0].args.get("encoder") else { panic!() };
    assert_eq!((encoder.name, encoder.args.usize("dim")), ("transformer", 8));
    assert!(load(&recipe.resolved()).unwrap().same(&recipe));
    refused(
        "heads = 2 }\n[[output]]",
        "reduce = \"mean\" }\n[[output]]",
        "6:20",
        "one row of all steps",
    );
}

#[test]
fn decoders_are_those_of_their_outputs() {
    let of = "{ type = \"generator\", dim = 8, heads = 2 }";
    refused(of, "\"dense\"", "10:11", "`dense` is no decoder for a text");
    refused(
        "type = \"text\"\ndecoder",
        "type = \"category\"\ndecoder",
        "10:20",
        "`generator` writes a text",
    );
    refused(of, "\"tagger\"", "10:11", "`tagger` gives a sequence");
    refused("heads = 2 }\n[[output]]", "head = 2 }\n[[output]]", "6:44", "unknown key `head`");
    let two = format!("{TRANSLATION}[[output]]\nname = \"n\"\ntype = \"number\"\n");
    assert!(load(&two).unwrap_err().contains("a text that comes out is the only output"));
    let none = TRANSLATION.replace("[[output]]\nname = \"fr\"\n", "[[output]]\nname = \"en\"\n");
    assert!(load(&none).unwrap_err().contains("goes in and should come out"));
}

#[test]
fn how_a_text_is_written_is_checked() {
    let with = |generate: &str| format!("{TRANSLATION}generate = {generate}\n");
    for (generate, message) in [
        ("{ method = \"beam\", width = 0 }", "width"),
        ("{ method = \"beam\", temperature = 0.5 }", "`temperature` is for the method sample"),
        ("{ width = 3 }", "`width` is for the method beam; here is greedy"),
        ("{ method = \"sample\", top_p = 0.0 }", "top_p"),
        ("{ method = \"smaple\" }", "sample"),
        ("{ method = \"beam\", beam_width = 3 }", "unknown key `beam_width`"),
        ("{ max_len = 0 }", "max_len"),
    ] {
        let error = load(&with(generate)).unwrap_err();
        assert!(error.contains(message) && error.contains("r.toml:11:"), "{generate}: {error}");
    }
    let whole = with("{ method = \"beam\", width = 4, length_penalty = 0.6, max_len = 80 }");
    let recipe = load(&whole).unwrap();
    assert!(load(&recipe.resolved()).unwrap().same(&recipe));
    let number = "[data]\npath = \"x.csv\"\n[[input]]\nname = \"a\"\ntype = \"number\"\n\
        [[output]]\nname = \"b\"\ntype = \"number\"\ngenerate = { method = \"greedy\" }\n";
    let error = load(number).unwrap_err();
    assert!(error.contains("`generate`, and the output is a number"), "{error}");
}

#[test]
fn tokenizers_are_shared_with_a_text_that_is_there() {
    let shared = |with: &str, more: &str| {
        let own = format!("tokenizer = {{ type = \"bpe\", shared_with = \"{with}\" }}\nencoder");
        TRANSLATION.replace("encoder", &own).replace("decoder =", &format!("{more}decoder ="))
    };
    let recipe = load(&shared("fr", "")).unwrap();
    let tokenizer = recipe.outputs[0].feature.args.item("tokenizer");
    assert_eq!((tokenizer.name, tokenizer.args.text("shared_with")), ("bpe", "en"));
    assert!(load(&recipe.resolved()).unwrap().same(&recipe));
    for (text, message) in [
        (shared("de", ""), "there is no other text `de` in the recipe"),
        (shared("en", ""), "there is no other text `en` in the recipe"),
        (shared("fr", "tokenizer = \"words\"\n"), "`fr` has another tokenizer"),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.contains(message) && error.contains("r.toml:6:43"), "{error}");
    }
    let streamed = shared("fr", "").replace("[data]\n", "[data]\nstream = true\n");
    assert!(load(&streamed).unwrap_err().contains("a tokenizer shared with `fr`"));
}

fn rows(columns: &[(&str, &[&str])]) -> Tables {
    let column = |(name, cells): &(&str, &[&str])| Column {
        name: name.to_string(),
        cells: Cells::Text(cells.iter().copied().map(Some).collect()),
    };
    let table = Table::new(columns.iter().map(column).collect(), Origin::default()).unwrap();
    Tables { train: Rows::all(table), validation: None, test: None }
}

fn session(text: &str, tables: &Tables) -> Result<Session, String> {
    Session::with(&load(text).unwrap(), tables).map_err(|error| error.to_string())
}

#[test]
fn what_has_no_steps_cannot_be_looked_at() {
    let words = "a b a b a";
    let tables = rows(&[("en", &[words; 4]), ("fr", &[words; 4])]);
    session(TRANSLATION, &tables).unwrap();
    let one = TRANSLATION.replace("\"transformer\", dim = 8, heads = 2", "\"parallel_cnn\"");
    let error = session(&one, &tables).err().unwrap();
    assert!(error.contains("`generator` looks at the steps of its input"), "{error}");
    assert!(error.contains("r.toml:10:20"), "{error}");
    let number = TRANSLATION.replace(
        "type = \"text\"\nencoder = { type = \"transformer\", dim = 8, heads = 2 }",
        "type = \"number\"",
    );
    let numbers = rows(&[("en", &["1", "2", "3", "4"]), ("fr", &[words; 4])]);
    let error = session(&number, &numbers).err().unwrap();
    assert!(error.contains("`generator` looks at the steps of its input"), "{error}");
    let uneven =
        TRANSLATION.replace("dim = 8, heads = 2 }\n[[output]]", "dim = 8, heads = 3 }\n[[output]]");
    assert!(session(&uneven, &tables).is_err());
    // Rotary places turn pairs of features of each head.
    let odd =
        TRANSLATION.replace("generator\", dim = 8, heads = 2", "generator\", dim = 6, heads = 2");
    assert!(session(&odd, &tables).err().unwrap().contains("`generator`"));
    let layers = "[data]\npath = \"x.csv\"\n[[output]]\nname = \"fr\"\ntype = \"text\"\n\
        [model]\nlayers = [\"Flatten\"]\n";
    let error = session(layers, &tables).err().unwrap();
    assert!(error.contains("layers, and nothing goes in"), "{error}");
}

#[test]
fn tags_are_as_many_as_steps() {
    let recipe = "[data]\npath = \"x.csv\"\n\
        [[input]]\nname = \"words\"\ntype = \"sequence\"\n\
        [[output]]\nname = \"tags\"\ntype = \"sequence\"\n";
    let tables = rows(&[("words", &["a b", "b", "c a b"]), ("tags", &["A B", "B", "C A B"])]);
    session(recipe, &tables).unwrap();
    let tables = rows(&[("words", &["a b", "b", "c a b"]), ("tags", &["A B", "B", "C A"])]);
    let error = session(recipe, &tables).err().unwrap();
    assert!(
        error.contains("3 symbols, as many as steps in `words`") && error.contains("found 2"),
        "{error}"
    );
    assert!(load(&format!("task = \"tagging\"\n{recipe}")).is_ok());
    let error = load(&recipe.replace("\"tags\"\n", "\"tags\"\ndecoder = \"dense\"\n")).unwrap_err();
    assert!(error.contains("`dense` is no decoder for a sequence"), "{error}");
}
