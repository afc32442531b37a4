//! Data frames of R, in the form in which packages of R keep them (`.rda`, `save`).
//!
//! A stream of values in XDR, the most significant byte first: each begins with a word that holds its kind, and whether
//! attributes and a name follow (R Internals, section 1.8). Kinds that hold code or surroundings are refused.

use crate::error::FormatError;
use crate::reader::Reader;

/// A column of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum RColumn {
    /// Truth values.
    Logical(Vec<Option<bool>>),
    /// Whole numbers.
    Integers(Vec<Option<i32>>),
    /// Numbers; what R has no value for is NaN.
    Reals(Vec<f64>),
    /// Texts.
    Texts(Vec<Option<String>>),
    /// One of several names: the names, and for each row the number of one of them, from 0.
    Factor(Vec<String>, Vec<Option<usize>>),
}

/// A data frame: the columns with their names, in their order.
pub type RFrame = Vec<(String, RColumn)>;

/// The data frames of an `.rda` file, with their names. `bytes` are decompressed.
///
/// # Errors
/// The file is damaged, of another form than R's XDR of version 2 or 3, or holds something that is no data frame.
pub fn read_rda(file: &str, bytes: &[u8]) -> Result<Vec<(String, RFrame)>, FormatError> {
    let mut stream = Stream { reader: Reader::from_slice(file, bytes), symbols: Vec::new() };
    stream.header()?;
    let mut frames = Vec::new();
    for (name, value) in stream.pairs(0)? {
        frames.push((name, stream.frame(value)?));
    }
    Ok(frames)
}

/// Missing whole numbers and truth values.
const NA: i32 = i32::MIN;
/// How deep values may lie in each other; a frame has three levels.
const MOST_DEPTH: usize = 32;

/// A value with its attributes.
struct Value {
    data: Data,
    attributes: Vec<(String, Value)>,
}

enum Data {
    Null,
    Symbol(String),
    Char(Option<String>),
    Logical(Vec<i32>),
    Integers(Vec<i32>),
    Reals(Vec<f64>),
    Texts(Vec<Option<String>>),
    List(Vec<Value>),
    Pairs(Vec<(String, Value)>),
}

struct Stream<'a> {
    reader: Reader<'a>,
    symbols: Vec<String>,
}

type Read<T> = Result<T, FormatError>;

