//! `Var`: a named cell that holds a tensor from step to step.

use crate::bind;
use crate::compile;
use crate::dtype::{DType, Element};
use crate::ops::ReadVar;
use crate::shape::Shape;
use crate::tensor::{Tensor, WeakTensor};
use crate::trace;
use nerve_cpu::Buffer;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

/// A named cell that holds a tensor from step to step: a parameter, an optimizer's slot, a running
/// statistic, the learning rate.
///
/// Inside a compiled function, [`get`](Var::get) makes it an input of the plan and
/// [`set`](Var::set) an output that is written in place when the step is done. Nothing else has to
/// be listed. Cloning gives another handle to the same cell.
///
/// ```
/// use nerve_core::{Tensor, Var, compile};
/// let count = Var::new("count", Tensor::scalar(0.0f32));
/// let tick = compile(|_: &[Tensor]| {
///     count.set(&count.get() + 1.0);
///     vec![]
/// });
/// tick.call(&[]);
/// tick.call(&[]);
/// assert_eq!(count.get().item::<f32>(), 2.0);
/// ```
#[derive(Clone)]
pub struct Var(Arc<Cell>);

struct Cell {
    id: u64,
    name: String,
    shape: Shape,
    dtype: DType,
    home: RwLock<Home>,
    /// What computes it from other variables, where it has no elements of its own.
    derived: Option<Derivation>,
    /// The last tensor read outside a trace, so that `get` twice gives the same node.
    last: Mutex<Option<(u64, WeakTensor)>>,
}

type Derivation = Box<dyn Fn() -> Tensor + Send + Sync>;

/// Where a variable's elements lie.
#[derive(Clone)]
pub(crate) struct Home {
    pub buffer: Arc<Buffer>,
    /// Start in bytes.
    pub offset: usize,
    /// So that a tensor read before a write is not evaluated after it.
    pub versions: Versions,
    /// The arena that the buffer belongs to, if it is there still.
    block: Weak<Block>,
}

/// When the elements of a variable last changed. In an arena, a part changes with itself and with
/// the whole, the whole with every part.
#[derive(Clone)]
pub(crate) struct Versions {
    /// The latest of these is the variable's version.
    pub read: Vec<Arc<AtomicU64>>,
    /// What writing it changes.
    pub written: Vec<Arc<AtomicU64>>,
}

/// Makes `version` later than every other one.
pub(crate) fn tick(version: &AtomicU64) {
    static CLOCK: AtomicU64 = AtomicU64::new(1);
    version.store(CLOCK.fetch_add(1, Ordering::AcqRel), Ordering::Release);
}

/// Counts how often any variable has moved, so that plans notice.
static MOVES: AtomicU64 = AtomicU64::new(0);

pub(crate) fn moves() -> u64 {
    MOVES.load(Ordering::Acquire)
}

impl Var {
    /// A cell named `name` that holds the value of `initial`.
    #[track_caller]
    pub fn new(name: impl Into<String>, initial: Tensor) -> Var {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (shape, dtype) = (initial.shape().clone(), initial.dtype());
        let value = compile::evaluate(&initial);
        drop(initial);
        // A tensor that nobody else has leaves its memory to the variable; else it is copied.
        let buffer = Arc::try_unwrap(value).unwrap_or_else(|shared| {
            let bytes = shape.numel() * dtype.bytes();
            Buffer::from_slice(&shared.to_vec::<u8>(0..bytes))
        });
        let own = Arc::default();
        Var(Arc::new(Cell {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            shape,
            dtype,
            home: RwLock::new(Home {
                buffer: Arc::new(buffer),
                offset: 0,
                versions: Versions { read: vec![Arc::clone(&own)], written: vec![own] },
                block: Weak::new(),
            }),
            derived: None,
            last: Mutex::new(None),
        }))
    }

    /// A variable without elements of its own: reading it computes it from others, each time. So
    /// a layer can be given a weight that is a function of what is trained (weight normalisation,
    /// low-rank adapters) and need not know. It cannot be set.
    ///
    /// ```
    /// use nerve_core::{DType, Tensor, Var, grad};
    /// let v = Var::new("v", Tensor::scalar(3.0f32));
    /// let source = v.clone();
    /// let w = Var::derived("w", [], DType::F32, move || source.get().square());
    /// assert_eq!(w.to_vec::<f32>(), [9.0]);
    /// assert_eq!(grad(&w.get(), &[&v])[0].item::<f32>(), 6.0);
    /// ```
    pub fn derived(
        name: impl Into<String>,
        shape: impl Into<Shape>,
        dtype: DType,
        value: impl Fn() -> Tensor + Send + Sync + 'static,
    ) -> Var {
        let Var(cell) = Var::new(name, Tensor::full([0], 0.0, dtype));
        let cell = Arc::into_inner(cell).expect("it is new");
        Var(Arc::new(Cell { shape: shape.into(), derived: Some(Box::new(value)), ..cell }))
    }

