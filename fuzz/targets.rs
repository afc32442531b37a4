//! What each fuzz target does with bytes: a function for every reader of bytes from outside. The fuzzer calls them with
//! whatever it makes up, and the tests of `nerve-cli` with the files of `corpus/`. Whatever the bytes are, each must come back.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nerve::data::source::{self, Options};
use nerve::data::{Cells, Column, Element, Field, Origin, Table, image_file, text};
use nerve::formats::kind::Kind;
use nerve::formats::onnx::Model;
use nerve::formats::pickle::Pickle;
use nerve::formats::rdata::read_rda;
use nerve::formats::safetensors::{Contents, SafeTensors};
use nerve::formats::wav::parse_wav;
use nerve::formats::{Idx, Limits, Npy, Reader, Zip, archive, npy, tfevents};
use nerve::recipe::{Card, Embedder, Features, Network, Recipe, Rows, Source};
use nerve::train::Checkpoints;
use nerve_serve::{Batching, Served, infer, rows};

/// A reader of outside bytes.
pub struct Target {
    /// Its name: that of the fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// Reads.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 23] = [
    Target { name: "safetensors", run: safetensors },
    Target { name: "npy", run: read_npy },
    Target { name: "npz", run: npz },
    Target { name: "archive", run: unpack },
    Target { name: "idx", run: idx },
    Target { name: "pickle", run: pickle },
    Target { name: "rdata", run: rdata },
    Target { name: "wav", run: wav },
    Target { name: "tfevents", run: events_of_tensorboard },
    Target { name: "onnx", run: onnx },
    Target { name: "kind", run: kind },
    Target { name: "csv", run: csv },
    Target { name: "json", run: json_lines },
    Target { name: "image", run: image },
    Target { name: "events", run: events_of_a_run },
    Target { name: "checkpoint", run: checkpoint },
    Target { name: "recipe", run: recipe },
    Target { name: "tokenizer", run: tokenizer },
    Target { name: "card", run: card },
    Target { name: "bert", run: bert },
    Target { name: "infer", run: infer_request },
    Target { name: "rows_json", run: rows_json },
    Target { name: "rows_csv", run: rows_csv },
];

/// Calls the target of that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    (target.run)(bytes);
}

/// Small enough that a bomb shows as an error and not as a full memory.
const LIMITS: Limits = Limits { max_bytes: 64 << 20, max_ratio: 200, free_bytes: 1 << 20 };

fn safetensors(bytes: &[u8]) {
    let Ok(file) = SafeTensors::from_bytes("fuzz", bytes) else { return };
    for tensor in file.iter() {
        let _ = (tensor.to_f64(), tensor.to_i64(), tensor.first_non_finite());
    }
}

fn read_npy(bytes: &[u8]) {
    let _ = npy::Contents::of(Reader::from_slice("fuzz", bytes));
    let _ = Npy::from_bytes("fuzz", bytes);
}

fn npz(bytes: &[u8]) {
    let Ok(zip) = Zip::from_bytes("fuzz", bytes.to_vec(), &LIMITS) else { return };
    for i in 0..zip.names().count() {
        let _ = npy::Contents::of(zip.stream(i));
        if let Ok(member) = zip.unpack(i) {
            let _ = Npy::from_bytes("fuzz", &member);
        }
    }
}

fn unpack(bytes: &[u8]) {
    let _ = archive::unpack("fuzz", bytes, &LIMITS, |_| true);
}

fn idx(bytes: &[u8]) {
    if let Ok(idx) = Idx::from_bytes("fuzz", bytes, &LIMITS) {
        let _ = idx.labels("fuzz", 10);
    }
}

fn pickle(bytes: &[u8]) {
    if let Ok(pickle) = Pickle::read("fuzz", bytes) {
        let _ = pickle.describe(pickle.root());
    }
}

fn rdata(bytes: &[u8]) {
    let _ = read_rda("fuzz", bytes);
}

fn wav(bytes: &[u8]) {
    if let Ok(sound) = parse_wav(Reader::from_slice("fuzz", bytes)) {
        let _ = sound.into_mono();
    }
}

fn events_of_tensorboard(bytes: &[u8]) {
    let _ = tfevents::read(&mut Reader::from_slice("fuzz", bytes));
}

fn onnx(bytes: &[u8]) {
    if let Ok(model) = Model::decode("fuzz", bytes) {
        // What was read can be written, and is the same again.
        assert!(Model::decode("again", &model.encode()).is_ok());
    }
}

fn kind(bytes: &[u8]) {
    let _ = Kind::of_bytes(bytes, &bytes[bytes.len() / 2..]);
}

thread_local! {
    /// A folder of this thread, for readers that take a path.
    static FOLDER: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

fn folder() -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        folder
            .get_or_insert_with(|| {
                let id = format!("{:?}", std::thread::current().id());
                let name = format!("nerve-fuzz-{}-{id}", std::process::id());
                let folder = std::env::temp_dir().join(name.replace(['(', ')'], ""));
                fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
                folder
            })
            .clone()
    })
}

/// The bytes as a file of that name.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("the folder for temporary files can be written");
    read(&path);
}

fn table(name: &str, bytes: &[u8]) {
    with_file(name, bytes, |path| {
        let _ = source::read(path, &Options::default());
    });
}

