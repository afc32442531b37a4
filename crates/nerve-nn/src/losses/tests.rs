use super::*;
use nerve_core::grad;

#[test]
fn a_target_is_not_broadcast_over_outputs() {
    // The mistake that costs others most: [4, 1] − [4] would be [4, 4].
    let output = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 4.0], [4, 1]);
    let target = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 5.0], [4]);
    assert_eq!(Mse.loss(&output, &target).item::<f64>(), 0.25);
    assert_eq!(Mae.loss(&output, &target).item::<f64>(), 0.25);
}

#[test]
#[should_panic(expected = "mse: output [2, 3] and target [2]")]
fn shapes_that_do_not_fit_are_named() {
    Mse.loss(&Tensor::zeros([2, 3]), &Tensor::zeros([2]));
}

#[test]
#[should_panic(expected = "one index for each row of classes")]
fn one_index_for_each_row() {
    let labels = Tensor::from_slice(&[0i32, 1, 2], [3]);
    CrossEntropy::default().loss(&Tensor::zeros([2, 3]), &labels);
}

#[test]
fn labels_may_be_bytes_as_they_are_in_files() {
    let output = Tensor::from_slice(&[1.0f32, 2.0, 0.0, 1.0], [2, 2]);
    let bytes = Tensor::from_slice(&[0u8, 1], [2]);
    let wide = Tensor::from_slice(&[0i32, 1], [2]);
    let loss = |target| CrossEntropy::default().loss(&output, target).item::<f32>();
    assert_eq!(loss(&bytes), loss(&wide));
}

#[test]
fn certain_and_wrong_is_finite_with_a_finite_gradient() {
    let p = Tensor::from_slice(&[0.0f64, 1.0], [2, 1]);
    let target = Tensor::from_slice(&[1.0f64, 0.0], [2, 1]);
    let loss = BinaryCrossEntropy.loss(&p, &target);
    assert!((loss.item::<f64>() - 100.0).abs() < 1e-9);
    let x = Tensor::from_slice(&[-1e4f32, 1e4], [2, 1]);
    let target = Tensor::from_slice(&[1.0f32, 0.0], [2, 1]);
    let loss = BinaryCrossEntropyWithLogits::default().loss(&x, &target);
    assert_eq!(loss.item::<f32>(), 1e4);
    assert_eq!(grad(&loss, &[&x])[0].to_vec::<f32>(), [-0.5, 0.5]);
}

#[test]
fn what_a_loss_needs_is_known_before() {
    let target = |shape: &[usize], dtype, classes| Target { shape: shape.into(), dtype, classes };
    let ten = target(&[], DType::I32, Some(10));
    let entropy = CrossEntropy::default();
    assert!(entropy.check(&[10], &ten).is_ok());
    assert_eq!(entropy.check(&[9], &ten).unwrap_err().needs, "[10]");
    assert_eq!(entropy.check(&[10, 4], &ten).unwrap_err().needs, "[10]");
    assert!(entropy.check(&[10, 7], &target(&[7], DType::I32, Some(10))).is_ok());
    assert!(entropy.check(&[3], &target(&[3], DType::F32, None)).is_ok());
    assert!(Mse.check(&[2], &target(&[2], DType::F32, None)).is_ok());
    assert!(Mse.check(&[1], &target(&[], DType::F32, None)).is_ok());
    let misfit = Mse.check(&[10], &ten).unwrap_err();
    assert_eq!(misfit.hint, "for 10 classes, take cross_entropy");
}
