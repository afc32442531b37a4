"""Makes models.safetensors: what networks of the zoo of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0 torchvision==0.29.2
    env/bin/python make_models.py

The metadata hold the names and shapes of all parameters of networks of torchvision, in order. Of two of them
the output in training is kept, in f64, for parameters and images that follow a formula (`numbers`), and for the
gradient of the loss with respect to some parameters its product with numbers of the formula.
"""

import json
import math
import struct
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
models = torchvision.models
metadata = {"torch": torch.__version__, "torchvision": torchvision.__version__}
tensors = {}


def numbers(stream, shape):
    """Numbers in [-1, 1] that are the same everywhere."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    return (((i * 7919 + stream * 104729) % 2001 - 1000) / 1000).reshape(shape)


with torch.device("meta"):
    for name in ["resnet50", "mobilenet_v2", "vgg11", "vgg16_bn"]:
        network = getattr(models, name)()
        parts = [f"{key} {list(p.shape)}" for key, p in network.named_parameters()]
        metadata[name] = "\n".join(parts)

for name, size in [("mobilenet_v2", 64), ("resnet50", 40)]:
    network = getattr(models, name)(num_classes=5)
    with torch.no_grad():
        for k, (key, p) in enumerate(network.named_parameters()):
            values = numbers(k, p.shape)
            if p.dim() > 1:
                values = values * math.sqrt(2 / p[0].numel())
            else:
                values = values * 0.25 + (1.0 if key.endswith("weight") else 0.0)
            p.copy_(values)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x, labels = numbers(100, (4, 3, size, size)), torch.tensor([1, 4, 0, 2])
    y = network(x)
    F.cross_entropy(y, labels).backward()
    tensors[f"{name}/y"] = y.detach()
    for k, (key, p) in enumerate(network.named_parameters()):
        if k % 7 == 0:
            tensors[f"{name}/d.{key}"] = (p.grad * numbers(7, p.shape)).sum()

header, data = {"__metadata__": metadata}, b""
for name in sorted(tensors):
    raw = tensors[name].contiguous().numpy().tobytes()
    offsets = [len(data), len(data) + len(raw)]
    header[name] = {"dtype": "F64", "shape": list(tensors[name].shape), "data_offsets": offsets}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("models.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(path.stat().st_size, "bytes")
