//! Run folders to show, made from formulas: what a training would write, in a moment.
#![allow(dead_code)] // Every test uses some of it.

use nerve_track::{EVENTS, Event, METRICS, Number, RunFolder, STATE, State, Status, What};
use nerve_tune::{Domain, Parameter, Settings, Space, Study};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A name that is markup where it is not taken as text.
pub const EVIL: &str = "<img src=x onerror=\"window.__evil=1\">";

/// When the runs of the fixtures began.
pub const BEGAN: f64 = 1_763_779_200.0;

pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The same numbers each time: what is left of a product.
fn noise(seed: u64, i: u64) -> f64 {
    let mixed =
        (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) & 0xffff_ffff) as f64 / f64::from(u32::MAX) - 0.5
}

/// What a fixture is like.
pub struct Fixture<'a> {
    pub name: &'a str,
    pub lr: f64,
    pub epochs: u64,
    pub done: u64,
    pub steps: u64,
    pub status: Status,
    pub began: f64,
    pub heartbeat: f64,
    pub evil: bool,
    pub resumed: bool,
}

impl Default for Fixture<'_> {
    fn default() -> Self {
        Fixture {
            name: "mnist",
            lr: 1e-3,
            epochs: 10,
            done: 10,
            steps: 120,
            status: Status::Done,
            began: BEGAN,
            heartbeat: BEGAN + 92.0,
            evil: false,
            resumed: false,
        }
    }
}

