"""Makes optim.safetensors: what optimizers, their wrappers and schedules of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0 numpy==2.4.6
    env/bin/python make_optim.py

Everything is computed in f64. Optimizers and schedules that PyTorch has are PyTorch's; Lion and LAMB follow
the formulas of their papers (as Optax has them), Muon that of PyTorch without the rounding to bf16.
Each optimizer takes ten steps from `start` along the rows of `gradients`: a vector of 5 and a matrix of
4 by 3. Kept is the path: one row a step. Versions and seed stand in the metadata.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch.optim import lr_scheduler as lrs

torch.set_default_dtype(torch.float64)
SEED, STEPS, SIZES = 20261122, 10, (5, 12)
rng = np.random.default_rng(SEED)
tensors = {}
start = np.round(rng.standard_normal(17) * 256) / 256
gradients = np.round(rng.standard_normal((STEPS, 17)) * 256) / 256
tensors["start"], tensors["gradients"] = start, gradients


def parts(flat):
    return [torch.tensor(flat[:5]), torch.tensor(flat[5:]).reshape(4, 3)]


def flat(params):
    return np.concatenate([p.detach().numpy().ravel() for p in params])


def path(name, make, before=lambda params: None, after=lambda params, t: None):
    params = [torch.nn.Parameter(p) for p in parts(start)]
    optimizers = make(params)
    rows = []
    for t in range(STEPS):
        for p, g in zip(params, parts(gradients[t])):
            p.grad = g.clone()
        before(params)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.step()
        after(params, t)
        rows.append(flat(params))
    tensors[name] = np.stack(rows)


o = torch.optim
path("sgd_dampening", lambda p: o.SGD(p, 0.1, momentum=0.9, dampening=0.3, weight_decay=0.02))
path("rmsprop", lambda p: o.RMSprop(p, 0.01))
path("rmsprop_centered", lambda p: o.RMSprop(p, 0.01, alpha=0.9, eps=1e-4, momentum=0.8, centered=True, weight_decay=0.02))
path("adagrad", lambda p: o.Adagrad(p, 0.1))
path("adagrad_decay", lambda p: o.Adagrad(p, 0.1, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.02))
path("adadelta", lambda p: o.Adadelta(p, 1.0))
path("adadelta_decay", lambda p: o.Adadelta(p, 0.5, rho=0.8, eps=1e-3, weight_decay=0.02))
path("amsgrad", lambda p: o.Adam(p, 0.01, betas=(0.8, 0.6), amsgrad=True, weight_decay=0.02))
path("adamw_amsgrad", lambda p: o.AdamW(p, 0.01, betas=(0.8, 0.6), amsgrad=True, weight_decay=0.1))
path("adamax", lambda p: o.Adamax(p, 0.01, weight_decay=0.02))
path("nadam", lambda p: o.NAdam(p, 0.01, weight_decay=0.02))
path("radam", lambda p: o.RAdam(p, 0.01, weight_decay=0.02))
path("radam_soon", lambda p: o.RAdam(p, 0.01, betas=(0.9, 0.95)))
path("adafactor", lambda p: o.Adafactor(p, 0.05))
path("adafactor_decay", lambda p: o.Adafactor(p, 0.5, beta2_decay=-0.5, d=1.2, weight_decay=0.1))


class Formula:
    """One parameter after the other; `rule(w, g, state, t)` gives the new one."""

    def __init__(self, params, rule):
        self.params, self.rule, self.state, self.t = params, rule, [{} for _ in params], 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        for p, state in zip(self.params, self.state):
            p.copy_(self.rule(p.detach().clone(), p.grad, state, self.t))


def lion(w, g, s, t, lr=0.01, b1=0.9, b2=0.99, decay=0.1):
    m = s.get("m", torch.zeros_like(w))
    u = torch.sign(b1 * m + (1 - b1) * g)
    s["m"] = b2 * m + (1 - b2) * g
    return w - lr * (u + decay * w)


def lamb(w, g, s, t, lr=0.01, b1=0.9, b2=0.999, eps=1e-6, decay=0.02):
    s["m"] = b1 * s.get("m", torch.zeros_like(w)) + (1 - b1) * g
    s["v"] = b2 * s.get("v", torch.zeros_like(w)) + (1 - b2) * g * g
    u = (s["m"] / (1 - b1**t)) / (torch.sqrt(s["v"] / (1 - b2**t)) + eps) + decay * w
    return w - lr * w.norm() / u.norm() * u


def newton_schulz(u, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon(w, g, s, t, lr=0.02, mu=0.95, decay=0.1):
    s["m"] = mu * s.get("m", torch.zeros_like(w)) + (1 - mu) * g
    u = (1 - mu) * g + mu * s["m"]
    return w * (1 - lr * decay) - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * newton_schulz(u)


path("lion", lambda p: Formula(p, lion))
path("lamb", lambda p: Formula(p, lamb))
path("muon", lambda p: [o.AdamW(p[:1], 0.01, weight_decay=0.1), Formula(p[1:], muon)])

sgd = lambda p: o.SGD(p, 0.1, momentum=0.9)
path("clip_value", sgd, lambda p: torch.nn.utils.clip_grad_value_(p, 0.5))
path("clip_norm", sgd, lambda p: [torch.nn.utils.clip_grad_norm_([q], 0.5) for q in p])
path("clip_global_norm", sgd, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5))

# Groups: the vector without decay, the matrix at half the rate.
path("groups", lambda p: o.AdamW([
    dict(params=p[:1], weight_decay=0.0), dict(params=p[1:], lr=0.005)], 0.01, weight_decay=0.1))

averages = {}


def averaging(name, update):
    state = {}

    def after(params, t):
        now = flat(params)
        state["a"] = update(state.get("a", start), now, t + 1)
        averages.setdefault(name, []).append(state["a"].copy())

    return after


path("unused", sgd, after=averaging("ema", lambda a, w, t: 0.9 * a + 0.1 * w))
path("unused", sgd, after=averaging(
    "ema_warm_up", lambda a, w, t: (d := min(0.9, (1 + t) / (10 + t))) * a + (1 - d) * w))


def swa(a, w, t, start=3, every=2):
    if t < start:
        return w
    n = (t - start) // every
    return a if (t - start) % every else (a * n + w) / (n + 1)


path("unused", sgd, after=averaging("swa", swa))
del tensors["unused"]
tensors.update({f"average_{name}": np.stack(rows) for name, rows in averages.items()})

slow = {"s": start.copy()}


def lookahead(params, t):
    if (t + 1) % 3 == 0:
        slow["s"] = slow["s"] + 0.4 * (flat(params) - slow["s"])
        for p, s in zip(params, parts(slow["s"])):
            p.data.copy_(s)


path("lookahead", sgd, after=lookahead)

# Schedules: the rates of 40 steps, from 0.1.
def rates(name, make, n=40, observe=None):
    optimizer = o.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = make(optimizer)
    rows = []
    for t in range(n):
        rows.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([] if observe is None else [observe[t]]))
    tensors[f"schedule_{name}"] = np.array(rows)


rates("step", lambda s: lrs.StepLR(s, 7, 0.5))
rates("multi_step", lambda s: lrs.MultiStepLR(s, [5, 11, 30], 0.2))
rates("exponential", lambda s: lrs.ExponentialLR(s, 0.9))
rates("polynomial", lambda s: lrs.PolynomialLR(s, 30, 2.0))
rates("linear_warm_up", lambda s: lrs.LinearLR(s, 0.1, 1.0, 8))
rates("cosine", lambda s: lrs.CosineAnnealingLR(s, 40, 0.01))
rates("cosine_restarts", lambda s: lrs.CosineAnnealingWarmRestarts(s, 5, 2, 0.001))
rates("one_cycle", lambda s: lrs.OneCycleLR(s, 0.3, 40))
rates("one_cycle_linear", lambda s: lrs.OneCycleLR(
    s, 0.3, 40, pct_start=0.4, anneal_strategy="linear", div_factor=10, final_div_factor=100, three_phase=True))
rates("cyclic", lambda s: lrs.CyclicLR(s, 0.01, 0.1, 6, cycle_momentum=False))
rates("cyclic_triangular2", lambda s: lrs.CyclicLR(s, 0.01, 0.1, 4, 6, "triangular2", cycle_momentum=False))
rates("cyclic_exp_range", lambda s: lrs.CyclicLR(s, 0.01, 0.1, 5, 5, "exp_range", gamma=0.95, cycle_momentum=False))
rates("sequence", lambda s: lrs.SequentialLR(
    s, [lrs.LinearLR(s, 0.25, 1.0, 6), lrs.CosineAnnealingLR(s, 34)], [6]))
scores = np.round(np.abs(np.sin(np.arange(40) * 0.7)) * 1000) / 1000 + np.maximum(0, 1 - np.arange(40) / 10)
tensors["plateau_scores"] = scores
rates("plateau", lambda s: lrs.ReduceLROnPlateau(s, "min", 0.5, 2, threshold=1e-3, cooldown=1, min_lr=0.001), observe=scores)

# L-BFGS on the function of Rosenbrock in 6 dimensions: the points after each of ten iterations.
def lbfgs(name, **options):
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0, -0.5, 0.8, 1.5, -0.3]))
    optimizer = o.LBFGS([x], max_iter=1, max_eval=1000, history_size=4, **options)
    rows = []

    def closure():
        optimizer.zero_grad()
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
        rows.append(x.detach().numpy().copy())
    tensors[name] = np.stack(rows)


lbfgs("lbfgs", lr=0.01)
lbfgs("lbfgs_wolfe", line_search_fn="strong_wolfe")


def write(path, tensors, metadata):
    header, offset, blobs = {"__metadata__": metadata}, 0, []
    for name, value in sorted(tensors.items()):
        blob = np.ascontiguousarray(value, dtype="<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(value.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


versions = {"torch": torch.__version__, "numpy": np.__version__, "seed": str(SEED)}
write(Path(__file__).with_name("optim.safetensors"), tensors, versions)
