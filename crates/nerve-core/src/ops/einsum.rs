//! Sums of products in Einstein's notation: `"bij,bjk->bik"`. Made of other operations, a matrix
//! product for each pair of operands.

use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::HashMap;

/// In the text of an equation, for the axes that have no name of their own.
const DOTS: char = '…';

/// The label of the axis that lies `i` before the last one of those that `…` stands for.
fn dot(i: usize) -> char {
    // A private range of Unicode, which no equation contains.
    char::from_u32(0xE000 + i as u32).expect("no tensor has thousands of axes")
}

fn is_dot(label: char) -> bool {
    !label.is_ascii()
}

/// An equation, each `…` replaced by labels.
#[derive(Debug, PartialEq)]
struct Equation {
    operands: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Equation {
    fn parse(text: &str, ranks: &[usize]) -> Result<Equation, String> {
        let text: String = text.replace("...", "…").split_whitespace().collect();
        let (inputs, output) = match text.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (&*text, None),
        };
        let terms: Vec<&str> = inputs.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(format!("{} terms for {} operands", terms.len(), ranks.len()));
        }
        let mut operands = Vec::new();
        let mut most = 0;
        for (i, (term, &rank)) in terms.iter().zip(ranks).enumerate() {
            let named = check_term(term)?;
            let dots = match term.contains(DOTS) {
                true => rank.checked_sub(named),
                false => (rank == named).then_some(0),
            };
            let dots = dots.ok_or_else(|| {
                format!("\"{term}\" names {named} axes, operand {i} has {rank}")
                    .replace(DOTS, "...")
            })?;
            most = most.max(dots);
            operands.push(expand(term, dots));
        }
        let output = match output {
            Some(term) => {
                check_term(term)?;
                expand(term, most)
            }
            None => implicit_output(&operands, most),
        };
        for (i, label) in output.iter().enumerate() {
            if output[..i].contains(label) {
                return Err(format!("'{label}' stands twice in the output"));
            }
            if !operands.iter().any(|labels| labels.contains(label)) {
                return Err(format!("'{label}' of the output is in no operand"));
            }
        }
        Ok(Equation { operands, output })
    }
}

/// The number of labels of a term, apart from `…`.
fn check_term(term: &str) -> Result<usize, String> {
    if let Some(bad) = term.chars().find(|&c| c != DOTS && !c.is_ascii_alphabetic()) {
        return Err(format!("'{bad}' is no label: letters, at most one \"...\", ',' and \"->\""));
    }
    let dots = term.chars().filter(|&c| c == DOTS).count();
    match dots {
        0 | 1 => Ok(term.chars().count() - dots),
        _ => Err("\"...\" stands twice in one term".into()),
    }
}

fn expand(term: &str, dots: usize) -> Vec<char> {
    let mut labels = Vec::new();
    for c in term.chars() {
        match c {
            DOTS => labels.extend((0..dots).rev().map(dot)),
            c => labels.push(c),
        }
    }
    labels
}

/// The axes without names, then those whose label stands once, in the order of the alphabet.
fn implicit_output(operands: &[Vec<char>], dots: usize) -> Vec<char> {
    let all: Vec<char> = operands.concat();
    let once = |c: &char| all.iter().filter(|&a| a == c).count() == 1 && !is_dot(*c);
    let mut named: Vec<char> = all.iter().copied().filter(once).collect();
    named.sort_unstable();
    (0..dots).rev().map(dot).chain(named).collect()
}

/// A tensor whose axes have labels, each another one.
#[derive(Clone)]
struct Term {
    tensor: Tensor,
    labels: Vec<char>,
}

/// The extent of every label; axes of extent 1 that `…` stands for give way to longer ones.
fn extents(equation: &Equation, operands: &[&Tensor]) -> Result<HashMap<char, usize>, String> {
    let mut extents: HashMap<char, usize> = HashMap::new();
    for (labels, operand) in equation.operands.iter().zip(operands) {
        for (&label, &extent) in labels.iter().zip(&**operand.shape()) {
            let known = extents.entry(label).or_insert(extent);
            match (*known, is_dot(label)) {
                (k, _) if k == extent => {}
                (_, true) if extent == 1 => {}
                (1, true) => *known = extent,
                (k, false) => return Err(format!("'{label}' is {k} and {extent}")),
                (k, true) => return Err(format!("the axes of \"...\" are {k} and {extent}")),
            }
        }
    }
    Ok(extents)
}

