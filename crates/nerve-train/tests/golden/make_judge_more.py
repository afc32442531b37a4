"""Scores of sets, quantiles and pictures by scikit-learn and scikit-image, for `judge_more.rs`.

    pip install scikit-learn==1.9.1 scikit-image
    python make_judge_more.py > judge_more.tsv
"""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn import metrics

random = np.random.default_rng(11)


def line(name, values):
    print("\t".join([name] + [repr(float(v)) for v in np.ravel(values)]))


# Sets: 60 rows of 5 names, of which the last is never there and never answered; some rows are empty in both.
truth = (random.random((60, 5)) < 0.3).astype(int)
p = np.clip(0.5 + 0.35 * (truth - 0.5) + 0.3 * random.standard_normal((60, 5)), 0.01, 0.99).astype(np.float32)
truth[:, 4], p[:, 4] = 0, 0.02
truth[:6], p[:3] = 0, 0.03
said = (p > 0.5).astype(int)
line("set/truth", truth)
line("set/p", p)
line("set/subset_accuracy", metrics.accuracy_score(truth, said))
line("set/jaccard", metrics.jaccard_score(truth, said, average="samples", zero_division=1))
line("set/f1_micro", metrics.f1_score(truth, said, average="micro"))
line("set/f1_macro", metrics.f1_score(truth, said, average="macro", zero_division=0))
line("set/precision_micro", metrics.precision_score(truth, said, average="micro"))
line("set/recall_micro", metrics.recall_score(truth, said, average="micro"))
line("set/hamming_loss", metrics.hamming_loss(truth, said))
double = p.astype(float)
line("set/log_loss", -(truth * np.log(double) + (1 - truth) * np.log(1 - double)).mean())

# Quantiles: 30 rows, 4 steps, 3 quantiles.
at = [0.1, 0.5, 0.9]
truth = random.normal(10, 3, (30, 4))
values = truth[..., None] + random.normal(0, 2, (30, 4, 1)) + np.array([-2.0, 0.0, 2.5])
line("band/truth", truth)
line("band/values", values)
losses = [metrics.mean_pinball_loss(truth.ravel(), values[..., i].ravel(), alpha=q) for i, q in enumerate(at)]
line("band/pinball", np.mean(losses))
line("band/coverage_80", ((values[..., 0] <= truth) & (truth <= values[..., 2])).mean())
line("band/width_80", (values[..., 2] - values[..., 0]).mean())
line("band/mae", metrics.mean_absolute_error(truth.ravel(), values[..., 1].ravel()))

# A picture of 3 channels, 20 by 17.
truth = np.round(128 + 90 * np.sin(np.arange(3 * 20 * 17).reshape(3, 20, 17) / 7.0))
answer = np.clip(truth + random.normal(0, 12, truth.shape), 0, 255)
line("picture/truth", truth)
line("picture/answer", answer)
line("picture/psnr", peak_signal_noise_ratio(truth, answer, data_range=255))
line(
    "picture/ssim",
    structural_similarity(
        truth, answer, channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    ),
)
