"""Makes frame.pkl.xz, a frame as a package of data sets keeps it: python frame.py (pandas 2.2.3)."""
import lzma
import pickle

import pandas as pd

frame = pd.DataFrame({
    "name": ["a, b", None, "c"],
    "price": [1.5, float("nan"), -2.0],
    "whole": [1, 2, 3],
    "there": [True, False, True],
})
with open("frame.pkl.xz", "wb") as file:
    file.write(lzma.compress(pickle.dumps(frame, protocol=5)))