impl Term {
    fn size(&self) -> usize {
        self.tensor.numel()
    }

    fn position(&self, label: char) -> Option<usize> {
        self.labels.iter().position(|&l| l == label)
    }

    /// Without the axes that are repeated, which broadcasting brings back.
    #[track_caller]
    fn without_repeated(self, extents: &HashMap<char, usize>) -> Term {
        let kept: Vec<usize> = (0..self.labels.len())
            .filter(|&i| self.tensor.shape()[i] == extents[&self.labels[i]])
            .collect();
        let shape: Shape = kept.iter().map(|&i| self.tensor.shape()[i]).collect();
        let labels = kept.iter().map(|&i| self.labels[i]).collect();
        Term { tensor: self.tensor.reshape(shape), labels }
    }

    /// Axes with the same label become one: their diagonal.
    #[track_caller]
    fn diagonals(mut self) -> Term {
        let mut second = 0;
        while second < self.labels.len() {
            match self.position(self.labels[second]) {
                Some(first) if first < second => {
                    let label = self.labels[second];
                    self.tensor = self.tensor.diagonal(0, first as isize, second as isize);
                    self.labels.remove(second);
                    self.labels.remove(first);
                    self.labels.push(label);
                    second = 0;
                }
                _ => second += 1,
            }
        }
        self
    }

    /// Summed over the labels that nobody needs.
    #[track_caller]
    fn summed(mut self, needed: impl Fn(char) -> bool) -> Term {
        let gone = |&i: &usize| !needed(self.labels[i]);
        let axes: Vec<isize> = (0..self.labels.len()).filter(gone).map(|i| i as isize).collect();
        if !axes.is_empty() {
            self.tensor = self.tensor.sum_axes(&axes, false);
            self.labels.retain(|&l| needed(l));
        }
        self
    }

    /// The axes in the order of `labels`; those it does not have get extent 1.
    #[track_caller]
    fn aligned(&self, labels: &[char]) -> Tensor {
        let order: Vec<usize> = labels.iter().filter_map(|&l| self.position(l)).collect();
        let extent = |&l: &char| self.position(l).map_or(1, |i| self.tensor.shape()[i]);
        let shape: Shape = labels.iter().map(extent).collect();
        let moved = match order.is_sorted() {
            true => self.tensor.clone(),
            false => self.tensor.permute(&order),
        };
        moved.reshape(shape)
    }

    /// As matrices: the axes of `rows` joined into one, those of `columns` too, behind `batch`.
    #[track_caller]
    fn matrices(&self, batch: &[char], rows: &[char], columns: &[char]) -> Tensor {
        let joined = |group: &[char]| -> usize {
            group.iter().filter_map(|&l| self.position(l)).map(|i| self.tensor.shape()[i]).product()
        };
        let aligned = self.aligned(&[batch, rows, columns].concat());
        let shape = [&aligned.shape()[..batch.len()], &[joined(rows), joined(columns)]].concat();
        aligned.reshape(shape)
    }
}

/// The labels of a product of two terms, by what happens to them.
struct Pairing {
    batch: Vec<char>,
    left: Vec<char>,
    right: Vec<char>,
    contracted: Vec<char>,
}

impl Pairing {
    fn new(a: &Term, b: &Term, needed: impl Fn(char) -> bool) -> Pairing {
        let of = |t: &Term, keep: &dyn Fn(char) -> bool| -> Vec<char> {
            t.labels.iter().copied().filter(|&l| keep(l)).collect()
        };
        let (in_a, in_b) = (|l| a.labels.contains(&l), |l| b.labels.contains(&l));
        Pairing {
            batch: of(a, &|l| in_b(l) && needed(l)),
            left: of(a, &|l| !in_b(l) && needed(l)),
            right: of(b, &|l| !in_a(l) && needed(l)),
            contracted: of(a, &|l| in_b(l) && !needed(l)),
        }
    }

    fn result(&self) -> Vec<char> {
        [&self.batch[..], &self.left, &self.right].concat()
    }

