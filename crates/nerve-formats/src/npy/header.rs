//! The header of npy, by a strict grammar.

/// What the header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

/// The type of the elements: `<f4`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Descr {
    /// `b`, `u`, `i` or `f`.
    pub kind: u8,
    /// Bytes of an element.
    pub size: usize,
    pub big_endian: bool,
}

/// What breaks the grammar.
#[derive(Debug)]
pub(super) struct Fault {
    pub expected: &'static str,
    pub found: String,
}

/// Reads the types that hold plain numbers.
pub(super) fn descr(text: &str) -> Option<Descr> {
    let [order @ (b'<' | b'>' | b'|' | b'='), kind, size] = *text.as_bytes() else { return None };
    let size = usize::from(size.wrapping_sub(b'0'));
    let known = match kind {
        b'b' => size == 1,
        b'u' | b'i' => matches!(size, 1 | 2 | 4 | 8),
        b'f' => matches!(size, 2 | 4 | 8),
        _ => false,
    };
    // `=` is the order of the machine that wrote the file, which is not known here.
    (known && (size == 1 || matches!(order, b'<' | b'>'))).then_some(Descr {
        kind,
        size,
        big_endian: order == b'>',
    })
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`: each of the three keys once, in any order.
pub(super) fn parse(text: &[u8]) -> Result<Header, Fault> {
    let mut at = Cursor { text, at: 0 };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    at.expect(b'{', "`{`")?;
    while at.peek() != Some(b'}') {
        let key = at.quoted()?;
        at.expect(b':', "`:` behind a key")?;
        let first = match key {
            "descr" if at.peek() != Some(b'\'') && at.peek() != Some(b'"') => {
                return Err(at.fault("a plain type, not one with fields"));
            }
            "descr" => descr.replace(at.quoted()?.to_string()).is_none(),
            "fortran_order" => fortran_order.replace(at.truth()?).is_none(),
            "shape" => shape.replace(at.tuple()?).is_none(),
            _ => return Err(Fault { expected: KEYS, found: format!("the key `{key}`") }),
        };
        if !first {
            return Err(Fault { expected: "each key once", found: format!("`{key}` twice") });
        }
        if at.peek() != Some(b'}') {
            at.expect(b',', "`,` or `}` behind a value")?;
        }
    }
    at.expect(b'}', "`}`")?;
    if at.peek().is_some() {
        return Err(at.fault("nothing but blanks behind `}`"));
    }
    match (descr, fortran_order, shape) {
        (Some(descr), Some(fortran_order), Some(shape)) => {
            Ok(Header { descr, fortran_order, shape })
        }
        _ => Err(Fault { expected: KEYS, found: "fewer".into() }),
    }
}

const KEYS: &str = "the keys `descr`, `fortran_order` and `shape`";

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn fault(&self, expected: &'static str) -> Fault {
        let rest = &self.text[self.at.min(self.text.len())..];
        let found = match rest {
            [] => "the end of the header".to_string(),
            rest => format!("`{}`", String::from_utf8_lossy(&rest[..rest.len().min(20)])),
        };
        Fault { expected, found }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// A text in quotes, without escapes.
    fn quoted(&mut self) -> Result<&'a str, Fault> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'));
        let start = self.at + 1;
        let rest = self.text.get(start..).unwrap_or(&[]);
        let length = rest.iter().position(|byte| Some(*byte) == quote || *byte == b'\\');
        let text = length.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        match text {
            Some(text) if quote.is_some() && rest.get(text.len()) != Some(&b'\\') => {
                self.at = start + text.len() + 1;
                Ok(text)
            }
            _ => Err(self.fault("a text in quotes")),
        }
    }

    fn truth(&mut self) -> Result<bool, Fault> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.fault("True or False"))
    }

    /// Lengths in parentheses: `()`, `(3,)`, `(3, 4)`.
    fn tuple(&mut self) -> Result<Vec<usize>, Fault> {
        const EXPECTED: &str = "whole numbers in parentheses, as (3, 4)";
        let mut all = Vec::new();
        self.expect(b'(', EXPECTED)?;
        while self.peek() != Some(b')') {
            let rest = &self.text[self.at..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|n| n.parse().ok());
            let Some(number) = number else { return Err(self.fault(EXPECTED)) };
            all.push(number);
            self.at += digits;
            if self.peek() == Some(b')') {
                // Python's `(3)` is a number and no tuple.
                if all.len() == 1 {
                    return Err(self.fault(EXPECTED));
                }
            } else {
                self.expect(b',', EXPECTED)?;
            }
        }
        self.at += 1;
        Ok(all)
    }
}
