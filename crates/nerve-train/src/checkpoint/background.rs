//! Work beside the training: writing files on a thread of its own.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Does jobs on another thread, so that the training need not wait for the disk.
///
/// Each job has a key, and a job takes the place of one of the same key that has not begun: if the
/// disk is slow, the newest is what is written. After a job those of its key rest for a hundred times
/// as long as it took, so that however short the epochs are, no more than a hundredth of the time goes
/// into saving.
///
/// A job that fails says why; the messages wait in [`problems`](Background::problems) until somebody
/// asks.
pub struct Background {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() -> Result<(), String> + Send>;
type Tick = Box<dyn FnMut() -> Result<(), String> + Send>;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<(&'static str, Job)>,
    /// When those of a key may begin again.
    rest: HashMap<&'static str, Instant>,
    /// What is done again and again.
    tick: Option<(Duration, Instant, Tick)>,
    /// How many wait until nothing is left to do; then nothing rests.
    waiting: usize,
    busy: bool,
    closing: bool,
    problems: Vec<String>,
}

/// Of the time of a thread at most one part in so many.
const SHARE: u32 = 100;

impl Default for Background {
    fn default() -> Self {
        Background::new()
    }
}

impl Background {
    /// Starts the thread.
    pub fn new() -> Background {
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("nerve-save".into());
        // Without a thread the jobs are done where they are given.
        let thread = thread.spawn(move || work(&own)).ok();
        Background { shared, thread }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this on the other thread, in the place of what has the same key and has not begun.
    pub fn submit(
        &self,
        key: &'static str,
        job: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        let mut queue = self.queue();
        if self.thread.is_none() {
            let result = job();
            queue.problems.extend(result.err());
            return;
        }
        queue.jobs.retain(|(known, _)| *known != key);
        queue.jobs.push((key, Box::new(job)));
        self.shared.changed.notify_all();
    }

    /// Whether a job of this key waits to begin.
    pub fn waits(&self, key: &str) -> bool {
        self.queue().jobs.iter().any(|(known, _)| *known == key)
    }

    /// Does this again and again, with so much time between, between the jobs.
    pub fn every(
        &self,
        pause: Duration,
        tick: impl FnMut() -> Result<(), String> + Send + 'static,
    ) {
        let at = Instant::now().checked_add(pause);
        self.queue().tick = at.map(|at| (pause, at, Box::new(tick) as Tick));
        self.shared.changed.notify_all();
    }

    /// Waits until all is done, however short ago the last job of its key was.
    pub fn flush(&self) {
        let mut queue = self.queue();
        queue.waiting += 1;
        self.shared.changed.notify_all();
        while self.thread.is_some() && (queue.busy || !queue.jobs.is_empty()) {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting -= 1;
    }

    /// What went wrong since this was asked last.
    pub fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.queue().problems)
    }
}

impl Drop for Background {
    /// Finishes what was given.
    fn drop(&mut self) {
        self.queue().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is next.
enum Next {
    Job(&'static str, Job),
    Tick(Duration, Tick),
    Wait(Option<Duration>),
    End,
}

fn next(queue: &mut Queue) -> Next {
    let now = Instant::now();
    let hurry = queue.closing || queue.waiting > 0;
    let due = |queue: &Queue, key| {
        let rest = queue.rest.get(key).map_or(Duration::ZERO, |end| end.duration_since(now));
        if hurry { Duration::ZERO } else { rest }
    };
    if let Some(at) = queue.jobs.iter().position(|(key, _)| due(queue, key).is_zero()) {
        let (key, job) = queue.jobs.remove(at);
        return Next::Job(key, job);
    }
    if queue.closing {
        return Next::End;
    }
    if let Some((pause, at, tick)) = queue.tick.take() {
        if at <= now {
            return Next::Tick(pause, tick);
        }
        queue.tick = Some((pause, at, tick));
    }
    let jobs = queue.jobs.iter().map(|(key, _)| due(queue, key));
    let tick = queue.tick.iter().map(|(_, at, _)| at.duration_since(now));
    Next::Wait(jobs.chain(tick).min())
}

fn work(shared: &Shared) {
    let lock = || shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
    let mut queue = lock();
    loop {
        let begun = Instant::now();
        match next(&mut queue) {
            Next::Job(key, job) => {
                queue.busy = true;
                drop(queue);
                let result = job();
                queue = lock();
                let end = Instant::now();
                queue.rest.insert(key, end + (end - begun) * SHARE);
                queue.busy = false;
                queue.problems.extend(result.err());
                shared.changed.notify_all();
            }
            Next::Tick(pause, mut tick) => {
                drop(queue);
                let result = tick();
                queue = lock();
                // One that was given in the meantime has its place.
                queue.tick.get_or_insert((pause, Instant::now() + pause, tick));
                queue.problems.extend(result.err());
            }
            Next::Wait(None) => {
                queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            Next::Wait(Some(time)) => {
                let woken = shared.changed.wait_timeout(queue, time);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            Next::End => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;

    #[test]
    fn the_newest_of_a_key_is_done_and_all_before_the_end() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let (go, wait) = channel::<()>();
        let background = Background::new();
        background.submit("first", move || wait.recv().map_err(|e| e.to_string()));
        for i in 0..10 {
            let done = done.clone();
            background.submit("number", move || {
                done.lock().unwrap().push(i);
                if i == 9 { Err("nine".to_string()) } else { Ok(()) }
            });
        }
        assert!(background.waits("number") && !background.waits("other"));
        go.send(()).unwrap();
        background.flush();
        // The first number may have begun before the others came, had the thread been free.
        assert_eq!(*done.lock().unwrap(), [9]);
        assert_eq!(background.problems(), ["nine"]);
        assert!(background.problems().is_empty());
        let more = done.clone();
        background.submit("number", move || {
            more.lock().unwrap().push(10);
            Ok(())
        });
        drop(background);
        assert_eq!(*done.lock().unwrap(), [9, 10]);
    }

    #[test]
    fn something_is_done_again_and_again() {
        let count = Arc::new(AtomicU64::new(0));
        let background = Background::new();
        let (own, (tell, told)) = (count.clone(), channel());
        background.every(Duration::from_millis(1), move || {
            own.fetch_add(1, Ordering::Relaxed);
            tell.send(()).map_err(|e| e.to_string())
        });
        (0..3).for_each(|_| told.recv().unwrap());
        assert!(count.load(Ordering::Relaxed) >= 3);
    }
}