    /// The product of `a` and `b`, summed over what is contracted.
    #[track_caller]
    fn apply(&self, a: &Term, b: &Term) -> Term {
        let Pairing { batch, left, right, contracted } = self;
        let labels = self.result();
        let one_each = left.is_empty() && right.is_empty();
        let tensor = if contracted.is_empty() || one_each || !a.tensor.dtype().is_float() {
            // Nothing that a matrix product would be good for: one fused group.
            let all = [&labels[..], contracted].concat();
            let product = a.aligned(&all) * b.aligned(&all);
            let axes: Vec<isize> = (labels.len()..all.len()).map(|i| i as isize).collect();
            if axes.is_empty() { product } else { product.sum_axes(&axes, false) }
        } else {
            let rows = a.matrices(batch, left, contracted);
            let product = rows.matmul(&b.matrices(batch, contracted, right));
            let extent = |&l: &char| {
                let (of, i) = match a.position(l) {
                    Some(i) => (a, i),
                    None => (b, b.position(l).expect("a label of one of the two")),
                };
                of.tensor.shape()[i]
            };
            product.reshape(labels.iter().map(extent).collect::<Shape>())
        };
        Term { tensor, labels }
    }
}

/// The two terms to multiply next: those whose product is smallest, beside what it replaces.
fn cheapest(terms: &[Term], extents: &HashMap<char, usize>, output: &[char]) -> (usize, usize) {
    let pairs = (0..terms.len()).flat_map(|i| (i + 1..terms.len()).map(move |j| (i, j)));
    let growth = |&(i, j): &(usize, usize)| {
        let pairing = Pairing::new(&terms[i], &terms[j], needed_beside(terms, [i, j], output));
        let size: f64 = pairing.result().iter().map(|l| extents[l] as f64).product();
        size - terms[i].size() as f64 - terms[j].size() as f64
    };
    pairs.min_by(|a, b| growth(a).total_cmp(&growth(b))).expect("at least two terms")
}

/// Whether a label is in the output, or in a term that is not one of `pair`.
fn needed_beside(
    terms: &[Term],
    pair: [usize; 2],
    output: &[char],
) -> impl Fn(char) -> bool + use<> {
    let others = terms.iter().enumerate().filter(|(i, _)| !pair.contains(i));
    let mut needed: Vec<char> = others.flat_map(|(_, t)| t.labels.iter().copied()).collect();
    needed.extend(output);
    move |label| needed.contains(&label)
}

#[track_caller]
fn contract(text: &str, operands: &[&Tensor]) -> Result<Tensor, String> {
    let ranks: Vec<usize> = operands.iter().map(|t| t.rank()).collect();
    let equation = Equation::parse(text, &ranks)?;
    let extents = extents(&equation, operands)?;
    let mut terms = Vec::new();
    for (&tensor, labels) in operands.iter().zip(&equation.operands) {
        super::expect_same(operands[0], tensor)?;
        let term = Term { tensor: tensor.clone(), labels: labels.clone() };
        terms.push(term.without_repeated(&extents).diagonals());
    }
    for i in 0..terms.len() {
        let needed = needed_beside(&terms, [i, i], &equation.output);
        terms[i] = terms[i].clone().summed(needed);
    }
    while terms.len() > 1 {
        let (i, j) = cheapest(&terms, &extents, &equation.output);
        let needed = needed_beside(&terms, [i, j], &equation.output);
        let (b, a) = (terms.remove(j), terms.remove(i));
        terms.insert(i, Pairing::new(&a, &b, needed).apply(&a, &b));
    }
    Ok(terms[0].aligned(&equation.output))
}

