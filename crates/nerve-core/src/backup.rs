//! A copy of variables, to go back to.

use crate::dtype::DType;
use crate::var::Var;

/// A copy of what variables hold, to which they can be set back: before something is tried.
///
/// ```
/// use nerve_core::{Backup, Tensor, Var};
/// let w = Var::new("w", Tensor::ones([2]));
/// let before = Backup::of(&[w.clone()]);
/// w.write(&[5.0f32, f32::NAN]);
/// assert!(!w.is_finite());
/// before.restore();
/// assert_eq!(w.to_vec::<f32>(), [1.0; 2]);
/// w.write(&[1.0f32, 2.0]);
/// assert_eq!(before.changes(), [0.5f64.sqrt()]);
/// ```
#[derive(Debug)]
pub struct Backup {
    parts: Vec<(Var, Vec<u8>)>,
}

impl Backup {
    /// What the variables hold now. For all that a training step changes, see
    /// [`Step::written`](crate::Step::written).
    pub fn of(vars: &[Var]) -> Backup {
        let parts = vars.iter().map(|var| (var.clone(), vec![0; var.bytes()])).collect();
        let mut backup = Backup { parts };
        backup.take();
        backup
    }

    /// What they hold now, in the place of what they held then. Allocates nothing.
    pub fn take(&mut self) {
        for (var, bytes) in &mut self.parts {
            let home = var.home();
            home.buffer.read_into(home.offset, bytes);
        }
    }

    /// Gives the variables what they held then.
    pub fn restore(&self) {
        for (var, bytes) in &self.parts {
            let home = var.home();
            home.buffer.write(home.offset, bytes);
            var.touch();
        }
    }

    /// For each variable how far it has gone since, as a share of what it was: ‖now − then‖ / ‖then‖;
    /// 0 for one that stayed, and for integers.
    pub fn changes(&self) -> Vec<f64> {
        let change = |(var, before): &(Var, Vec<u8>)| {
            let mut now = vec![0; before.len()];
            let home = var.home();
            home.buffer.read_into(home.offset, &mut now);
            let (mut moved, mut size) = (0.0, 0.0);
            for (now, then) in numbers(&now, var.dtype()).zip(numbers(before, var.dtype())) {
                moved += (now - then).powi(2);
                size += then.powi(2);
            }
            if moved == 0.0 { 0.0 } else { (moved / size).sqrt() }
        };
        self.parts.iter().map(change).collect()
    }

    /// Bytes of the copy.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// The floating-point numbers that are stored there.
fn numbers(bytes: &[u8], dtype: DType) -> Box<dyn Iterator<Item = f64> + '_> {
    match dtype {
        DType::F32 => {
            Box::new(bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_ne_bytes(b))))
        }
        DType::F64 => Box::new(bytes.as_chunks().0.iter().map(|&b| f64::from_ne_bytes(b))),
        _ => Box::new(std::iter::empty()),
    }
}

/// Bytes that are looked at at once.
const BLOCK: usize = 1 << 16;

impl Var {
    /// Whether all its elements are finite numbers: integers always are. It reads the memory once,
    /// at about the speed of a copy.
    ///
    /// # Panics
    /// If it is derived from others.
    #[track_caller]
    pub fn is_finite(&self) -> bool {
        let (home, total) = (self.home(), self.bytes());
        assert!(!self.is_derived(), "is_finite: `{}` has no elements of its own", self.name());
        let mut block = vec![0u8; BLOCK.min(total)];
        (0..total).step_by(BLOCK).all(|start| {
            let part = &mut block[..BLOCK.min(total - start)];
            home.buffer.read_into(home.offset + start, part);
            finite(part, self.dtype())
        })
    }
}

/// Whether no exponent has all its bits. Without leaving early, so that it is many at a time.
fn finite(bytes: &[u8], dtype: DType) -> bool {
    match dtype {
        DType::F32 => {
            let full = |&b: &[u8; 4]| u32::from_ne_bytes(b) & 0x7f80_0000 == 0x7f80_0000;
            !bytes.as_chunks().0.iter().fold(false, |any, b| any | full(b))
        }
        DType::F64 => {
            let most = 0x7ff0_0000_0000_0000;
            let full = |&b: &[u8; 8]| u64::from_ne_bytes(b) & most == most;
            !bytes.as_chunks().0.iter().fold(false, |any, b| any | full(b))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn a_single_number_that_is_not_finite_is_found_anywhere() {
        let n = 3 * BLOCK / 4 + 5;
        let w = Var::new("w", Tensor::zeros([n]));
        assert!(w.is_finite());
        for at in [0, BLOCK / 4 - 1, BLOCK / 4, n - 1] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![f32::MAX; n];
                values[at] = bad;
                w.write(&values);
                assert!(!w.is_finite(), "{bad} at {at}");
            }
        }
        let d = Var::new("d", Tensor::from_slice(&[f64::MAX, f64::MIN_POSITIVE], [2]));
        assert!(d.is_finite());
        d.write(&[1.0, f64::NEG_INFINITY]);
        assert!(!d.is_finite());
        assert!(Var::new("i", Tensor::from_slice(&[-1i32, 0x7f80_0000], [2])).is_finite());
    }
}