impl Fixture<'_> {
    /// The classes.
    pub fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
        if self.evil {
            labels[3] = EVIL.into();
        }
        labels
    }

    fn recipe(&self) -> String {
        format!(
            "seed = 42\n\n[[inputs]]\nname = \"image\"\ntype = \"image\"\n\n[[outputs]]\nname = \"digit\"\n\
             type = \"category\"\n\n[trainer]\nepochs = {}\nbatch_size = 64\n\n[trainer.optimizer]\ntype = \"adamw\"\n\
             lr = {}\n",
            self.epochs, self.lr
        )
    }

    pub fn state(&self) -> State {
        State {
            status: self.status,
            reason: match self.status {
                Status::Running => String::new(),
                _ => "all epochs done".into(),
            },
            pid: 7,
            heartbeat: self.heartbeat,
            began: self.began,
            epoch: self.done,
            epochs: self.epochs,
            step: self.done * self.steps,
            best: (self.done > 0).then(|| (self.done.min(8), self.val(self.done.min(8)))),
            goal: Some("val_loss".into()),
            exit_code: (self.status == Status::Done).then_some(0),
        }
    }

    fn loss(&self, step: u64) -> f64 {
        let speed = (self.lr / 1e-3).sqrt();
        2.3 * (-(step as f64) * speed / 160.0).exp()
            + 0.08
            + 0.06 * noise(1, step) * (1.0 + 8.0 * (-(step as f64) / 200.0).exp())
    }

    fn val(&self, epoch: u64) -> f64 {
        let late = epoch.saturating_sub(8) as f64;
        2.0 * (-(epoch as f64) * 0.8).exp() + 0.11 + 0.012 * late + 0.01 * noise(2, epoch)
    }

    /// Writes the whole folder.
    pub fn write(&self, root: &Path) -> RunFolder {
        let recipe = self.recipe();
        let environment = json!({
            "nerve": "0.1.0", "command": ["nerve", "train", self.name, "--threads", "2"], "seed": 42, "threads": 2,
            "rows": { "train": 7680, "validation": 1000, "test": 1000 }, "began": self.began,
        })
        .to_string();
        let files = [
            ("config.toml", recipe.as_str()),
            ("resolved.toml", &recipe),
            ("env.json", &environment),
        ];
        let run = RunFolder::create(root, self.name, &files).unwrap();
        self.state().show(&run.file(STATE)).unwrap();
        let mut history = "epoch,step,time_s,lr,loss,accuracy,val_loss,val_accuracy\n".to_string();
        let mut out = BufWriter::new(File::create(run.file(EVENTS)).unwrap());
        let mut put = |t: f64, what: What| {
            writeln!(out, "{}", Event { t: self.began + t, what }.line()).unwrap()
        };
        put(0.0, self.begin(0));
        let middle = self.done / 2 * self.steps;
        let mut pause = 0.0;
        for step in 1..=self.done * self.steps {
            let epoch = (step - 1) / self.steps + 1;
            let t = step as f64 * 0.075 + pause;
            let mut scalar = |tag: &str, v: f64| {
                put(t, What::Scalar { step, epoch, tag: tag.into(), v: Number(v) });
            };
            scalar("loss/train", if self.evil && step == 31 { f64::NAN } else { self.loss(step) });
            scalar("lr", self.lr * (1.0 - 0.9 * step as f64 / (self.epochs * self.steps) as f64));
            scalar("grad_norm", 1.5 * self.loss(step) + 0.3 + 0.2 * noise(5, step));
            scalar("time/step_ms", 74.0 + 6.0 * noise(6, step));
            if step % 20 == 0 {
                put(t, system(step));
            }
            if self.resumed && step == middle {
                // Lost work, and then it goes on an hour later.
                for lost in 1..9 {
                    let tag = "loss/train".to_string();
                    let v = Number(self.loss(step + lost) + 0.4);
                    put(t + 0.075 * lost as f64, What::Scalar { step: step + lost, epoch, tag, v });
                }
                pause = 3600.0;
                put(t + pause, self.begin(step));
                let text = format!("continued after step {step}");
                put(t + pause, What::Note { level: "note".into(), text });
            }
            if step % self.steps == 0 {
                self.epoch(&mut put, t, epoch, step);
                let (loss, val) = (self.loss(step), self.val(epoch));
                let scores = [loss, 1.0 - loss / 4.0, val, 1.0 - val / 5.0];
                let _ = writeln!(
                    history,
                    "{epoch},{step},{t:.3},{},{}",
                    self.lr,
                    scores.map(|v| v.to_string()).join(",")
                );
            }
        }
        if self.status != Status::Running {
            let (status, reason) = (self.status, "all epochs done".to_string());
            put(
                self.done as f64 * self.steps as f64 * 0.075 + pause,
                What::End { status, reason, step: self.done * self.steps },
            );
        }
        drop(out);
        fs::write(run.file(METRICS), history).unwrap();
        self.evaluation(&run);
        run
    }

    pub fn begin(&self, step: u64) -> What {
        What::Begin {
            format: nerve_track::FORMAT,
            nerve: "0.1.0".into(),
            pid: 7,
            epochs: self.epochs,
            steps_per_epoch: Some(self.steps),
            metrics: vec!["accuracy".into()],
            goal: Some("val_loss".into()),
            maximize: false,
            step,
        }
    }

    fn epoch(&self, put: &mut impl FnMut(f64, What), t: f64, epoch: u64, step: u64) {
        let (loss, val) = (self.loss(step), self.val(epoch));
        for (tag, v) in [
            ("loss/val", val),
            ("accuracy/train", 1.0 - loss / 4.0),
            ("accuracy/val", 1.0 - val / 5.0),
        ] {
            put(t, What::Scalar { step, epoch, tag: tag.into(), v: Number(v) });
        }
        let scores = [
            ("loss", loss),
            ("accuracy", 1.0 - loss / 4.0),
            ("val_loss", val),
            ("val_accuracy", 1.0 - val / 5.0),
        ];
        let scores = scores.map(|(name, v)| (name.to_string(), Number(v))).into();
        put(
            t,
            What::Epoch {
                epoch,
                step,
                time_s: step as f64 * 0.075,
                lr: self.lr,
                scores,
                best: epoch <= 8,
            },
        );
        let counts =
            (0..10).map(|truth| (0..10).map(|said| self.count(epoch, truth, said)).collect());
        put(
            t,
            What::Confusion {
                step,
                tag: "val/digit".into(),
                labels: self.labels(),
                counts: counts.collect(),
            },
        );
        for (i, name) in
            ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"].iter().enumerate()
        {
            put(
                t,
                bell(
                    &format!("weights/{name}"),
                    epoch,
                    step,
                    0.05 + 0.02 * i as f64 + 0.012 * epoch as f64,
                    0.0,
                ),
            );
            put(t, bell(&format!("grads/{name}"), epoch, step, 0.02 / (1.0 + epoch as f64), 0.0));
        }
        for (i, name) in ["1.ReLU", "4.ReLU", "8.ReLU"].iter().enumerate() {
            put(
                t,
                bell(
                    &format!("acts/{name}"),
                    epoch,
                    step,
                    0.6 + 0.1 * epoch as f64,
                    0.8 + 0.1 * i as f64,
                ),
            );
        }
        let layers = [
            ("conv1", 0.0, 2.1, 14.0),
            ("conv2", 0.02, 1.3, 31.0),
            ("fc1", 0.31, 0.8, 9.0),
            ("fc2", 0.0, 1.9, 0.6),
        ];
        for (name, dead, ratio, ms) in layers {
            let values: BTreeMap<String, Number> = [
                ("dead", dead * (epoch as f64 / 10.0).sqrt()),
                (
                    "update_ratio",
                    ratio * 1e-3 * (1.0 + 0.3 * noise(9, epoch)) / (epoch as f64).sqrt(),
                ),
                ("time_ms", ms * (1.0 + 0.1 * noise(10, epoch))),
            ]
            .map(|(name, v)| (name.to_string(), Number(v)))
            .into();
            put(t, What::Layer { step, epoch, tag: name.into(), values });
        }
        let folder = format!("checkpoints/step-{step}");
        put(t, What::Checkpoint { step, epoch, folder, stopped_ms: 2.1, saved_ms: 18.0 });
        if epoch == 9 {
            let text = "the validation loss rises while that of training falls: the network learns the rows by heart".to_string();
            put(t, What::Note { level: "warning".into(), text });
        }
    }

    fn count(&self, epoch: u64, truth: u64, said: u64) -> u64 {
        let wrong = 24.0 * (-(epoch as f64) * 0.35).exp() + 2.0;
        match truth == said {
            true => 100 - (wrong as u64).min(30),
            false => (wrong * (noise(3, 10 * truth + said) + 0.5).powi(3)) as u64,
        }
    }

    fn evaluation(&self, run: &RunFolder) {
        fs::create_dir_all(run.file("eval/val")).unwrap();
        let labels = self.labels();
        let count = |truth: usize, said: usize| self.count(10, truth as u64, said as u64);
        let confusion: Vec<Vec<u64>> =
            (0..10).map(|t| (0..10).map(|s| count(t, s)).collect()).collect();
        let support = |t: usize| confusion[t].iter().sum::<u64>();
        let said = |s: usize| confusion.iter().map(|row| row[s]).sum::<u64>();
        let classes: Vec<_> = labels
            .iter()
            .enumerate()
            .map(|(c, name)| {
                let (p, r) = (confusion[c][c] as f64 / said(c) as f64, confusion[c][c] as f64 / support(c) as f64);
                json!({ "name": name, "precision": p, "recall": r, "f1": 2.0 * p * r / (p + r), "iou": 0.9, "support": support(c) })
            })
            .collect();
        let score = |value: f64, width: f64| json!({ "value": value, "low": value - width, "high": value + width });
        let bins: Vec<_> = (0..10)
            .map(|i| json!({ "low": i as f64 / 10.0, "high": (i + 1) as f64 / 10.0, "count": 20 * (i + 1), "predicted": (i as f64 + 0.5) / 10.0, "observed": (i as f64 + 0.5 + 0.6 * noise(8, i)) / 10.0 }))
            .collect();
        let verdict = json!({
            "format": "nerve-evaluation-1", "part": "val", "examples": 1000,
            "bootstrap": { "resamples": 1000, "level": 0.95, "group": null },
            "outputs": [{
                "name": "digit", "kind": "classes", "loss": 0.11,
                "scores": { "accuracy": score(0.9712, 0.0101), "f1": score(0.9707, 0.0104), "log_loss": score(0.1132, 0.021) },
                "baselines": { "majority": { "accuracy": 0.1124, "f1": 0.0202, "log_loss": 2.301 } },
                "classes": classes, "confusion": confusion,
                "slices": [], "reliability": bins, "steps": [], "worst": [],
            }],
        });
        fs::write(run.file("eval/val.json"), verdict.to_string()).unwrap();
        let mut rows = String::new();
        let mut row = 0;
        for (t, truth) in labels.iter().enumerate() {
            for (s, said) in labels.iter().enumerate() {
                // All that are wrong, and some of the right ones.
                for _ in 0..if t == s { 4 } else { confusion[t][s] } {
                    let sure = 0.62 + 0.6 * noise(4, row);
                    let picture = format!("eval/val/{row:05}.png");
                    digit(&run.file(&picture), t, row);
                    let line = json!({
                        "row": row, "where": format!("train-images.idx3-ubyte#{}", row * 37 + 11), "output": "digit",
                        "truth": truth, "said": said, "p": sure.clamp(0.01, 0.99),
                        "loss": if t == s { 0.2 - 0.1 * sure } else { 1.0 + 4.0 * sure.abs() }, "picture": picture,
                    });
                    let _ = writeln!(rows, "{line}");
                    row += 1;
                }
            }
        }
        fs::write(run.file("eval/val-examples.jsonl"), rows).unwrap();
        let layer = |name: &str, kind: &str, output: &[u64], parameters: u64, flops: u64| json!({ "name": name, "type": kind, "output": output, "parameters": parameters, "flops": flops });
        let model = json!({
            "layers": [
                layer("image", "Input", &[1, 28, 28], 0, 0),
                layer("conv1", "Conv2d", &[32, 26, 26], 320, 194_688 * 2),
                layer("1.ReLU", "ReLU", &[32, 26, 26], 0, 21_632),
                layer("conv2", "Conv2d", &[64, 12, 12], 18_496, 5_308_416),
                layer("shortcut", "Conv2d", &[64, 12, 12], 2_112, 589_824),
                layer("add", "Add", &[64, 12, 12], 0, 9_216),
                layer("flatten", "Flatten", &[9216], 0, 0),
                layer("fc1", "Linear", &[128], 1_179_776, 2_359_296),
                layer("8.ReLU", "ReLU", &[128], 0, 128),
                layer("fc2", "Linear", &[10], 1_290, 2_560),
            ],
            "edges": [[0, 1], [1, 2], [2, 3], [2, 4], [3, 5], [4, 5], [5, 6], [6, 7], [7, 8], [8, 9]],
        });
        fs::write(run.file("model.json"), model.to_string()).unwrap();
    }
}

