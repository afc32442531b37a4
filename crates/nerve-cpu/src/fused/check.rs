//! What a group must satisfy before it may run with raw pointers.

use super::{Element, Fused, Output, Reduce, Step, View};

/// Largest number of points, inputs, outputs and steps of a group: sizes that fit the arithmetic
/// of the plan with room to spare.
const MAX_POINTS: usize = 1 << 48;
const MAX_STEPS: usize = 4096;

impl Fused {
    /// Checks types, references, and that no view leaves its region.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn check(&self) -> Result<(), String> {
        self.check_sizes()?;
        for (i, step) in self.code.iter().enumerate() {
            self.check_step(i, step).map_err(|e| format!("value {i}: {e}"))?;
        }
        for (i, view) in self.inputs.iter().enumerate() {
            let inside = || {
                let empty = self.dims.contains(&0);
                check_view(view, &self.dims)?;
                if empty { Ok(()) } else { inside(view, &self.dims, 1).map(|_| ()) }
            };
            inside().map_err(|e| format!("input {i}: {e}"))?;
        }
        for (i, output) in self.outputs.iter().enumerate() {
            self.check_output(output).map_err(|e| format!("output {i}: {e}"))?;
        }
        self.check_overlaps()
    }

    fn check_sizes(&self) -> Result<(), String> {
        let points = self
            .dims
            .iter()
            .filter(|&&d| d != 0)
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n <= MAX_POINTS);
        if points.is_none() {
            return Err(format!("iteration space {:?} is too large", self.dims));
        }
        if self.dims.len() > 64 {
            return Err(format!("{} dimensions are more than 64", self.dims.len()));
        }
        let longest = self.code.len().max(self.inputs.len()).max(self.outputs.len());
        if longest > MAX_STEPS {
            return Err(format!("{longest} steps, inputs or outputs are more than {MAX_STEPS}"));
        }
        Ok(())
    }

    fn check_step(&self, i: usize, step: &Step) -> Result<(), String> {
        let mut backward = true;
        step.uses(|value| backward &= (value as usize) < i);
        if !backward {
            return Err(format!("`{step}` uses a value that is not yet defined"));
        }
        let integer = self.compute.is_integer();
        match step {
            Step::Load(input) if *input as usize >= self.inputs.len() => {
                Err(format!("there is no input {input}"))
            }
            Step::Unary(op, _) if integer && !op.on_integers() => {
                Err(format!("{op} is not defined on integers"))
            }
            Step::Binary(op, _, _) if integer && !op.on_integers() => {
                Err(format!("{op} is not defined on integers"))
            }
            Step::Binary(op, _, _) if !integer && !op.on_floats() => {
                Err(format!("{op} is not defined on floats"))
            }
            Step::Index(weights) => self.check_index(weights),
            Step::Random { .. } if integer => Err("random numbers are floats".into()),
            Step::Random { key, .. } => self.check_key(*key),
            _ => Ok(()),
        }
    }

    fn check_index(&self, weights: &[i64]) -> Result<(), String> {
        if weights.len() != self.dims.len() {
            return Err(format!("{} weights for {} dimensions", weights.len(), self.dims.len()));
        }
        let mut reach = 0i64;
        for (&weight, &dim) in weights.iter().zip(&self.dims) {
            let last = dim.saturating_sub(1) as i64;
            reach = weight
                .checked_abs()
                .and_then(|w| w.checked_mul(last))
                .and_then(|w| w.checked_add(reach))
                .ok_or("the index overflows")?;
        }
        Ok(())
    }

    fn check_key(&self, key: u16) -> Result<(), String> {
        let view =
            self.inputs.get(key as usize).ok_or_else(|| format!("there is no input {key}"))?;
        let room = view.region.bytes / 4;
        if view.element != Element::I32 || view.offset.checked_add(4).is_none_or(|end| end > room) {
            return Err(format!("input {key} does not hold a key of four i32"));
        }
        Ok(())
    }

    fn check_output(&self, output: &Output) -> Result<(), String> {
        if output.value as usize >= self.code.len() {
            return Err(format!("there is no value {}", output.value));
        }
        let view = &output.view;
        check_view(view, &self.dims)?;
        if matches!(output.reduce, Some(Reduce::Sum | Reduce::Prod))
            && view.element != self.compute.element()
        {
            return Err(format!("a sum of {} cannot be stored as {}", self.compute, view.element));
        }
        check_distinct(view, &self.dims, output.reduce.is_some())?;
        let (parts, reduces) = (self.parts(), output.reduce.is_some());
        let range = inside(view, &self.dims, if reduces { parts } else { 1 })?;
        let len = kept(view, &self.dims);
        if reduces && parts > 1 && range.is_some_and(|(low, high)| high - low + 1 != len as i128) {
            return Err("a reduction in parts needs a contiguous output".into());
        }
        Ok(())
    }

    /// Chunks run at the same time, so what one writes no other may touch.
    fn check_overlaps(&self) -> Result<(), String> {
        let parts = self.parts();
        let bytes = |view: &View, parts| touched(view, &self.dims, parts);
        for (i, output) in self.outputs.iter().enumerate() {
            let own = bytes(&output.view, if output.reduce.is_some() { parts } else { 1 });
            for (j, other) in self.outputs.iter().enumerate().skip(i + 1) {
                let theirs = bytes(&other.view, if other.reduce.is_some() { parts } else { 1 });
                if overlap(own, theirs) {
                    return Err(format!("outputs {i} and {j} overlap"));
                }
            }
            for (j, input) in self.inputs.iter().enumerate() {
                let is_key = self
                    .code
                    .iter()
                    .any(|s| matches!(s, Step::Random { key, .. } if *key as usize == j));
                let in_place = output.reduce.is_none() && self.same_view(&output.view, input);
                let theirs = if is_key { whole(input) } else { bytes(input, 1) };
                if overlap(own, theirs) && (is_key || !in_place) {
                    return Err(format!("output {i} overlaps input {j} but is not in its place"));
                }
            }
        }
        Ok(())
    }

    /// Whether both views give each point the same bytes.
    pub(super) fn same_view(&self, a: &View, b: &View) -> bool {
        let strides = |v: &View| {
            let all = v.strides.iter().zip(&self.dims);
            all.filter(|(_, d)| **d > 1).map(|(s, _)| *s).collect::<Vec<_>>()
        };
        a.element.bytes() == b.element.bytes()
            && a.region.buffer == b.region.buffer
            && a.region.offset == b.region.offset
            && a.offset == b.offset
            && strides(a) == strides(b)
    }
}

