//! A tensor of which the fields come one after the other.

use super::DataType;
use crate::protobuf::{Field, packed_ints};

/// A tensor while its fields come in.
#[derive(Default)]
pub(super) struct Parts {
    pub name: String,
    pub dims: Vec<i64>,
    pub data_type: DataType,
    pub data: Vec<u8>,
    /// From how many fields `data` came.
    pub kinds: usize,
    /// The field that `data` comes from by pieces.
    pub piece: u8,
    pub strings: Option<Vec<Vec<u8>>>,
    pub external: Vec<(String, String)>,
    pub is_external: bool,
}

impl Parts {
    /// Data of one field may come in several pieces; of two fields they may not, and each type has
    /// its field.
    fn of_kind(&mut self, number: u8) -> Option<()> {
        use DataType::*;
        self.kinds += usize::from(self.piece != number);
        self.piece = number;
        let own = match self.data_type {
            Float | Complex64 => 4,
            Double | Complex128 => 10,
            Int64 => 7,
            Uint32 | Uint64 => 11,
            _ => 5,
        };
        (own == number).then_some(())
    }

    /// Floats or doubles, packed or single.
    pub fn fixed(&mut self, field: Field<'_>, number: u8) -> Option<()> {
        self.of_kind(number)?;
        let size = if number == 4 { 4 } else { 8 };
        match field {
            Field::Four(bytes) if size == 4 => self.data.extend(bytes),
            Field::Eight(bytes) if size == 8 => self.data.extend(bytes),
            Field::Bytes(bytes) if bytes.len().is_multiple_of(size) => self.data.extend(bytes),
            _ => return None,
        }
        Some(())
    }

    /// Whole numbers in as many bytes as the type has. `data_type` stands before the data in every file,
    /// since fields are written in the order of their numbers.
    pub fn ints(&mut self, field: Field<'_>, number: u8) -> Option<()> {
        self.of_kind(number)?;
        // Types of fewer than eight bits come two or four to a number.
        let size = usize::try_from(self.data_type.bits().div_ceil(8)).ok()?.clamp(1, 8);
        let mut push = |value: u64| self.data.extend(&value.to_le_bytes()[..size]);
        match field {
            Field::Int(value) => push(value),
            Field::Bytes(bytes) => {
                for value in packed_ints(bytes) {
                    push(value?);
                }
            }
            _ => return None,
        }
        Some(())
    }
}
