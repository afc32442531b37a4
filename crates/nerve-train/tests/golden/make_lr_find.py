"""Writes lr_find.tsv: curves of learning-rate range tests, and what fastai 2.8.12 suggests for them.

Needs numpy 2, and the file fastai/callback/schedule.py out of fastai's wheel as its argument: of it only the
functions that suggest are read, so that nothing else of fastai has to be installed.
"""

import ast
import sys

import numpy as np

source = open(sys.argv[1]).read()
wanted = {"valley", "minimum", "steep"}
functions = [f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef) and f.name in wanted]
for f in functions:
    f.decorator_list, f.returns = [], None
scope = {"np": np}
exec(compile(ast.Module(functions, []), "fastai", "exec"), scope)


def curve(kind, n, rng):
    x = np.linspace(-7, 1, n)
    loss = 2.3 - 1.6 / (1 + np.exp(-3 * (x + 2.5))) + np.exp(2.5 * (x + 0.4))
    noise = {"smooth": 0.0, "noisy": 0.03, "rising": 0.02}[kind]
    if kind == "rising":
        loss = 1 + 0.1 * (x + 7) + np.exp(2 * x)
    return 10.0**x, loss + noise * rng.standard_normal(n)


rng = np.random.default_rng(42)
with open(__file__.replace("make_lr_find.py", "lr_find.tsv"), "w") as out:
    for kind, n in [("smooth", 100), ("noisy", 200), ("rising", 60), ("noisy", 17)]:
        rates, losses = curve(kind, n, rng)
        # In natural logarithms, as torch has it.
        scope["torch"] = np

        class Rates(np.ndarray):
            def log(self):
                return np.log(self)

        lrs = rates.view(Rates)
        found = [scope[name](lrs, losses, n)[0] for name in ("valley", "steep", "minimum")]
        row = [f"{kind}-{n}", *(repr(float(x)) for x in found)]
        row += [",".join(repr(float(x)) for x in values) for values in (rates, losses)]
        out.write("\t".join(row) + "\n")
