//! Variables: what a step reads, what it writes, and in which order.

use super::{floats, panics, var};
use nerve_core::{Tensor, compile, grad};

#[test]
fn a_step_reads_what_it_has_set() {
    let v = var("v", &[1.0]);
    let f = compile(|_: &[Tensor]| {
        let before = v.get();
        v.set(&before + 1.0);
        let between = v.get();
        v.set(&between * 10.0);
        vec![before, between, v.get()]
    });
    let read = |r: Vec<Tensor>| r.iter().map(|t| t.item::<f32>()).collect::<Vec<_>>();
    assert_eq!(read(f.call(&[])), [1.0, 2.0, 20.0]);
    assert_eq!(read(f.call(&[])), [20.0, 21.0, 210.0]);
    assert_eq!(v.to_vec::<f32>(), [210.0]);
}

#[test]
fn two_variables_swap() {
    let (a, b) = (var("a", &[1.0, 2.0]), var("b", &[3.0, 4.0]));
    let swap = compile(|_: &[Tensor]| {
        let (x, y) = (a.get(), b.get());
        a.set(y);
        b.set(x);
        vec![]
    });
    swap.call(&[]);
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![3.0, 4.0], vec![1.0, 2.0]));
    // And with arithmetic, where each could be written before the other is read.
    let turn = compile(|_: &[Tensor]| {
        let (x, y) = (a.get(), b.get());
        a.set(&y + 1.0);
        b.set(&x * 2.0);
        vec![x - y]
    });
    assert_eq!(turn.call(&[])[0].to_vec::<f32>(), [2.0, 2.0]);
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![2.0, 3.0], vec![6.0, 8.0]));
}

#[test]
fn a_variable_may_be_written_through_a_view_of_itself() {
    let v = var("v", &[1.0, 2.0, 3.0, 4.0]);
    let step = |f: &dyn Fn(&Tensor) -> Tensor| {
        let run = compile(|_: &[Tensor]| {
            v.set(f(&v.get()));
            vec![]
        });
        run.call(&[]);
        v.to_vec::<f32>()
    };
    assert_eq!(step(&|x| x.flip(&[0])), [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(step(&|x| x.flip(&[0]) + x), [5.0; 4]);
    v.write(&[1.0f32, 2.0, 3.0, 4.0]);
    assert_eq!(step(&|x| x.reshape([2, 2]).t().reshape([4])), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(step(&|x| x - x.sum()), [-9.0, -7.0, -8.0, -6.0]);
    v.write(&[1.0f32, 2.0, 3.0, 4.0]);
    // Halves computed by two groups, the second of which reads what the first would overwrite.
    let halves = |x: &Tensor| {
        let (a, b) = (x.slice(0, 2, 4) * 10.0, x.slice(0, 0, 2) + 0.5);
        Tensor::concat(&[a, b], 0)
    };
    assert_eq!(step(&halves), [30.0, 40.0, 1.5, 2.5]);
    v.write(&[30.0f32, 40.0, 1.0, 2.0]);
    assert_eq!(
        step(&|x| x.reshape([2, 2]).matmul(&x.reshape([2, 2])).reshape([4])),
        [940.0, 1280.0, 32.0, 44.0]
    );
}

#[test]
fn the_old_value_may_be_returned() {
    let v = var("v", &[1.0, 2.0]);
    let f = compile(|_: &[Tensor]| {
        let old = v.get();
        v.set(&old + 1.0);
        vec![old.clone(), old.flip(&[0]), old.sum()]
    });
    let results = f.call(&[]);
    assert_eq!(results[0].to_vec::<f32>(), [1.0, 2.0]);
    assert_eq!(results[1].to_vec::<f32>(), [2.0, 1.0]);
    assert_eq!(results[2].item::<f32>(), 3.0);
    assert_eq!(v.to_vec::<f32>(), [2.0, 3.0]);
}

#[test]
fn two_variables_may_get_one_value() {
    let (a, b) = (var("a", &[1.0]), var("b", &[2.0]));
    let f = compile(|x: &[Tensor]| {
        let sum = a.get() + b.get() + &x[0];
        a.set(sum.clone());
        b.set(sum.clone());
        vec![sum]
    });
    assert_eq!(f.call(&[&floats(&[4.0])])[0].item::<f32>(), 7.0);
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![7.0], vec![7.0]));
}

#[test]
fn a_tensor_read_before_a_write_is_not_evaluated_after() {
    let v = var("weight", &[1.0]);
    let stale = &v.get() * 2.0;
    let fresh = (&v.get() * 2.0).evaluated();
    v.set(floats(&[5.0]));
    panics(&["`weight` was changed", "variables.rs"], || _ = stale.item::<f32>());
    assert_eq!(fresh.item::<f32>(), 2.0);
    assert_eq!((&v.get() * 2.0).item::<f32>(), 10.0);
    // A compiled step changes it just as well, and so does a write.
    let tick = compile(|_: &[Tensor]| {
        v.set(&v.get() + 1.0);
        vec![]
    });
    let stale = v.get();
    tick.call(&[]);
    panics(&["`weight` was changed"], || _ = stale.item::<f32>());
    let stale = v.get();
    v.write(&[0.0f32]);
    panics(&["`weight` was changed"], || _ = stale.item::<f32>());
}

#[test]
fn gradients_know_a_variable_by_name() {
    let (w, unused) = (var("w", &[3.0]), var("unused", &[1.0]));
    let f = compile(|_: &[Tensor]| grad(&w.get().square().sum(), &[&w]));
    assert_eq!(f.call(&[])[0].item::<f32>(), 6.0);
    panics(&["`unused`", "does not depend"], || {
        compile(|_: &[Tensor]| grad(&w.get().sum(), &[&unused])).call(&[]);
    });
    // After a set, the variable is what was set: the gradient with respect to that.
    let f = compile(|_: &[Tensor]| {
        w.set(&w.get() * 2.0);
        grad(&w.get().square().sum(), &[&w])
    });
    assert_eq!(f.call(&[])[0].item::<f32>(), 12.0);
}

#[test]
fn a_value_of_another_shape_or_type_is_refused() {
    let v = var("bias", &[1.0, 2.0]);
    panics(&["`bias`", "f32 [2]", "f32 [1]"], || v.set(floats(&[1.0])));
    panics(&["`bias`", "f32", "i32 [2]"], || v.set(Tensor::arange(2)));
    panics(&["`bias`", "f32 [2]", "3 f32 values"], || v.write(&[1.0f32; 3]));
    panics(&["`bias`", "f32"], || _ = v.to_vec::<f64>());
    panics(&["`bias`"], || {
        compile(|_: &[Tensor]| {
            v.set(Tensor::zeros([3]));
            vec![]
        })
        .call(&[]);
    });
}
