//! `audio`: a recording, as the frames of its spectrum.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value, check};
use nerve_formats::{Meaning, escape};
use serde_json::{Value as Json, json};

use super::{Entry, Feature, Fitting, Guess, Refusal, Role, Room, Setting};
use crate::audio::{FRONT_ENDS, FrontEnd, SpectrumRoom, front_ends, load, trim};
use crate::series::augment::{self, Augment, Frames, Stage};
use crate::{Cell, Cells, Column, Element, Random, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

const AUGMENTATION: Kind = Kind::Item { what: "augmentation of sound", specs: augment::of_sounds };

static SPEC: Spec = Spec {
    name: "audio",
    aliases: &[],
    peers: Peers::NONE,
    doc: "A recording in a WAV file: mono, at one rate, of one length, as spectrogram.",
    params: &[
        Param::with_default(
            "rate",
            Kind::int(1000, 192_000),
            Value::Int(16_000),
            "samples a second; other recordings are resampled",
        ),
        Param::optional(
            "length_s",
            Kind::float(0.01, 600.0),
            "length in seconds; without it that of the longest in the training split, at most 10",
        ),
        Param::with_default(
            "position",
            Kind::Choice(&["start", "center"]),
            Value::text("center"),
            "what is kept of a longer recording, and where a shorter one stands in the silence",
        ),
        Param::optional(
            "trim_db",
            Kind::float(1.0, 120.0),
            "silence at the ends is cut off: what is so many decibels below the loudest moment",
        ),
        Param::optional(
            "features",
            Kind::Item { what: "front end of sound", specs: front_ends },
            "what the network sees; without it log_mel",
        ),
        Param::with_default(
            "layout",
            Kind::Choice(&["image", "frames"]),
            Value::text("image"),
            "image: [1, bands, time], for convolutions in both directions; frames: [time, bands], for sequences",
        ),
        Param::with_default(
            "normalize",
            Kind::Choice(&["zscore", "none"]),
            Value::text("zscore"),
            "zscore: each band has mean 0 and deviation 1 over the training split; none: as it is",
        ),
        Param::optional(
            "augment",
            Kind::List { of: &AUGMENTATION, min_len: 0, max_len: 32 },
            "random changes while training, in this order",
        ),
    ],
};

/// The longest that a recording becomes by itself, in seconds.
const LONGEST_S: f64 = 10.0;
/// Stored values of all recordings stay in memory up to here.
const KEPT_BYTES: usize = 1 << 30;

fn infer(column: &Column) -> Option<Guess> {
    let cells = &column.cells;
    let wav = |row| matches!(cells.get(row), Cell::Text(name) if name.to_ascii_lowercase().ends_with(".wav"));
    let rows = cells.len();
    (rows > 0 && (0..rows).all(wav)).then(|| Guess {
        confidence: 0.95,
        reason: format!("all {rows} values are names of WAV files"),
    })
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let plan = Plan::new(args, setting)?;
    let bands = plan.front_end.bands();
    let given = args.has("length_s").then(|| args.float("length_s"));
    let sums = vec![[0.0; 2]; bands];
    let room = SpectrumRoom::default();
    Ok(Box::new(Fit {
        plan,
        given,
        longest: 0,
        seen: 0,
        lengths: Vec::new(),
        frames: 0,
        sums,
        room,
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    // Nothing is augmented in use, so a folder of noise need not be there any more.
    let plan =
        Plan::new(args, setting).or_else(|_| Plan::new(&args.without("augment"), setting))?;
    let number = |key: &str| {
        let number = state[key].as_u64().and_then(|n| usize::try_from(n).ok());
        number.ok_or(format!("`{key}` is no whole number"))
    };
    let length = number("length")?;
    let most = (600 * plan.rate as usize).max(plan.front_end.least());
    if length < plan.front_end.least() || length > most {
        return Err(format!("`length` is {length}, expected {} to {most}", plan.front_end.least()));
    }
    let numbers = |key: &str| {
        let values = state[key].as_array().ok_or(format!("`{key}` is no list"))?;
        let finite = |value: &Json| value.as_f64().map(|v| v as f32).filter(|v| v.is_finite());
        let numbers: Option<Vec<f32>> = values.iter().map(finite).collect();
        let bands = plan.front_end.bands();
        numbers
            .filter(|numbers| numbers.len() == bands)
            .ok_or(format!("`{key}` is not {bands} numbers"))
    };
    let (subtract, divide) = (numbers("subtract")?, numbers("divide")?);
    if divide.iter().any(|&d| d <= 0.0) {
        return Err("`divide` has a value that is not above 0".into());
    }
    let seen = number("seen")?;
    Ok(Arc::new(Audio { plan, length, subtract, divide, seen, notes: Vec::new() }))
}

/// What the recipe says.
#[derive(Clone)]
struct Plan {
    folder: PathBuf,
    rate: u32,
    centered: bool,
    trim_db: Option<f64>,
    front_end: FrontEnd,
    image: bool,
    normalizes: bool,
    on_wave: Vec<Arc<dyn Augment>>,
    on_spectrum: Vec<Arc<dyn Augment>>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan {{ rate: {}, front_end: {:?} }}", self.rate, self.front_end)
    }
}

impl Plan {
    fn new(args: &Args, setting: &Setting) -> Result<Plan, String> {
        if setting.role == Role::Output {
            return Err("a recording cannot be an output: choose another type for it".into());
        }
        let rate = args.usize("rate") as u32;
        let front_end = if args.has("features") {
            FrontEnd::new(args.item("features"), rate)?
        } else {
            let spec = FRONT_ENDS[0];
            let args = check(spec, &[]).map_err(|_| "log_mel has no defaults")?;
            FrontEnd::new(&Item { name: spec.name, args }, rate)?
        };
        let wave = matches!(front_end, FrontEnd::Wave);
        let mut stages = vec![(Stage::Wave, f64::from(rate))];
        if !wave {
            stages.push((Stage::Spectrum, front_end.frame_rate(rate)));
        }
        let built = augment::build(args.get("augment"), &stages, &setting.folder)?;
        let at = |stage| {
            let those = built.iter().filter(move |(s, _)| *s == stage);
            those.map(|(_, augment)| augment.clone()).collect()
        };
        Ok(Plan {
            folder: setting.folder.clone(),
            rate,
            centered: args.text("position") == "center",
            trim_db: args.has("trim_db").then(|| args.float("trim_db")),
            image: args.text("layout") == "image" && !wave,
            normalizes: args.text("normalize") == "zscore",
            on_wave: at(Stage::Wave),
            on_spectrum: at(Stage::Spectrum),
            front_end,
        })
    }

    /// The sound that a cell names, or holds at the rate that is wanted.
    fn read(&self, cell: Cell<'_>) -> Result<Vec<f32>, Refusal> {
        let sound = match cell {
            Cell::F32(sound) => sound.to_vec(),
            Cell::Text(name) if !name.trim().is_empty() => {
                load(self.folder.join(Path::new(name)), self.rate).map_err(|error| Refusal {
                    expected: "a WAV file".into(),
                    found: format!("`{}`: {error}", escape(name, 120)),
                })?
            }
            _ => return Err(Refusal::new("the name of a WAV file", cell)),
        };
        let Some(below) = self.trim_db else { return Ok(sound) };
        let hop = (self.rate as usize / 100).max(1);
        Ok(trim(&sound, below, 3 * hop, hop).to_vec())
    }
}

struct Fit {
    plan: Plan,
    given: Option<f64>,
    longest: usize,
    seen: usize,
    lengths: Vec<usize>,
    frames: usize,
    /// For each band the sum and the sum of squares.
    sums: Vec<[f64; 2]>,
    room: SpectrumRoom,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let sound = self.plan.read(cells.get(row))?;
        self.seen += 1;
        self.longest = self.longest.max(sound.len());
        self.lengths.push(sound.len());
        if !self.plan.normalizes {
            return Ok(());
        }
        let mut frames = vec![0.0; self.plan.front_end.frames(sound.len()) * self.sums.len()];
        self.plan.front_end.apply(&sound, &mut frames, &mut self.room);
        for frame in frames.chunks_exact(self.sums.len()) {
            for (sums, &value) in self.sums.iter_mut().zip(frame) {
                sums[0] += f64::from(value);
                sums[1] += f64::from(value) * f64::from(value);
            }
            self.frames += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        if self.seen == 0 {
            return Err("no recording in the training split".into());
        }
        let rate = f64::from(self.plan.rate);
        let longest = (LONGEST_S * rate) as usize;
        let wanted = self.given.map_or(self.longest.min(longest), |s| (s * rate).round() as usize);
        let length = wanted.max(self.plan.front_end.least());
        let n = self.frames.max(1) as f64;
        let mean = |sums: &[f64; 2]| sums[0] / n;
        let deviation = |sums: &[f64; 2]| (sums[1] / n - mean(sums).powi(2)).max(0.0).sqrt();
        let (subtract, divide) = match self.frames {
            0 => (vec![0.0; self.sums.len()], vec![1.0; self.sums.len()]),
            _ => (
                self.sums.iter().map(|sums| mean(sums) as f32).collect(),
                // A band that never changes, as in silence, stays at 0.
                self.sums.iter().map(|sums| deviation(sums).max(1e-5) as f32).collect(),
            ),
        };
        let cut = self.lengths.iter().filter(|&&len| len > length).count();
        let notes = match cut {
            0 => Vec::new(),
            _ => vec![format!(
                "{cut} of {} recordings are longer than {:.2} s and are cut",
                self.seen,
                length as f64 / rate
            )],
        };
        Ok(Arc::new(Audio { plan: self.plan, length, subtract, divide, seen: self.seen, notes }))
    }
}

/// A recording on its way to the network.
///
/// While training changes the wave at random, the wave is what is stored, and each sample's spectrum is computed when it
/// is delivered; otherwise the spectrum is stored.
#[derive(Clone, Debug)]
struct Audio {
    plan: Plan,
    /// Samples.
    length: usize,
    subtract: Vec<f32>,
    divide: Vec<f32>,
    /// Recordings in the training split.
    seen: usize,
    notes: Vec<String>,
}

impl Audio {
    fn frames(&self) -> usize {
        self.plan.front_end.frames(self.length)
    }

    fn keeps_wave(&self) -> bool {
        !self.plan.on_wave.is_empty()
    }

    /// The frames of a sound of the right length, normalised, `[time, bands]`.
    fn spectrum(&self, sound: &[f32], out: &mut [f32], room: &mut SpectrumRoom) {
        self.plan.front_end.apply(sound, out, room);
        for frame in out.chunks_exact_mut(self.subtract.len()) {
            for ((value, subtract), divide) in
                frame.iter_mut().zip(&self.subtract).zip(&self.divide)
            {
                *value = (*value - subtract) / divide;
            }
        }
    }

    /// Writes the sound into `out`, cut or with silence around.
    fn fit(&self, sound: &[f32], out: &mut [f32]) {
        let part = |spare: usize| if self.plan.centered { spare / 2 } else { 0 };
        out.fill(0.0);
        if sound.len() >= out.len() {
            let from = part(sound.len() - out.len());
            out.copy_from_slice(&sound[from..from + out.len()]);
        } else {
            let from = part(out.len() - sound.len());
            out[from..from + sound.len()].copy_from_slice(sound);
        }
    }
}

impl Feature for Audio {
    fn stored(&self) -> (Vec<usize>, Element) {
        match self.keeps_wave() {
            true => (vec![self.length], Element::F32),
            false => (vec![self.frames(), self.subtract.len()], Element::F32),
        }
    }

    fn kept(&self) -> bool {
        let sample: usize = self.stored().0.iter().product();
        // With validation and test there are somewhat more than the training split has.
        sample.saturating_mul(4).saturating_mul(self.seen).saturating_mul(3) / 2 <= KEPT_BYTES
    }

    fn within(&self, folder: &Path) -> Option<Arc<dyn Feature>> {
        let plan = Plan { folder: folder.to_path_buf(), ..self.plan.clone() };
        Some(Arc::new(Audio { plan, ..self.clone() }))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let sound = self.plan.read(cells.get(row))?;
        if self.keeps_wave() {
            self.fit(&sound, out.f32());
        } else {
            let mut fitted = vec![0.0; self.length];
            self.fit(&sound, &mut fitted);
            self.spectrum(&fitted, out.f32(), &mut SpectrumRoom::default());
        }
        Ok(())
    }

    fn delivered(&self) -> (Vec<usize>, Element) {
        let (time, bands) = (self.frames(), self.subtract.len());
        (if self.plan.image { vec![1, bands, time] } else { vec![time, bands] }, Element::F32)
    }

    fn delivers(&self) -> bool {
        self.keeps_wave() || self.plan.image || !self.plan.on_spectrum.is_empty()
    }

    fn deliver(
        &self,
        stored: &Values,
        mut out: Slice<'_>,
        mut random: Option<Random>,
        room: &mut Room,
    ) {
        let Values::F32(stored) = stored else { unreachable!("sound is stored as f32") };
        let bands = self.subtract.len();
        let Room { f32: wave, more: frames, spectrum, .. } = room;
        if self.keeps_wave() {
            wave.clear();
            wave.extend_from_slice(stored);
            change(&self.plan.on_wave, wave, 1, frames, &mut random);
            frames.resize(self.frames() * bands, 0.0);
            self.spectrum(wave, frames, spectrum);
        } else {
            frames.clear();
            frames.extend_from_slice(stored);
        }
        change(&self.plan.on_spectrum, frames, bands, wave, &mut random);
        match self.plan.image {
            false => out.f32().copy_from_slice(frames),
            true => transpose(frames, bands, out.f32()),
        }
    }

    fn meaning(&self) -> Meaning {
        if self.plan.image { Meaning::Image } else { Meaning::Frames }
    }

    fn state(&self) -> Json {
        json!({
            "length": self.length,
            "subtract": self.subtract,
            "divide": self.divide,
            "seen": self.seen,
        })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// While training, the augmentations of a stage one after the other.
fn change(
    list: &[Arc<dyn Augment>],
    values: &mut [f32],
    features: usize,
    room: &mut Vec<f32>,
    random: &mut Option<Random>,
) {
    if let Some(random) = random {
        let mut frames = Frames { values, features, room };
        list.iter().for_each(|augment| augment.apply(&mut frames, random));
    }
}

/// `[time, bands]` to `[bands, time]`.
fn transpose(frames: &[f32], bands: usize, out: &mut [f32]) {
    for (band, row) in out.chunks_exact_mut(frames.len() / bands).enumerate() {
        row.iter_mut().enumerate().for_each(|(t, value)| *value = frames[t * bands + band]);
    }
}
