//! The threads that replay programs: woken once a replay, spinning at barriers in between.
//!
//! Handing work to a sleeping thread takes about 50 µs, to a spinning one 0.2 µs, and a small
//! training step takes less than 50 µs in all. So workers spin for a while after each replay
//! (`SPIN`) and sleep only when no more work has come.

mod balance;

use balance::Remaining;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long an idle worker spins before it sleeps.
const SPIN: Duration = Duration::from_micros(200);

/// Most threads that [`set_threads`] accepts.
pub const MAX_THREADS: usize = 1024;

/// What the threads do together: each calls it once with its own number and the team.
type Job<'a> = dyn Fn(&Team<'_>) + Sync + 'a;

/// One thread's place in the team that runs a job.
pub struct Team<'a> {
    /// This thread: `0..threads`.
    pub index: usize,
    /// How many take part.
    pub threads: usize,
    barrier: &'a Barrier,
    /// What is left of each thread's share.
    shares: &'a [Remaining],
    /// How often chunks were balanced.
    turn: Cell<u32>,
}

impl Team<'_> {
    /// Waits until all threads of the team have come here.
    #[inline]
    pub fn wait(&self) {
        if self.threads > 1 {
            self.barrier.wait(self.index);
        }
    }

    /// Calls `run` with some of `chunks` chunks, as the other threads do with the others: with this
    /// thread's share, which is the same for the same numbers; and if they are `balanced`, with what
    /// is still left of the others' when that is done. Then `run` is called several times.
    #[inline]
    pub fn share(
        &self,
        chunks: usize,
        balanced: bool,
        mut run: impl FnMut(std::ops::Range<usize>),
    ) {
        if balanced && chunks > self.threads && chunks <= balance::MOST && self.threads > 1 {
            self.turn.set(self.turn.get().wrapping_add(1));
            balance::balance(self.shares, self.index, self.turn.get(), chunks, run);
        } else {
            run(balance::share(chunks, self.index, self.threads));
        }
    }
}

/// Most rounds of a barrier: the logarithm of [`MAX_THREADS`].
const ROUNDS: usize = MAX_THREADS.ilog2() as usize;

/// How far one thread has come: the number of the barrier, for each of its rounds. Nobody else
/// writes there, and it lies on a cache line of its own (two, since these are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Place([AtomicUsize; ROUNDS]);

/// A barrier that spins, without a system call while all threads are running. In each round a thread
/// says how far it has come and waits for another one, at twice the distance of the round before;
/// after the last one it has heard of all (Hensgen, Finkel & Manber, "Two algorithms for barrier
/// synchronization", 1988). Between two threads that is one message each way at the same time.
struct Barrier {
    places: Vec<Place>,
}

impl Barrier {
    fn new(threads: usize) -> Self {
        Barrier { places: (0..threads).map(|_| Place::default()).collect() }
    }

    fn wait(&self, index: usize) {
        let threads = self.places.len();
        let mine = &self.places[index].0;
        let number = mine[0].load(Ordering::Relaxed).wrapping_add(1);
        let (mut distance, mut round) = (1, 0);
        while distance < threads {
            mine[round].store(number, Ordering::Release);
            let other = &self.places[(index + threads - distance) % threads].0[round];
            // The other one may be at the next barrier already, no further.
            spin_until(|| other.load(Ordering::Acquire).wrapping_sub(number) <= 1);
            (distance, round) = (2 * distance, round + 1);
        }
    }
}

