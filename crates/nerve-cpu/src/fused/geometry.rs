//! How a group's iteration space is walked: which dimensions a tile covers, which loops go around
//! it, and where the work is cut.

use super::access::{Levels, is_dense, merge};
use super::lane::{STEP, TILE_BYTES};
use super::{Fused, Output, Step};
use std::ops::Range;

/// Points of a chunk, about: enough that handing one out costs nothing beside it.
const GRAIN: usize = 32 * 1024;

/// A random number takes as long as this many ordinary points.
pub(super) const RANDOM: usize = 4;

/// A reduction is cut into parts only where fewer independent chunks than this can be had.
const ENOUGH_CHUNKS: usize = 16;

/// Fewer grains than this are reduced faster by one thread than by a second instruction.
const WORTH_PARTS: usize = 4;

/// Never more parts than this.
const MAX_PARTS: usize = 64;

/// Columns of a tile in which some operand is transposed: all of them where there are few, so that
/// what is stored row by row is in one piece.
const COLUMNS: usize = 32;
const FEW_COLUMNS: usize = 64;

/// Its rows, a multiple of this where there are enough.
const ROWS: usize = 8;

/// A dimension of the iteration space, with the stride of every operand along it.
#[derive(Clone, Debug)]
struct Dim {
    extent: usize,
    strides: Vec<isize>,
}

/// A loop around the tiles.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loop {
    pub(super) count: usize,
    /// How far each operand moves from one round to the next, in elements.
    pub(super) steps: Vec<isize>,
    /// Which bit of the number of a [`Shape`] is set in the last round.
    last_bit: usize,
}

/// What differs between whole tiles and those at the edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Points of the tile.
    pub(super) n: usize,
    /// `n` rounded up to a multiple of [`STEP`].
    pub(super) padded: usize,
    /// For each operand.
    pub(super) levels: Vec<Levels>,
    /// For each input and output: whether arithmetic can work on it where it lies.
    pub(super) whole: Vec<bool>,
    /// For each output: where its values go in the carry; step 0 where reduced.
    pub(super) fold: Vec<Levels>,
    /// For each output: the levels that are not reduced.
    pub(super) kept: Vec<Levels>,
    /// For each output: number of places of the carry.
    pub(super) kept_n: Vec<usize>,
}

/// How the iteration space is walked. Operands are the inputs, then the outputs, then the steps
/// that need the position of the point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Geometry {
    /// Outermost first.
    pub(super) loops: Vec<Loop>,
    /// How many of the outer loops are reduced by no output. Chunks divide their rounds.
    pub(super) outer: usize,
    /// Rounds of those loops.
    pub(super) outer_rounds: usize,
    /// Rounds of the other loops; parts divide them.
    pub(super) inner_rounds: usize,
    /// Into how many pieces the outer rounds are cut.
    pub(super) pieces: usize,
    /// Into how many the inner ones.
    pub(super) parts: usize,
    /// By the bits of the loops that are in their last round.
    pub(super) shapes: Vec<Shape>,
    /// For each output with a reduction: whether a tile's total is combined with what earlier
    /// tiles left in memory, because a loop inside a reduced one keeps.
    pub(super) scattered: Vec<bool>,
    /// The step of each operand after the inputs and outputs.
    pub(super) positions: Vec<usize>,
}

impl Geometry {
    pub(super) fn new(fused: &Fused) -> Geometry {
        let (dims, positions) = dims(fused);
        let reduces: Vec<bool> = fused.outputs.iter().map(|o| o.reduce.is_some()).collect();
        let first_output = fused.inputs.len();
        let ordered = fused.code.iter().any(|s| matches!(s, Step::Random { .. }));
        let tile = TILE_BYTES / fused.compute.element().bytes();
        let dims = if ordered { dims } else { sort(dims, fused, &reduces) };
        let dims = join(dims);
        let views = first_output + reduces.len();
        let tile_dims = choose_tile(&dims, tile, if ordered { 0 } else { views });

        let reduced = |strides: &[isize], output: usize| {
            reduces[output] && strides[first_output + output] == 0
        };
        let kept = |l: &Loop| (0..reduces.len()).all(|o| !reduced(&l.steps, o));
        let mut loops = loops(&dims, &tile_dims);
        // Stable, so that memory is walked in order within each group.
        loops.sort_by_key(|l| !kept(l));
        let outer = loops.iter().filter(|l| kept(l)).count();
        let rounds = |loops: &[Loop]| loops.iter().map(|l| l.count).product::<usize>();
        let (outer_rounds, inner_rounds) = (rounds(&loops[..outer]), rounds(&loops[outer..]));
        let scattered = (0..reduces.len())
            .map(|o| reduces[o] && loops[outer..].iter().any(|l| !reduced(&l.steps, o)))
            .collect();
        let work = fused.points().saturating_mul(if ordered { RANDOM } else { 1 });
        let (pieces, parts) = cut(work, outer_rounds, inner_rounds);
        let shapes = (0..1 << tile_dims.iter().filter(|t| t.block < dims[t.dim].extent).count())
            .map(|number| shape(fused, &dims, &tile_dims, number, positions.len()))
            .collect();
        Geometry {
            loops,
            outer,
            outer_rounds,
            inner_rounds,
            pieces,
            parts,
            shapes,
            scattered,
            positions,
        }
    }

