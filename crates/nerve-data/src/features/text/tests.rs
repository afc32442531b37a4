use nerve_formats::spec::check;

use super::*;
use crate::{Array, Field, Row};

fn args(given: &[(&str, Value)]) -> Args {
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    check(&SPEC, &given).unwrap()
}

fn setting(role: Role) -> Setting {
    Setting { role, folder: "".into() }
}

fn cells(texts: &[Option<&str>]) -> Cells {
    Cells::Text(texts.iter().copied().collect())
}

fn fitted(args: &Args, cells: &Cells) -> Arc<dyn Feature> {
    let mut fit = begin(args, &setting(Role::Input)).unwrap();
    (0..cells.len()).for_each(|row| fit.observe(cells, row).unwrap());
    fit.finish().unwrap()
}

fn stored(feature: &dyn Feature, cells: &Cells, row: usize) -> Vec<i32> {
    let (shape, element) = feature.stored();
    let mut arrays = [Array::zeros(&Field::new("text", &shape, element), 1)];
    feature.store(cells, row, Row::new(&mut arrays, 0).slice(0)).unwrap();
    arrays[0].i32().to_vec()
}

fn words(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter().map(|(key, value)| (key.to_string(), value.clone()));
    let name = ("type".to_string(), Value::text("words"));
    Value::Table([name].into_iter().chain(entries).collect())
}

#[test]
fn a_text_becomes_tokens_with_padding_at_the_end() {
    let seen = cells(&[Some("the cat sat"), Some("the cat"), Some("the dog sat down")]);
    let feature = fitted(&args(&[("max_len", Value::Int(4))]), &seen);
    assert_eq!(feature.stored(), (vec![4], Element::I32));
    // the 3, then cat and sat 2 by name; dog and down once are unknown.
    assert_eq!(feature.meaning(), Meaning::Tokens { vocabulary: 5 });
    assert_eq!(stored(&*feature, &seen, 0), [2, 3, 4, 0]);
    assert_eq!(stored(&*feature, &seen, 2), [2, 1, 4, 1]);
    let new = cells(&[Some("SAT on the cat on the sat"), None, Some("  "), Some("CAT!")]);
    assert_eq!(stored(&*feature, &new, 0), [4, 1, 2, 3]);
    // Nothing is one unknown token, never padding alone.
    assert_eq!(stored(&*feature, &new, 1), [1, 0, 0, 0]);
    assert_eq!(stored(&*feature, &new, 2), [1, 0, 0, 0]);
    assert_eq!(stored(&*feature, &new, 3), [3, 1, 0, 0]);
}

#[test]
fn the_length_is_what_nearly_all_need_and_what_is_cut_is_told() {
    let long = "a b ".repeat(600);
    let mut texts = vec![Some("a b c"); 97];
    texts.extend([Some("a b c d e"), Some("a b c d e"), Some(&*long)]);
    let feature = fitted(&args(&[]), &cells(&texts));
    assert_eq!(feature.stored().0, [5]);
    let notes = feature.notes();
    assert!(notes[0].contains("5 of a text; 1.0 % of the texts are longer"), "{notes:?}");
    texts.iter_mut().for_each(|text| *text = Some(&long));
    assert_eq!(fitted(&args(&[]), &cells(&texts)).stored().0, [LONGEST]);
    texts[3] = None;
    let notes = fitted(&args(&[]), &cells(&texts)).notes();
    assert_eq!(notes[1], "1 of 100 texts are empty");
}