impl Stream<'_> {
    fn header(&mut self) -> Read<()> {
        let magic = self.reader.array::<7>("magic")?;
        if !matches!(&magic, b"RDX2\nX\n" | b"RDX3\nX\n") {
            return Err(self.wrong("magic", "RDX2 or RDX3 in XDR", "something else"));
        }
        let version = self.reader.u32_be("version")?;
        self.reader.bytes("versions of R", 8)?;
        match version {
            2 => Ok(()),
            // The name of an encoding.
            3 => {
                let length = self.reader.u32_be("encoding")?;
                self.reader.bytes("encoding", length.into()).map(|_| ())
            }
            other => Err(self.wrong("version", "2 or 3", &other.to_string())),
        }
    }

    /// A list of named values.
    fn pairs(&mut self, depth: usize) -> Read<Vec<(String, Value)>> {
        match self.value(depth)?.data {
            Data::Pairs(pairs) => Ok(pairs),
            Data::Null => Ok(Vec::new()),
            _ => Err(self.wrong("list", "named values", "something else")),
        }
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        let flags = self.reader.u32_be("kind of value")?;
        self.value_of(flags, depth)
    }

    fn value_of(&mut self, flags: u32, depth: usize) -> Read<Value> {
        if depth > MOST_DEPTH {
            return Err(self.wrong("depth", &format!("at most {MOST_DEPTH}"), "more"));
        }
        let data = match flags & 0xff {
            2 => return self.pair_list(flags, depth),
            254 => Data::Null,
            1 => {
                let Data::Char(Some(name)) = self.value(depth + 1)?.data else {
                    return Err(self.wrong("symbol", "its name", "something else"));
                };
                self.symbols.push(name.clone());
                Data::Symbol(name)
            }
            255 => {
                let number = match flags >> 8 {
                    0 => self.reader.u32_be("reference")?,
                    number => number,
                } as usize;
                let known = number.checked_sub(1).and_then(|i| self.symbols.get(i)).cloned();
                let known = known.ok_or_else(|| {
                    self.wrong("reference", "an earlier symbol", &number.to_string())
                });
                Data::Symbol(known?)
            }
            9 => Data::Char(self.chars()?),
            10 => Data::Logical(self.integers()?),
            13 => Data::Integers(self.integers()?),
            14 => {
                let bytes = self.many(8)?;
                let numbers = bytes
                    .chunks_exact(8)
                    .map(|b| f64::from_be_bytes(b.try_into().unwrap_or_default()));
                Data::Reals(numbers.collect())
            }
            16 => {
                let count = self.count(4)?;
                let text = |stream: &mut Self| match stream.value(depth + 1)?.data {
                    Data::Char(text) => Ok(text),
                    _ => Err(stream.wrong("texts", "a text", "something else")),
                };
                Data::Texts((0..count).map(|_| text(self)).collect::<Read<_>>()?)
            }
            19 => {
                let count = self.count(4)?;
                Data::List((0..count).map(|_| self.value(depth + 1)).collect::<Read<_>>()?)
            }
            kind => {
                let expected = "null, a symbol, a text, a vector or a list";
                return Err(self.wrong("kind of value", expected, &format!("number {kind}")));
            }
        };
        // In a text and in a reference the bits of the flag mean something else.
        let attributes = match flags & 0x200 != 0 && matches!(flags & 0xff, 10..=19) {
            true => self.pairs(depth + 1)?,
            false => Vec::new(),
        };
        Ok(Value { data, attributes })
    }

    /// Cells of attributes, name and value, each followed by the next, up to a null.
    fn pair_list(&mut self, mut flags: u32, depth: usize) -> Read<Value> {
        let mut pairs = Vec::new();
        while flags & 0xff == 2 {
            if flags & 0x200 != 0 {
                self.pairs(depth + 1)?;
            }
            let name = match flags & 0x400 != 0 {
                true => match self.value(depth + 1)?.data {
                    Data::Symbol(name) => name,
                    _ => return Err(self.wrong("name", "a symbol", "something else")),
                },
                false => String::new(),
            };
            pairs.push((name, self.value(depth + 1)?));
            flags = self.reader.u32_be("kind of value")?;
        }
        match flags & 0xff {
            254 => Ok(Value { data: Data::Pairs(pairs), attributes: Vec::new() }),
            _ => Err(self.wrong("list", "its end", "something else")),
        }
    }

    fn chars(&mut self) -> Read<Option<String>> {
        match self.reader.u32_be("length of a text")? {
            u32::MAX => Ok(None),
            length => {
                let bytes = self.reader.bytes("text", length.into())?;
                // What is not UTF-8 is Latin-1 in what R writes.
                Ok(Some(String::from_utf8(bytes).unwrap_or_else(|error| {
                    error.as_bytes().iter().map(|byte| char::from(*byte)).collect()
                })))
            }
        }
    }

    /// The length of a vector whose elements take so many bytes at least.
    fn count(&mut self, width: u64) -> Read<u64> {
        let count = u64::from(self.reader.u32_be("length of a vector")?);
        self.reader.claim("vector", count * width)?;
        Ok(count)
    }

    fn many(&mut self, width: u64) -> Read<Vec<u8>> {
        let count = self.count(width)?;
        self.reader.bytes("vector", count * width)
    }

    fn integers(&mut self) -> Read<Vec<i32>> {
        let bytes = self.many(4)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| i32::from_be_bytes(b.try_into().unwrap_or_default()))
            .collect())
    }

    fn frame(&self, value: Value) -> Read<RFrame> {
        let (Data::List(columns), Some(names)) = (value.data, texts(&value.attributes, "names"))
        else {
            return Err(self.wrong("value", "a data frame", "something else"));
        };
        if names.len() != columns.len() {
            let expected = format!("{} names", columns.len());
            return Err(self.wrong("names of columns", &expected, &names.len().to_string()));
        }
        names
            .into_iter()
            .zip(columns)
            .map(|(name, column)| Ok((name, self.column(column)?)))
            .collect()
    }

    fn column(&self, column: Value) -> Read<RColumn> {
        let there = |value: i32| (value != NA).then_some(value);
        Ok(match (column.data, texts(&column.attributes, "levels")) {
            (Data::Integers(values), Some(levels)) => {
                let place = |value: &i32| match there(*value) {
                    None => Ok(None),
                    Some(value) => {
                        match usize::try_from(value - 1).ok().filter(|i| *i < levels.len()) {
                            Some(place) => Ok(Some(place)),
                            None => Err(self.wrong(
                                "factor",
                                &format!("1 to {}", levels.len()),
                                &value.to_string(),
                            )),
                        }
                    }
                };
                let places = values.iter().map(place).collect::<Read<_>>()?;
                RColumn::Factor(levels, places)
            }
            (Data::Integers(values), None) => {
                RColumn::Integers(values.into_iter().map(there).collect())
            }
            (Data::Logical(values), _) => RColumn::Logical(
                values.into_iter().map(|value| there(value).map(|value| value != 0)).collect(),
            ),
            (Data::Reals(values), _) => RColumn::Reals(values),
            (Data::Texts(values), _) => RColumn::Texts(values),
            _ => return Err(self.wrong("column", "a vector", "something else")),
        })
    }

    fn wrong(&self, field: &str, expected: &str, found: &str) -> FormatError {
        self.reader.malformed(field, expected, found)
    }
}

