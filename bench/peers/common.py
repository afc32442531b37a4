"""What the peers' programs share: timing by the rules of bench/src/harness.rs, the data, the list of
what is measured, and the processes that are timed from their start.

A peer is an object with
    name            framework and version
    product(n)      a call that multiplies two matrices of n rows and columns
    trainer(w)      (step, sync): a call that trains workload w for one step, one that waits for it
    user(w, n)      a call that runs the network of w on a batch of n and has its result
and as much of these as it can do; what it cannot do says SKIP. BENCH_FAST=1 is for a quick look,
BENCH_THREADS the number of threads (all processors if not set).
"""
import os
import statistics
import subprocess
import sys
import time

FAST = "BENCH_FAST" in os.environ
THREADS = int(os.environ.get("BENCH_THREADS", os.cpu_count()))
DONE = "FIRST_STEP_DONE"

# -------------------------------------------------------------------------------- the workloads

BATCH = dict(B=64, C=64, D=128, E=32, F=16, G=64, H=128, I=32)
CLASSES = dict(B=10, C=10, D=10, E=2, F=2, G=10)
WORDS = 10_000
TOKENS = dict(E=100, F=128)
IMAGES = dict(C=(1, 28, 28), D=(1, 28, 28), G=(3, 32, 32))
SIZES = (64, 256, 512, 1024, 2048, 4096)
SIZES_OF_ONE = (64, 256, 512, 1024)
# Widths of the dense networks; convolutions, dense part and border of the convolutional ones.
DENSE = dict(B=(784, 128, 10), H=(784, 256, 64, 256, 784), I=(32, 64, 64, 1))
# The stages of ResNet-18 as (channels in, channels out, stride), a block each.
BLOCKS = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
          (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1))
# What is measured in use: metric, batch.
USES = dict(
    B=[("infer b1 us", 1)],
    C=[("infer b1 us", 1), ("infer b256 samples/s", 256)],
    E=[("infer b1 us", 1)],
    F=[("infer b1 ms", 1)],
    G=[("infer b1 ms", 1), ("infer b64 samples/s", 64)],
)


def batches(workload, n, channels_last=False, count=4):
    """Batches (x, y) of n examples as numpy arrays: float32, and int64 for tokens and classes."""
    import numpy as np
    random = np.random.default_rng(1)
    for _ in range(count):
        if workload in TOKENS:
            x = random.integers(0, WORDS, (n, TOKENS[workload]))
        elif workload in IMAGES:
            x = random.standard_normal((n, *IMAGES[workload]), dtype=np.float32)
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if channels_last else x
        elif workload == "H":
            x = random.random((n, 784), dtype=np.float32)
        else:
            x = random.standard_normal((n, DENSE[workload][0]), dtype=np.float32)
        if workload in CLASSES:
            yield x, random.integers(0, CLASSES[workload], n)
        else:
            yield x, x if workload == "H" else random.standard_normal((n, 1), dtype=np.float32)


class Cycle:
    """Batches in memory, one after the other and again from the start."""

    def __init__(self, items):
        self.items, self.next = list(items), 0

    def __call__(self):
        self.next = (self.next + 1) % len(self.items)
        return self.items[self.next]


# --------------------------------------------------------------------------------------- timing


def middle(times):
    """Median, and (longest - shortest) / median."""
    median = statistics.median(times)
    return median, (max(times) - min(times)) / median


def machine_busy():
    """Processor time of all processes in seconds: everything but waiting."""
    with open("/proc/stat") as file:
        ticks = [int(t) for t in file.readline().split()[1:]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6, 7)) / 100


def bench(call, sync=lambda: None):
    """Median seconds of a call, and the spread. Repeats that others disturbed are done again."""
    repeats, target, warm = (3, 0.05, 1) if FAST else (7, 0.4, 3)

    def seconds(calls):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        sync()
        return (time.perf_counter() - start) / calls

    for _ in range(warm):
        call()
    sync()
    one = seconds(max(1, int(0.1 / max(seconds(1), 1e-7))))
    calls = max(1, round(target / one))
    times, redos = [], 20
    while len(times) < repeats:
        everyone, own, start = machine_busy(), time.process_time(), time.perf_counter()
        each = seconds(calls)
        others = (machine_busy() - everyone) - (time.process_time() - own)
        share = others / (os.cpu_count() * (time.perf_counter() - start))
        if not FAST and redos > 0 and share > 0.08:
            redos -= 1
            time.sleep(0.5)
            continue
        times.append(each)
    if redos < 20:
        print(f"noise: {20 - redos} repeats done again", file=sys.stderr)
    return middle(times)