/// Alignment and number of strides.
fn check_view(view: &View, dims: &[usize]) -> Result<(), String> {
    if view.strides.len() != dims.len() {
        return Err(format!("{} strides for {} dimensions", view.strides.len(), dims.len()));
    }
    if !view.region.offset.is_multiple_of(view.element.bytes()) {
        return Err(format!("{:?} is not aligned for {}", view.region, view.element));
    }
    Ok(())
}

/// Number of elements that a reduction along the dimensions of stride 0 leaves.
pub(super) fn kept(view: &View, dims: &[usize]) -> usize {
    view.strides.iter().zip(dims).filter(|(s, _)| **s != 0).map(|(_, d)| *d).product()
}

/// First and last element that the view touches, counted from the start of its region; `None` if
/// it touches none. Extents of stride 0 do not matter, so the same rule serves reductions.
fn range(view: &View, dims: &[usize]) -> Result<Option<(i128, i128)>, String> {
    let (mut low, mut high) = (view.offset as i128, view.offset as i128);
    for (&stride, &dim) in view.strides.iter().zip(dims) {
        if stride == 0 {
            continue;
        }
        if dim == 0 {
            return Ok(None);
        }
        // Each product is below 2^112 and there are at most 64 of them.
        let span = stride as i128 * (dim as i128 - 1);
        if span < 0 { low += span } else { high += span }
    }
    Ok(Some((low, high)))
}

/// The range of the view, repeated `parts` times, if it lies inside the region.
fn inside(view: &View, dims: &[usize], parts: usize) -> Result<Option<(i128, i128)>, String> {
    let Some((low, high)) = range(view, dims)? else { return Ok(None) };
    let more = (parts as i128 - 1) * kept(view, dims) as i128;
    let len = (view.region.bytes / view.element.bytes()) as i128;
    if low < 0 || high + more >= len {
        return Err(format!(
            "elements {low}..={} lie outside the {len} of the region{}",
            high + more,
            if parts > 1 { format!(" ({parts} parts)") } else { String::new() }
        ));
    }
    Ok(Some((low, high)))
}

/// Whether no two points fall on the same element: each stride steps over all that the smaller
/// ones reach.
fn check_distinct(view: &View, dims: &[usize], reduces: bool) -> Result<(), String> {
    let mut steps: Vec<(u128, u128)> = (view.strides.iter().zip(dims))
        .filter(|(s, d)| **d > 1 && !(reduces && **s == 0))
        .map(|(s, d)| (s.unsigned_abs() as u128, *d as u128))
        .collect();
    steps.sort_unstable();
    let mut reach = 0;
    for (stride, dim) in steps {
        if stride <= reach {
            return Err(format!("strides {:?} let points fall together", view.strides));
        }
        reach += stride * (dim - 1);
    }
    Ok(())
}

/// Buffer, first byte, and byte after the last.
type Bytes = Option<(u32, i128, i128)>;

fn touched(view: &View, dims: &[usize], parts: usize) -> Bytes {
    let (low, high) = range(view, dims).ok()??;
    let size = view.element.bytes() as i128;
    let start = view.region.offset as i128;
    let more = (parts as i128 - 1) * kept(view, dims) as i128;
    Some((view.region.buffer, start + low * size, start + (high + more + 1) * size))
}

fn whole(view: &View) -> Bytes {
    let start = view.region.offset as i128;
    Some((view.region.buffer, start, start + view.region.bytes as i128))
}

fn overlap(a: Bytes, b: Bytes) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    a.0 == b.0 && a.1 < b.2 && b.1 < a.2
}
