//! The elements of a tensor in JSON, read in one pass: a picture is a thousand numbers a request.

use crate::tensor::{EXACT, MOST_ELEMENTS};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;

/// Lists in lists beyond this are no tensor.
const MOST_DEPTH: usize = 128;

/// What stands in `data`: elements in order, however deeply lists lie in lists.
#[derive(Debug, Default)]
pub struct Json {
    pub(crate) numbers: Vec<f64>,
    pub(crate) texts: Vec<Vec<u8>>,
    /// The length of the lists of each depth, where all are the same.
    pub(crate) lengths: Vec<usize>,
    /// Lists of different lengths, or elements at different depths.
    pub(crate) ragged: bool,
    pub(crate) bools: bool,
    pub(crate) other: Option<&'static str>,
    /// A whole number too large to be kept exactly.
    pub(crate) inexact: bool,
    /// A number with a point or an exponent.
    pub(crate) fractions: bool,
    /// How deep the elements lie.
    depth: Option<usize>,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let text: &RawValue = Deserialize::deserialize(deserializer)?;
        Json::read(text.get()).map_err(D::Error::custom)
    }
}

impl Json {
    /// The shape that the lists have if all of a depth are of one length.
    pub(crate) fn shape(&self) -> Vec<i64> {
        self.lengths.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX)).collect()
    }

    /// Of a text that is JSON.
    fn read(text: &str) -> Result<Json, String> {
        let mut json = Json::default();
        // How many elements the open lists have so far.
        let mut open: Vec<usize> = Vec::new();
        let mut rest = text.as_bytes();
        while let [byte, after @ ..] = rest {
            rest = match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => after,
                b'[' => {
                    open.last_mut().into_iter().for_each(|length| *length += 1);
                    if open.len() == MOST_DEPTH {
                        return Err("recursion limit exceeded".to_string());
                    }
                    open.push(0);
                    after
                }
                b']' => {
                    let length = open.pop().ok_or("a list ends that did not begin")?;
                    json.close(open.len(), length);
                    after
                }
                _ => {
                    let length = open.last_mut().ok_or("`data` is no list")?;
                    *length += 1;
                    json.room(open.len())?;
                    json.element(rest)?
                }
            };
        }
        Ok(json)
    }

    fn close(&mut self, depth: usize, length: usize) {
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, usize::MAX);
        }
        let known = &mut self.lengths[depth];
        self.ragged |= *known != usize::MAX && *known != length;
        *known = length;
    }

    fn room(&mut self, depth: usize) -> Result<(), String> {
        self.ragged |= *self.depth.get_or_insert(depth) != depth;
        match self.numbers.len() + self.texts.len() < MOST_ELEMENTS {
            true => Ok(()),
            false => Err(format!("a tensor of more than {MOST_ELEMENTS} elements")),
        }
    }

    /// Takes an element; gives what stands behind it.
    fn element<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], String> {
        match text[0] {
            b'0'..=b'9' | b'-' => self.number(text),
            b'"' => self.text(text),
            b't' | b'f' => {
                self.bools = true;
                self.numbers.push(f64::from(u8::from(text[0] == b't')));
                Ok(&text[if text[0] == b't' { 4 } else { 5 }..])
            }
            b'n' => {
                self.other = Some("null");
                self.numbers.push(0.0);
                Ok(&text[4..])
            }
            _ => Err("expected a list of elements, found an object".to_string()),
        }
    }

    fn text<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], String> {
        let mut end = 1;
        while text[end] != b'"' {
            end += if text[end] == b'\\' { 2 } else { 1 };
        }
        let (quoted, rest) = text.split_at(end + 1);
        let plain = &quoted[1..end];
        let own = match plain.contains(&b'\\') {
            false => plain.to_vec(),
            true => {
                let read: Result<String, _> = serde_json::from_slice(quoted);
                read.map_err(|error| error.to_string())?.into_bytes()
            }
        };
        self.texts.push(own);
        Ok(rest)
    }

    fn number<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], String> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        // The digits as a whole number, how many there are, and how many of them stand behind a point.
        let (mut whole, mut count, mut behind, mut point) = (0u64, 0, 0, false);
        let mut end = 0;
        loop {
            match digits.get(end) {
                Some(digit @ b'0'..=b'9') => {
                    whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                    count += 1;
                    behind += usize::from(point);
                }
                Some(b'.') => point = true,
                _ => break,
            }
            end += 1;
        }
        let power = matches!(digits.get(end), Some(b'e' | b'E'));
        self.fractions |= point || power;
        // Up to 15 digits and 10^22 are exact, and their quotient is rounded once: that is the nearest number.
        if count <= 15 && !power {
            let size = if point { whole as f64 / TENS[behind] } else { whole as f64 };
            self.numbers.push(if negative { -size } else { size });
            return Ok(&digits[end..]);
        }
        let more = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'e' | b'E' | b'+' | b'-');
        end += digits[end..].iter().take_while(more).count();
        let (digits, rest) = digits.split_at(end);
        let digits = std::str::from_utf8(digits).map_err(|error| error.to_string())?;
        let size: f64 = digits.parse().map_err(|_| format!("`{digits}` is no number"))?;
        if size.is_infinite() {
            return Err("number out of range".to_string());
        }
        self.inexact |= !point && !power && digits.parse::<u64>().is_ok_and(|n| n > EXACT as u64);
        self.numbers.push(if negative { -size } else { size });
        Ok(rest)
    }
}

