//! Splits of tables.

use std::collections::BTreeSet;

use nerve_formats::spec::{Args, Item, Value, check};
use proptest::prelude::*;

use super::*;
use crate::{Cells, Column, Origin};

fn item(kind: &str, given: &[(&str, Value)]) -> Item {
    let given: Vec<(String, Value)> =
        given.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    let spec = specs().into_iter().find(|spec| spec.answers_to(kind)).expect(kind);
    let args: Args = check(spec, &given).expect("the arguments of a test");
    Item { name: spec.name, args }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_string().into())
}

fn fractions(shares: &[f64]) -> Value {
    Value::List(shares.iter().map(|share| Value::Float(*share)).collect())
}

fn table(name: &str, cells: &[String]) -> Table {
    let cells = Cells::Text(cells.iter().map(|text| Some(&text[..])).collect());
    Table::new(vec![Column { name: name.into(), cells }], Origin::default()).unwrap()
}

fn numbers(n: usize, text: impl Fn(usize) -> String) -> Vec<String> {
    (0..n).map(text).collect()
}

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

fn assert_partition(parts: &Parts, rows: &[usize]) {
    let mut union = [&parts.train[..], &parts.validation, &parts.test].concat();
    union.sort_unstable();
    assert_eq!(union, rows, "disjoint and complete");
    assert!([&parts.train, &parts.validation, &parts.test].iter().all(|part| part.is_sorted()));
}

#[test]
fn every_way_is_a_partition_of_the_rows_that_are_used() {
    let days = numbers(300, |i| format!("2024-{:02}-{:02}", i / 25 % 12 + 1, i % 25 + 1));
    let classes = numbers(300, |i| format!("{}", i % 3));
    let used: Vec<usize> = (0..300).filter(|i| i % 7 != 0).collect();
    for (kind, cells) in [
        ("random", &classes),
        ("stratify", &classes),
        ("group", &days),
        ("hash", &days),
        ("time", &days),
    ] {
        let given = if kind == "random" { vec![] } else { vec![("column", text("x"))] };
        let parts = parts(&item(kind, &given), &table("x", cells), &used, 3).unwrap();
        assert_partition(&parts, &used);
        assert!(parts.test.len() >= 10 && parts.validation.len() >= 10, "{kind} {parts:?}");
    }
}

#[test]
fn a_part_without_a_share_is_empty() {
    let cells = numbers(100, |i| i.to_string());
    let split = |shares| {
        parts(
            &item("random", &[("fractions", fractions(shares))]),
            &table("x", &cells),
            &all(100),
            1,
        )
    };
    let found = split(&[0.8, 0.0, 0.2]).unwrap();
    assert_eq!((found.train.len(), found.validation.len(), found.test.len()), (80, 0, 20));
    let found = split(&[0.9, 0.1]).unwrap();
    assert_eq!((found.validation.len(), found.test.len()), (10, 0));
    assert!(split(&[0.0, 0.5, 0.5]).is_err());
    assert!(split(&[0.5, 0.2, 0.2]).is_err());
}

#[test]
fn groups_stay_together() {
    let cells = numbers(500, |i| format!("patient {}", i * i % 41));
    let table = table("x", &cells);
    let of = |rows: &[usize]| rows.iter().map(|&row| cells[row].clone()).collect::<BTreeSet<_>>();
    let split = item("group", &[("column", text("x"))]);
    let found = parts(&split, &table, &all(500), 1).unwrap();
    assert_partition(&found, &all(500));
    assert!(of(&found.train).is_disjoint(&of(&found.test)));
    assert!(of(&found.train).is_disjoint(&of(&found.validation)));
    assert_ne!(found, parts(&split, &table, &all(500), 2).unwrap());
    for fold in folds(&split, &table, &all(500), 5, 0.2, 1).unwrap() {
        assert_partition(&fold, &all(500));
        assert!(of(&fold.train).is_disjoint(&of(&fold.test)));
        assert!(of(&fold.train).is_disjoint(&of(&fold.validation)));
    }
}

#[test]
fn a_hashed_row_stays_when_rows_are_added() {
    let cells = numbers(1000, |i| format!("id{i}"));
    let split = item("hash", &[("column", text("x"))]);
    let before = parts(&split, &table("x", &cells[..500]), &all(500), 7).unwrap();
    let after = parts(&split, &table("x", &cells), &all(1000), 7).unwrap();
    let first = |rows: &[usize]| rows.iter().copied().filter(|&row| row < 500).collect::<Vec<_>>();
    assert_eq!((before.test, before.train), (first(&after.test), first(&after.train)));
    assert!((70..130).contains(&after.test.len()), "{}", after.test.len());
    let mut without = cells;
    without[3] = String::new();
    let error = parts(&split, &table("x", &without), &all(1000), 7).unwrap_err().to_string();
    assert!(error.contains("row 4") && error.contains("an id to split by"), "{error}");
}

