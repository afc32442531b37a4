"""Optuna's TPESampler on the functions of test_functions.rs: the median of the best value after 60 trials.

    pip install optuna==5.0.0
    python test_functions.py [SEEDS]
"""
import math
import sys
import time
import warnings

import numpy as np
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")


def cube(n, low, high):
    return lambda t: np.array([t.suggest_float(f"x{i}", low, high) for i in range(n)])


def branin(v):
    x, y = v
    a = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P = np.array([
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
])


def hartmann6(x):
    return -float(ALPHA @ np.exp(-(A * (x - P) ** 2).sum(1)))


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def ackley(x):
    return 20 + math.e - 20 * math.exp(-0.2 * math.sqrt((x**2).mean())) - math.exp(np.cos(2 * math.pi * x).mean())


def rastrigin(x):
    return float((10 + x**2 - 10 * np.cos(2 * math.pi * x)).sum())


def network_space(t):
    return (
        t.suggest_float("rate", 1e-5, 1.0, log=True),
        t.suggest_int("units", 8, 1024, log=True),
        t.suggest_int("layers", 1, 6),
        t.suggest_float("drop", 0.0, 0.6, step=0.05),
        t.suggest_categorical("optimizer", ["sgd", "adam", "rmsprop"]),
        t.suggest_categorical("act", ["relu", "gelu", "tanh", "sigmoid"]),
    )


def network(v):
    rate, units, layers, drop, optimizer, act = v
    shift, base = {"sgd": (-1.0, 0.05), "adam": (-3.0, 0.0), "rmsprop": (-2.0, 0.2)}[optimizer]
    act = {"relu": 0.0, "gelu": -0.02, "tanh": 0.05, "sigmoid": 0.3}[act]
    rate = math.log10(rate) - shift + 0.1 * (layers - 2)
    size = math.log2(units / 96)
    return (0.3 + base + act + 0.12 * rate**2 + 0.03 * size**2 + 0.02 * (layers - 3) ** 2
            + 0.4 * (drop - 0.1 - 0.05 * size) ** 2)


FUNCTIONS = {
    "branin": (branin, lambda t: (t.suggest_float("x0", -5, 10), t.suggest_float("x1", 0, 15))),
    "hartmann6": (hartmann6, cube(6, 0.0, 1.0)),
    "rosenbrock4": (rosenbrock, cube(4, -5.0, 10.0)),
    "ackley5": (ackley, cube(5, -32.768, 32.768)),
    "rastrigin3": (rastrigin, cube(3, -5.12, 5.12)),
    "network": (network, network_space),
}


def best(function, space, trials, seed):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda t: function(space(t)), n_trials=trials)
    return study.best_value


seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
print(f"best of 60 trials over {seeds} seeds: median (quartiles); optuna {optuna.__version__}")
for name, (function, space) in FUNCTIONS.items():
    values = [best(function, space, 60, seed) for seed in range(seeds)]
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    print(f"{name:<12} tpe     {median:>10.4f}  ({low:.4f} to {high:.4f})", flush=True)
began = time.time()
best(lambda v: v[0] ** 2 + v[1] ** 2, cube(2, -5.0, 5.0), 1000, 0)
print(f"1000 trials of x^2 + y^2: {time.time() - began:.3f} s")
