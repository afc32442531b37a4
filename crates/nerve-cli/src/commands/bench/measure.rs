//! Times the instructions of a step, and the roofs above them.

use nerve::core::{Cost, RunError, Step, VariableRole};
use nerve_recipe::machine;
use std::time::{Duration, Instant};

/// What the machine can do, measured now.
pub struct Roofs {
    /// Operations a second; `None` for portable code, where it depends on the compiler.
    pub flops: Option<f64>,
    /// Bytes a second over working sets of so many bytes: from the nearest cache to the memory.
    pub bandwidths: Vec<(usize, f64)>,
}

/// Working sets from the nearest cache to the memory.
const WORKING_SETS: [usize; 5] = [64 << 10, 512 << 10, 4 << 20, 24 << 20, 128 << 20];

impl Roofs {
    /// Measures for some hundredths of a second.
    pub fn measure(threads: usize) -> Roofs {
        let speed = |bytes| (bytes, machine::peak_bandwidth(threads, bytes));
        Roofs {
            flops: machine::peak_flops(threads),
            bandwidths: WORKING_SETS.into_iter().map(speed).collect(),
        }
    }

    /// Bytes a second over `bytes` bytes: between two measurements on a line through their
    /// logarithms.
    pub fn bandwidth(&self, bytes: u64) -> f64 {
        let at = self.bandwidths.partition_point(|(size, _)| (*size as u64) < bytes);
        let (below, above) = (at.checked_sub(1), self.bandwidths.get(at));
        match (below.map(|i| self.bandwidths[i]), above.copied()) {
            (Some((s0, b0)), Some((s1, b1))) => {
                let part = (bytes as f64 / s0 as f64).ln() / (s1 as f64 / s0 as f64).ln();
                (b0.ln() + part * (b1.ln() - b0.ln())).exp()
            }
            (Some((_, speed)), None) | (None, Some((_, speed))) => speed,
            (None, None) => f64::INFINITY,
        }
    }

    /// The least time for so many operations and bytes, and what takes it.
    fn over(&self, flops: u64, bytes: u64) -> Roof {
        let compute = self.flops.map_or(0.0, |peak| flops as f64 / peak);
        let memory = bytes as f64 / self.bandwidth(bytes);
        Roof { seconds: compute.max(memory), compute: compute > memory }
    }
}

/// What limits an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// The least time.
    pub seconds: f64,
    /// Whether arithmetic takes it, or moving the operands.
    pub compute: bool,
}

impl Roof {
    /// `compute` or `memory`.
    pub fn name(&self) -> &'static str {
        if self.compute { "compute" } else { "memory" }
    }
}

/// One instruction.
pub struct Line {
    /// Its place in the program, from 0.
    pub number: usize,
    /// The name of its kernel.
    pub kernel: &'static str,
    /// The layers whose parameters it reads, or computes the gradient of; empty if there are none.
    pub layer: String,
    /// Its sizes.
    pub detail: String,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes of its operands.
    pub bytes: u64,
    /// Median.
    pub seconds: f64,
    /// What limits it.
    pub roof: Roof,
}

impl Line {
    fn new(number: usize, cost: Cost, seconds: f64, roofs: &Roofs, layer: String) -> Line {
        Line {
            number,
            kernel: cost.name,
            layer,
            detail: cost.detail,
            flops: cost.flops,
            bytes: cost.bytes,
            seconds,
            roof: roofs.over(cost.flops, cost.bytes),
        }
    }

    /// How near it is to its roof: 1 is there.
    pub fn reached(&self) -> f64 {
        self.roof.seconds / self.seconds
    }
}

/// A step, timed.
pub struct Profile {
    /// Its instructions.
    pub lines: Vec<Line>,
    /// Seconds of all of them, run one by one.
    pub sum: f64,
    /// Median seconds of the whole step, as it runs in a training.
    pub step: f64,
    /// Examples in it.
    pub rows: usize,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes of working memory.
    pub arena: usize,
}

