//! One test for each way in which a compiled function could surprise: what is frozen, what is
//! shared, what is stale. Each either does the right thing or says what is wrong.

mod common;

use common::panic_of;
use nerve_core::{Arena, DType, Tensor, Var, compile, grad};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, [values.len()])
}

fn var(name: &str, values: &[f32]) -> Var {
    Var::new(name, floats(values))
}

#[track_caller]
fn panics(words: &[&str], f: impl FnOnce()) {
    let message = panic_of(f);
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

// What is traced, and when.

#[test]
fn a_function_is_traced_once_for_a_signature() {
    let traces = AtomicUsize::new(0);
    let f = compile(|a: &[Tensor]| {
        traces.fetch_add(1, Ordering::Relaxed);
        vec![&a[0] + 1.0]
    });
    for i in 0..5 {
        assert_eq!(f.call(&[&floats(&[i as f32])])[0].item::<f32>(), i as f32 + 1.0);
    }
    assert_eq!((traces.load(Ordering::Relaxed), f.plans()), (1, 1));
    // Another shape, another type, another number of arguments: each is another plan.
    f.call(&[&floats(&[1.0, 2.0])]);
    f.call(&[&Tensor::from_slice(&[1.0f64], [1])]);
    f.call(&[&floats(&[1.0]), &floats(&[1.0])]);
    assert_eq!((traces.load(Ordering::Relaxed), f.plans()), (4, 4));
}

/// The plans belong to what `compile` returns: compiling the same closure again starts anew.
#[test]
fn closures_created_anew_are_traced_anew() {
    let traces = AtomicUsize::new(0);
    let body = |a: &[Tensor]| {
        traces.fetch_add(1, Ordering::Relaxed);
        vec![&a[0] * 2.0]
    };
    for _ in 0..3 {
        compile(body).call(&[&floats(&[1.0])]);
    }
    assert_eq!(traces.load(Ordering::Relaxed), 3);
}

#[test]
fn the_ninth_plan_is_an_error_that_names_the_argument() {
    let f = compile(|a: &[Tensor]| vec![&a[0] + &a[1].sum()]);
    let x = floats(&[1.0]);
    for n in 1..=8 {
        f.call(&[&x, &Tensor::zeros([n])]);
    }
    panics(&["more than 8 plans", "argument 1", "f32 [8] before, f32 [9] now"], || {
        f.call(&[&x, &Tensor::zeros([9])]);
    });
    // The eight go on working.
    assert_eq!(f.call(&[&x, &Tensor::ones([3])])[0].item::<f32>(), 4.0);
    assert_eq!(f.plans(), 8);
}

const CHILD: &str = "NERVE_FOOTGUNS_CHILD";

/// Prints to stderr as a program of its own would: run by the test below.
#[test]
fn child_that_makes_five_plans() {
    if std::env::var_os(CHILD).is_some() {
        let f = compile(|a: &[Tensor]| vec![&a[0] + 1.0]);
        (1..=5).for_each(|n| _ = f.call(&[&Tensor::zeros([n])]));
    }
}

#[test]
fn the_fourth_plan_is_logged_with_the_argument_that_differs() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_makes_five_plans", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|l| l.contains("nerve: plan")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("plan 4") && lines[0].contains("argument 0: f32 [3] before, f32 [4]")
    );
    assert!(lines[1].contains("plan 5"), "{text}");
}

#[test]
fn a_rust_number_is_frozen_but_a_variable_is_read() {
    let rate = Mutex::new(1.0);
    let live = Var::new("rate", Tensor::scalar(1.0f32));
    let f = compile(|a: &[Tensor]| vec![&a[0] * *rate.lock().unwrap(), &a[0] * live.get()]);
    let x = Tensor::scalar(10.0f32);
    f.call(&[&x]);
    *rate.lock().unwrap() = 2.0;
    live.write(&[2.0f32]);
    let results = f.call(&[&x]);
    assert_eq!((results[0].item::<f32>(), results[1].item::<f32>()), (10.0, 20.0));
}

