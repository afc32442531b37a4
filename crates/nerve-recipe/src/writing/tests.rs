use super::*;
use crate::data::Rows;
use crate::{Recipe, Session, Source};
use nerve_data::{Cells, Column, Origin, Random, Table};
use nerve_nn::generate::{Beam, Sampling, Strategy};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Words of digits, and the same from the end.
fn reversed(rows: usize, seed: u64) -> Table {
    let mut random = Random::keyed(&[seed]);
    let texts: Vec<[String; 2]> = (0..rows)
        .map(|_| {
            let length = 1 + random.below(4) as usize;
            let digits: Vec<String> = (0..length).map(|_| random.below(4).to_string()).collect();
            let back: Vec<String> = digits.iter().rev().cloned().collect();
            [digits.join(" "), back.join(" ")]
        })
        .collect();
    let column = |name: &str, i: usize| Column {
        name: name.into(),
        cells: Cells::Text(texts.iter().map(|row| Some(row[i].as_str())).collect()),
    };
    Table::new(vec![column("there", 0), column("back", 1)], Origin::default()).unwrap()
}

const RECIPE: &str = "task = \"generation\"\n[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"there\"\ntype = \"text\"\n\
    tokenizer = { type = \"words\", shared_with = \"back\" }\n\
    encoder = { type = \"transformer\", layers = 1, dim = 32, heads = 2 }\n\
    [[output]]\nname = \"back\"\ntype = \"text\"\n\
    decoder = { type = \"generator\", layers = 1, dim = 32, heads = 2 }\n\
    [trainer]\nepochs = 25\nbatch_size = 32\noptimizer = { type = \"adam\", lr = 3e-3 }\n";

fn trained(overrides: &[&str]) -> (Session, Rows) {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    let recipe = Recipe::load(Source::new("r.toml", RECIPE), &overrides).unwrap();
    let train = Rows::all(reversed(1600, 1));
    let tables = crate::Tables { train, validation: None, test: None };
    let session = Session::with(&recipe, &tables).unwrap();
    session.fit(Arc::new(AtomicBool::new(false)), None, &mut []).unwrap();
    (session, Rows::all(reversed(70, 2)))
}

fn said(predictor: &Predictor, rows: &Rows) -> Vec<String> {
    let mut texts = Vec::new();
    let each = |said: crate::Said| {
        let Answer::Text(text) = &said.answers[0] else { panic!("{said:?}") };
        texts.push(text.clone());
        Ok(())
    };
    predictor.answers(rows, false, each).unwrap();
    texts
}

