//! Verdicts beside scikit-learn: see `golden/make_judge.py`. And what is written about them.
#![allow(missing_docs)]

use nerve_data::{Cells, Column, Element, Field, Origin, Table};
use nerve_formats::safetensors::SafeTensors;
use nerve_train::judge::{
    Answers, Baseline, Bootstrap, Gate, Guess, Judgeable, Judged, Lists, Options, OutputVerdict,
    Rule, Score, Threshold, Verdict, by_step, compare, curve, files, judge, page, reliability,
};
use std::sync::{Arc, LazyLock};

static DATA: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("judge", include_bytes!("golden/judge.safetensors")).unwrap()
});

fn numbers(name: &str) -> Vec<f64> {
    DATA.tensor(name).unwrap().to_f64().unwrap()
}

fn indices(name: &str) -> Vec<u32> {
    DATA.tensor(name).unwrap().to_i64().unwrap().into_iter().map(|i| i as u32).collect()
}

fn names(count: usize) -> Arc<[String]> {
    (0..count).map(|i| format!("class {i}")).collect()
}

fn classes(name: &str, count: usize) -> Answers {
    Answers::Classes {
        names: names(count),
        truth: indices(&format!("{name}/truth")),
        probabilities: numbers(&format!("{name}/p")).into_iter().map(|p| p as f32).collect(),
    }
}

fn pairs(name: &str) -> Answers {
    let [truth, answer] = ["truth", "answer"].map(|part| numbers(&format!("{name}/{part}")));
    Answers::Numbers { truth, answer }
}

fn forecast() -> Answers {
    let [truth, answer] = ["truth", "answer"].map(|part| numbers(&format!("forecast/{part}")));
    let scale = vec![4.0; truth.len() / 5];
    Answers::Forecast { horizon: 5, truth, answer, scale, bands: None }
}

/// A table of row numbers, groups and a picture of two pixels.
fn table(groups: &[u32]) -> Arc<Table> {
    let texts: Vec<String> = groups.iter().map(|group| format!("g{group}")).collect();
    let columns = vec![
        Column {
            name: "number".into(),
            cells: Cells::Numbers((0..groups.len()).map(|i| i as f64).collect()),
        },
        Column {
            name: "group".into(),
            cells: Cells::Text(texts.iter().map(|text| Some(text.as_str())).collect()),
        },
        Column {
            name: "picture".into(),
            cells: Cells::Arrays(
                Field::new("picture", &[1, 1, 2], Element::U8),
                (0..2 * groups.len()).map(|i| i as u8).collect::<Vec<u8>>().into(),
            ),
        },
    ];
    let origin = Origin {
        files: vec!["rows.csv".into()],
        lines: (0..groups.len() as u64).map(|i| (0, i + 2)).collect(),
        ..Origin::default()
    };
    Arc::new(Table::new(columns, origin).unwrap())
}

fn judged(output: Judgeable, groups: &[u32]) -> Judged {
    let rows = (0..groups.len()).collect();
    Judged {
        part: "test".into(),
        table: table(groups),
        rows,
        pictures: Vec::new(),
        outputs: vec![output],
    }
}

fn options() -> Options {
    let bootstrap = Bootstrap { resamples: 200, level: 0.95, seed: 7 };
    Options { bootstrap, ..Options::default() }
}

fn verdict(name: &str) -> OutputVerdict {
    let mut options = options();
    let (answers, mut groups) = match name {
        "two" => (classes("two", 2), Vec::new()),
        "grouped" => (classes("two", 2), indices("two/groups")),
        "seven" => (classes("seven", 7), Vec::new()),
        "numbers" => (pairs("numbers"), Vec::new()),
        "forecast" => (forecast(), Vec::new()),
        "masks" => {
            (Answers::Masks { names: names(3), counts: numbers("masks/counts") }, Vec::new())
        }
        _ => (pairs("lists"), Vec::new()),
    };
    options.group = (name == "grouped").then(|| "group".to_string());
    groups.resize(answers.rows(), 0);
    let lists = (name == "lists").then(|| Lists {
        group: indices("lists/users"),
        item: indices("lists/items"),
        popularity: Some(numbers("lists/popularity")),
        relevant: 4.0,
        k: 3,
    });
    let output = Judgeable { lists, ..Judgeable::new("y", answers) };
    judge(&judged(output, &groups), &options).unwrap().outputs.remove(0)
}

