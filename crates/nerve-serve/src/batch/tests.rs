use super::*;
use std::sync::mpsc;

/// Adds one to each value; fails on 13, panics on 666, and says how many rows came together.
struct Adder {
    most: usize,
    seen: mpsc::Sender<usize>,
    gate: Option<mpsc::Receiver<()>>,
}

impl Runner for Adder {
    fn most_rows(&self) -> usize {
        self.most
    }

    fn run(&mut self, batch: &[&Examples], _: &dyn Fn() -> bool) -> Result<Vec<Vec<f32>>, String> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        let all: Vec<f32> = batch
            .iter()
            .flat_map(|examples| match &examples.fields[0] {
                Values::F32(values) => values.clone(),
                _ => Vec::new(),
            })
            .collect();
        if all.contains(&13.0) {
            return Err("unlucky".into());
        }
        assert!(!all.contains(&666.0), "a test panics");
        let _ = self.seen.send(batch.iter().map(|examples| examples.rows).sum());
        Ok(vec![all.iter().map(|x| x + 1.0).collect()])
    }
}

fn examples(values: &[f32]) -> Examples {
    Examples { rows: values.len(), fields: vec![values.to_vec().into()] }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

struct Setup {
    batcher: Batcher,
    seen: mpsc::Receiver<usize>,
    open: mpsc::Sender<()>,
    watch: Arc<Watch>,
}

fn setup(batching: Batching) -> Setup {
    let (seen, told) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let watch = Arc::new(Watch::default());
    let adder = Adder { most: 8, seen, gate: Some(gate) };
    let batcher = Batcher::start(Box::new(adder), batching, watch.clone()).unwrap();
    Setup { batcher, seen: told, open, watch }
}

fn submit(
    batcher: &Batcher,
    examples: Examples,
    until: Instant,
) -> Result<Reply<Examples>, Failed> {
    let reply = batcher.submit(examples, until);
    batcher.wake();
    reply
}

fn values(answer: Result<Done, Failed>) -> Vec<f32> {
    answer.unwrap().outputs.remove(0)
}

#[test]
fn what_is_handed_over_before_the_thread_is_woken_is_run_together() {
    let Setup { batcher, seen, open, .. } = setup(Batching::default());
    while !batcher.shared.locked().asleep {
        std::thread::yield_now();
    }
    let hand_over = |_| batcher.submit(examples(&[1.0]), later()).unwrap();
    let waiting: Vec<_> = (0..3).map(hand_over).collect();
    batcher.wake();
    batcher.wake();
    open.send(()).unwrap();
    for reply in waiting {
        assert_eq!(values(reply.blocking_recv().unwrap()), [2.0]);
    }
    assert_eq!(seen.recv().unwrap(), 3);
}

#[test]
fn what_waits_while_a_batch_runs_is_run_together_and_each_gets_its_own() {
    let Setup { batcher, seen, open, .. } = setup(Batching::default());
    let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
    while !batcher.shared.locked().jobs.is_empty() {
        std::thread::yield_now();
    }
    let asked: Vec<_> = (1..=3)
        .map(|i| submit(&batcher, examples(&[10.0 * i as f32, 1.0]), later()).unwrap())
        .collect();
    (0..3).for_each(|_| open.send(()).unwrap());
    assert_eq!(values(first.blocking_recv().unwrap()), [1.0]);
    for (i, answer) in asked.into_iter().enumerate() {
        assert_eq!(values(answer.blocking_recv().unwrap()), [10.0 * (i + 1) as f32 + 1.0, 2.0]);
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [1, 6]);
}

#[test]
fn a_batch_has_no_more_rows_than_it_may() {
    let Setup { batcher, seen, open, .. } = setup(Batching { most_rows: 5, ..Batching::default() });
    assert_eq!(batcher.most_rows(), 5);
    let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
    while !batcher.shared.locked().jobs.is_empty() {
        std::thread::yield_now();
    }
    let asked: Vec<_> =
        (0..4).map(|_| submit(&batcher, examples(&[1.0, 2.0]), later()).unwrap()).collect();
    (0..3).for_each(|_| open.send(()).unwrap());
    drop(first);
    asked
        .into_iter()
        .for_each(|answer| assert_eq!(values(answer.blocking_recv().unwrap()), [2.0, 3.0]));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [1, 4, 4]);
}