#[test]
fn it_is_restored_from_its_state_alone() {
    let seen = cells(&[Some("Ein Haus am See, 1987"), Some("das Haus am Meer, 2024"), None]);
    let kinds = [
        ("words", vec![("min_count", Value::Int(1)), ("ngrams", Value::Int(2))]),
        ("words", vec![("mask_digits", Value::Bool(true)), ("lower", Value::Bool(false))]),
        ("characters", vec![("ngrams", Value::Int(3))]),
        ("bpe", vec![("vocab", Value::Int(300))]),
    ];
    for (name, given) in kinds {
        let mut table = vec![("type".to_string(), Value::text(name))];
        table.extend(given.into_iter().map(|(key, value)| (key.to_string(), value)));
        let args = args(&[("tokenizer", Value::Table(table))]);
        let feature = fitted(&args, &seen);
        let text = feature.state().to_string();
        let state = serde_json::from_str(&text).unwrap();
        let again = restore(&args, &setting(Role::Input), &state).unwrap();
        assert_eq!(again.meaning(), feature.meaning());
        assert_eq!(again.state(), feature.state());
        for row in 0..3 {
            assert_eq!(stored(&*again, &seen, row), stored(&*feature, &seen, row), "{name}");
        }
        for wrong in
            ["null", "{}", r#"{"type":"words","max_len":0}"#, r#"{"type":"bpe","max_len":9}"#]
        {
            let state = serde_json::from_str(wrong).unwrap();
            assert!(restore(&args, &setting(Role::Input), &state).is_err(), "{name} {wrong}");
        }
    }
}

#[test]
fn what_cannot_be_a_text_is_refused() {
    let table = Cells::Arrays(Field::new("", &[2], Element::U8), vec![1u8, 2].into());
    let mut fit = begin(&args(&[]), &setting(Role::Input)).unwrap();
    let refusal = fit.observe(&table, 0).unwrap_err();
    assert_eq!((&*refusal.expected, &*refusal.found), ("a text", "2 values"));
    assert_eq!(
        fit.finish().err().unwrap(),
        "no word stands 2 times in the training split: lower `min_count`"
    );
    let strict = args(&[("missing", Value::text("error"))]);
    let mut fit = begin(&strict, &setting(Role::Input)).unwrap();
    assert_eq!(fit.observe(&cells(&[Some(" ")]), 0).unwrap_err().found, "` `");
    assert_eq!(fit.observe(&cells(&[None]), 0).unwrap_err().found, "nothing");
    let augmented = args(&[("augment", Value::List(vec![Value::text("TokenDropout")].into()))]);
    let error = begin(&augmented, &setting(Role::Output)).err().unwrap();
    assert!(error.starts_with("`augment` changes texts that go in"), "{error}");
    let missing = args(&[(
        "tokenizer",
        Value::Table(vec![
            ("type".into(), Value::text("file")),
            ("path".into(), Value::text("nowhere/tokenizer.json")),
        ]),
    )]);
    let error = begin(&missing, &setting(Role::Input)).err().unwrap();
    assert!(error.starts_with("the tokenizer nowhere/tokenizer.json: "), "{error}");
}

#[test]
fn texts_are_augmented_in_training_alone_and_by_their_key() {
    let seen = cells(&[Some("a b c d e f g h"), Some("a b c d e f g h i i")]);
    let augment = Value::List(
        vec![
            Value::Table(vec![
                ("type".into(), Value::text("RandomDeletion")),
                ("probability".into(), Value::Float(0.3)),
            ]),
            Value::text("TokenDropout"),
            Value::text("RandomSwap"),
        ]
        .into(),
    );
    let plain = fitted(&args(&[]), &seen);
    assert!(!plain.delivers());
    let feature = fitted(&args(&[("augment", augment)]), &seen);
    assert!(feature.delivers());
    let values: Values = stored(&*feature, &seen, 0).into();
    let delivered = |random: Option<Random>| {
        let mut out = Values::zeros(Element::I32, 10);
        feature.deliver(&values, out.slice(0, 10), random, &mut Room::default());
        out
    };
    assert_eq!(delivered(None), values);
    let keyed = |key| delivered(Some(Random::keyed(&[key])));
    assert_eq!(keyed(3), keyed(3));
    let all: Vec<Values> = (0..20).map(keyed).collect();
    assert!(all.iter().filter(|&other| *other != values).count() > 15);
    for values in &all {
        let Values::I32(tokens) = values else { panic!("tokens are i32") };
        let end = tokens.iter().position(|&token| token == PADDING).unwrap();
        assert!(end > 0 && tokens[end..].iter().all(|&token| token == PADDING), "{tokens:?}");
    }
}

#[test]
fn sentences_look_like_text_and_names_do_not() {
    let column = |texts: &[&str]| {
        let cells = Cells::Text(texts.iter().map(|text| Some(*text)).collect());
        infer(&Column { name: "x".into(), cells })
    };
    let guess = column(&[
        "this film is rather good",
        "I did not like it at all",
        "a masterpiece of its kind",
    ]);
    assert_eq!(guess.unwrap().reason, "6 words in a cell on average, 3 of 3 cells differ");
    assert!(
        column(&[
            "\u{6211}\u{559C}\u{6B22}\u{8FD9}\u{672C}\u{4E66}\u{FF0C}\u{975E}\u{5E38}\u{597D}",
            "\u{4E0D}\u{503C}\u{5F97}\u{4E00}\u{8BFB}\u{7684}\u{4E66}\u{554A}"
        ])
        .is_some()
    );
    assert!(column(&["red", "green", "blue"]).is_none());
    assert!(
        column(&["one of the four classes", "one of the four classes", "one of the four classes"])
            .is_none()
    );
    assert!(infer(&Column { name: "x".into(), cells: Cells::Numbers(vec![1.0]) }).is_none());
}

#[test]
fn tokenizers_are_given_by_name_or_with_arguments() {
    let seen = cells(&[Some("a b a b")]);
    let by_name = fitted(&args(&[("tokenizer", Value::text("words"))]), &seen);
    let table = fitted(&args(&[("tokenizer", words(&[("ngrams", Value::Int(2))]))]), &seen);
    assert_eq!(by_name.meaning(), Meaning::Tokens { vocabulary: 4 });
    // a, b, and `a b`; `b a` stands once.
    assert_eq!(table.meaning(), Meaning::Tokens { vocabulary: 5 });
    assert_eq!(stored(&*table, &seen, 0), [2, 4, 2, 4, 3, 3]);
}
