"""Makes metrics.safetensors, metrics.tsv and texts.tsv: what the metrics of nerve-train are tested against.

    python -m venv env && env/bin/pip install scikit-learn==1.9.1 sacrebleu==2.6.0 jiwer==4.0.0 rouge-score==0.1.2 \
        numpy==2.4.6 safetensors==0.8.0
    env/bin/python make_metrics.py

metrics.tsv: a metric with arguments as `name key=value …`, the data, the value. Values are scikit-learn's, or by the
formula, written plainly, where it has none. texts.tsv: what is computed, the value, the answer, the references.
"""

import math
import warnings
from pathlib import Path

import jiwer
import numpy as np
import sacrebleu
import sklearn
import sklearn.metrics as sk
from rouge_score import rouge_scorer
from safetensors.numpy import save_file

warnings.simplefilter("ignore")
SEED = 20261122
rng = np.random.default_rng(SEED)
here = Path(__file__).parent
tensors, lines = {}, []


def random(*shape):
    # Quarters: exact in f32, with ties.
    return np.round(rng.standard_normal(shape) * 8) / 4


def data(name, output, target):
    tensors[f"{name}/output"], tensors[f"{name}/target"] = output, target
    return name


def keep(metric, name, value):
    lines.append(f"{metric}\t{name}\t{float(value)!r}")


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def of_classes(name, actual, predicted, n):
    """All scores of a confusion matrix."""
    for average in ["micro", "macro", "weighted"]:
        a = dict(average=average)
        keep(f"precision average={average}", name, sk.precision_score(actual, predicted, **a))
        keep(f"recall average={average}", name, sk.recall_score(actual, predicted, **a))
        keep(f"f1 average={average}", name, sk.f1_score(actual, predicted, **a))
        keep(f"f1 beta=0.5 average={average}", name, sk.fbeta_score(actual, predicted, beta=0.5, **a))
        keep(f"iou average={average}", name, sk.jaccard_score(actual, predicted, **a))
    keep("dice", name, sk.f1_score(actual, predicted, average="macro"))
    for c in range(n):
        of = dict(labels=[c], average="macro", zero_division=0)
        keep(f"precision average={c}", name, sk.precision_score(actual, predicted, **of))
        keep(f"recall average={c}", name, sk.recall_score(actual, predicted, **of))
        keep(f"f1 average={c}", name, sk.f1_score(actual, predicted, **of))
        others = actual != c
        keep(f"specificity average={c}", name, (predicted[others] != c).mean() if others.any() else 0)
    keep("balanced_accuracy", name, sk.balanced_accuracy_score(actual, predicted))
    keep("matthews", name, sk.matthews_corrcoef(actual, predicted))
    for weights in [None, "linear", "quadratic"]:
        kappa = sk.cohen_kappa_score(actual, predicted, weights=weights, labels=range(n))
        keep(f"kappa weights={weights or 'none'}".lower(), name, kappa)


def calibration(confidence, right, bins):
    error = 0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            error += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return error / len(confidence)


# Five classes; the third has no example, and the fourth is never predicted.
x, t = random(60, 5), rng.choice([0, 1, 3, 4], 60)
x[:, 3] -= 9
several = data("several", x.astype(np.float32), t)
p, predicted = softmax(x), x.argmax(1)
keep("accuracy", several, sk.accuracy_score(t, predicted))
ranks = [sorted(range(5), key=lambda c: (-row[c], c)).index(label) for row, label in zip(x, t)]
keep("top_k k=2", several, np.mean([r < 2 for r in ranks]))
of_classes(several, t, predicted, 5)
keep("log_loss", several, sk.log_loss(t, p, labels=range(5)))
keep("perplexity", several, math.exp(sk.log_loss(t, p, labels=range(5))))
keep("brier", several, sk.brier_score_loss(t, p, labels=range(5)))
keep("calibration_error", several, calibration(p.max(1), predicted == t, 15))
keep("calibration_error bins=4", several, calibration(p.max(1), predicted == t, 4))
areas = {c: (sk.roc_auc_score(t == c, p[:, c]), sk.average_precision_score(t == c, p[:, c]), (t == c).sum()) for c in [0, 1, 3, 4]}
keep("roc_auc", several, np.mean([a[0] for a in areas.values()]))
keep("roc_auc average=weighted", several, np.average([a[0] for a in areas.values()], weights=[a[2] for a in areas.values()]))
# A class without examples has the average precision 0.
keep("pr_auc", several, np.sum([a[1] for a in areas.values()]) / 5)
shares = data("shares", p, t)
keep("log_loss from_logits=false", shares, sk.log_loss(t, p, labels=range(5)))
keep("brier from_logits=false", shares, sk.brier_score_loss(t, p, labels=range(5)))

