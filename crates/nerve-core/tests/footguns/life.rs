//! Threads, depth, life and death.

use super::{floats, var};
use nerve_core::{DType, Tensor, compile, grad};

#[test]
fn threads_may_call_one_function_at_once() {
    let f = compile(|a: &[Tensor]| vec![(&a[0] * 2.0).sum(), &a[0] + 1.0]);
    let gate = std::sync::Barrier::new(12);
    std::thread::scope(|scope| {
        for t in 0..12 {
            let (f, gate) = (&f, &gate);
            scope.spawn(move || {
                gate.wait();
                for i in 0..20 {
                    let x = Tensor::full([50], f64::from(t * 100 + i), DType::F32);
                    let results = f.call(&[&x]);
                    let value = (t * 100 + i) as f32;
                    assert_eq!(results[0].item::<f32>(), 100.0 * value);
                    assert_eq!(results[1].to_vec::<f32>(), [value + 1.0; 50]);
                }
            });
        }
    });
    assert_eq!(f.plans(), 1, "twelve traces at once are still one plan");
}

#[test]
fn threads_may_evaluate_one_tensor_at_once() {
    let x = floats(&[1.0, 2.0, 3.0]);
    let y = (&x * 3.0).sum();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(y.item::<f32>(), 18.0));
        }
    });
}

#[test]
fn steps_on_other_threads_count_together() {
    let n = var("n", &[0.0]);
    let tick = compile(|_: &[Tensor]| {
        n.set(&n.get() + 1.0);
        vec![]
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| _ = tick.call(&[])));
        }
    });
    assert_eq!(n.to_vec::<f32>(), [200.0]);
}

#[test]
fn a_trace_belongs_to_its_thread() {
    let f = compile(|a: &[Tensor]| {
        let elsewhere = std::thread::spawn(|| (Tensor::ones([2]) * 3.0).to_vec::<f32>());
        assert_eq!(elsewhere.join().unwrap(), [3.0, 3.0]);
        vec![&a[0] + 1.0]
    });
    assert_eq!(f.call(&[&floats(&[1.0])])[0].item::<f32>(), 2.0);
}

/// On a small stack, which a recursion over the nodes would overflow at once.
fn on_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(f).unwrap().join().unwrap();
}

#[test]
fn long_chains_are_built_and_dropped() {
    on_small_stack(|| {
        let mut x = Tensor::scalar(0.0f32);
        for _ in 0..100_000 {
            x = x + 1.0;
        }
        drop(x);
        let mut x = floats(&[1.0, 2.0]);
        for _ in 0..100_000 {
            x = x.flip(&[0]);
        }
        drop(x);
    });
}

#[test]
fn long_chains_are_evaluated() {
    on_small_stack(|| {
        let mut x = floats(&[0.0, 1.0]);
        for i in 0..20_000 {
            x = x + (i % 3);
        }
        assert_eq!(x.to_vec::<f32>(), [19_999.0, 20_000.0]);
        // Movements that nothing simplifies away, and that only a loop can follow.
        let mut x = Tensor::arange(20_000);
        for _ in 0..10_000 {
            x = x.slice(0, 1, x.numel());
        }
        assert_eq!(x.slice(0, 0, 2).to_vec::<i32>(), [10_000, 10_001]);
        let mut x = floats(&[1.0, 2.0]);
        for _ in 0..5_000 {
            x = x.flip(&[0]) + 1.0;
        }
        assert_eq!(x.to_vec::<f32>(), [5_001.0, 5_002.0]);
    });
}

#[test]
fn long_chains_are_differentiated() {
    on_small_stack(|| {
        let x = Tensor::scalar(0.5f64);
        let mut y = x.clone();
        for _ in 0..5_000 {
            y = &y * 1.0 + &x * 0.001;
        }
        assert!((grad(&y, &[&x])[0].item::<f64>() - 6.0).abs() < 1e-9);
    });
}

#[test]
fn plans_and_results_outlive_what_made_them() {
    let (result, plan) = {
        let v = var("v", &[2.0, 4.0]);
        let f = compile(|a: &[Tensor]| vec![&a[0] * v.get()]);
        let result = f.call(&[&floats(&[3.0, 1.0])]).remove(0);
        (result, f.plan(&[([2].into(), DType::F32)]))
    };
    assert_eq!(result.to_vec::<f32>(), [6.0, 4.0]);
    assert!(plan.explain().contains("instructions"));
    assert!(plan.flops() > 0, "{}", plan.explain());
}

/// Variables of equal names are still different ones.
#[test]
fn names_need_not_be_unique() {
    let (a, b) = (var("w", &[1.0]), var("w", &[2.0]));
    let f = compile(|_: &[Tensor]| {
        a.set(&a.get() + 10.0);
        vec![a.get(), b.get()]
    });
    let results = f.call(&[]);
    assert_eq!((results[0].item::<f32>(), results[1].item::<f32>()), (11.0, 2.0));
}
