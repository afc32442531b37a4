//! The trace that is being recorded on this thread, if any.

use crate::tensor::Tensor;
use crate::var::Var;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a trace records beside the graph itself: reads and writes of variables.
#[derive(Default)]
pub(crate) struct Trace {
    id: u64,
    /// The current tensor of each variable: the first read, or the last write.
    values: HashMap<u64, Tensor>,
    /// The variables written, in order of the first write.
    written: Vec<Var>,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// The trace being recorded on this thread, 0 if none.
pub(crate) fn current() -> u64 {
    TRACE.with_borrow(|trace| trace.as_ref().map_or(0, |t| t.id))
}

/// Refuses to `verb` a variable that shares memory with one that this step has set: which of the
/// two values counts would be a matter of luck.
#[track_caller]
fn expect_apart(var: &Var, verb: &str) {
    let clash = TRACE.with_borrow(|trace| {
        trace.as_ref().and_then(|t| t.written.iter().find(|w| w.overlaps(var)).cloned())
    });
    if let Some(written) = clash {
        panic!(
            "{verb}: `{}` shares memory with `{}`, which this step has set already: use only the \
             arena or only its parts from there on",
            var.name(),
            written.name()
        );
    }
}

/// The current value of `var` in the running trace, if there is one.
#[track_caller]
pub(crate) fn read(var: &Var) -> Option<Tensor> {
    expect_apart(var, "get");
    TRACE.with_borrow(|t| t.as_ref()?.values.get(&var.id()).cloned())
}

/// Records the first read of `var` in the running trace.
pub(crate) fn first_read(var: &Var, tensor: &Tensor) {
    TRACE.with_borrow_mut(|trace| {
        let trace = trace.as_mut().expect("a trace is running");
        trace.values.insert(var.id(), tensor.clone());
    });
}

/// Records that `var` becomes `value`; false outside a trace.
#[track_caller]
pub(crate) fn write(var: &Var, value: &Tensor) -> bool {
    expect_apart(var, "set");
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace else { return false };
        trace.values.insert(var.id(), value.clone());
        if !trace.written.contains(var) {
            trace.written.push(var.clone());
        }
        true
    })
}

/// Runs `f` while recording; gives its result, the trace's number, and each variable that was
/// written with its final value.
#[track_caller]
pub(crate) fn record<R>(f: impl FnOnce() -> R) -> (R, u64, Vec<(Var, Tensor)>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    /// Ends the trace also when `f` panics: a failed trace leaves nothing behind.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            TRACE.with_borrow_mut(|trace| *trace = None);
        }
    }
    assert!(
        current() == 0,
        "a compiled function is traced inside another one: call the plain function there"
    );
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    TRACE.with_borrow_mut(|trace| *trace = Some(Trace { id, ..Trace::default() }));
    let end = End;
    let result = f();
    let trace = TRACE.with_borrow_mut(Option::take).expect("the trace is still being recorded");
    drop(end);
    let writes = trace.written.iter().map(|var| (var.clone(), trace.values[&var.id()].clone()));
    (result, id, writes.collect())
}
