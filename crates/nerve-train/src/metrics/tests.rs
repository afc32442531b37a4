use super::*;
use nerve_formats::spec::{Value, check};
use nerve_nn::losses::{CrossEntropy, Mae};

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
        let right = right.count() as f64 / rows as f64;
        assert_eq!(measure(&TopK { k }, &x, &target), right, "{k}");
        if k == 1 {
            assert_eq!(measure(&Accuracy, &x, &target), right);
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
        let one = |i| measure(metric, &x.slice(0, i, i + 1), &target);
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
    assert_eq!(measure(&Accuracy, &x, &target), 0.5);
}

#[test]
#[should_panic(expected = "need class indices of shape [2]")]
fn a_target_of_another_shape_is_refused() {
    Accuracy.observe(&Tensor::zeros([2, 3]), &Tensor::from_slice(&[0i32, 1, 2], [3]));
}

#[test]
fn another_loss_is_the_mean_over_its_terms_and_their_weights() {
    let args = check(&loss::ENTRY.spec, &[("loss".into(), Value::text("mae"))]).unwrap();
    let metric = build(&Item { name: "loss", args });
    let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    assert_eq!(
        (metric.name().as_str(), measure(&*metric, &x, &Tensor::zeros([2, 2]))),
        ("mae", 2.5)
    );
    assert!(
        metric.check(&[3], &Target { shape: [3].into(), dtype: DType::F32, classes: None }).is_ok()
    );
    let same = LossMetric { name: "mae".into(), loss: Box::new(Mae) };
    assert_eq!(measure(&same, &x, &Tensor::zeros([2, 2])), 2.5);
    // In two batches, of which the second has less that counts.
    let ignoring = CrossEntropy { ignore_index: Some(1), ..CrossEntropy::default() };
    let metric = LossMetric { name: "entropy".into(), loss: Box::new(ignoring) };
    let labels = Tensor::from_slice(&[0, 0, 1, 0], [4]);
    let x = Tensor::from_slice(&[3.0f64, 0.0, 0.0, 1.0, 7.0, 0.0, 0.0, 2.0], [4, 2]);
    let mut kept = Kept::default();
    for start in [0, 2] {
        let part = |x: &Tensor| x.slice(0, start, start + 2);
        let values = metric.observe(&part(&x), &part(&labels)).to_vec::<f64>();
        metric.add(&Seen { values: &values, target: &[2] }, &mut kept);
    }
    assert!((metric.value(&kept) - measure(&metric, &x, &labels)).abs() < 1e-15);
    assert_eq!(kept.sums[1], 3.0);
}
