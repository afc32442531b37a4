//! What holds for every loss of the registry, and its values beside PyTorch's: see
//! `golden/make_losses.py`.

use nerve_core::{DType, Shape, Tensor, compile, grad};
use nerve_formats::safetensors::SafeTensors;
use nerve_formats::spec::{Args, Item, Value, check};
use nerve_nn::losses::{
    self, Contrastive, CosineDistance, CrossEntropy, Ctc, Entry, GaussianNll, InfoNce, Loss,
    MarginRanking, NegativeSampling, REGISTRY, Reduction, Sample, Terms, TripletMargin, Values,
};
use std::sync::LazyLock;

mod common;

const BATCH: usize = 5;

/// One entry with arguments and what it compares.
struct Case {
    entry: &'static Entry,
    args: Args,
    sample: &'static Sample,
}

fn cases() -> Vec<Case> {
    let of = |entry: &'static Entry| {
        entry.samples.iter().map(move |sample| Case {
            entry,
            args: common::args(&entry.spec, sample.args),
            sample,
        })
    };
    REGISTRY.iter().copied().flat_map(of).collect()
}

/// A batch of such numbers.
fn draw(values: Values, stream: u32, dtype: DType) -> Tensor {
    let shape = Shape::from([&[BATCH], values.shape()].concat());
    let key = Tensor::random_key(11, 3);
    let normal = || Tensor::normal(&key, stream, shape.clone(), DType::F64);
    let unit = || Tensor::uniform(&key, stream, shape.clone(), DType::F64);
    let signs = || unit().gt(0.5).to_dtype(DType::F64);
    let drawn = match values {
        Values::Real(_) => normal() * 2.0,
        Values::Positive(_) => normal().abs() + 0.1,
        Values::Unit(_) => unit() * 0.9 + 0.05,
        Values::Shares(_) => normal().softmax(1),
        Values::Bits(_) => signs(),
        Values::Signs(_) => signs() * 2.0 - 1.0,
        Values::Boxes(_) => {
            let parts = unit().split(-1, &[2, 2]);
            Tensor::concat(&[parts[0].clone(), &parts[0] + &parts[1] + 0.1], -1)
        }
        Values::Classes(_, n) => {
            return (unit() * n as f64).floor().to_dtype(DType::I32).evaluated();
        }
    };
    drawn.to_dtype(dtype).evaluated()
}

impl Case {
    fn build(&self) -> Box<dyn Loss> {
        losses::build(&Item { name: self.entry.spec.name, args: self.args.clone() })
    }

    fn batch(&self, dtype: DType) -> (Tensor, Tensor) {
        (draw(self.sample.output, 0, dtype), draw(self.sample.target, 1, dtype))
    }

    fn name(&self) -> String {
        Item { name: self.entry.spec.name, args: self.args.clone() }.to_string()
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).to_vec::<f64>()
}

/// The value and the gradient with respect to the output.
fn both(loss: &dyn Loss, output: &Tensor, target: &Tensor) -> (f64, Vec<f64>) {
    let run = compile(|args: &[Tensor]| {
        let value = loss.loss(&args[0], &args[1]);
        let gradient = grad(&value, &[&args[0]]).remove(0);
        vec![value, gradient]
    });
    let results = run.call(&[output, target]);
    (values(&results[0])[0], values(&results[1]))
}

#[test]
fn every_entry_has_a_sample_a_reduction_and_names_of_its_own() {
    for entry in REGISTRY {
        assert!(!entry.samples.is_empty(), "{} has no sample", entry.spec.name);
        assert_eq!(entry.spec.params.last().map(|p| p.name), Some("reduction"));
    }
    common::names_are_used_once(REGISTRY.iter().map(|entry| &entry.spec));
}

#[test]
fn arguments_survive_being_written_and_checked_again() {
    for case in cases() {
        let again: Vec<(String, Value)> =
            case.args.iter().map(|(key, value)| (key.into(), common::written(value))).collect();
        assert_eq!(check(&case.entry.spec, &again).unwrap(), case.args, "{}", case.name());
    }
}

