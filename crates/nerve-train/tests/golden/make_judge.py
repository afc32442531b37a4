"""Makes judge.safetensors and judge.tsv: what the judge of nerve-train is tested against.

    python -m venv env && env/bin/pip install scikit-learn==1.9.1 numpy==2.4.6 safetensors==0.8.0
    env/bin/python make_judge.py

judge.tsv: the data, the name of a score, its value, and the ends of its percentile interval over 200 resamples. Values
are scikit-learn's; the resamples are drawn by a second implementation of the keyed random numbers of nerve-data.
judge.safetensors: the data, and what calibration_curve, roc_curve and precision_recall_curve say about them.
"""

import warnings
from pathlib import Path

import numpy as np
import sklearn
import sklearn.metrics as sk
from safetensors.numpy import save_file
from sklearn.calibration import calibration_curve

warnings.simplefilter("ignore")
rng = np.random.default_rng(20261122)
here = Path(__file__).parent
tensors, lines = {}, []
SEED, KEY, RESAMPLES = 7, 0x6A756467, 200
MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def keyed(*parts):
    state = GOLDEN
    for part in parts:
        state = mix(state ^ mix((part + GOLDEN) & MASK))
    while True:
        state = (state + GOLDEN) & MASK
        yield mix(state)


def below(bits, n):
    while True:
        product = next(bits) * n
        if product & MASK >= (1 << 64) % n:
            return product >> 64


def resample(number, n):
    bits = keyed(SEED, KEY, number)
    return np.array([below(bits, n) for _ in range(n)])


def keep(data, rows, groups=None, **scores):
    """`scores` take the numbers of rows and give a value."""
    all_rows = np.arange(rows)
    drawn = []
    for r in range(RESAMPLES):
        if groups is None:
            drawn.append(resample(r, rows))
        else:
            picked = resample(r, int(groups.max()) + 1)
            drawn.append(np.concatenate([all_rows[groups == g] for g in picked]))
    for name, score in scores.items():
        values = [score(draw) for draw in drawn]
        low, high = np.percentile([v for v in values if np.isfinite(v)], [2.5, 97.5])
        lines.append("\t".join([data, name, *(repr(float(v)) for v in [score(all_rows), low, high])]))


def ece(p, t, bins=15):
    """Guo et al., 2017; scikit-learn has none."""
    confidence, right = p.max(1), p.argmax(1) == t
    which = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1)
    gaps = [abs((right[which == b] - confidence[which == b]).sum()) for b in range(bins)]
    return sum(gaps) / len(t)


# Two classes. Probabilities with ties, in f32.
n = 150
t = (rng.random(n) < 0.4).astype(np.int32)
yes = np.clip(np.round(0.35 * t + 0.65 * rng.random(n), 2), 0.01, 0.99).astype(np.float32)
p = np.stack([1 - yes, yes], 1).astype(np.float32)
tensors |= {"two/truth": t, "two/p": p}
p, y = p.astype(np.float64), yes.astype(np.float64)
said = (y > 0.5).astype(int)
groups = (np.arange(n) * 7 % 23).astype(np.int32)
_, first = np.unique(groups, return_index=True)
numbered = {groups[i]: k for k, i in enumerate(sorted(first))}
groups = np.array([numbered[g] for g in groups], np.int32)
tensors["two/groups"] = groups
two = dict(
    accuracy=lambda r: sk.accuracy_score(t[r], said[r]),
    balanced_accuracy=lambda r: sk.balanced_accuracy_score(t[r], said[r]),
    precision=lambda r: sk.precision_score(t[r], said[r]),
    recall=lambda r: sk.recall_score(t[r], said[r]),
    specificity=lambda r: sk.recall_score(t[r], said[r], pos_label=0),
    f1=lambda r: sk.f1_score(t[r], said[r]),
    iou=lambda r: sk.jaccard_score(t[r], said[r]),
    kappa=lambda r: sk.cohen_kappa_score(t[r], said[r]),
    matthews=lambda r: sk.matthews_corrcoef(t[r], said[r]),
    # Both columns as they are: they add up to one but for rounding.
    log_loss=lambda r: -np.log(p[r, t[r]]).mean(),
    brier=lambda r: ((p[r] - np.eye(2)[t[r]]) ** 2).sum(1).mean() / 2,
    calibration_error=lambda r: ece(p[r], t[r]),
    roc_auc=lambda r: sk.roc_auc_score(t[r], y[r]),
    pr_auc=lambda r: sk.average_precision_score(t[r], y[r]),
)
keep("two", n, **two)
keep("grouped", n, groups, **{name: two[name] for name in ["accuracy", "f1", "roc_auc"]})
assert abs(two["brier"](np.arange(n)) - sk.brier_score_loss(t, y)) < 1e-7
assert abs(two["log_loss"](np.arange(n)) - sk.log_loss(t, y)) < 1e-7
observed, predicted = calibration_curve(t, y, n_bins=15)
tensors |= {"two/observed": observed, "two/predicted": predicted}
fpr, tpr, at = sk.roc_curve(t, y, drop_intermediate=False)
tensors |= {"two/fpr": fpr, "two/tpr": tpr, "two/at": at[1:]}
precision, recall, _ = sk.precision_recall_curve(t, y)
tensors |= {"two/precision": precision, "two/recall": recall}

# Seven classes, of which the network never says one.
n = 160
t = rng.integers(0, 7, n).astype(np.int32)
logits = rng.standard_normal((n, 7)) + 1.5 * np.eye(7)[t]
logits[:, 6] -= 9
p = np.exp(logits - logits.max(1, keepdims=True))
p = (p / p.sum(1, keepdims=True)).astype(np.float32)
tensors |= {"seven/truth": t, "seven/p": p}
q = p.astype(np.float64)
best = q.argmax(1)