fn system(step: u64) -> What {
    let cpu = [
        ("machine".to_string(), 1.8 + 0.2 * noise(11, step)),
        ("process".to_string(), 1.6 + 0.3 * noise(12, step)),
    ];
    let memory = [
        ("rss".to_string(), 180_000_000 + step * 1000),
        ("free".to_string(), 3_000_000_000 - step * 90_000),
    ];
    What::System {
        step,
        cpu: cpu.into(),
        memory: memory.into(),
        data_wait: Number(0.03 + 0.02 * noise(13, step)),
    }
}

/// A histogram like a bell.
fn bell(tag: &str, epoch: u64, step: u64, width: f64, middle: f64) -> What {
    let edges: Vec<f64> =
        (0..=40).map(|i| middle + width * 4.0 * (f64::from(i) / 20.0 - 1.0)).collect();
    let counts = edges
        .windows(2)
        .map(|pair| ((pair[0] + pair[1]) / 2.0 - middle) / width)
        .map(|z| (4096.0 * 0.08 * (-0.5 * z * z).exp()) as u64)
        .collect();
    What::Hist { step, epoch, tag: tag.into(), edges, counts, bad: 0 }
}

/// A picture of a digit: the segments of a display, a little elsewhere each time.
fn digit(path: &Path, digit: usize, row: u64) {
    const SEGMENTS: [u8; 10] = [0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f];
    let (dx, dy) = ((noise(20, row) * 6.0) as i32, (noise(21, row) * 6.0) as i32);
    let mut picture = image::GrayImage::new(28, 28);
    let mut bar = |x: i32, y: i32, wide: i32, high: i32| {
        for (i, j) in (0..high).flat_map(|j| (0..wide).map(move |i| (i, j))) {
            let (px, py) = ((x + dx + i).clamp(0, 27) as u32, (y + dy + j).clamp(0, 27) as u32);
            picture.put_pixel(
                px,
                py,
                image::Luma([255 - (noise(22, row + i as u64) * 60.0).abs() as u8]),
            );
        }
    };
    let places = [
        (9, 5, 10, 2),
        (9, 5, 2, 9),
        (17, 5, 2, 9),
        (9, 13, 10, 2),
        (9, 13, 2, 10),
        (17, 13, 2, 10),
        (9, 21, 10, 2),
    ];
    for (i, (x, y, wide, high)) in places.into_iter().enumerate() {
        if SEGMENTS[digit] >> i & 1 == 1 {
            bar(x, y, wide, high);
        }
    }
    picture.save(path).unwrap();
}