fn csv(bytes: &[u8]) {
    table("table.csv", bytes);
}

fn json_lines(bytes: &[u8]) {
    table("table.jsonl", bytes);
}

fn image(bytes: &[u8]) {
    let field = Field::new("image", &[3, 8, 8], Element::U8);
    with_file("image", bytes, |path| {
        let _ = (image_file::announced(path), image_file::read(path, &field));
    });
}

fn events_of_a_run(bytes: &[u8]) {
    with_file("events.jsonl", bytes, |path| {
        let _ = nerve_track::Reader::new(path).events();
    });
}

/// The bytes are the manifest of a checkpoint.
fn checkpoint(bytes: &[u8]) {
    let checkpoints = folder().join("checkpoints");
    let one = checkpoints.join("step-000000001-epoch-0001");
    fs::create_dir_all(&one).expect("the folder for temporary files can be written");
    fs::write(one.join("manifest.json"), bytes).expect("written");
    fs::write(one.join("state.safetensors"), b"\x02\0\0\0\0\0\0\0{}").expect("written");
    let _ = Checkpoints::open(checkpoints).map(|checkpoints| checkpoints.last());
}

fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(report) = Recipe::load(Source::new("fuzz", text), &[]) {
        let _ = (report.render(false), report.to_json());
    }
}

fn tokenizer(bytes: &[u8]) {
    with_file("tokenizer.json", bytes, |path| {
        let Ok(tokenizer) = text::read_tokenizer(path, true) else { return };
        let mut tokens = Vec::new();
        for text in ["", "A cat, 1987 Çé \u{1F600} 漢字", "\u{0}\u{202e}"] {
            tokenizer.encode_within(text, 7, &mut tokens);
            let _ = tokenizer.decode(&tokens);
        }
    });
}

/// The first line is the state of the features, the rest the recipe of a model.
fn card(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((features, recipe)) = text.split_once('\n') else { return };
    let _ = Card::read("fuzz", |key| match key {
        "format" => Some("nerve"),
        "format_version" => Some("2"),
        "recipe" => Some(recipe),
        "features" => Some(features),
        "trained" => Some("null"),
        _ => None,
    });
}

/// The bytes are `config.json` of a model folder; there are no weights.
fn bert(bytes: &[u8]) {
    let folder = folder().join("bert");
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    fs::write(folder.join("config.json"), bytes).expect("written");
    assert!(Embedder::open(&folder).is_err());
    let _ = Contents::read(folder.join("config.json"));
}

/// A model with a column of every kind that a request can fill.
const SERVED: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"a\"\ntype = \"number\"\n\
    [[input]]\nname = \"colour\"\ntype = \"category\"\n\
    [[input]]\nname = \"note\"\ntype = \"text\"\nmax_len = 4\n\
    [[input]]\nname = \"image\"\ntype = \"image\"\n\
    [[output]]\nname = \"c\"\ntype = \"category\"\n";

fn served() -> &'static Served {
    static MODEL: OnceLock<Served> = OnceLock::new();
    MODEL.get_or_init(|| {
        let texts = |of: [&str; 3]| Cells::Text((0..12).map(|i| Some(of[i % 3])).collect());
        let numbers = |most: usize| Cells::Numbers((0..12).map(|i| (i % most) as f64).collect());
        let pixels: Vec<u8> = (0..12 * 6).collect();
        let columns = [
            ("a", numbers(7)),
            ("colour", texts(["red", "green", "blue"])),
            ("note", texts(["one two", "two three", "three four five"])),
            ("image", Cells::Arrays(Field::new("image", &[1, 3, 2], Element::U8), pixels.into())),
            ("c", numbers(3)),
        ];
        let columns = columns.map(|(name, cells)| Column { name: name.into(), cells });
        let table = Table::new(columns.into(), Origin::default()).expect("a table");
        let recipe = Recipe::load(Source::new("fuzz", SERVED), &[]).expect("a recipe");
        let features = Features::fit(&recipe, &Rows::all(table)).expect("features");
        let card = Card { recipe, features, trained: Default::default() };
        let network = Network::new(&card.recipe, &card.features).expect("a network");
        let path = folder().join("served.safetensors");
        network.params.save_safetensors(&path, &card.metadata()).expect("a file");
        let batching = Batching { most_rows: 2, ..Batching::default() };
        Served::open("m", 1, &path, batching).expect("a model")
    })
}

/// The first two bytes are the length of the head in JSON, zeros for a request that is all JSON.
fn infer_request(bytes: &[u8]) {
    let Some((length, body)) = bytes.split_first_chunk::<2>() else { return };
    let head = Some(usize::from(u16::from_le_bytes(*length))).filter(|&length| length > 0);
    if let Ok(mut asked) = infer::read(body, head) {
        let _ = asked.encode(served());
    }
}

fn rows_json(bytes: &[u8]) {
    if let Ok((cells, _)) = rows::from_json(served(), bytes) {
        let _ = served().encode(&cells, cells[0].rows(), None);
    }
}

fn rows_csv(bytes: &[u8]) {
    if let Ok(cells) = rows::from_csv(served(), bytes) {
        let _ = served().encode(&cells, cells[0].rows(), None);
    }
}
