//! Special groups, accuracy of single operations, precision of long sums, and what is refused.

use super::super::reference::{binary_float, unary_float};
use super::*;
use crate::Kernel;

/// A group over contiguous operands in buffers 0, 1, …, the outputs after the inputs.
pub(super) fn group(
    compute: Compute,
    dims: &[usize],
    inputs: usize,
    code: Vec<Step>,
    outputs: &[u16],
) -> Fused {
    let element = compute.element();
    let bytes = dims.iter().product::<usize>() * element.bytes();
    let view =
        |buffer: usize| View::contiguous(Region::new(buffer as u32, 0, bytes), element, dims);
    let outputs = outputs.iter().enumerate();
    Fused {
        compute,
        dims: dims.to_vec(),
        inputs: (0..inputs).map(view).collect(),
        code,
        outputs: outputs
            .map(|(i, &value)| Output { value, view: view(inputs + i), reduce: None })
            .collect(),
    }
}

/// The sum of all of one f32 input, over both instructions where it is cut into parts.
fn sum(isa: crate::Isa, x: &[f32], reduce: Reduce) -> f32 {
    let total = |x: &[f32], parts_wanted: bool| {
        let mut fused = group(Compute::F32, &[x.len()], 1, vec![Step::Load(0)], &[]);
        let region = Region::new(1, 0, 4);
        let view = View { region, element: Element::F32, offset: 0, strides: vec![0] };
        fused.outputs.push(Output { value: 0, view, reduce: Some(reduce) });
        let parts = fused.parts();
        assert!(parts_wanted || parts == 1);
        fused.outputs[0].view.region.bytes = 4 * parts;
        let kernel = fused.prepare().unwrap();
        let (from, to) = (Buffer::from_slice(x), Buffer::zeroed(4 * parts));
        run_alone(&On(isa, &kernel), &[&from, &to]);
        to.to_vec::<f32>(0..parts)
    };
    let parts = total(x, true);
    if parts.len() == 1 { parts[0] } else { total(&parts, false)[0] }
}

#[test]
fn long_sums_keep_six_digits() {
    const N: usize = 10_000_000;
    let mut cases = Cases(77);
    let constant = vec![0.1f32; N];
    let uniform: Vec<f32> =
        (0..N).map(|_| (cases.next() >> 40) as f32 / (1 << 24) as f32).collect();
    // One large value among small ones, which a running total in f32 would swallow.
    let mut uneven = vec![1e-3f32; N];
    uneven[0] = 1e4;
    for isa in isas() {
        for x in [&constant, &uniform, &uneven] {
            let exact: f64 = x.iter().map(|x| *x as f64).sum();
            let got = sum(isa, x, Reduce::Sum) as f64;
            assert!((got - exact).abs() <= 1e-6 * exact, "{isa:?}: {got}, exactly {exact}");
        }
    }
}

#[test]
fn column_and_row_sums_keep_six_digits() {
    let (rows, columns) = (50_000, 32);
    let mut cases = Cases(78);
    let x: Vec<f32> =
        (0..rows * columns).map(|_| (cases.next() >> 40) as f32 / (1 << 24) as f32).collect();
    for strides in [[0, 1], [1, 0]] {
        let mut fused = group(Compute::F32, &[rows, columns], 1, vec![Step::Load(0)], &[]);
        let n = if strides[0] == 0 { columns } else { rows };
        let region = Region::new(1, 0, 4 * n);
        let view = View { region, element: Element::F32, offset: 0, strides: strides.to_vec() };
        fused.outputs.push(Output { value: 0, view, reduce: Some(Reduce::Sum) });
        let parts = fused.parts();
        fused.outputs[0].view.region.bytes *= parts;
        let kernel = fused.prepare().unwrap();
        let (from, to) = (Buffer::from_slice(&x), Buffer::zeroed(4 * n * parts));
        run_alone(&kernel, &[&from, &to]);
        let got = to.to_vec::<f32>(0..n * parts);
        for i in 0..n {
            let one =
                |j: usize| if strides[0] == 0 { x[j * columns + i] } else { x[i * columns + j] };
            let exact: f64 = (0..rows * columns / n).map(|j| one(j) as f64).sum();
            let got: f64 = (0..parts).map(|p| got[p * n + i] as f64).sum();
            assert!((got - exact).abs() <= 1e-6 * exact, "{got}, exactly {exact}");
        }
    }
}

#[test]
fn extremes_pass_nan_on() {
    for isa in isas() {
        for n in [1, 5, 31, 1000, 5000, 200_000] {
            for at in [0, n / 2, n - 1] {
                let mut x: Vec<f32> = (0..n).map(|i| (i % 97) as f32).collect();
                assert_eq!(sum(isa, &x, Reduce::Min), 0.0);
                assert_eq!(sum(isa, &x, Reduce::Max), 96f32.min(n as f32 - 1.0));
                x[at] = f32::NAN;
                assert!(sum(isa, &x, Reduce::Max).is_nan(), "max of {n}, NaN at {at}");
                assert!(sum(isa, &x, Reduce::Min).is_nan(), "min of {n}, NaN at {at}");
            }
        }
    }
}

