//! Compiled functions and evaluated values: plans are made once and kept.

use super::plan::{Graph, Plan};
use crate::dtype::{DType, Element};
use crate::op::{Op, Role};
use crate::ops::Argument;
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use crate::trace;
use crate::var::Var;
use nerve_cpu::{Buffer, Precision, Replay, RunError};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shape and type of each argument: a plan is made for one such list.
pub type Signature = Vec<(Shape, DType)>;

/// From the fourth plan on the reason is logged: it is often a mistake.
const LOUD: usize = 4;
/// More plans than this for one function are an error.
const MOST: usize = 8;

/// A function of tensors, traced once for each list of shapes and types of its arguments.
pub struct Compiled<F> {
    function: F,
    precision: Precision,
    plans: Mutex<Vec<(Signature, Arc<Plan>)>>,
}

/// Makes a function of tensors run as a plan: traced at the first call, replayed afterwards.
///
/// What the function does besides building tensors happens once, while it is traced. A number that
/// changes from call to call has to be an argument or a [`Var`](crate::Var).
///
/// ```
/// use nerve_core::{Tensor, compile};
/// let norm = compile(|args: &[Tensor]| vec![args[0].square().sum().sqrt()]);
/// let x = Tensor::from_slice(&[3.0f32, 4.0], [2]);
/// assert_eq!(norm.call(&[&x])[0].item::<f32>(), 5.0);
/// ```
pub fn compile<F: Fn(&[Tensor]) -> Vec<Tensor>>(function: F) -> Compiled<F> {
    Compiled { function, precision: Precision::Full, plans: Mutex::default() }
}