#[track_caller]
fn close(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= 1e-9 * expected.abs().max(1.0), "{what}: {found}, not {expected}");
}

#[test]
fn scores_and_their_intervals_are_those_of_scikit_learn() {
    let lines = include_str!("golden/judge.tsv").lines().filter(|line| !line.starts_with('#'));
    let mut last: Option<(&str, OutputVerdict)> = None;
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [data, name, value, low, high] = fields[..] else { panic!("{line}") };
        if last.as_ref().is_none_or(|(of, _)| *of != data) {
            last = Some((data, verdict(data)));
        }
        let (_, verdict) = last.as_ref().unwrap();
        let score = verdict.score(name).unwrap_or_else(|| panic!("{name} of {data}"));
        let number = |text: &str| text.parse::<f64>().unwrap();
        let (a, b) = score.interval.unwrap_or_else(|| panic!("{name} of {data}: no interval"));
        close(&format!("{name} of {data}"), score.value, number(value));
        close(&format!("low {name} of {data}"), a, number(low));
        close(&format!("high {name} of {data}"), b, number(high));
        count += 1;
    }
    assert_eq!(count, 49);
}

#[test]
fn popularity_is_a_baseline_of_lists() {
    let verdict = verdict("lists");
    let (name, values) = &verdict.baselines[0];
    assert_eq!(name, "popularity");
    let at = verdict.scores.iter().position(|score| score.name == "ndcg_at_3").unwrap();
    for (i, expected) in numbers("lists/popular").into_iter().enumerate() {
        close("popularity", values[at + i], expected);
    }
    assert!(values[0].is_nan());
}

#[test]
fn curves_are_those_of_scikit_learn() {
    let answers = classes("two", 2);
    let bins = reliability(&answers, 15);
    let (observed, predicted) = (numbers("two/observed"), numbers("two/predicted"));
    assert_eq!(bins.len(), observed.len());
    for (bin, (observed, predicted)) in bins.iter().zip(observed.iter().zip(&predicted)) {
        close("observed", bin.observed, *observed);
        close("predicted", bin.predicted, *predicted);
    }
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 150);
    let points = curve(&answers, 1);
    let (fpr, tpr, at) = (numbers("two/fpr"), numbers("two/tpr"), numbers("two/at"));
    assert_eq!(points.len(), fpr.len());
    for (i, point) in points.iter().enumerate() {
        close("fpr", point.false_positive_rate, fpr[i]);
        close("tpr", point.recall, tpr[i]);
        if i > 0 {
            close("threshold", point.threshold, at[i - 1]);
        }
    }
    // scikit-learn goes the other way.
    let (precision, recall) = (numbers("two/precision"), numbers("two/recall"));
    assert_eq!(points.len(), precision.len());
    for (point, (precision, recall)) in points.iter().rev().zip(precision.iter().zip(&recall)) {
        close("precision", point.precision, *precision);
        close("recall", point.recall, *recall);
    }
    let steps = by_step(&forecast());
    for (step, mae) in steps.iter().zip(numbers("forecast/mae")) {
        close("mae", step.mae, mae);
    }
    assert_eq!(steps.len(), 5);
}

