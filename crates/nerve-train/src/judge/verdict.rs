//! All that is known of the answers of a network.

use super::answers::Answers;
use super::bootstrap::Bootstrap;
use super::curves::{self, BINS, Bin, Point, StepError};
use super::family::{Better, Family, families};
use super::ranking::{Lists, Ranks};
use super::sets::Sets;
use super::slices::groups;
use super::worst::{self, Worst};
use super::{Judgeable, Judged, Options, Threshold};
use crate::metrics::Confusion;
use nerve_data::{DataError, Table};
use std::sync::Arc;

/// The verdict on a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Which rows were judged.
    pub part: String,
    /// How many.
    pub examples: usize,
    /// How intervals were found.
    pub bootstrap: Bootstrap,
    /// The column by which rows were drawn together.
    pub group: Option<String>,
    /// Each output.
    pub outputs: Vec<OutputVerdict>,
}

/// The verdict on one output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputVerdict {
    /// The name of its column.
    pub name: String,
    /// [`Answers::kind`].
    pub kind: &'static str,
    /// The mean loss.
    pub loss: f64,
    /// Every score that suits.
    pub scores: Vec<Score>,
    /// For each baseline its name and its scores, in the order of [`OutputVerdict::scores`].
    pub baselines: Vec<(String, Vec<f64>)>,
    /// Where yes begins; `None` unless there are two classes.
    pub threshold: Option<Threshold>,
    /// The names of the classes, if there are classes.
    pub names: Option<Arc<[String]>>,
    /// How often each class was taken for each other; for masks pixels.
    pub confusion: Option<Confusion>,
    /// The scores of each class.
    pub classes: Vec<ClassScores>,
    /// Probabilities and how often they came true.
    pub reliability: Vec<Bin>,
    /// The curve over all thresholds of the positive class, if there are two.
    pub curve: Vec<Point>,
    /// Truth and answer of numbers, of a thousand rows or all.
    pub pairs: Vec<(f64, f64)>,
    /// The error of a forecast at each step.
    pub steps: Vec<StepError>,
    /// Scores by the values of columns.
    pub slices: Vec<Slice>,
    /// The rows with the highest loss.
    pub worst: Vec<Worst>,
}

/// A score.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Its name.
    pub name: String,
    /// What is better.
    pub better: Better,
    /// Its value; NaN where it has none.
    pub value: f64,
    /// Where it lies with the chosen probability when rows are drawn anew.
    pub interval: Option<(f64, f64)>,
}

/// What is known of one class against all others.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScores {
    /// The share of what was predicted that is right.
    pub precision: f64,
    /// The share of what there was that was found.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// Intersection over union.
    pub iou: f64,
    /// How many there are of it.
    pub support: f64,
}

/// Scores by the values of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The column.
    pub column: String,
    /// Its values.
    pub groups: Vec<SliceGroup>,
}

/// The rows with one value of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceGroup {
    /// The value, or the range of values.
    pub name: String,
    /// How many rows.
    pub examples: usize,
    /// Their scores.
    pub scores: Vec<Score>,
}

impl OutputVerdict {
    /// A score by its name.
    pub fn score(&self, name: &str) -> Option<&Score> {
        self.scores.iter().find(|score| score.name == name)
    }
}

/// The pictures of numbers show no more rows than this.
const MOST_PAIRS: usize = 1000;

