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
/// assert_eq!(before.broken(), Some(&w));
/// before.restore();
/// assert_eq!((w.to_vec::<f32>(), before.broken()), (vec![1.0; 2], None));
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

    /// Bytes of the copy.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The first variable that holds a number that is not finite, where it held none then.
    pub fn broken(&self) -> Option<&Var> {
        let broken = |(var, before): &&(Var, Vec<u8>)| {
            let mut now = vec![0; before.len()];
            let home = var.home();
            home.buffer.read_into(home.offset, &mut now);
            !finite(&now, var.dtype()) && finite(before, var.dtype())
        };
        self.parts.iter().find(broken).map(|(var, _)| var)
    }
}

fn finite(bytes: &[u8], dtype: DType) -> bool {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().all(|&b| f32::from_ne_bytes(b).is_finite()),
        DType::F64 => bytes.as_chunks().0.iter().all(|&b| f64::from_ne_bytes(b).is_finite()),
        _ => true,
    }
}
