//! One test for each way in which a compiled function could surprise: what is frozen, what is
//! shared, what is stale. Each either does the right thing or says what is wrong.

#[path = "footguns/arenas.rs"]
mod arenas;
mod common;
#[path = "footguns/life.rs"]
mod life;
#[path = "footguns/variables.rs"]
mod variables;

use common::panic_of;
use nerve_core::{DType, Tensor, Var, compile};
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
