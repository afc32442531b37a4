//! A network compiled for a few numbers of rows.

use crate::batch::{Examples, Runner};
use nerve_core::{DType, Shape, Step, Tensor, compile};
use nerve_data::{Element, Field, Values};
use nerve_nn::{Context, Model};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Plans for batches of 1, 2, 4, ... rows, or of more. A batch runs in the smallest that holds it; the rows behind it are zeros.
///
/// Nothing is compiled after [`Plans::new`]. Each row of the result depends on its own row of the input alone.
pub struct Plans {
    plans: Vec<Plan>,
}

struct Plan {
    rows: usize,
    step: Step,
    /// How long a run takes: the shortest of a few.
    cost: Duration,
    /// For each input the rows of the batch, before they are copied into the plan.
    room: Vec<Values>,
}

impl Plans {
    /// Compiles a network whose inputs are `fields`, for `least` rows, twice as many and so on up to `most`, and runs each
    /// plan once.
    ///
    /// # Errors
    /// A plan does not run.
    ///
    /// # Panics
    /// When the network does not take these fields.
    pub fn new(
        model: &Arc<dyn Model>,
        fields: &[Field],
        (least, most): (usize, usize),
    ) -> Result<Plans, String> {
        let mut plans = Vec::new();
        for rows in sizes(least, most) {
            let mut plan = Plan::new(model.clone(), fields, rows);
            plan.time()?;
            plans.push(plan);
        }
        Ok(Plans { plans })
    }
}

/// A run that is long enough to say how long the next will take.
const LONG: Duration = Duration::from_millis(5);
/// How long shorter runs are repeated, at most three times: nobody is answered before all plans are ready.
const TIMED: Duration = Duration::from_millis(2);

/// How many of the rows that wait should run now, if runs of so many rows take so long: as many as give the most rows a
/// second. A plan runs all of its rows, also where nothing stands in them: 17 rows in one of 32 may take twice as long as
/// 16 in their own.
fn best(costs: impl Iterator<Item = (usize, Duration)>, waiting: usize) -> usize {
    let (mut best, mut rate) = (waiting, 0.0);
    for (rows, cost) in costs {
        let own = rows.min(waiting);
        let per_second = own as f64 / cost.as_secs_f64().max(1e-9);
        if per_second >= rate {
            (best, rate) = (own, per_second);
        }
        if rows >= waiting {
            break;
        }
    }
    best
}

/// `least`, twice as many, and so on, and `most` itself.
pub(crate) fn sizes(least: usize, most: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(least.max(1)), |size| size.checked_mul(2));
    let mut sizes: Vec<usize> = doubled.take_while(|size| *size < most).collect();
    sizes.push(most.max(least).max(1));
    sizes
}

impl Plan {
    fn new(model: Arc<dyn Model>, fields: &[Field], rows: usize) -> Plan {
        let argument = |field: &Field| {
            let shape: Shape = [&[rows], &field.shape[..]].concat().into();
            let dtype = match field.element {
                Element::F32 => DType::F32,
                Element::I32 => DType::I32,
                Element::U8 => DType::U8,
            };
            (shape, dtype)
        };
        let signature: Vec<_> = fields.iter().map(argument).collect();
        let function = compile(move |inputs: &[Tensor]| {
            let outputs = model.outputs(inputs, &Context::eval());
            outputs.iter().map(|output| output.to_dtype(DType::F32)).collect()
        });
        let step = function.step(&signature);
        let room = |field: &Field| Values::zeros(field.element, rows * field.values_per_sample());
        let room = fields.iter().map(room).collect();
        Plan { rows, step, cost: Duration::ZERO, room }
    }

    /// Runs for the first time, and finds out how long a run takes.
    fn time(&mut self) -> Result<(), String> {
        // What stands in variables alone is computed in the first run: here, not in a request.
        self.cost = self.run()?;
        let (mut again, mut spent) = (3, Duration::ZERO);
        while self.cost < LONG && again > 0 && spent < TIMED {
            let run = self.run()?;
            (again, spent, self.cost) = (again - 1, spent + run, self.cost.min(run));
        }
        Ok(())
    }

