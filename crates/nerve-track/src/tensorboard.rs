//! A run as TensorBoard reads it: an event file, made from `events.jsonl`.
//!
//! | event | in TensorBoard |
//! |---|---|
//! | scalar | the curve of its tag |
//! | layer, system | a curve for each number: `dead/2.ReLU`, `system/rss` |
//! | histogram, image, text | the same, under their tags |
//! | note | the text `notes` |
//! | confusion | a table, the text of its tag |
//! | the first beginning | the settings of the recipe (HParams), the recipe itself (the text `recipe`) |
//! | a later beginning | points of the steps after it are dropped |
//! | end | how it ended (HParams) |

use crate::event::{Event, What};
use crate::{EVENTS, Number, RESOLVED, Reader, RunFolder, Setting, State, Status, settings};
use nerve_formats::tfevents::{self, Histogram, SessionStatus, Writer};
use nerve_formats::{ErrorKind, FormatError, Limits, write_atomic};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

/// The folder of TensorBoard's files in a run folder.
pub const TENSORBOARD: &str = "tb";
/// The file beside them that says how far they go.
const CURSOR: &str = "export.json";
/// Pictures are taken up to this many bytes.
const MOST_IMAGE: u64 = 64 << 20;
/// Confusion matrices are taken up to this many classes: more make no table for people.
const MOST_CLASSES: usize = 40;

/// Makes TensorBoard's file of a run, and goes on with it as the run grows.
///
/// How far it came stands beside the file, so that an export that was stopped, in whatever way, goes
/// on without writing anything twice: what came after the last such note is cut off and written anew,
/// byte for byte the same.
#[derive(Debug)]
pub struct TensorBoard {
    run: RunFolder,
    folder: PathBuf,
    /// Written into, once there is an event.
    out: Option<Writer<BufWriter<File>>>,
    cursor: Cursor,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cursor {
    /// The name of the event file.
    file: String,
    /// How many bytes of it are sure.
    written: u64,
    /// Where in `events.jsonl` the first event lies that is not in it.
    offset: u64,
}

impl TensorBoard {
    /// Exports a run into a folder, [`TENSORBOARD`] in the run folder as a rule, or goes on where an
    /// export into it stopped.
    ///
    /// # Errors
    /// The folder or its files cannot be written or read, or another export is at work in it.
    pub fn open(run: &RunFolder, folder: &Path) -> Result<TensorBoard, FormatError> {
        fs::create_dir_all(folder)
            .map_err(|error| FormatError::io(folder, "cannot create the folder", &error))?;
        let path = folder.join(CURSOR);
        let cursor = match path.exists() {
            true => read_cursor(&path)?,
            false => Cursor::default(),
        };
        let mut export = TensorBoard {
            run: run.clone(),
            folder: folder.to_path_buf(),
            out: None,
            cursor: Cursor::default(),
        };
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |data| data.len());
        // Of a file that was deleted or replaced, or another run's, nothing is kept.
        let known = !cursor.file.is_empty()
            && length(folder.join(&cursor.file)) >= cursor.written
            && length(run.file(EVENTS)) >= cursor.offset;
        if known {
            export.out = Some(export.file(&cursor.file, cursor.written)?);
            export.cursor = cursor;
        }
        Ok(export)
    }

    /// The event file; `None` before the first event.
    pub fn path(&self) -> Option<PathBuf> {
        self.out.as_ref().map(|_| self.folder.join(&self.cursor.file))
    }