#[test]
fn reading_a_value_while_tracing_is_an_error() {
    let x = floats(&[1.0]);
    let v = var("weight", &[1.0]);
    let words = &["read inside a compiled function", "return it"];
    panics(words, || _ = compile(|a: &[Tensor]| vec![&a[0] * a[0].item::<f32>()]).call(&[&x]));
    panics(words, || {
        compile(|a: &[Tensor]| {
            (&a[0] + 1.0).to_vec::<f32>();
            vec![]
        })
        .call(&[&x]);
    });
    panics(words, || _ = compile(|_: &[Tensor]| vec![v.get().evaluated()]).call(&[]));
    let words = &["`weight`", "inside a compiled function", "only once"];
    panics(words, || _ = compile(|_: &[Tensor]| vec![floats(&v.to_vec::<f32>())]).call(&[]));
    panics(words, || {
        compile(|_: &[Tensor]| {
            v.write(&[2.0f32]);
            vec![]
        })
        .call(&[]);
    });
}

#[test]
fn a_new_variable_needs_a_value_that_is_known() {
    let f = compile(|_: &[Tensor]| vec![Var::new("late", Tensor::zeros([2])).get()]);
    panics(&["read inside a compiled function"], || _ = f.call(&[]));
}

#[test]
fn capturing_a_computed_tensor_is_an_error() {
    let x = floats(&[1.0, 2.0]);
    let outside = &x + 1.0;
    let f = compile(|a: &[Tensor]| vec![&a[0] * &outside]);
    panics(&["computed outside", "footguns.rs", "argument", "Var", "evaluated()"], || {
        f.call(&[&x]);
    });
    let v = var("v", &[1.0, 2.0]);
    let read = v.get();
    panics(&["computed outside"], || _ = compile(|_: &[Tensor]| vec![&read * 2.0]).call(&[]));
    // What is meant to be frozen says so.
    let constant = outside.evaluated();
    let f = compile(|a: &[Tensor]| vec![&a[0] * &constant]);
    assert_eq!(f.call(&[&x])[0].to_vec::<f32>(), [2.0, 6.0]);
}

#[test]
fn a_tensor_of_a_trace_is_of_no_use_elsewhere() {
    let leaked = Mutex::new(None);
    let f = compile(|a: &[Tensor]| {
        let y = &a[0] + 1.0;
        *leaked.lock().unwrap() = Some(y.clone());
        vec![y]
    });
    let x = floats(&[1.0]);
    f.call(&[&x]);
    let leaked = leaked.lock().unwrap().clone().unwrap();
    panics(&["belongs to a function that was compiled"], || _ = leaked.item::<f32>());
    panics(&["computed outside"], || _ = compile(|_: &[Tensor]| vec![leaked.clone()]).call(&[]));
    panics(&["belongs to a function"], || var("v", &[1.0]).set(leaked.clone()));
}

#[test]
fn a_failed_trace_leaves_nothing_behind() {
    let fail = std::sync::atomic::AtomicBool::new(true);
    let v = var("v", &[1.0]);
    let f = compile(|a: &[Tensor]| {
        v.set(&v.get() + &a[0]);
        assert!(!fail.load(Ordering::Relaxed), "not today");
        vec![v.get()]
    });
    let x = floats(&[1.0]);
    panics(&["not today"], || _ = f.call(&[&x]));
    assert_eq!(f.plans(), 0);
    // Nothing is recorded any more: values can be read, and the variable is as it was.
    assert_eq!(((&x + 1.0).item::<f32>(), v.to_vec::<f32>()), (2.0, vec![1.0]));
    fail.store(false, Ordering::Relaxed);
    assert_eq!(f.call(&[&x])[0].item::<f32>(), 2.0);
    assert_eq!((f.plans(), v.to_vec::<f32>()), (1, vec![2.0]));
}

