use super::*;
use crate::params::Params;
use nerve_formats::spec::{Value, check};

fn moments(values: &[f32]) -> (f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let top = values.iter().fold(0.0f64, |top, &v| top.max(f64::from(v).abs()));
    (mean, variance, top)
}

#[test]
fn every_variant_has_the_variance_of_its_paper() {
    let shape = Shape::from([96, 32, 3, 3]); // fan in 288, fan out 864
    let (fan_in, mean_fan) = (288.0, (288.0 + 864.0) / 2.0);
    for (name, variance, uniform) in [
        ("glorot_uniform", 1.0 / mean_fan, true),
        ("xavier_normal", 1.0 / mean_fan, false),
        ("he_uniform", 2.0 / fan_in, true),
        ("kaiming_normal", 2.0 / fan_in, false),
        ("lecun_uniform", 1.0 / fan_in, true),
        ("lecun_normal", 1.0 / fan_in, false),
    ] {
        let entry = find(name).unwrap();
        let init = (entry.build)(&check(&entry.spec, &[]).unwrap());
        let values = Params::new(3).var("w", &shape, &*init).to_vec::<f32>();
        let (mean, found, top) = moments(&values);
        let n = values.len() as f64;
        // Within five standard errors of what the formula says.
        assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "{name}: mean {mean}");
        assert!((found / variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{name}: {found}");
        let bound = (3.0 * variance).sqrt();
        assert_eq!(top <= bound * (1.0 + 1e-6), uniform, "{name}: largest {top}, bound {bound}");
    }
}

#[test]
fn the_default_of_linear_layers_is_that_of_pytorch() {
    let values = Params::new(3).var("w", [50, 400], &Uniform::fan_in(400)).to_vec::<f32>();
    let (mean, variance, top) = moments(&values);
    assert!(mean.abs() < 1e-3 && top <= 0.05 && top > 0.0499);
    assert!((variance - 0.05f64.powi(2) / 3.0).abs() < 2e-5);
}

#[test]
fn orthogonal_rows_or_columns() {
    for shape in [[8, 8], [5, 12], [12, 5]] {
        let params = Params::with_dtype(1, DType::F64);
        let q = params.var("w", shape, &Orthogonal { gain: 2.0 }).get();
        let (n, product) = match shape[0] <= shape[1] {
            true => (shape[0], q.matmul(&q.t())),
            false => (shape[1], q.t().matmul(&q)),
        };
        for (i, found) in product.to_vec::<f64>().into_iter().enumerate() {
            let expected = if i / n == i % n { 4.0 } else { 0.0 };
            assert!((found - expected).abs() < 1e-13, "{shape:?}: {found} at {i}");
        }
    }
}

#[test]
fn constants_and_every_line_of_the_registry() {
    let entry = find("Constant").unwrap();
    assert!(check(&entry.spec, &[]).is_err(), "a constant needs its value");
    for entry in REGISTRY {
        let given: &[(String, Value)] = match entry.spec.name {
            "constant" => &[("value".into(), Value::Float(0.25))],
            "sparse" => &[("share".into(), Value::Float(0.5))],
            _ => &[],
        };
        let args = check(&entry.spec, given).unwrap();
        let again: Vec<(String, Value)> =
            args.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        assert_eq!(check(&entry.spec, &again).unwrap(), args);
        let item = Item { name: entry.spec.name, args };
        // Only convolutions have three axes, which `dirac` needs.
        let shape: &[usize] = if entry.spec.name == "dirac" { &[3, 4, 1] } else { &[3, 4] };
        let values = Params::new(1).var("w", shape, &*build(&item)).to_vec::<f32>();
        assert!(values.iter().all(|v| v.is_finite()));
        let constant = match entry.spec.name {
            "constant" => Some(0.25),
            "zeros" => Some(0.0),
            "ones" => Some(1.0),
            _ => None,
        };
        match constant {
            Some(constant) => assert_eq!(values, [constant; 12]),
            None => assert!(values.windows(2).any(|w| w[0] != w[1]), "{}", entry.spec.name),
        }
    }
}

#[test]
fn truncated_normals_have_the_moments_of_the_cut_distribution() {
    let init = TruncatedNormal { mean: 0.5, std: 2.0 };
    let values = Params::new(3).var("w", [200, 500], &init).to_vec::<f32>();
    let (mean, variance, _) = moments(&values);
    let (std, n) = (2.0 * truncated::LEFT, values.len() as f64);
    assert!((mean - 0.5).abs() < 5.0 * std / n.sqrt(), "{mean}");
    assert!((variance / (std * std) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    assert!((-3.5..-3.49).contains(&low) && (4.49..=4.5).contains(&high), "{low} {high}");
    // The f32 is the rounded f64.
    let wide = Params::with_dtype(3, DType::F64).var("w", [200, 500], &init).to_vec::<f64>();
    assert!(values.iter().zip(wide).all(|(&a, b)| a == b as f32));
}

#[test]
fn variance_scaling_keeps_its_variance_when_truncated() {
    let entry = find("VarianceScaling").unwrap();
    let given = [("scale".into(), Value::Float(3.0)), ("mode".into(), Value::text("fan_avg"))];
    let init = (entry.build)(&check(&entry.spec, &given).unwrap());
    let values = Params::new(3).var("w", [300, 100], &*init).to_vec::<f32>();
    let (_, variance, _) = moments(&values);
    assert!((variance / (3.0 / 200.0) - 1.0).abs() < 0.04, "{variance}");
}

#[test]
fn identities_of_convolutions_and_sparse_columns() {
    let params = Params::new(1);
    let kernel = params.var("k", [4, 2, 3, 3], &Dirac { groups: 2 }).get();
    let x = Tensor::normal(&Tensor::random_key(1, 1), 0, [1, 4, 5, 5], DType::F32).evaluated();
    let options = nerve_core::ops::Conv2dOptions {
        padding: [(1, 1), (1, 1)],
        groups: 2,
        ..nerve_core::ops::Conv2dOptions::default()
    };
    assert_eq!(x.conv2d(&kernel, options).to_vec::<f32>(), x.to_vec::<f32>());
    let sparse = params.var("s", [10, 30], &Sparse { share: 0.25, std: 1.0 }).to_vec::<f32>();
    for column in 0..30 {
        let zeros = (0..10).filter(|row| sparse[row * 30 + column] == 0.0).count();
        assert_eq!(zeros, 3, "the share is rounded up");
    }
    let places =
        |column: usize| (0..10).map(|row| sparse[row * 30 + column] == 0.0).collect::<Vec<_>>();
    assert!((1..30).any(|column| places(column) != places(0)));
}
