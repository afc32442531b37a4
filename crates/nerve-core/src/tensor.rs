//! `Tensor`: a node of the graph, or rather a shared handle to one.

use crate::compile;
use crate::dtype::{DType, Element};
use crate::op::Op;
use crate::ops::{Constant, Full};
use crate::scope;
use crate::shape::Shape;
use crate::trace;
use nerve_cpu::{Buffer, RunError};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// An array of numbers, or the recipe for computing one.
///
/// Cheap to clone: a handle to a node of the graph. Methods take `&self` and return a new, lazy
/// node; nothing is computed until a value is read ([`item`](Tensor::item),
/// [`to_vec`](Tensor::to_vec)) or a compiled function runs. A node lives as long as a tensor
/// refers to it.
///
/// Shapes and dtypes are checked when the node is built. What does not fit is a mistake in the
/// program and panics, at the caller's line, with the operation, the shapes and the rule.
///
/// ```
/// use nerve_core::Tensor;
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
/// let y = (&x * 2.0 + 1.0).sum_axes(&[0], false);
/// assert_eq!(y.to_vec::<f32>(), [10.0, 14.0]);
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Node>);

pub(crate) struct Node {
    /// Counts up: an input's id is always smaller than that of its user.
    id: u64,
    op: Op,
    inputs: Vec<Tensor>,
    shape: Shape,
    dtype: DType,
    /// Which trace built it; 0 for none.
    trace: u64,
    /// The elements, once computed: contiguous, row-major.
    value: OnceLock<Arc<Buffer>>,
    location: &'static Location<'static>,
    scope: Option<Arc<str>>,
}

/// Inputs that do not fit an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Name of the operation.
    pub op: &'static str,
    /// What was found and what the rule is.
    pub message: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.message)
    }
}

impl std::error::Error for ShapeError {}

impl Tensor {
    /// A node that applies `op` to `inputs`.
    ///
    /// # Panics
    /// If they do not fit; see [`Tensor::try_apply`].
    #[track_caller]
    pub fn apply(op: impl Into<Op>, inputs: &[&Tensor]) -> Tensor {
        // Not in a closure, which would hide the caller's line.
        match Tensor::try_apply(op, inputs) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// A node that applies `op` to `inputs`, for graphs that come from outside (a file).
    ///
    /// # Errors
    /// If shapes or dtypes of the inputs do not fit the operation.
    #[track_caller]
    pub fn try_apply(op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Tensor, ShapeError> {
        let op = op.into();
        let inputs: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
        let (shape, dtype) = op
            .rule()
            .infer(&inputs)
            .map_err(|message| ShapeError { op: op.rule().name(), message })?;
        Ok(Tensor::node(op, inputs, shape, dtype, OnceLock::new()))
    }

    #[track_caller]
    fn node(
        op: Op,
        inputs: Vec<Tensor>,
        shape: Shape,
        dtype: DType,
        value: OnceLock<Arc<Buffer>>,
    ) -> Tensor {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (trace, location) = (trace::current(), Location::caller());
        let scope = scope::current_scope();
        Tensor(Arc::new(Node { id, op, inputs, shape, dtype, trace, value, location, scope }))
    }

    /// A leaf of the graph.
    #[track_caller]
    pub(crate) fn leaf(op: impl Into<Op>, shape: Shape, dtype: DType) -> Tensor {
        Tensor::node(op.into(), Vec::new(), shape, dtype, OnceLock::new())
    }

    /// A constant whose elements are already in a buffer.
    #[track_caller]
    pub(crate) fn from_buffer(buffer: Arc<Buffer>, shape: Shape, dtype: DType) -> Tensor {
        assert!(buffer.bytes() >= shape.numel() * dtype.bytes(), "buffer too small for {shape}");
        Tensor::node(Constant.into(), Vec::new(), shape, dtype, OnceLock::from(buffer))
    }

    /// A tensor of `shape` with these elements in row-major order.
    ///
    /// # Panics
    /// If their number is not that of the shape.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert!(
            values.len() == shape.numel(),
            "from_slice: shape {shape} holds {} elements, found {}",
            shape.numel(),
            values.len()
        );
        let stored: Vec<_> = values.iter().map(|v| v.store()).collect();
        Tensor::from_buffer(Arc::new(Buffer::from_slice(&stored)), shape, T::DTYPE)
    }