def peak_rss_mb():
    """Of this process alone: getrusage would count the process that started it too."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


# -------------------------------------------------------------------------------------- results


class Report:
    """Prints RESULT, framework, mode, workload, metric, value, spread, between tabs."""

    def __init__(self, name, mode, threads=THREADS):
        self.head = [name, f"{mode} {threads}T"]

    def emit(self, workload, metric, value, spread=0.0):
        print("RESULT", *self.head, workload, metric, f"{value:.6f}", f"{spread:.3f}",
              sep="\t", flush=True)

    def timed(self, workload, metric, examples, timing):
        """A time in the unit that the metric names, or the examples a second."""
        seconds, spread = timing
        units = dict(us=1e6, ms=1e3)
        unit = metric.split("/")[0].split()[-1]
        value = seconds * units[unit] if unit in units else examples / seconds
        self.emit(workload, metric, value, spread)

    def skip(self, workload, why):
        why = " ".join(str(why).split())[:200]
        print("SKIP", *self.head, workload, why, sep="\t", file=sys.stderr, flush=True)


def alone(mode, word):
    """Starts this program for one word; gives its RESULT lines and the seconds to its last line."""
    start, seconds, results = time.perf_counter(), 0.0, []
    command = [sys.executable, sys.argv[0], mode, word]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            seconds = time.perf_counter() - start
            results.append(line.rstrip("\n"))
    if child.returncode or not results:
        raise SystemExit(f"{word} failed")
    return results, seconds


def network(peer, report, workload):
    if hasattr(peer, "trainer"):
        timing = bench(*peer.trainer(workload))
        report.timed(workload, "train samples/s", BATCH[workload], timing)
        if workload in "BI":
            report.timed(workload, "train us/step", BATCH[workload], timing)
    for metric, n in USES.get(workload, []):
        report.timed(workload, metric, n, bench(peer.user(workload, n)))


def products(peer, report, workload, sizes):
    for n in sizes:
        seconds, spread = bench(*peer.product(n))
        report.emit(workload, f"n{n} GFLOP/s", 2 * n**3 / seconds / 1e9, spread)


def memory(peer, report):
    """Peak memory of training C: what else a process has done would count too."""
    step, sync = peer.trainer("C")
    before = peak_rss_mb()
    for _ in range(50):
        step()
    sync()
    report.emit("C", "peak RSS MB", peak_rss_mb())
    report.emit("C", "RSS before train MB", before)


def main(usage, parts, load):
    """Runs the words of the command line: MODE WORD... .

    parts    what a mode may be put together from, with `+`
    load     makes the peer from the set of the mode's parts; its imports are part of `cold`
    """
    mode, words = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if not words or not set(mode.split("+")) <= set(parts):
        raise SystemExit(usage)
    peer = None
    for word in words:
        # These two start processes of their own, and nothing is loaded for that.
        if word == "rss":
            print(*alone(mode, "rss-alone")[0], sep="\n", flush=True)
            continue
        if word == "cold":
            runs = [alone(mode, "cold-alone") for _ in range(4 if FAST else 8)]
            # The first is not counted: it reads the program from the disk.
            name = runs[0][0][-1].split("\t")[1]
            seconds, spread = middle([seconds for _, seconds in runs[1:]])
            Report(name, mode).emit("B", "cold start s", seconds, spread)
            continue
        peer = peer or load(set(mode.split("+")))
        report = Report(peer.name, mode)
        try:
            run(peer, report, word, mode, usage)
        except Exception as error:
            # One workload that a version of a peer cannot do is no reason to lose the others.
            report.skip(word, repr(error))
            if FAST:
                raise


def run(peer, report, word, mode, usage):
    if word == "A":
        products(peer, report, "A", SIZES)
    elif word == "A1":
        peer.one_thread()
        products(peer, Report(peer.name, mode, threads=1), "A1", SIZES_OF_ONE)
        peer.all_threads()
    elif word == "rss-alone":
        memory(peer, report)
    elif word == "cold-alone":
        step, sync = peer.trainer("B")
        step()
        sync()
        print(DONE, peer.name, sep="\t", flush=True)
    elif word in BATCH:
        network(peer, report, word)
    else:
        raise SystemExit(f"there is no workload `{word}`\n{usage}")