# All classes, no ties: one against the rest as scikit-learn has it.
x, t = rng.standard_normal((50, 4)), np.concatenate([np.arange(4), rng.integers(0, 4, 46)])
full = data("full", x, t)
keep("roc_auc", full, sk.roc_auc_score(t, softmax(x), multi_class="ovr"))
keep("roc_auc average=weighted", full, sk.roc_auc_score(t, softmax(x), multi_class="ovr", average="weighted"))
hot = np.eye(4)[t]
keep("pr_auc", full, sk.average_precision_score(hot, softmax(x), average="macro"))
keep("pr_auc average=weighted", full, sk.average_precision_score(hot, softmax(x), average="weighted"))
of_classes(full, t, x.argmax(1), 4)

# Pixels of three classes, some of them unknown.
x, t = random(2, 3, 5, 4), rng.integers(0, 3, (2, 5, 4))
t[0, 0], t[1, 3, 2] = 255, 255
pixels = data("pixels", x.astype(np.float32), t)
seen, a, b = t != 255, x.argmax(1)[t != 255], t[t != 255]
keep("iou ignore_index=255", pixels, sk.jaccard_score(b, a, average="macro"))
keep("dice ignore_class=255", pixels, sk.f1_score(b, a, average="macro"))
rows = np.moveaxis(x, 1, 3)[seen]
keep("perplexity ignore_index=255", pixels, math.exp(sk.log_loss(b, softmax(rows), labels=range(3))))

# Two classes with an output each, and yes or no with one output; ties in the scores.
x, t = random(40, 2), rng.integers(0, 2, 40)
two = data("two", x.astype(np.float32), t)
yes = softmax(x)[:, 1]
keep("precision", two, sk.precision_score(t, x.argmax(1)))
keep("roc_auc", two, sk.roc_auc_score(t, x[:, 1] - x[:, 0]))
keep("pr_auc", two, sk.average_precision_score(t, x[:, 1] - x[:, 0]))
keep("brier", two, sk.brier_score_loss(t, yes))
x, t = random(50, 1), rng.integers(0, 2, 50)
one = data("one", x.astype(np.float32), t)
p = sigmoid(x[:, 0])
predicted = (p > 0.5).astype(int)
keep("binary_accuracy", one, sk.accuracy_score(t, predicted))
keep("precision", one, sk.precision_score(t, predicted))
keep("recall", one, sk.recall_score(t, predicted))
keep("recall threshold=0.3", one, sk.recall_score(t, p > 0.3))
keep("f1", one, sk.f1_score(t, predicted))
keep("specificity", one, sk.recall_score(1 - t, 1 - predicted))
keep("matthews", one, sk.matthews_corrcoef(t, predicted))
keep("roc_auc", one, sk.roc_auc_score(t, p))
keep("pr_auc", one, sk.average_precision_score(t, p))
keep("log_loss", one, sk.log_loss(t, p))
keep("brier", one, sk.brier_score_loss(t, p))
keep("calibration_error bins=7", one, calibration(np.maximum(p, 1 - p), predicted == t, 7))
# Only one class.
only = data("only", x.astype(np.float32), np.zeros(50, np.int64))
keep("roc_auc", only, math.nan)
keep("pr_auc", only, sk.average_precision_score(np.zeros(50), p))
keep("precision", only, sk.precision_score(np.zeros(50), predicted))
keep("recall", only, sk.recall_score(np.zeros(50), predicted))
keep("balanced_accuracy", only, sk.balanced_accuracy_score(np.zeros(50), predicted))
keep("matthews", only, sk.matthews_corrcoef(np.zeros(50), predicted))
sure = data("sure", np.full((9, 1), -2.0), np.zeros(9, np.int64))
keep("matthews", sure, sk.matthews_corrcoef(np.zeros(9), np.zeros(9)))
keep("kappa", sure, math.nan)
keep("f1", sure, sk.f1_score(np.zeros(9), np.zeros(9)))

