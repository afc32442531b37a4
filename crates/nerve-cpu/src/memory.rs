//! Buffers, regions of buffers, and the table of base addresses that a replay works on.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Every buffer starts on a cache line, which is also the width of the widest vector.
pub const ALIGN: usize = 64;

/// Where an operand lies: `bytes` bytes from `offset` in the buffer numbered `buffer`.
///
/// Buffer 0 is the program's own arena; the others are bound when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// Index into the buffers of the program; 0 is the arena.
    pub buffer: u32,
    /// Start, in bytes. Aligned to the element, not always to a cache line.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
}

impl Region {
    /// The region of `bytes` bytes at `offset` in `buffer`.
    pub const fn new(buffer: u32, offset: usize, bytes: usize) -> Self {
        Region { buffer, offset, bytes }
    }

    /// Number of elements of type `T` that fit.
    pub const fn len<T>(&self) -> usize {
        self.bytes / size_of::<T>()
    }

    /// Whether the region holds no byte.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the two regions share at least one byte.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.buffer == other.buffer
            && self.offset < other.offset + other.bytes
            && other.offset < self.offset + self.bytes
    }
}

/// Plain values that may be copied in and out of a [`Buffer`] as bytes.
///
/// Sealed: all bit patterns of the implementing types are valid and they have no padding.
pub trait Plain: Copy + Send + Sync + 'static + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain { ($($t:ty),*) => { $(impl sealed::Sealed for $t {} impl Plain for $t {})* } }
plain!(f32, f64, i32, i64, u8, i8, u16, u32, u64);

/// A block of zero-initialised, 64-byte-aligned memory that threads may share.
///
/// Reading and writing borrow it for the duration of the call, like a `RefCell` across threads:
/// many readers or one writer; whoever comes second waits.
pub struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
    /// Number of readers, or -1 for a writer.
    borrows: AtomicIsize,
}

// SAFETY: the memory is owned, and every access goes through the borrow count.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `bytes` zero bytes.
    pub fn zeroed(bytes: usize) -> Self {
        Buffer { start: system::zeroed(bytes), bytes, borrows: AtomicIsize::new(0) }
    }

    /// A buffer that holds a copy of `values`.
    pub fn from_slice<T: Plain>(values: &[T]) -> Self {
        let buffer = Self::zeroed(size_of_val(values));
        buffer.write(0, values);
        buffer
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies `values` to the bytes from `offset` on.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write<T: Plain>(&self, offset: usize, values: &[T]) {
        let bytes = size_of_val(values);
        assert!(
            offset.checked_add(bytes).is_some_and(|end| end <= self.bytes),
            "write of {bytes} bytes at {offset} into a buffer of {}",
            self.bytes
        );
        self.borrow_mut();
        // SAFETY: the range was checked, and this thread holds the only borrow.
        unsafe {
            let to = self.start.as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), to, bytes);
        }
        self.release_mut();
    }

    /// Copies `into.len()` values out, from byte `offset` on.
    ///
    /// # Panics
    /// If the range is not inside the buffer.
    pub fn read_into<T: Plain>(&self, offset: usize, into: &mut [T]) {
        let bytes = size_of_val(into);
        assert!(
            offset.checked_add(bytes).is_some_and(|end| end <= self.bytes),
            "read of {bytes} bytes at {offset} from a buffer of {}",
            self.bytes
        );
        self.borrow();
        // SAFETY: the range was checked, a borrow is held, and any bit pattern is a valid `T`.
        unsafe {
            let from = self.start.as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(from, into.as_mut_ptr().cast::<u8>(), bytes);
        }
        self.release();
    }

    /// Copies `range` (in elements of `T`) out into a vector.
    pub fn to_vec<T: Plain + Default>(&self, range: Range<usize>) -> Vec<T> {
        let mut values = vec![T::default(); range.len()];
        self.read_into(range.start * size_of::<T>(), &mut values);
        values
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn borrow(&self) {
        self.wait(|n| (n >= 0).then_some(n + 1));
    }

    pub(crate) fn release(&self) {
        self.borrows.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn borrow_mut(&self) {
        self.wait(|n| (n == 0).then_some(-1));
    }

    pub(crate) fn release_mut(&self) {
        self.borrows.store(0, Ordering::Release);
    }

    fn wait(&self, next: impl Fn(isize) -> Option<isize>) {
        while self.borrows.fetch_update(Ordering::Acquire, Ordering::Relaxed, &next).is_err() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it came from `system::zeroed` with the same length, and nobody has it any more.
        unsafe { system::free(self.start, self.bytes) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes)
    }
}

/// Where the memory of buffers comes from.
///
/// Large blocks are mapped pages: zero without being touched, given back to the system when they
/// are freed (the allocator of the C library keeps freed blocks of some megabytes, and a network is
/// made of such), and backed by huge pages where the system has them. Small ones are allocated.
mod system {
    use super::ALIGN;
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::ptr::NonNull;

    /// Length from which a block is mapped.
    #[cfg(unix)]
    const MAPPED: usize = 1 << 20;
    #[cfg(not(unix))]
    const MAPPED: usize = usize::MAX;

    /// Length of a huge page. A block that is as long starts on a boundary of these: else all of it
    /// before its first boundary and behind its last would be of small pages.
    #[cfg(unix)]
    const HUGE: usize = 2 << 20;

    /// Mapped blocks are so many bytes long, times a whole number: no system has longer small pages.
    #[cfg(unix)]
    const PAGE: usize = 1 << 16;

    fn layout(bytes: usize) -> Layout {
        let layout = Layout::from_size_align(bytes.max(1), ALIGN);
        layout.expect("a buffer is smaller than isize::MAX bytes")
    }

    pub fn zeroed(bytes: usize) -> NonNull<u8> {
        if bytes >= MAPPED {
            return map(bytes).unwrap_or_else(|| handle_alloc_error(layout(bytes)));
        }
        // SAFETY: the layout has at least one byte.
        let start = unsafe { alloc_zeroed(layout(bytes)) };
        NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
    }

    /// # Safety
    /// `start` came from `zeroed(bytes)` and is not used any more.
    pub unsafe fn free(start: NonNull<u8>, bytes: usize) {
        // SAFETY: by contract.
        unsafe {
            match bytes >= MAPPED {
                true => unmap(start, bytes),
                false => dealloc(start.as_ptr(), layout(bytes)),
            }
        }
    }

    #[cfg(unix)]
    fn map(bytes: usize) -> Option<NonNull<u8>> {
        let length = bytes.checked_next_multiple_of(PAGE)?;
        let spare = if length >= HUGE { HUGE } else { 0 };
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        let whole = length.checked_add(spare)?;
        // SAFETY: a new mapping that overlaps nothing.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), whole, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let mapped = mapped.cast::<u8>();
        let before = match spare {
            0 => 0,
            _ => mapped.addr().next_multiple_of(HUGE) - mapped.addr(),
        };
        // SAFETY: the block lies in what was mapped, `spare` bytes longer than it, and what is
        // given back is the rest.
        let start = unsafe {
            let start = mapped.add(before);
            give_back(mapped, before);
            give_back(start.add(length), spare - before);
            start
        };
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping was just made. It is a wish: whether it is granted does not matter.
        unsafe {
            libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE);
        }
        NonNull::new(start)
    }

    #[cfg(unix)]
    unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: by contract of `free`: `map` has rounded in the same way.
        unsafe { give_back(start.as_ptr(), bytes.next_multiple_of(PAGE)) };
    }

    /// # Safety
    /// The bytes are whole pages of a mapping, and not used any more.
    #[cfg(unix)]
    unsafe fn give_back(start: *mut u8, bytes: usize) {
        if bytes > 0 {
            // SAFETY: by contract. It cannot fail for a mapping that exists.
            unsafe { libc::munmap(start.cast(), bytes) };
        }
    }

    #[cfg(not(unix))]
    fn map(_: usize) -> Option<NonNull<u8>> {
        None
    }

    #[cfg(not(unix))]
    unsafe fn unmap(_: NonNull<u8>, _: usize) {}
}

