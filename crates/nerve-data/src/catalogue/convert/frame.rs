//! Frames of pandas, pickled, as CSV.

use std::borrow::Cow;

use nerve_formats::archive::{Member, decompress};
use nerve_formats::pickle::{Id, Node, Pickle};
use nerve_formats::{FormatError, Limits};

use super::{Job, csv_line};
use crate::DataError;

/// Each member is a pickled frame and becomes a CSV file of its own, without the columns to drop, with others renamed.
pub(super) fn make(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let pairs = job.way.take.iter().zip(job.entry.files);
    pairs
        .map(|(from, to)| {
            let member = job.member(from)?;
            let bytes = decompress(&member.path, &member.bytes, &Limits::default())?;
            let mut columns = read(&Pickle::read(&member.path, &bytes)?)?;
            columns.retain(|(name, _)| !job.way.drop.contains(&name.as_str()));
            for (name, _) in &mut columns {
                let new = job.way.rename.iter().find(|(old, _)| old == name);
                if let Some((_, new)) = new {
                    *name = new.to_string();
                }
            }
            Ok(Member { path: to.to_string(), bytes: csv(&columns).into_bytes() })
        })
        .collect()
}

type Column<'a> = (String, Vec<Cow<'a, str>>);

fn csv(columns: &[Column<'_>]) -> String {
    let mut text = String::new();
    csv_line(&mut text, columns.iter().map(|(name, _)| name.as_str()));
    for row in 0..columns.first().map_or(0, |(_, cells)| cells.len()) {
        csv_line(&mut text, columns.iter().map(|(_, cells)| cells[row].as_ref()));
    }
    text
}

/// The columns of a frame as pandas 2 keeps it: a manager of blocks, each an array whose rows are columns of the frame.
fn read<'a>(p: &Pickle<'a>) -> Result<Vec<Column<'a>>, FormatError> {
    let wrong = |what: &str, id: Id| p.mismatch(what, "what pandas 2 writes", &p.describe(id));
    let root = p.root();
    let manager = p.call(root, "DataFrame").and_then(|(frame, _)| p.value(frame.state?, "_mgr"));
    let manager = manager.ok_or_else(|| wrong("frame", root))?;
    let parts =
        p.call(manager, "BlockManager").and_then(|(_, args)| Some((args.first()?, args.get(1)?)));
    let (blocks, axes) = parts.ok_or_else(|| wrong("manager of blocks", manager))?;
    let names = p.items(*axes).and_then(|axes| axes.first());
    let names = names
        .and_then(|axis| names_of(p, *axis))
        .ok_or_else(|| wrong("names of columns", *axes))?;
    let mut columns: Vec<Column<'a>> = names.into_iter().map(|name| (name, Vec::new())).collect();
    for block in p.items(*blocks).ok_or_else(|| wrong("blocks", *blocks))? {
        place(p, *block, &mut columns).ok_or_else(|| wrong("block", *block))?;
    }
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    match columns.iter().all(|(_, cells)| cells.len() == rows) {
        true => Ok(columns),
        false => Err(p.mismatch("columns", "as many rows in each", "more in one than in another")),
    }
}

/// The texts of an `Index`.
fn names_of(p: &Pickle<'_>, axis: Id) -> Option<Vec<String>> {
    let (_, args) = p.call(axis, "_new_Index")?;
    let array = Array::read(p, p.value(*args.get(1)?, "data")?)?;
    (array.shape.len() == 1).then_some(())?;
    (0..array.shape[0]).map(|i| Some(array.cell(p, i)?.into_owned())).collect()
}

/// Puts the rows of a block where they belong among the columns.
fn place<'a>(p: &Pickle<'a>, block: Id, columns: &mut [Column<'a>]) -> Option<()> {
    let (_, args) = p.call(block, "_unpickle_block")?;
    let [array, places, _] = *args else { return None };
    let array = Array::read(p, array)?;
    let [height, width] = *array.shape.as_slice() else { return None };
    let places = positions(p, places, height)?;
    for (row, column) in places.into_iter().enumerate() {
        let (_, cells) = columns.get_mut(column)?;
        let at = |i| if array.fortran { i * height + row } else { row * width + i };
        *cells = (0..width).map(|i| array.cell(p, at(i))).collect::<Option<_>>()?;
    }
    Some(())
}

