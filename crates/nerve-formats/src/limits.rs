//! How much a reader may take in.

/// Bounds that the caller sets on one file.
///
/// ```
/// use nerve_formats::Limits;
/// let small = Limits { max_bytes: 1 << 20, ..Limits::default() };
/// assert!(small.max_bytes < Limits::default().max_bytes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes, and largest result of its decompression.
    pub max_bytes: u64,
    /// Largest ratio of decompressed to compressed bytes, once `free_bytes` are passed.
    pub max_ratio: u64,
    /// What decompression may always yield, whatever the ratio.
    pub free_bytes: u64,
}

impl Default for Limits {
    /// 8 GiB; 64 MiB free of any ratio, above that 200 : 1.
    ///
    /// Deflate itself cannot pass 1032 : 1, so a bound near that would bound nothing: 10 MB could
    /// ask for 10 GB. Photographs and digits reach 2 to 10 : 1, mostly empty masks 100 : 1. A file of
    /// nothing but zeros does reach 1000 : 1; it is harmless while it is small, hence the free part.
    fn default() -> Self {
        Limits { max_bytes: 8 << 30, max_ratio: 200, free_bytes: 64 << 20 }
    }
}

impl Limits {
    /// The most that `compressed` bytes may grow to.
    pub(crate) fn inflated(&self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.max_ratio).max(self.free_bytes).min(self.max_bytes)
    }
}