    /// Chunk `chunk` of the instruction: its outer rounds, its part, and the part's inner rounds.
    pub(super) fn chunk(&self, chunk: usize) -> (Range<usize>, usize, Range<usize>) {
        let share = |rounds: usize, i: usize, of: usize| i * rounds / of..(i + 1) * rounds / of;
        let (piece, part) = (chunk / self.parts, chunk % self.parts);
        let outer = share(self.outer_rounds, piece, self.pieces);
        (outer, part, share(self.inner_rounds, part, self.parts))
    }

    /// Which shape the tile at these coordinates of the loops has.
    pub(super) fn shape_number(&self, coordinates: &[usize]) -> usize {
        let loops = self.loops.iter().zip(coordinates);
        loops.map(|(l, &c)| if c + 1 == l.count { l.last_bit } else { 0 }).sum()
    }
}

/// The dimensions with the strides of all operands, and which steps are operands.
fn dims(fused: &Fused) -> (Vec<Dim>, Vec<usize>) {
    let rank = fused.dims.len();
    let mut operands: Vec<Vec<isize>> = Vec::new();
    for (i, view) in fused.inputs.iter().enumerate() {
        // The strides of a key mean nothing, and may not keep dimensions from being joined.
        let loaded = fused.code.contains(&Step::Load(i as u16));
        operands.push(if loaded { view.strides.clone() } else { vec![0; rank] });
    }
    operands.extend(fused.outputs.iter().map(|output| output.view.strides.clone()));
    let mut positions = Vec::new();
    for (i, step) in fused.code.iter().enumerate() {
        let strides = match step {
            Step::Index(weights) => weights.iter().map(|w| *w as isize).collect(),
            Step::Random { .. } => {
                let mut strides = vec![0; rank];
                let mut step = 1isize;
                for (stride, &dim) in strides.iter_mut().zip(&fused.dims).rev() {
                    *stride = step;
                    step = step.wrapping_mul(dim as isize);
                }
                strides
            }
            _ => continue,
        };
        positions.push(i);
        operands.push(strides);
    }
    let dims = (0..rank).filter(|&d| fused.dims[d] != 1).map(|d| Dim {
        // Nothing is walked if an extent is 0, but its plan is made.
        extent: fused.dims[d].max(1),
        strides: operands.iter().map(|s| s.get(d).copied().unwrap_or(0)).collect(),
    });
    (dims.collect(), positions)
}

/// Orders the dimensions so that the operand that matters most is walked in the order of memory:
/// the first output that stores every point, else the input that reads the most.
fn sort(mut dims: Vec<Dim>, fused: &Fused, reduces: &[bool]) -> Vec<Dim> {
    let steps = |operand: usize| dims.iter().all(|d| d.strides[operand] != 0);
    let stored = (0..reduces.len()).find(|&o| !reduces[o]).map(|o| fused.inputs.len() + o);
    let leader = stored.or_else(|| (0..fused.inputs.len()).find(|&i| steps(i)));
    if let Some(leader) = leader.filter(|&l| steps(l)) {
        dims.sort_by_key(|d| std::cmp::Reverse(d.strides[leader].unsigned_abs()));
    }
    dims
}

/// Joins neighbouring dimensions that every operand walks as one.
fn join(dims: Vec<Dim>) -> Vec<Dim> {
    let mut joined: Vec<Dim> = Vec::new();
    for dim in dims {
        let fits = |outer: &Dim| {
            let mut pairs = outer.strides.iter().zip(&dim.strides);
            pairs.all(|(outer, inner)| inner.checked_mul(dim.extent as isize) == Some(*outer))
        };
        match joined.last_mut() {
            Some(outer) if fits(outer) => {
                outer.extent = outer.extent.saturating_mul(dim.extent);
                outer.strides = dim.strides;
            }
            _ => joined.push(dim),
        }
    }
    joined
}

/// One dimension of a tile: `block` of the extent of dimension `dim` at a time.
#[derive(Clone, Copy, Debug)]
struct TileDim {
    dim: usize,
    block: usize,
}