#[test]
fn thresholds_are_where_the_curve_is_best() {
    let answers = classes("two", 2);
    let Answers::Classes { truth, probabilities, .. } = &answers else { unreachable!() };
    let p: Vec<f64> = probabilities.chunks(2).map(|p| f64::from(p[1])).collect();
    let yes: Vec<bool> = truth.iter().map(|&t| t == 1).collect();
    // Every threshold that makes a difference, tried one after the other.
    let counts = |threshold: f64| {
        let said = p.iter().map(|&p| p > threshold);
        let count = |a: bool, b: bool| {
            said.clone().zip(&yes).filter(|&(said, &yes)| said == a && yes == b).count() as f64
        };
        [count(true, true), count(true, false), count(false, true), count(false, false)]
    };
    let gain = |rule: &Rule, threshold| {
        let [tp, fp, fn_, tn] = counts(threshold);
        match rule {
            Rule::MaxF1 => 2.0 * tp / (2.0 * tp + fp + fn_),
            Rule::Youden => tp / (tp + fn_) - fp / (fp + tn),
            _ => -(fp + 5.0 * fn_) / 150.0,
        }
    };
    for text in ["max_f1", "youden", "cost(1, 5)"] {
        let rule = Rule::parse(text).unwrap();
        let chosen = rule.choose(&p, &yes);
        let best = (0..=1000).map(|i| gain(&rule, f64::from(i) / 1000.0)).fold(f64::MIN, f64::max);
        close(text, gain(&rule, chosen.value), best);
        close(text, chosen.reached.unwrap().abs(), best.abs());
        assert_eq!(Threshold::from_json(&chosen.to_json()).unwrap(), chosen);
        assert_eq!(chosen.rule, text);
    }
    // A wrong no that costs much moves yes down.
    let cheap = Rule::parse("cost(1, 50)").unwrap().choose(&p, &yes).value;
    assert!(cheap < Rule::parse("cost(50, 1)").unwrap().choose(&p, &yes).value);
    // One kind alone teaches nothing.
    assert_eq!(Rule::MaxF1.choose(&[0.2, 0.9], &[true, true]).value, 0.5);
    assert_eq!(Rule::MaxF1.choose(&[], &[]).reached, None);
    for wrong in ["", "1.5", "0", "cost(1)", "cost(1, -2)", "cost(1, nan)", "max-f1", "nan"] {
        assert!(Rule::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_threshold_moves_the_scores_that_depend_on_it_and_no_other() {
    let at = |value: f64| {
        let threshold = Threshold { value, ..Threshold::default() };
        let output = Judgeable { threshold, ..Judgeable::new("y", classes("two", 2)) };
        judge(&judged(output, &[0; 150]), &Options::default()).unwrap().outputs.remove(0)
    };
    let (low, high) = (at(0.2), at(0.8));
    let score = |verdict: &OutputVerdict, name: &str| verdict.score(name).unwrap().value;
    assert!(score(&low, "recall") > score(&high, "recall"));
    assert!(score(&low, "specificity") < score(&high, "specificity"));
    for same in ["roc_auc", "log_loss", "brier", "calibration_error"] {
        assert_eq!(score(&low, same), score(&high, same), "{same}");
    }
}

#[test]
fn baselines_know_the_training_part_alone() {
    let majority = Baseline::majority(&[30, 10]);
    assert_eq!(majority.guess, Guess::Same(vec![0.75, 0.25]));
    let output = Judgeable { baselines: vec![majority], ..Judgeable::new("y", classes("two", 2)) };
    let verdict = judge(&judged(output, &[0; 150]), &Options::default()).unwrap();
    let output = &verdict.outputs[0];
    let base = |name: &str| {
        output.baselines[0].1[output.scores.iter().position(|s| s.name == name).unwrap()]
    };
    let no = indices("two/truth").iter().filter(|&&t| t == 0).count() as f64 / 150.0;
    assert_eq!((base("accuracy"), base("recall"), base("roc_auc")), (no, 0.0, 0.5));
    close("entropy", base("log_loss"), -no * 0.75f64.ln() - (1.0 - no) * 0.25f64.ln());
    let constants = Baseline::constants(&[1.0, 2.0, 3.0, 10.0]);
    assert_eq!(constants[0].guess, Guess::Same(vec![4.0]));
    assert_eq!(constants[1].guess, Guess::Same(vec![2.5]));
    assert!(Baseline::constants(&[f64::NAN]).is_empty());
    // A forecast that repeats the last two values.
    let before: [&[f64]; 2] = [&[9.0, 1.0, 2.0], &[3.0, 4.0]];
    let seasonal = Baseline::seasonal(&before, 2, 3);
    assert_eq!(seasonal.guess, Guess::Each(vec![1.0, 2.0, 1.0, 3.0, 4.0, 3.0]));
    assert_eq!(Baseline::seasonal(&before, 1, 1).guess, Guess::Each(vec![2.0, 4.0]));
    // Masks: every pixel of the most frequent class.
    let masks = Answers::Masks { names: names(2), counts: vec![6.0, 1.0, 2.0, 1.0] };
    let baselines = vec![Baseline::majority(&[9, 1])];
    let output = Judgeable { baselines, ..Judgeable::new("y", masks) };
    let verdict = judge(&judged(output, &[0]), &Options::default()).unwrap();
    let names: Vec<&str> = verdict.outputs[0].scores.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["iou", "dice", "accuracy"]);
    assert_eq!(verdict.outputs[0].baselines[0].1[2], 0.7);
}

#[test]
fn slices_are_the_scores_of_their_rows() {
    let groups: Vec<u32> = (0..150).map(|i| i % 3).collect();
    let options = Options { slices: vec!["group".into(), "number".into()], ..options() };
    let all = judge(&judged(Judgeable::new("y", classes("two", 2)), &groups), &options).unwrap();
    let slices = &all.outputs[0].slices;
    let names = |i: usize| slices[i].groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["g0", "g1", "g2"]);
    assert_eq!(names(1), ["up to 37.25", "37.25 to 74.5", "74.5 to 111.75", "above 111.75"]);
    let rows: Vec<usize> = (0..150).filter(|i| i % 3 == 1).collect();
    let part = Judged {
        rows: rows.clone(),
        outputs: vec![Judgeable::new("y", classes("two", 2).select(&rows))],
        ..judged(Judgeable::new("y", classes("two", 2)), &groups)
    };
    let alone = judge(&part, &self::options()).unwrap();
    assert_eq!(slices[0].groups[1].scores, alone.outputs[0].scores);
    assert_eq!(slices[0].groups[1].examples, 50);
    let unknown = Options { slices: vec!["gruop".into()], ..Options::default() };
    let error = judge(&part, &unknown).unwrap_err().to_string();
    assert!(error.contains("did you mean `group`"), "{error}");
}

#[test]
fn the_worst_rows_come_first_with_place_and_cells() {
    let truth = vec![1.0, 2.0, 3.0, 4.0];
    let answer = vec![1.5, 2.0, f64::NAN, 1.0];
    let output = Judgeable::new("y", Answers::Numbers { truth, answer });
    let options = Options { worst: 3, ..Options::default() };
    let verdict = judge(&judged(output, &[5, 6, 7, 8]), &options).unwrap();
    let worst = &verdict.outputs[0].worst;
    let places: Vec<&str> = worst.iter().map(|worst| worst.place.as_str()).collect();
    assert_eq!(places, ["rows.csv:4", "rows.csv:5", "rows.csv:2"]);
    assert_eq!(worst[1].cells[1], ("group".to_string(), "g8".to_string()));
    assert_eq!((worst[1].pictures[0].width, &worst[1].pictures[0].bytes[..]), (2, &[6u8, 7][..]));
    // No number stands for what is none.
    let json = files::to_json(&verdict);
    assert!(json["outputs"][0]["worst"][0]["loss"].is_null());
    assert_eq!(json["outputs"][0]["worst"][2]["loss"], 0.25);
}

#[test]
fn what_does_not_fit_is_refused() {
    let output = Judgeable::new("y", pairs("numbers"));
    let error = judge(&judged(output, &[0; 3]), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("answers of y"), "{error}");
    // Nothing, one row, one class: values where there are some, and no panic.
    for rows in 0..2usize {
        let answers = [
            classes("two", 2).select(&(0..rows).collect::<Vec<_>>()),
            pairs("numbers").select(&(0..rows).collect::<Vec<_>>()),
            forecast().select(&(0..rows).collect::<Vec<_>>()),
        ];
        for answers in answers {
            let judged = judged(Judgeable::new("y", answers), &vec![0; rows]);
            let verdict = judge(&judged, &options()).unwrap();
            assert!(page::page("x", &[], &verdict, &[]).ends_with("</html>\n"));
            assert!(!files::text(&verdict, &[]).contains("NaN"));
        }
    }
}

#[test]
fn gates_compare_values_or_ends_of_intervals() {
    let score = |name: &str, value, interval| Score {
        name: name.into(),
        better: nerve_train::judge::Better::Higher,
        value,
        interval,
    };
    let mut output = verdict("two");
    output.scores = vec![score("accuracy", 0.9, Some((0.8, 0.95))), score("mase", f64::NAN, None)];
    let verdict = Verdict {
        part: "test".into(),
        examples: 3,
        bootstrap: Bootstrap::default(),
        group: None,
        outputs: vec![output],
    };
    let check = |text: &str| Gate::parse(text).and_then(|gate| gate.check(&verdict));
    let passed = |text: &str| check(text).unwrap().passed;
    assert!(passed("accuracy >= 0.9") && passed("accuracy>0.89") && !passed("accuracy > 0.9"));
    assert!(!passed("accuracy.low >= 0.9") && passed("y.accuracy.high < 1"));
    assert!(!passed("mase < 1") && !passed("mase >= 0") && !passed("mase.low > 0"));
    let error = check("acuracy > 0").unwrap_err();
    assert!(error.contains("the scores of y are accuracy, mase"), "{error}");
    assert!(check("z.accuracy > 0").unwrap_err().contains("the outputs are y"));
    for wrong in
        ["", "accuracy", "accuracy == 1", ">= 1", "accuracy > x", "accuracy > inf", "a b > 1"]
    {
        assert!(Gate::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn nothing_from_the_data_becomes_part_of_the_page() {
    let evil = "<script>alert(1)</script>\"'&\u{1b}[31m\u{202e}";
    let names: Arc<[String]> = [evil.to_string(), "b".to_string()].into();
    let answers =
        Answers::Classes { names, truth: vec![0, 1], probabilities: vec![0.2, 0.8, 0.3, 0.7] };
    let cells = Cells::Text([Some(evil), Some("x")].into_iter().collect());
    let table = Table::new(
        vec![Column { name: evil.into(), cells }],
        Origin {
            files: vec![evil.replace('/', "").into()],
            lines: vec![(0, 1), (0, 2)],
            ..Origin::default()
        },
    );
    let judged = Judged {
        part: evil.into(),
        table: Arc::new(table.unwrap()),
        rows: vec![0, 1],
        pictures: Vec::new(),
        outputs: vec![Judgeable {
            baselines: vec![Baseline { name: evil.into(), guess: Guess::Same(vec![0.5, 0.5]) }],
            threshold: Threshold { rule: evil.into(), ..Threshold::default() },
            ..Judgeable::new(evil, answers)
        }],
    };
    let options = Options { slices: vec![evil.into()], ..Options::default() };
    let verdict = judge(&judged, &options).unwrap();
    let gates = [nerve_train::judge::Passed { gate: evil.into(), found: 0.0, passed: false }];
    let page = page::page(evil, &[(evil.into(), evil.into())], &verdict, &gates);
    assert!(!page.contains("<script") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
    for address in ["http://", "https://", "src=\"/", "url("] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(address), "{address}");
    }
    let mut predictions = Vec::new();
    files::predictions_csv(&judged, &mut predictions).unwrap();
    let predictions = String::from_utf8(predictions).unwrap();
    let quoted = format!("\"{}\"", evil.replace('"', "\"\""));
    assert!(predictions.contains(&quoted), "{predictions}");
}

#[test]
fn a_run_folder_gets_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let output = Judgeable::new("y", classes("two", 2));
    let judged = judged(output, &[0; 150]);
    let verdict = judge(&judged, &options()).unwrap();
    files::write(folder.path(), &judged, &verdict).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("test.json")).unwrap();
    assert_eq!(json["outputs"][0]["scores"]["accuracy"]["value"], 116.0 / 150.0);
    assert_eq!(read("confusion.csv").lines().next(), Some("actual,class 0,class 1"));
    assert_eq!(read("worst.jsonl").lines().count(), 25);
    let calibration = read("calibration.csv");
    assert_eq!(calibration.lines().next(), Some("low,high,count,predicted,observed"));
    let predictions = read("predictions.csv");
    let mut lines = predictions.lines();
    let head = "place,y_truth,y_answer,y_p_class 0,y_p_class 1,y_loss";
    assert_eq!(lines.next(), Some(head));
    assert!(lines.next().unwrap().starts_with("rows.csv:2,class "));
    assert_eq!(lines.count(), 149);
    let text = files::text(&verdict, &[]);
    assert!(text.contains("accuracy") && text.contains("0.7733"), "{text}");
}

/// Two networks that judge numbers: the second errs by half as much.
fn two() -> [Judged; 2] {
    let answers = |scale: f64| {
        let truth: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101)).collect();
        let error = |i: usize| scale * (f64::from((i * 53 % 19) as u32) - 9.0);
        let answer = truth.iter().enumerate().map(|(i, truth)| truth + error(i)).collect();
        Answers::Numbers { truth, answer }
    };
    [1.0, 0.5].map(|scale| Judged {
        part: "test".into(),
        table: table(&[0; 200]),
        rows: (0..200).collect(),
        pictures: Vec::new(),
        outputs: vec![Judgeable::new("y", answers(scale))],
    })
}