# Numbers, far from zero.
x = rng.standard_normal((30, 3)) + [1e6, 0, -50]
t = x + 0.5 * rng.standard_normal((30, 3)) + 0.25


def numbers(name, o, t):
    keep("mae", name, sk.mean_absolute_error(t, o))
    keep("mse", name, sk.mean_squared_error(t, o))
    keep("rmse", name, math.sqrt(np.mean((t - o) ** 2)))
    keep("mape", name, 100 * sk.mean_absolute_percentage_error(t, o))
    keep("smape", name, np.mean(200 * np.abs(t - o) / np.maximum(np.abs(t) + np.abs(o), 1e-300)))
    keep("mase scale=0.75", name, sk.mean_absolute_error(t, o) / 0.75)
    keep("quantile_loss q=0.9", name, sk.mean_pinball_loss(t, o, alpha=0.9))
    keep("r2", name, sk.r2_score(t, o))
    keep("explained_variance", name, sk.explained_variance_score(t, o))
    keep("max_error", name, np.abs(t - o).max())


numbers(data("numbers", x, t), x, t)
keep("r2 average=variance", "numbers", sk.r2_score(t, x, multioutput="variance_weighted"))
keep("explained_variance average=variance", "numbers", sk.explained_variance_score(t, x, multioutput="variance_weighted"))
a, b = rng.standard_normal(40), rng.standard_normal(40)
numbers(data("noise", a, b), a, b)
numbers(data("constant", a, np.full(40, 3.0)), a, np.full(40, 3.0))
numbers(data("right", a, a), a, a)
keep("msle", data("positive", np.abs(a), np.abs(b)), sk.mean_squared_log_error(np.abs(b), np.abs(a)))
forecast = np.sort(rng.standard_normal((20, 3)), axis=1)
truth = rng.standard_normal(20)
inside = (truth >= forecast[:, 0]) & (truth <= forecast[:, 2])
keep("interval_coverage", data("forecast", forecast, truth), inside.mean())

# Orders, with ties; the fifth example has nothing relevant.
x, r = random(12, 8).astype(np.float32), rng.integers(0, 4, (12, 8)).astype(np.float64) * (rng.random((12, 8)) < 0.4)
r[4] = 0
orders = data("orders", x, r)
keep("ndcg", orders, sk.ndcg_score(r, x))
keep("ndcg k=3", orders, sk.ndcg_score(r, x, k=3))


def first(row):
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def precision_mean(row, relevance, k):
    found = [relevance[i] > 0 for i in first(row)[:k]]
    whole = min(k, (relevance > 0).sum())
    return sum(f * np.mean(found[: i + 1]) for i, f in enumerate(found)) / whole if whole else 0


keep("map", orders, np.mean([precision_mean(a, b, 8) for a, b in zip(x, r)]))
keep("map k=2", orders, np.mean([precision_mean(a, b, 2) for a, b in zip(x, r)]))
keep("hit_at_k k=2", orders, np.mean([any(b[i] > 0 for i in first(a)[:2]) for a, b in zip(x, r)]))
keep("mrr", orders, np.mean([max([1 / (n + 1) for n, i in enumerate(first(a)) if b[i] > 0], default=0) for a, b in zip(x, r)]))
keep("item_coverage k=1", orders, len({first(a)[0] for a in x}) / 8)
plain = rng.standard_normal((12, 8))
some = (rng.random((12, 8)) < 0.4).astype(np.float64)
some[:, 0] = 1
keep("map", data("found", plain, some), sk.label_ranking_average_precision_score(some, plain))
index = rng.integers(0, 8, 12)
keep("mrr", data("index", plain, index), sk.label_ranking_average_precision_score(np.eye(8)[index], plain))
keep("ndcg k=5", "index", sk.ndcg_score(np.eye(8)[index], plain, k=5))

