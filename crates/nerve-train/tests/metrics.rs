//! What holds for every metric of the registry, and their values beside those of scikit-learn,
//! sacrebleu, jiwer and rouge-score: see `golden/make_metrics.py`.

use nerve_core::{DType, Tensor};
use nerve_formats::safetensors::SafeTensors;
use nerve_formats::spec::{Args, Item, Value, check};
use nerve_train::metrics::text::{Bleu, Chrf, ErrorRate, Rouge, rouge_l, rouge_lsum, rouge_n};
use nerve_train::metrics::{self, Confusion, Kept, Metric, REGISTRY, Seen, measure};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static DATA: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("metrics", include_bytes!("golden/metrics.safetensors")).unwrap()
});

fn data(name: &str) -> Tensor {
    let tensor = DATA.tensor(name).unwrap();
    match tensor.to_i64() {
        Ok(values) => {
            let values: Vec<i32> = values.into_iter().map(|v| v as i32).collect();
            Tensor::from_slice(&values, tensor.shape)
        }
        Err(_) => Tensor::from_slice(&tensor.to_f64().unwrap(), tensor.shape),
    }
}

/// The lines of a table, without the one about versions.
fn table(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// A metric from `name key=value …`.
fn metric(text: &str) -> (Box<dyn Metric>, &'static str) {
    let mut words = text.split(' ');
    let entry = metrics::find(words.next().unwrap()).unwrap_or_else(|| panic!("{text}"));
    let args = arguments(entry, words);
    (metrics::build(&Item { name: entry.spec.name, args }), entry.spec.name)
}

fn arguments<'a>(entry: &metrics::Entry, words: impl Iterator<Item = &'a str>) -> Args {
    let value = |text: &str| match (text.parse::<i64>(), text.parse::<f64>(), text) {
        (Ok(number), ..) => Value::Int(number),
        (_, Ok(number), _) => Value::Float(number),
        (.., "true" | "false") => Value::Bool(text == "true"),
        _ => Value::Text(text.to_string().into()),
    };
    let given: Vec<_> = words
        .map(|word| word.split_once('=').unwrap())
        .map(|(key, text)| (key.to_string(), value(text)))
        .collect();
    check(&entry.spec, &given).unwrap()
}

#[track_caller]
fn close(what: &str, found: f64, expected: f64) {
    let same = found.is_nan() && expected.is_nan();
    let error = (found - expected).abs();
    assert!(same || error <= 1e-9 * expected.abs().max(1.0), "{what}: {found}, not {expected}");
}

/// The metric over batches of `size`, the last one smaller; in two parts that are merged.
fn in_batches(metric: &dyn Metric, output: &Tensor, target: &Tensor, size: usize) -> f64 {
    let rows = output.shape()[0];
    let mut parts = [Kept::default(), Kept::default()];
    for (i, start) in (0..rows).step_by(size).enumerate() {
        let end = (start + size).min(rows);
        let [o, t] = [output, target].map(|x| x.slice(0, start, end).evaluated());
        let values = metric.observe(&o, &t).to_vec::<f64>();
        metric.add(&Seen { values: &values, target: t.shape() }, &mut parts[i % 2]);
    }
    let [mut all, rest] = parts;
    all.merge(&rest);
    metric.value(&all)
}

#[test]
fn metrics_are_those_of_scikit_learn_however_data_are_cut_into_batches() {
    let mut tried = BTreeSet::new();
    for line in table(include_str!("golden/metrics.tsv")) {
        let [what, name, expected] = line[..] else { panic!("{line:?}") };
        let (metric, entry) = metric(what);
        tried.insert(entry);
        let (output, target) = (data(&format!("{name}/output")), data(&format!("{name}/target")));
        let expected: f64 = expected.parse().unwrap();
        for (output, size) in [(output.clone(), 7), (output, 1000)] {
            let found = in_batches(&*metric, &output, &target, size);
            close(&format!("{what} of {name} in batches of {size}"), found, expected);
        }
    }
    let all = REGISTRY.iter().map(|entry| entry.spec.name);
    let missing: Vec<_> = all.filter(|name| *name != "loss" && !tried.contains(name)).collect();
    assert!(missing.is_empty(), "without golden values: {missing:?}");
}

