//! A training between two steps.

use crate::history::{History, Row};
use nerve_core::{DType, Shape, Var};
use nerve_nn::state::{self, LoadError, StateTensor};
use std::sync::Arc;

/// Where a training stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Steps that are done since the training began.
    pub step: u64,
    /// The epoch that is running, counted from 1.
    pub epoch: u64,
    /// Samples of it that were used.
    pub samples: u64,
}

impl Default for Position {
    /// Before the first step.
    fn default() -> Self {
        Position { step: 0, epoch: 1, samples: 0 }
    }
}

/// Everything that a training needs to go on: named tensors, and where it stands.
///
/// | names | what |
/// |---|---|
/// | `model/…` | parameters and statistics of the network |
/// | `optimizer/…` | what the optimizer remembers |
/// | `schedule` | what the schedule has learnt |
/// | `epoch/…` | sums of loss and metrics since the epoch began |
/// | `history` | the epochs so far |
/// | `callback/…` | what callbacks remember |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Where the training stands.
    pub position: Position,
    /// How many of the tensors belong to this capture; those behind are memory of an earlier one.
    used: usize,
    tensors: Vec<StateTensor>,
}

/// What a callback remembers, beside what it finds again by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Numbers.
    pub numbers: Vec<f64>,
    /// Tensors, which are not copied where they are handed on.
    pub tensors: Arc<Vec<StateTensor>>,
}

impl Snapshot {
    /// From what a checkpoint held.
    pub fn new(position: Position, tensors: Vec<StateTensor>) -> Snapshot {
        Snapshot { position, used: tensors.len(), tensors }
    }

    /// Its tensors.
    pub fn tensors(&self) -> &[StateTensor] {
        &self.tensors[..self.used]
    }

