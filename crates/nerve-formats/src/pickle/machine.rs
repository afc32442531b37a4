//! The stack machine of pickles, which builds values and calls nothing.
//!
//! An instruction makes one node at most and puts at most two entries on the stack, and a value that is copied is
//! copied as its number: memory grows with the length of the file and not with what it claims. The number of nodes has a
//! bound all the same, for an instruction of one byte may make a node of some tens.

use std::collections::HashMap;
use std::ops::Range;

use super::{Id, Node, Object, Pickle};
use crate::error::{ErrorKind, FormatError};

struct Machine<'f, 'a> {
    file: &'f str,
    data: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Where on the stack each open mark lies.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Step<T> = Result<T, FormatError>;

/// Values that are needed often have one node.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

/// The most values in a pickle.
const MOST_NODES: usize = 1 << 24;

pub fn run<'a>(file: &str, data: &'a [u8]) -> Step<Pickle<'a>> {
    let mut machine = Machine {
        file,
        data,
        at: 0,
        nodes: vec![Node::None, Node::Bool(false), Node::Bool(true)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { file: file.to_string(), data, nodes: machine.nodes, root, end: machine.at })
}

impl<'a> Machine<'_, 'a> {
    /// Carries out one instruction; false after the last.
    fn step(&mut self) -> Step<bool> {
        let code = self.take(1)?.start;
        match self.data[code] {
            b'.' => return Ok(false),
            0x80 => {
                let protocol = self.number(1)?;
                if protocol > 5 {
                    return Err(self.error("protocol", "0 to 5", &protocol.to_string()));
                }
            }
            // The length of a frame: a hint for reading from a stream.
            0x95 => {
                self.take(8)?;
            }
            code => {
                if !self.scalar(code)? && !self.container(code)? && !self.object(code)? {
                    let found = format!("instruction {code:#04x} at byte {}", self.at - 1);
                    let expected = "an instruction of pickle protocols 0 to 5 that needs nothing outside the file";
                    return Err(self.error("instruction", expected, &found));
                }
            }
        }
        Ok(true)
    }

    /// Numbers, texts, bytes.
    fn scalar(&mut self, code: u8) -> Step<bool> {
        let node = match code {
            b'N' => return self.push(NONE),
            0x88 => return self.push(TRUE),
            0x89 => return self.push(FALSE),
            b'J' => Node::Int(i64::from(self.number(4)? as u32 as i32)),
            b'K' => Node::Int(self.number(1)? as i64),
            b'M' => Node::Int(self.number(2)? as i64),
            b'I' => match self.line()? {
                "00" => return self.push(FALSE),
                "01" => return self.push(TRUE),
                text => Node::Int(self.parsed(text)?),
            },
            b'L' => {
                let text = self.line()?;
                Node::Int(self.parsed(text.trim_end_matches('L'))?)
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'F' => {
                let text = self.line()?;
                Node::Float(self.parsed(text)?)
            }
            b'G' => {
                let range = self.take(8)?;
                let bytes = self.data[range].first_chunk().copied().unwrap_or_default();
                Node::Float(f64::from_be_bytes(bytes))
            }
            // Strings of Python 2, which are bytes.
            b'U' | b'C' => Node::Bytes(self.counted(1)?),
            b'T' | b'B' => Node::Bytes(self.counted(4)?),
            0x8e | 0x96 => Node::Bytes(self.counted(8)?),
            0x8c => self.utf8(1)?,
            b'X' => self.utf8(4)?,
            0x8d => self.utf8(8)?,
            b'V' => {
                let range = self.line_range()?;
                // Escapes of protocol 0; who writes such files today writes ASCII.
                if !self.data[range.clone()].iter().all(|b| b.is_ascii() && *b != b'\\') {
                    return Err(self.error(
                        "text of protocol 0",
                        "ASCII without escapes",
                        "others",
                    ));
                }
                Node::Text(range)
            }
            b'P' => {
                let text = self.line_text()?;
                Node::Persistent(text)
            }
            b'Q' => Node::Persistent(self.pop()?),
            _ => return Ok(false),
        };
        self.make(node)
    }

    /// Lists, tuples, dictionaries, and the stack itself.
    fn container(&mut self, code: u8) -> Step<bool> {
        let node = match code {
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(true);
            }
            b'0' => {
                // A mark on top is what Python 2 pops by the same instruction.
                match self.marks.last() == Some(&self.stack.len()) {
                    true => drop(self.marks.pop()),
                    false => drop(self.pop()?),
                }
                return Ok(true);
            }
            b'1' => {
                self.marked()?;
                return Ok(true);
            }
            b'2' => {
                let top = self.top()?;
                return self.push(top);
            }
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            b'l' => Node::List(self.marked()?),
            b't' => Node::Tuple(self.marked()?),
            0x91 => Node::Set(self.marked()?),
            b'd' => {
                let items = self.marked()?;
                Node::Dict(self.pairs(&items)?)
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let mut items: Vec<Id> = (0..count).map(|_| self.pop()).collect::<Step<_>>()?;
                items.reverse();
                Node::Tuple(items)
            }
            b'a' => {
                let item = self.pop()?;
                return self.extend(vec![item]);
            }
            b'e' | 0x90 => {
                let items = self.marked()?;
                return self.extend(items);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                return self.set(vec![key, value]);
            }
            b'u' => {
                let items = self.marked()?;
                return self.set(items);
            }
            _ => return Ok(false),
        };
        self.make(node)
    }

    /// Names, calls that are not made, and the memory of values.
    fn object(&mut self, code: u8) -> Step<bool> {
        match code {
            b'c' => {
                let (module, name) = (self.line_text()?, self.line_text()?);
                self.make(Node::Global(module, name))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.make(Node::Global(module, name))
            }
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(callee, args, Vec::new())
            }
            0x92 => {
                let (named, args, callee) = (self.pop()?, self.pop()?, self.pop()?);
                let Node::Dict(pairs) = self.nodes[named.0 as usize].clone() else {
                    return Err(self.error("named arguments", "a dictionary", "something else"));
                };
                self.call(callee, args, pairs)
            }
            b'b' => {
                let state = self.pop()?;
                match &mut self.nodes[self.stack.last().map_or(0, |id| id.0 as usize)] {
                    Node::Object(object) => object.state = Some(state),
                    _ => {
                        return Err(self.error(
                            "state",
                            "an object that it belongs to",
                            "something else",
                        ));
                    }
                }
                Ok(true)
            }
            b'g' => {
                let text = self.line()?;
                let key = self.parsed(text)?;
                self.recall(key)
            }
            b'h' => self.number(1).and_then(|key| self.recall(key)),
            b'j' => self.number(4).and_then(|key| self.recall(key)),
            b'p' => {
                let text = self.line()?;
                let key = self.parsed(text)?;
                self.remember(key)
            }
            b'q' => self.number(1).and_then(|key| self.remember(key)),
            b'r' => self.number(4).and_then(|key| self.remember(key)),
            0x94 => self.remember(self.memo.len() as u64),
            _ => Ok(false),
        }
    }

    fn call(&mut self, callee: Id, args: Id, pairs: Vec<(Id, Id)>) -> Step<bool> {
        let object = Object { callee, args, state: None, items: Vec::new(), pairs };
        self.make(Node::Object(Box::new(object)))
    }

    fn extend(&mut self, items: Vec<Id>) -> Step<bool> {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Object(object) => object.items.extend(items),
            _ => {
                return Err(self.error(
                    "items",
                    "a list or set that they belong to",
                    "something else",
                ));
            }
        }
        Ok(true)
    }

    fn set(&mut self, items: Vec<Id>) -> Step<bool> {
        let pairs = self.pairs(&items)?;
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Dict(dict) => dict.extend(pairs),
            Node::Object(object) => object.pairs.extend(pairs),
            _ => {
                return Err(self.error(
                    "pairs",
                    "a dictionary that they belong to",
                    "something else",
                ));
            }
        }
        Ok(true)
    }

    fn pairs(&self, items: &[Id]) -> Step<Vec<(Id, Id)>> {
        match items.len() % 2 {
            0 => Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
            _ => Err(self.error("dictionary", "a value for each key", "a key without one")),
        }
    }

    fn remember(&mut self, key: u64) -> Step<bool> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(true)
    }

    fn recall(&mut self, key: u64) -> Step<bool> {
        let found = self.memo.get(&key).copied();
        let found = found
            .ok_or_else(|| self.error("memo", "a value that was kept", &format!("number {key}")));
        found.and_then(|id| self.push(id))
    }

    fn make(&mut self, node: Node) -> Step<bool> {
        let id = self.add(node)?;
        self.push(id)
    }

    /// Keeps a value without putting it on the stack.
    fn add(&mut self, node: Node) -> Step<Id> {
        if self.nodes.len() >= MOST_NODES {
            let expected = format!("no more than {MOST_NODES} values");
            return Err(FormatError::new(ErrorKind::Limit, self.file, "pickle", expected, "more"));
        }
        self.nodes.push(node);
        Ok(Id(self.nodes.len() as u32 - 1))
    }

    fn push(&mut self, id: Id) -> Step<bool> {
        self.stack.push(id);
        Ok(true)
    }

    /// The value on top, which lies above the last mark.
    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(|above| above.last()).copied();
        top.ok_or_else(|| self.error("stack", "a value", "none"))
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark, which goes.
    fn marked(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.error("stack", "a mark", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, n: usize) -> Step<Range<usize>> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.data.len());
        let end = end.ok_or_else(|| {
            let left = format!("{} before the end", self.data.len() - self.at);
            self.error("instruction", &format!("{n} bytes"), &left)
        })?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    /// A number without a sign of 1 to 8 bytes.
    fn number(&mut self, bytes: usize) -> Step<u64> {
        let range = self.take(bytes)?;
        Ok(self.data[range].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// As many bytes as a number of so many bytes says.
    fn counted(&mut self, bytes: usize) -> Step<Range<usize>> {
        let count = self.number(bytes)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn long(&mut self, bytes: usize) -> Step<Node> {
        let range = self.counted(bytes)?;
        let digits = &self.data[range.clone()];
        if digits.len() > 8 {
            return Ok(Node::BigInt(range));
        }
        // The sign bit of the last byte fills what is not there.
        let fill = if digits.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [fill; 8];
        all[..digits.len()].copy_from_slice(digits);
        Ok(Node::Int(i64::from_le_bytes(all)))
    }

    fn utf8(&mut self, bytes: usize) -> Step<Node> {
        let range = self.counted(bytes)?;
        match std::str::from_utf8(&self.data[range.clone()]) {
            Ok(_) => Ok(Node::Text(range)),
            Err(_) => Err(self.error("text", "UTF-8", "other bytes")),
        }
    }

    /// The rest of a line, without its end.
    fn line_range(&mut self) -> Step<Range<usize>> {
        let length = self.data[self.at..].iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| self.error("line", "its end", "the end of the file"))?;
        let start = self.take(length + 1)?.start;
        Ok(start..start + length)
    }

    fn line(&mut self) -> Step<&'a str> {
        let range = self.line_range()?;
        let data: &'a [u8] = self.data;
        std::str::from_utf8(&data[range]).map_err(|_| self.error("line", "a text", "other bytes"))
    }

    /// A line as a value that is not on the stack.
    fn line_text(&mut self) -> Step<Id> {
        let range = self.line_range()?;
        if std::str::from_utf8(&self.data[range.clone()]).is_err() {
            return Err(self.error("name", "UTF-8", "other bytes"));
        }
        self.add(Node::Text(range))
    }

    fn parsed<T: std::str::FromStr>(&self, text: &str) -> Step<T> {
        text.parse().map_err(|_| self.error("number", "a number that fits", text))
    }

    fn error(&self, field: &str, expected: &str, found: &str) -> FormatError {
        FormatError::new(ErrorKind::Malformed, self.file, field, expected, found).at(self.at as u64)
    }
}
