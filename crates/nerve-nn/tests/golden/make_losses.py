"""Makes losses.safetensors: what the losses of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0 numpy==2.4.6
    env/bin/python make_losses.py

Everything is computed in f64, by PyTorch where it has the loss and by its formula, written plainly, where it
has not. `output`, `target`: what is compared; `terms`: the loss of each; `loss`: the mean (or as named); `d`: the
gradient of that with respect to the output. Cases `of_…` have numbered operands.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SEED = 20261122
rng = np.random.default_rng(SEED)
tensors = {}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return torch.tensor(np.round(rng.standard_normal(shape) * 256) / 256)


def labels(n, *shape):
    return torch.tensor(rng.integers(0, n, shape))


def keep(name, **values):
    for key, value in values.items():
        tensors[f"{name}/{key}"] = np.asarray(value.detach())


def case(name, f, output, target, reduce=torch.mean, terms=True):
    """f gives terms; `reduce` their value (called with the terms)."""
    output = output.clone().requires_grad_()
    value = f(output, target)
    loss = reduce(value)
    (d,) = torch.autograd.grad(loss, output)
    keep(name, output=output, target=target, loss=loss, d=d, **({"terms": value} if terms else {}))


def whole(name, f, output, target):
    """f gives the mean itself."""
    case(name, f, output, target, reduce=lambda x: x, terms=False)


def of(name, f, *operands):
    first = operands[0].clone().requires_grad_()
    value = f(first, *operands[1:])
    (d,) = torch.autograd.grad(value.mean(), first)
    keep(name, terms=value, d=d, **{str(i): x for i, x in enumerate(operands)})


# Classes.
x, t = random(6, 5) * 2, labels(5, 6)
t[0], t[1] = 2, 3
w = torch.tensor([1, 0.5, 2, 0, 3], dtype=torch.float64)
shares = (random(6, 5) * 2).softmax(1)
shares[0] = torch.tensor([0, 0, 1, 0, 0])
case("ce", lambda o, t: F.cross_entropy(o, t, reduction="none"), x, t)
whole("ce_sum", lambda o, t: F.cross_entropy(o, t, reduction="sum"), x, t)
whole("ce_weights", lambda o, t: F.cross_entropy(o, t, w), x, t)
whole("ce_all", lambda o, t: F.cross_entropy(o, t, w, label_smoothing=0.2, ignore_index=2), x, t)
whole("ce_shares", lambda o, t: F.cross_entropy(o, t, w, label_smoothing=0.2), x, shares)
axes = labels(3, 2, 4)
axes[0, 1] = -100
whole("ce_axes", lambda o, t: F.cross_entropy(o, t, w[:3]), random(2, 3, 4) * 2, axes)
alpha = torch.tensor([1, 0.5, 2, 0.1, 3], dtype=torch.float64)


def focal(o, t):
    p = o.softmax(1).gather(1, t[:, None])[:, 0]
    return alpha[t] * (1 - p) ** 1.5 * -p.log()


case("focal", focal, x, t)
case("multi_margin", lambda o, t: F.multi_margin_loss(o, t, reduction="none"), x, t)
case("multi_margin_2", lambda o, t: F.multi_margin_loss(o, t, 2, 0.5, w, reduction="none"), x, t)


def categorical_hinge(o, t):
    hot = F.one_hot(t, o.shape[1]).to(o.dtype)
    return (1 - (o * hot).sum(1) + (o - 1e9 * hot).max(1).values).clamp(min=0)


case("categorical_hinge", categorical_hinge, x, t)
case("kl", lambda o, t: F.kl_div(o.log_softmax(1), t, reduction="none").sum(1), x, shares)
case("kl_log", lambda o, t: F.kl_div(o.log_softmax(1), t, reduction="none", log_target=True).sum(1), x, random(6, 5).log_softmax(1))


def one_of(o, t):
    sign = 2 * F.one_hot(t, o.shape[1]) - 1
    return -F.logsigmoid(sign * o).sum(1)


case("negative_sampling", one_of, x, t)

# Yes and no.
x, t = random(4, 3) * 3, (random(4, 3) > 0).to(torch.float64)
unit = random(4, 3).sigmoid()
case("bce_logits", lambda o, t: F.binary_cross_entropy_with_logits(o, t, reduction="none"), x, unit)
pos = torch.tensor([2, 0.5, 3], dtype=torch.float64)
case("bce_pos", lambda o, t: F.binary_cross_entropy_with_logits(o, t, pos_weight=pos, reduction="none"), x, t)
case("bce", lambda o, t: F.binary_cross_entropy(o, t, reduction="none"), x.sigmoid(), unit)


def binary_focal(o, t, gamma, alpha):
    # As torchvision.ops.sigmoid_focal_loss.
    p = o.sigmoid()
    ce = F.binary_cross_entropy_with_logits(o, t, reduction="none")
    right = p * t + (1 - p) * (1 - t)
    loss = ce * (1 - right) ** gamma
    return loss if alpha is None else loss * (alpha * t + (1 - alpha) * (1 - t))


case("binary_focal", lambda o, t: binary_focal(o, t, 2, 0.25), x, t)
case("binary_focal_plain", lambda o, t: binary_focal(o, t, 1.5, None), x, t)
sign = 2 * t - 1
case("hinge", lambda o, t: (1 - t * o).clamp(min=0), x, sign)
case("squared_hinge", lambda o, t: (1 - t * o).clamp(min=0) ** 2, x, sign)

# Numbers.
x, t = random(4, 3), random(4, 3)
none = dict(reduction="none")
case("mse", lambda o, t: F.mse_loss(o, t, **none), x, t)
case("mae", lambda o, t: F.l1_loss(o, t, **none), x, t)
case("huber", lambda o, t: F.huber_loss(o, t, delta=0.7, **none), x, t)
case("smooth_l1", lambda o, t: F.smooth_l1_loss(o, t, beta=0.7, **none), x, t)
case("log_cosh", lambda o, t: (o - t).cosh().log(), x, t)
case("mape", lambda o, t: 100 * ((o - t) / t).abs(), x, t.abs() + 0.5)
case("msle", lambda o, t: (o.log1p() - t.log1p()) ** 2, x.abs() + 0.25, t.abs())
q = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
case("quantile", lambda o, t: torch.maximum(q * (t[:, None] - o), (q - 1) * (t[:, None] - o)), x, random(4))
counts = torch.tensor(rng.poisson(2, (4, 3))).to(torch.float64)
case("poisson", lambda o, t: F.poisson_nll_loss(o, t, **none), x, counts)
case("poisson_full", lambda o, t: F.poisson_nll_loss(o, t, log_input=False, full=True, **none), x.abs() + 0.25, counts)
case("gaussian", lambda o, t: F.gaussian_nll_loss(o[..., 0], t, o[..., 1].exp(), full=True, **none), random(4, 3, 2), t)


# Regions.
def tversky(p, t, alpha, beta, smooth, axes):
    both, fp, fn = (p * t).sum(axes), (p * (1 - t)).sum(axes), ((1 - p) * t).sum(axes)
    return 1 - (both + smooth) / (both + alpha * fp + beta * fn + smooth)


x, mask = random(2, 3, 2, 4), (random(2, 3, 2, 4) > 0).to(torch.float64)


def dice(p, t):
    return 1 - (2 * (p * t).sum((2, 3)) + 1) / (p.sum((2, 3)) + t.sum((2, 3)) + 1)


case("dice", lambda o, t: dice(o.sigmoid(), t), x, mask)
case("dice_classes", lambda o, t: dice(o.softmax(1), F.one_hot(t, 3).permute(0, 3, 1, 2)), x, labels(3, 2, 2, 4))
case("jaccard", lambda o, t: tversky(o.sigmoid(), t, 1, 1, 0.5, (2, 3)), x, mask)
case("tversky", lambda o, t: tversky(o.sigmoid(), t, 0.3, 0.7, 1, (2, 3)), x, mask)


# Boxes, as torchvision.ops.*_box_iou_loss.
def boxes(kind):
    def loss(a, b):
        inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
        hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
        size = [c[:, 2:] - c[:, :2] for c in (a, b)]
        union = size[0].prod(1) + size[1].prod(1) - inner
        iou = inner / union
        if kind == "iou":
            return 1 - iou
        if kind == "giou":
            return 1 - iou + (hull.prod(1) - union) / hull.prod(1)
        apart = (((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2) ** 2).sum(1) / (hull**2).sum(1)
        if kind == "diou":
            return 1 - iou + apart
        v = 4 / math.pi**2 * ((size[0][:, 0] / size[0][:, 1]).atan() - (size[1][:, 0] / size[1][:, 1]).atan()) ** 2
        with torch.no_grad():
            alpha = v / (1 - iou + v)
        return 1 - iou + apart + alpha * v

    return loss


def box(n):
    corner = random(n, 2)
    return torch.cat([corner, corner + random(n, 2).abs() + 0.25], 1)


a, b = box(6), box(6)
b[0] = a[0] + 0.125  # One pair that surely overlaps, one that does not.
b[1] = a[1] + 100
for kind in ("iou", "giou", "diou", "ciou"):
    case(kind, boxes(kind), a, b)

# Embeddings.
x, y, z = random(6, 4), random(6, 4), random(6, 4)
case("cosine", lambda o, t: 1 - F.cosine_similarity(o, t), x, y)
kinds = torch.tensor([0, 1, 0, 1, 2, 0])
same = (kinds[:, None] == kinds) & ~torch.eye(6, dtype=torch.bool)
other = kinds[:, None] != kinds


def distances(o):
    return torch.stack([torch.stack([F.pairwise_distance(a, b) for b in o]) for a in o])


def hardest(o, t):
    d = distances(o)
    near, far = torch.where(same, d, -1).max(1).values, torch.where(other, d, 1e9).min(1).values
    return (near - far + 0.5).clamp(min=0)[same.any(1)].mean()


whole("triplet_hardest", hardest, x, kinds)


def all_triplets(o, t):
    d = distances(o)
    terms = [(d[i, j] - d[i, k] + 0.5).clamp(min=0) for i in range(6) for j in range(6) for k in range(6) if same[i, j] and other[i, k]]
    return torch.stack(terms).mean()


whole("triplet_all", all_triplets, x, kinds)


def pair(d, same):
    return 0.5 * torch.where(same, d, (2 - d).clamp(min=0)) ** 2


def contrastive(o, t):
    return torch.stack([pair(F.pairwise_distance(o[i], o[j]), same[i, j]) for i in range(6) for j in range(i + 1, 6)]).mean()


whole("contrastive", contrastive, x, kinds)


def supervised(o, kinds, temperature):
    n, unit = len(o), F.normalize(o)
    logits = (unit @ unit.T / temperature).masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)
    log = logits.log_softmax(1)
    terms = []
    for i in range(n):
        mates = [j for j in range(n) if j != i and kinds[j] == kinds[i]]
        if mates:
            terms.append(-torch.stack([log[i, j] for j in mates]).mean())
    return torch.stack(terms)


whole("supervised_contrastive", lambda o, t: supervised(o, t, 0.5).mean(), x, kinds)
grades = torch.tensor([1, 3, 2, 2, 0], dtype=torch.float64)
whole(
    "ranking",
    lambda o, t: torch.stack([(0.5 - (o[i] - o[j])).clamp(min=0) for i in range(5) for j in range(5) if t[i] > t[j]]).mean(),
    random(5),
    grades,
)
of("of_triplet", lambda a, p, n: F.triplet_margin_loss(a, p, n, 0.5, **none), x, y, z)
of("of_triplet_swap", lambda a, p, n: F.triplet_margin_loss(a, p, n, 0.5, p=3, swap=True, **none), x, y, z)
signs = torch.tensor([1, -1, 1, 1, -1, -1])
of("of_cosine", lambda a, b, s: F.cosine_embedding_loss(a, b, s, 0.2, **none), x, y, signs)
of("of_ranking", lambda a, b, s: F.margin_ranking_loss(a, b, s, 0.3, **none), random(6), random(6), signs)
of("of_gaussian", lambda m, t, v: F.gaussian_nll_loss(m, t, v, full=True, **none), x, y, z.abs() + 0.1)
of("of_contrastive", lambda a, b, s: pair(F.pairwise_distance(a, b), s == 1), x, y, (signs + 1) // 2)
of("of_info_nce", lambda q, k: F.cross_entropy(F.normalize(q) @ F.normalize(k).T / 0.2, torch.arange(6), **none), x, y)
of("of_nt_xent", lambda a, b: supervised(torch.cat([a, b]), torch.arange(6).repeat(2), 0.2), x, y)
of(
    "of_negative_sampling",
    lambda c, p, n: -F.logsigmoid((c * p).sum(1)) - F.logsigmoid(-(n @ c[:, :, None])[..., 0]).sum(1),
    x, y, random(6, 3, 4),
)


# Alignments. The target of the third is shorter, the fourth repeats a label.
def ctc(o, t, blank=0, times=None, pad=0):
    lengths = ((t >= 0) & (t != blank)).sum(1)
    times = torch.full((len(o),), o.shape[1]) if times is None else times
    return F.ctc_loss(o.log_softmax(2).transpose(0, 1), t.clamp(min=0), times, lengths, blank=blank, **none)


x = random(4, 9, 5)
t = torch.tensor([[1, 2, 3], [4, 1, 4], [2, -1, -1], [3, 3, 1]])
case("ctc", lambda o, t: ctc(o, t), x, t)
case("ctc_mean", lambda o, t: ctc(o, t) / ((t > 0).sum(1)), x, t)
case("ctc_blank", lambda o, t: ctc(o, t, blank=4), x, torch.tensor([[1, 2, 3], [0, 1, 4], [2, 4, 4], [0, 0, 1]]))
times = torch.tensor([9, 6, 3, 4])
x.requires_grad_()
value = ctc(x, t, times=times)
(d,) = torch.autograd.grad(value.mean(), x)
keep("ctc_times", output=x, target=t, times=times, terms=value, d=d)


def save(path, metadata):
    """The format of safetensors, which this environment does not have."""
    names = {np.dtype("float64"): "F64", np.dtype("int64"): "I64", np.dtype("int32"): "I32"}
    header, data = {"__metadata__": metadata}, b""
    for name, value in sorted(tensors.items()):
        bytes_ = np.ascontiguousarray(value).tobytes()
        header[name] = {
            "dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(bytes_)]
        }
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


versions = {"torch": torch.__version__, "numpy": np.__version__, "seed": str(SEED)}
save(Path(__file__).with_name("losses.safetensors"), versions)