    /// How many bytes its tensors have.
    pub fn bytes(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.bytes.len()).sum()
    }

    /// Begins a capture, in the memory of the one before.
    pub(crate) fn begin(&mut self, position: Position) {
        (self.position, self.used) = (position, 0);
    }

    /// The next tensor, in the memory of the one that had its place before if they are alike.
    fn next(&mut self, name: &str, dtype: DType, shape: &Shape) -> &mut StateTensor {
        let at = self.used;
        self.used += 1;
        let fits = self.tensors.get(at).is_some_and(|tensor| {
            tensor.name == name && tensor.dtype == dtype && tensor.shape == *shape
        });
        if !fits {
            self.tensors.truncate(at);
            let (name, shape) = (name.to_string(), shape.clone());
            self.tensors.push(StateTensor { name, dtype, shape, bytes: Vec::new() });
        }
        &mut self.tensors[at]
    }

    pub(crate) fn put_var(&mut self, name: &str, var: &Var) {
        self.next(name, var.dtype(), var.shape()).capture(var);
    }

    pub(crate) fn put_numbers(&mut self, name: &str, numbers: &[f64]) {
        let shape = Shape::from([numbers.len()]);
        let bytes = &mut self.next(name, DType::F64, &shape).bytes;
        bytes.clear();
        bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    }

    pub(crate) fn put_memory(&mut self, name: &str, memory: &Memory) {
        self.put_numbers(&format!("callback/{name}"), &memory.numbers);
        for tensor in &*memory.tensors {
            let name = format!("callback/{name}/{}", tensor.name);
            let place = self.next(&name, tensor.dtype, &tensor.shape);
            place.bytes.clone_from(&tensor.bytes);
        }
    }

    pub(crate) fn put_history(&mut self, history: &History) {
        let metrics = history.metrics.len();
        let mut numbers = vec![metrics as f64];
        for row in &history.rows {
            let Row { epoch, step, time_s, lr, loss, .. } = *row;
            let known = row.val_loss.map_or(0.0, |_| 1.0);
            let val_loss = row.val_loss.unwrap_or(0.0);
            numbers.extend([epoch as f64, step as f64, time_s, lr, loss, known, val_loss]);
            numbers.extend(&row.metrics);
            // As many columns in each row: those without validation have nothing there.
            numbers.extend((0..metrics).map(|i| row.val_metrics.get(i).copied().unwrap_or(0.0)));
        }
        self.put_numbers("history", &numbers);
    }

    /// The numbers under a name; `None` if there are none.
    pub fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        let tensor = self.tensors().iter().find(|tensor| tensor.name == name)?;
        let whole = tensor.dtype == DType::F64;
        whole.then(|| tensor.bytes.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect())
    }

    /// The tensors whose names begin with this, without it.
    pub fn below(&self, prefix: &str) -> Vec<StateTensor> {
        let own = self.tensors().iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(prefix)?.to_string();
            Some(StateTensor { name, ..tensor.clone() })
        });
        own.collect()
    }

    /// What a callback of this name remembered.
    pub(crate) fn memory(&self, name: &str) -> Option<Memory> {
        let numbers = self.numbers(&format!("callback/{name}"))?;
        Some(Memory { numbers, tensors: Arc::new(self.below(&format!("callback/{name}/"))) })
    }

    pub(crate) fn history(&self) -> Option<Vec<Row>> {
        let numbers = self.numbers("history")?;
        let (&metrics, rows) = numbers.split_first()?;
        let metrics = metrics as usize;
        let width = 7 + 2 * metrics;
        if !rows.len().is_multiple_of(width) {
            return None;
        }
        let row = |row: &[f64]| {
            let validated = row[5] != 0.0;
            Row {
                epoch: row[0] as u64,
                step: row[1] as u64,
                time_s: row[2],
                lr: row[3],
                loss: row[4],
                metrics: row[7..7 + metrics].to_vec(),
                val_loss: validated.then_some(row[6]),
                val_metrics: if validated { row[7 + metrics..].to_vec() } else { Vec::new() },
            }
        };
        Some(rows.chunks(width).map(row).collect())
    }

    /// Writes the tensors whose names are wanted into these variables, which are known under these
    /// names.
    pub(crate) fn restore(
        &self,
        wanted: impl Fn(&str) -> bool,
        vars: &[(String, Var)],
    ) -> Result<(), LoadError> {
        state::load_named(vars, self.tensors().iter().filter(|tensor| wanted(&tensor.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Goal;
    use nerve_core::Tensor;

    #[test]
    fn a_capture_uses_the_memory_of_the_one_before() {
        let var = Var::new("w", Tensor::from_slice(&[1.0f32, 2.0], [2]));
        let mut snapshot = Snapshot::default();
        let position = Position { step: 3, epoch: 2, samples: 8 };
        snapshot.begin(position);
        snapshot.put_var("model/w", &var);
        snapshot.put_numbers("schedule", &[0.5, f64::NAN]);
        let first = snapshot.tensors()[0].bytes.as_ptr();
        var.write(&[3.0f32, 4.0]);
        snapshot.begin(Position { step: 4, ..position });
        snapshot.put_var("model/w", &var);
        assert_eq!(snapshot.tensors().len(), 1, "what was behind is not part of it");
        snapshot.put_numbers("schedule", &[0.25]);
        assert_eq!(snapshot.tensors()[0].bytes.as_ptr(), first);
        assert_eq!(snapshot.numbers("schedule"), Some(vec![0.25]));
        var.write(&[0.0f32, 0.0]);
        let own = |name: &str| name.starts_with("model/");
        snapshot.restore(own, &[("model/w".into(), var.clone())]).unwrap();
        assert_eq!(var.to_vec::<f32>(), [3.0, 4.0]);
    }

    #[test]
    fn a_history_reads_back_to_the_bit() {
        let row = |epoch, val_loss: Option<f64>| Row {
            epoch,
            step: 10 * epoch,
            time_s: 0.1 + 0.2,
            lr: 1e-3,
            loss: f64::NAN,
            metrics: vec![1.0 / 3.0, f64::NAN],
            val_loss,
            val_metrics: val_loss.map(|loss| vec![loss, 1.0]).unwrap_or_default(),
        };
        let history = History {
            metrics: vec!["a".into(), "b".into()],
            rows: vec![row(1, Some(0.7)), row(2, None)],
            goal: Goal::default(),
        };
        let mut snapshot = Snapshot::default();
        snapshot.put_history(&history);
        let again = snapshot.history().unwrap();
        assert_eq!(format!("{again:?}"), format!("{:?}", history.rows));
    }
}