    /// Runs once; gives how long that took.
    fn run(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        self.step.run().map_err(|error| error.to_string())?;
        Ok(begun.elapsed())
    }

    /// Copies the examples in, one behind the other, and zeros behind them.
    fn load(&mut self, batch: &[&Examples]) {
        for (index, room) in self.room.iter_mut().enumerate() {
            fill(room, batch.iter().map(|examples| &examples.fields[index]));
            match room {
                Values::F32(room) => self.step.write(index, room),
                Values::I32(room) => self.step.write(index, room),
                Values::U8(room) => self.step.write(index, room),
            }
        }
    }
}

/// Copies values of the same element into a room, one behind the other, and zeros behind them.
pub(crate) fn fill<'a>(room: &mut Values, parts: impl Iterator<Item = &'a Values>) {
    match room {
        Values::F32(room) => {
            gather(room, parts.map(|v| if let Values::F32(v) = v { &v[..] } else { &[] }));
        }
        Values::I32(room) => {
            gather(room, parts.map(|v| if let Values::I32(v) = v { &v[..] } else { &[] }));
        }
        Values::U8(room) => {
            gather(room, parts.map(|v| if let Values::U8(v) = v { &v[..] } else { &[] }));
        }
    }
}

fn gather<'a, T: Copy + Default + 'a>(room: &mut [T], parts: impl Iterator<Item = &'a [T]>) {
    let mut at = 0;
    for part in parts {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    room[at..].fill(T::default());
}

impl Runner for Plans {
    fn most_rows(&self) -> usize {
        self.plans.last().map_or(1, |plan| plan.rows)
    }

    fn best_rows(&self, waiting: usize) -> usize {
        best(self.plans.iter().map(|plan| (plan.rows, plan.cost)), waiting)
    }

    fn run(&mut self, batch: &[&Examples], _: &dyn Fn() -> bool) -> Result<Vec<Vec<f32>>, String> {
        let rows: usize = batch.iter().map(|examples| examples.rows).sum();
        let plan = self.plans.iter_mut().find(|plan| plan.rows >= rows);
        let plan = plan.ok_or("more rows than the largest plan has")?;
        plan.load(batch);
        plan.step.run().map_err(|error| error.to_string())?;
        let read = |index: usize| {
            let mut values = vec![0.0; plan.step.shape(index).numel()];
            plan.step.read_into(index, &mut values);
            values.truncate(values.len() / plan.rows * rows);
            values
        };
        Ok((0..plan.step.results()).map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_double_up_to_the_most() {
        assert_eq!(sizes(1, 1), [1]);
        assert_eq!(sizes(1, 32), [1, 2, 4, 8, 16, 32]);
        assert_eq!(sizes(1, 20), [1, 2, 4, 8, 16, 20]);
        assert_eq!(sizes(8, 32), [8, 16, 32]);
        assert_eq!(sizes(8, 4), [8]);
    }

    #[test]
    fn so_many_rows_run_that_most_are_answered_in_a_second() {
        let costs = |of: [u64; 4]| {
            [1, 2, 4, 8].into_iter().zip(of.map(Duration::from_micros)).collect::<Vec<_>>()
        };
        // Each row takes as long as another: no plan runs with rows in which nothing stands.
        let linear = costs([100, 200, 400, 800]);
        // Reading the weights takes all the time.
        let flat = costs([100, 101, 102, 103]);
        for (waiting, few, many) in [(1, 1, 1), (3, 2, 3), (5, 4, 5), (7, 4, 7), (8, 8, 8)] {
            assert_eq!(best(linear.iter().copied(), waiting), few);
            assert_eq!(best(flat.iter().copied(), waiting), many);
        }
        // Six rows in a plan of eight are better than four in their own where eight cost little more.
        assert_eq!(best(costs([100, 150, 240, 300]).into_iter(), 6), 6);
        assert_eq!(best(costs([0; 4]).into_iter(), 3), 3);
    }
}
