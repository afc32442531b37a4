"""Writes golden.json: scores of scipy and decisions of Evidently on small fixtures.

Made with Python 3, evidently 0.7.23, scipy 1.17.1, numpy 2.4.6, pandas 2:

    pip install evidently==0.7.23 scipy==1.17.1
    python golden.py > golden.json
"""

import json
import sys

import numpy as np
import pandas as pd
import scipy.stats as stats
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import psi_stat_test
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from scipy.spatial.distance import jensenshannon

random = np.random.default_rng(20261123)


def numbers(count, shift=0.0, scale=1.0, missing=0.0):
    values = np.round(random.normal(shift, scale, count), 3)
    return [None if random.random() < missing else float(v) for v in values]


def names(count, shares, missing=0.0):
    labels = sorted(shares)
    drawn = random.choice(labels, size=count, p=[shares[label] for label in labels])
    return [None if random.random() < missing else str(v) for v in drawn]


def steps(count, weights):
    return [float(v) for v in random.choice(len(weights), size=count, p=weights)]


EVEN = {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}
SKEWED = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
NEW = {"a": 0.24, "b": 0.24, "c": 0.24, "d": 0.24, "e": 0.04}
cases = []


def case(name, kind, reference, current):
    cases.append({"name": name, "kind": kind, "reference": reference, "current": current})


for n, m, size in [(300, 200, "small"), (1500, 700, "large")]:
    case(f"same numbers, {size}", "number", numbers(n), numbers(m))
    case(f"shifted mean, {size}", "number", numbers(n), numbers(m, 0.5))
    case(f"slightly shifted mean, {size}", "number", numbers(n), numbers(m, 0.08))
    case(f"wider, {size}", "number", numbers(n), numbers(m, 0.0, 1.6))
    case(f"more missing numbers, {size}", "number", numbers(n, missing=0.02), numbers(m, missing=0.4))
    case(f"same steps, {size}", "number", steps(n, [0.2, 0.3, 0.5]), steps(m, [0.2, 0.3, 0.5]))
    case(f"other steps, {size}", "number", steps(n, [0.2, 0.3, 0.5]), steps(m, [0.5, 0.3, 0.2]))
    case(f"same zeros and ones, {size}", "number", steps(n, [0.7, 0.3]), steps(m, [0.7, 0.3]))
    case(f"other zeros and ones, {size}", "number", steps(n, [0.7, 0.3]), steps(m, [0.5, 0.5]))
    case(f"a dozen steps, {size}", "number", steps(n, [1 / 12] * 12), steps(m, [0.5 / 11] * 11 + [0.5]))
    case(f"same names, {size}", "name", names(n, EVEN), names(m, EVEN))
    case(f"changed names, {size}", "name", names(n, EVEN), names(m, SKEWED))
    case(f"a new name, {size}", "name", names(n, EVEN), names(m, NEW))
    case(f"a name that went, {size}", "name", names(n, NEW), names(m, EVEN))
    case(f"more missing names, {size}", "name", names(n, EVEN, 0.02), names(m, EVEN, 0.4))
    case(f"two names, {size}", "name", names(n, {"no": 0.6, "yes": 0.4}), names(m, {"no": 0.4, "yes": 0.6}))
    case(f"one name, {size}", "name", ["x"] * n, ["x"] * m)
case("exactly 1000 rows", "number", numbers(1000), numbers(1000, 0.06))
case("1001 rows", "number", numbers(1001), numbers(1000, 0.06))
case("few against many", "number", numbers(60), numbers(3000, 0.2))


def evidently(case):
    columns = [pd.DataFrame({"x": case[side]}) for side in ["reference", "current"]]
    if case["kind"] == "number":
        definition = DataDefinition(numerical_columns=["x"])
        columns = [column.astype(float) for column in columns]
    else:
        definition = DataDefinition(categorical_columns=["x"])
    reference, current = (Dataset.from_pandas(column, data_definition=definition) for column in columns)
    result = Report([DataDriftPreset()]).run(current, reference).dict()
    [value] = [m for m in result["metrics"] if "ValueDrift" in m["metric_name"]]
    [tests] = [m for m in result["metrics"] if "DriftedColumnsCount" in m["metric_name"]]
    return {
        "test": value["config"]["method"],
        "threshold": value["config"]["threshold"],
        "score": float(value["value"]),
        "drifted": tests["value"]["count"] > 0,
    }


def scipy_scores(case):
    a, b = (pd.Series([v for v in case[side] if v is not None]) for side in ["reference", "current"])
    keys = sorted(set(a) | set(b))
    p, q = ([(side == key).mean() for key in keys] for side in [a, b])
    scores = {}
    kind = ColumnType.Numerical if case["kind"] == "number" else ColumnType.Categorical
    if case["kind"] == "number":
        scores["ks"] = stats.ks_2samp(a, b).pvalue
        scores["wasserstein"] = stats.wasserstein_distance(a, b) / max(np.std(a), 0.001)
    if case["kind"] != "number" or a.nunique() <= 20:
        scores["jensenshannon"] = jensenshannon(p, q)
    scores["psi"] = psi_stat_test.func(a, b, kind, 0.1)[0]
    return {name: float(score) for name, score in scores.items()}


for one in cases:
    one["evidently"] = evidently(one)
    one["scipy"] = scipy_scores(one)
json.dump(cases, sys.stdout, separators=(",", ":"))
print()
