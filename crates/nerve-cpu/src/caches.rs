//! How large the caches are: what blocks are cut to.

use std::sync::OnceLock;

/// What is assumed where the processor does not tell.
const USUAL: usize = 1 << 20;

/// Bytes of the second-level cache of a core, within reason.
pub(crate) fn l2_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| found().map_or(USUAL, |bytes| bytes.clamp(256 << 10, 4 << 20)))
}

/// The leaves in which processors describe their caches, one after the other: type and level in
/// EAX; ways, partitions and line size in EBX; sets in ECX; each less one.
#[cfg(target_arch = "x86_64")]
fn found() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // AMD and Hygon have the leaf where they keep their own; the others where Intel put it.
    let vendor = __cpuid(0).ebx;
    let amd = vendor == u32::from_le_bytes(*b"Auth") || vendor == u32::from_le_bytes(*b"Hygo");
    let (last, leaf) = if amd { (0x8000_0000, 0x8000_001d) } else { (0, 4) };
    if __cpuid(last).eax < leaf {
        return None;
    }
    let caches = (0..8).map(|i| __cpuid_count(leaf, i)).take_while(|cache| cache.eax & 31 != 0);
    let l2 = caches.into_iter().find(|cache| cache.eax >> 5 & 7 == 2)?;
    let [ways, partitions, line] =
        [l2.ebx >> 22, l2.ebx >> 12 & 0x3ff, l2.ebx & 0xfff].map(|n| n as usize + 1);
    Some(ways * partitions * line * (l2.ecx as usize + 1))
}

#[cfg(not(target_arch = "x86_64"))]
fn found() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_a_reasonable_size() {
        let bytes = l2_bytes();
        assert!((256 << 10..=4 << 20).contains(&bytes), "{bytes}");
        assert_eq!(bytes % 64, 0);
    }
}