#[test]
fn a_comparison_draws_the_same_rows_for_both() {
    let [a, b] = two();
    let options = Options {
        bootstrap: Bootstrap { resamples: 200, ..Bootstrap::default() },
        ..Options::default()
    };
    let found = compare(&a, &b, &options).unwrap();
    let mae = found[0].scores.iter().find(|score| score.name == "mae").unwrap();
    // Every error is exactly halved, so every resample's is: the difference is half of the first.
    assert!((mae.value + mae.first.0 / 2.0).abs() < 1e-12);
    let (low, high) = mae.first.1.unwrap();
    let (from, to) = mae.interval.unwrap();
    assert!((from + high / 2.0).abs() < 1e-12 && (to + low / 2.0).abs() < 1e-12);
    assert_eq!(mae.second_is_better(), Some(true));
    // Beside itself nothing differs; the intervals are those of the verdict.
    let same = compare(&a, &a, &options).unwrap();
    assert!(same[0].scores.iter().all(|score| score.second_is_better().is_none()));
    let verdict = judge(&a, &options).unwrap();
    for (score, difference) in verdict.outputs[0].scores.iter().zip(&same[0].scores) {
        assert_eq!((score.value, score.interval), difference.first, "{}", score.name);
    }
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let [a, mut b] = two();
    let Answers::Numbers { truth, .. } = &mut b.outputs[0].answers else { unreachable!() };
    truth[7] += 1.0;
    let error = compare(&a, &b, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("the same truths"), "{error}");
    b.rows.pop();
    assert!(compare(&a, &b, &Options::default()).unwrap_err().to_string().contains("199"));
    let mut other = two()[1].clone();
    other.outputs[0].name = "z".into();
    assert_eq!(compare(&a, &other, &Options::default()).unwrap(), []);
}