/// Each operation on ordinary and extraordinary operands, within twice the machine precision.
#[test]
fn single_operations_are_accurate() {
    let specials = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        3.0,
        1e-3,
        -7.25,
        80.0,
        -80.0,
        1e10,
        1e-40,
        3e38,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        std::f64::consts::PI,
        100.5,
    ];
    let pairs: Vec<(f64, f64)> =
        specials.iter().flat_map(|a| specials.iter().map(move |b| (*a, *b))).collect();
    for compute in [Compute::F32, Compute::F64] {
        let narrow = |x: f64| if compute == Compute::F32 { x as f32 as f64 } else { x };
        let a: Vec<f64> = pairs.iter().map(|p| narrow(p.0)).collect();
        let b: Vec<f64> = pairs.iter().map(|p| narrow(p.1)).collect();
        let mut code = vec![Step::Load(0), Step::Load(1)];
        code.extend(UnaryOp::ALL.iter().map(|op| Step::Unary(*op, 0)));
        code.extend(
            BinaryOp::ALL.iter().filter(|op| op.on_floats()).map(|op| Step::Binary(*op, 0, 1)),
        );
        for isa in isas() {
            for value in 2..code.len() {
                let kernel = group(compute, &[pairs.len()], 2, code.clone(), &[value as u16])
                    .prepare()
                    .unwrap();
                let bytes = |x: &[f64]| -> Vec<u8> {
                    let numbers = x.iter().map(|x| Number::Float(*x));
                    numbers.flat_map(|x| reference::to_bytes(compute.element(), x)).collect()
                };
                let before = Contents(vec![bytes(&a), bytes(&b), bytes(&a)]);
                let after = run(&before, |buffers| run_alone(&On(isa, &kernel), buffers));
                for i in 0..pairs.len() {
                    let exact = match code[value] {
                        Step::Unary(op, _) => unary_float(op, a[i]),
                        Step::Binary(op, _, _) => binary_float(op, a[i], b[i]),
                        _ => unreachable!(),
                    };
                    let Number::Float(got) = after.get(&kernel.outputs[0].view, i) else {
                        panic!()
                    };
                    let epsilon = if compute == Compute::F32 { 1.2e-7 } else { 2.3e-16 };
                    let tiny = if compute == Compute::F32 { 3e-45 } else { 1e-323 };
                    let exact = narrow(exact);
                    // The slope of GELU crosses zero, and is as exact there as at its largest.
                    let size = match code[value] {
                        Step::Binary(BinaryOp::GeluGrad, _, _) => b[i].abs(),
                        _ => exact.abs(),
                    };
                    let close = got == exact
                        || got.is_nan() && exact.is_nan()
                        || (got - exact).abs() <= 2.0 * epsilon * size + tiny;
                    assert!(
                        close,
                        "{isa:?} {}: {} {} gave {got}, not {exact}",
                        code[value], a[i], b[i]
                    );
                }
            }
        }
    }
}

#[test]
fn reductions_of_nothing_are_identities() {
    for reduce in Reduce::ALL {
        let mut fused = group(Compute::F32, &[3, 0], 1, vec![Step::Load(0)], &[]);
        let region = Region::new(1, 0, 12);
        let view = View { region, element: Element::F32, offset: 0, strides: vec![1, 0] };
        fused.outputs.push(Output { value: 0, view, reduce: Some(*reduce) });
        let kernel = fused.prepare().unwrap();
        let after = run(&Contents(vec![vec![], vec![7; 12]]), |b| run_alone(&kernel, b));
        let expected = reference::identity(*reduce, Compute::F32);
        assert!((0..3).all(|i| after.get(&kernel.outputs[0].view, i) == expected), "{reduce}");
    }
}

/// p, m ← in place, with each new value also needed after the other was stored.
#[test]
fn updates_in_place_read_before_they_write() {
    for n in [5, 1024, 5000] {
        let mut fused = group(
            Compute::F32,
            &[n],
            2,
            vec![
                Step::Load(0),
                Step::Load(1),
                Step::Binary(BinaryOp::Add, 0, 1),
                Step::Binary(BinaryOp::Sub, 0, 1),
            ],
            &[2, 3, 0],
        );
        fused.outputs[0].view = fused.inputs[0].clone();
        fused.outputs[1].view = fused.inputs[1].clone();
        fused.outputs[2].view.region.buffer = 2;
        let mut cases = Cases(n as u64);
        let contents =
            (0..3).map(|_| random_contents(&mut cases, Element::F32, n)).collect::<Vec<_>>();
        compare(&fused.prepare().unwrap(), &Contents(contents), |a, b| a == b);
    }
}

