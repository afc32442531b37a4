//! Random programs: a graph of random operations evaluated as one plan has to give what the same
//! operations give one by one, and what the reference gives, with any number of threads.

mod common;

use common::reference::{self, Array, Known};
use common::{Rng, assert_close, tensor, values};
use nerve_core::{Arena, DType, Tensor, Var, compile, grad, set_threads};
use std::rc::Rc;

/// A graph that grows, and the bound of the values of each of its nodes.
struct Program {
    rng: Rng,
    nodes: Vec<Tensor>,
    /// Whether all values are small integers, so that results are exact in any order.
    exact: bool,
    /// Whether each node is computed as soon as it is made.
    step_by_step: bool,
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[1],
    &[4],
    &[2, 3],
    &[3, 2],
    &[1, 3],
    &[2, 1],
    &[2, 3, 4],
    &[3, 1, 2],
    &[2, 2, 2, 2],
    &[0, 3],
    &[17],
];

impl Program {
    fn leaf(&mut self) -> Tensor {
        let shape = *self.rng.pick(SHAPES);
        let count = shape.iter().product();
        let dtype = match self.rng.below(10) {
            0 => DType::Bool,
            1 if self.exact => DType::U8,
            2 if self.exact => DType::I32,
            3..=6 if self.exact => DType::F32,
            _ => DType::F64,
        };
        let (exact, rng) = (self.exact, &mut self.rng);
        let draw = |_| match dtype {
            DType::Bool => rng.below(2) as f64,
            DType::U8 => rng.below(9) as f64,
            _ if exact => rng.below(9) as f64 - 4.0,
            _ => rng.range(-2.0, 2.0),
        };
        let data: Vec<f64> = (0..count).map(draw).collect();
        tensor(&data, shape, dtype)
    }

    fn any(&mut self) -> Tensor {
        if self.nodes.is_empty() || self.rng.chance(12) {
            return self.leaf();
        }
        // Recent nodes are likelier: deep graphs, and old values that stay alive.
        let n = self.nodes.len();
        let back = self.rng.below(n).min(self.rng.below(n));
        self.nodes[n - 1 - back].clone()
    }

    fn number(&mut self) -> Tensor {
        let x = self.any();
        match x.dtype() {
            DType::Bool => x.to_dtype(if self.exact { DType::F32 } else { DType::F64 }),
            _ => x,
        }
    }

    fn float(&mut self) -> Tensor {
        let x = self.any();
        match x.dtype().is_float() {
            true => x,
            false => x.to_dtype(if self.exact { DType::F32 } else { DType::F64 }),
        }
    }

    /// A second operand that broadcasts with `x` and has its type.
    fn partner(&mut self, x: &Tensor) -> Tensor {
        for _ in 0..8 {
            let y = self.any();
            if y.shape().broadcast(x.shape()).is_some_and(|s| s.numel() <= 400) {
                return y.to_dtype(x.dtype());
            }
        }
        x.flip(&[]) * 2
    }

    fn axis(&mut self, x: &Tensor) -> isize {
        self.rng.below(x.rank()) as isize
    }

    /// Keeps values small: integers exact in every type, and others where nothing overflows.
    fn tame(&mut self, x: Tensor) -> Tensor {
        match x.dtype() {
            DType::Bool | DType::U8 => x,
            _ if self.exact => x % 19,
            _ => (&x * 0.25).tanh() * 2.0,
        }
    }

    fn step(&mut self) {
        let made = match self.rng.below(20) {
            0..=4 => self.binary(),
            5..=7 => self.unary(),
            8 => self.choose(),
            9..=13 => self.movement(),
            14..=16 => self.reduction(),
            17 => self.product(),
            18 => self.join(),
            _ => self.convert(),
        };
        if made.numel() > 400 {
            return;
        }
        self.nodes.push(if self.step_by_step { made.evaluated() } else { made });
    }

