//! Checks that kernels share: sizes that do not overflow, regions that are long enough.

use crate::kernel::{Access, Kernel, Operand};
use crate::memory::Region;

/// The product of `extents`.
///
/// # Errors
/// If it overflows, or would if no extent were 0: no memory holds that many elements of eight
/// bytes. So the product of any of the extents may be computed unchecked afterwards.
pub(crate) fn product(extents: &[usize]) -> Result<usize, String> {
    let all = extents
        .iter()
        .try_fold(1usize, |all, &extent| all.checked_mul(extent.max(1)))
        .filter(|&all| all <= isize::MAX as usize / 8)
        .ok_or_else(|| format!("{extents:?} are too many elements"))?;
    Ok(if extents.contains(&0) { 0 } else { all })
}

/// Checks that `region`, called `name` in the message, holds `elements` elements of `bytes` bytes
/// each, and is aligned to them.
///
/// # Errors
/// Says what it should hold and what it does.
pub(crate) fn holds(
    name: &str,
    region: Region,
    elements: usize,
    bytes: usize,
) -> Result<(), String> {
    if !region.offset.is_multiple_of(bytes) {
        return Err(format!("{name} at offset {} is not aligned to {bytes}", region.offset));
    }
    match elements.checked_mul(bytes) {
        Some(needed) if needed <= region.bytes => Ok(()),
        _ => Err(format!("{name} has {} bytes, needs {elements} x {bytes}", region.bytes)),
    }
}

/// Checks that no operand of `kernel` that is written shares a byte with another operand.
///
/// # Errors
/// Names the two regions.
pub(crate) fn apart(kernel: &dyn Kernel) -> Result<(), String> {
    let mut operands: Vec<Operand> = Vec::new();
    kernel.operands(&mut |operand| operands.push(operand));
    for (i, a) in operands.iter().enumerate() {
        for b in &operands[i + 1..] {
            let harmless = a.access == Access::Read && b.access == Access::Read;
            if !harmless && share(a.region, b.region) {
                let name = kernel.name();
                return Err(format!("{name}: {:?} and {:?} overlap", a.region, b.region));
            }
        }
    }
    Ok(())
}

/// Whether two regions share a byte; unlike `Region::overlaps`, an empty one shares none.
fn share(a: Region, b: Region) -> bool {
    a.buffer == b.buffer
        && !a.is_empty()
        && !b.is_empty()
        && a.offset < b.offset.saturating_add(b.bytes)
        && b.offset < a.offset.saturating_add(a.bytes)
}

/// The index of the last element of an axis must fit into the `i32` that indices are stored in.
///
/// # Errors
/// If the axis is longer.
pub(crate) fn indexable(axis: usize) -> Result<(), String> {
    match i32::try_from(axis) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("an axis of {axis} is too long for 32-bit indices")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_do_not_overflow() {
        assert_eq!(product(&[3, 4]), Ok(12));
        assert_eq!(product(&[]), Ok(1));
        assert_eq!(product(&[usize::MAX >> 4, 0]), Ok(0));
        assert!(product(&[usize::MAX, 2, 0]).is_err());
        assert!(product(&[usize::MAX, 2]).is_err());
        assert!(product(&[usize::MAX / 2]).is_err());
        assert!(holds("x", Region::new(0, 0, 64), usize::MAX / 2, 4).is_err());
    }

    #[test]
    fn empty_regions_overlap_nothing() {
        assert!(!share(Region::new(0, 8, 0), Region::new(0, 0, 16)));
        assert!(share(Region::new(0, 8, 1), Region::new(0, 0, 16)));
        assert!(!share(Region::new(0, 8, 1), Region::new(1, 0, 16)));
        assert!(!share(Region::new(0, 8, 8), Region::new(0, 0, 8)));
        assert!(share(Region::new(0, 8, usize::MAX), Region::new(0, 8, usize::MAX)));
    }
}
