"""Makes conv_lstm.safetensors: what ConvLstm2d of nerve-nn is tested against.

    python -m venv env && env/bin/pip install tensorflow keras
    env/bin/python make_conv_lstm.py

Everything is computed in f64 by Keras, from the random numbers of one seed; versions and seed stand in the
metadata of the file. Arrays are kept in nerve's order (channels before height and width, filters first).
"""

import json
import os
import struct
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

SEED = 20240303
rng = np.random.default_rng(SEED)
keras.backend.set_floatx("float64")
tensors = {}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return np.round(rng.standard_normal(shape) * 256) / 256


def images(x):
    return np.moveaxis(np.asarray(x), -1, -3)


def filters(w):
    return np.transpose(np.asarray(w), (3, 2, 0, 1))


def case(name, shape, mask, **options):
    layer = keras.layers.ConvLSTM2D(2, (3, 2), data_format="channels_last", recurrent_activation="sigmoid", **options)
    x = tf.Variable(random(*shape))
    layer.build(shape)
    for weight in layer.weights:
        weight.assign(random(*weight.shape) / 2)
    with tf.GradientTape() as tape:
        y = layer(x, mask=mask)
        dy = random(*y.shape)
        loss = tf.reduce_sum(y * dy)
    weights = [w.value for w in layer.trainable_weights]
    dx, *dw = tape.gradient(loss, [x, *weights])
    names = ["weight_ih", "weight_hh", "bias"]
    for key, w, d in zip(names, weights, dw):
        turn = filters if key != "bias" else np.asarray
        tensors[f"{name}/{key}"], tensors[f"{name}/d.{key}"] = turn(w), turn(d)
    for key, value in {"x": x, "dx": dx, "y": y, "dy": dy}.items():
        tensors[f"{name}/{key}"] = images(value)


mask = np.arange(3)[None] < np.array([[3], [2]])
case("conv_lstm", (2, 3, 4, 5, 1), None, padding="same", return_sequences=True)
case("conv_lstm_last", (2, 3, 5, 4, 2), mask, padding="valid", strides=(2, 1))

header = {"__metadata__": {"keras": keras.__version__, "tensorflow": tf.__version__, "seed": str(SEED)}}
data = b""
for name in sorted(tensors):
    raw = np.ascontiguousarray(tensors[name], dtype="<f8").tobytes()
    shape, span = list(tensors[name].shape), [len(data), len(data) + len(raw)]
    header[name] = {"dtype": "F64", "shape": shape, "data_offsets": span}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("conv_lstm.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(path.stat().st_size, "bytes")