    fn binary(&mut self) -> Tensor {
        let a = self.number();
        let b = self.partner(&a);
        match self.rng.below(8) {
            0 => a + b,
            1 => a - b,
            2 => self.tame(a * b),
            3 => a.maximum(b),
            4 => a.minimum(b),
            // A comparison of rounded values could turn out either way.
            5 if self.exact => a.lt(b),
            6 if self.exact => a.eq(b),
            _ => self.tame(a + b),
        }
    }

    fn unary(&mut self) -> Tensor {
        let x = self.number();
        match self.rng.below(7) {
            0 => -x,
            1 => x.abs(),
            2 => x.relu(),
            3 => self.tame(x.square()),
            4 if self.exact => x.sign(),
            5 if x.dtype().is_float() => match self.exact {
                true => x * 2.0 - 1.0,
                false => x.sin(),
            },
            _ => x + 1,
        }
    }

    fn choose(&mut self) -> Tensor {
        let a = self.number();
        let b = self.partner(&a);
        let shape = a.shape().broadcast(b.shape()).expect("partners broadcast");
        let condition = match self.exact {
            true => a.ge(1),
            false => Tensor::full(&shape, 1.0, DType::Bool),
        };
        match self.rng.below(3) {
            0 => condition.logical_not().select(&a, &b),
            _ => condition.select(&a, &b),
        }
    }

    fn movement(&mut self) -> Tensor {
        let x = self.any();
        if x.rank() == 0 {
            return x.broadcast_to([3, 1]);
        }
        let axis = self.axis(&x);
        let extent = x.shape()[axis as usize];
        match self.rng.below(9) {
            0 => x.reshape([x.numel()]),
            1 => x.transpose(axis, 0),
            2 => x.flip(&[axis]),
            3 => {
                let start = self.rng.below(extent + 1);
                let end = start + self.rng.below(extent - start + 1);
                x.slice(axis, start, end)
            }
            4 if extent > 1 => x.slice_by(axis as usize, extent - 1, -2, extent.div_ceil(2)),
            5 => {
                let mut shape = x.shape().to_vec();
                shape.insert(0, 2);
                x.broadcast_to(shape)
            }
            6 => {
                let mut order: Vec<usize> = (0..x.rank()).collect();
                order.rotate_left(1);
                x.permute(&order)
            }
            7 => {
                let mut amounts = vec![(0, 0); x.rank()];
                amounts[axis as usize] = (self.rng.below(3), self.rng.below(2));
                x.pad(&amounts, 1.0)
            }
            _ => x.unsqueeze(axis as usize),
        }
    }

    fn reduction(&mut self) -> Tensor {
        let x = self.number();
        let axes: Vec<isize> = (0..x.rank() as isize).filter(|_| self.rng.chance(2)).collect();
        let keep = self.rng.chance(2);
        let extents = axes.iter().map(|&a| x.shape()[a as usize]).product::<usize>();
        match self.rng.below(3) {
            // An infinity would turn into NaN soon.
            0 if extents > 0 => x.max_axes(&axes, keep),
            1 if extents > 0 => x.min_axes(&axes, keep),
            _ if x.dtype() == DType::U8 => x.to_dtype(DType::I32).sum_axes(&axes, keep),
            _ => {
                let sum = x.sum_axes(&axes, keep);
                self.tame(sum)
            }
        }
    }

    fn product(&mut self) -> Tensor {
        let x = self.float();
        if x.rank() < 2 {
            return x;
        }
        let y = if self.rng.chance(2) { x.matmul(&x.t()) } else { x.t().matmul(&x) };
        let y = match self.rng.below(3) {
            0 => y,
            1 => (&y + self.rng.below(3) as i32).relu(),
            _ => {
                let bias = y.slice_by(y.rank() - 2, 0, 1, y.shape()[y.rank() - 2].min(1));
                &y + bias.sum_axes(&[-2], false).unsqueeze(y.rank() - 2)
            }
        };
        self.tame(y)
    }