/// Spins, and after a few thousand rounds lets others have the processor in between: the thread
/// that is waited for may itself be waiting for this core.
fn spin_until(done: impl Fn() -> bool) {
    let mut rounds = 0u32;
    while !done() {
        rounds = rounds.saturating_add(1);
        if rounds < 4096 {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// What the main thread and the workers share.
struct Shared {
    /// Counts the jobs; a change is the signal to start.
    epoch: AtomicUsize,
    /// Points at the fat pointer of the current job; valid while the epoch's job runs.
    job: AtomicPtr<&'static Job<'static>>,
    /// Workers that have finished the current job.
    finished: AtomicUsize,
    barrier: Barrier,
    shares: Vec<Remaining>,
    /// How often the jobs before have balanced chunks.
    turn: AtomicU32,
    quit: AtomicBool,
}

impl Shared {
    fn new(threads: usize) -> Self {
        Shared {
            epoch: AtomicUsize::default(),
            job: AtomicPtr::default(),
            finished: AtomicUsize::default(),
            barrier: Barrier::new(threads),
            shares: (0..threads).map(|_| Remaining::default()).collect(),
            turn: AtomicU32::default(),
            quit: AtomicBool::default(),
        }
    }

    /// The place of a thread in the job that has just begun.
    fn team(&self, index: usize, threads: usize) -> Team<'_> {
        let turn = Cell::new(self.turn.load(Ordering::Relaxed));
        Team { index, threads, barrier: &self.barrier, shares: &self.shares, turn }
    }
}

struct Worker {
    thread: Thread,
    asleep: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::new(threads));
        let mut pool = Pool { shared, workers: Vec::new() };
        for index in 1..threads {
            match pool.spawn(index, threads) {
                Ok(worker) => pool.workers.push(worker),
                // Fewer threads give the same results; a run that starts is worth more than one
                // that insists.
                Err(error) => {
                    let all = pool.workers.len() + 1;
                    eprintln!("nerve: no more threads ({error}): using {all} instead of {threads}");
                    return Pool::new(all);
                }
            }
        }
        pool
    }

    fn spawn(&self, index: usize, threads: usize) -> std::io::Result<Worker> {
        let asleep = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (self.shared.clone(), asleep.clone());
        let handle = thread::Builder::new()
            .name(format!("nerve-{index}"))
            .spawn(move || work(&shared, &flag, index, threads))?;
        Ok(Worker { thread: handle.thread().clone(), asleep, handle: Some(handle) })
    }

    fn run(&self, job: &Job<'_>) {
        let threads = self.workers.len() + 1;
        let shared = &*self.shared;
        // SAFETY: the workers use the reference only until they count themselves in `finished`,
        // and this function waits for all of them before it returns.
        let mut job: &'static Job<'static> = unsafe { std::mem::transmute(job) };
        shared.finished.store(0, Ordering::Relaxed);
        shared.job.store(&mut job, Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in &self.workers {
            if worker.asleep.load(Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        let team = shared.team(0, threads);
        or_abort(|| job(&team));
        spin_until(|| shared.finished.load(Ordering::Acquire) == threads - 1);
        shared.turn.store(team.turn.get(), Ordering::Relaxed);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker cannot panic: `or_abort` has ended the process before.
                let _ = handle.join();
            }
        }
    }
}

/// The life of a worker.
fn work(shared: &Shared, asleep: &AtomicBool, index: usize, threads: usize) {
    let mut epoch = 0;
    let news =
        |epoch| shared.epoch.load(Ordering::SeqCst) != epoch || shared.quit.load(Ordering::SeqCst);
    loop {
        let idle = Instant::now();
        let mut rounds = 0u32;
        while !news(epoch) {
            std::hint::spin_loop();
            rounds = rounds.wrapping_add(1);
            // Reading the clock takes longer than a look at the epoch.
            if rounds.is_multiple_of(64) && idle.elapsed() > SPIN {
                asleep.store(true, Ordering::SeqCst);
                // Asked once more after the flag is up: whoever starts a job from now on sees it.
                while !news(epoch) {
                    thread::park();
                }
                asleep.store(false, Ordering::SeqCst);
            }
        }
        if shared.quit.load(Ordering::SeqCst) {
            return;
        }
        epoch = shared.epoch.load(Ordering::SeqCst);
        // SAFETY: the epoch has changed, so the pointer was stored before and `Pool::run` keeps
        // the job alive until this worker has counted itself.
        let job = unsafe { *shared.job.load(Ordering::Acquire) };
        or_abort(|| job(&shared.team(index, threads)));
        shared.finished.fetch_add(1, Ordering::Release);
    }
}

/// Runs `f`; a panic inside would leave the others waiting at a barrier for ever, so it ends the
/// process (its message has been printed by then).
fn or_abort(f: impl FnOnce()) {
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            eprintln!("nerve: a kernel panicked; this is a bug of nerve, please report it");
            std::process::abort();
        }
    }
    let guard = Abort;
    f();
    std::mem::forget(guard);
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
static POOL: OnceLock<Mutex<Option<Pool>>> = OnceLock::new();

