//! Arenas: several variables in one block, which is a variable too.

use super::{floats, panics, var};
use nerve_core::{Arena, Tensor, Var, compile, grad};

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
    panics(&["a f32", "twice"], || _ = Arena::new("x", &[a.clone(), a.clone()]));
    let c = var("c", &[3.0]);
    let first = Arena::new("all", &[b.clone(), c.clone()]);
    let same = Arena::new("again", &[b.clone(), c.clone()]);
    assert!(first.var() == same.var(), "two arenas of the same variables are one");
    let later = Arena::new("later", &[c.clone(), a.clone()]);
    panics(&["`all`", "a later arena"], || _ = first.var());
    later.var().set(&later.var().get() + 1.0);
    assert_eq!([&a, &b, &c].map(|v| v.to_vec::<f32>()[0]), [2.0, 2.0, 4.0]);
    drop(later);
    let back = Arena::new("all", &[b.clone(), c.clone()]);
    back.var().set(&back.var().get() * 2.0);
    assert_eq!([&a, &b, &c].map(|v| v.to_vec::<f32>()[0]), [2.0, 4.0, 8.0]);
    let whole = Var::new("i", Tensor::arange(3));
    panics(&["i32", "f32"], || _ = Arena::new("mixed", &[var("d", &[1.0]), whole.clone()]));
    panics(&["at least one"], || _ = Arena::new("none", &[]));
}