    fn join(&mut self) -> Tensor {
        let a = self.any();
        if a.rank() == 0 {
            return Tensor::stack(&[a.clone(), a], 0);
        }
        let axis = self.axis(&a);
        let extent = a.shape()[axis as usize];
        let mut parts = vec![a.clone()];
        let b = self.any();
        if b.shape() == a.shape() && b.dtype() == a.dtype() {
            parts.push(b);
        }
        parts.push(a.slice(axis, 0, extent / 2));
        if a.dtype() != DType::Bool {
            parts.push(&a + 1);
        }
        self.rng.pick(&[0, 1]).eq(&1).then(|| parts.reverse());
        Tensor::concat(&parts, axis)
    }

    fn convert(&mut self) -> Tensor {
        let x = self.any();
        let to = match self.exact {
            true => *self.rng.pick(&[DType::F32, DType::F64, DType::I32]),
            false => DType::F64,
        };
        x.to_dtype(to)
    }
}

fn program(seed: u64, exact: bool, step_by_step: bool) -> Vec<Tensor> {
    let mut program = Program { rng: Rng(seed), nodes: Vec::new(), exact, step_by_step };
    let steps = 4 + program.rng.below(28);
    for _ in 0..steps {
        program.step();
    }
    program.nodes
}

/// Three of the nodes, the last among them.
fn some(nodes: &[Tensor], seed: u64) -> Vec<Tensor> {
    let mut rng = Rng(seed ^ 0xabc);
    let mut chosen = vec![nodes.len() - 1];
    chosen.extend((0..2).map(|_| rng.below(nodes.len())));
    chosen.into_iter().map(|i| nodes[i].clone()).collect()
}

/// Several roots as one plan.
fn as_one_plan(roots: impl Fn() -> Vec<Tensor>) -> Vec<Tensor> {
    compile(move |_: &[Tensor]| roots()).call(&[])
}

fn compare(seed: u64, exact: bool) {
    let together = as_one_plan(|| some(&program(seed, exact, false), seed));
    let apart = some(&program(seed, exact, true), seed);
    let lazy = some(&program(seed, exact, false), seed);
    let mut known = Known::new();
    for (i, ((one, other), lazy)) in together.iter().zip(&apart).zip(&lazy).enumerate() {
        let what = format!("seed {seed}, root {i}, {lazy:?}");
        assert_eq!(one.shape(), other.shape(), "{what}");
        let (rtol, atol) = if exact { (0.0, 0.0) } else { (1e-9, 1e-9) };
        let expected: Rc<Array> = reference::evaluate(lazy, &mut known);
        assert_close(&format!("{what}, one by one"), &values(other), &expected.data, rtol, atol);
        assert_close(&format!("{what}, as one plan"), &values(one), &expected.data, rtol, atol);
        assert_close(&format!("{what}, evaluated"), &values(lazy), &expected.data, rtol, atol);
    }
}

#[test]
fn exact_programs_agree() {
    (0..1500).for_each(|seed| compare(seed, true));
}

#[test]
fn real_programs_agree() {
    (10_000..11_000).for_each(|seed| compare(seed, false));
}

/// Gradients of random programs, against the reference of the same graph.
#[test]
fn gradients_of_programs_agree() {
    for seed in 20_000..20_400 {
        let build = || {
            let nodes = program(seed, false, false);
            let loss = nodes.iter().filter(|n| n.dtype().is_float()).map(Tensor::sum);
            let loss = loss.reduce(|a, b| a + b)?;
            let leaf = leaves(&loss).into_iter().find(|t| t.dtype().is_float())?;
            Some(vec![grad(&loss, &[&leaf]).remove(0)])
        };
        let Some(lazy) = build() else { continue };
        let one = &as_one_plan(|| build().expect("as before"))[0];
        let expected = reference::evaluate(&lazy[0], &mut Known::new());
        assert_close(&format!("gradient, seed {seed}"), &values(one), &expected.data, 1e-8, 1e-8);
    }
}

