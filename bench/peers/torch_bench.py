"""The benchmark workloads on PyTorch, timed by the rules of bench/src/harness.rs.

usage: torch_bench.py MODE WORKLOAD...
  MODE      `eager`, with `+cl` (channels-last images and filters) and `+fused` (fused optimizer)
  WORKLOAD  A A1 B C D H I rss cold

Each line of output is RESULT, framework, mode, workload, metric, value, spread, between tabs.
BENCH_FAST=1 is for a quick look, BENCH_THREADS the number of threads (all processors if not set).
"""
import os
import statistics
import subprocess
import sys
import time

FAST = "BENCH_FAST" in os.environ
THREADS = int(os.environ.get("BENCH_THREADS", os.cpu_count()))
DONE = "FIRST_STEP_DONE"
BATCH = dict(B=64, C=64, D=128, H=128, I=32)
CLASSES = 10


def emit(workload, metric, value, spread=0.0):
    import importlib.metadata
    version = importlib.metadata.version("torch")
    columns = ["RESULT", f"torch {version}", f"{MODE} {threads_now()}T", workload, metric]
    print(*columns, f"{value:.6f}", f"{spread:.3f}", sep="\t", flush=True)


def threads_now():
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else THREADS


# ------------------------------------------------------------------------------------ timing


def middle(times):
    """Median, and (longest - shortest) / median."""
    median = statistics.median(times)
    return median, (max(times) - min(times)) / median


def machine_busy():
    """Processor time of all processes in seconds: everything but waiting."""
    with open("/proc/stat") as file:
        ticks = [int(t) for t in file.readline().split()[1:]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6, 7)) / 100


def bench(call):
    """Median seconds of a call, and the spread. Repeats that others disturbed are done again."""
    repeats, target, warm = (3, 0.05, 1) if FAST else (7, 0.4, 3)

    def seconds(calls):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    for _ in range(warm):
        call()
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


# --------------------------------------------------------------------------------- workloads


def perceptron(*sizes):
    from torch import nn
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions(padding):
    from torch import nn
    layers = []
    for inputs, outputs in ((1, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
    return layers + [nn.Flatten()]


def build(workload):
    import torch
    from torch import nn
    model = {
        "B": lambda: perceptron(784, 128, CLASSES),
        "C": lambda: nn.Sequential(
            *convolutions(1), nn.Dropout(0.5), nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(512, CLASSES)),
        "D": lambda: nn.Sequential(*convolutions(0), *perceptron(64 * 5 * 5, 64, CLASSES)),
        "H": lambda: perceptron(784, 256, 64, 256, 784),
        "I": lambda: perceptron(32, 64, 64, 1),
    }[workload]()
    images = CHANNELS_LAST and workload in "CD"
    return model.to(memory_format=torch.channels_last) if images else model


class Batches:
    """Four batches in memory, one after the other and again from the start."""

    def __init__(self, workload, n):
        import torch
        generator = torch.Generator().manual_seed(1)
        self.batches, self.next = [], 0
        for _ in range(4):
            if workload == "H":
                x = torch.rand(n, 784, generator=generator)
                y = x
            elif workload == "I":
                x = torch.randn(n, 32, generator=generator)
                y = torch.randn(n, 1, generator=generator)
            else:
                shape = (n, 784) if workload == "B" else (n, 1, 28, 28)
                x = torch.randn(shape, generator=generator)
                y = torch.randint(0, CLASSES, (n,), generator=generator)
                if CHANNELS_LAST and workload in "CD":
                    x = x.to(memory_format=torch.channels_last)
            self.batches.append((x, y))

    def __call__(self):
        self.next = (self.next + 1) % len(self.batches)
        return self.batches[self.next]


def trainer(workload):
    """A function that trains for one step with the next batch and gives the loss."""
    import torch
    from torch.nn import functional
    model, batches = build(workload).train(), Batches(workload, BATCH[workload])
    fused = dict(fused=True) if FUSED else {}
    if workload == "B":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, **fused)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **fused)
    criterion = functional.mse_loss if workload in "HI" else functional.cross_entropy

    def step():
        x, y = batches()
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def user(workload, n):
    """A function that runs the network on the next batch of n."""
    import torch
    model, batches = build(workload).eval(), Batches(workload, n)

    def run():
        with torch.inference_mode():
            return model(batches()[0])

    return run


def network(workload):
    seconds, spread = bench(trainer(workload))
    emit(workload, "train samples/s", BATCH[workload] / seconds, spread)
    if workload in "BI":
        emit(workload, "train us/step", seconds * 1e6, spread)
    if workload in "BC":
        seconds, spread = bench(user(workload, 1))
        emit(workload, "infer b1 us", seconds * 1e6, spread)
    if workload == "C":
        seconds, spread = bench(user(workload, 256))
        emit(workload, "infer b256 samples/s", 256 / seconds, spread)


def products(workload, sizes):
    import torch
    for n in sizes:
        a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        seconds, spread = bench(lambda: torch.mm(a, b, out=c))
        emit(workload, f"n{n} GFLOP/s", 2 * n**3 / seconds / 1e9, spread)


def memory():
    step = trainer("C")
    before = peak_rss_mb()
    for _ in range(50):
        step()
    emit("C", "peak RSS MB", peak_rss_mb())
    emit("C", "RSS before train MB", before)


def alone(word):
    """Starts this program for one word; gives its RESULT lines and the seconds to its last line."""
    start, seconds, results = time.perf_counter(), 0.0, []
    command = [sys.executable, __file__, MODE, word]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            seconds = time.perf_counter() - start
            results.append(line.rstrip("\n"))
    if child.returncode:
        raise SystemExit(f"{word} failed")
    return results, seconds


def cold():
    """From the start of a process until it has trained B for one step; the first is not counted."""
    times = [alone("cold-alone")[1] for _ in range(4 if FAST else 8)][1:]
    emit("B", "cold start s", *middle(times))


def run(word):
    # These two start other processes, and torch is not loaded for that.
    if word == "cold":
        return cold()
    if word == "rss":
        return print(*alone("rss-alone")[0], sep="\n", flush=True)
    import torch
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    if word == "A":
        products("A", (64, 256, 512, 1024, 2048))
    elif word == "A1":
        torch.set_num_threads(1)
        products("A1", (64, 256, 512, 1024))
        torch.set_num_threads(THREADS)
    elif word == "rss-alone":
        memory()
    elif word == "cold-alone":
        trainer("B")().item()
        print(DONE, flush=True)
    elif word in BATCH:
        network(word)
    else:
        raise SystemExit(f"there is no workload `{word}`\n{__doc__}")


if __name__ == "__main__":
    if len(sys.argv) < 3 or set(sys.argv[1].split("+")) - {"eager", "cl", "fused"}:
        raise SystemExit(__doc__)
    MODE = sys.argv[1]
    CHANNELS_LAST, FUSED = "cl" in MODE.split("+"), "fused" in MODE.split("+")
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    for word in sys.argv[2:]:
        run(word)