    /// Takes what is new in the run. Gives how many events that were.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn advance(&mut self) -> Result<u64, FormatError> {
        let path = self.run.file(EVENTS);
        let mut reader = Reader::from(&path, self.cursor.offset);
        let (mut taken, mut failed) = (0, None);
        let read = reader.lines(|line, _| {
            if failed.is_some() {
                return;
            }
            // Lines that are no events are for other readers, or were torn by a full disk.
            if let Ok(event) = serde_json::from_str::<Event>(line) {
                taken += 1;
                failed = self.event(&event).err();
            }
        });
        read.map_err(|error| FormatError::io(&path, "cannot read", &error))?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(out) = &mut self.out
            && reader.offset() != self.cursor.offset
        {
            let file = self.folder.join(&self.cursor.file);
            let io = |error: io::Error| FormatError::io(&file, "cannot write", &error);
            out.flush().map_err(io)?;
            // What the cursor promises must be on the disk before it.
            out.get_ref().get_ref().sync_data().map_err(io)?;
            self.cursor.written = out.written();
            self.cursor.offset = reader.offset();
            let text = serde_json::to_string(&self.cursor).expect("plain data") + "\n";
            write_atomic(self.folder.join(CURSOR), |to| to.write_all(text.as_bytes()))?;
        }
        Ok(taken)
    }

    /// Opens the event file behind its sure part, for this export alone.
    fn file(&self, name: &str, written: u64) -> Result<Writer<BufWriter<File>>, FormatError> {
        let path = self.folder.join(name);
        let io = |error: io::Error| FormatError::io(&path, "cannot write", &error);
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FormatError::new(
                    ErrorKind::Io,
                    &path,
                    "event file",
                    "one export at a time",
                    "another one that writes it",
                ));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(_)) => {}
        }
        file.set_len(written).map_err(io)?;
        file.seek(SeekFrom::Start(written)).map_err(io)?;
        Ok(Writer::append(BufWriter::with_capacity(1 << 16, file), written))
    }

    fn event(&mut self, event: &Event) -> Result<(), FormatError> {
        if self.out.is_none() {
            let pid = if let What::Begin { pid, .. } = event.what { pid } else { 0 };
            let name = format!("events.out.tfevents.{:010}.{}.{pid}.0", event.t as u64, host());
            let file = self.file(&name, 0)?.into_inner();
            let path = self.folder.join(&name);
            let begun = Writer::begin(file, event.t);
            self.out = Some(begun.map_err(|error| FormatError::io(&path, "cannot write", &error))?);
            self.cursor.file = name;
        }
        let out = self.out.as_mut().expect("opened above");
        put(&self.run, out, event).map_err(|error| {
            FormatError::io(self.folder.join(&self.cursor.file), "cannot write", &error)
        })
    }
}

fn read_cursor(path: &Path) -> Result<Cursor, FormatError> {
    let limits = Limits { max_bytes: 1 << 16, ..Limits::default() };
    let mut file = nerve_formats::Reader::open(path, &limits)?;
    let length = file.remaining().unwrap_or(0);
    let bytes = file.bytes("cursor", length)?;
    let wrong = |found: String| {
        let expected = "what an export wrote; delete it to export anew";
        FormatError::new(ErrorKind::Malformed, path, "cursor", expected, found)
    };
    let cursor: Cursor =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    // The file is cut and written to: it must be one of ours.
    match cursor.file.contains("tfevents") && !cursor.file.contains(['/', '\\']) {
        true => Ok(cursor),
        false => Err(wrong(format!("the file `{}`", cursor.file))),
    }
}

/// The name of this machine, as it may stand in the name of a file.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = name.chars().filter(plain).take(60).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// Writes one event.
fn put<W: Write>(run: &RunFolder, out: &mut Writer<W>, event: &Event) -> io::Result<()> {
    let t = event.t;
    match &event.what {
        What::Begin { step: 0, .. } => {
            // TensorBoard takes the first such record for the start, each later one for a restart.
            out.restart(t, 0)?;
            begin(run, out, t)
        }
        What::Begin { step, .. } => out.restart(t, step + 1),
        What::Scalar { step, tag, v, .. } => out.scalar(t, *step, tag, v.0),
        What::Hist { step, tag, edges, counts, .. } => match sound(edges, counts) {
            true => out.histogram(t, *step, tag, &Histogram::of_bins(edges, counts)),
            false => Ok(()),
        },
        What::Image { step, tag, file, .. } => match picture(run, file) {
            Some((png, size, channels)) => out.image(t, *step, tag, &png, size, channels),
            None => Ok(()),
        },
        What::Text { step, tag, text } => out.text(t, *step, tag, text),
        What::Confusion { step, tag, labels, counts } if labels.len() <= MOST_CLASSES => {
            out.text(t, *step, &format!("confusion/{tag}"), &table(labels, counts))
        }
        What::Layer { step, tag, values, .. } => values
            .iter()
            .try_for_each(|(name, v)| out.scalar(t, *step, &format!("{name}/{tag}"), v.0)),
        What::System { step, cpu, memory, data_wait } => {
            let cpu = cpu.iter().map(|(name, share)| (format!("cpu_{name}"), *share));
            let memory = memory.iter().map(|(name, bytes)| (name.clone(), *bytes as f64));
            let Number(wait) = *data_wait;
            cpu.chain(memory)
                .chain([("data_wait".to_string(), wait)])
                .try_for_each(|(name, v)| out.scalar(t, *step, &format!("system/{name}"), v))
        }
        What::Note { level, text } => out.text(t, 0, "notes", &format!("**{level}**: {text}")),
        What::End { status, .. } => out.session_end(
            t,
            match status {
                Status::Done => SessionStatus::Success,
                Status::Running => SessionStatus::Running,
                _ => SessionStatus::Failure,
            },
        ),
        What::Confusion { .. } | What::Epoch { .. } | What::Checkpoint { .. } => Ok(()),
        What::Unknown => Ok(()),
    }
}

