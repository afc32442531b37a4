//! Compiled functions: a plan is made once for each list of shapes and types, and kept.

use super::eager::evaluate;
use super::plan::{Graph, Plan};
use super::step::Step;
use crate::dtype::DType;
use crate::op::Op;
use crate::ops::Argument;
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use crate::trace;
use crate::var::Var;
use nerve_cpu::{Buffer, Precision, RunError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