#[test]
fn the_oldest_waits_for_others_until_the_batch_is_full() {
    let delay = Duration::from_secs(20);
    let Setup { batcher, seen, open, .. } =
        setup(Batching { most_rows: 4, delay, ..Batching::default() });
    open.send(()).unwrap();
    let begun = Instant::now();
    let asked: Vec<_> =
        (0..2).map(|_| submit(&batcher, examples(&[1.0, 2.0]), later()).unwrap()).collect();
    asked
        .into_iter()
        .for_each(|answer| assert_eq!(values(answer.blocking_recv().unwrap()), [2.0, 3.0]));
    assert!(begun.elapsed() < delay);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [4]);
}

#[test]
fn h33_a_full_queue_turns_away_at_once() {
    let Setup { batcher, open, .. } = setup(Batching { queue: 2, ..Batching::default() });
    let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
    while !batcher.shared.locked().jobs.is_empty() {
        std::thread::yield_now();
    }
    let waiting: Vec<_> =
        (0..2).map(|_| submit(&batcher, examples(&[0.0]), later()).unwrap()).collect();
    assert_eq!(submit(&batcher, examples(&[0.0]), later()).unwrap_err(), Failed::Full);
    assert!(batcher.is_full());
    (0..2).for_each(|_| open.send(()).unwrap());
    assert_eq!(values(first.blocking_recv().unwrap()), [1.0]);
    waiting.into_iter().for_each(|answer| assert!(answer.blocking_recv().unwrap().is_ok()));
}

#[test]
fn h35_what_is_late_is_not_run() {
    let Setup { batcher, seen, open, .. } = setup(Batching::default());
    let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
    while !batcher.shared.locked().jobs.is_empty() {
        std::thread::yield_now();
    }
    let late = submit(&batcher, examples(&[5.0]), Instant::now()).unwrap();
    open.send(()).unwrap();
    assert!(first.blocking_recv().unwrap().is_ok());
    assert_eq!(late.blocking_recv().unwrap().unwrap_err(), Failed::Late);
    assert_eq!(seen.try_iter().count(), 1);
}

#[test]
fn h32_what_nobody_waits_for_is_not_run() {
    let Setup { batcher, seen, open, watch } = setup(Batching::default());
    let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
    while !batcher.shared.locked().jobs.is_empty() {
        std::thread::yield_now();
    }
    drop(submit(&batcher, examples(&[5.0]), later()).unwrap());
    open.send(()).unwrap();
    assert!(first.blocking_recv().unwrap().is_ok());
    while watch.waiting.get() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(seen.try_iter().count(), 1);
}

#[test]
fn h38_one_bad_example_fails_alone() {
    for bad in [13.0, 666.0] {
        let Setup { batcher, open, watch, .. } = setup(Batching::default());
        let first = submit(&batcher, examples(&[0.0]), later()).unwrap();
        while !batcher.shared.locked().jobs.is_empty() {
            std::thread::yield_now();
        }
        let asked: Vec<_> = [1.0, bad, 2.0]
            .map(|x| submit(&batcher, examples(&[x]), later()).unwrap())
            .into_iter()
            .collect();
        (0..8).for_each(|_| open.send(()).unwrap());
        let mut answers = asked.into_iter().map(|answer| answer.blocking_recv().unwrap());
        assert_eq!(values(answers.next().unwrap()), [2.0]);
        assert_eq!(answers.next().unwrap().unwrap_err(), Failed::Fault);
        assert_eq!(values(answers.next().unwrap()), [3.0]);
        assert!(first.blocking_recv().unwrap().is_ok());
        // Together, and then alone.
        assert_eq!(watch.panics.get(), if bad == 666.0 { 2 } else { 0 });
    }
}

#[test]
fn what_waits_is_answered_when_the_model_is_replaced() {
    let Setup { batcher, open, .. } = setup(Batching::default());
    let asked: Vec<_> =
        (0..3).map(|_| submit(&batcher, examples(&[1.0]), later()).unwrap()).collect();
    drop(batcher);
    // Closed before it is asked: whatever runs is let through.
    drop(open);
    asked.into_iter().for_each(|answer| assert_eq!(values(answer.blocking_recv().unwrap()), [2.0]));
}