#[test]
fn random_numbers_depend_on_the_point_alone() {
    for (kind, compute) in [
        (Random::Uniform, Compute::F32),
        (Random::Normal, Compute::F32),
        (Random::Uniform, Compute::F64),
        (Random::Normal, Compute::F64),
    ] {
        for dims in [vec![7], vec![1000, 100], vec![3, 1, 50], vec![2, 5, 700]] {
            let code = vec![Step::Random { kind, key: 0, stream: 9 }];
            let mut fused = group(compute, &dims, 1, code, &[0]);
            fused.inputs[0] = View {
                region: Region::new(0, 0, 24),
                element: Element::I32,
                offset: 2,
                strides: vec![0; dims.len()],
            };
            let n = dims.iter().product::<usize>();
            // A transposed output does not change which point gets which number.
            if let [.., rows, columns] = dims[..] {
                let last = dims.len() - 1;
                fused.outputs[0].view.strides[last] = rows as isize;
                fused.outputs[0].view.strides[last - 1] = 1;
                assert!(columns > 1);
            }
            let key: Vec<u8> =
                [0, 0, 12, 0, 345, 6i32].iter().flat_map(|w| w.to_ne_bytes()).collect();
            let contents = Contents(vec![key, vec![0; n * compute.element().bytes()]]);
            compare(&fused.prepare().unwrap(), &contents, |a, b| a == b);
        }
    }
}

#[test]
fn mistakes_are_refused() {
    let good = || {
        let code = vec![Step::Load(0), Step::Unary(UnaryOp::Exp, 0)];
        group(Compute::F32, &[10, 20], 1, code, &[1])
    };
    good().check().unwrap();
    let refused = |what: &str, change: &dyn Fn(&mut Fused)| {
        let mut fused = good();
        change(&mut fused);
        assert!(fused.check().is_err(), "{what} passed");
        assert!(fused.prepare().is_err());
    };
    refused("a short input", &|f| f.inputs[0].region.bytes -= 1);
    refused("a short output", &|f| f.outputs[0].view.region.bytes -= 4);
    refused("an offset", &|f| f.inputs[0].offset = 1);
    refused("a large offset", &|f| f.inputs[0].offset = usize::MAX);
    refused("a negative stride", &|f| f.inputs[0].strides[1] = -1);
    refused("a large stride", &|f| f.inputs[0].strides[0] = isize::MAX);
    refused("a missing stride", &|f| f.inputs[0].strides.truncate(1));
    refused("misalignment", &|f| f.inputs[0].region.offset = 2);
    refused("a large extent", &|f| f.dims[0] = usize::MAX);
    refused("points that fall together", &|f| f.outputs[0].view.strides = vec![1, 1]);
    refused("a repeated store", &|f| f.outputs[0].view.strides = vec![0, 1]);
    refused("a later value", &|f| f.code[1] = Step::Unary(UnaryOp::Exp, 1));
    refused("a missing input", &|f| f.code[0] = Step::Load(1));
    refused("a missing value", &|f| f.outputs[0].value = 2);
    refused("exp of integers", &|f| f.compute = Compute::I32);
    refused("a short index", &|f| f.code[1] = Step::Index(vec![1]));
    refused("a large index", &|f| f.code[1] = Step::Index(vec![i64::MAX, 1]));
    refused("a key of floats", &|f| {
        f.code[1] = Step::Random { kind: Random::Uniform, key: 0, stream: 0 };
    });
    refused("an overlap", &|f| {
        f.inputs[0].region = Region::new(1, 0, 804);
        f.outputs[0].view.region = Region::new(1, 4, 800);
    });
    refused("two outputs in one place", &|f| f.outputs.push(f.outputs[0].clone()));
    refused("a sum of another type", &|f| {
        f.outputs[0].reduce = Some(Reduce::Sum);
        f.outputs[0].view.element = Element::I32;
        f.outputs[0].view.strides = vec![0, 1];
    });
    refused("a reduction in place", &|f| {
        f.outputs[0].reduce = Some(Reduce::Sum);
        f.outputs[0].view = f.inputs[0].clone();
    });
    refused("parts without room", &|f| {
        f.dims = vec![200_000, 20];
        f.inputs[0].region.bytes = 16_000_000;
        f.outputs[0].reduce = Some(Reduce::Sum);
        f.outputs[0].view.strides = vec![0, 1];
        assert!(f.parts() > 1);
        f.outputs[0].view.region.bytes = 4 * 20;
    });
}

#[test]
fn prints_as_one_line() {
    let mut fused = group(
        Compute::F32,
        &[4, 8],
        2,
        vec![
            Step::Load(0),
            Step::Load(1),
            Step::float(0.5),
            Step::MulAdd(0, 1, 2),
            Step::Unary(UnaryOp::Tanh, 3),
        ],
        &[4],
    );
    fused.outputs[0].reduce = Some(Reduce::Max);
    assert_eq!(
        fused.to_string(),
        "f32[4, 8]: v0 = in0; v1 = in1; v2 = 0.5; v3 = mul_add v0 v1 v2; v4 = tanh v3 -> max v4 f32"
    );
    assert_eq!(fused.clone().prepare().unwrap().name(), "fused");
}
