//! Weights in files beside the model.
//!
//! A model from outside says which file is opened, so the file must be a plain one in the model's own
//! folder: a name without separators, opened without following links, with one name only, and read
//! through the descriptor that was checked.

use super::{AttributeValue, External, Graph, Model, Node, Tensor, TensorData};
use crate::{ErrorKind, FormatError};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, FormatError>;

const MAX_NAME: usize = 255;

/// What the entries of a tensor say.
pub(super) fn place(file: &str, field: &str, entries: &[(String, String)]) -> Result<External> {
    let wrong = |expected: &str, found: &str| {
        FormatError::new(
            ErrorKind::Malformed,
            file,
            format!("external data of {field}"),
            expected,
            found,
        )
    };
    let mut place = External::default();
    for (i, (key, value)) in entries.iter().enumerate() {
        if entries[..i].iter().any(|(earlier, _)| earlier == key) {
            return Err(wrong("each key once", &format!("{key:?} twice")));
        }
        let number = || {
            let number = value.parse::<u64>().ok().filter(|&n| n < 1 << 63);
            number.ok_or_else(|| wrong("a number of bytes", &format!("{key} = {value:?}")))
        };
        match key.as_str() {
            "location" => place.location = value.clone(),
            "offset" => place.offset = number()?,
            "length" => place.length = Some(number()?),
            // A checksum, or what a later version adds.
            _ => {}
        }
    }
    let name = place.location.as_str();
    let plain = !name.is_empty()
        && name.len() <= MAX_NAME
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\\', '\0', ':']);
    match plain {
        true => Ok(place),
        false => Err(wrong("the name of a file in the model's own folder", &format!("{name:?}"))),
    }
}

/// The folder of a model, and the files in it that were opened.
#[derive(Default)]
pub(super) struct Folder {
    file: String,
    path: PathBuf,
    opened: HashMap<String, Opened>,
}

struct Opened {
    file: File,
    bytes: u64,
    /// How much may still be asked for: the size once, and as much again for weights that are shared.
    budget: u64,
}

impl Folder {
    pub(super) fn new(file: &str, path: &Path) -> Folder {
        Folder { file: file.to_string(), path: path.to_path_buf(), opened: HashMap::new() }
    }

    /// Reads what lies in files of the folder.
    pub(super) fn fill(&mut self, model: &mut Model) -> Result<()> {
        self.graph(&mut model.graph)?;
        model.functions.iter_mut().try_for_each(|function| self.nodes(&mut function.nodes))
    }

    fn graph(&mut self, graph: &mut Graph) -> Result<()> {
        graph.initializers.iter_mut().try_for_each(|tensor| self.tensor(tensor))?;
        for sparse in &mut graph.sparse_initializers {
            self.tensor(&mut sparse.values)?;
            self.tensor(&mut sparse.indices)?;
        }
        self.nodes(&mut graph.nodes)
    }

    fn nodes(&mut self, nodes: &mut [Node]) -> Result<()> {
        for attribute in nodes.iter_mut().flat_map(|node| &mut node.attributes) {
            match &mut attribute.value {
                AttributeValue::Tensor(tensor) => self.tensor(tensor)?,
                AttributeValue::Tensors(tensors) => {
                    tensors.iter_mut().try_for_each(|tensor| self.tensor(tensor))?;
                }
                AttributeValue::Graph(graph) => self.graph(graph)?,
                AttributeValue::Graphs(graphs) => {
                    graphs.iter_mut().try_for_each(|graph| self.graph(graph))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut Tensor) -> Result<()> {
        let TensorData::External(place) = &tensor.data else { return Ok(()) };
        let bytes = self.read(&format!("tensor {:?}", tensor.name), &place.clone())?;
        tensor.data = TensorData::Bytes(bytes);
        tensor.check(&self.file, None)
    }

    fn read(&mut self, field: &str, place: &External) -> Result<Vec<u8>> {
        if !self.opened.contains_key(&place.location) {
            let opened = open(&self.path.join(&place.location))?;
            self.opened.insert(place.location.clone(), opened);
        }
        let opened = self.opened.get_mut(&place.location).expect("it was just put there");
        let wrong = |expected: String, found: String| {
            FormatError::new(ErrorKind::Malformed, &place.location, field, expected, found)
                .at(place.offset)
        };
        let left = opened.bytes.saturating_sub(place.offset);
        let length = place.length.unwrap_or(left);
        if length > left {
            return Err(wrong(format!("{length} bytes"), format!("{left} of {}", opened.bytes)));
        }
        opened.budget = opened.budget.checked_sub(length).ok_or_else(|| {
            wrong("each byte used by few tensors".into(), "more than twice the file's size".into())
        })?;
        let failed = |e: std::io::Error| FormatError::io(&place.location, "cannot read", &e);
        opened.file.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        (&mut opened.file).take(length).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(wrong(format!("{length} bytes"), format!("{}", bytes.len()))),
        }
    }
}

/// Opens a regular file that has one name, without following a link and without waiting for a pipe.
fn open(path: &Path) -> Result<Opened> {
    let failed = |e: std::io::Error| FormatError::io(path, "cannot open", &e);
    let refuse = |found: &str| {
        FormatError::new(ErrorKind::Io, path, "kind of file", "a regular file with one name", found)
    };
    let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
    if kind.is_symlink() {
        return Err(refuse("a symbolic link"));
    }
    crate::reader::require_regular(path, kind)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(NO_FOLLOW_NO_WAIT);
    }
    let file = options.open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    crate::reader::require_regular(path, meta.file_type())?;
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&meta) > 1 {
        return Err(refuse("one with several names (hard links)"));
    }
    let bytes = meta.len();
    Ok(Opened { file, bytes, budget: bytes.saturating_mul(2) })
}

/// `O_NOFOLLOW | O_NONBLOCK`: the file may be another one than a moment ago, when its kind was asked.
#[cfg(all(unix, target_os = "linux", not(any(target_arch = "arm", target_arch = "aarch64"))))]
const NO_FOLLOW_NO_WAIT: i32 = 0o400_000 | 0o4000;
/// `O_NOFOLLOW | O_NONBLOCK`.
#[cfg(all(unix, target_os = "linux", any(target_arch = "arm", target_arch = "aarch64")))]
const NO_FOLLOW_NO_WAIT: i32 = 0o100_000 | 0o4000;
/// `O_NOFOLLOW | O_NONBLOCK`.
#[cfg(all(unix, not(target_os = "linux")))]
const NO_FOLLOW_NO_WAIT: i32 = 0x100 | 0x4;