/// The runs of a demonstration: done, continued, stopped, crashed.
pub fn demo(root: &Path) {
    tuning(root);
    Fixture::default().write(root);
    Fixture { name: "mnist-fast", lr: 4e-3, began: BEGAN + 400.0, ..Fixture::default() }
        .write(root);
    Fixture {
        name: "mnist-slow",
        lr: 3e-4,
        began: BEGAN + 900.0,
        resumed: true,
        ..Fixture::default()
    }
    .write(root);
    Fixture {
        name: "mnist-stopped",
        done: 4,
        status: Status::Stopped,
        began: BEGAN + 1500.0,
        ..Fixture::default()
    }
    .write(root);
    Fixture { name: "mnist-evil", evil: true, began: BEGAN + 1800.0, ..Fixture::default() }
        .write(root);
    Fixture {
        name: "mnist-lost",
        done: 3,
        status: Status::Running,
        began: BEGAN + 2500.0,
        ..Fixture::default()
    }
    .write(root);
}

/// A tuning of a valley that one can see.
pub fn tuning(root: &Path) {
    let parameter = |name: &str, domain| Parameter { name: name.into(), domain, points: None };
    let space = Space::new(vec![
        parameter("trainer.optimizer.lr", Domain::log_float(1e-4, 1e-1)),
        parameter(
            "trainer.batch_size",
            Domain::Choice(["32", "64", "128"].map(String::from).into()),
        ),
        parameter("model.layers.0.units", Domain::Int { low: 16, high: 256, log: false, step: 16 }),
    ])
    .unwrap();
    fs::create_dir_all(root.join("mnist-tune")).unwrap();
    let mut study =
        Study::open(&root.join("mnist-tune/journal.jsonl"), space, Settings::default()).unwrap();
    for i in 0..40 {
        let trial = study.ask().unwrap().unwrap();
        let settings: Vec<f64> = study.trials()[trial]
            .settings
            .iter()
            .map(|s| s.json().as_f64().unwrap_or(0.0))
            .collect();
        let lr = (settings[0].log10() + 2.5).powi(2);
        let value = 0.1 + 0.2 * lr + 0.0004 * (settings[2] - 160.0).abs() + 0.01 * noise(30, i);
        match i % 9 {
            4 => study.prune(trial, 1.5).unwrap(),
            7 if i > 20 => study.fail(trial, "the loss is no number", 0.4).unwrap(),
            _ => study.tell(trial, value, 3.0).unwrap(),
        }
    }
}