impl Tensor {
    /// A sum of products in Einstein's notation, as NumPy and PyTorch have it.
    ///
    /// Each axis of each operand gets a letter; axes with the same letter run together. The result
    /// has the axes after `->`, and what is not named there is summed:
    /// `"bij,bjk->bik"` is `y[b, i, k] = Σⱼ x[b, i, j] · w[b, j, k]`. Without `->` the result has
    /// the letters that stand once, in the order of the alphabet. A letter twice in one operand
    /// takes the diagonal, and `...` stands for any further axes, which broadcast.
    ///
    /// Any number of operands of one type; those of type f32 and f64 become matrix products, two
    /// operands at a time, the pair with the smallest product first. Integers take one fused group
    /// for each pair.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let q = Tensor::ones([2, 4, 3, 8]); // batch, head, query, channel
    /// let k = Tensor::ones([2, 4, 5, 8]); // batch, head, key, channel
    /// let scores = Tensor::einsum("bhqc,bhkc->bhqk", &[&q, &k]);
    /// assert_eq!(*scores.shape(), [2, 4, 3, 5].into());
    /// assert_eq!(scores.sum().item::<f32>(), 960.0);
    /// ```
    ///
    /// # Panics
    /// If the equation is not well formed or does not fit the operands, or if their dtypes differ
    /// or are bool where something is summed or multiplied.
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
        match contract(equation, operands) {
            Ok(result) => result,
            Err(why) => {
                let shapes: Vec<String> = operands.iter().map(|t| t.shape().to_string()).collect();
                panic!("einsum: \"{equation}\" of {}: {why}", shapes.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;
    use crate::tensor::topological;
    use crate::testing::{check_gradients, panic_message, sample};

    /// By the definition: for each choice of all coordinates, the product of the elements.
    fn by_definition(text: &str, operands: &[&Tensor]) -> Vec<f64> {
        let ranks: Vec<usize> = operands.iter().map(|t| t.rank()).collect();
        let equation = Equation::parse(text, &ranks).unwrap();
        let extents = extents(&equation, operands).unwrap();
        let values: Vec<Vec<f64>> = operands.iter().map(|t| t.to_vec()).collect();
        let mut labels = equation.output.clone();
        for label in equation.operands.iter().flatten() {
            if !labels.contains(label) {
                labels.push(*label);
            }
        }
        let shape: Shape = labels.iter().map(|l| extents[l]).collect();
        let kept: usize = shape[..equation.output.len()].iter().product();
        let mut result = vec![0.0; kept];
        for at in 0..shape.numel() {
            let coordinate = |label: &char| {
                let axis = labels.iter().position(|l| l == label).unwrap();
                at / shape.around(axis).2 % shape[axis]
            };
            let mut product = 1.0;
            for ((labels, operand), values) in equation.operands.iter().zip(operands).zip(&values) {
                let steps = labels.iter().zip(&**operand.shape()).zip(operand.shape().strides());
                let place =
                    steps.map(|((l, &n), s)| if n == 1 { 0 } else { coordinate(l) * s as usize });
                product *= values[place.sum::<usize>()];
            }
            result[at * kept / shape.numel()] += product;
        }
        result
    }

    #[test]
    fn agrees_with_the_definition() {
        let cases: &[(&str, &[&[usize]])] = &[
            ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
            ("ij,jk", &[&[2, 3], &[3, 4]]),
            ("ba,cb", &[&[2, 3], &[4, 2]]),
            ("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 5]]),
            ("bij , bjk -> ikb", &[&[2, 3, 4], &[2, 4, 5]]),
            ("ikj,jbk->bi", &[&[2, 3, 4], &[4, 5, 3]]),
            ("bhqc,bkhc->bhqk", &[&[2, 3, 4, 5], &[2, 6, 3, 5]]),
            ("i,j->ij", &[&[3], &[4]]),
            ("i,i->", &[&[3], &[3]]),
            ("i,i", &[&[3], &[3]]),
            ("ij,ij->i", &[&[3, 4], &[3, 4]]),
            ("ij,kl->jl", &[&[2, 3], &[4, 5]]),
            ("ij,j->i", &[&[2, 3], &[3]]),
            (",ij->ji", &[&[], &[2, 3]]),
            ("->", &[&[]]),
            ("ij->ji", &[&[2, 3]]),
            ("ij->", &[&[2, 3]]),
            ("ijk->ki", &[&[2, 3, 4]]),
            ("ii", &[&[4, 4]]),
            ("ii->i", &[&[4, 4]]),
            ("iji->ji", &[&[3, 2, 3]]),
            ("iii->i", &[&[3, 3, 3]]),
            ("iij,jkk->ik", &[&[2, 2, 3], &[3, 4, 4]]),
            ("...ij,...jk->...ik", &[&[2, 3, 4], &[2, 4, 5]]),
            ("...ij,jk", &[&[2, 6, 3, 4], &[4, 5]]),
            ("i...,i...->...", &[&[3, 1, 4], &[3, 2, 1]]),
            ("...,...", &[&[2, 1], &[3]]),
            ("...i->...", &[&[2, 3]]),
            ("ab,bc,cd->ad", &[&[2, 3], &[3, 4], &[4, 5]]),
            ("ab,bc,cd->bd", &[&[2, 3], &[3, 4], &[4, 5]]),
            ("i,i,i->i", &[&[3], &[3], &[3]]),
            ("bn,anm,bm->ba", &[&[2, 3], &[5, 3, 4], &[2, 4]]),
            ("a,b,c,d->dbca", &[&[2], &[3], &[4], &[2]]),
            ("ij,jk->ik", &[&[2, 0], &[0, 4]]),
            ("ij,jk->ik", &[&[0, 2], &[2, 4]]),
            ("ij,jk->ik", &[&[1, 1], &[1, 1]]),
        ];
        for &(equation, shapes) in cases {
            let operands: Vec<Tensor> =
                shapes.iter().enumerate().map(|(i, s)| sample(*s, i as u64)).collect();
            let operands: Vec<&Tensor> = operands.iter().collect();
            let result = Tensor::einsum(equation, &operands);
            let expected = by_definition(equation, &operands);
            let found = result.to_vec::<f64>();
            assert_eq!(found.len(), expected.len(), "{equation} {}", result.shape());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-13, "{equation}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn integers_too() {
        let x = Tensor::arange(6).reshape([2, 3]);
        assert_eq!(Tensor::einsum("ij,kj->ik", &[&x, &x]).to_vec::<i32>(), [5, 14, 14, 50]);
    }

    #[test]
    fn pairs_become_matrix_products() {
        let products = |equation: &str, operands: &[&Tensor]| {
            let all = topological(&[Tensor::einsum(equation, operands)], |_| false);
            all.iter().filter(|t| matches!(t.op(), Op::Matmul(_))).count()
        };
        let (x, w) = (Tensor::ones([2, 3, 4]), Tensor::ones([4, 5]));
        assert_eq!(products("bij,jk->bik", &[&x, &w]), 1);
        assert_eq!(products("bij,jk,kl->bil", &[&x, &w, &w.t()]), 2);
        assert_eq!(products("bij,bij->b", &[&x, &x]), 0);
        assert_eq!(products("bij,jk->bijk", &[&x, &w]), 0);
    }

    #[test]
    fn gradients() {
        let two = [sample([2, 3, 4], 1), sample([2, 4, 3], 2)];
        check_gradients(&two, |x| Tensor::einsum("bij,bjk->kib", &[&x[0], &x[1]]));
        check_gradients(&two, |x| Tensor::einsum("bij,cji->bc", &[&x[0], &x[1]]));
        let three = [sample([2, 3], 3), sample([3, 4], 4), sample([4], 5)];
        check_gradients(&three, |x| Tensor::einsum("ij,jk,k->i", &[&x[0], &x[1], &x[2]]));
        check_gradients(&[sample([3, 3], 6)], |x| Tensor::einsum("ii->i", &[&x[0]]));
        let x = [sample([1, 3], 7), sample([2, 3], 8)];
        check_gradients(&x, |x| Tensor::einsum("...i,...i->...", &[&x[0], &x[1]]));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (a, b) = (Tensor::ones([2, 3]), Tensor::ones([4, 5]));
        for (equation, operands, words) in [
            ("ij,jk->ik", &[&a, &b][..], "\"ij,jk->ik\" of [2, 3], [4, 5]: 'j' is 3 and 4"),
            ("ij,jk->ik", &[&a], "2 terms for 1 operands"),
            ("ijk->i", &[&a], "\"ijk\" names 3 axes, operand 0 has 2"),
            ("i->i", &[&a], "\"i\" names 1 axes, operand 0 has 2"),
            ("ijk...->i", &[&a], "\"ijk...\" names 3 axes"),
            ("ij->ii", &[&a], "'i' stands twice in the output"),
            ("ij->k", &[&a], "'k' of the output is in no operand"),
            ("i1->i", &[&a], "'1' is no label"),
            ("ij->j->i", &[&a], "is no label"),
            ("i.j->i", &[&a], "'.' is no label"),
            ("......->", &[&a], "\"...\" stands twice"),
            ("...,...->...", &[&a, &b], "the axes of \"...\" are"),
            ("ii->i", &[&a], "'i' is 2 and 3"),
            ("ij,ik->j", &[&a, &Tensor::arange(2).reshape([2, 1])], "dtypes f32 and i32 differ"),
        ] {
            let message = panic_message(|| Tensor::einsum(equation, operands));
            assert!(message.contains(words), "{equation}: {message}");
        }
    }
}
