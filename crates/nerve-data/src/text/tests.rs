use nerve_formats::spec::{Value, check};

use super::*;

fn trained(name: &str, given: &[(&str, Value)], texts: &[&str]) -> Arc<dyn Tokenizer> {
    let entry = find(name).unwrap();
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let args = check(entry.spec, &given).unwrap();
    let mut training = (entry.begin)(&args, Path::new("")).unwrap();
    texts.iter().for_each(|text| training.observe(text));
    training.finish().unwrap()
}

fn encoded(tokenizer: &dyn Tokenizer, text: &str) -> Vec<i32> {
    let mut tokens = vec![7];
    tokenizer.encode(text, &mut tokens);
    tokens
}

/// What a tokenizer that knows all of the text makes of it.
fn cut(name: &str, given: &[(&str, Value)], text: &str) -> Vec<String> {
    let given = [&[("min_count", Value::Int(1))], given].concat();
    let tokenizer = trained(name, &given, &[text]);
    encoded(&*tokenizer, text).iter().map(|&token| tokenizer.decode(&[token])).collect()
}

#[test]
fn words_are_those_of_unicode() {
    assert_eq!(
        cut("words", &[], "Don't pay 3.50, it's the WORLD\u{2019}s worst\u{2026}"),
        ["don't", "pay", "3.50", ",", "it's", "the", "world\u{2019}s", "worst", ".", ".", "."]
    );
    assert_eq!(
        cut("words", &[], "\u{6211}\u{559C}\u{6B22}\u{FF01}"),
        ["\u{6211}", "\u{559C}", "\u{6B22}", "!"]
    );
    let no_marks = [("punctuation", Value::Bool(false)), ("lower", Value::Bool(false))];
    assert_eq!(cut("words", &no_marks, "Oh no -- not again :-("), ["Oh", "no", "not", "again"]);
    assert_eq!(cut("words", &[("mask_digits", Value::Bool(true))], "in 1987"), ["in", "0000"]);
    // What looks alike is alike: a composed and a decomposed accent, full-width letters.
    let [a, b] =
        ["caf\u{E9} \u{FF21}\u{FF22}", "cafe\u{301} ab"].map(|text| cut("words", &[], text));
    assert_eq!(a, b);
    assert!(
        cut("words", &[], "a\u{0}b \u{7}\t c")
            .iter()
            .all(|word| ["a", "b", "c"].contains(&&**word))
    );
}

#[test]
fn characters_are_cut_without_double_blanks() {
    assert_eq!(cut("characters", &[], " A\u{301}b \t\n c\u{0} "), ["\u{E1}", "b", " ", "c"]);
}

#[test]
fn neighbours_become_tokens_at_the_end() {
    let given = [("ngrams", Value::Int(3)), ("min_count", Value::Int(1))];
    let tokenizer = trained("words", &given, &["not so bad"]);
    // Three words, two pairs, one triple; a pair that is not known says nothing.
    assert_eq!(tokenizer.vocabulary(), 8);
    assert_eq!(encoded(&*tokenizer, "not so bad").len(), 6);
    assert_eq!(encoded(&*tokenizer, "so not bad").len(), 3);
    assert_eq!(tokenizer.decode(&encoded(&*tokenizer, "not so bad")), "not so bad");
    let characters = trained("characters", &given, &["abc"]);
    assert_eq!(characters.decode(&encoded(&*characters, "abcd")), "abc(unknown)");
}

#[test]
fn the_most_frequent_come_first_and_equals_by_name() {
    let texts = ["b a c", "c b", "d"];
    let order = |vocab: i64| {
        let given = [("vocab", Value::Int(vocab)), ("min_count", Value::Int(1))];
        let tokenizer = trained("words", &given, &texts);
        (2..tokenizer.vocabulary() as i32).map(|i| tokenizer.decode(&[i])).collect::<Vec<_>>()
    };
    assert_eq!(order(10), ["b", "c", "a", "d"]);
    assert_eq!(order(3), ["b", "c", "a"]);
}