#[test]
fn a_loss_is_one_finite_number_and_its_gradient_reaches_the_output() {
    for case in cases() {
        let loss = case.build();
        let fits = loss.check(case.sample.output.shape(), &case.sample.target.target());
        assert!(fits.is_ok(), "{}: {fits:?}", case.name());
        for dtype in [DType::F32, DType::F64] {
            let (output, target) = case.batch(dtype);
            let value = loss.loss(&output, &target);
            assert_eq!((value.rank(), value.dtype()), (0, dtype), "{}", case.name());
            let (value, gradient) = both(&*loss, &output, &target);
            assert!(value.is_finite(), "{}: {value}", case.name());
            let some = gradient.iter().any(|&v| v != 0.0);
            assert!(some && gradient.iter().all(|v| v.is_finite()), "{}", case.name());
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    // The weight in CIoU has no gradient by its definition.
    let ciou = |case: &Case| case.sample.args.contains("ciou");
    for case in cases().into_iter().filter(|case| !ciou(case)) {
        let (loss, (output, target)) = (case.build(), case.batch(DType::F64));
        let run = compile(|args: &[Tensor]| vec![loss.loss(&args[0], &args[1])]);
        let (_, gradient) = both(&*loss, &output, &target);
        let x = output.to_vec::<f64>();
        let at = |i: usize, by: f64| {
            let mut moved = x.clone();
            moved[i] += by;
            run.call(&[&Tensor::from_slice(&moved, output.shape()), &target])[0].item::<f64>()
        };
        for (i, found) in gradient.iter().enumerate().take(12) {
            let h = 1e-5;
            let slope = (at(i, h) - at(i, -h)) / (2.0 * h);
            let error = (slope - found).abs();
            assert!(error < 1e-6 * (1.0 + slope.abs()), "{} {i}: {slope} {}", case.name(), found);
        }
    }
}

#[test]
fn reductions_are_those_of_the_terms() {
    for case in cases() {
        let (loss, (output, target)) = (case.build(), case.batch(DType::F64));
        let terms = loss.terms(&output, &target);
        let each = values(terms.values());
        assert_eq!(terms.values().shape()[0], BATCH, "{}: the first axis", case.name());
        let weights = terms.weights().map(values).unwrap_or(vec![1.0; each.len()]);
        let (sum, count) = (each.iter().sum::<f64>(), weights.iter().sum::<f64>());
        let close =
            |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{}", case.name());
        close(terms.reduce(Reduction::Sum).item::<f64>(), sum);
        close(terms.reduce(Reduction::Mean).item::<f64>(), sum / count);
        assert_eq!(values(&terms.reduce(Reduction::None)), each);
        let summed = case.args.text("reduction") == "sum";
        close(loss.loss(&output, &target).item::<f64>(), if summed { sum } else { sum / count });
    }
}

#[test]
fn an_example_without_weight_is_as_if_it_were_not_there() {
    for case in cases().into_iter().filter(|case| !case.entry.across) {
        let (loss, (output, target)) = (case.build(), case.batch(DType::F64));
        let weights = Tensor::from_slice(&[1.0f64, 0.0, 1.0, 2.0, 0.0], [BATCH]);
        let whole = loss.terms(&output, &target).weighted(&weights);
        let part = |x: &Tensor, i: usize| x.slice(0, i, i + 1);
        let (mut sum, mut count) = (0.0, 0.0);
        for (i, weight) in [(0, 1.0), (2, 1.0), (3, 2.0)] {
            let one = loss.terms(&part(&output, i), &part(&target, i));
            sum += weight * one.sum().item::<f64>();
            let n = one.weights().map(|w| w.sum().item::<f64>());
            count += weight * n.unwrap_or(one.values().numel() as f64);
        }
        let found = whole.mean().item::<f64>();
        assert!((found - sum / count).abs() < 1e-9 * (1.0 + found.abs()), "{}", case.name());
        let mask = weights.gt(0.0);
        let masked = loss.terms(&output, &target).masked(&mask);
        assert_eq!(masked.values().shape(), whole.values().shape());
        let nothing = loss.terms(&output, &target).weighted(&weights.zeros_like()).mean();
        assert_eq!(nothing.item::<f64>(), 0.0, "{}", case.name());
    }
}

/// Very large, very small and no outputs. Only rates of e^10000 may be infinite.
#[test]
fn extreme_outputs_give_finite_losses_and_gradients() {
    for case in cases() {
        let loss = case.build();
        let (output, target) = case.batch(DType::F32);
        let sign = draw(Values::Signs(case.sample.output.shape()), 5, DType::F32);
        let extremes = match case.sample.output {
            Values::Unit(_) => vec![output.zeros_like(), output.full_like(1.0), sign.maximum(0.0)],
            Values::Positive(_) => vec![output.zeros_like(), output.full_like(1e4)],
            Values::Boxes(_) => vec![output.zeros_like(), &output * 1e4, &output * -1e4],
            _ => vec![output.zeros_like(), &sign * 1e4, output.full_like(1e4), &sign * 1e-20],
        };
        for x in extremes {
            let (value, gradient) = both(&*loss, &x.evaluated(), &target);
            let rate = case.entry.spec.name == "poisson_nll" && value == f64::INFINITY;
            assert!(
                value.is_finite() || rate,
                "{}: {value} of {:?}",
                case.name(),
                x.to_vec::<f32>()
            );
            let finite = gradient.iter().all(|v| v.is_finite());
            assert!(finite || rate, "{}: {gradient:?} of {:?}", case.name(), x.to_vec::<f32>());
        }
    }
}

/// What PyTorch gives.
static GOLDEN: LazyLock<SafeTensors> = LazyLock::new(|| {
    SafeTensors::from_bytes("losses", include_bytes!("golden/losses.safetensors")).unwrap()
});

fn golden(name: &str, dtype: DType) -> Tensor {
    common::golden::read(&GOLDEN.tensor(name).unwrap(), dtype)
}

#[track_caller]
fn close(what: &str, found: &Tensor, name: &str) {
    let expected = golden(name, DType::F64);
    common::golden::near(found, &expected, [1e-12, 4e-6], &format!("{what} {name}"));
}

/// A loss as it stands in a recipe, against `name/…`: terms, mean and gradient.
fn against(name: &str, recipe: &str) {
    let (loss, args) = recipe.split_once(' ').unwrap_or((recipe, ""));
    let entry = losses::find(loss).unwrap();
    let item = Item { name: entry.spec.name, args: common::args(&entry.spec, args) };
    let loss = losses::build(&item);
    for dtype in [DType::F64, DType::F32] {
        let [output, target] = ["output", "target"].map(|x| golden(&format!("{name}/{x}"), dtype));
        let what = format!("{dtype} {item}");
        if GOLDEN.tensor(&format!("{name}/terms")).is_ok() {
            let terms = loss.terms(&output, &target);
            close(
                &what,
                &terms.values().reshape(golden(&format!("{name}/terms"), DType::F64).shape()),
                &format!("{name}/terms"),
            );
        }
        let value = loss.loss(&output, &target);
        close(&what, &value, &format!("{name}/loss"));
        close(&what, &grad(&value, &[&output])[0], &format!("{name}/d"));
    }
}

#[test]
fn losses_of_classes_are_those_of_pytorch() {
    against("ce", "cross_entropy");
    against("ce_sum", "cross_entropy reduction = 'sum'");
    against("ce_weights", "cross_entropy class_weights = [1, 0.5, 2, 0, 3]");
    let all =
        "cross_entropy class_weights = [1, 0.5, 2, 0, 3], label_smoothing = 0.2, ignore_index = 2";
    against("ce_all", all);
    against("ce_shares", "cross_entropy class_weights = [1, 0.5, 2, 0, 3], label_smoothing = 0.2");
    against("ce_axes", "CrossEntropyLoss weight = [1, 0.5, 2], ignore_index = -100");
    against("focal", "focal gamma = 1.5, class_weights = [1, 0.5, 2, 0.1, 3]");
    against("multi_margin", "multi_margin");
    against("multi_margin_2", "multi_margin p = 2, margin = 0.5, weight = [1, 0.5, 2, 0, 3]");
    against("categorical_hinge", "categorical_hinge");
    against("kl", "kl_divergence");
    against("kl_log", "kl_divergence log_target = true");
    against("negative_sampling", "negative_sampling");
}

#[test]
fn losses_of_yes_and_no_are_those_of_pytorch() {
    against("bce_logits", "bce_with_logits");
    against("bce_pos", "bce_with_logits pos_weight = [2, 0.5, 3]");
    against("bce", "bce");
    against("binary_focal", "binary_focal");
    against("binary_focal_plain", "binary_focal alpha = -1, gamma = 1.5");
    against("hinge", "hinge");
    against("squared_hinge", "squared_hinge");
}

#[test]
fn losses_of_numbers_are_those_of_pytorch() {
    against("mse", "mse");
    against("mae", "mae");
    against("huber", "huber delta = 0.7");
    against("smooth_l1", "smooth_l1 beta = 0.7");
    against("log_cosh", "log_cosh");
    against("mape", "mape");
    against("msle", "msle");
    against("quantile", "quantile quantiles = [0.1, 0.5, 0.9]");
    against("poisson", "poisson");
    against("poisson_full", "poisson full = true, log_input = false");
    against("gaussian", "gaussian_nll full = true");
}

#[test]
fn losses_of_regions_boxes_and_embeddings_are_as_defined() {
    against("dice", "dice smooth = 1");
    against("dice_classes", "dice smooth = 1");
    against("jaccard", "jaccard smooth = 0.5");
    against("tversky", "tversky alpha = 0.3, beta = 0.7, smooth = 1");
    for distance in ["iou", "giou", "diou", "ciou"] {
        against(distance, &format!("iou distance = '{distance}'"));
    }
    against("cosine", "cosine");
    against("triplet_hardest", "triplet margin = 0.5");
    against("triplet_all", "triplet margin = 0.5, mining = 'all'");
    against("contrastive", "contrastive margin = 2");
    against("supervised_contrastive", "info_nce temperature = 0.5");
    against("ranking", "margin_ranking margin = 0.5");
}

#[test]
fn alignments_are_those_of_pytorch() {
    against("ctc", "ctc");
    against("ctc_mean", "ctc length_normalized = true");
    against("ctc_blank", "ctc blank = 4, zero_infinity = true");
    for dtype in [DType::F64, DType::F32] {
        let [x, target, times] =
            ["output", "target", "times"].map(|x| golden(&format!("ctc_times/{x}"), dtype));
        let terms = Ctc::default().of(&x, &target, Some(&times));
        close("", terms.values(), "ctc_times/terms");
        close("", &grad(&terms.mean(), &[&x])[0], "ctc_times/d");
    }
    // Three labels do not fit into two steps.
    let (x, target) = (Tensor::zeros([1, 2, 4]), Tensor::from_slice(&[1, 2, 3], [1, 3]));
    let infinite = Ctc::default().terms(&x, &target);
    assert_eq!(infinite.values().to_vec::<f32>(), [f32::INFINITY]);
    let zero = Ctc { zero_infinity: true, ..Ctc::default() }.loss(&x, &target);
    assert_eq!(zero.item::<f32>(), 0.0);
    assert_eq!(grad(&zero, &[&x])[0].to_vec::<f32>(), [0.0; 8]);
}

/// Losses of explicit tensors: the terms and the gradient of their mean, for the first tensor.
fn of(name: &str, make: impl Fn(&[Tensor]) -> Terms) {
    for dtype in [DType::F64, DType::F32] {
        let count = (0..).take_while(|i| GOLDEN.tensor(&format!("{name}/{i}")).is_ok()).count();
        let x: Vec<Tensor> = (0..count).map(|i| golden(&format!("{name}/{i}"), dtype)).collect();
        let terms = make(&x);
        close(name, terms.values(), &format!("{name}/terms"));
        close(name, &grad(&terms.mean(), &[&x[0]])[0], &format!("{name}/d"));
    }
}

#[test]
fn losses_of_explicit_tensors_are_those_of_pytorch() {
    let triplet = TripletMargin { margin: 0.5, ..TripletMargin::default() };
    of("of_triplet", |x| triplet.of(&x[0], &x[1], &x[2]));
    let swap = TripletMargin { p: 3.0, swap: true, ..triplet };
    of("of_triplet_swap", |x| swap.of(&x[0], &x[1], &x[2]));
    of("of_cosine", |x| CosineDistance { margin: 0.2 }.of(&x[0], &x[1], &x[2]));
    of("of_ranking", |x| MarginRanking { margin: 0.3 }.of(&x[0], &x[1], &x[2]));
    let gaussian = GaussianNll { full: true, ..GaussianNll::default() };
    of("of_gaussian", |x| gaussian.of(&x[0], &x[1], &x[2]));
    of("of_contrastive", |x| Contrastive { margin: 2.0 }.of(&x[0], &x[1], &x[2]));
    of("of_info_nce", |x| InfoNce { temperature: 0.2 }.of(&x[0], &x[1]));
    of("of_nt_xent", |x| InfoNce { temperature: 0.2 }.nt_xent(&x[0], &x[1]));
    of("of_negative_sampling", |x| NegativeSampling.of(&x[0], &x[1], &x[2]));
}

#[test]
fn embeddings_without_partners_do_not_count() {
    let x = draw(Values::Real(&[3]), 7, DType::F32);
    let alone = Tensor::from_slice(&[0, 1, 2, 3, 4], [BATCH]);
    let same = Tensor::from_slice(&[1; BATCH], [BATCH]);
    for (name, target) in
        [("triplet", &alone), ("triplet", &same), ("info_nce", &alone), ("triplet all", &same)]
    {
        let (name, all) = name.split_once(' ').unwrap_or((name, ""));
        let args = if all.is_empty() { "" } else { "mining = 'all'" };
        let entry = losses::find(name).unwrap();
        let loss = (entry.build)(&common::args(&entry.spec, args));
        let (value, gradient) = both(&*loss, &x, target);
        assert_eq!((value, gradient), (0.0, vec![0.0; 15]), "{name}");
    }
}

#[test]
fn weights_that_do_not_fit_the_classes_are_known_before() {
    let loss = CrossEntropy { class_weights: vec![1.0, 2.0], ..CrossEntropy::default() };
    let misfit = loss.check(&[3], &Values::Classes(&[], 3).target()).unwrap_err();
    assert_eq!(misfit.needs, "3 class weights");
    assert!(loss.check(&[2], &Values::Classes(&[], 2).target()).is_ok());
}