/// The base address of each buffer of a program while it runs.
pub struct Memory {
    bases: Vec<*mut u8>,
}

// SAFETY: the pointers are only followed by kernels, whose contract is to keep chunks apart.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// A table for `buffers` buffers, none bound yet.
    pub(crate) fn new(buffers: usize) -> Self {
        Memory { bases: vec![std::ptr::null_mut(); buffers] }
    }

    pub(crate) fn bind(&mut self, index: usize, buffer: &Buffer) {
        self.bases[index] = buffer.as_ptr();
    }

    /// Start of `region`.
    ///
    /// # Safety
    /// The region was checked against the bound buffers, and is aligned for `T`.
    #[inline]
    pub unsafe fn ptr<T: Plain>(&self, region: Region) -> *mut T {
        // SAFETY: by contract the buffer exists and the offset lies inside it.
        unsafe { self.bases.get_unchecked(region.buffer as usize).add(region.offset).cast() }
    }

    /// All of `region`, to read.
    ///
    /// # Safety
    /// As [`Memory::ptr`], and nobody writes the region while the slice lives.
    #[inline]
    pub unsafe fn read<T: Plain>(&self, region: Region) -> &[T] {
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts(self.ptr(region), region.len::<T>()) }
    }

    /// The elements `range` of `region`, to write.
    ///
    /// # Safety
    /// As [`Memory::ptr`], and nobody else reads or writes that range while the slice lives.
    #[inline]
    #[allow(clippy::mut_from_ref)] // The table of addresses is shared; the ranges are disjoint.
    pub unsafe fn write<T: Plain>(&self, region: Region, range: Range<usize>) -> &mut [T] {
        debug_assert!(range.end <= region.len::<T>());
        // SAFETY: by contract.
        unsafe {
            std::slice::from_raw_parts_mut(self.ptr::<T>(region).add(range.start), range.len())
        }
    }
}