/// A text of about 2,000 words, always the same.
fn text() -> String {
    let stems =
        ["lo", "new", "wid", "est", "er", "\u{4F60}\u{597D}", "na\u{EF}ve", "low", "ly", "s"];
    let mut random = crate::Random::keyed(&[5]);
    let mut pick = || stems[random.below(random.clone().below(9) + 1) as usize];
    (0..2000)
        .map(|i| format!("{}{}{}", pick(), pick(), if i % 7 == 0 { ", " } else { " " }))
        .collect()
}

#[test]
fn byte_pairs_are_those_of_the_reference_trainer() {
    use tokenizers::models::bpe::{BPE, BpeTrainer};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{AddedToken, TokenizerBuilder};

    let text = text();
    let ours = trained("bpe", &[("vocab", Value::Int(400))], &[&text]);
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(400)
        .min_frequency(2)
        .special_tokens(["[PAD]", "[UNK]"].map(|name| AddedToken::from(name, true)).to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut theirs =
        TokenizerBuilder::<_, tokenizers::normalizers::unicode::NFC, _, ByteLevel, ByteLevel>::new(
        )
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(ByteLevel::default()))
        .with_post_processor(None)
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .unwrap();
    theirs.train(&mut trainer, std::iter::once(&text)).unwrap();
    let vocab = theirs.get_vocab(true);
    let state = ours.state();
    let names = state["tokenizer"]["model"]["vocab"].as_object().unwrap();
    assert_eq!(names.len(), vocab.len());
    for (name, number) in names {
        assert_eq!(vocab.get(name).map(|&number| u64::from(number)), number.as_u64(), "{name}");
    }
    let ids: Vec<i32> =
        theirs.encode(&*text, false).unwrap().get_ids().iter().map(|&id| id as i32).collect();
    assert_eq!(encoded(&*ours, &text), ids);
}

#[test]
fn no_text_is_unknown_to_byte_pairs() {
    let tokenizer = trained("bpe", &[("vocab", Value::Int(320))], &["the cat sat on the cat"]);
    for text in ["the hat", "\u{1F600}\u{0}\u{7F}", "[PAD] [UNK]", "\u{6211}\u{559C}\u{6B22}"] {
        let tokens = encoded(&*tokenizer, text);
        assert!(tokens.iter().all(|&token| token > UNKNOWN), "{text} {tokens:?}");
        assert_eq!(tokenizer.decode(&tokens).trim_start(), text);
    }
    assert_eq!(encoded(&*tokenizer, "the cat").len(), 2);
    assert!(encoded(&*tokenizer, "").is_empty());
}

fn file(json: &str) -> Result<Arc<dyn Tokenizer>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
    let args = check(ready::ENTRY.spec, &[("path".into(), Value::text("tokenizer.json"))]).unwrap();
    let tokenizer = (ready::ENTRY.begin)(&args, folder.path())?.finish()?;
    let again = (ready::ENTRY.restore)(&args, &tokenizer.state())?;
    assert_eq!(again.vocabulary(), tokenizer.vocabulary());
    Ok(again)
}

const WORD_PIECE: &str = r###"{"version":"1.0","truncation":{"max_length":2,"strategy":"LongestFirst","stride":0,"direction":"Right"},
"padding":null,"added_tokens":[{"id":3,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":null,"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
"vocab":{"[PAD]":0,"un":1,"[UNK]":2,"[CLS]":3,"##aff":4,"##able":5,"!":6}}}"###;

const UNIGRAM: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{"type":"NFKC"},
"pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true},"post_processor":null,
"decoder":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true},
"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["\u2581",-3.0],["\u2581he",-2.0],["llo",-2.5],["l",-4.0],["o",-4.0]],"byte_fallback":false}}"#;

#[test]
fn word_pieces_from_a_file() {
    let tokenizer = file(WORD_PIECE).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.unknown()), (7, 2));
    // The truncation of the file does not matter: `max_len` of the feature does.
    assert_eq!(encoded(&*tokenizer, "Unaffable! Xyz"), [1, 4, 5, 6, 2]);
    assert_eq!(tokenizer.decode(&[1, 4, 5, 6, 0, 0]), "unaffable!");
}