    /// The name: for parameters the path in the network, `conv1.weight`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The shape, which never changes.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The element type, which never changes.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn version(&self) -> u64 {
        let versions = self.home().versions.read;
        versions.iter().map(|v| v.load(Ordering::Acquire)).max().expect("at least its own")
    }

    /// Notes that the elements have changed.
    pub(crate) fn touch(&self) {
        self.home().versions.written.iter().for_each(|version| tick(version));
    }

    pub(crate) fn home(&self) -> Home {
        self.0.home.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this and another variable have memory in common: an arena and its parts.
    pub(crate) fn overlaps(&self, other: &Var) -> bool {
        let (a, b) = (self.home(), other.home());
        self != other
            && Arc::ptr_eq(&a.buffer, &b.buffer)
            && a.offset < b.offset + other.bytes()
            && b.offset < a.offset + self.bytes()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.shape.numel() * self.0.dtype.bytes()
    }

    /// Its tensor: in a trace the value at this point of the step, else the value now. What it is
    /// [bound](crate::bind()) to, if it is.
    ///
    /// # Panics
    /// In a trace, if the step has set the arena that it lies in, or a part of it.
    #[track_caller]
    pub fn get(&self) -> Tensor {
        if let Some(tensor) = bind::bound(self.0.id) {
            return tensor;
        }
        if let Some(value) = &self.0.derived {
            let value = value();
            let fits = *value.shape() == self.0.shape && value.dtype() == self.0.dtype;
            assert!(fits, "get: `{}` is derived as {value:?}, not {}", self.0.name, self.0.shape);
            return value;
        }
        if let Some(tensor) = trace::read(self) {
            return tensor;
        }
        let version = (trace::current() == 0).then(|| self.version());
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = last.as_ref().filter(|(v, _)| Some(*v) == version)
            && let Some(tensor) = known.upgrade()
        {
            return tensor;
        }
        let op = ReadVar { var: self.clone(), version };
        let tensor = Tensor::leaf(op, self.0.shape.clone(), self.0.dtype);
        match version {
            Some(version) => *last = Some((version, tensor.downgrade())),
            None => trace::first_read(self, &tensor),
        }
        tensor
    }

    /// Makes `value` its content: in a trace at the end of the step, else now.
    ///
    /// # Panics
    /// If shape or dtype differ from the variable's, or, in a trace, if the step has set the arena
    /// that it lies in, or a part of it: the one would undo the other.
    #[track_caller]
    pub fn set(&self, value: Tensor) {
        self.expect_own("set");
        assert!(
            *value.shape() == self.0.shape && value.dtype() == self.0.dtype,
            "set: `{}` holds {} {}, found {} {}",
            self.0.name,
            self.0.dtype,
            self.0.shape,
            value.dtype(),
            value.shape()
        );
        if trace::write(self, &value) {
            return;
        }
        let bytes: Vec<u8> = compile::evaluate(&value).to_vec(0..self.bytes());
        let home = self.home();
        home.buffer.write(home.offset, &bytes);
        self.touch();
    }

    /// Writes `values` into it at once, without building a tensor: for counters, rates and
    /// checkpoints, between steps.
    ///
    /// # Panics
    /// If their number or type is not that of the variable, or inside a compiled function, where
    /// it would happen once, when the function is traced.
    #[track_caller]
    pub fn write<T: Element>(&self, values: &[T]) {
        self.expect_own("write");
        self.expect_no_trace("write", "set it");
        assert!(
            T::DTYPE == self.0.dtype && values.len() == self.0.shape.numel(),
            "write: `{}` holds {} {}, found {} {} values",
            self.0.name,
            self.0.dtype,
            self.0.shape,
            values.len(),
            T::DTYPE
        );
        let home = self.home();
        // One value is the common case between two steps, which should not allocate.
        match values {
            [value] => home.buffer.write(home.offset, &[value.store()]),
            _ => {
                let stored: Vec<_> = values.iter().map(|v| v.store()).collect();
                home.buffer.write(home.offset, &stored);
            }
        }
        self.touch();
    }

    pub(crate) fn is_derived(&self) -> bool {
        self.0.derived.is_some()
    }

    #[track_caller]
    fn expect_own(&self, method: &str) {
        let own = self.0.derived.is_none();
        assert!(own, "{method}: `{}` is derived from other variables: change those", self.0.name);
    }

    #[track_caller]
    fn expect_no_trace(&self, method: &str, instead: &str) {
        assert!(
            trace::current() == 0,
            "{method}: of `{}` inside a compiled function, where it happens only once: {instead}",
            self.0.name
        );
    }

    /// Its elements, in row-major order.
    ///
    /// # Panics
    /// If `T` is not its element type, or inside a compiled function, where the elements would be
    /// those at the time of tracing.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        self.expect_no_trace("to_vec", "get it");
        assert!(T::DTYPE == self.0.dtype, "to_vec: `{}` is {}", self.0.name, self.0.dtype);
        if self.0.derived.is_some() {
            return self.get().to_vec();
        }
        let home = self.home();
        let mut stored = vec![T::Stored::default(); self.0.shape.numel()];
        home.buffer.read_into(home.offset, &mut stored);
        stored.into_iter().map(T::load).collect()
    }
}

