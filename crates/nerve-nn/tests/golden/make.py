"""Makes golden.safetensors: what layers, losses and optimizers of nerve-nn are tested against.

    python -m venv env && env/bin/pip install jax==0.10.2 optax==0.2.8 numpy==2.4.6
    JAX_ENABLE_X64=1 env/bin/python make.py

Everything is computed in f64 by JAX and Optax, from the random numbers of one seed. Versions and seed
stand in the metadata of the file. For a layer `x` is the input, `dy` a random gradient of the output;
`y`, `dx` and `d.NAME` are the output and the gradients of sum(y * dy) with respect to input and parameters.
"""

import json
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

SEED = 20240229
rng = np.random.default_rng(SEED)
tensors = {}


def keep(name, **values):
    for key, value in values.items():
        tensors[f"{name}/{key}"] = np.asarray(value)


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return np.round(rng.standard_normal(shape) * 256) / 256


def layer(name, f, x, **params):
    """Keeps input, parameters, output and gradients of f(x, params)."""
    y, back = jax.vjp(f, x, params)
    dy = random(*y.shape)
    dx, dparams = back(jnp.asarray(dy))
    keep(name, x=x, y=y, dy=dy, dx=dx, **params, **{f"d.{k}": v for k, v in dparams.items()})


def conv(x, w, stride, padding, dilation, groups):
    axes = "HW"[: len(stride)]
    return lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NC" + axes, "OI" + axes, "NC" + axes),
    )


def bias(b, rank):
    return b.reshape((-1,) + (1,) * (rank - 2))


layer("dense", lambda x, p: x @ p["weight"].T + p["bias"], random(4, 5), weight=random(3, 5), bias=random(3))
layer(
    "conv2d",
    lambda x, p: conv(x, p["weight"], (2, 1), [(1, 1), (2, 2)], (1, 2), 2) + bias(p["bias"], 4),
    random(2, 4, 7, 6), weight=random(6, 2, 3, 2), bias=random(6),
)
layer(
    "conv2d_same",
    lambda x, p: conv(x, p["weight"], (2, 3), "SAME", (1, 1), 1),
    random(2, 3, 6, 7), weight=random(2, 3, 3, 4),
)
layer(
    "conv1d",
    lambda x, p: conv(x, p["weight"], (2,), [(2, 2)], (3,), 1) + bias(p["bias"], 3),
    random(3, 2, 15), weight=random(4, 2, 3), bias=random(4),
)

WINDOW = dict(window_dimensions=(1, 1, 3, 2), window_strides=(1, 1, 2, 2), padding=[(0, 0), (0, 0), (1, 1), (1, 1)])
layer("max_pool2d", lambda x, p: lax.reduce_window(x, -jnp.inf, lax.max, **WINDOW), random(2, 3, 6, 5))
layer("avg_pool2d", lambda x, p: lax.reduce_window(x, 0.0, lax.add, **WINDOW) / 6, random(2, 3, 6, 5))


def batch_norm(x, p):
    axes = tuple(i for i in range(x.ndim) if i != 1)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-5) * bias(p["weight"], x.ndim) + bias(p["bias"], x.ndim)


for name, shape in [("batch_norm1d", (8, 3)), ("batch_norm2d", (4, 3, 2, 5))]:
    x = random(*shape) * 2 + 1
    layer(name, batch_norm, x, weight=random(3), bias=random(3))
    axes = tuple(i for i in range(x.ndim) if i != 1)
    keep(name, running_mean=0.1 * x.mean(axes), running_var=0.9 + 0.1 * x.var(axes, ddof=1))


def layer_norm(x, p):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-5) * p["weight"] + p["bias"]


layer("layer_norm", layer_norm, random(3, 2, 6) * 3 - 1, weight=random(6), bias=random(6))

