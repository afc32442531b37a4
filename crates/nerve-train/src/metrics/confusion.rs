//! The confusion matrix, and what can be read from it.

/// How often each class was taken for each other: the row is the actual class, the column the
/// predicted one.
///
/// Everything that is a quotient is 0 where it is 0 / 0, as in scikit-learn, unless it says else.
///
/// ```
/// use nerve_train::metrics::{Average, Confusion};
/// let confusion = Confusion::of_labels(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 2);
/// assert_eq!(confusion.count(1, 0), 1.0);
/// assert_eq!(confusion.precision(1), 2.0 / 3.0);
/// assert_eq!(confusion.accuracy(), 0.6);
/// let recall = confusion.average(Average::Macro, |part| part.recall());
/// assert_eq!(recall, (0.5 + 2.0 / 3.0) / 2.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<f64>,
    /// How often each class is the actual one, and the predicted one.
    margins: [Vec<f64>; 2],
}

/// How the scores of several classes become one. Classes that occur neither as actual nor as
/// predicted ones are left out, as in scikit-learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// That of class 1 if there are two classes, else the plain mean.
    #[default]
    Auto,
    /// From the counts of all classes together.
    Micro,
    /// The plain mean: each class counts the same.
    Macro,
    /// The mean weighted by how often each class is the actual one.
    Weighted,
    /// That of this class.
    Class(usize),
}

/// The counts of one class against all others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// Of the class and predicted so.
    pub true_positives: f64,
    /// Of another class, but predicted as this one.
    pub false_positives: f64,
    /// Of the class, but predicted as another one.
    pub false_negatives: f64,
    /// Neither of the class nor predicted so.
    pub true_negatives: f64,
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

impl Part {
    /// The share of what was predicted that is right.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// The share of what there was that was found: sensitivity.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The share of the others that was left alone.
    pub fn specificity(&self) -> f64 {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// The harmonic mean of precision and recall, with recall counted `beta` times as much:
    /// (1 + β²) TP / ((1 + β²) TP + β² FN + FP). van Rijsbergen, "Information retrieval", 1979.
    pub fn f_beta(&self, beta: f64) -> f64 {
        let (square, right) = (beta * beta, (1.0 + beta * beta) * self.true_positives);
        ratio(right, right + square * self.false_negatives + self.false_positives)
    }

    /// Intersection over union: TP / (TP + FP + FN), the index of Jaccard.
    pub fn iou(&self) -> f64 {
        let whole = self.true_positives + self.false_positives + self.false_negatives;
        ratio(self.true_positives, whole)
    }
}

impl Confusion {
    /// From counts, row by row of the actual class.
    ///
    /// # Panics
    /// If their number is not a square.
    pub fn new(counts: &[f64]) -> Confusion {
        let classes = counts.len().isqrt();
        assert!(classes * classes == counts.len(), "{} counts are no square", counts.len());
        Confusion::with(classes, counts.to_vec())
    }

    /// From actual and predicted classes, below `classes`.
    ///
    /// # Panics
    /// If the numbers of labels differ, or a class is out of range.
    pub fn of_labels(actual: &[usize], predicted: &[usize], classes: usize) -> Confusion {
        assert!(actual.len() == predicted.len(), "{} and {}", actual.len(), predicted.len());
        let mut counts = vec![0.0; classes * classes];
        for (&a, &p) in actual.iter().zip(predicted) {
            assert!(a < classes && p < classes, "class {a} or {p} of {classes}");
            counts[a * classes + p] += 1.0;
        }
        Confusion::with(classes, counts)
    }