/// The plan of a function that is traced once and may fail, as one that builds what a file says: what it costs is known then
/// without running it.
///
/// # Errors
/// That of the function.
///
/// # Panics
/// As [`Compiled::plan`], but for what the function says by its error.
///
/// ```
/// use nerve_core::{DType, Shape, Tensor, try_plan};
/// let signature = [(Shape::from([2, 3]), DType::F32)];
/// let plan = try_plan(&signature, |x| Ok::<_, String>(vec![x[0].matmul(&x[0].transpose(0, 1))]));
/// assert_eq!(plan.unwrap().flops(), 2 * 2 * 3 * 2);
/// assert_eq!(try_plan(&signature, |_| Err("no network")).err(), Some("no network"));
/// ```
#[track_caller]
pub fn try_plan<E>(
    signature: &[(Shape, DType)],
    function: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<Plan, E> {
    let (outputs, writes) = traced(signature, function)?;
    let precision = Precision::Full;
    Ok(Plan::new(&Graph { outputs: &outputs, writes: &writes, arguments: &[], precision }))
}

/// The graph of a function for arguments of that signature: results, and what variables become.
#[track_caller]
#[allow(clippy::type_complexity)]
fn traced<E>(
    signature: &[(Shape, DType)],
    function: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<(Vec<Tensor>, Vec<(Var, Tensor)>), E> {
    let arguments: Vec<Tensor> = Vec::new();
    let ((_arguments, outputs), id, writes) = trace::record(|| {
        let mut arguments = arguments;
        for (index, (shape, dtype)) in signature.iter().enumerate() {
            arguments.push(Tensor::leaf(Argument { index }, shape.clone(), *dtype));
        }
        let outputs = function(&arguments);
        (arguments, outputs)
    });
    let outputs = outputs?;
    let roots: Vec<Tensor> = outputs.iter().chain(writes.iter().map(|w| &w.1)).cloned().collect();
    for node in topological(&roots, |_| false) {
        let constant = matches!(node.op(), Op::Constant(_));
        assert!(
            node.trace() == id || constant,
            "a compiled function uses {node:?}, computed outside at {}: its value would be frozen \
             into the plan. Pass it as an argument, keep it in a Var, or make it a constant with \
             evaluated()",
            node.location()
        );
    }
    Ok((outputs, writes))
}

impl<F: Fn(&[Tensor]) -> Vec<Tensor>> Compiled<F> {
    /// How exactly matrix products and convolutions take single-precision operands. With
    /// [`Precision::Bf16`] they round them to bf16; what goes in and comes out, sums, and all else
    /// stay single precision. So do convolutions that would gain nothing: with a filter for each
    /// channel, an odd number of channels, or a few pixels only.
    ///
    /// ```
    /// use nerve_core::{Precision, Tensor, compile};
    /// let product = compile(|a: &[Tensor]| vec![a[0].matmul(&a[1])]).precision(Precision::Bf16);
    /// // 8 bits of significand: 1 + 1/128 has as many, 1 + 1/512 is rounded to 1.
    /// let a = Tensor::from_slice(&[1.0f32 + 1.0 / 128.0, 1.0 + 1.0 / 512.0], [2, 1]);
    /// let y = product.call(&[&a.broadcast_to([2, 8]), &Tensor::ones([8, 8])]);
    /// assert_eq!(y[0].to_vec::<f32>()[7..9], [8.0 + 8.0 / 128.0, 8.0]);
    /// ```
    pub fn precision(self, precision: Precision) -> Self {
        Compiled { precision, plans: Mutex::default(), ..self }
    }

    /// The function's results for `arguments`, in fresh memory.
    ///
    /// # Panics
    /// If tracing fails; see [`Compiled::plan`]. If an index among the arguments is out of range.
    #[track_caller]
    pub fn call(&self, arguments: &[&Tensor]) -> Vec<Tensor> {
        match self.try_call(arguments) {
            Ok(results) => results,
            Err(error) => panic!("{error}"),
        }
    }

    /// The function's results for `arguments`, in fresh memory.
    ///
    /// # Errors
    /// If an index among the arguments is out of range.
    ///
    /// # Panics
    /// If tracing fails; see [`Compiled::plan`].
    #[track_caller]
    pub fn try_call(&self, arguments: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        assert!(
            trace::current() == 0,
            "a compiled function is called inside another one, whose plan would keep the result of \
             this one call: call the plain function there"
        );
        let same = |s: &Signature| {
            s.len() == arguments.len()
                && s.iter().zip(arguments).all(|(s, a)| s.0 == *a.shape() && s.1 == a.dtype())
        };
        let plan = match self.lookup(same) {
            Some(plan) => plan,
            None => self.trace(arguments.iter().map(|a| (a.shape().clone(), a.dtype())).collect()),
        };
        let mut buffers = Vec::new();
        for argument in arguments {
            buffers.push(evaluate(argument));
        }
        let results = plan.run(&buffers.iter().collect::<Vec<_>>())?;
        let wrap = |(i, buffer): (usize, Arc<Buffer>)| {
            let (_, shape, dtype) = plan.output(i);
            Tensor::from_buffer(buffer, shape.clone(), *dtype)
        };
        Ok(results.into_iter().enumerate().map(wrap).collect())
    }

    /// The plan for arguments of these shapes and types, made now if there is none.
    ///
    /// # Panics
    /// If the function panics; if it reads a value, which does not exist while tracing; if it uses
    /// a tensor that was computed outside; or if this would be one plan too many.
    #[track_caller]
    pub fn plan(&self, signature: &[(Shape, DType)]) -> Arc<Plan> {
        match self.lookup(|s| s == signature) {
            Some(plan) => plan,
            None => self.trace(signature.to_vec()),
        }
    }

    /// The plan for these arguments with memory of its own for arguments and results, so that a
    /// training loop copies its batch in, runs, and allocates nothing.
    ///
    /// # Panics
    /// As [`Compiled::plan`].
    #[track_caller]
    pub fn step(&self, signature: &[(Shape, DType)]) -> Step {
        Step::new(self.plan(signature), signature)
    }

    /// Number of plans made so far.
    pub fn plans(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(Signature, Arc<Plan>)>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookup(&self, same: impl Fn(&Signature) -> bool) -> Option<Arc<Plan>> {
        let mut plans = self.locked();
        let at = plans.iter().position(|(signature, _)| same(signature))?;
        if plans[at].1.is_valid() {
            return Some(plans[at].1.clone());
        }
        // A variable has moved: the plan is made again.
        plans.remove(at);
        None
    }

    #[track_caller]
    fn trace(&self, signature: Signature) -> Arc<Plan> {
        self.complain(&signature);
        let (outputs, writes) = self.graph(&signature);
        let plan = Plan::new(&Graph {
            outputs: &outputs,
            writes: &writes,
            arguments: &[],
            precision: self.precision,
        });
        let mut plans = self.locked();
        // Another thread may have been faster.
        if let Some((_, known)) = plans.iter().find(|(s, _)| *s == signature) {
            return known.clone();
        }
        let plan = Arc::new(plan);
        plans.push((signature, plan.clone()));
        plan
    }

    /// The function's graph for these arguments: results, and what variables become.
    #[track_caller]
    pub(super) fn graph(&self, signature: &[(Shape, DType)]) -> (Vec<Tensor>, Vec<(Var, Tensor)>) {
        let function = |x: &[Tensor]| Ok::<_, std::convert::Infallible>((self.function)(x));
        let Ok(graph) = traced(signature, function);
        graph
    }

    pub(super) fn exactness(&self) -> Precision {
        self.precision
    }

    /// Says which argument makes yet another plan necessary.
    #[track_caller]
    fn complain(&self, signature: &Signature) {
        let plans = self.locked();
        let Some((last, _)) = plans.last() else { return };
        let describe = |s: Option<&(Shape, DType)>| {
            s.map_or("nothing".into(), |(shape, dtype)| format!("{dtype} {shape}"))
        };
        let differs = (0..last.len().max(signature.len()))
            .find(|&i| last.get(i) != signature.get(i))
            .map_or("a variable that has moved".into(), |i| {
                let (old, new) = (describe(last.get(i)), describe(signature.get(i)));
                format!("argument {i}: {old} before, {new} now")
            });
        assert!(
            plans.len() < MOST,
            "a compiled function needs more than {MOST} plans; the last reason is {differs}. Pad \
             to a few fixed shapes, or compile one function for each"
        );
        if plans.len() + 1 >= LOUD {
            eprintln!("nerve: plan {} for one compiled function: {differs}", plans.len() + 1);
        }
    }
}

/// A plan with fixed memory for its arguments and results: what a training loop runs.
///
/// ```
/// use nerve_core::{DType, Tensor, compile};
/// let double = compile(|args: &[Tensor]| vec![&args[0] * 2.0]);
/// let step = double.step(&[([3].into(), DType::F32)]);
/// step.write(0, &[1.0f32, 2.0, 3.0]);
/// step.run().unwrap();
/// assert_eq!(step.read::<f32>(0), [2.0, 4.0, 6.0]);
/// ```
pub struct Step {
    plan: Arc<Plan>,
    signature: Signature,
    arguments: Vec<Arc<Buffer>>,
    outputs: Vec<Arc<Buffer>>,
}

impl Step {
    fn new(plan: Arc<Plan>, signature: &[(Shape, DType)]) -> Step {
        let room =
            |shape: &Shape, dtype: DType| Arc::new(Buffer::zeroed(shape.numel() * dtype.bytes()));
        let arguments = signature.iter().map(|(shape, dtype)| room(shape, *dtype)).collect();
        let outputs = (0..plan.outputs()).map(|i| room(&plan.output(i).1, plan.output(i).2));
        Step { outputs: outputs.collect(), arguments, signature: signature.to_vec(), plan }
    }

    /// Copies `values` in as argument `index`.
    ///
    /// # Panics
    /// If their number or type is not that of the signature.
    #[track_caller]
    pub fn write<T: Element<Stored = T> + nerve_cpu::memory::Plain>(
        &self,
        index: usize,
        values: &[T],
    ) {
        let (shape, dtype) = &self.signature[index];
        assert!(
            T::DTYPE == *dtype && values.len() == shape.numel(),
            "write: argument {index} is {dtype} {shape}, found {} values of {}",
            values.len(),
            T::DTYPE
        );
        self.arguments[index].write(0, values);
    }

    /// Runs the plan once.
    ///
    /// # Errors
    /// If an index among the arguments is out of range.
    ///
    /// # Panics
    /// If a variable has been moved into an arena since the step was made.
    #[track_caller]
    pub fn run(&self) -> Result<(), RunError> {
        assert!(
            self.plan.is_valid(),
            "a variable has moved since this step was made: make it again"
        );
        let mut replay = self.plan.lock();
        self.bind(&mut replay);
        self.plan.replay(&mut replay)
    }

    /// Runs the plan once, each instruction on its own, and adds the time each took to `times`,
    /// which has one entry for each line of [`Plan::explain`].
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn profile(&self, times: &mut Vec<Duration>) -> Result<(), RunError> {
        let mut replay = self.plan.lock();
        self.bind(&mut replay);
        self.plan.refresh()?;
        times.resize(replay.program().instructions().len(), Duration::ZERO);
        replay.profile(times)
    }

    /// Others may have run the same plan with their memory since.
    fn bind(&self, replay: &mut Replay) {
        for (index, buffer) in self.arguments.iter().enumerate() {
            if let Some(slot) = self.plan.argument_buffer(index) {
                rebind(replay, slot, buffer);
            }
        }
        for (index, buffer) in self.outputs.iter().enumerate() {
            rebind(replay, self.plan.output(index).0, buffer);
        }
    }

    /// The elements of result `index` after the last run.
    ///
    /// # Panics
    /// If `T` is not their type.
    #[track_caller]
    pub fn read<T: Element>(&self, index: usize) -> Vec<T> {
        let (_, shape, dtype) = self.plan.output(index);
        assert!(T::DTYPE == *dtype, "read: result {index} is {dtype}, asked for {}", T::DTYPE);
        let stored: Vec<T::Stored> = self.outputs[index].to_vec(0..shape.numel());
        stored.into_iter().map(T::load).collect()
    }

    /// The variables that a run changes: with its arguments, all that the next run can depend on, if
    /// nobody else changes any.
    pub fn written(&self) -> &[Var] {
        self.plan.written()
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn argument_buffers(&self) -> &[Arc<Buffer>] {
        &self.arguments
    }

    /// How many results there are.
    pub fn results(&self) -> usize {
        self.plan.outputs()
    }

    /// The shape of result `index`.
    ///
    /// # Panics
    /// If there are fewer results.
    #[track_caller]
    pub fn shape(&self, index: usize) -> &Shape {
        &self.plan.output(index).1
    }

    /// Copies the elements of result `index` to `into`, without allocating.
    ///
    /// # Panics
    /// If their number or type is not that of the result.
    #[track_caller]
    pub fn read_into<T: Element<Stored = T> + nerve_cpu::memory::Plain>(
        &self,
        index: usize,
        into: &mut [T],
    ) {
        let (_, shape, dtype) = self.plan.output(index);
        assert!(
            T::DTYPE == *dtype && into.len() == shape.numel(),
            "read_into: result {index} is {dtype} {shape}, asked for {} values of {}",
            into.len(),
            T::DTYPE
        );
        self.outputs[index].read_into(0, into);
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

fn rebind(replay: &mut Replay, slot: usize, buffer: &Arc<Buffer>) {
    if !replay.buffer(slot).is_some_and(|bound| Arc::ptr_eq(bound, buffer)) {
        replay.bind(slot, buffer.clone());
    }
}

/// A graph up to the identity of its leaves: operation, shape and type of each node, and which
/// earlier nodes it uses.
type Key = Vec<(Op, Shape, DType, Vec<usize>)>;

/// Plans of single values. Bounded: the oldest goes first.
#[derive(Default)]
struct Cache {
    plans: HashMap<Arc<Key>, Arc<Plan>>,
    order: VecDeque<Arc<Key>>,
}

const CACHED: usize = 512;
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// The elements of `tensor`, computed if they are not known yet.
#[track_caller]
pub(crate) fn evaluate(tensor: &Tensor) -> Arc<Buffer> {
    if let Some(known) = tensor.value() {
        return known.clone();
    }
    assert!(
        trace::current() == 0,
        "the value of {tensor:?} is read inside a compiled function, where there are no values \
         yet: return it from the function instead"
    );
    assert!(
        tensor.trace() == 0,
        "{tensor:?} belongs to a function that was compiled (built at {}): only what the function \
         returns has a value",
        tensor.location()
    );
    let buffer = match compute(tensor) {
        Ok(buffer) => buffer,
        Err(error) => panic!("{error}"),
    };
    tensor.set_value(buffer.clone());
    buffer
}

/// The elements of `tensor` if they can be had now: outside of compiled functions always, within one
/// if they depend on constants alone.
#[track_caller]
pub(crate) fn known(tensor: &Tensor) -> Result<Option<Arc<Buffer>>, RunError> {
    if let Some(known) = tensor.value() {
        return Ok(Some(known.clone()));
    }
    let inside = trace::current() != 0;
    let order = topological(std::slice::from_ref(tensor), |t| t.value().is_some());
    let leaf = |t: &Tensor| matches!(t.op().rule().role(), Role::Leaf) && t.value().is_none();
    let unknown = |t: &Tensor| leaf(t) && (inside || !matches!(t.op(), Op::ReadVar(_)));
    if order.iter().any(unknown) {
        return Ok(None);
    }
    let buffer = compute(tensor)?;
    if !inside {
        tensor.set_value(buffer.clone());
    }
    Ok(Some(buffer))
}

#[track_caller]
fn compute(tensor: &Tensor) -> Result<Arc<Buffer>, RunError> {
    if let Op::Full(full) = tensor.op() {
        return Ok(Arc::new(full.filled()));
    }
    let order = topological(std::slice::from_ref(tensor), |t| t.value().is_some());
    let position: HashMap<u64, usize> =
        order.iter().enumerate().map(|(i, t)| (t.id(), i)).collect();
    let (mut key, mut buffers, mut arguments) = (Key::new(), Vec::new(), Vec::new());
    for node in &order {
        let (op, inputs) = match leaf(node) {
            Some((buffer, offset)) => {
                arguments.push((node.id(), offset));
                buffers.push(buffer);
                (Op::Argument(Argument { index: offset }), Vec::new())
            }
            None => (node.op().clone(), node.inputs().iter().map(|t| position[&t.id()]).collect()),
        };
        key.push((op, node.shape().clone(), node.dtype(), inputs));
    }
    let known = locked().plans.get(&key).cloned();
    let plan = known.unwrap_or_else(|| {
        let (root, arguments) = cut(&order, &arguments);
        let precision = Precision::Full;
        let graph = Graph { outputs: &[root], writes: &[], arguments: &arguments, precision };
        let plan = Arc::new(Plan::new(&graph));
        remember(key, plan.clone());
        plan
    });
    Ok(plan.run(&buffers.iter().collect::<Vec<_>>())?.remove(0))
}

/// The graph with arguments in the place of nodes whose elements are there: pairs of such a node
/// and its offset. Gives the last node, and where the arguments lie.
fn cut(order: &[Tensor], known: &[(u64, usize)]) -> (Tensor, Vec<(u64, usize, usize)>) {
    let known: HashMap<u64, (usize, usize)> =
        known.iter().enumerate().map(|(index, &(id, offset))| (id, (index, offset))).collect();
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    let mut arguments = Vec::new();
    for node in order {
        let replaced = match known.get(&node.id()) {
            Some(&(index, offset)) => {
                let leaf = Tensor::leaf(Argument { index }, node.shape().clone(), node.dtype());
                arguments.push((leaf.id(), index, offset));
                leaf
            }
            None => {
                let inputs: Vec<&Tensor> = node.inputs().iter().map(|t| &new[&t.id()]).collect();
                Tensor::apply(node.op().clone(), &inputs)
            }
        };
        new.insert(node.id(), replaced);
    }
    let root = order.last().expect("the node itself");
    (new[&root.id()].clone(), arguments)
}

fn locked() -> MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(key: Key, plan: Arc<Plan>) {
    let mut cache = locked();
    let key = Arc::new(key);
    if cache.plans.insert(key.clone(), plan).is_none() {
        cache.order.push_back(key);
    }
    if cache.order.len() > CACHED {
        let oldest = cache.order.pop_front().expect("it is longer than that");
        cache.plans.remove(&oldest);
    }
}

/// Where the elements of a node lie that need not be computed.
#[track_caller]
fn leaf(node: &Tensor) -> Option<(Arc<Buffer>, usize)> {
    if let Some(value) = node.value() {
        return Some((value.clone(), 0));
    }
    let Role::Leaf = node.op().rule().role() else { return None };
    let Op::ReadVar(read) = node.op() else {
        panic!("{node:?} has no value outside its compiled function")
    };
    assert!(
        read.version.is_none_or(|v| v == read.var.version()),
        "`{}` was changed after {node:?} read it at {}: evaluate the tensor before changing the \
         variable, or get it again",
        read.var.name(),
        node.location()
    );
    let home = read.var.home();
    Some((home.buffer, home.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_are_kept_hold_no_values() {
        let x = Tensor::from_slice(&[1.0f32, 2.0], [2]);
        let y = (&x + 1.0) * 3.0;
        assert_eq!(y.to_vec::<f32>(), [6.0, 9.0]);
        for tensor in [&x, &y] {
            let buffer = tensor.value().expect("it was read");
            assert_eq!(Arc::strong_count(buffer), 1, "only the tensor holds its elements");
        }
    }

    #[test]
    fn the_number_of_kept_plans_is_bounded() {
        for n in 0..CACHED + 5 {
            assert_eq!((Tensor::scalar(1.0f64) * n as f64).item::<f64>(), n as f64);
        }
        let cache = locked();
        assert!(cache.plans.len() == cache.order.len() && cache.plans.len() <= CACHED);
    }
}