def areas(score, r):
    return np.mean([score(t[r] == c, q[r, c]) for c in range(7)])


def labels(r):
    return sorted(set(t[r]) | set(best[r]))


keep(
    "seven",
    n,
    accuracy=lambda r: sk.accuracy_score(t[r], best[r]),
    balanced_accuracy=lambda r: sk.balanced_accuracy_score(t[r], best[r]),
    precision=lambda r: sk.precision_score(t[r], best[r], average="macro", labels=labels(r)),
    recall=lambda r: sk.recall_score(t[r], best[r], average="macro", labels=labels(r)),
    f1=lambda r: sk.f1_score(t[r], best[r], average="macro"),
    f1_weighted=lambda r: sk.f1_score(t[r], best[r], average="weighted"),
    kappa=lambda r: sk.cohen_kappa_score(t[r], best[r]),
    matthews=lambda r: sk.matthews_corrcoef(t[r], best[r]),
    log_loss=lambda r: -np.log(q[r, t[r]]).mean(),
    brier=lambda r: ((q[r] - np.eye(7)[t[r]]) ** 2).sum(1).mean(),
    calibration_error=lambda r: ece(q[r], t[r]),
    top_5_accuracy=lambda r: sk.top_k_accuracy_score(t[r], q[r], k=5, labels=range(7)),
    roc_auc=lambda r: areas(sk.roc_auc_score, r),
    pr_auc=lambda r: areas(sk.average_precision_score, r),
)

# Numbers.
n = 90
t = rng.gamma(2.0, 10.0, n) + 1
a = t * rng.uniform(0.7, 1.3, n) + rng.standard_normal(n)
tensors |= {"numbers/truth": t, "numbers/answer": a}
keep(
    "numbers",
    n,
    rmse=lambda r: sk.root_mean_squared_error(t[r], a[r]),
    mae=lambda r: sk.mean_absolute_error(t[r], a[r]),
    mse=lambda r: sk.mean_squared_error(t[r], a[r]),
    mape=lambda r: 100 * sk.mean_absolute_percentage_error(t[r], a[r]),
    smape=lambda r: np.mean(200 * abs(a[r] - t[r]) / (abs(a[r]) + abs(t[r]))),
    r2=lambda r: sk.r2_score(t[r], a[r]),
    explained_variance=lambda r: sk.explained_variance_score(t[r], a[r]),
    median_error=lambda r: sk.median_absolute_error(t[r], a[r]),
    max_error=lambda r: sk.max_error(t[r], a[r]),
)

# A forecast of five steps.
n, steps = 40, 5
t = 50 + 10 * rng.standard_normal((n, steps))
a = t + rng.standard_normal((n, steps)) * np.arange(1, 6)
tensors |= {"forecast/truth": t, "forecast/answer": a, "forecast/mae": abs(a - t).mean(0)}
keep(
    "forecast",
    n,
    rmse=lambda r: np.sqrt(sk.mean_squared_error(t[r], a[r])),
    mae=lambda r: sk.mean_absolute_error(t[r], a[r]),
    mase=lambda r: sk.mean_absolute_error(t[r], a[r]) / 4.0,
)

# Masks of three classes: counts of pixels.
n = 25
counts = rng.integers(0, 30, (n, 3, 3)).astype(np.float64) + 60 * np.eye(3)
tensors["masks/counts"] = counts


def iou(r):
    c = counts[r].sum(0)
    right = np.diag(c)
    return np.mean(right / (c.sum(0) + c.sum(1) - right))


def dice(r):
    c = counts[r].sum(0)
    return np.mean(2 * np.diag(c) / (c.sum(0) + c.sum(1)))


keep("masks", n, iou=iou, dice=dice, accuracy=lambda r: np.diag(counts[r].sum(0)).sum() / counts[r].sum())

# Ratings of items by users, ranked.
n = 120
users = np.sort(rng.integers(0, 12, n)).astype(np.int32)
users = np.unique(users, return_inverse=True)[1].astype(np.int32)
items = rng.integers(0, 30, n).astype(np.int32)
t = rng.integers(1, 6, n).astype(np.float64)
a = t + rng.standard_normal(n)
popularity = rng.integers(1, 50, 30)[items].astype(np.float64)
tensors |= {
    "lists/users": users, "lists/items": items, "lists/truth": t, "lists/answer": a, "lists/popularity": popularity
}


def of_users(score, said):
    def mean(r):
        values = []
        # Whole users are drawn, some more than once.
        drawn = [u for u, c in zip(*np.unique(users[r], return_counts=True)) for _ in range(c // (users == u).sum())]
        for user in drawn:
            rows = users == user
            good = t[rows] >= 4
            if 0 < good.sum() < len(good):
                values.append(score(t[rows], good, said[rows]))
        return np.mean(values)

    return mean


def ndcg(truth, good, said):
    return sk.ndcg_score([truth], [said], k=3)


def hit(truth, good, said):
    return float(good[np.argsort(-said, kind="stable")[:3]].any())


def mrr(truth, good, said):
    places = np.flatnonzero(good[np.argsort(-said, kind="stable")[:3]])
    return 1 / (places[0] + 1) if len(places) else 0.0


keep("lists", n, users, ndcg_at_3=of_users(ndcg, a), hit_at_3=of_users(hit, a), mrr_at_3=of_users(mrr, a))
everyone = np.arange(n)
tensors["lists/popular"] = np.array([of_users(s, popularity)(everyone) for s in [ndcg, hit, mrr]])

save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, here / "judge.safetensors")
head = f"# scikit-learn {sklearn.__version__}, numpy {np.__version__}"
(here / "judge.tsv").write_text("\n".join([head, *lines]) + "\n")