#[test]
fn time_learns_from_the_past_alone() {
    // Newest first, two rows a day.
    let cells = numbers(200, |i| format!("{:02}.{:02}.2024 12:00", 10 - (i / 2) % 10, 10 - i / 20));
    let table = table("x", &cells);
    let date = |row: usize| crate::civil::read(&cells[row], "%d.%m.%Y %H:%M").unwrap().0;
    let split = |given: &[(&str, Value)]| {
        let given = [&[("column", text("x"))][..], given].concat();
        parts(&item("time", &given), &table, &all(200), 0)
    };
    let found = split(&[]).unwrap();
    assert_partition(&found, &all(200));
    assert_eq!((found.test.len(), found.validation.len()), (20, 20));
    let last = |rows: &[usize]| rows.iter().map(|&row| date(row)).fold(f64::MIN, f64::max);
    let first = |rows: &[usize]| rows.iter().map(|&row| date(row)).fold(f64::MAX, f64::min);
    assert!(last(&found.train) < first(&found.validation));
    assert!(last(&found.validation) < first(&found.test));
    // Three days, two rows each; the ten days before the first of the test.
    let found = split(&[("test", text("3d")), ("val", Value::Float(0.0))]).unwrap();
    assert_eq!((found.test.len(), found.validation.len()), (6, 0));
    let found = split(&[("test", text("3d")), ("val", text("2d"))]).unwrap();
    assert_eq!((found.test.len(), found.validation.len()), (6, 4));
    let error = split(&[("test", text("soon"))]).unwrap_err().to_string();
    assert!(error.contains("length of time"), "{error}");
    let error =
        folds(&item("time", &[("column", text("x"))]), &table, &all(200), 5, 0.1, 0).unwrap_err();
    assert!(error.to_string().contains("comes after it"), "{error}");
}

#[test]
fn the_last_of_each_user_are_left_out() {
    let users =
        Cells::Text(numbers(30, |i| format!("{}", i % 3)).iter().map(|t| Some(&t[..])).collect());
    let times = Cells::Numbers((0..30).map(|i| f64::from(i * 7 % 30)).collect());
    let column = |name: &str, cells| Column { name: name.into(), cells };
    let table =
        Table::new(vec![column("user", users), column("ts", times.clone())], Origin::default())
            .unwrap();
    let split = item(
        "time",
        &[("column", text("ts")), ("per", text("user")), ("leave_out", Value::Int(2))],
    );
    let found = parts(&split, &table, &all(30), 0).unwrap();
    assert_partition(&found, &all(30));
    assert_eq!((found.test.len(), found.validation.len()), (6, 6));
    let Cells::Numbers(times) = times else { unreachable!() };
    for user in 0..3 {
        let of = |rows: &[usize]| {
            rows.iter().filter(|&&r| r % 3 == user).map(|&r| times[r]).collect::<Vec<_>>()
        };
        let least = of(&found.test).into_iter().fold(f64::MAX, f64::min);
        assert!(of(&found.train).into_iter().chain(of(&found.validation)).all(|time| time < least));
    }
}

#[test]
fn fixed_parts_are_those_of_the_data() {
    let cells = numbers(6, |i| ["train", "Train", "val", "test", "dev", "training"][i].to_string());
    let split = item("fixed", &[("column", text("x"))]);
    let found = parts(&split, &table("x", &cells), &all(6), 0).unwrap();
    assert_eq!(found, Parts { train: vec![0, 1, 5], validation: vec![2, 4], test: vec![3] });
    let counts = |counts: &[i64]| {
        let counts = Value::List(counts.iter().map(|count| Value::Int(*count)).collect());
        parts(&item("fixed", &[("counts", counts)]), &table("x", &cells), &all(6), 0)
    };
    assert_eq!(counts(&[3, 0, 3]).unwrap().test, [3, 4, 5]);
    assert!(counts(&[3, 2]).unwrap_err().to_string().contains("add up to 6"));
    let split = item("fixed", &[("column", text("x"))]);
    let cells = numbers(2, |i| ["train", "holdout"][i].to_string());
    let error = parts(&split, &table("x", &cells), &all(2), 0).unwrap_err().to_string();
    assert!(error.contains("row 2") && error.contains("train, val or test"), "{error}");
    assert!(parts(&item("fixed", &[]), &table("x", &cells), &all(2), 0).is_err());
}

