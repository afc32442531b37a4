//! Verdicts on sets, quantiles, pictures and vectors beside scikit-learn and scikit-image: see `golden/make_judge_more.py`.
#![allow(missing_docs)]

use nerve_data::features::Answer;
use nerve_data::{Cells, Column, Origin, Table};
use nerve_formats::Meaning;
use nerve_train::judge::{
    Answers, Baseline, Judgeable, Judged, Options, OutputVerdict, files, judge, page,
};
use std::sync::Arc;

fn golden(name: &str) -> Vec<f64> {
    let text = include_str!("golden/judge_more.tsv");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
    line.expect(name).split('\t').map(|number| number.parse().unwrap()).collect()
}

fn verdict(answers: Answers, baselines: Vec<Baseline>) -> (Judged, OutputVerdict) {
    let rows = answers.rows();
    let cells = Cells::Numbers((0..rows).map(|row| row as f64).collect());
    let table = Table::new(vec![Column { name: "x".into(), cells }], Origin::default()).unwrap();
    let judged = Judged {
        part: "test".into(),
        table: Arc::new(table),
        rows: (0..rows).collect(),
        pictures: Vec::new(),
        outputs: vec![Judgeable { baselines, ..Judgeable::new("y", answers) }],
    };
    let verdict = judge(&judged, &Options::default()).unwrap();
    // Whatever the answers are, they can be written down.
    assert!(page::page("it", &[], &verdict, &[]).contains("Scores"));
    assert_eq!(files::to_json(&verdict)["outputs"][0]["kind"], verdict.outputs[0].kind);
    let mut text = Vec::new();
    files::predictions_csv(&judged, &mut text).unwrap();
    assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), rows + 1);
    assert!(judged.outputs[0].answers.same_truth(&judged.outputs[0].answers));
    let output = verdict.outputs.into_iter().next().unwrap();
    (judged, output)
}

#[track_caller]
fn agrees(output: &OutputVerdict, kind: &str, names: &[&str], tolerance: f64) {
    for name in names {
        let (right, score) = (golden(&format!("{kind}/{name}"))[0], output.score(name).unwrap());
        assert!((score.value - right).abs() < tolerance, "{name}: {} and {right}", score.value);
    }
}

#[test]
fn sets_are_judged_as_scikit_learn_does() {
    let names: Arc<[String]> = (0..5).map(|i| format!("n{i}")).collect();
    let (truth, p) = (golden("set/truth"), golden("set/p"));
    let row = |values: &[f64]| Answer::Several(values.iter().map(|&x| x as f32).collect());
    let mut answers = Answers::like(&row(&p[..5]), &names, &Meaning::Numbers, &[5]).unwrap();
    for (truth, p) in truth.chunks(5).zip(p.chunks(5)) {
        answers.push(&row(truth), &row(p)).unwrap();
    }
    assert!(answers.push(&row(&[1.0]), &row(&[0.5])).is_err());
    let shares = Baseline::frequencies(vec![0.3, 0.3, 0.6, 0.3, 0.0]);
    let (_, output) = verdict(answers, vec![shares]);
    let scores = [
        "subset_accuracy",
        "jaccard",
        "f1_micro",
        "f1_macro",
        "precision_micro",
        "recall_micro",
        "hamming_loss",
        "log_loss",
    ];
    agrees(&output, "set", &scores, 1e-9);
    let jaccard = output.score("jaccard").unwrap();
    let (low, high) = jaccard.interval.unwrap();
    assert!(low < jaccard.value && jaccard.value < high);
    assert_eq!((output.classes.len(), output.kind), (5, "set"));
    assert!(output.confusion.is_none());
    // The baseline always answers the third name.
    let (name, values) = &output.baselines[0];
    assert_eq!(name, "frequencies");
    assert!(values[0] < output.score("subset_accuracy").unwrap().value);
    assert!(!output.worst[0].truth.is_empty() || !output.worst[0].answer.is_empty());
}

#[test]
fn quantiles_are_judged_by_pinball_loss_and_coverage() {
    let at: Arc<[f64]> = vec![0.1, 0.5, 0.9].into();
    let (truth, values) = (golden("band/truth"), golden("band/values"));
    let said = |values: &[f64]| Answer::Quantiles { at: at.clone(), values: values.to_vec() };
    let none: Arc<[String]> = Vec::new().into();
    let mut answers = Answers::like(&said(&values[..12]), &none, &Meaning::Frames, &[4]).unwrap();
    for (truth, values) in truth.chunks(4).zip(values.chunks(12)) {
        answers.push(&Answer::Numbers(truth.to_vec()), &said(values)).unwrap();
    }
    if let Answers::Forecast { scale, .. } = &mut answers {
        *scale = vec![2.0; 30];
    }
    let before: Vec<&[f64]> = vec![&[9.0]; 30];
    let (_, output) = verdict(answers, vec![Baseline::seasonal(&before, 1, 4)]);
    agrees(&output, "band", &["pinball", "coverage_80", "width_80", "mae"], 1e-12);
    // MASE is that of the median, and half of the error where the scale is 2.
    let value = |name: &str| output.score(name).unwrap().value;
    assert!((value("mase") - value("mae") / 2.0).abs() < 1e-12);
    // One number for all quantiles: half of the absolute error, on average.
    let at = |name: &str| output.scores.iter().position(|score| score.name == name).unwrap();
    let (_, last) = &output.baselines[0];
    assert!((last[at("pinball")] - last[at("mae")] / 2.0).abs() < 1e-9);
    assert_eq!(last[at("width_80")], 0.0);
}

#[test]
fn pictures_are_judged_by_what_they_look_like() {
    let (truth, answer) = (golden("picture/truth"), golden("picture/answer"));
    let none: Arc<[String]> = Vec::new().into();
    let said = Answer::Numbers(answer);
    let mut answers = Answers::like(&said, &none, &Meaning::Image, &[3, 20, 17]).unwrap();
    answers.push(&Answer::Numbers(truth.clone()), &said).unwrap();
    let (_, output) = verdict(answers.clone(), vec![]);
    agrees(&output, "picture", &["psnr", "ssim"], 1e-9);
    answers.push(&Answer::Numbers(truth.clone()), &Answer::Numbers(truth)).unwrap();
    let (_, output) = verdict(
        answers.clone(),
        vec![Baseline::mean_picture(vec![900.0, 25.0, 18.6, 0.2, 900.0, 25.0, 18.6, 0.2])],
    );
    assert_eq!(output.worst[1].answer, "equal, SSIM 1.0000, mean error 0.0000");
    assert_eq!(output.baselines[0].1[2], 30.0);
    assert!(answers.push(&Answer::Numbers(vec![1.0]), &Answer::Numbers(vec![1.0])).is_err());
}

#[test]
fn vectors_are_judged_by_distance_and_direction() {
    let none: Arc<[String]> = Vec::new().into();
    let said = |values: [f64; 2]| Answer::Numbers(values.to_vec());
    let mut answers = Answers::like(&said([0.0; 2]), &none, &Meaning::Numbers, &[2]).unwrap();
    answers.push(&said([3.0, 4.0]), &said([6.0, 8.0])).unwrap();
    answers.push(&said([1.0, 0.0]), &said([0.0, 1.0])).unwrap();
    let (_, output) = verdict(answers, vec![Baseline::mean_vector(vec![2.0, 2.0])]);
    let value = |name: &str| output.score(name).unwrap().value;
    assert_eq!((output.kind, value("cosine")), ("vector", 0.5));
    assert_eq!(value("mse"), (9.0 + 16.0 + 1.0 + 1.0) / 4.0);
}