fn leaves(root: &Tensor) -> Vec<Tensor> {
    let (mut stack, mut seen, mut found) =
        (vec![root.clone()], std::collections::HashSet::new(), Vec::new());
    while let Some(node) = stack.pop() {
        if seen.insert(node.id()) {
            stack.extend(node.inputs().iter().cloned());
            if let nerve_core::Op::Constant(_) = node.op() {
                found.push(node);
            }
        }
    }
    found
}

/// Steps that read and write variables, alone and in an arena, against the same steps in Rust.
#[test]
fn programs_with_variables_agree() {
    for seed in 30_000..30_600 {
        variables(seed);
    }
}

type Cells = Vec<Vec<f64>>;

/// One random assignment: a new content of cell `to` from all cells.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    to: usize,
    from: [usize; 2],
    kind: usize,
}

const EXTENT: usize = 6;

fn assign(a: Assignment, cells: &Cells) -> Vec<f64> {
    let (x, y) = (&cells[a.from[0]], &cells[a.from[1]]);
    let at = |i: usize| match a.kind {
        0 => x[i] + y[i],
        1 => x[EXTENT - 1 - i] - y[i],
        2 => x[i],
        3 => x[EXTENT - 1 - i],
        4 => x.iter().sum::<f64>() % 7.0 + y[i],
        5 => {
            if i < 2 {
                x[i + 3] * 2.0
            } else {
                y[i] + 1.0
            }
        }
        6 => 3.0,
        7 => x[(i + 1) % EXTENT] + x[i],
        8 => (0..EXTENT).map(|k| x[k] * y[i]).sum::<f64>() % 5.0,
        _ => x[i].max(y[i]) + 1.0,
    };
    (0..EXTENT).map(|i| at(i) % 31.0).collect()
}

fn assign_tensor(a: Assignment, get: impl Fn(usize) -> Tensor) -> Tensor {
    let (x, y) = (get(a.from[0]), get(a.from[1]));
    let value = match a.kind {
        0 => &x + &y,
        1 => x.flip(&[0]) - &y,
        2 => return x.clone(),
        3 => return x.flip(&[0]),
        4 => x.sum() % 7.0 + &y,
        5 => Tensor::concat(
            &[x.slice(0, 3, 5) * 2.0 % 31.0, (y.slice(0, 2, EXTENT) + 1.0) % 31.0],
            0,
        ),
        6 => return Tensor::full([EXTENT], 3.0, DType::F64),
        7 => Tensor::concat(&[x.slice(0, 1, EXTENT), x.slice(0, 0, 1)], 0) + &x,
        8 => {
            let outer = y.unsqueeze(1).matmul(&x.unsqueeze(0));
            outer.sum_axes(&[1], false) % 5.0
        }
        _ => x.maximum(&y) + 1.0,
    };
    if a.kind == 5 { value } else { value % 31.0 }
}

fn variables(seed: u64) {
    let mut rng = Rng(seed);
    let mut cells: Cells =
        (0..4).map(|_| (0..EXTENT).map(|_| rng.below(9) as f64 - 4.0).collect()).collect();
    let vars: Vec<Var> = (cells.iter().enumerate())
        .map(|(i, c)| Var::new(format!("v{i}"), tensor(c, &[EXTENT], DType::F64)))
        .collect();
    if rng.chance(2) {
        Arena::new("arena", &vars[..3]);
    }
    let assignments: Vec<Assignment> = (0..1 + rng.below(7))
        .map(|_| Assignment {
            to: rng.below(4),
            from: [rng.below(4), rng.below(4)],
            kind: rng.below(10),
        })
        .collect();
    // Half of the programs see what was set before, as Rust would; the others read first.
    let in_order = rng.chance(2);
    // A value that is returned is stored as a result, and copied to its variable; one that is not
    // may be stored there at once, while others still have to read what it overwrites.
    let returns = rng.chance(3);
    let step = compile(|_: &[Tensor]| {
        let old: Vec<Tensor> = vars.iter().map(Var::get).collect();
        let mut returned = Vec::new();
        for &a in &assignments {
            let get = |i: usize| if in_order { vars[i].get() } else { old[i].clone() };
            let value = assign_tensor(a, get);
            vars[a.to].set(value.clone());
            returned.push(value);
        }
        returned.push(old[0].clone());
        returned.push(vars[1].get());
        if returns { returned } else { Vec::new() }
    });
    for round in 0..3 {
        let old = cells.clone();
        let mut expected = Vec::new();
        for &a in &assignments {
            let value = assign(a, if in_order { &cells } else { &old });
            cells[a.to].clone_from(&value);
            expected.push(value);
        }
        expected.push(old[0].clone());
        expected.push(cells[1].clone());
        let found = step.call(&[]);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = format!("seed {seed}, round {round}, result {i} of {assignments:?}");
            assert_close(&what, &values(found), expected, 0.0, 0.0);
        }
        for (i, (var, cell)) in vars.iter().zip(&cells).enumerate() {
            let what = format!("seed {seed}, round {round}, cell {i} of {assignments:?}");
            assert_close(&what, &var.to_vec::<f64>(), cell, 0.0, 0.0);
        }
    }
}