impl Profile {
    /// Runs `step`, which holds a batch of `rows`, for about `time`; `layer` names the layer of a
    /// variable.
    ///
    /// # Errors
    /// If an index in the batch is out of range.
    pub fn measure(
        step: &Step,
        rows: usize,
        roofs: &Roofs,
        time: Duration,
        layer: impl Fn(&str) -> String,
    ) -> Result<Profile, RunError> {
        (0..3).try_for_each(|_| step.run())?;
        let costs = step.plan().costs();
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); costs.len()];
        repeat(time / 2, || {
            let mut once = Vec::new();
            step.profile(&mut once)?;
            times.iter_mut().zip(once).for_each(|(all, time)| all.push(time.as_secs_f64()));
            Ok(())
        })?;
        let mut steps = Vec::new();
        repeat(time / 2, || {
            let start = Instant::now();
            step.run()?;
            steps.push(start.elapsed().as_secs_f64());
            Ok(())
        })?;
        let lines = costs.into_iter().zip(times).enumerate().map(|(number, (cost, times))| {
            let layer = layers(&cost, &layer);
            Line::new(number, cost, median(times), roofs, layer)
        });
        let lines: Vec<Line> = lines.collect();
        Ok(Profile {
            sum: lines.iter().map(|line| line.seconds).sum(),
            lines,
            step: median(steps),
            rows,
            flops: step.plan().flops(),
            arena: step.plan().arena_bytes(),
        })
    }
}

/// Calls `f` five times, and on until the time is over, but not for ever.
fn repeat(time: Duration, mut f: impl FnMut() -> Result<(), RunError>) -> Result<(), RunError> {
    let start = Instant::now();
    for call in 0..20_000 {
        if call >= 5 && start.elapsed() > time {
            break;
        }
        f()?;
    }
    Ok(())
}

/// Never 0: a clock has a grain.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map_or(1e-9, |time| time.max(1e-9))
}

/// What an optimizer calls all that it trains: it says more than what it remembers beside them.
const PARAMETERS: &str = "parameters";

/// The layers that an instruction is about, in a few words.
fn layers(cost: &Cost, layer: &impl Fn(&str) -> String) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in cost.variables.iter().map(|variable| layer(variable)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let main = names.iter().find(|name| *name == PARAMETERS);
    let text = match (&names[..], main) {
        ([], _) => String::new(),
        ([one], _) | (_, Some(one)) => one.clone(),
        ([first, others @ ..], None) => format!("{first} and {} more", others.len()),
    };
    match cost.role {
        VariableRole::Read => text,
        VariableRole::Gradient => format!("{text}, gradient"),
        VariableRole::Update => format!("{text}, update"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roofs() -> Roofs {
        Roofs { flops: Some(1e11), bandwidths: vec![(1 << 10, 4e11), (1 << 20, 1e11)] }
    }

    #[test]
    fn bandwidths_lie_between_their_neighbours() {
        let roofs = roofs();
        assert_eq!(roofs.bandwidth(1), 4e11);
        assert_eq!(roofs.bandwidth(1 << 30), 1e11);
        assert!((roofs.bandwidth(1 << 15) / 2e11 - 1.0).abs() < 1e-12);
        assert!((roofs.bandwidth(1 << 20) / 1e11 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_nearer_roof_is_the_one_that_binds() {
        let roofs = roofs();
        assert_eq!(roofs.over(1_000_000, 1024), Roof { seconds: 1e-5, compute: true });
        let roof = roofs.over(1000, 1 << 20);
        assert!(!roof.compute && (roof.seconds - (1 << 20) as f64 / 1e11).abs() < 1e-12);
        let unknown = Roofs { flops: None, ..roofs };
        assert!(!unknown.over(1 << 40, 1024).compute);
    }

    #[test]
    fn layers_are_named_in_a_few_words() {
        use VariableRole::{Gradient, Read, Update};
        let cost = |variables: &[&str], role| Cost {
            name: "gemm",
            detail: String::new(),
            flops: 0,
            bytes: 0,
            variables: variables.iter().map(|name| name.to_string()).collect(),
            role,
        };
        let layer = |name: &str| name.split('.').next().unwrap_or_default().to_string();
        let text = |variables: &[&str], role| layers(&cost(variables, role), &layer);
        assert_eq!(text(&[], Read), "");
        assert_eq!(text(&["fc1.weight", "fc1.bias"], Read), "fc1");
        assert_eq!(text(&["fc1.weight"], Gradient), "fc1, gradient");
        assert_eq!(text(&["fc1.weight", "fc2.weight", "fc3.bias"], Read), "fc1 and 2 more");
        assert_eq!(text(&["exp_avg", "parameters"], Update), "parameters, update");
    }
}