#[test]
fn compiled_functions_do_not_nest() {
    let inner = compile(|a: &[Tensor]| vec![&a[0] * 2.0]);
    let x = floats(&[1.0]);
    let outer = compile(|a: &[Tensor]| inner.call(&[&a[0]]));
    panics(&["inside another one", "plain function"], || _ = outer.call(&[&x]));
    // Also when it has its plan already, and would only be run.
    inner.call(&[&x]);
    panics(&["inside another one"], || _ = outer.call(&[&x]));
    let counter = var("n", &[0.0]);
    let tick = compile(|_: &[Tensor]| {
        counter.set(&counter.get() + 1.0);
        vec![]
    });
    tick.call(&[]);
    let outer = compile(|_: &[Tensor]| tick.call(&[]));
    panics(&["inside another one"], || _ = outer.call(&[]));
    assert_eq!(counter.to_vec::<f32>(), [1.0]);
    // And nothing is left of the outer trace.
    assert_eq!(inner.call(&[&x])[0].item::<f32>(), 2.0);
}

// What goes in and comes out.

#[test]
fn results_are_fresh() {
    let v = var("v", &[1.0, 2.0]);
    let f = compile(|a: &[Tensor]| vec![&a[0] * 2.0, a[0].clone(), v.get(), a[0].reshape([1, 2])]);
    let (x, y) = (floats(&[1.0, 2.0]), floats(&[3.0, 4.0]));
    let first = f.call(&[&x]);
    v.write(&[5.0f32, 6.0]);
    let second = f.call(&[&y]);
    let all = |r: &[Tensor]| r.iter().map(|t| t.to_vec::<f32>()).collect::<Vec<_>>();
    assert_eq!(all(&first), [[2.0, 4.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]);
    assert_eq!(all(&second), [[6.0, 8.0], [3.0, 4.0], [5.0, 6.0], [3.0, 4.0]]);
}

#[test]
fn a_result_may_be_the_next_argument() {
    let f = compile(|a: &[Tensor]| vec![&a[0] * 2.0, &a[0] + 1.0]);
    let mut x = floats(&[1.0]);
    for _ in 0..4 {
        x = f.call(&[&x]).remove(0);
    }
    assert_eq!(x.item::<f32>(), 16.0);
    let results = f.call(&[&x]);
    assert_eq!(f.call(&[&results[1]])[0].item::<f32>(), 34.0);
    let g = compile(|a: &[Tensor]| vec![&a[0] - &a[1]]);
    let y = g.call(&[&x, &results[0]]).remove(0);
    assert_eq!(g.call(&[&y, &y])[0].item::<f32>(), 0.0);
}

#[test]
fn one_result_may_be_returned_twice() {
    let f = compile(|a: &[Tensor]| {
        let y = &a[0] + 1.0;
        vec![y.clone(), y.clone(), y.reshape([1, 2]), y]
    });
    for result in f.call(&[&floats(&[1.0, 2.0])]) {
        assert_eq!(result.to_vec::<f32>(), [2.0, 3.0]);
    }
}

#[test]
fn one_tensor_may_be_passed_twice() {
    let f = compile(|a: &[Tensor]| vec![&a[0] - &a[1], &a[0] + &a[1]]);
    let x = floats(&[3.0]);
    for _ in 0..2 {
        let results = f.call(&[&x, &x]);
        assert_eq!((results[0].item::<f32>(), results[1].item::<f32>()), (0.0, 6.0));
    }
    // The plan has not learnt that they are the same.
    assert_eq!(f.call(&[&x, &floats(&[1.0])])[0].item::<f32>(), 2.0);
}

#[test]
fn arguments_may_be_unused_and_results_none() {
    let f = compile(|a: &[Tensor]| vec![&a[1] + 1.0]);
    let (x, y) = (floats(&[1.0]), floats(&[2.0]));
    assert_eq!(f.call(&[&x, &y, &x])[0].item::<f32>(), 3.0);
    let step =
        f.step(&[([1].into(), DType::F32), ([1].into(), DType::F32), ([1].into(), DType::F32)]);
    step.write(1, &[5.0f32]);
    step.write(2, &[7.0f32]);
    step.run().unwrap();
    assert_eq!(step.read::<f32>(0), [6.0]);
    assert!(compile(|_: &[Tensor]| vec![]).call(&[&x]).is_empty());
    let constant = compile(|_: &[Tensor]| vec![Tensor::ones([2]), Tensor::zeros([0])]).call(&[]);
    assert_eq!(constant[0].to_vec::<f32>(), [1.0, 1.0]);
    assert_eq!(constant[1].to_vec::<f32>(), []);
}

#[test]
fn a_variable_may_also_be_an_argument() {
    let v = var("v", &[1.0, 2.0]);
    let f = compile(|a: &[Tensor]| {
        v.set(&v.get() + &a[0]);
        vec![&a[0] * 1.0]
    });
    let results = f.call(&[&v.get()]);
    assert_eq!(v.to_vec::<f32>(), [2.0, 4.0]);
    assert_eq!(results[0].to_vec::<f32>(), [1.0, 2.0], "the argument is the old value");
    f.call(&[&v.get()]);
    assert_eq!(v.to_vec::<f32>(), [4.0, 8.0]);
}

#[test]
fn a_step_and_calls_share_a_plan_but_no_memory() {
    let f = compile(|a: &[Tensor]| vec![&a[0] * 2.0]);
    let step = f.step(&[([2].into(), DType::F32)]);
    step.write(0, &[1.0f32, 2.0]);
    step.run().unwrap();
    let other = f.call(&[&floats(&[5.0, 6.0])]);
    assert_eq!(step.read::<f32>(0), [2.0, 4.0]);
    step.run().unwrap();
    assert_eq!(step.read::<f32>(0), [2.0, 4.0], "its arguments are still its own");
    assert_eq!(other[0].to_vec::<f32>(), [10.0, 12.0]);
    drop(f);
    step.write(0, &[3.0f32, 4.0]);
    step.run().unwrap();
    assert_eq!(step.read::<f32>(0), [6.0, 8.0], "it outlives the function");
    panics(&["argument 0", "f32 [2]", "1 values"], || step.write(0, &[1.0f32]));
    panics(&["result 0", "f32", "f64"], || _ = step.read::<f64>(0));
}

#[test]
fn an_index_out_of_range_is_an_error_and_no_more() {
    let f = compile(|a: &[Tensor]| vec![a[0].index_select(0, &a[1])]);
    let table = floats(&[1.0, 2.0, 3.0]);
    let at = |i: i32| f.try_call(&[&table, &Tensor::from_slice(&[i], [1])]);
    for wrong in [3, -1, i32::MIN] {
        let error = at(wrong).unwrap_err().to_string();
        assert!(error.contains(&wrong.to_string()) && error.contains("out of range"), "{error}");
    }
    assert_eq!(at(2).unwrap()[0].item::<f32>(), 3.0);
    panics(&["out of range"], || {
        table.index_select(0, &Tensor::from_slice(&[7], [1])).to_vec::<f32>();
    });
}

// Variables.

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
        let (a, b) = (x.slice(0, 2, 4) * 10.0, (x.slice(0, 0, 2)).exp().log());
        Tensor::concat(&[a, b], 0).round()
    };
    assert_eq!(step(&halves), [30.0, 40.0, 1.0, 2.0]);
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
    panics(&["`weight` was changed", "footguns.rs"], || _ = stale.item::<f32>());
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