/// The same bits with 1, 2 and 3 threads, on sizes that are worth sharing.
#[test]
fn threads_do_not_change_bits() {
    let big = |seed: u64, shape: &[usize]| {
        let mut rng = Rng(seed);
        let count = shape.iter().product();
        let data: Vec<f64> = (0..count).map(|_| rng.range(-1.0, 1.0)).collect();
        tensor(&data, shape, DType::F32)
    };
    let (x, w, b) = (big(1, &[300, 400]), big(2, &[400, 200]), big(3, &[200]));
    let step = compile(|a: &[Tensor]| {
        let (x, w, b) = (&a[0], &a[1], &a[2]);
        let h = (x.matmul(w) + b).relu();
        let p = h.softmax(-1);
        let loss = (p.square().sum_axes(&[1], false) + x.exp().sum_axes(&[1], false)).mean();
        let mut all = grad(&loss, &[x, w, b]);
        let key = Tensor::random_key(5, 6);
        all.push(Tensor::normal(&key, 1, [200_000], DType::F32).sum());
        all.extend([loss, x.sum(), x.sum_axes(&[0], false), x.t().max_axes(&[1], false), h]);
        all
    });
    let mut bits: Vec<Vec<Vec<u64>>> = Vec::new();
    for threads in [1, 2, 3] {
        set_threads(threads);
        let results = step.call(&[&x, &w, &b]);
        let of = |t: &Tensor| values(t).iter().map(|v| v.to_bits()).collect();
        bits.push(results.iter().map(of).collect());
    }
    assert!(bits[0] == bits[1] && bits[0] == bits[2]);
}

/// Rows of a batch walk through a recurrent layer apart from each other.
#[test]
fn threads_do_not_change_the_bits_of_a_recurrence() {
    let big = |seed: u64, shape: &[usize]| {
        let mut rng = Rng(seed);
        let count = shape.iter().product();
        let data: Vec<f64> = (0..count).map(|_| rng.range(-0.3, 0.3)).collect();
        tensor(&data, shape, DType::F32)
    };
    let (x, w, h) = (big(1, &[37, 6, 160]), big(2, &[160, 40]), big(3, &[37, 40]));
    let step = compile(|a: &[Tensor]| {
        let [y, last, c] = a[0].lstm(&a[1], &a[2], &a[2], false);
        let loss = y.square().sum() + last.exp().sum() + c.sum();
        let mut all = grad(&loss, &[&a[0], &a[1], &a[2]]);
        all.push(y);
        all
    });
    let mut bits: Vec<Vec<Vec<u64>>> = Vec::new();
    for threads in [1, 2, 3] {
        set_threads(threads);
        let results = step.call(&[&x, &w, &h]);
        let of = |t: &Tensor| values(t).iter().map(|v| v.to_bits()).collect();
        bits.push(results.iter().map(of).collect());
    }
    assert!(bits[0] == bits[1] && bits[0] == bits[2]);
}
