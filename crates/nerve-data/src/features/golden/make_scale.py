"""Golden values of the scales of numbers: `python make_scale.py > scale.tsv` (numpy 2, scikit-learn 1.6 or later)."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler

rng = np.random.default_rng(7)
columns = {
    "skewed": np.exp(rng.normal(2, 1.5, 400)).round(3),
    "tied": rng.poisson(0.7, 60).astype(float),
}
asked = {
    "skewed": [-0.5, 0.0, 0.2, 1.0, 5.0, 7.389, 40.0, 300.0, 1e6],
    "tied": [0.0, 0.5, 1.0, 1.9, 2.0, 3.0, 9.0],
}


def line(name, values):
    print(name, *(repr(float(v)) for v in np.ravel(values)), sep="\t")


for name, seen in columns.items():
    at = np.array(asked[name])[:, None]
    seen = seen[:, None]
    # The edges as they are, too.
    at = np.vstack([at, [seen.min()], [seen.max()]])
    line(name, seen)
    line(f"{name}.asked", at)
    line(f"{name}.zscore", StandardScaler().fit(seen).transform(at))
    line(f"{name}.minmax", MinMaxScaler().fit(seen).transform(at))
    line(f"{name}.robust", RobustScaler().fit(seen).transform(at))
    line(f"{name}.log1p", StandardScaler().fit(np.log1p(seen)).transform(np.log1p(at)))
    count = min(max(len(seen) // 30, 10), 1000)
    quantile = QuantileTransformer(n_quantiles=count, output_distribution="normal", subsample=None).fit(seen)
    line(f"{name}.quantile", quantile.transform(at))
    if name == "skewed":
        back = np.array([-6.0, -5.0, -2.5, -1.0, 0.0, 0.3, 1.7, 4.0, 6.0])[:, None]
        line("inverse.asked", back)
        line("inverse.quantile", quantile.inverse_transform(back))