/// The texts under this name among attributes.
fn texts(attributes: &[(String, Value)], name: &str) -> Option<Vec<String>> {
    let (_, value) = attributes.iter().find(|(key, _)| key == name)?;
    match &value.data {
        Data::Texts(texts) => texts.iter().cloned().collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(out: &mut Vec<u8>, value: u32) {
        out.extend(value.to_be_bytes());
    }

    fn chars(out: &mut Vec<u8>, text: &str) {
        word(out, 0x0004_0009);
        word(out, text.len() as u32);
        out.extend(text.bytes());
    }

    fn symbol(out: &mut Vec<u8>, name: &str) {
        word(out, 1);
        chars(out, name);
    }

    fn texts_of(out: &mut Vec<u8>, texts: &[&str]) {
        word(out, 16);
        word(out, texts.len() as u32);
        texts.iter().for_each(|text| chars(out, text));
    }

    /// `letter` (a factor a, b, with NA), `n` (integers), `x` (reals), as R's `save` writes it.
    fn rda() -> Vec<u8> {
        let mut out = b"RDX2\nX\n".to_vec();
        [2, 0x0002_0a01, 0x0002_0300].iter().for_each(|w| word(&mut out, *w));
        word(&mut out, 0x402);
        symbol(&mut out, "frame");
        word(&mut out, 0x0313);
        word(&mut out, 3);
        word(&mut out, 0x030d);
        word(&mut out, 2);
        word(&mut out, 2);
        word(&mut out, NA as u32);
        word(&mut out, 0x402);
        symbol(&mut out, "levels");
        texts_of(&mut out, &["a", "b"]);
        word(&mut out, 0xfe);
        word(&mut out, 0x0d);
        [2, 7, (-1i32) as u32].iter().for_each(|w| word(&mut out, *w));
        word(&mut out, 0x0e);
        word(&mut out, 2);
        [1.5f64, f64::NAN].iter().for_each(|x| out.extend(x.to_be_bytes()));
        word(&mut out, 0x402);
        symbol(&mut out, "names");
        texts_of(&mut out, &["letter", "n", "x"]);
        // A reference to the symbol `names`, the third, as attributes repeat it.
        word(&mut out, 0x402);
        word(&mut out, 3 << 8 | 0xff);
        word(&mut out, 0xfe);
        word(&mut out, 0xfe);
        word(&mut out, 0xfe);
        out
    }

    #[test]
    fn a_frame_of_r_has_its_columns() {
        let frames = read_rda("f.rda", &rda()).unwrap();
        assert_eq!(frames[0].0, "frame");
        let columns = &frames[0].1;
        let levels = vec!["a".to_string(), "b".to_string()];
        assert_eq!(columns[0], ("letter".into(), RColumn::Factor(levels, vec![Some(1), None])));
        assert_eq!(columns[1], ("n".into(), RColumn::Integers(vec![Some(7), Some(-1)])));
        let ("x", RColumn::Reals(reals)) = (columns[2].0.as_str(), &columns[2].1) else {
            panic!("reals")
        };
        assert!(reals[0] == 1.5 && reals[1].is_nan());
    }

    #[test]
    fn bytes_in_any_order_never_panic_nor_take_memory() {
        let whole = rda();
        for end in 0..whole.len() {
            assert!(read_rda("f.rda", &whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 2, 9, 0x13, 0x7f, 0xfe, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = read_rda("f.rda", &changed);
            }
        }
        // Lists in lists without end.
        let mut deep = whole[..19].to_vec();
        (0..10_000).for_each(|_| [0x13, 1].iter().for_each(|w| word(&mut deep, *w)));
        assert!(read_rda("f.rda", &deep).unwrap_err().to_string().contains("depth"));
    }
}
