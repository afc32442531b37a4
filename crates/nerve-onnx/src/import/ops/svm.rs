//! Support vector classifiers of the domain `ai.onnx.ml`: each pair of classes asks one question, and gives one vote.

use super::Operator;
use super::scores::{Labels, examples, kernel, labelled, transform};
use crate::import::call::{Call, Results, extent, numbers};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[("ai.onnx.ml.SVMClassifier", classifier)];

fn classifier(call: &Call<'_>) -> Results {
    let labels = Labels::of(call)?;
    let classes = labels.count();
    let counts = call.ints("vectors_per_class")?.unwrap_or_default();
    let counts = counts.into_iter().map(extent).collect::<Result<Vec<_>, _>>()?;
    if counts.len() != classes || classes < 2 || counts.iter().all(|&n| n == 0) {
        return Err(Stop::Unsupported(format!(
            "support vectors of {counts:?} for {classes} classes: a classifier without them is a LinearClassifier"
        )));
    }
    let pairs = Pairs { classes, counts };
    let decisions = pairs.decide(call)?;
    let (places, votes) = (pairs.places(), decisions.gt(0.0).to_dtype(DType::F32));
    // A vote for the first of a pair, or else for the second: how many the second has from the start, and what changes.
    let (mut change, mut start) = (vec![0f32; places.len() * classes], vec![0f32; classes]);
    for (row, &(i, j)) in places.iter().enumerate() {
        change[row * classes + i] = 1.0;
        change[row * classes + j] = -1.0;
        start[j] += 1.0;
    }
    let change = Tensor::from_slice(&change, [places.len(), classes]);
    let won = votes.matmul(&change) + Tensor::from_slice(&start, [classes]);
    let label = labelled(&labels, &won.argmax(1, false).to_dtype(DType::I64))?;
    let scores = match (call.floats("prob_a")?, call.floats("prob_b")?) {
        (Some(a), Some(b)) if !a.is_empty() => pairs.probabilities(&decisions, &a, &b)?,
        _ if classes == 2 => Tensor::concat(&[-&decisions, decisions], 1),
        _ => decisions,
    };
    Ok(vec![label, transform(call, &scores)?.into()])
}

/// The classes, and how many support vectors each has.
struct Pairs {
    classes: usize,
    counts: Vec<usize>,
}

impl Pairs {
    /// Each pair once, in the order of what is written about them.
    fn places(&self) -> Vec<(usize, usize)> {
        (0..self.classes).flat_map(|i| (i + 1..self.classes).map(move |j| (i, j))).collect()
    }

    /// For each example and pair a number that is above 0 for the first: Σ αᵥ k(xᵥ, x) + ρ over the vectors of both.
    fn decide(&self, call: &Call<'_>) -> Result<Tensor, Stop> {
        let x = examples(call)?;
        let (rows, columns) = (x.shape()[0], x.shape()[1]);
        let all = self.counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        let all = all.ok_or("too many support vectors")?;
        // Half of the pairs in both orders; the memory of what follows is checked before it is taken.
        let places = (self.classes as u128 * (self.classes as u128 - 1) / 2) as usize;
        let list = |name: &str, wanted: Option<usize>| -> Result<Vec<f64>, Stop> {
            let found = call.floats(name)?.unwrap_or_default();
            match wanted == Some(found.len()) {
                true => Ok(found),
                false => {
                    let (found, classes) = (found.len(), self.classes);
                    Err(format!("{name}: {found} numbers for {all} vectors of {classes} classes")
                        .into())
                }
            }
        };
        let vectors = list("support_vectors", all.checked_mul(columns))?;
        let alpha = list("coefficients", all.checked_mul(self.classes - 1))?;
        let rho = list("rho", Some(places))?;
        call.scope.afford(&[rows, all, columns], DType::F32)?;
        call.scope.afford(&[all.max(self.classes), places], DType::F32)?;
        let first: Vec<usize> = (0..self.classes).map(|i| self.counts[..i].iter().sum()).collect();
        let mut weights = vec![0f32; all * places];
        for (pair, (i, j)) in self.places().into_iter().enumerate() {
            for (class, row) in [(i, j - 1), (j, i)] {
                for v in first[class]..first[class] + self.counts[class] {
                    weights[v * places + pair] = alpha[row * all + v] as f32;
                }
            }
        }
        let vectors = Tensor::from_slice(&vectors, [all, columns]).to_dtype(DType::F32);
        let similar = kernel(call, &x, &vectors)?;
        let rho = Tensor::from_slice(&rho, [places]).to_dtype(DType::F32);
        Ok(similar.matmul(&Tensor::from_slice(&weights, [all, places])) + rho)
    }

    /// From how sure each pair is how likely each class is. It is an iteration that ends when it is near enough, so it takes the
    /// numbers themselves.
    fn probabilities(&self, decisions: &Tensor, a: &[f64], b: &[f64]) -> Result<Tensor, Stop> {
        let (classes, places) = (self.classes, self.places());
        if a.len() != places.len() || b.len() != places.len() {
            return Err(format!("prob_a, prob_b: {} and {} numbers", a.len(), b.len()).into());
        }
        let known = decisions.known()?;
        let known = known.ok_or_else(|| Stop::Value("how sure pairs of classes are".into()))?;
        let decisions = numbers::<f64>(&known)?;
        let mut all = Vec::with_capacity(decisions.len() / places.len() * classes);
        for row in decisions.chunks_exact(places.len()) {
            let mut sure = vec![0.0; classes * classes];
            for (pair, &(i, j)) in places.iter().enumerate() {
                let first = 1.0 / (1.0 + (row[pair] * a[pair] + b[pair]).exp());
                let first = first.clamp(1e-7, 1.0 - 1e-7);
                sure[i * classes + j] = first;
                sure[j * classes + i] = 1.0 - first;
            }
            all.extend(coupled(classes, &sure).into_iter().map(|p| p as f32));
        }
        Ok(Tensor::from_slice(&all, [all.len() / classes, classes]))
    }
}

/// Probabilities p that fit those of pairs best: the smallest Σ (rⱼᵢ pᵢ − rᵢⱼ pⱼ)² of which the sum is 1, by the iteration of
/// LIBSVM.
///
/// Wu, Lin and Weng, "Probability estimates for multi-class classification by pairwise coupling", 2004, algorithm 2.
fn coupled(k: usize, r: &[f64]) -> Vec<f64> {
    let mut q = vec![0.0; k * k];
    for t in 0..k {
        for j in (0..k).filter(|&j| j != t) {
            q[t * k + t] += r[j * k + t] * r[j * k + t];
            q[t * k + j] = -r[j * k + t] * r[t * k + j];
        }
    }
    let mut p = vec![1.0 / k as f64; k];
    for _ in 0..k.max(100) {
        let mut qp: Vec<f64> = (0..k).map(|t| (0..k).map(|j| q[t * k + j] * p[j]).sum()).collect();
        let mut whole: f64 = p.iter().zip(&qp).map(|(p, q)| p * q).sum();
        let apart = qp.iter().fold(0f64, |most, v| most.max((v - whole).abs()));
        if apart < 0.005 / k as f64 {
            break;
        }
        for t in 0..k {
            let own = q[t * k + t];
            let step = (whole - qp[t]) / own;
            p[t] += step;
            whole = (whole + step * (step * own + 2.0 * qp[t])) / ((1.0 + step) * (1.0 + step));
            for j in 0..k {
                qp[j] = (qp[j] + step * q[t * k + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}