    fn with(classes: usize, counts: Vec<f64>) -> Confusion {
        let mut margins = [vec![0.0; classes], vec![0.0; classes]];
        for (cell, count) in counts.iter().enumerate() {
            margins[0][cell / classes] += count;
            margins[1][cell % classes] += count;
        }
        Confusion { classes, counts, margins }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often the class `actual` was taken for `predicted`.
    pub fn count(&self, actual: usize, predicted: usize) -> f64 {
        self.counts[actual * self.classes + predicted]
    }

    /// How many examples there are.
    pub fn total(&self) -> f64 {
        self.margins[0].iter().sum()
    }

    /// How often a class is the actual one.
    pub fn actual(&self, class: usize) -> f64 {
        self.margins[0][class]
    }

    /// How often a class is the predicted one.
    pub fn predicted(&self, class: usize) -> f64 {
        self.margins[1][class]
    }

    fn right(&self) -> f64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// A class against all others.
    pub fn part(&self, class: usize) -> Part {
        let right = self.count(class, class);
        let (actual, predicted) = (self.actual(class), self.predicted(class));
        Part {
            true_positives: right,
            false_positives: predicted - right,
            false_negatives: actual - right,
            true_negatives: self.total() - actual - predicted + right,
        }
    }

    /// The precision of a class.
    pub fn precision(&self, class: usize) -> f64 {
        self.part(class).precision()
    }

    /// The recall of a class.
    pub fn recall(&self, class: usize) -> f64 {
        self.part(class).recall()
    }

    /// A score of all classes: for instance `average(Average::Macro, |part| part.f_beta(1.0))`.
    /// NaN if there are no examples, or no such class.
    pub fn average(&self, average: Average, score: impl Fn(Part) -> f64) -> f64 {
        let there = |&c: &usize| self.actual(c) + self.predicted(c) > 0.0;
        let present: Vec<usize> = (0..self.classes).filter(there).collect();
        if present.is_empty() {
            return f64::NAN;
        }
        let parts = present.iter().map(|&class| self.part(class));
        match average {
            Average::Auto if self.classes == 2 => score(self.part(1)),
            Average::Auto | Average::Macro => parts.map(score).sum::<f64>() / present.len() as f64,
            Average::Weighted => {
                let weighted = present.iter().map(|&c| self.actual(c) * score(self.part(c)));
                ratio(weighted.sum(), self.total())
            }
            Average::Micro => score(parts.fold(Part::default(), |sum, part| Part {
                true_positives: sum.true_positives + part.true_positives,
                false_positives: sum.false_positives + part.false_positives,
                false_negatives: sum.false_negatives + part.false_negatives,
                true_negatives: sum.true_negatives + part.true_negatives,
            })),
            Average::Class(class) if class < self.classes => score(self.part(class)),
            Average::Class(_) => f64::NAN,
        }
    }

    /// The share of examples whose class was predicted. NaN without examples.
    pub fn accuracy(&self) -> f64 {
        self.right() / self.total()
    }

    /// The mean recall of the classes that there are examples of. NaN without examples.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> = (0..self.classes)
            .filter(|&class| self.actual(class) > 0.0)
            .map(|class| self.recall(class))
            .collect();
        recalls.iter().sum::<f64>() / recalls.len() as f64
    }

    /// Cohen's κ: how much more often both agree than by chance. `power` 0: every mistake weighs
    /// the same; 1: in proportion to the distance of the class numbers; 2: to its square.
    ///
    /// Cohen, "A coefficient of agreement for nominal scales", 1960. NaN where chance would always
    /// agree.
    pub fn kappa(&self, power: i32) -> f64 {
        let (mut seen, mut expected, total) = (0.0, 0.0, self.total());
        for a in 0..self.classes {
            for p in 0..self.classes {
                let weight = match power {
                    0 => f64::from(u8::from(a != p)),
                    power => (a as f64 - p as f64).abs().powi(power),
                };
                seen += weight * self.count(a, p);
                expected += weight * self.actual(a) * self.predicted(p) / total;
            }
        }
        1.0 - seen / expected
    }

    /// Matthews' correlation coefficient, for any number of classes. Gorodkin, "Comparing two
    /// K-category assignments by a K-category correlation coefficient", 2004.
    pub fn matthews(&self) -> f64 {
        let (right, total) = (self.right(), self.total());
        let sum = |f: &dyn Fn(usize) -> f64| (0..self.classes).map(f).sum::<f64>();
        let both = sum(&|c| self.actual(c) * self.predicted(c));
        let spread = |squares: f64| total * total - squares;
        let predicted = spread(sum(&|c| self.predicted(c).powi(2)));
        let actual = spread(sum(&|c| self.actual(c).powi(2)));
        ratio(right * total - both, (predicted * actual).sqrt())
    }
}
