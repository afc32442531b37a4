//! Pickles, in which Python programs keep objects, read as plain data.
//!
//! A pickle is a program for a small stack machine whose instructions may name any function of Python and call it.
//! Here nothing is called. What names a function stays a [`Node::Global`], and what would be a call or an object is a
//! [`Node::Object`]: the callee, its arguments, and the state that would be given to it. Who reads a pickle looks for
//! the few shapes that it knows (an array of NumPy, a frame of pandas) and refuses everything else.
//!
//! Protocols 0 to 5 are read, without buffers outside the file. Source: `pickletools` of the Python library.

mod machine;

use std::ops::Range;

use crate::error::{ErrorKind, FormatError};

/// The number of a node; nodes refer to each other by it, and may do so in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// A value in a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number of up to 64 bits.
    Int(i64),
    /// A whole number that is larger: its bytes, the least significant first, in two's complement.
    BigInt(Range<usize>),
    /// A number.
    Float(f64),
    /// Bytes of the file; see [`Pickle::bytes`].
    Bytes(Range<usize>),
    /// A text of the file, UTF-8; see [`Pickle::text`].
    Text(Range<usize>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A set.
    Set(Vec<Id>),
    /// A dictionary, in the order of the file.
    Dict(Vec<(Id, Id)>),
    /// The name of a function or class: module, and name in it. Both are texts.
    Global(Id, Id),
    /// What Python would make by a call.
    Object(Box<Object>),
    /// A reference to something outside the pickle, by what stands for it.
    Persistent(Id),
}

/// A call that is not made.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What would be called: most often a [`Node::Global`].
    pub callee: Id,
    /// A tuple of arguments.
    pub args: Id,
    /// What `__setstate__` would get afterwards.
    pub state: Option<Id>,
    /// What would be appended to it.
    pub items: Vec<Id>,
    /// What would be set in it, as in a dictionary.
    pub pairs: Vec<(Id, Id)>,
}

/// A pickle: its values, and which one it stands for.
#[derive(Clone, Debug)]
pub struct Pickle<'a> {
    file: String,
    data: &'a [u8],
    nodes: Vec<Node>,
    root: Id,
    end: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `data`; `file` stands for it in messages. What follows it is left alone
    /// (see [`Pickle::end`]).
    ///
    /// # Errors
    /// A damaged or shortened file, an instruction that needs what is not in the file, or more than 16 million values.
    ///
    /// ```
    /// use nerve_formats::pickle::{Node, Pickle};
    /// // [1, "x"], protocol 2
    /// let pickle = Pickle::read("p", b"\x80\x02](K\x01X\x01\0\0\0xe.")?;
    /// let Node::List(items) = pickle.node(pickle.root()) else { panic!("a list") };
    /// assert_eq!(pickle.node(items[0]), &Node::Int(1));
    /// assert_eq!(pickle.text(items[1]), Some("x"));
    /// # Ok::<(), nerve_formats::FormatError>(())
    /// ```
    pub fn read(file: &str, data: &'a [u8]) -> Result<Pickle<'a>, FormatError> {
        machine::run(file, data)
    }

    /// The value that the pickle stands for.
    pub fn root(&self) -> Id {
        self.root
    }

    /// Where the pickle ends: in some files another begins there.
    pub fn end(&self) -> usize {
        self.end
    }

    /// A value.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The text, if it is one.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.node(id) {
            Node::Text(range) => std::str::from_utf8(&self.data[range.clone()]).ok(),
            _ => None,
        }
    }

    /// The bytes, if they are bytes.
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.node(id) {
            Node::Bytes(range) => Some(&self.data[range.clone()]),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The parts of a tuple or list.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn object(&self, id: Id) -> Option<&Object> {
        match self.node(id) {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Module and name of a function or class.
    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.node(id) {
            Node::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// The value under a key of a dictionary.
    pub fn value(&self, id: Id, key: &str) -> Option<Id> {
        let Node::Dict(pairs) = self.node(id) else { return None };
        // Of two equal keys the later counts.
        pairs.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// Class, arguments and state, if it is an object of a class of this name in any module.
    pub fn call(&self, id: Id, name: &str) -> Option<(&Object, &[Id])> {
        let object = self.object(id)?;
        (self.global(object.callee)?.1 == name).then_some(())?;
        Some((object, self.items(object.args)?))
    }

    /// An error about the contents.
    pub fn mismatch(&self, field: &str, expected: &str, found: &str) -> FormatError {
        FormatError::new(ErrorKind::Mismatch, &self.file, field, expected, found)
    }

    /// What a value is, in a word, for messages.
    pub fn describe(&self, id: Id) -> String {
        match self.node(id) {
            Node::None => "None".into(),
            Node::Bool(_) => "a truth value".into(),
            Node::Int(_) | Node::BigInt(_) => "a whole number".into(),
            Node::Float(_) => "a number".into(),
            Node::Bytes(_) => "bytes".into(),
            Node::Text(_) => "a text".into(),
            Node::List(_) => "a list".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::Set(_) => "a set".into(),
            Node::Dict(_) => "a dictionary".into(),
            Node::Persistent(_) => "a reference to another file".into(),
            Node::Global(..) => format!("the name {}", self.name(id)),
            Node::Object(object) => format!("an object of {}", self.name(object.callee)),
        }
    }

    fn name(&self, id: Id) -> String {
        self.global(id).map_or("something".into(), |(module, name)| format!("{module}.{name}"))
    }
}

#[cfg(test)]
mod tests;