/// Which column each row of a block is: a slice, or an array of numbers.
fn positions(p: &Pickle<'_>, id: Id, count: usize) -> Option<Vec<usize>> {
    if let Some((_, args)) = p.call(id, "slice") {
        let [start, _, step] = *args else { return None };
        let (start, step) = (p.int(start)?, p.int(step)?);
        return (0..count as i64)
            .map(|i| usize::try_from(step.checked_mul(i)?.checked_add(start)?).ok())
            .collect();
    }
    let array = Array::read(p, id)?;
    (array.shape == [count]).then_some(())?;
    (0..count).map(|i| array.cell(p, i)?.parse().ok()).collect()
}

/// An array of NumPy.
struct Array<'p, 'a> {
    shape: Vec<usize>,
    /// Whether the first index runs fastest.
    fortran: bool,
    kind: &'a str,
    values: Values<'p, 'a>,
}

enum Values<'p, 'a> {
    Bytes(&'a [u8]),
    Objects(&'p [Id]),
}

impl<'p, 'a> Array<'p, 'a> {
    fn read(p: &'p Pickle<'a>, id: Id) -> Option<Array<'p, 'a>> {
        let (values, kind, shape, fortran) = match p.call(id, "_frombuffer") {
            Some((_, args)) => {
                let [values, kind, shape, order] = *args else { return None };
                (values, kind, shape, p.text(order)? == "F")
            }
            None => {
                let (object, _) = p.call(id, "_reconstruct")?;
                let [_, shape, kind, fortran, values] = *p.items(object.state?)? else {
                    return None;
                };
                (values, kind, shape, *p.node(fortran) == Node::Bool(true))
            }
        };
        let shape: Option<Vec<usize>> =
            p.items(shape)?.iter().map(|id| usize::try_from(p.int(*id)?).ok()).collect();
        let (shape, kind) = (shape?, kind_of(p, kind)?);
        let count = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n))?;
        let values = match kind {
            "O8" => Values::Objects(p.items(values).filter(|items| items.len() == count)?),
            _ => {
                let width: usize = kind.get(1..)?.parse().ok()?;
                let bytes = p.bytes(values)?;
                (count.checked_mul(width) == Some(bytes.len())).then_some(Values::Bytes(bytes))?
            }
        };
        Some(Array { shape, fortran, kind, values })
    }

    /// A value as text; empty where there is none.
    fn cell(&self, p: &Pickle<'a>, i: usize) -> Option<Cow<'a, str>> {
        let bytes = match self.values {
            Values::Objects(ids) => return object(p, *ids.get(i)?),
            Values::Bytes(bytes) => bytes,
        };
        let chunk = || bytes.get(8 * i..)?.first_chunk::<8>().copied();
        match self.kind {
            "f8" => Some(number(f64::from_le_bytes(chunk()?))),
            "i8" => Some(i64::from_le_bytes(chunk()?).to_string().into()),
            "i4" => {
                Some(i32::from_le_bytes(*bytes.get(4 * i..)?.first_chunk()?).to_string().into())
            }
            "b1" => Some(if *bytes.get(i)? == 0 { "false" } else { "true" }.into()),
            _ => None,
        }
    }
}

/// The kind of element: `f8`, `i8`, ..., the least significant byte first.
fn kind_of<'a>(p: &Pickle<'a>, id: Id) -> Option<&'a str> {
    let (object, args) = p.call(id, "dtype")?;
    let order = p.items(object.state?)?.get(1)?;
    matches!(p.text(*order)?, "<" | "|").then_some(())?;
    p.text(*args.first()?)
}

fn object<'a>(p: &Pickle<'a>, id: Id) -> Option<Cow<'a, str>> {
    match p.node(id) {
        Node::None => Some("".into()),
        Node::Float(value) => Some(number(*value)),
        Node::Int(value) => Some(value.to_string().into()),
        Node::Bool(value) => Some(if *value { "true" } else { "false" }.into()),
        _ => p.text(id).map(Cow::Borrowed),
    }
}

/// The shortest text that reads back as the same number; nothing for NaN.
fn number(value: f64) -> Cow<'static, str> {
    if value.is_nan() { "".into() } else { value.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::make_files;

    /// A frame of four columns: texts with a None, floats with a NaN, whole numbers, truth values; as pandas 2.2 pickles it
    /// (`tests/frame.py` makes it).
    const FRAME: &[u8] = include_bytes!("../../../tests/golden/frame.pkl.xz");

    #[test]
    fn a_frame_becomes_csv() {
        let more = "drop = [\"whole\"]\nrename = { name = \"who\" }";
        let files = make_files("frame", &["f.pkl"], &[("f.pkl", FRAME)], more);
        let text = String::from_utf8(files[0].bytes.clone()).unwrap();
        assert_eq!(text, "who,price,there\n\"a, b\",1.5,true\n,,false\nc,-2,true\n");
    }
}
