//! A convolution and the pooling of its result, as one instruction.
//!
//! A chunk takes a few images, whose results stay in its cache until their windows have been read:
//! memory never sees them. They are usually four times as large as what is pooled from them.

use super::few::Few;
use super::{Conv, ConvShape};
use crate::bounds::apart;
use crate::gemm::tile::Scalar;
use crate::kernel::{Access, Kernel, Operand, Scratch};
use crate::memory::{ALIGN, Memory, Region};
use crate::pool::{Pool, PoolShape};

/// Most bytes that the results of an image take: half of the smallest L2 that is usual.
const IMAGE_BYTES: usize = 256 * 1024;
/// Bytes of results that several images of a chunk take together.
const CHUNK_BYTES: usize = 128 * 1024;
/// Fewest chunks: threads share images, not parts of them.
const LEAST_CHUNKS: usize = 4;

/// `y = pool(activation(x * filter + bias))`, for a batch of images: the same bits as from [`Conv`]
/// and [`Pool`].
#[derive(Clone, Debug, PartialEq)]
pub struct ConvPool {
    /// Of all images.
    conv: Conv,
    pool: Pool,
    /// Images of a chunk.
    images: usize,
}

impl ConvPool {
    /// Both as one, where `pool` reads what `conv` writes. `None` if they do not fit (places of maxima
    /// are asked for), or if it does not pay: with few or large images.
    pub fn of(conv: &Conv, pool: &Pool) -> Option<ConvPool> {
        let (s, p) = (&conv.shape, &pool.shape);
        let fits = (pool.ty, pool.places.is_none()) == (conv.ty, true)
            && [p.n, p.h, p.w, p.c] == [s.n, s.oh(), s.ow(), s.co];
        if conv.is_empty() || !fits {
            return None;
        }
        let bytes = s.results() * conv.ty.bytes();
        let most = (CHUNK_BYTES / (bytes / s.n)).min(s.n / LEAST_CHUNKS);
        let images = (1..=most.max(1)).rev().find(|&images| s.n.is_multiple_of(images))?;
        // What is never stored lies nowhere.
        let between = Region::new(u32::MAX, 0, bytes);
        let conv = Conv { y: between, ..conv.clone() };
        let both = ConvPool { conv, pool: Pool { x: between, ..pool.clone() }, images };
        let pays = bytes / s.n <= IMAGE_BYTES && s.n / images >= LEAST_CHUNKS && both.is_alike();
        pays.then_some(both)
    }

    /// The convolution.
    pub fn conv(&self) -> &Conv {
        &self.conv
    }

    /// The pooling.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether a chunk's convolution reads its filter in the same form as that of all images, sums in
    /// the same order, and does nothing twice that one chunk for each image would do once.
    fn is_alike(&self) -> bool {
        let (whole, part) = (&self.conv, &self.part(0));
        let same = match whole.winograd {
            Some(_) => part.winograd_width() == whole.winograd_width(),
            None => {
                let few = Few::of(part, f32::kernels(part.isa));
                few.is_none() && part.panels() == whole.panels()
            }
        };
        same && part.chunks() <= self.images
    }

    /// The convolution of the images of a chunk.
    fn part(&self, chunk: usize) -> Conv {
        let conv = &self.conv;
        let shape = ConvShape { n: self.images, ..conv.shape };
        let x = part(conv.x, chunk, shape.images() * conv.ty.bytes());
        let y = part(conv.y, 0, shape.results() * conv.ty.bytes());
        Conv { shape, x, y, ..conv.clone() }
    }

    /// The pooling of the images of a chunk.
    fn windows(&self, chunk: usize) -> Pool {
        let PoolShape { oh, ow, c, .. } = self.pool.shape;
        let shape = PoolShape { n: self.images, ..self.pool.shape };
        let bytes = shape.n * oh * ow * c * self.pool.ty.bytes();
        let y = self.pool.y.map(|y| part(y, chunk, bytes));
        Pool { shape, y, ..self.pool.clone() }
    }
}

/// Stretch number `number`, of `bytes` bytes.
fn part(region: Region, number: usize, bytes: usize) -> Region {
    Region::new(region.buffer, region.offset + number * bytes, bytes)
}

