"""Prints RESULT lines as a table of ratios, in Markdown: table.py FILE...

Of the repeats of one measurement the median counts. A ratio above 1 means that nerve is better:
faster, or smaller. `eager` is the peer as it comes; `best` its fastest mode.
"""
import statistics
import sys
from collections import defaultdict


def read(paths):
    """(workload, metric) -> framework -> mode -> values, in order of appearance."""
    table = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for path in paths:
        with open(path) as file:
            for line in file:
                columns = line.rstrip("\n").split("\t")
                if columns[0] == "RESULT" and len(columns) == 7:
                    framework, mode, workload, metric, value, _ = columns[1:]
                    table[workload, metric][framework.split()[0]][mode].append(float(value))
    return table


def number(x):
    if x >= 10_000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if x < 1 else f"{x:.1f}" if x < 1000 else f"{x:.0f}"


def spread(values):
    """How far repeats were apart, where that makes a ratio doubtful."""
    share = (max(values) - min(values)) / statistics.median(values)
    return f" ±{50 * share:.0f} %" if share > 0.2 else ""


def rows(table):
    for (workload, metric), frameworks in table.items():
        nerve = frameworks.pop("nerve", None)
        if nerve is None:
            continue
        own = next(iter(nerve.values()))
        value = statistics.median(own)
        cells = [workload, metric, number(value) + spread(own)]
        rising = metric.endswith("/s") or metric.endswith("peak")
        ratio = lambda peer: value / peer if rising else peer / value
        modes = {
            f"{framework} {mode}": values
            for framework, by_mode in frameworks.items()
            for mode, values in by_mode.items()
        }
        if not modes:
            yield cells + ["", "", "", ""]
            continue
        medians = {mode: statistics.median(values) for mode, values in modes.items()}
        best = (max if rising else min)(medians, key=medians.get)
        eager = next((mode for mode in medians if mode.split()[1] == "eager"), None)
        cells += [number(medians[eager]) + spread(modes[eager])] if eager else [""]
        cells += [f"{ratio(medians[eager]):.2f}"] if eager else [""]
        cells += [f"{number(medians[best])}{spread(modes[best])} ({best})"]
        cells += [f"{ratio(medians[best]):.2f}"]
        yield cells


def main():
    heads = ["", "metric", "nerve", "eager", "ratio", "best mode of the peers", "ratio"]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for cells in rows(read(sys.argv[1:])):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
