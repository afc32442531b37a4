use super::*;
use nerve_formats::spec::{Value, check};
use nerve_nn::losses::Mae;

fn sum(metric: &dyn Metric, output: &Tensor, target: &Tensor) -> f32 {
    metric.sum(output, target).item::<f32>()
}

#[test]
fn ranks_agree_with_sorting() {
    let (rows, classes) = (200, 7);
    // Rounded, so that there are ties.
    let x = Tensor::normal(&Tensor::random_key(1, 1), 0, [rows, classes], DType::F32) * 2.0;
    let x = x.round().evaluated();
    let labels: Vec<i32> = (0..rows).map(|i| (i * 5 % classes) as i32).collect();
    let target = Tensor::from_slice(&labels, [rows]);
    let values = x.to_vec::<f32>();
    for k in 1..=classes {
        let right = (0..rows).filter(|&i| {
            let row = &values[i * classes..][..classes];
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap());
            order[..k].contains(&(labels[i] as usize))
        });
        let right = right.count() as f32;
        assert_eq!(sum(&TopK { k }, &x, &target), right, "{k}");
        if k == 1 {
            assert_eq!(sum(&Accuracy, &x, &target), right);
        }
    }
}

#[test]
fn infinite_and_undefined_outputs() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let rows = [[inf, 0.0], [-inf, 0.0], [nan, 0.0], [0.0, nan], [-inf, -inf], [nan, nan]];
    let x = Tensor::from_slice(&rows.concat(), [6, 2]);
    let right = |metric: &dyn Metric, label: i32| {
        let target = Tensor::from_slice(&[label], [1]);
        let one = |i| sum(metric, &x.slice(0, i, i + 1), &target);
        (0..6).map(one).collect::<Vec<_>>()
    };
    // The class that is NaN counts as the most likely one, the first if all are.
    assert_eq!(right(&Accuracy, 0), [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
    assert_eq!(right(&Accuracy, 1), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    // To be among the most likely ones, an output has to be a number.
    assert_eq!(right(&TopK { k: 1 }, 0), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(right(&TopK { k: 1 }, 1), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn classes_along_the_second_axis() {
    let x = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0], [1, 2, 2]);
    let target = Tensor::from_slice(&[0u8, 0], [1, 2]);
    assert_eq!(sum(&Accuracy, &x, &target), 1.0);
    assert_eq!(Accuracy.count(&[1, 2]), 2);
}

#[test]
#[should_panic(expected = "need class indices of shape [2]")]
fn a_target_of_another_shape_is_refused() {
    Accuracy.sum(&Tensor::zeros([2, 3]), &Tensor::from_slice(&[0i32, 1, 2], [3]));
}

#[test]
fn every_line_of_the_registry() {
    let target = Target { shape: [].into(), dtype: DType::I32, classes: Some(3) };
    for entry in REGISTRY {
        let given: &[(String, Value)] = match entry.spec.name {
            "loss" => &[("loss".into(), Value::text("cross_entropy"))],
            _ => &[],
        };
        let args = check(&entry.spec, given).unwrap();
        let metric = build(&Item { name: entry.spec.name, args });
        assert!(metric.check(&[3], &target).is_ok());
        assert!(metric.check(&[4], &target).is_err(), "{}", metric.name());
        let x = Tensor::from_slice(&[9.0f32, 0.0, 0.0, 0.0, 9.0, 0.0], [2, 3]);
        let labels = Tensor::from_slice(&[0i32, 1], [2]);
        let mean = sum(&*metric, &x, &labels) / metric.count(labels.shape()) as f32;
        let expected = if entry.spec.name == "loss" { 2.468e-4 } else { 1.0 };
        assert!((mean - expected).abs() < 1e-6, "{}: {mean}", metric.name());
    }
}

#[test]
fn another_loss_is_a_mean_over_examples() {
    let metric = LossMetric { name: "mae".into(), loss: Box::new(Mae) };
    let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    let mean = sum(&metric, &x, &Tensor::zeros([2, 2])) / metric.count(&[2, 2]) as f32;
    assert_eq!(mean, 2.5);
}