#[test]
fn every_entry_has_names_of_its_own_and_arguments_survive() {
    let mut names = Vec::new();
    for entry in REGISTRY.iter() {
        names.extend([&[entry.spec.name], entry.spec.aliases].concat());
        let given: &[&str] = match entry.spec.name {
            "loss" => &["loss=mae"],
            "mase" => &["scale=2"],
            _ => &[],
        };
        let args = arguments(entry, given.iter().copied());
        if entry.spec.name != "loss" {
            let again: Vec<(String, Value)> =
                args.iter().map(|(key, value)| (key.into(), value.clone())).collect();
            assert_eq!(check(&entry.spec, &again).unwrap(), args, "{}", entry.spec.name);
        }
        let metric = metrics::build(&Item { name: entry.spec.name, args });
        assert!(!metric.name().is_empty() && !metric.name().contains([',', ' ']));
        // Nothing was seen: no value, and no panic.
        assert!(metric.value(&Kept::default()).is_nan(), "{}", entry.spec.name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a metric's name is used twice");
}

#[test]
fn what_a_metric_takes_is_known_before() {
    use nerve_nn::losses::Target;
    let target = |shape: &[usize], dtype, classes| Target { shape: shape.into(), dtype, classes };
    let three = target(&[], DType::I32, Some(3));
    let number = target(&[], DType::F32, None);
    let fits = |what: &str, output: &[usize], target: &Target| {
        metric(what).0.check(output, target).is_ok()
    };
    for what in ["f1", "roc_auc", "log_loss", "brier", "accuracy", "top_k", "mrr"] {
        assert!(fits(what, &[3], &three), "{what}");
        assert!(!fits(what, &[4], &three), "{what}");
        assert!(!fits(what, &[3], &number), "{what}");
    }
    for what in ["f1", "roc_auc", "mae", "r2", "max_error"] {
        assert!(fits(what, &[1], &number) && fits(what, &[], &number), "{what}");
        assert!(!fits(what, &[2], &number), "{what}");
    }
    assert!(!fits("mae", &[1], &three) && !fits("r2", &[3], &three));
    assert!(fits("interval_coverage", &[2], &number) && !fits("interval_coverage", &[1], &number));
    assert!(fits("iou", &[3, 8, 8], &target(&[8, 8], DType::I32, Some(3))));
    assert!(fits("iou", &[1, 8, 8], &target(&[8, 8], DType::F32, None)));
}

#[test]
fn a_confusion_matrix_is_what_was_kept() {
    let (output, target) = (data("several/output"), data("several/target"));
    let values = metric("f1").0.observe(&output, &target).to_vec::<f64>();
    let predicted = output.argmax(1, false).to_vec::<i32>();
    let index = |x: Vec<i32>| x.into_iter().map(|v| v as usize).collect::<Vec<_>>();
    let expected = Confusion::of_labels(&index(target.to_vec::<i32>()), &index(predicted), 5);
    assert_eq!(Confusion::new(&values), expected);
    assert_eq!(expected.total(), 60.0);
    assert_eq!(expected.actual(2), 0.0);
}

#[test]
#[should_panic(expected = "expected class indices for outputs [batch, classes, …]")]
fn a_target_of_another_shape_is_refused() {
    measure(&*metric("f1").0, &Tensor::zeros([2, 3]), &Tensor::zeros([3]));
}

fn field(text: &str) -> String {
    text.replace("\\n", "\n")
}

#[test]
fn texts_are_judged_as_by_the_tools_of_the_field() {
    let rows: Vec<Vec<&str>> = table(include_str!("golden/texts.tsv")).collect();
    let (mut bleu, mut first, mut chrf) = (Bleu::default(), Bleu::default(), Chrf::default());
    let (mut words, mut characters) = (ErrorRate::default(), ErrorRate::default());
    let mut sentences = 0;
    for row in &rows {
        let (what, expected) = (row[0], row[1].parse::<f64>().unwrap());
        let texts: Vec<String> = row[2..].iter().map(|text| field(text)).collect();
        let (answer, references) = texts.split_first().unwrap();
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        let found = match what {
            "bleu_sentence" => {
                let mut one = Bleu::default();
                one.add(answer, &references);
                bleu.merge(&one);
                if (2..6).contains(&sentences) {
                    first.add(answer, &references[..1]);
                }
                sentences += 1;
                one.sentence()
            }
            "chrf" => {
                let mut one = Chrf::default();
                one.add(answer, &references);
                chrf.merge(&one);
                one.value()
            }
            "chrf++" => {
                let mut one = Chrf::plus_plus();
                one.add(answer, &references);
                one.value()
            }
            "bleu_corpus" => bleu.value(),
            "bleu_corpus_first" => first.value(),
            "chrf_corpus" => chrf.value(),
            "wer" => {
                let mut one = ErrorRate::default();
                one.add_words(references[0], answer);
                words.merge(&one);
                one.value()
            }
            "cer" => {
                let mut one = ErrorRate::default();
                one.add_characters(references[0], answer);
                characters.merge(&one);
                one.value()
            }
            "wer_corpus" => words.value(),
            "cer_corpus" => characters.value(),
            rouge => {
                let (name, part) = rouge.split_once(' ').unwrap();
                let score: Rouge = match name {
                    "rouge1" => rouge_n(answer, references[0], 1),
                    "rouge2" => rouge_n(answer, references[0], 2),
                    "rougeL" => rouge_l(answer, references[0]),
                    _ => rouge_lsum(answer, references[0]),
                };
                match part {
                    "precision" => score.precision,
                    "recall" => score.recall,
                    _ => score.f1,
                }
            }
        };
        close(&format!("{what} of {texts:?}"), found, expected);
    }
    assert!(rows.len() > 90 && sentences == 8);
}