/// Number of threads that replays use: what [`set_threads`] said, else the environment variable
/// `NERVE_THREADS`, else the number of processors this process may use.
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let found = from_environment()
                .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
                .min(MAX_THREADS);
            THREADS.store(found, Ordering::Relaxed);
            found
        }
        n => n,
    }
}

fn from_environment() -> Option<usize> {
    let text = std::env::var("NERVE_THREADS").ok()?;
    let n = text.parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
    assert!(n.is_some(), "NERVE_THREADS={text:?}: expected a number from 1 to {MAX_THREADS}");
    n
}

/// Sets the number of threads. Results do not depend on it, only the time they take.
///
/// # Panics
/// If `n` is not in `1..=MAX_THREADS`.
pub fn set_threads(n: usize) {
    assert!((1..=MAX_THREADS).contains(&n), "{n} threads: expected 1 to {MAX_THREADS}");
    THREADS.store(n, Ordering::Relaxed);
}

/// Calls `job` on every thread of the pool at once, and returns when all have finished.
///
/// If another replay holds the pool, the job runs on this thread alone: it gives the same bits.
pub(crate) fn run(job: &Job<'_>) {
    let wanted = threads();
    let alone = Shared::new(0);
    let alone = alone.team(0, 1);
    if wanted == 1 {
        return job(&alone);
    }
    let slot = POOL.get_or_init(Mutex::default);
    let mut slot = match slot.try_lock() {
        Ok(slot) => slot,
        Err(std::sync::TryLockError::Poisoned(slot)) => PoisonError::into_inner(slot),
        Err(std::sync::TryLockError::WouldBlock) => return job(&alone),
    };
    if slot.as_ref().is_none_or(|pool| pool.workers.len() + 1 != wanted) {
        let pool = Pool::new(wanted);
        // Fewer may have started; remember how many, so that the next replay does not try again.
        THREADS.store(pool.workers.len() + 1, Ordering::Relaxed);
        *slot = Some(pool);
    }
    match slot.as_ref() {
        Some(pool) if !pool.workers.is_empty() => pool.run(job),
        _ => job(&alone),
    }
}

/// Seconds that all threads take to wait for each other once, the best of some timings: what sharing
/// an instruction costs. Virtual machines can have two answers, tenfold apart, as their processors
/// come to lie beside each other or not.
pub fn hand_off() -> f64 {
    const WAITS: usize = 200;
    let best = Mutex::new(f64::INFINITY);
    for _ in 0..20 {
        run(&|team: &Team<'_>| {
            team.wait();
            let start = Instant::now();
            (0..WAITS).for_each(|_| team.wait());
            let each = start.elapsed().as_secs_f64() / WAITS as f64;
            if team.index == 0 {
                let mut best = best.lock().unwrap_or_else(PoisonError::into_inner);
                *best = best.min(each);
            }
        });
    }
    best.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_and_barriers_hold() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for round in 0..200 {
                let before = AtomicUsize::new(0);
                let wrong = AtomicUsize::new(0);
                pool.run(&|team: &Team<'_>| {
                    before.fetch_add(1, Ordering::SeqCst);
                    team.wait();
                    if before.load(Ordering::SeqCst) != threads {
                        wrong.fetch_add(1, Ordering::SeqCst);
                    }
                    team.wait();
                });
                assert_eq!((before.into_inner(), wrong.into_inner()), (threads, 0), "{round}");
            }
            // Long enough for the workers to fall asleep, then once more.
            thread::sleep(SPIN * 20);
            let woken = AtomicUsize::new(0);
            pool.run(&|_: &Team<'_>| {
                woken.fetch_add(1, Ordering::SeqCst);
            });
            assert_eq!(woken.into_inner(), threads);
        }
    }
}