    /// A scalar: no axes, one element.
    #[track_caller]
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_slice(&[value], Shape::scalar())
    }

    /// A tensor whose elements are all `value`. Takes no memory in a plan.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType) -> Tensor {
        Tensor::apply(Full::new(value, shape.into(), dtype), &[])
    }

    /// Zeros of type f32.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor::full(shape, 0.0, DType::F32)
    }

    /// Ones of type f32.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>) -> Tensor {
        Tensor::full(shape, 1.0, DType::F32)
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape().numel()
    }

    /// The operation that computes it.
    pub fn op(&self) -> &Op {
        &self.0.op
    }

    /// The operands of the operation.
    pub fn inputs(&self) -> &[Tensor] {
        &self.0.inputs
    }

    /// Where in the source the node was built.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// The part of a network that it was built in, if that was said; see [`scope`](crate::scope()).
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    pub(crate) fn scope_handle(&self) -> Option<Arc<str>> {
        self.0.scope.clone()
    }

    /// A number for this node: larger than those of the nodes it is computed from.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn downgrade(&self) -> WeakTensor {
        WeakTensor(Arc::downgrade(&self.0))
    }

    pub(crate) fn trace(&self) -> u64 {
        self.0.trace
    }

    /// The elements if they are known already.
    pub(crate) fn value(&self) -> Option<&Arc<Buffer>> {
        self.0.value.get()
    }

    pub(crate) fn set_value(&self, buffer: Arc<Buffer>) {
        // Two threads may have computed the same tensor; the values are the same.
        let _ = self.0.value.set(buffer);
    }

    /// The elements in row-major order, computed now if they are not known yet.
    ///
    /// # Panics
    /// If `T` is not the element type; inside a function that is being compiled, where there are
    /// no values yet; or if an index among the operands is out of range.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        assert!(
            T::DTYPE == self.dtype(),
            "to_vec: the tensor is {}, asked for {}; convert it with to_dtype first",
            self.dtype(),
            T::DTYPE
        );
        let buffer = compile::evaluate(self);
        let stored: Vec<T::Stored> = buffer.to_vec(0..self.numel());
        stored.into_iter().map(T::load).collect()
    }

    /// The only element of a tensor that has one.
    ///
    /// # Panics
    /// If it has more or none, and as [`to_vec`](Tensor::to_vec).
    #[track_caller]
    pub fn item<T: Element>(&self) -> T {
        assert!(self.numel() == 1, "item: shape {} has {} elements", self.shape(), self.numel());
        self.to_vec::<T>()[0]
    }

    /// The same tensor with its value computed now and the way to it forgotten: a constant.
    #[track_caller]
    pub fn evaluated(&self) -> Tensor {
        Tensor::from_buffer(compile::evaluate(self), self.shape().clone(), self.dtype())
    }

    /// The same tensor as a constant, if its elements can be known now: outside of compiled functions
    /// always, within one if they depend on constants alone. For graphs from outside that compute shapes.
    ///
    /// ```
    /// use nerve_core::{Tensor, compile};
    /// let repeat = compile(|args: &[Tensor]| {
    ///     let count = Tensor::scalar(1i32) + 1;
    ///     let count = count.known().unwrap().expect("it depends on no argument");
    ///     assert!(args[0].known().unwrap().is_none());
    ///     vec![args[0].repeat(&[count.item::<i32>() as usize])]
    /// });
    /// assert_eq!(repeat.call(&[&Tensor::ones([1])])[0].to_vec::<f32>(), [1.0, 1.0]);
    /// ```
    ///
    /// # Errors
    /// If an index among the operands is out of range.
    #[track_caller]
    pub fn known(&self) -> Result<Option<Tensor>, RunError> {
        let buffer = compile::known(self)?;
        Ok(buffer.map(|b| Tensor::from_buffer(b, self.shape().clone(), self.dtype())))
    }
}

/// A handle that does not keep its node alive.
pub(crate) struct WeakTensor(std::sync::Weak<Node>);

impl WeakTensor {
    pub(crate) fn upgrade(&self) -> Option<Tensor> {
        self.0.upgrade().map(Tensor)
    }
}

impl Drop for Node {
    /// Takes long chains of nodes apart in a loop: recursion would overflow the stack.
    fn drop(&mut self) {
        let mut orphans = std::mem::take(&mut self.inputs);
        while let Some(Tensor(node)) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                orphans.append(&mut node.inputs);
            }
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {} = {})", self.dtype(), self.shape(), self.op().rule().name())
    }
}

/// The nodes that `roots` are computed from, and the roots, each once, inputs before users.
pub(crate) fn topological(roots: &[Tensor], stop: impl Fn(&Tensor) -> bool) -> Vec<Tensor> {
    let mut order = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut stack: Vec<(Tensor, bool)> = roots.iter().rev().map(|r| (r.clone(), false)).collect();
    while let Some((tensor, done)) = stack.pop() {
        if done {
            order.push(tensor);
        } else if seen.insert(tensor.id()) {
            stack.push((tensor.clone(), true));
            if !stop(&tensor) {
                stack.extend(tensor.inputs().iter().rev().map(|t| (t.clone(), false)));
            }
        }
    }
    order
}
