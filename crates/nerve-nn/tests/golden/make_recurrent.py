"""Makes recurrent.safetensors: what the recurrent layers of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0 numpy
    env/bin/python make_recurrent.py

Everything is computed in f64 by PyTorch, from the random numbers of one seed. Names are as in make.py.
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn

SEED = 20240301
torch.manual_seed(SEED)
torch.set_default_dtype(torch.float64)
tensors = {}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return (torch.randn(*shape) * 256).round() / 256


def prepared(layer):
    for parameter in layer.parameters():
        parameter.data = random(*parameter.shape) / 2
    return layer


def keep(name, **values):
    for key, value in values.items():
        tensors[f"{name}/{key}"] = value.detach().contiguous()


def layer(name, layer, x, last):
    """Keeps input, parameters, output and gradients; the output is the last step or all."""
    x.requires_grad_(True)
    y = prepared(layer)(x)[0]
    y = y[:, -1] if last else y
    dy = random(*y.shape)
    (y * dy).sum().backward()
    keep(name, x=x, y=y, dy=dy, dx=x.grad)
    for key, parameter in layer.named_parameters():
        keep(name, **{key: parameter, f"d.{key}": parameter.grad})


deep = dict(num_layers=2, bidirectional=True, batch_first=True)
layer("lstm", nn.LSTM(3, 5, batch_first=True), random(4, 6, 3), True)
layer("lstm_deep", nn.LSTM(3, 4, **deep), random(2, 3, 3), False)
layer("gru", nn.GRU(3, 5, batch_first=True, bias=False), random(4, 6, 3), True)
layer("gru_deep", nn.GRU(3, 4, **deep), random(2, 3, 3), False)
layer("rnn_deep", nn.RNN(3, 4, **deep), random(2, 3, 3), False)
layer("rnn_relu", nn.RNN(3, 5, nonlinearity="relu", batch_first=True), random(3, 4, 3), False)

for name, kind in [("lstm_states", nn.LSTM), ("gru_states", nn.GRU)]:
    net, x, h0, c0 = prepared(kind(3, 4, **deep)), random(2, 5, 3), random(4, 2, 4), random(4, 2, 4)
    if kind is nn.LSTM:
        y, (h, c) = net(x, (h0, c0))
        keep(name, c0=c0, c=c)
    else:
        y, h = net(x, h0)
    keep(name, x=x, h0=h0, y=y, h=h, **dict(net.named_parameters()))

header, offset = {"__metadata__": {"torch": torch.__version__, "seed": str(SEED)}}, 0
for name, value in tensors.items():
    end = offset + value.numel() * 8
    header[name] = {"dtype": "F64", "shape": list(value.shape), "data_offsets": [offset, end]}
    offset = end
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).parent / "recurrent.safetensors"
data = b"".join(value.numpy().tobytes() for value in tensors.values())
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(path.stat().st_size, "bytes")