#[test]
fn what_is_added_around_a_text_stays_when_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let around = r#""post_processor":{"type":"BertProcessing","sep":["!",6],"cls":["[CLS]",3]}"#;
    std::fs::write(&path, WORD_PIECE.replace("\"post_processor\":null", around)).unwrap();
    let tokenizer = read_tokenizer(&path, true).unwrap();
    let within = |most| {
        let mut tokens = Vec::new();
        tokenizer.encode_within("unaffable un un", most, &mut tokens);
        tokens
    };
    assert_eq!(within(100), [3, 1, 4, 5, 1, 1, 6]);
    assert_eq!(within(5), [3, 1, 4, 5, 6]);
    assert_eq!(within(2), [3, 6]);
    assert_eq!(within(1), [3]);
    assert_eq!(within(0), [0; 0]);
}

#[test]
fn unigrams_from_a_file_make_room_for_padding() {
    let tokenizer = file(UNIGRAM).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.unknown()), (7, 1));
    assert_eq!(encoded(&*tokenizer, "hello"), [3, 4]);
    assert_eq!(tokenizer.decode(&[3, 4]), "hello");
    assert_eq!(encoded(&*tokenizer, "z"), [2, 1]);
}

#[test]
fn damaged_files_are_errors_that_say_which() {
    for json in [
        "",
        "{",
        "[]",
        "{}",
        "\u{0}",
        &"[".repeat(100_000),
        &WORD_PIECE.replace("WordPiece", "Nothing"),
    ] {
        let error = file(json).err().unwrap();
        assert!(error.contains("tokenizer.json: "), "{error}");
    }
    let large = WORD_PIECE.replace("\"!\":6", "\"!\":4294967295");
    assert!(file(&large).err().unwrap().ends_with("the token number 4294967295, above 4194304"));
    for at in (0..UNIGRAM.len()).filter(|&at| UNIGRAM.is_char_boundary(at)) {
        assert!(file(&UNIGRAM[..at]).is_err());
    }
}

/// Calls `f` with `json` after each single change of one of its values.
fn changed(json: &Json, f: &mut impl FnMut(&Json)) {
    let others = ["null", "-1", "1e300", "\"\"", "\"(((\"", "[]", "{}", "true", "4294967296"];
    let paths = paths(json, String::new());
    for (path, other) in paths.iter().flat_map(|path| others.map(|other| (path, other))) {
        let mut json = json.clone();
        *json.pointer_mut(path).unwrap() = serde_json::from_str(other).unwrap();
        f(&json);
    }
}

/// The pointers to all values within `json`.
fn paths(json: &Json, path: String) -> Vec<String> {
    let within: Vec<String> = match json {
        Json::Array(values) => (0..values.len()).map(|i| i.to_string()).collect(),
        Json::Object(values) => values.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let below = within.iter().flat_map(|key| {
        let key = key.replace('~', "~0").replace('/', "~1");
        let path = format!("{path}/{key}");
        paths(json.pointer(&format!("/{key}")).unwrap(), path)
    });
    below.chain([path.clone()]).collect()
}

#[test]
fn any_changed_value_is_an_error_or_another_tokenizer() {
    let mut tokens = Vec::new();
    let mut read = 0;
    for json in [WORD_PIECE, UNIGRAM] {
        changed(&serde_json::from_str(json).unwrap(), &mut |json| {
            if let Ok(tokenizer) = ready::Ready::new(json.clone(), true) {
                read += 1;
                tokenizer.encode("Unaffable! \u{6211} hello", &mut tokens);
                let vocabulary = tokenizer.vocabulary() as i32;
                assert!(tokens.iter().all(|token| (1..vocabulary).contains(token)), "{json}");
            }
        });
    }
    assert!(read > 50, "{read} were read");
}

#[test]
fn names_are_unique_and_every_kind_is_described() {
    let mut names: Vec<&str> = registry()
        .iter()
        .flat_map(|entry| [&[entry.spec.name], entry.spec.aliases].concat())
        .collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert!(specs().iter().all(|spec| !spec.doc.is_empty()));
}

#[test]
fn states_are_checked() {
    for name in ["words", "characters", "bpe"] {
        let entry = find(name).unwrap();
        let args = check(entry.spec, &[]).unwrap();
        for state in
            ["null", "{}", r#"{"names":[1]}"#, r#"{"names":["a","a"]}"#, r#"{"tokenizer":3}"#]
        {
            let state = serde_json::from_str(state).unwrap();
            assert!((entry.restore)(&args, &state).is_err(), "{name} {state}");
        }
    }
}
