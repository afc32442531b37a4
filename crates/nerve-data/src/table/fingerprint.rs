//! Whether two tables are the same.

use super::{Cells, Table, Texts};
use crate::Values;
use sha2::{Digest, Sha256};

impl Table {
    /// The SHA-256 of the names and the cells of all columns, as hexadecimal digits: it tells whether data have changed.
    /// What a cell only names, as a picture by its file, is not looked at.
    ///
    /// ```
    /// use nerve_data::{Cells, Column, Origin, Table};
    /// let table = |x: f64| {
    ///     let column = Column { name: "x".into(), cells: Cells::Numbers(vec![1.0, x]) };
    ///     Table::new(vec![column], Origin::default()).unwrap()
    /// };
    /// assert_eq!(table(2.0).fingerprint(), table(2.0).fingerprint());
    /// assert_ne!(table(2.0).fingerprint(), table(3.0).fingerprint());
    /// ```
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for column in &self.columns {
            // Lengths go in too, so that nothing can move from one column into the next.
            hash.update((column.name.len() as u64).to_le_bytes());
            hash.update(column.name.as_bytes());
            match &column.cells {
                Cells::Text(texts) => texts.hash(&mut hash),
                Cells::Numbers(numbers) => elements(&mut hash, b'n', numbers, |x| x.to_le_bytes()),
                Cells::Arrays(_, Values::F32(v)) => {
                    elements(&mut hash, b'f', v, |x| x.to_le_bytes())
                }
                Cells::Arrays(_, Values::I32(v)) => {
                    elements(&mut hash, b'i', v, |x| x.to_le_bytes())
                }
                Cells::Arrays(_, Values::U8(v)) => {
                    hash.update((v.len() as u64).to_le_bytes());
                    hash.update(v);
                }
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Texts {
    fn hash(&self, hash: &mut Sha256) {
        elements(hash, b't', &self.ends, |(end, there)| {
            (((end as u64) << 1) | u64::from(there)).to_le_bytes()
        });
        hash.update(self.bytes.as_bytes());
    }
}

fn elements<T: Copy, const N: usize>(
    hash: &mut Sha256,
    kind: u8,
    elements: &[T],
    bytes: impl Fn(T) -> [u8; N],
) {
    hash.update([kind]);
    hash.update((elements.len() as u64).to_le_bytes());
    let mut buffer = Vec::with_capacity(N * 4096);
    for block in elements.chunks(4096) {
        buffer.clear();
        buffer.extend(block.iter().flat_map(|&x| bytes(x)));
        hash.update(&buffer);
    }
}