impl Kernel for ConvPool {
    fn name(&self) -> &'static str {
        "conv_pool"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        self.conv.operands(&mut |operand| {
            if operand.access == Access::Read {
                visit(operand);
            }
        });
        self.pool.y.into_iter().for_each(|y| visit(Operand::write(y)));
    }

    fn check(&self) -> Result<(), String> {
        self.conv.check()?;
        self.pool.check()?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        self.conv.shape.n / self.images
    }

    fn flops(&self) -> u64 {
        self.conv.flops() + self.pool.flops()
    }

    fn scratch_bytes(&self) -> usize {
        let part = self.part(0);
        let between = part.y.bytes.next_multiple_of(ALIGN);
        between + part.scratch_bytes().max(self.pool.scratch_bytes())
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        let (conv, pool) = (self.part(chunk), self.windows(chunk));
        let (between, rest) = scratch.bytes.split_at_mut(conv.y.bytes.next_multiple_of(ALIGN));
        let mut rest = Scratch { bytes: rest, fault: scratch.fault };
        let mut between = Scratch { bytes: between, fault: scratch.fault };
        // SAFETY: `check` held the operands of all images against the sizes, of which these are a part
        // that no other chunk writes; the results in between have room.
        unsafe {
            for part in 0..conv.chunks() {
                conv.run_to(between.bytes.as_mut_ptr(), part, memory, &mut rest);
            }
            pool.run_from(conv.isa, &mut between, memory, &mut rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::tests::{PLAIN, most_words};
    use crate::kernel::{Float, run_alone};
    use crate::memory::Buffer;
    use crate::pool::{Places, PoolKind};
    use crate::simd::Isa;
    use crate::testing::{Random, every_machine, fill};

    fn whole(index: u32, buffer: &Buffer) -> Region {
        Region::new(index, 0, buffer.bytes())
    }

    fn random_shape(random: &mut Random, winograd: bool) -> ConvShape {
        let k = if winograd { 3 } else { 1 + random.below(4) };
        let size = 6 + random.below(9);
        ConvShape {
            n: 4 + random.below(9),
            h: size,
            w: size + random.below(3),
            c: 1 + random.below(20),
            kh: k,
            kw: k,
            co: 1 + random.below(40),
            pad: [[k / 2; 2]; 2],
            ..PLAIN
        }
    }

    fn random_windows(s: &ConvShape, random: &mut Random) -> PoolShape {
        let kind = [PoolKind::Max, PoolKind::Avg][random.below(2)];
        let kernel = [1 + random.below(3), 1 + random.below(3)];
        let stride = [1 + random.below(3), 1 + random.below(3)];
        let pad = kernel.map(|k| random.below(k / 2 + 1));
        let out = |axis: usize, n: usize| (n + 2 * pad[axis] - kernel[axis]) / stride[axis] + 1;
        let (h, w) = (s.oh(), s.ow());
        let (oh, ow) = (out(0, h), out(1, w));
        let count_include_pad = random.coin();
        PoolShape { kind, n: s.n, h, w, c: s.co, kernel, stride, pad, oh, ow, count_include_pad }
    }

    /// Whether both became one; then it gives the same bits.
    fn verify(ty: Float, isa: Isa, winograd: bool, random: &mut Random) -> bool {
        let s = random_shape(random, winograd);
        let p = random_windows(&s, random);
        let pooled = p.n * p.oh * p.ow * p.c;
        let lengths = [s.images(), s.filter(), s.co, s.results(), most_words(&s), pooled, pooled];
        let buffers = lengths.map(|n| Buffer::zeroed(n * ty.bytes()));
        buffers.iter().for_each(|buffer| fill(buffer, ty, random));
        let region = |i: usize| whole(i as u32, &buffers[i]);
        let relu = random.coin();
        let mut conv = Conv {
            bias: random.coin().then(|| region(2)),
            isa,
            ..Conv::new(ty, s, region(0), region(1), region(3))
        };
        let buffers = buffers.each_ref();
        if winograd {
            let strides = [3 * s.c * s.co, s.c * s.co, s.co, 1].map(|n| n as isize);
            run_alone(&conv.winograd_filter(region(1), 0, strides, region(4)), &buffers);
            conv = conv.with_winograd(region(4));
        }
        let pool = Pool { ty, shape: p, x: region(3), y: Some(region(5)), relu, places: None };
        let there = Pool { y: Some(region(6)), ..pool.clone() };
        let Some(both) = ConvPool::of(&conv, &there) else { return false };
        run_alone(&conv, &buffers);
        run_alone(&pool, &buffers);
        // What is between is not stored.
        fill(buffers[3], ty, random);
        run_alone(&both, &buffers);
        let [expected, found] = [5, 6].map(|i: usize| {
            let bytes = buffers[i].bytes();
            buffers[i].to_vec::<u8>(0..bytes)
        });
        assert_eq!(found, expected, "{s:?} {p:?} {ty:?} {isa:?} {winograd}");
        true
    }

    #[test]
    fn both_give_what_each_gives() {
        let mut random = Random::new(23);
        every_machine(|ty, isa| {
            for winograd in [false, true].into_iter().filter(|w| !w || ty == Float::F32) {
                let fused = (0..40).filter(|_| verify(ty, isa, winograd, &mut random)).count();
                assert!(fused >= 20, "{fused} of 40 for {ty:?} {isa:?} {winograd}");
            }
        });
    }

    #[test]
    fn who_needs_what_is_between_gets_both() {
        let s = ConvShape { n: 8, h: 8, w: 8, c: 3, co: 16, ..PLAIN };
        let region = |number: u32, n: usize| Region::new(number, 0, 4 * n);
        let (x, filter, y) = (region(0, s.images()), region(1, s.filter()), region(2, s.results()));
        let conv = Conv::new(Float::F32, s, x, filter, y);
        let shape = PoolShape {
            kind: PoolKind::Max,
            n: 8,
            h: 6,
            w: 6,
            c: 16,
            kernel: [2; 2],
            stride: [2; 2],
            pad: [0; 2],
            oh: 3,
            ow: 3,
            count_include_pad: false,
        };
        let to = region(3, 8 * 3 * 3 * 16);
        let pool = Pool { ty: Float::F32, shape, x: y, y: Some(to), relu: false, places: None };
        let both = ConvPool::of(&conv, &pool).unwrap();
        assert_eq!(both.check(), Ok(()));
        let mut written = Vec::new();
        both.operands(&mut |operand| written.push(operand.region.buffer));
        assert_eq!(written, [0, 1, 3]);
        let places = Places { region: region(4, 8 * 3 * 3 * 4), positive: false };
        assert_eq!(ConvPool::of(&conv, &Pool { places: Some(places), ..pool.clone() }), None);
        let one = ConvShape { n: 1, ..s };
        let one = Conv { shape: one, ..conv.clone() };
        let window = Pool { shape: PoolShape { n: 1, ..shape }, ..pool.clone() };
        assert_eq!(ConvPool::of(&one, &window), None, "one image has no parts");
        let short = Pool { y: Some(region(3, 8 * 3 * 3 * 16 - 1)), ..pool };
        assert!(ConvPool::of(&conv, &short).unwrap().check().is_err());
    }
}