/// A run with so many points on four curves.
pub fn big(root: &Path, points: u64) -> RunFolder {
    let fixture = Fixture { name: "big", began: BEGAN + 9000.0, ..Fixture::default() };
    let recipe = fixture.recipe();
    let run =
        RunFolder::create(root, "big", &[("config.toml", &recipe), ("resolved.toml", &recipe)])
            .unwrap();
    fixture.state().show(&run.file(STATE)).unwrap();
    let mut out = BufWriter::new(File::create(run.file(EVENTS)).unwrap());
    let begin = What::Begin {
        format: 1,
        nerve: "0.1.0".into(),
        pid: 7,
        epochs: 10,
        steps_per_epoch: Some(points / 40),
        metrics: vec![],
        goal: None,
        maximize: false,
        step: 0,
    };
    writeln!(out, "{}", Event { t: BEGAN, what: begin }.line()).unwrap();
    for i in 0..points {
        let step = i / 4 + 1;
        let tag = ["loss/train", "lr", "grad_norm", "time/step_ms"][(i % 4) as usize];
        let v = 2.0 * (-(step as f64) / 90_000.0).exp() + 0.2 + 0.1 * noise(i % 4, step);
        let what =
            What::Scalar { step, epoch: step * 40 / points + 1, tag: tag.into(), v: Number(v) };
        writeln!(out, "{}", Event { t: BEGAN + step as f64 * 0.01, what }.line()).unwrap();
    }
    run
}

/// So many small runs.
pub fn many(root: &Path, runs: u64) {
    for i in 0..runs {
        let name = format!("run-{i:03}");
        let fixture = Fixture { name: &name, began: BEGAN + i as f64, ..Fixture::default() };
        let recipe = fixture.recipe();
        let env = json!({ "began": fixture.began, "command": ["nerve", "train", "x"] }).to_string();
        let history = "epoch,step,time_s,lr,loss,val_loss\n1,10,0.1,0.001,0.5,0.6\n";
        // Without the care that a real run takes for the disk: that takes its time.
        let run = root.join(&name);
        fs::create_dir_all(&run).unwrap();
        let state = serde_json::to_string(&fixture.state()).unwrap();
        let begin = Event { t: fixture.began, what: fixture.begin(0) }.line() + "\n";
        let files = [
            ("config.toml", recipe.as_str()),
            ("resolved.toml", &recipe),
            ("env.json", &env),
            (METRICS, history),
            (STATE, &state),
            (EVENTS, &begin),
        ];
        for (file, text) in files {
            fs::write(run.join(file), text).unwrap();
        }
    }
}