/// The bytes of elements are theirs in files, too.
const _: () = assert!(cfg!(target_endian = "little"), "big-endian processors are not supported");

impl Var {
    /// Its elements as bytes, row-major, each little-endian, in the place of what was in `into`. A
    /// buffer that is used again is not allocated again: this is how a training is captured between
    /// two steps.
    ///
    /// # Panics
    /// Inside a compiled function.
    #[track_caller]
    pub fn read_bytes(&self, into: &mut Vec<u8>) {
        self.expect_no_trace("read_bytes", "get it");
        if self.0.derived.is_some() {
            *into = compile::evaluate(&self.get()).to_vec(0..self.bytes());
            return;
        }
        into.resize(self.bytes(), 0);
        let home = self.home();
        home.buffer.read_into(home.offset, into);
    }

    /// Makes `bytes` its elements: what [`read_bytes`](Var::read_bytes) gave, or what stands in a
    /// file. A truth value is any byte but 0.
    ///
    /// # Panics
    /// If they are not as many as the elements have, or inside a compiled function.
    ///
    /// ```
    /// use nerve_core::{Tensor, Var};
    /// let var = Var::new("v", Tensor::zeros([2]));
    /// var.write_bytes(&[1.0f32, 2.0].map(f32::to_le_bytes).concat());
    /// assert_eq!(var.to_vec::<f32>(), [1.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn write_bytes(&self, bytes: &[u8]) {
        self.expect_own("write_bytes");
        self.expect_no_trace("write_bytes", "set it");
        let (name, found, expected) = (self.name(), bytes.len(), self.bytes());
        assert!(found == expected, "write_bytes: `{name}` has {expected} bytes, found {found}");
        let home = self.home();
        match self.0.dtype {
            DType::Bool => {
                let truths: Vec<u8> = bytes.iter().map(|&byte| u8::from(byte != 0)).collect();
                home.buffer.write(home.offset, &truths);
            }
            _ => home.buffer.write(home.offset, bytes),
        }
        self.touch();
    }
}

impl PartialEq for Var {
    fn eq(&self, other: &Var) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Var {}

impl Hash for Var {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({} {} {})", self.0.name, self.0.dtype, self.0.shape)
    }
}

/// Several variables moved together into one block of memory, which is a variable itself.
///
/// What is done to the block is done to all of them in one pass: an optimizer's update of a whole
/// network is one instruction.
///
/// ```
/// use nerve_core::{Arena, Tensor, Var};
/// let a = Var::new("a", Tensor::ones([2, 2]));
/// let b = Var::new("b", Tensor::zeros([3]));
/// let arena = Arena::new("all", &[a.clone(), b.clone()]);
/// arena.var().set(&arena.var().get() + 1.0);
/// assert_eq!(b.to_vec::<f32>(), [1.0; 3]);
/// ```
///
/// Who makes a second arena of the same variables, in the same order, gets the first once more. One
/// of other variables takes those that it needs out of the arena that they lie in, which cannot be
/// used from then on.
pub struct Arena(Arc<Block>);

/// What an arena is made of, as its parts know it too.
struct Block {
    whole: Var,
    parts: Vec<Var>,
    /// Where each part starts, in elements, and at last the length of the whole.
    starts: Vec<usize>,
    /// Whether another arena has taken one of the parts.
    robbed: AtomicBool,
}