/// Judges.
///
/// # Errors
/// [`DataError::UnknownColumn`] for a slice or a group; [`DataError::CountMismatch`] where answers,
/// losses or lists are not as many as the rows.
pub fn judge(judged: &Judged, options: &Options) -> Result<Verdict, DataError> {
    let rows = &judged.rows;
    let mut slices = Vec::new();
    for column in &options.slices {
        slices.push((column.clone(), groups(&judged.table, column, rows)?));
    }
    let group = match &options.group {
        Some(column) => Some(numbers_of(&judged.table, column, rows)?),
        None => None,
    };
    let mut outputs = Vec::new();
    for output in &judged.outputs {
        check(output, rows.len())?;
        let mut verdict = one(judged, output, group.as_deref(), options);
        for (column, groups) in &slices {
            let part = |rows: &[usize]| {
                let lists = output.lists.as_ref().map(|lists| lists.select(rows));
                let group: Option<Vec<u32>> =
                    group.as_ref().map(|group| rows.iter().map(|&row| group[row]).collect());
                let group = group.map(without_gaps);
                let answers = output.answers.select(rows);
                scores(&answers, &output.threshold, lists.as_ref(), group.as_deref(), options)
            };
            let groups = groups.iter().map(|group| SliceGroup {
                name: group.value.clone(),
                examples: group.rows.len(),
                scores: part(&group.rows),
            });
            verdict.slices.push(Slice { column: column.clone(), groups: groups.collect() });
        }
        outputs.push(verdict);
    }
    Ok(Verdict {
        part: judged.part.clone(),
        examples: rows.len(),
        bootstrap: options.bootstrap,
        group: options.group.clone(),
        outputs,
    })
}

fn check(output: &Judgeable, rows: usize) -> Result<(), DataError> {
    let same = |what: &str, count: usize| match count == rows {
        true => Ok(()),
        false => Err(DataError::CountMismatch {
            first: "rows".into(),
            first_count: rows,
            second: format!("{what} of {}", output.name),
            second_count: count,
        }),
    };
    same("answers", output.answers.rows())?;
    output.losses.as_ref().map_or(Ok(()), |losses| same("losses", losses.len()))?;
    let lists = output.lists.as_ref();
    lists.map_or(Ok(()), |lists| same("groups", lists.group.len()))?;
    lists.map_or(Ok(()), |lists| same("items", lists.item.len()))
}

/// The numbers of the groups of a column, from 0.
fn numbers_of(table: &Table, column: &str, rows: &[usize]) -> Result<Vec<u32>, DataError> {
    let cells = &table.column(column)?.cells;
    let mut known = std::collections::HashMap::new();
    let number = |&row: &usize| {
        let next = known.len() as u32;
        *known.entry(worst::cell_text(cells.get(row))).or_insert(next)
    };
    Ok(rows.iter().map(number).collect())
}

/// The same groups, numbered from 0 in the order of their first rows.
fn without_gaps(groups: Vec<u32>) -> Vec<u32> {
    let mut known = std::collections::HashMap::new();
    let number = |group: u32| {
        let next = known.len() as u32;
        *known.entry(group).or_insert(next)
    };
    groups.into_iter().map(number).collect()
}

/// What holds rows together that are not independent: the column of the options, else the users of lists.
pub(super) fn group_of(
    judged: &Judged,
    lists: Option<&Lists>,
    options: &Options,
) -> Result<Option<Vec<u32>>, DataError> {
    match &options.group {
        Some(column) => numbers_of(&judged.table, column, &judged.rows).map(Some),
        None => Ok(lists.map(|lists| without_gaps(lists.group.clone()))),
    }
}

pub(super) fn all_families(
    answers: &Answers,
    threshold: &Threshold,
    lists: Option<&Lists>,
) -> Vec<Box<dyn Family>> {
    let mut all = families(answers, threshold.value);
    if let (Some(lists), Answers::Numbers { truth, answer }) = (lists, answers) {
        all.push(Box::new(Ranks::new(lists, answer, truth)));
    }
    all
}

pub(super) fn values(families: &[Box<dyn Family>], rows: usize) -> Vec<f64> {
    let mut values = Vec::new();
    let weights = vec![1.0; rows];
    families.iter().for_each(|family| family.values(&weights, &mut values));
    values
}

fn scores(
    answers: &Answers,
    threshold: &Threshold,
    lists: Option<&Lists>,
    group: Option<&[u32]>,
    options: &Options,
) -> Vec<Score> {
    let families = all_families(answers, threshold, lists);
    let rows = answers.rows();
    // The rows of a user are not independent of each other.
    let users = lists.filter(|_| group.is_none()).map(|l| without_gaps(l.group.clone()));
    let group = group.or(users.as_deref());
    let intervals = options.bootstrap.intervals(&families, rows, group);
    let named = families.iter().flat_map(|family| family.scores());
    named
        .zip(values(&families, rows))
        .zip(intervals)
        .map(|(((name, better), value), interval)| Score { name, better, value, interval })
        .collect()
}

