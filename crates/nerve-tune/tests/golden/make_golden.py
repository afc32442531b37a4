"""Golden values of the Parzen densities and of the importance of parameters, from Optuna 5.0.0 (numpy 2).

    python make_golden.py      writes parzen.json and importance.json beside itself
"""
import functools
import json
import os
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")
# Equal values get widths by the order of the sort, which numpy leaves open: here they keep theirs.
np.argsort = functools.partial(np.argsort, kind="stable")
here = os.path.dirname(os.path.abspath(__file__))
labels = ["relu", "tanh", "gelu"]
distributions = {
    "x": FloatDistribution(-2.0, 3.0),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "drop": FloatDistribution(0.0, 0.5, step=0.125),
    "units": IntDistribution(16, 256, step=16),
    "batch": IntDistribution(1, 512, log=True),
    "act": CategoricalDistribution(labels),
}
space = [
    {"name": "x", "domain": {"float": {"low": -2.0, "high": 3.0}}},
    {"name": "lr", "domain": {"float": {"low": 1e-5, "high": 1e-1, "log": True}}},
    {"name": "drop", "domain": {"float": {"low": 0.0, "high": 0.5, "step": 0.125}}},
    {"name": "units", "domain": {"int": {"low": 16, "high": 256, "step": 16}}},
    {"name": "batch", "domain": {"int": {"low": 1, "high": 512, "log": True, "step": 1}}},
    {"name": "act", "domain": {"choice": labels}},
]


def points(rng, n):
    rows = []
    for _ in range(n):
        rows.append([
            rng.uniform(-2, 3),
            float(np.exp(rng.uniform(np.log(1e-5), np.log(1e-1)))),
            0.125 * int(rng.integers(5)),
            16 * int(rng.integers(1, 17)),
            int(np.exp(rng.uniform(0, np.log(512)))),
            labels[int(rng.integers(3))],
        ])
    return rows


def columns(rows):
    return {
        name: np.array([d.to_internal_repr(row[i]) for row in rows], dtype=float)
        for i, (name, d) in enumerate(distributions.items())
    }


def write(name, value):
    with open(os.path.join(here, name), "w") as file:
        json.dump(value, file, indent=None, separators=(",", ":"))
        file.write("\n")


rng = np.random.default_rng(20)
observed, asked = points(rng, 40), points(rng, 12)
parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
cases = []
for n in [0, 1, 2, 5, 26, 40]:
    estimator = _ParzenEstimator(columns(observed[:n]), distributions, parameters)
    cases.append({"observed": n, "log_density": estimator.log_pdf(columns(asked)).tolist()})
write("parzen.json", {"space": space, "observed": observed, "asked": asked, "cases": cases})

studies = []
for n, direction in [(5, "minimize"), (60, "minimize"), (200, "maximize")]:
    study = optuna.create_study(direction=direction)
    rows = points(rng, n)
    values = []
    for row in rows:
        params = dict(zip(distributions, row))
        cost = (np.log10(params["lr"]) + 3) ** 2 + 0.3 * (params["x"] - 1) ** 2
        cost += {"relu": 0.0, "tanh": 0.6, "gelu": 0.1}[params["act"]] + abs(params["units"] - 128) / 200
        value = float(cost if direction == "minimize" else -cost)
        values.append(value)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    shares = optuna.importance.get_param_importances(study)
    studies.append({
        "mode": direction[:3],
        "points": rows,
        "values": values,
        "importance": [shares[name] for name in distributions],
    })
write("importance.json", {"space": space, "studies": studies})
