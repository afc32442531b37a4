//! Small models, a server in this process, and a client that can misbehave.
#![allow(dead_code)]

use nerve_data::{Cells, Column, Element, Field, Origin, Table};
use nerve_recipe::{Card, Features, Network, Predictor, Recipe, Rows, Source};
use nerve_serve::{Batching, Limits, Options, Repository, Served, Server, Sources};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Two numbers in, one of three classes out.
pub const NUMBERS: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
    [[output]]\nname = \"c\"\ntype = \"category\"\n\
    [model]\nlayers = [{ type = \"Dense\", units = 5, activation = \"relu\" }]\n";

/// A number, a name and a text in; a number and a yes or no out.
pub const MIXED: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"a\"\ntype = \"number\"\n\
    [[input]]\nname = \"colour\"\ntype = \"category\"\n\
    [[input]]\nname = \"note\"\ntype = \"text\"\nmax_len = 4\n\
    [[output]]\nname = \"price\"\ntype = \"number\"\n\
    [[output]]\nname = \"sold\"\ntype = \"binary\"\n";

/// A picture in, one of three classes out.
pub const PICTURE: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"image\"\ntype = \"image\"\n\
    [[output]]\nname = \"digit\"\ntype = \"category\"\n\
    [model]\nlayers = [{ type = \"Conv2D\", filters = 4, kernel_size = 3 }, { type = \"Flatten\" }]\n";

fn column(name: &str, cells: Cells) -> Column {
    Column { name: name.into(), cells }
}

fn numbers(name: &str, of: impl Fn(i32) -> i32) -> Column {
    column(name, Cells::Numbers((0..24).map(|i| f64::from(of(i))).collect()))
}

fn texts(name: &str, of: &[&str]) -> Column {
    column(name, Cells::Text((0..24).map(|i| Some(of[i % of.len()])).collect()))
}

pub fn table(recipe: &str) -> Table {
    let columns = match recipe {
        MIXED => vec![
            numbers("a", |i| i),
            texts("colour", &["red", "green", "blue"]),
            texts("note", &["one two", "two three", "three four five"]),
            numbers("price", |i| 3 * i),
            texts("sold", &["no", "yes"]),
        ],
        PICTURE => {
            let field = Field::new("image", &[1, 6, 5], Element::U8);
            let pixels: Vec<u8> = (0..24 * 30).map(|i| (i * 37 % 251) as u8).collect();
            vec![column("image", Cells::Arrays(field, pixels.into())), numbers("digit", |i| i % 3)]
        }
        _ if recipe.contains("meter") => {
            let hours: Vec<String> =
                (0..24).map(|i| format!("2024-05-01 {:02}:00", i / 2)).collect();
            vec![
                texts("when", &hours.iter().map(String::as_str).collect::<Vec<_>>()),
                texts("meter", &["attic", "mill"]),
                numbers("load", |i| (i / 2 % 3) * if i % 2 == 1 { 100 } else { 1 }),
            ]
        }
        _ => vec![numbers("a", |i| i * i % 5), numbers("b", |i| i), numbers("c", |i| i % 3)],
    };
    Table::new(columns, Origin::default()).unwrap()
}

/// A network as its initialisation left it, in a file.
pub fn save(recipe: &str, path: &Path) {
    let recipe_text = recipe;
    let recipe = Recipe::load(Source::new("r", recipe_text), &[]).unwrap();
    let features = Features::fit(&recipe, &Rows::all(table(recipe_text))).unwrap();
    let card = Card { recipe, features, trained: serde_json::Value::Null };
    let network = Network::new(&card.recipe, &card.features).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    network.params.save_safetensors(path, &card.metadata()).unwrap();
}

pub fn predictor(recipe: &str) -> Predictor {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(recipe, &path);
    Predictor::open(&path).unwrap()
}

pub fn served(recipe: &str, batching: Batching) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(recipe, &path);
    Served::open("m", 1, &path, batching).unwrap()
}

pub fn quiet(_: &str) {}

pub fn empty() -> Repository {
    Repository::new(Sources::default(), Batching::default(), quiet)
}

/// Short times, so that tests of them are quick.
pub fn limits() -> Limits {
    Limits {
        body: 1 << 20,
        head_time: Duration::from_millis(500),
        body_time: Duration::from_millis(500),
        write_time: Duration::from_millis(500),
        drain_time: Duration::from_secs(10),
        connections: 64,
        ..Limits::default()
    }
}

pub fn options() -> Options {
    Options {
        address: ([127, 0, 0, 1], 0).into(),
        limits: limits(),
        threads: 2,
        ..Options::default()
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub repository: Arc<Repository>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<bool>>>,
}

pub fn start(repository: Repository, options: Options) -> Running {
    let repository = Arc::new(repository);
    let server = Server::bind(repository.clone(), options, None).unwrap();
    let (address, stop) = (server.address(), Arc::new(AtomicBool::new(false)));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || server.run(|| flag.load(Ordering::SeqCst)));
    Running { address, repository, stop, thread: Some(thread) }
}

/// A server of one model.
pub fn serve(recipe: &str) -> Running {
    start(empty().with(served(recipe, Batching::default())), options())
}

impl Running {
    pub fn begin_to_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Ends the server; whether all requests were answered in time.
    pub fn stop(mut self) -> bool {
        self.begin_to_stop();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes as they are, and reads the first answer.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that has had enough closes while we write.
        let _ = stream.write_all(bytes);
        read(&mut stream)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&request(method, path, headers, body))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Still answers a good request.
    pub fn is_well(&self) {
        let answer = self.get("/v2/health/ready");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

#[derive(Debug, Default)]
pub struct Answer {
    /// 0 where the connection was closed without an answer.
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The message of an error.
    #[track_caller]
    pub fn error(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        self.json()["error"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_string()
    }
}

/// Reads one answer.
pub fn read(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut one = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut one) {
            Ok(1) => bytes.push(one[0]),
            _ => return Answer::default(),
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: Vec::new() };
    let length =
        answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.body = vec![0; length];
    if stream.read_exact(&mut answer.body).is_err() {
        answer.body.clear();
    }
    answer
}

/// `INFER` with one row.
pub const INFER: &str = "/v2/models/m/infer";

pub fn infer(a: &str, b: &str) -> String {
    format!(
        "{{\"inputs\":[{{\"name\":\"a\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[{a}]}},\
         {{\"name\":\"b\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[{b}]}}]}}"
    )
}

pub fn png() -> Vec<u8> {
    let picture = image::GrayImage::from_fn(5, 6, |x, y| image::Luma([(x * 40 + y * 9) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}