fn baselines(output: &Judgeable, scores: usize) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    for baseline in &output.baselines {
        if let Some(answers) = output.answers.guessed(&baseline.guess) {
            let mut row = values(&families(&answers, 0.5), answers.rows());
            row.resize(scores, f64::NAN);
            all.push((baseline.name.clone(), row));
        }
    }
    if let (Some(lists), Answers::Numbers { truth, .. }) = (&output.lists, &output.answers)
        && let Some(popularity) = &lists.popularity
    {
        let ranks: Box<dyn Family> = Box::new(Ranks::new(lists, popularity, truth));
        let own = values(&[ranks], truth.len());
        let mut row = vec![f64::NAN; scores - own.len()];
        row.extend(own);
        all.push(("popularity".into(), row));
    }
    all
}

fn one(
    judged: &Judged,
    output: &Judgeable,
    group: Option<&[u32]>,
    options: &Options,
) -> OutputVerdict {
    let answers = &output.answers;
    let scores = scores(answers, &output.threshold, output.lists.as_ref(), group, options);
    let baselines = baselines(output, scores.len());
    let losses = output.losses.clone().unwrap_or_else(|| answers.losses());
    let predicted = answers.predicted(output.threshold.value);
    let confusion = confusion(answers, &predicted);
    let two = answers.kind() == "binary";
    let worst = worst::order(&losses, options.worst).into_iter().map(|at| {
        let said = predicted.get(at).copied().unwrap_or(0);
        let row = judged.rows[at];
        let mut worst = worst::look(&judged.table, row, answers, at, said, losses[at]);
        worst.pictures.extend(worst::file_picture(judged, row));
        worst
    });
    OutputVerdict {
        name: output.name.clone(),
        kind: answers.kind(),
        loss: losses.iter().sum::<f64>() / losses.len() as f64,
        scores,
        baselines,
        threshold: two.then(|| output.threshold.clone()),
        names: answers.names().cloned(),
        classes: match (&confusion, Sets::new(answers)) {
            (Some(confusion), _) => by_class(confusion),
            (None, Some(sets)) => sets.by_name(),
            (None, None) => Vec::new(),
        },
        confusion,
        reliability: curves::reliability(answers, BINS),
        curve: if two { curves::curve(answers, 1) } else { Vec::new() },
        pairs: pairs(answers),
        steps: curves::by_step(answers),
        slices: Vec::new(),
        worst: worst.collect(),
    }
}

fn confusion(answers: &Answers, predicted: &[u32]) -> Option<Confusion> {
    match answers {
        Answers::Classes { names, truth, .. } => {
            let index = |classes: &[u32]| classes.iter().map(|&c| c as usize).collect::<Vec<_>>();
            Some(Confusion::of_labels(&index(truth), &index(predicted), names.len()))
        }
        Answers::Masks { names, counts } => {
            let mut sums = vec![0.0; names.len() * names.len()];
            for row in counts.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
            }
            Some(Confusion::new(&sums))
        }
        _ => None,
    }
}

fn by_class(confusion: &Confusion) -> Vec<ClassScores> {
    let scores = |class: usize| {
        let part = confusion.part(class);
        ClassScores {
            precision: part.precision(),
            recall: part.recall(),
            f1: part.f_beta(1.0),
            iou: part.iou(),
            support: confusion.actual(class),
        }
    };
    (0..confusion.classes()).map(scores).collect()
}

/// Evenly spaced rows: which ones depends on their number alone.
fn pairs(answers: &Answers) -> Vec<(f64, f64)> {
    let (Answers::Numbers { truth, answer } | Answers::Forecast { truth, answer, .. }) = answers
    else {
        return Vec::new();
    };
    let kept = truth.len().min(MOST_PAIRS);
    (0..kept).map(|i| i * truth.len() / kept).map(|i| (truth[i], answer[i])).collect()
}
