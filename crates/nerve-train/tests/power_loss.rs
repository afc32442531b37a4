//! K09: the power fails while checkpoints are written.
//!
//! A process saves a few, and strace writes down what it asks of the file system. What a disk may hold if the power fails
//! is built from that log: at every call, what was synced is there, and of what was not any suffix is lost, the content of
//! files alone, or the names alone. From each such state the last checkpoint is read: it is whole, and none that was
//! promised is missing.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use nerve_core::DType;
use nerve_formats::write_atomic;
use nerve_nn::state::StateTensor;
use nerve_train::checkpoint::Position;
use nerve_train::{Checkpoints, Snapshot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "NERVE_POWER_LOSS";
const SAVES: u64 = 8;

fn snapshot(step: u64) -> Snapshot {
    let bytes = (0..3000u64).map(|i| (i * step % 251) as u8).collect();
    let (name, shape) = ("model/w".to_string(), [3000].into());
    let position = Position { step, epoch: step, samples: 0 };
    Snapshot::new(position, vec![StateTensor { name, dtype: DType::U8, shape, bytes }])
}

/// What the process does that loses its power. After each save a folder that is not there is removed: the mark, in the
/// log, that the save was promised.
fn save_all(folder: &Path) {
    let checkpoints = Checkpoints::open(folder).unwrap();
    for step in 1..=SAVES {
        checkpoints.save(&snapshot(step), step == 2).unwrap();
        write_atomic(folder.join("model"), |file| file.write_all(&[step as u8; 500])).unwrap();
        let _ = fs::remove_dir(folder.join(format!("promised-{step}")));
    }
}

/// A call that changed the file system, on inodes that are numbered; 0 is the folder.
enum Op {
    Link { folder: usize, name: String, inode: usize },
    Unlink { folder: usize, name: String },
    Rename { from: (usize, String), to: (usize, String) },
    Write { inode: usize, at: usize, bytes: Vec<u8> },
    Cut { inode: usize, length: usize },
    Sync { inode: usize },
    Promise { step: u64 },
}

impl Op {
    /// The inodes that a sync makes it safe of.
    fn inodes(&self) -> Vec<usize> {
        match self {
            Op::Link { folder, .. } | Op::Unlink { folder, .. } => vec![*folder],
            Op::Rename { from, to } => vec![from.0, to.0],
            Op::Write { inode, .. } | Op::Cut { inode, .. } => vec![*inode],
            Op::Sync { .. } | Op::Promise { .. } => Vec::new(),
        }
    }

    fn is_content(&self) -> bool {
        matches!(self, Op::Write { .. } | Op::Cut { .. })
    }
}

/// The tree as it is while the log is read, so that paths lead to inodes.
struct Tree {
    root: String,
    entries: HashMap<usize, BTreeMap<String, usize>>,
    inodes: usize,
    /// Open files: the inode, the path, how far it is written.
    open: HashMap<i64, (Option<usize>, String, usize)>,
    ops: Vec<Op>,
}

impl Tree {
    fn new(root: &Path) -> Tree {
        let entries = HashMap::from([(0, BTreeMap::new())]);
        let root = root.to_str().unwrap().to_string();
        Tree { root, entries, inodes: 1, open: HashMap::new(), ops: Vec::new() }
    }

    fn find(&self, path: &str) -> Option<usize> {
        let below = path.strip_prefix(&self.root)?;
        let mut parts = below.split('/').filter(|part| !part.is_empty() && *part != ".");
        parts.try_fold(0, |at, part| self.entries.get(&at)?.get(part).copied())
    }

    /// The folder and the name of a path, if it lies in the folder that is watched.
    fn place(&self, path: &str) -> Option<(usize, String)> {
        let (folder, name) = path.rsplit_once('/')?;
        Some((self.find(folder)?, name.to_string()))
    }

    fn make(&mut self, path: &str, folder: bool) -> Option<usize> {
        let (parent, name) = self.place(path)?;
        let inode = self.inodes;
        self.inodes += 1;
        if folder {
            self.entries.insert(inode, BTreeMap::new());
        }
        self.entries.get_mut(&parent)?.insert(name.clone(), inode);
        self.ops.push(Op::Link { folder: parent, name, inode });
        Some(inode)
    }

    fn unlink(&mut self, path: &str) {
        let Some((folder, name)) = self.place(path) else { return };
        self.entries.get_mut(&folder).unwrap().remove(&name);
        self.ops.push(Op::Unlink { folder, name });
    }

    fn opened(&mut self, path: &str, flags: &str, fd: i64) {
        let mut inode = self.find(path);
        if inode.is_none() && flags.contains("O_CREAT") {
            inode = self.make(path, false);
        } else if let (Some(inode), true) = (inode, flags.contains("O_TRUNC")) {
            self.ops.push(Op::Cut { inode, length: 0 });
        }
        self.open.insert(fd, (inode, path.to_string(), 0));
    }

    /// A call that succeeded, or the mark of a promise.
    fn call(&mut self, name: &str, args: &str, result: i64) {
        let texts = texts(args);
        let text = |i: usize| texts.get(i).map(|bytes| String::from_utf8_lossy(bytes).to_string());
        let fd = || args.split([',', ')']).next().and_then(|fd| fd.trim().parse::<i64>().ok());
        // A path from an open folder, or from where the process stands.
        let within = |tree: &Tree, path: String| match fd().and_then(|fd| tree.open.get(&fd)) {
            Some((_, folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
            _ => path,
        };
        if let ("rmdir", Some(path)) = (name, text(0))
            && let Some((_, step)) = path.rsplit_once("/promised-")
        {
            return self.ops.push(Op::Promise { step: step.parse().unwrap() });
        }
        if result < 0 {
            return;
        }
        match name {
            "mkdir" => _ = self.make(&text(0).unwrap(), true),
            "openat" => self.opened(&within(self, text(0).unwrap()), args, result),
            "close" => _ = fd().and_then(|fd| self.open.remove(&fd)),
            "rmdir" | "unlink" => self.unlink(&text(0).unwrap()),
            "unlinkat" => self.unlink(&within(self, text(0).unwrap())),
            "write" => {
                if let Some((Some(inode), _, at)) = fd().and_then(|fd| self.open.get_mut(&fd)) {
                    let bytes = texts[0][..result as usize].to_vec();
                    self.ops.push(Op::Write { inode: *inode, at: *at, bytes });
                    *at += result as usize;
                }
            }
            "fsync" | "fdatasync" => {
                if let Some((Some(inode), ..)) = fd().and_then(|fd| self.open.get(&fd)) {
                    self.ops.push(Op::Sync { inode: *inode });
                }
            }
            "rename" => {
                let (from, to) = (self.place(&text(0).unwrap()), self.place(&text(1).unwrap()));
                let (Some(from), Some(to)) = (from, to) else { return };
                let inode = self.entries.get_mut(&from.0).unwrap().remove(&from.1).unwrap();
                self.entries.get_mut(&to.0).unwrap().insert(to.1.clone(), inode);
                self.ops.push(Op::Rename { from, to });
            }
            other => panic!("{other}({args}) is not modelled"),
        }
    }
}

/// The texts among the arguments, each byte of which stands as `\x2f`.
fn texts(args: &str) -> Vec<Vec<u8>> {
    let quoted = args.split('"').skip(1).step_by(2);
    let bytes = |text: &str| {
        let digits = text.split("\\x").skip(1);
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    };
    quoted.map(bytes).collect()
}

/// The calls of a log of strace, in their order; those of two threads at once are put together again.
fn read(log: &str, tree: &mut Tree) {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    for line in log.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        let whole = match rest.strip_suffix("<unfinished ...>") {
            Some(first) => {
                begun.insert(thread, first);
                continue;
            }
            None => match rest.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>")) {
                Some((_, end)) => format!("{}{end}", begun.remove(thread).unwrap()),
                None => rest.to_string(),
            },
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let Some((args, result)) = rest.rsplit_once(" = ") else { continue };
        let result = result.split(' ').next().and_then(|result| result.parse().ok());
        if let (Some(result), false) = (result, name.starts_with(['+', '-'])) {
            tree.call(name, args, result);
        }
    }
}

/// What lies in the folder: contents by path, nothing for folders.
type State = BTreeMap<String, Option<Vec<u8>>>;

/// What the disk holds where these calls have reached it.
fn state(ops: &[Op], reached: impl Fn(usize) -> bool) -> State {
    let mut entries: HashMap<usize, BTreeMap<&str, usize>> = HashMap::new();
    let mut contents: HashMap<usize, Vec<u8>> = HashMap::new();
    for (_, op) in ops.iter().enumerate().filter(|(i, _)| reached(*i)) {
        match op {
            Op::Link { folder, name, inode } => {
                entries.entry(*folder).or_default().insert(name, *inode);
            }
            Op::Unlink { folder, name } => _ = entries.entry(*folder).or_default().remove(&**name),
            Op::Rename { from, to } => {
                // A name that never reached the disk cannot be moved there.
                if let Some(inode) = entries.entry(from.0).or_default().remove(&*from.1) {
                    entries.entry(to.0).or_default().insert(&to.1, inode);
                }
            }
            Op::Write { inode, at, bytes } => {
                let content = contents.entry(*inode).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Cut { inode, length } => contents.entry(*inode).or_default().truncate(*length),
            Op::Sync { .. } | Op::Promise { .. } => {}
        }
    }
    let folders: BTreeSet<usize> = ops.iter().flat_map(Op::inodes).collect();
    let files: BTreeSet<usize> =
        ops.iter().filter(|op| op.is_content()).flat_map(Op::inodes).collect();
    let mut state = State::new();
    let mut todo = vec![(String::new(), 0)];
    while let Some((path, inode)) = todo.pop() {
        for (name, &inode) in entries.get(&inode).into_iter().flatten() {
            let path = format!("{path}/{name}");
            if files.contains(&inode) || !folders.contains(&inode) {
                state.insert(path, Some(contents.get(&inode).cloned().unwrap_or_default()));
            } else {
                state.insert(path.clone(), None);
                todo.push((path, inode));
            }
        }
    }
    state
}

/// All that the disk may hold, and up to which step it was promised at least then.
fn states(ops: &[Op]) -> BTreeSet<(State, u64)> {
    let mut found = BTreeSet::new();
    for end in 0..=ops.len() {
        let now = &ops[..end];
        let promised = now.iter().filter_map(|op| match op {
            Op::Promise { step } => Some(*step),
            _ => None,
        });
        let promised = promised.max().unwrap_or(0);
        let safe: Vec<bool> = (0..end)
            .map(|i| {
                let synced = |inode: &usize| {
                    now[i..].iter().any(|op| matches!(op, Op::Sync { inode: it } if it == inode))
                };
                now[i].inodes().iter().all(synced)
            })
            .collect();
        for cut in 0..=end {
            if cut < end && safe[cut] {
                continue;
            }
            found.insert((state(now, |i| safe[i] || i < cut), promised));
            let content = |i: usize| now[i].is_content();
            found.insert((state(now, |i| safe[i] || i < cut || !content(i)), promised));
            found.insert((state(now, |i| safe[i] || i < cut || content(i)), promised));
        }
    }
    found
}

fn lay_out(state: &State, folder: &Path) {
    for (path, content) in state {
        let path = folder.join(&path[1..]);
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(content) => fs::write(path, content).unwrap(),
        }
    }
}

fn holds(state: &State, promised: u64, folder: &Path) {
    lay_out(state, folder);
    let names = || state.keys().cloned().collect::<Vec<_>>();
    let checkpoints = Checkpoints::open(folder).unwrap();
    let last = checkpoints.last().unwrap_or_else(|error| panic!("{error}: {:?}", names()));
    let step = last.as_ref().map_or(0, |found| found.snapshot.position.step);
    assert!(step >= promised, "{step} of {promised}: {:?}", names());
    if let Some(found) = &last {
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
        assert_eq!(found.snapshot, snapshot(step));
    }
    if promised >= 2 {
        let best = checkpoints.best().unwrap_or_else(|| panic!("no best: {:?}", names()));
        assert!(
            best.join("manifest.json").is_file() && best.ends_with("step-000000002-epoch-0002")
        );
    }
    let model = fs::read(folder.join("model")).unwrap_or_default();
    let number = model.first().map_or(0, |&step| u64::from(step));
    assert!(number >= promised, "model {number} of {promised}: {:?}", names());
    assert!(number == 0 || model == [number as u8; 500], "{} bytes of {number}", model.len());
    // And it goes on from there.
    checkpoints.save(&snapshot(9), false).unwrap();
    assert_eq!(checkpoints.last().unwrap().unwrap().snapshot.position.step, 9);
}

#[test]
fn k09_whatever_the_disk_kept_is_an_old_or_a_new_checkpoint() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return save_all(Path::new(&folder));
    }
    let here = tempfile::tempdir().unwrap();
    let (folder, log) = (here.path().join("checkpoints"), here.path().join("log"));
    fs::create_dir(&folder).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-xx", "-s", "1000000", "-o"]).arg(&log);
    strace.args([
        "-e",
        "trace=openat,close,write,fsync,fdatasync,mkdir,rmdir,unlink,unlinkat,rename",
    ]);
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", "--test-threads=1"]);
    strace.arg("k09_whatever_the_disk_kept_is_an_old_or_a_new_checkpoint").env(FOLDER, &folder);
    match strace.output() {
        Ok(ran) if ran.status.success() => {}
        other => return println!("skipped: strace does not run here: {other:?}"),
    }
    let mut tree = Tree::new(&folder);
    read(&fs::read_to_string(&log).unwrap(), &mut tree);
    let promises = tree.ops.iter().filter(|op| matches!(op, Op::Promise { .. })).count();
    assert_eq!(promises, SAVES as usize, "the log was not understood");
    // The model is the file system's own: with nothing lost it is what lies there.
    let whole = state(&tree.ops, |_| true);
    let again = here.path().join("again");
    fs::create_dir(&again).unwrap();
    lay_out(&whole, &again);
    for (path, content) in &whole {
        let real = folder.join(&path[1..]);
        assert!(
            content.as_ref().map_or(real.is_dir(), |it| fs::read(&real).unwrap() == *it),
            "{path}"
        );
    }
    let states = states(&tree.ops);
    assert!(states.len() > 100, "{}", states.len());
    for (i, (state, promised)) in states.iter().enumerate() {
        let folder = here.path().join(format!("state-{i}"));
        fs::create_dir(&folder).unwrap();
        holds(state, *promised, &folder);
        fs::remove_dir_all(&folder).unwrap();
    }
    println!("{} calls, {} states", tree.ops.len(), states.len());
}

/// The check itself: a writer that syncs nothing is caught.
#[test]
fn a_writer_that_does_not_sync_loses_what_it_promised() {
    let write = |inode, bytes: &[u8]| Op::Write { inode, at: 0, bytes: bytes.to_vec() };
    let ops = [
        Op::Link { folder: 0, name: ".tmp".into(), inode: 1 },
        write(1, b"whole"),
        Op::Rename { from: (0, ".tmp".into()), to: (0, "file".into()) },
        Op::Promise { step: 1 },
    ];
    let contents = |promise: u64| -> BTreeSet<Option<Vec<u8>>> {
        let all = states(&ops);
        let promised = all.iter().filter(|(_, promised)| *promised == promise);
        promised.map(|(state, _)| state.get("/file").cloned().flatten()).collect()
    };
    assert_eq!(contents(1), BTreeSet::from([None, Some(Vec::new()), Some(b"whole".to_vec())]));
}