// Arenas.

#[test]
fn an_arena_and_its_parts_are_not_written_in_one_step() {
    let (a, b) = (var("a", &[1.0]), var("b", &[2.0]));
    let arena = Arena::new("all", &[a.clone(), b.clone()]);
    let all = arena.var();
    let words = &["`a`", "`all`", "shares memory"];
    let run = |f: &dyn Fn()| {
        compile(|_: &[Tensor]| {
            f();
            vec![]
        })
        .call(&[]);
    };
    let both = || {
        a.set(&a.get() + 1.0);
        all.set(&all.get() + 1.0);
    };
    panics(words, || run(&both));
    panics(words, || {
        run(&|| {
            all.set(&all.get() + 1.0);
            a.set(floats(&[0.0]));
        })
    });
    // Nor is what one of them was before read after the other was set.
    panics(words, || {
        run(&|| {
            all.set(&all.get() + 1.0);
            a.get();
        })
    });
    panics(words, || {
        run(&|| {
            let _ = all.get();
            a.set(floats(&[0.0]));
            all.get();
        })
    });
    // Two parts do not disturb each other.
    run(&|| {
        a.set(&b.get() + 10.0);
        b.set(&b.get() * 2.0);
    });
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![12.0], vec![4.0]));
}

#[test]
fn parts_are_read_and_the_arena_is_written() {
    let (a, b) = (var("a", &[1.0, 2.0, 3.0]), var("b", &[4.0]));
    let arena = Arena::new("all", &[a.clone(), b.clone()]);
    let step = compile(|x: &[Tensor]| {
        let loss = (a.get() * &x[0]).sum() * b.get().sum();
        let gradients = grad(&loss, &[&a, &b]);
        arena.var().set(arena.var().get() - arena.gather(&gradients) * 0.5);
        vec![loss]
    });
    let x = floats(&[1.0, 1.0, 2.0]);
    assert_eq!(step.call(&[&x])[0].item::<f32>(), 36.0);
    assert_eq!(a.to_vec::<f32>(), [-1.0, 0.0, -1.0]);
    assert_eq!(b.to_vec::<f32>(), [-0.5]);
    assert_eq!(step.call(&[&x])[0].item::<f32>(), 1.5);
}