#[test]
fn a_text_is_written_from_the_end_and_its_model_file_writes_the_same() {
    let (session, rows) = trained(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    session.write(&path).unwrap();
    let predictor = Predictor::open(&path).unwrap();
    let judged = predictor.judged("test", &rows, Some(&Rows::all(reversed(1600, 1)))).unwrap();
    let options = nerve_train::judge::Options::default();
    let verdict = nerve_train::judge::judge(&judged, &options).unwrap();
    let score = |name: &str| verdict.outputs[0].score(name).unwrap().value;
    assert_eq!((score("chrf"), score("token_accuracy")), (100.0, 1.0));
    assert!(score("perplexity") < 1.1, "{}", score("perplexity"));
    let [(copy, _), (unigram, known)] = &verdict.outputs[0].baselines[..] else { panic!() };
    assert_eq!((copy.as_str(), unigram.as_str()), ("copy of the source", "unigram"));
    // The order of the scores is bleu, chrf, token_accuracy, perplexity: four digits and an end.
    assert!(known[3] > 4.0 && known[3] < 5.5, "{known:?}");
    let greedy = said(&predictor, &rows);
    assert_eq!(greedy, said(&session.predictor(), &rows));
    // The likeliest text is what beams find too, and what is drawn from one token is no chance.
    let others = [
        Strategy::Beam(Beam { beams: 3, length_penalty: 1.0 }),
        Strategy::Sample(Sampling { top_k: Some(1), ..Sampling::default() }),
    ];
    for strategy in others {
        let mut writer = predictor.writer().unwrap().unwrap();
        writer.options().strategy = strategy;
        let slots = predictor.features().slots[..1].to_vec();
        let mut texts = Vec::new();
        for batch in predictor.loader(&rows, slots).unwrap().epoch(0, 0) {
            texts.extend(writer.batch(&batch.unwrap()).unwrap());
        }
        let texts: Vec<String> = texts
            .into_iter()
            .map(|it| if let Answer::Text(text) = it { text } else { panic!("{it:?}") })
            .collect();
        assert_eq!(texts, greedy);
    }
}

const LETTERS: &str = "task = \"generation\"\n[data]\npath = \"x.csv\"\n\
    [[output]]\nname = \"text\"\ntype = \"text\"\nend = false\n\
    tokenizer = { type = \"characters\", blanks = \"keep\", lower = false }\n\
    decoder = { type = \"generator\", layers = 1, dim = 32, heads = 2 }\n\
    generate = { method = \"sample\", temperature = 0.7 }\n\
    [trainer]\nepochs = 30\nbatch_size = 16\noptimizer = { type = \"adam\", lr = 3e-3 }\n";

/// Pieces of sixteen characters of one long text, in which each line counts on.
fn lines() -> Rows {
    let text: String = (0..1200).map(|i| ["one\n", "two ", "three\n"][i % 3]).collect();
    let letters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = letters.chunks(16).map(|piece| piece.iter().collect()).collect();
    let cells = Cells::Text(pieces.iter().map(|piece| Some(piece.as_str())).collect());
    let column = Column { name: "text".into(), cells };
    Rows::all(Table::new(vec![column], Origin::default()).unwrap())
}

#[test]
fn a_text_goes_on_for_longer_than_the_model_looks_back() {
    let recipe = Recipe::load(Source::new("r.toml", LETTERS), &[]).unwrap();
    let tables = crate::Tables { train: lines(), validation: None, test: None };
    let session = Session::with(&recipe, &tables).unwrap();
    session.fit(Arc::new(AtomicBool::new(false)), None, &mut []).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    session.write(&path).unwrap();
    let predictor = Predictor::open(&path).unwrap();
    let goes_on = |strategy: Option<Strategy>, seed| {
        let mut writer = predictor.writer().unwrap().unwrap();
        assert!(writer.continues());
        writer.options().max_new = 60;
        writer.options().seed = seed;
        if let Some(strategy) = strategy {
            writer.options().strategy = strategy;
        }
        let mut text = String::new();
        let mut tell = |piece: &str| {
            text.push_str(piece);
            ControlFlow::Continue(())
        };
        writer.stream("one\ntw", &mut tell).unwrap();
        text
    };
    let expected: String =
        "o three\none\ntwo three\none\ntwo three\none\ntwo three\none\ntwo three\n".into();
    assert_eq!(goes_on(Some(Strategy::Greedy), 0), expected[..60]);
    crate::machine::set_threads(1);
    let once = goes_on(None, 5);
    crate::machine::set_threads(2);
    assert_eq!(goes_on(None, 5), once);
    let judged = predictor.judged("test", &lines(), Some(&lines())).unwrap();
    let options = nerve_train::judge::Options::default();
    let verdict = nerve_train::judge::judge(&judged, &options).unwrap();
    let bits = verdict.outputs[0].score("bits_per_character").unwrap();
    let (name, unigram) = &verdict.outputs[0].baselines[0];
    assert_eq!((bits.name.as_str(), name.as_str()), ("bits_per_character", "unigram"));
    // Where a piece begins is a matter of chance, all the rest is not.
    assert!(bits.value < 0.4 && unigram[0] > 2.5, "{} {unigram:?}", bits.value);
    let rows = predictor.answers(&lines(), false, |_| Ok(())).unwrap_err().to_string();
    assert!(rows.contains("`nerve generate` asks it"), "{rows}");
}

/// Words of digits, and for each digit the one before it.
fn before(rows: usize, seed: u64) -> Table {
    let digits = reversed(rows, seed);
    let Cells::Text(there) = &digits.column("there").unwrap().cells else { panic!() };
    let tags = (0..rows).map(|row| {
        let text = there.get(row).unwrap();
        format!("x {}", &text[..text.len() - 1]).trim_end().to_string()
    });
    let tags: Vec<String> = tags.collect();
    let cells = Cells::Text(tags.iter().map(|text| Some(text.as_str())).collect());
    let there = Column { name: "there".into(), cells: Cells::Text(there.clone()) };
    let columns = vec![there, Column { name: "back".into(), cells }];
    Table::new(columns, Origin::default()).unwrap()
}

#[test]
fn each_step_of_an_input_is_named() {
    let recipe = "task = \"tagging\"\n[data]\npath = \"x.csv\"\n\
        [[input]]\nname = \"there\"\ntype = \"sequence\"\n\
        encoder = { type = \"rnn\", units = 24, bidirectional = true, width = 16 }\n\
        [[output]]\nname = \"back\"\ntype = \"sequence\"\n\
        [trainer]\nepochs = 25\nbatch_size = 32\noptimizer = { type = \"adam\", lr = 1e-2 }\n";
    let recipe = Recipe::load(Source::new("r.toml", recipe), &[]).unwrap();
    let tables = crate::Tables { train: Rows::all(before(800, 1)), validation: None, test: None };
    let session = Session::with(&recipe, &tables).unwrap();
    session.fit(Arc::new(AtomicBool::new(false)), None, &mut []).unwrap();
    let (predictor, rows) = (session.predictor(), Rows::all(before(70, 2)));
    let judged = predictor.judged("test", &rows, Some(&tables.train)).unwrap();
    let options = nerve_train::judge::Options::default();
    let verdict = nerve_train::judge::judge(&judged, &options).unwrap();
    let accuracy = verdict.outputs[0].score("token_accuracy").unwrap().value;
    assert!(accuracy > 0.97, "{accuracy}");
    assert!(verdict.outputs[0].baselines[0].1[0] < 0.5);
    // As many tags as there are steps.
    let Cells::Text(there) = &rows.table.column("there").unwrap().cells else { panic!() };
    for (row, text) in said(&predictor, &rows).iter().enumerate() {
        assert_eq!(text.split(' ').count(), there.get(row).unwrap().split(' ').count(), "{text}");
    }
}