/// The settings and the recipe. A run whose recipe cannot be read has none.
fn begin<W: Write>(run: &RunFolder, out: &mut Writer<W>, t: f64) -> io::Result<()> {
    let Ok(settings) = settings(run) else { return Ok(()) };
    let plain = |setting: Setting| match setting {
        Setting::Integer(number) => tfevents::Setting::Number(number as f64),
        Setting::Float(number) => tfevents::Setting::Number(number),
        Setting::Text(text) => tfevents::Setting::Text(text),
        Setting::Bool(yes) => tfevents::Setting::Bool(yes),
    };
    let settings: Vec<_> =
        settings.into_iter().map(|(path, setting)| (path, plain(setting))).collect();
    out.hparams(t, &settings)?;
    match fs::read_to_string(run.file(RESOLVED)) {
        Ok(recipe) => out.text(t, 0, "recipe", &format!("```toml\n{recipe}\n```")),
        Err(_) => Ok(()),
    }
}

/// Whether bins are what TensorBoard takes: it drops the whole file over others.
fn sound(edges: &[f64], counts: &[u64]) -> bool {
    edges.len() == counts.len() + 1
        && !counts.is_empty()
        && edges.iter().all(|edge| edge.is_finite())
        && edges.is_sorted()
}

/// A PNG file of the run folder with its size and channels; `None` where there is none.
fn picture(run: &RunFolder, file: &str) -> Option<(Vec<u8>, [u32; 2], u8)> {
    // The name comes from a line of a file: it must not lead out of the folder.
    let path = Path::new(file);
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(())?;
    let limits = Limits { max_bytes: MOST_IMAGE, ..Limits::default() };
    let mut reader = nerve_formats::Reader::open(run.path().join(path), &limits).ok()?;
    let length = reader.remaining()?;
    let png = reader.bytes("picture", length).ok()?;
    let head = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(4..)?.strip_prefix(b"IHDR")?;
    let number = |at: usize| Some(u32::from_be_bytes(*head.get(at..)?.first_chunk()?));
    let channels = match head.get(9)? {
        0 => 1,
        4 => 2,
        6 => 4,
        _ => 3,
    };
    Some((png.clone(), [number(4)?, number(0)?], channels))
}

/// A table in Markdown: a row for each true class.
fn table(labels: &[String], counts: &[Vec<u64>]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace(['\n', '\r'], " ");
    let mut text = "| actual \\ predicted |".to_string();
    labels.iter().for_each(|label| text.push_str(&format!(" {} |", cell(label))));
    text.push_str("\n|---|");
    labels.iter().for_each(|_| text.push_str("---:|"));
    for (label, row) in labels.iter().zip(counts) {
        text.push_str(&format!("\n| {} |", cell(label)));
        row.iter().take(labels.len()).for_each(|count| text.push_str(&format!(" {count} |")));
    }
    text
}