indices = np.array([[2, 0, 2], [4, 2, 1]], np.int32)
table, dy = random(5, 3), random(2, 3, 3)
keep("embedding", x=indices, weight=table, y=table[indices], dy=dy)
keep("embedding", **{"d.weight": jax.grad(lambda t: (t[indices] * dy).sum())(table)})

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
    "elu": jax.nn.elu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}
for name, f in ACTIVATIONS.items():
    layer(name, lambda x, p, f=f: f(x), random(3, 8) * 3)


def loss(name, f, output, target):
    value, d = jax.value_and_grad(lambda o: f(o, target))(output)
    keep(name, output=output, target=target, loss=value, d=d)


labels = np.array([1, 4, 0, 2, 4, 1], np.int32)
logits = random(6, 5) * 2
probabilities = np.asarray(jax.nn.softmax(random(6, 5)))
hot = lambda t: jax.nn.one_hot(t, 5, dtype=jnp.float64)
softmax = optax.softmax_cross_entropy
loss("cross_entropy", lambda o, t: softmax(o, hot(t)).mean(), logits, labels)
loss("cross_entropy_smooth", lambda o, t: softmax(o, optax.smooth_labels(hot(t), 0.1)).mean(), logits, labels)
loss("cross_entropy_probabilities", lambda o, t: softmax(o, t).mean(), logits, probabilities)
loss("cross_entropy_ignore", lambda o, t: (softmax(o, hot(t)) * (t != 4)).sum() / (t != 4).sum(), logits, labels)
loss(
    "cross_entropy_axes",
    lambda o, t: softmax(jnp.moveaxis(o, 1, -1), hot(t)).mean(),
    random(2, 5, 3), labels.reshape(2, 3),
)
zero_one = (random(4, 3) > 0).astype(np.float64)
loss("binary_cross_entropy_with_logits", lambda o, t: optax.sigmoid_binary_cross_entropy(o, t).mean(), random(4, 3) * 5, zero_one)
loss(
    "binary_cross_entropy",
    lambda o, t: -(t * jnp.log(o) + (1 - t) * jnp.log(1 - o)).mean(),
    np.asarray(jax.nn.sigmoid(random(4, 3))), zero_one,
)
loss("mse", lambda o, t: optax.squared_error(o, t).mean(), random(4, 3), random(4, 3))
loss("mae", lambda o, t: jnp.abs(o - t).mean(), random(4, 3), random(4, 3))

OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "sgd_momentum": optax.chain(optax.add_decayed_weights(0.02), optax.sgd(0.1, momentum=0.9)),
    "sgd_nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "adam_decay": optax.chain(optax.add_decayed_weights(0.02), optax.adam(0.01, b1=0.8, b2=0.95, eps=1e-4)),
    "adamw": optax.adamw(0.01, weight_decay=0.01),
}
start = random(7)
# Gradients that are not those of any loss: each step has its own.
gradients = random(10, 7) * np.array([1e-3, 1e-2, 0.1, 1, 10, 100, 0])
keep("optimizers", start=start, gradients=gradients)
for name, optimizer in OPTIMIZERS.items():
    w, state, path = jnp.asarray(start), None, []
    state = optimizer.init(w)
    for g in gradients:
        updates, state = optimizer.update(jnp.asarray(g), state, w)
        w = optax.apply_updates(w, updates)
        path.append(w)
    keep("optimizers", **{name: jnp.stack(path)})

NAMES = {np.dtype(np.float64): "F64", np.dtype(np.int32): "I32"}
versions = {"jax": jax.__version__, "optax": optax.__version__, "numpy": np.__version__, "seed": str(SEED)}
header, data = {"__metadata__": versions}, b""
# The widest first, so that everything is aligned.
for name in sorted(tensors, key=lambda n: (-tensors[n].itemsize, n)):
    raw = np.ascontiguousarray(tensors[name]).tobytes()
    header[name] = {
        "dtype": NAMES[tensors[name].dtype],
        "shape": list(tensors[name].shape),
        "data_offsets": [len(data), len(data) + len(raw)],
    }
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
Path(__file__).with_name("golden.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
