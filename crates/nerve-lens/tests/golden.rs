//! The same scores as scipy and the same decisions as Evidently; `golden.py` made the numbers.

use nerve_lens::drift::{Kind, Names, Numbers, Summary, Test};
use serde_json::Value;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn kind(case: &Value) -> Kind {
    if case["kind"] == "number" { Kind::Number } else { Kind::Name }
}

fn summary(case: &Value, side: &str) -> Summary {
    let cells = case[side].as_array().unwrap();
    match kind(case) {
        Kind::Number => {
            let mut numbers = Numbers::new(1 << 16);
            cells.iter().for_each(|cell| match cell.as_f64() {
                Some(number) => numbers.add(number),
                None => numbers.missing(),
            });
            Summary::Numbers(numbers.summary())
        }
        Kind::Name => {
            let mut names = Names::default();
            cells.iter().for_each(|cell| match cell.as_str() {
                Some(name) => names.add(name),
                None => names.missing(),
            });
            Summary::Names(names.summary())
        }
    }
}

/// As Evidently calls them.
fn name_there(test: Test) -> &'static str {
    match test {
        Test::KolmogorovSmirnov => "K-S p_value",
        Test::ChiSquared => "chi-square p_value",
        Test::Z => "Z-test p_value",
        Test::Wasserstein => "Wasserstein distance (normed)",
        Test::JensenShannon => "Jensen-Shannon distance",
        Test::Psi => "PSI",
    }
}

#[track_caller]
fn near(name: &str, found: f64, expected: f64) {
    let off = (found - expected).abs();
    assert!(off <= 1e-9 * expected.abs() + 1e-12, "{name}: {found}, expected {expected}");
}

#[test]
fn the_decisions_are_those_of_evidently() {
    let cases = cases();
    assert_eq!(cases.len(), 37);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let (reference, current) = (summary(case, "reference"), summary(case, "current"));
        let test = Test::of(&reference, &current);
        let verdict = test.judge(&reference, &current, None).unwrap();
        let theirs = &case["evidently"];
        assert_eq!(theirs["test"], name_there(test), "{name}");
        assert_eq!(theirs["threshold"], verdict.threshold, "{name}");
        assert_eq!(theirs["drifted"], verdict.drifted, "{name}: {verdict:?}");
        near(name, verdict.score, theirs["score"].as_f64().unwrap());
    }
    let drifted = cases.iter().filter(|case| case["evidently"]["drifted"] == true).count();
    assert!((10..28).contains(&drifted), "{drifted}");
}

#[test]
fn the_scores_are_those_of_scipy() {
    let mut compared = 0;
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let (reference, current) = (summary(&case, "reference"), summary(&case, "current"));
        for (test, expected) in case["scipy"].as_object().unwrap() {
            let found = Test::find(test).unwrap().score(&reference, &current).unwrap();
            near(&format!("{name}, {test}"), found, expected.as_f64().unwrap());
            compared += 1;
        }
    }
    assert!(compared > 90, "{compared}");
}

/// The reference as a model file keeps it, and what is asked as a server keeps it.
#[test]
fn little_room_decides_as_all_rows_do() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let reference = summary(&case, "reference").condensed();
        let current = summary(&case, "current");
        let reference = Summary::from_json(&reference.to_json()).unwrap();
        let verdict = Test::of(&reference, &current).judge(&reference, &current, None).unwrap();
        let theirs = &case["evidently"];
        assert_eq!(theirs["drifted"], verdict.drifted, "{name}: {verdict:?}");
        let expected = theirs["score"].as_f64().unwrap();
        assert!((verdict.score - expected).abs() < 0.003, "{name}: {verdict:?} {expected}");
    }
}

#[test]
fn tests_that_do_not_fit_say_so() {
    let mut names = Names::default();
    ["a", "b", "c"].into_iter().for_each(|name| names.add(name));
    let names = Summary::Names(names.summary());
    let none = Summary::Names(Names::default().summary());
    let error = |test: Test, current: &Summary| test.score(&names, current).unwrap_err();
    assert_eq!(error(Test::KolmogorovSmirnov, &names), "`ks` compares numbers, not names");
    assert_eq!(error(Test::Z, &names), "`z` compares two values, there are 3");
    assert_eq!(error(Test::Psi, &none), "no values in the current data");
    assert!(Test::find("kl").is_none());
}