#[test]
fn columns_that_do_not_suit_are_refused() {
    let cells = numbers(100, |i| i.to_string());
    let split = |column| {
        parts(&item("stratify", &[("column", text(column))]), &table("label", &cells), &all(100), 0)
    };
    assert!(split("lable").unwrap_err().to_string().contains("did you mean `label`"));
    assert!(split("label").unwrap_err().to_string().contains("100 different values"));
    let table = table("x", &cells);
    for k in [0, 1, 101] {
        assert!(folds(&item("random", &[]), &table, &all(100), k, 0.0, 0).is_err(), "{k} folds");
    }
}

/// Sizes of scikit-learn 1.9.1's `StratifiedKFold(k)` for labels `i * i % m` of 0..n: the test counts of each class, in
/// the order of appearance.
#[test]
fn golden_folds_have_the_sizes_of_scikit_learn() {
    let cases: [(usize, usize, usize, &[&[usize]]); 2] = [
        (50, 7, 4, &[&[2, 4, 3, 4], &[2, 4, 3, 4], &[2, 3, 4, 3], &[2, 3, 4, 3]]),
        (23, 3, 3, &[&[3, 5], &[3, 5], &[2, 5]]),
    ];
    for (n, m, k, expected) in cases {
        let labels = numbers(n, |i| (i * i % m).to_string());
        let mut names: Vec<&String> = Vec::new();
        labels.iter().for_each(|name| {
            if !names.contains(&name) {
                names.push(name)
            }
        });
        let split = item("stratify", &[("column", text("x"))]);
        let found = folds(&split, &table("x", &labels), &all(n), k, 0.0, 9).unwrap();
        for (fold, sizes) in found.iter().zip(expected) {
            let count =
                |name: &&String| fold.test.iter().filter(|&&row| labels[row] == **name).count();
            assert_eq!(names.iter().map(count).collect::<Vec<_>>(), *sizes, "{n} {k}");
        }
    }
}

proptest! {
    #[test]
    fn folds_test_every_row_once(n in 20usize..200, k in 2usize..6, seed: u64) {
        let cells = numbers(n, |i| (i % 2).to_string());
        let table = table("x", &cells);
        for kind in ["random", "stratify"] {
            let given = if kind == "random" { vec![] } else { vec![("column", text("x"))] };
            let found = folds(&item(kind, &given), &table, &all(n), k, 0.2, seed).unwrap();
            let mut tests: Vec<usize> = found.iter().flat_map(|fold| fold.test.clone()).collect();
            tests.sort_unstable();
            prop_assert_eq!(tests, all(n));
            for fold in &found {
                assert_partition(fold, &all(n));
                prop_assert!(fold.test.len() == n / k || fold.test.len() == n / k + 1);
            }
        }
    }
}

#[test]
fn a_row_that_comes_alone_finds_the_part_it_has_among_the_others() {
    let ids = table("x", &numbers(500, |i| format!("id {i}")));
    let named = table("x", &numbers(500, |i| ["train", "dev", "TEST"][i % 3].to_string()));
    let hash =
        |shares: &[f64]| item("hash", &[("column", text("x")), ("fractions", fractions(shares))]);
    for (item, table) in [
        (hash(&[0.8, 0.1, 0.1]), &ids),
        (hash(&[0.7, 0.0, 0.3]), &ids),
        (hash(&[0.9, 0.1]), &ids),
        (item("fixed", &[("column", text("x"))]), &named),
    ] {
        let together = parts(&item, table, &all(500), 7).unwrap();
        let alone = by_row(&item, 7).unwrap().unwrap();
        let mut found = [vec![], vec![], vec![]];
        all(500).into_iter().for_each(|row| found[alone.part(table, row).unwrap()].push(row));
        assert_eq!(found, [together.train, together.validation, together.test]);
    }
    assert!(by_row(&item("random", &[]), 7).unwrap().is_none());
    let group = item("group", &[("column", text("x"))]);
    assert!(by_row(&group, 7).unwrap().is_none());
    let split = by_row(&item("fixed", &[("column", text("x"))]), 7).unwrap().unwrap();
    let error = split.part(&ids, 3).unwrap_err().to_string();
    assert!(error.contains("expected train, val or test, found `id 3`"), "{error}");
}
