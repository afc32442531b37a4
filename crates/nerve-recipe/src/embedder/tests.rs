use super::*;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A BERT with random weights, and what transformers makes of texts: golden/make_bert.py.
fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/embedder/golden/tiny")
}

fn expected() -> Vec<Value> {
    serde_json::from_slice(&fs::read(tiny().join("expected.json")).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

/// The folder, to be changed.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        fs::copy(tiny().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn change(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "no {from} in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn refused(folder: &Path) -> String {
    Embedder::open(folder).err().expect("was accepted").to_string()
}

#[test]
fn the_same_as_transformers() {
    let embedder = Embedder::open(&tiny()).unwrap();
    assert_eq!((embedder.dimension(), embedder.longest()), (8, 12));
    let expected = expected();
    let texts: Vec<&str> = expected.iter().map(|e| e["text"].as_str().unwrap()).collect();
    let rows = embedder.embed(&texts);
    for ((row, expected), text) in rows.iter().zip(&expected).zip(&texts) {
        let tokens: Vec<i32> =
            floats(&expected["tokens"]).into_iter().map(|token| token as i32).collect();
        assert_eq!(embedder.tokens(text), tokens, "{text}");
        near(row, &floats(&expected["mean"]));
        near(&embedder.plainly(text), row);
        // Alone as among others.
        near(&embedder.embed(&[text])[0], row);
    }
    // More than a batch, in an order of their own.
    let many: Vec<&str> = (0..70).map(|i| texts[i * 5 % texts.len()]).collect();
    for (i, row) in embedder.embed(&many).iter().enumerate() {
        near(row, &rows[i * 5 % texts.len()]);
    }
    assert!(embedder.embed::<&str>(&[]).is_empty());
}

#[test]
fn other_ways_to_pool() {
    let folder = copy();
    let [yes, no] = ["true", "false"];
    let pooling = "1_Pooling/config.json";
    change(folder.path(), pooling, yes, "maybe");
    change(folder.path(), pooling, no, yes);
    change(folder.path(), pooling, "maybe", no);
    change(folder.path(), "modules.json", "models.Normalize", "models.Transformer");
    let embedder = Embedder::open(folder.path()).unwrap();
    for expected in expected() {
        let text = expected["text"].as_str().unwrap();
        near(&embedder.embed(&[text])[0], &floats(&expected["first"]));
    }
    change(folder.path(), pooling, "cls_token", "lasttoken");
    assert!(refused(folder.path()).contains("pooling_mode_lasttoken"));
    change(folder.path(), "modules.json", "models.Pooling", "models.Dense");
    assert!(
        refused(folder.path())
            .contains("expected the modules Transformer, Pooling and Normalize, found Dense")
    );
}

#[test]
fn names_below_bert_and_old_ones_are_known() {
    let folder = copy();
    let file = SafeTensors::open(tiny().join("model.safetensors"), &Limits::default()).unwrap();
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    let names: Vec<String> = file.names().map(old).collect();
    use nerve_formats::safetensors::{Elements, NewTensor, write_safetensors};
    let tensors: Vec<NewTensor<'_>> = file
        .iter()
        .zip(&names)
        .map(|(t, name)| NewTensor { name, shape: t.shape, data: Elements::Raw(t.dtype, t.data) })
        .collect();
    write_safetensors(folder.path().join("model.safetensors"), &tensors, &[]).unwrap();
    let row = Embedder::open(folder.path()).unwrap().embed(&["a cat"]);
    assert_eq!(row, Embedder::open(&tiny()).unwrap().embed(&["a cat"]));
}

#[test]
fn what_does_not_fit_is_told_before_anything_is_made() {
    let with = |name: &str, from: &str, to: &str| {
        let folder = copy();
        change(folder.path(), name, from, to);
        refused(folder.path())
    };
    let config = |from: &str, to: &str| with("config.json", from, to);
    assert!(
        config("\"hidden_size\": 8", "\"hidden_size\": 1000000000")
            .contains("that config.json describes")
    );
    assert!(
        config("\"vocab_size\": 22", "\"vocab_size\": 1e3")
            .contains("vocab_size: expected a whole")
    );
    assert!(
        config("\"num_attention_heads\": 2", "\"num_attention_heads\": 3")
            .contains("a divisor of 8")
    );
    assert!(
        config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")
            .contains("`encoder.layer.1.")
    );
    assert!(
        config("\"bert\"", "\"roberta\"")
            .contains("model_type: expected \"bert\", found \"roberta\"")
    );
    assert!(config("\"gelu\"", "\"quick\"").contains("hidden_act"));
    assert!(config("{", "[").contains("expected JSON"));
    assert!(
        with("tokenizer.json", "\"dog\": 7", "\"dog\": 70").contains("expected tokens below 22")
    );
    let folder = copy();
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(refused(folder.path()).contains("config.json: cannot open"));
    let folder = copy();
    fs::write(folder.path().join("model.safetensors"), b"GGUF....").unwrap();
    assert!(refused(folder.path()).contains("a GGUF file"));
}
