//! Protocol Buffers: fields by number, as events of TensorBoard and ONNX have them.
//!
//! "Encoding", protobuf.dev: a message is a row of fields, each a key (number << 3 | wire type) and a
//! value: a varint (0), 8 bytes (1), a length and so many bytes (2), 4 bytes (5).

/// A message that is being written. What is zero is written too: readers take both.
#[derive(Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    pub(crate) fn int(&mut self, field: u32, value: u64) -> &mut Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) -> &mut Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn float(&mut self, field: u32, value: f32) -> &mut Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(&mut self, field: u32, message: &Message) -> &mut Self {
        self.bytes(field, &message.0)
    }

    /// Whole numbers, packed; negative ones take ten bytes.
    pub(crate) fn ints(&mut self, field: u32, values: impl IntoIterator<Item = i64>) -> &mut Self {
        let mut packed = Message::default();
        values.into_iter().for_each(|value| packed.varint(value as u64));
        self.bytes(field, &packed.0)
    }

    /// Packed.
    pub(crate) fn floats(&mut self, field: u32, values: &[f32]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }

    /// Packed.
    pub(crate) fn doubles(&mut self, field: u32, values: &[f64]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }
}

/// The value of a field that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    Int(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn int(self) -> Option<u64> {
        if let Field::Int(value) = self { Some(value) } else { None }
    }

    pub(crate) fn double(self) -> Option<f64> {
        if let Field::Eight(bytes) = self { Some(f64::from_le_bytes(bytes)) } else { None }
    }

    pub(crate) fn float(self) -> Option<f32> {
        if let Field::Four(bytes) = self { Some(f32::from_le_bytes(bytes)) } else { None }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        if let Field::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn text(self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// Floats, packed or a single one.
    pub(crate) fn floats_into(self, out: &mut Vec<f32>) -> Option<()> {
        match self {
            Field::Four(bytes) => out.push(f32::from_le_bytes(bytes)),
            Field::Bytes(bytes) => {
                let (fours, rest) = bytes.as_chunks::<4>();
                out.extend(fours.iter().map(|&four| f32::from_le_bytes(four)));
                return rest.is_empty().then_some(());
            }
            _ => return None,
        }
        Some(())
    }

    /// Doubles, packed or a single one.
    pub(crate) fn doubles(self) -> Option<Vec<f64>> {
        match self {
            Field::Eight(bytes) => Some(vec![f64::from_le_bytes(bytes)]),
            Field::Bytes(bytes) => {
                let (eights, rest) = bytes.as_chunks::<8>();
                let numbers = eights.iter().map(|&eight| f64::from_le_bytes(eight));
                rest.is_empty().then(|| numbers.collect())
            }
            _ => None,
        }
    }
}

/// The whole numbers of a packed row. `None` where the last one is cut off.
pub(crate) fn packed_ints(bytes: &[u8]) -> impl Iterator<Item = Option<u64>> {
    let mut rest = Fields(bytes);
    std::iter::from_fn(move || {
        if rest.0.is_empty() {
            return None;
        }
        let value = rest.varint();
        if value.is_none() {
            rest.0 = &[];
        }
        Some(value)
    })
}

/// The fields of a message in their order. `None` where it is no message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            // Nine bytes hold 63 bits: of the tenth, one is left.
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        if key >> 3 == 0 {
            return None;
        }
        let field = match key & 7 {
            0 => Field::Int(self.varint()?),
            1 => Field::Eight(self.take(8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Four(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_and_what_is_cut_off_is_none() {
        let (mut inner, mut message): (Message, Message) = Default::default();
        inner.text(1, "ä").double(2, 0.5);
        message.int(1, 300).int(2, u64::MAX).message(3, &inner).float(16, -1.0);
        message.doubles(5, &[1.0, 2.0]);
        assert_eq!(message.as_bytes()[..3], [0x08, 0xac, 0x02], "150 and 300 of the reference");
        let fields: Vec<_> = Fields(message.as_bytes()).map(Option::unwrap).collect();
        assert_eq!(fields[0], (1, Field::Int(300)));
        assert_eq!(fields[1].1.int(), Some(u64::MAX));
        assert_eq!(Fields(fields[2].1.bytes().unwrap()).count(), 2);
        assert_eq!((fields[3].0, fields[3].1.float()), (16, Some(-1.0)));
        assert_eq!(fields[4].1.doubles(), Some(vec![1.0, 2.0]));
        let ends: usize = (1..message.as_bytes().len())
            .filter(|&end| Fields(&message.as_bytes()[..end]).all(|field| field.is_some()))
            .count();
        assert_eq!(ends, 4, "whole at the ends of fields alone");
        assert!(Fields(&[0x0b]).any(|field| field.is_none()), "groups are none of ours");
        assert!(Fields(&[0xff; 20]).any(|field| field.is_none()));
    }
}