impl Arena {
    /// Moves `vars` next to each other, in this order, each on a cache line of its own.
    ///
    /// # Panics
    /// If their dtypes differ, if there are none, or if one is named twice.
    #[track_caller]
    pub fn new(name: &str, vars: &[Var]) -> Arena {
        let dtype = vars.first().expect("an arena of at least one variable").dtype();
        if let Some(known) = vars[0].home().block.upgrade().filter(|block| block.parts == vars)
            && !known.robbed.load(Ordering::Acquire)
        {
            return Arena(known);
        }
        let line = nerve_cpu::memory::ALIGN / dtype.bytes();
        let mut starts = vec![0];
        let mut seen = HashSet::new();
        for var in vars {
            assert!(var.dtype() == dtype, "arena: {var:?} among variables of type {dtype}");
            assert!(seen.insert(var.id()), "arena: {var:?} is named twice");
            starts.push((starts[starts.len() - 1] + var.shape().numel()).next_multiple_of(line));
        }
        let total = starts[vars.len()];
        let whole = Var::new(name, Tensor::full([total], 0.0, dtype));
        let (parts, robbed) = (vars.to_vec(), AtomicBool::new(false));
        let block = Arc::new(Block { whole, parts, starts, robbed });
        block.move_in();
        MOVES.fetch_add(1, Ordering::AcqRel);
        Arena(block)
    }

    /// The whole block as one variable with one axis. Gaps between the parts hold zeros.
    ///
    /// # Panics
    /// If a later arena has taken one of the parts: what is done to this block would not reach it.
    #[track_caller]
    pub fn var(&self) -> &Var {
        assert!(
            !self.0.robbed.load(Ordering::Acquire),
            "arena: a later arena has taken variables out of `{}`: use the later one",
            self.0.whole.name()
        );
        &self.0.whole
    }

    /// The variables in it, in order.
    pub fn parts(&self) -> &[Var] {
        &self.0.parts
    }

    /// The pieces of a tensor laid out as the block is, each in the shape of its part.
    ///
    /// # Panics
    /// If it does not have the shape of the whole.
    #[track_caller]
    pub fn split(&self, whole: &Tensor) -> Vec<Tensor> {
        let Block { parts, starts, whole: var, .. } = &*self.0;
        assert!(whole.shape() == var.shape(), "split: {whole:?} is not laid out as {var:?}");
        let piece = |(part, &start): (&Var, &usize)| {
            let shape = part.shape();
            whole.slice(0, start, start + shape.numel()).reshape(shape)
        };
        parts.iter().zip(starts).map(piece).collect()
    }

    /// One tensor for each part, laid out as the block is: with this, gradients are planned
    /// straight into a second block.
    ///
    /// # Panics
    /// If the shapes are not those of the parts.
    #[track_caller]
    pub fn gather(&self, tensors: &[Tensor]) -> Tensor {
        let Block { parts, starts, .. } = &*self.0;
        assert!(tensors.len() == parts.len(), "gather: one tensor for each part");
        let pieces: Vec<Tensor> = (tensors.iter().enumerate())
            .map(|(i, tensor)| {
                let part = &parts[i];
                assert!(tensor.shape() == part.shape(), "gather: {tensor:?} for {part:?}");
                tensor.reshape([tensor.numel()])
            })
            .collect();
        Tensor::concat_at(&pieces, starts)
    }
}

impl Block {
    /// Gives each part its place in the whole.
    fn move_in(self: &Arc<Block>) {
        let Home { buffer: block, versions, .. } = self.whole.home();
        let (all, any) = (Arc::<AtomicU64>::default(), versions.read[0].clone());
        self.whole.0.home.write().unwrap_or_else(PoisonError::into_inner).versions.written =
            vec![all.clone(), any.clone()];
        for (var, start) in self.parts.iter().zip(&self.starts) {
            let home = var.home();
            if let Some(old) = home.block.upgrade() {
                old.robbed.store(true, Ordering::Release);
            }
            let own = home.versions.read[0].clone();
            let offset = start * var.dtype().bytes();
            let mut bytes = vec![0u8; var.bytes()];
            home.buffer.read_into(home.offset, &mut bytes);
            block.write(offset, &bytes);
            *var.0.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
            *var.0.home.write().unwrap_or_else(PoisonError::into_inner) = Home {
                buffer: block.clone(),
                offset,
                versions: Versions {
                    read: vec![own.clone(), all.clone()],
                    written: vec![own, any.clone()],
                },
                block: Arc::downgrade(self),
            };
        }
    }
}