const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_data::Random;

    fn read(text: &str) -> Json {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn same(text: &str) {
        let (own, right) = (read(&format!("[{text}]")).numbers[0], text.parse::<f64>().unwrap());
        assert_eq!(own.to_bits(), right.to_bits(), "{text}");
    }

    #[test]
    fn numbers_are_the_nearest_there_are() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "7",
            "255",
            "-1",
            "0.1",
            "3.14159265358979",
            "1.5e-3",
            "1E5",
            "5e-324",
            "1.7976931348623157e308",
            "123456789012345",
            "1234567890123456",
            "0.123456789012345678",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "2.2250738585072011e-308",
        ] {
            same(text);
        }
        let mut random = Random::keyed(&[8, 1]);
        for _ in 0..20_000 {
            let number = f64::from_bits(random.below(u64::MAX));
            if number.is_finite() {
                same(&format!("{number:e}"));
            }
            let digits = 1 + random.below(62);
            let whole = random.below(1 << digits) as f64;
            let text = format!("{}", whole / TENS[random.below(16) as usize]);
            same(&text);
        }
    }

    #[test]
    fn shapes_are_those_of_the_lists() {
        let json = read("[ [[1,2 ],[3.0, 4]],\n[[5,6],[7,8]]]");
        assert_eq!(json.numbers, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!((&json.lengths[..], json.ragged), (&[2, 2, 2][..], false));
        assert!(json.fractions && !read("[1,2]").fractions && read("[1e0]").fractions);
        for text in ["[[1],[2,3]]", "[1,[2]]", "[[],[1]]", "[[1],2]"] {
            assert!(read(text).ragged, "{text}");
        }
        assert!(read("[]").numbers.is_empty());
        assert!(read("[9007199254740993]").inexact && !read("[9007199254740992]").inexact);
    }

    #[test]
    fn texts_and_what_is_no_number() {
        let json = read(r#"["a", "", "\"]\\", "é\u00e9, [1]"]"#);
        let texts: Vec<&str> = json.texts.iter().map(|t| std::str::from_utf8(t).unwrap()).collect();
        assert_eq!(texts, ["a", "", "\"]\\", "éé, [1]"]);
        let json = read("[true,false, true]");
        assert!(json.bools && json.numbers == [1.0, 0.0, 1.0]);
        assert_eq!(read("[1, null]").other, Some("null"));
        let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
        for text in ["[{}]", "[{\"a\":[1]}]", "1", "\"a\"", "{}", "[1e999]", "[-1e999]", &deep] {
            assert!(serde_json::from_str::<Json>(text).is_err(), "{text}");
        }
    }
}