/// The dimensions of a tile, outermost first. The first `views` operands may be worth a tile that
/// is a square.
fn choose_tile(dims: &[Dim], tile: usize, views: usize) -> Vec<TileDim> {
    let Some(last) = dims.len().checked_sub(1) else { return Vec::new() };
    if let Some(across) = transposed(dims, views) {
        let width = match dims[last].extent {
            few @ ..=FEW_COLUMNS => few,
            _ => COLUMNS,
        };
        let height = tile / width;
        let height = dims[across].extent.min((height - height % ROWS).max(1));
        let width = dims[last].extent.min(tile / height);
        return vec![TileDim { dim: across, block: height }, TileDim { dim: last, block: width }];
    }
    let mut chosen = Vec::new();
    let mut n = 1;
    for (dim, Dim { extent, .. }) in dims.iter().enumerate().rev() {
        let block = (*extent).min(tile / n).max(1);
        if block < *extent {
            // A multiple of the padding where there is a choice, so that tiles need no copies.
            let unit = STEP >> n.trailing_zeros().min(STEP.trailing_zeros());
            let block = if block > unit { block - block % unit } else { block };
            if block > 1 {
                chosen.push(TileDim { dim, block });
            }
            break;
        }
        n *= block;
        chosen.push(TileDim { dim, block });
    }
    chosen.reverse();
    chosen
}

/// The dimension along which some operand is contiguous that jumps along the last one.
fn transposed(dims: &[Dim], views: usize) -> Option<usize> {
    let last = dims.last()?;
    let mut jumping = (0..views).filter(|&o| last.strides[o].unsigned_abs() > 1);
    jumping.find_map(|operand| {
        let contiguous = |d: &Dim| d.strides[operand] == 1 && d.extent >= 4;
        dims[..dims.len() - 1].iter().rposition(contiguous)
    })
}

fn loops(dims: &[Dim], tile: &[TileDim]) -> Vec<Loop> {
    let mut loops = Vec::new();
    let mut bit = 1;
    // Bits in the order of the tile's dimensions, as `shape` reads them.
    let mut bits = vec![0; dims.len()];
    for t in tile.iter().filter(|t| t.block < dims[t.dim].extent) {
        bits[t.dim] = bit;
        bit <<= 1;
    }
    for (number, dim) in dims.iter().enumerate() {
        let block = tile.iter().find(|t| t.dim == number).map_or(1, |t| t.block);
        let count = dim.extent.div_ceil(block.max(1));
        if count > 1 {
            let steps = dim.strides.iter().map(|s| s.wrapping_mul(block as isize)).collect();
            loops.push(Loop { count, steps, last_bit: bits[number] });
        }
    }
    loops
}

/// The shape with this number: bit i says that the i-th divided dimension is at its last block.
fn shape(fused: &Fused, dims: &[Dim], tile: &[TileDim], number: usize, positions: usize) -> Shape {
    let first_output = fused.inputs.len();
    let mut bit = 1;
    let mut extents = Vec::new();
    for t in tile {
        let extent = dims[t.dim].extent;
        let mut own = t.block;
        if t.block < extent {
            if number & bit != 0 {
                own = extent - (extent.div_ceil(t.block) - 1) * t.block;
            }
            bit <<= 1;
        }
        extents.push(own);
    }
    let n = extents.iter().product();
    let along = |operand: usize| {
        let all = tile.iter().zip(&extents);
        all.map(move |(t, &extent)| (extent, dims[t.dim].strides[operand])).collect::<Vec<_>>()
    };
    let operands = first_output + fused.outputs.len() + positions;
    let levels: Vec<Levels> = (0..operands).map(|operand| merge(along(operand))).collect();
    let mut fold = Vec::new();
    let mut kept = Vec::new();
    for (output, Output { reduce, .. }) in fused.outputs.iter().enumerate() {
        let own = along(first_output + output);
        let is_kept = |stride: isize| reduce.is_none() || stride != 0;
        kept.push(merge(own.iter().copied().filter(|(_, stride)| is_kept(*stride))));
        let mut step = 1;
        let mut places: Vec<(usize, isize)> = Vec::new();
        for &(extent, stride) in own.iter().rev() {
            places.push((extent, if is_kept(stride) { step } else { 0 }));
            step *= if is_kept(stride) { extent as isize } else { 1 };
        }
        places.reverse();
        fold.push(merge(places));
    }
    let element = fused.compute.element();
    let views = fused.inputs.iter().chain(fused.outputs.iter().map(|o| &o.view));
    let whole = views
        .zip(&levels)
        .map(|(view, l)| view.element == element && n % STEP == 0 && is_dense(l))
        .collect();
    let kept_n = kept.iter().map(|l: &Levels| l.iter().map(|(e, _)| e).product()).collect();
    Shape { n, padded: usize::next_multiple_of(n, STEP), levels, whole, fold, kept, kept_n }
}

/// Into how many pieces the outer rounds are cut, and into how many parts the inner ones.
fn cut(work: usize, outer_rounds: usize, inner_rounds: usize) -> (usize, usize) {
    // Even numbers, which two or four threads can share.
    let wanted = match work.div_ceil(GRAIN) {
        few @ ..8 => few.max(1).next_power_of_two(),
        many => many.next_multiple_of(8),
    };
    let pieces = outer_rounds.min(wanted).max(1);
    let enough = wanted.min(ENOUGH_CHUNKS);
    if pieces >= enough || wanted < WORTH_PARTS {
        return (pieces, 1);
    }
    let parts = wanted.min(MAX_PARTS).div_ceil(pieces).min(inner_rounds);
    (pieces, parts.max(1))
}