# Sequences of tokens, of which 0 fills up; numbers of their own, so that those of the others stay.
own = np.random.default_rng(SEED + 1)
x = np.round(own.standard_normal((9, 6, 5)) * 8) / 4
t = np.where(np.arange(5) < own.integers(1, 6, (9, 1)), own.integers(1, 6, (9, 5)), 0)
tokens = data("tokens", x.astype(np.float32), t.astype(np.int32))
scores, right = np.moveaxis(x, 1, 2).reshape(-1, 6), t.reshape(-1)
for ignored in [0, 3, -1]:
    counts = right != ignored
    keep(f"token_accuracy ignore_index={ignored}", tokens, sk.accuracy_score(right[counts], scores[counts].argmax(1)))
    surprise = sk.log_loss(right[counts], softmax(scores[counts]), labels=range(6))
    keep(f"token_perplexity ignore_index={ignored}", tokens, math.exp(surprise))

save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, here / "metrics.safetensors")
versions = f"# scikit-learn {sklearn.__version__}, numpy {np.__version__}, seed {SEED}\n"
(here / "metrics.tsv").write_text(versions + "\n".join(lines) + "\n")

# Texts.
lines = []


def text(what, value, answer, references):
    fields = [what, repr(float(value)), answer, *references]
    lines.append("\t".join(field.replace("\n", "\\n") for field in fields))


sentences = [
    ("The dog bit the man.", ["The dog bit the man.", "The dog had bit the man."]),
    ("It wasn't 3.5% or 1,000-2,000; it cost $4 (four)!", ["It was not 3.5%, it was 1,000 dollars.", "It cost four dollars -- 1,000?"]),
    ("the the the the", ["the cat is on the mat", "there is a cat"]),
    ("A &quot;quoted&quot; e.g. well-known U.S.A. word, i.e.: x/y [z] ~ 5-6.", ["A quoted word, e.g. x / y 5-6 .", "Well known."]),
    ("nothing in common", ["entirely different words here", "quite other ones"]),
    ("Über straße naïve, 日本語 text…", ["Über Straße naive, 日本語 text", "über straße"]),
    ("short", ["a much longer reference sentence than that", "short"]),
    ("it is a guide to action which ensures that the military always obeys", ["it is a guide to action that ensures that the military will forever heed", "it is the guiding principle"]),
]
bleu = sacrebleu.BLEU(effective_order=True)
for answer, references in sentences:
    text("bleu_sentence", bleu.sentence_score(answer, references).score, answer, references)
    text("chrf", sacrebleu.CHRF().sentence_score(answer, references).score, answer, references)
    text("chrf++", sacrebleu.CHRF(word_order=2).sentence_score(answer, references).score, answer, references)
answers = [a for a, _ in sentences]
streams = [[r[i] for _, r in sentences] for i in range(2)]
text("bleu_corpus", sacrebleu.corpus_bleu(answers, streams).score, "", [])
text("bleu_corpus_first", sacrebleu.corpus_bleu(answers[2:6], [streams[0][2:6]]).score, "", [])
text("chrf_corpus", sacrebleu.corpus_chrf(answers, streams).score, "", [])

summaries = [
    ("the cat sat on the mat", "the cat was found under the bed"),
    ("Don't panic: it's fine!", "do not panic, it is fine"),
    ("", "something"),
    ("The rain fell all day.\nRivers rose.\nPeople left.", "All day the rain fell and rivers rose.\nPeople left their homes, people said."),
    ("police kill the gunman", "the gunman police killed"),
]
scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
for answer, reference in summaries:
    for name, score in scorer.score(reference, answer).items():
        for key in ["precision", "recall", "fmeasure"]:
            text(f"{name} {key}", getattr(score, key), answer, [reference])

spoken = [
    ("hello duck", "hello world"), ("the cat  sat down", " the cat sat"), ("on mat", "on the mat"), ("", "gone away"),
    ("a b c d e", "a c b e"), ("größer", "grosser"),
]
for answer, reference in spoken:
    text("wer", jiwer.wer(reference, answer), answer, [reference])
    text("cer", jiwer.cer(reference, answer), answer, [reference])
text("wer_corpus", jiwer.wer([r for _, r in spoken], [a for a, _ in spoken]), "", [])
text("cer_corpus", jiwer.cer([r for _, r in spoken], [a for a, _ in spoken]), "", [])
versions = f"# sacrebleu {sacrebleu.__version__}, jiwer 4.0.0, rouge-score 0.1.2\n"
(here / "texts.tsv").write_text(versions + "\n".join(lines) + "\n")