/// Whether a run has ended, or was never heard of again, so that its events grow no more.
pub fn is_over(run: &RunFolder, now: f64) -> bool {
    match State::read(&run.file(crate::STATE)) {
        Ok(state) => state.alive(now) != crate::Alive::Yes,
        // Runs of before there were states; one that is just being made has no events either.
        Err(_) => run.file(EVENTS).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{begin, loss};
    use nerve_formats::tfevents::{Content, Record, Value};

    const RECIPE: &str = "seed = 7\n[trainer]\noptimizer = { type = \"adam\", lr = 0.001 }\n";

    fn run() -> (tempfile::TempDir, RunFolder) {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "a", &[(RESOLVED, RECIPE)]).unwrap();
        (root, run)
    }

    fn append(run: &RunFolder, events: &[What]) {
        let mut file = OpenOptions::new().create(true).append(true).open(run.file(EVENTS)).unwrap();
        for what in events {
            writeln!(file, "{}", Event { t: 5.0, what: what.clone() }.line()).unwrap();
        }
    }

    fn records(export: &TensorBoard) -> Vec<Record> {
        let path = export.path().unwrap();
        let mut file = nerve_formats::Reader::open(path, &Limits::default()).unwrap();
        tfevents::read(&mut file).unwrap()
    }

    fn steps(records: &[Record]) -> Vec<u64> {
        let scalar = |record: &&Record| matches!(&record.content, Content::Summary(values) if matches!(values[0].1, Value::Scalar(_)));
        records.iter().filter(scalar).map(|record| record.step).collect()
    }

    #[test]
    fn an_export_goes_on_and_writes_nothing_twice() {
        let (_root, run) = run();
        let folder = run.file(TENSORBOARD);
        let mut export = TensorBoard::open(&run, &folder).unwrap();
        assert_eq!((export.advance().unwrap(), export.path()), (0, None));
        append(&run, &[begin(0), loss(1), loss(2)]);
        assert_eq!(export.advance().unwrap(), 3);
        assert_eq!(export.advance().unwrap(), 0);
        let busy = TensorBoard::open(&run, &folder).unwrap_err();
        assert!(busy.to_string().contains("one export at a time"), "{busy}");
        append(&run, &[loss(3)]);
        // Killed in the middle: what is behind the sure part does not count.
        let path = export.path().unwrap();
        drop(export);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
        let mut export = TensorBoard::open(&run, &folder).unwrap();
        assert_eq!(export.advance().unwrap(), 1);
        append(&run, &[begin(2), loss(3)]);
        assert_eq!(export.advance().unwrap(), 2);
        let found = records(&export);
        assert_eq!(steps(&found), [1, 2, 3, 3]);
        let restarts: Vec<u64> = found
            .iter()
            .filter(|record| record.content == Content::Restart)
            .map(|record| record.step)
            .collect();
        assert_eq!(restarts, [0, 3], "points of step 3 and later are dropped");
        // The same in one go is the same file.
        let elsewhere = run.file("elsewhere");
        let mut other = TensorBoard::open(&run, &elsewhere).unwrap();
        other.advance().unwrap();
        let bytes = |export: &TensorBoard| fs::read(export.path().unwrap()).unwrap();
        assert_eq!(bytes(&other), bytes(&export));
    }

    #[test]
    fn what_was_deleted_is_made_anew_and_a_strange_cursor_is_an_error() {
        let (_root, run) = run();
        append(&run, &[begin(0), loss(1)]);
        let folder = run.file(TENSORBOARD);
        let mut export = TensorBoard::open(&run, &folder).unwrap();
        export.advance().unwrap();
        let path = export.path().unwrap();
        let whole = fs::read(&path).unwrap();
        drop(export);
        fs::remove_file(&path).unwrap();
        let mut export = TensorBoard::open(&run, &folder).unwrap();
        assert_eq!(export.advance().unwrap(), 2);
        assert_eq!(fs::read(&path).unwrap(), whole);
        drop(export);
        for text in ["{}", r#"{"file":"../tfevents","written":0,"offset":0}"#] {
            fs::write(folder.join(CURSOR), text).unwrap();
            let error = TensorBoard::open(&run, &folder).unwrap_err().to_string();
            assert!(error.contains("delete it to export anew"), "{error}");
        }
    }

    #[test]
    fn every_kind_of_event_is_taken_or_left_out() {
        let (_root, run) = run();
        // The head of a PNG of 3 by 2 pixels in colour.
        let head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0";
        fs::write(run.file("a.png"), head).unwrap();
        let image = |file: &str| What::Image {
            step: 1,
            tag: "samples".into(),
            file: file.into(),
            caption: String::new(),
        };
        let hist = |edges: &[f64]| What::Hist {
            step: 1,
            epoch: 1,
            tag: "weights/a".into(),
            edges: edges.to_vec(),
            counts: vec![1, 2],
            bad: 0,
        };
        let values = [("dead".to_string(), Number(0.5))].into();
        let confusion = What::Confusion {
            step: 1,
            tag: "val/y".into(),
            labels: vec!["a|b".into(), "c".into()],
            counts: vec![vec![3, 1], vec![0, 2]],
        };
        append(
            &run,
            &[
                begin(0),
                image("a.png"),
                image("../a/a.png"),
                image("/etc/passwd"),
                image("absent.png"),
                hist(&[0.0, 1.0, 2.0]),
                hist(&[0.0, 1.0]),
                hist(&[0.0, 2.0, 1.0]),
                What::Layer { step: 1, epoch: 1, tag: "2.ReLU".into(), values },
                confusion,
                What::Text { step: 1, tag: "t".into(), text: "x".into() },
                What::Unknown,
                What::End { status: Status::Done, reason: String::new(), step: 1 },
            ],
        );
        let mut export = TensorBoard::open(&run, &run.file("tb")).unwrap();
        assert_eq!(export.advance().unwrap(), 13);
        let tags: Vec<String> = records(&export)
            .into_iter()
            .filter_map(|record| match record.content {
                Content::Summary(values) => Some(values[0].0.clone()),
                _ => None,
            })
            .collect();
        let expected = [
            "_hparams_/session_start_info",
            "recipe",
            "samples",
            "weights/a",
            "dead/2.ReLU",
            "confusion/val/y",
            "t",
            "_hparams_/session_end_info",
        ];
        assert_eq!(tags, expected);
        let labels = ["a|b".to_string(), "c".to_string()];
        assert_eq!(
            table(&labels, &[vec![3, 1], vec![0, 2]]),
            "| actual \\ predicted | a\\|b | c |\n|---|---:|---:|\n| a\\|b | 3 | 1 |\n| c | 0 | 2 |"
        );
    }
}