#[test]
fn a_plan_follows_a_variable_into_an_arena() {
    let (a, b) = (var("a", &[1.0]), var("b", &[2.0]));
    let f = compile(|_: &[Tensor]| {
        a.set(&a.get() + &b.get());
        vec![a.get()]
    });
    assert_eq!(f.call(&[])[0].item::<f32>(), 3.0);
    let step = f.step(&[]);
    let lazy = &a.get() * 10.0;
    let arena = Arena::new("all", &[b.clone(), a.clone()]);
    assert_eq!(lazy.item::<f32>(), 30.0, "moving is not changing");
    assert_eq!(f.call(&[])[0].item::<f32>(), 5.0);
    assert_eq!((a.to_vec::<f32>(), f.plans()), (vec![5.0], 1));
    panics(&["has moved", "make it again"], || _ = step.run());
    f.step(&[]).run().unwrap();
    assert_eq!(arena.parts()[1].to_vec::<f32>(), [7.0]);
}

#[test]
fn staleness_in_an_arena_is_that_of_the_part() {
    let (a, b) = (var("a", &[1.0]), var("b", &[2.0]));
    let before = &a.get() * 1.0;
    a.set(floats(&[3.0]));
    let arena = Arena::new("all", &[a.clone(), b.clone()]);
    panics(&["`a` was changed"], || _ = before.item::<f32>());
    let (of_a, of_all) = (&a.get() * 1.0, arena.var().get().sum());
    b.set(floats(&[5.0]));
    assert_eq!(of_a.item::<f32>(), 3.0, "another part has changed");
    panics(&["`all` was changed"], || _ = of_all.item::<f32>());
    let of_b = &b.get() * 1.0;
    arena.var().set(&arena.var().get() + 1.0);
    panics(&["`b` was changed"], || _ = of_b.item::<f32>());
    assert_eq!((a.to_vec::<f32>(), b.to_vec::<f32>()), (vec![4.0], vec![6.0]));
}

#[test]
fn a_variable_lies_in_one_arena() {
    let (a, b) = (var("a", &[1.0]), var("b", &[2.0]));
    panics(&["a f32", "already"], || _ = Arena::new("x", &[a.clone(), a.clone()]));
    let c = var("c", &[1.0]);
    let _first = Arena::new("all", &[b.clone(), c.clone()]);
    panics(&["b f32", "already"], || _ = Arena::new("again", std::slice::from_ref(&b)));
    let whole = Var::new("i", Tensor::arange(3));
    panics(&["i32", "f32"], || _ = Arena::new("mixed", &[var("d", &[1.0]), whole.clone()]));
    panics(&["at least one"], || _ = Arena::new("none", &[]));
}

// Threads, depth, life and death.

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
