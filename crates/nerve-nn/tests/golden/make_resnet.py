"""Makes resnet.safetensors: what the residual networks of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0
    env/bin/python make_resnet.py

ResNet-18 with 2 channels in its first stage, with the names of torchvision, computed in f64 by PyTorch for
both stems. Parameters and inputs follow a formula (`numbers`), so that they need not be stored. For the
gradient of the loss with respect to each parameter, and for each running statistic, one number is kept: its
product with numbers of the formula. Versions stand in the metadata of the file.
"""

import json
import math
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
tensors = {}


def numbers(stream, shape):
    """Numbers in [-1, 1] that are the same everywhere."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    return (((i * 7919 + stream * 104729) % 2001 - 1000) / 1000).reshape(shape)


def conv(i, o, k, s):
    return nn.Conv2d(i, o, k, s, k // 2, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, 3, stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, 3, 1), nn.BatchNorm2d(o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, stem, width, classes):
        super().__init__()
        self.conv1 = conv(3, width, 7, 2) if stem == "imagenet" else conv(3, width, 3, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        channels = width
        for stage in range(4):
            o, stride = width << stage, 1 if stage == 0 else 2
            blocks = nn.Sequential(BasicBlock(channels, o, stride), BasicBlock(o, o, 1))
            self.add_module(f"layer{stage + 1}", blocks)
            channels = o
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


for stem, size in [("cifar", 16), ("imagenet", 37)]:
    model = ResNet(stem, 2, 5)
    with torch.no_grad():
        for k, (name, p) in enumerate(model.named_parameters()):
            values = numbers(k, p.shape)
            if p.dim() > 1:
                values *= math.sqrt(2 / p[0].numel())
            else:
                values = values * 0.25 + (1.0 if name.endswith("weight") else 0.0)
            p.copy_(values)
    x, labels = numbers(100, (4, 3, size, size)), torch.tensor([1, 4, 0, 2])
    y = model(x)
    F.cross_entropy(y, labels).backward()
    tensors[f"{stem}/train"] = y
    for name, p in model.named_parameters():
        tensors[f"{stem}/d.{name}"] = (p.grad * numbers(7, p.shape)).sum()
    for name, b in model.named_buffers():
        if not name.endswith("tracked"):
            tensors[f"{stem}/{name}"] = (b * numbers(7, b.shape)).sum()
    tensors[f"{stem}/eval"] = model.eval()(x)

header, data = {"__metadata__": {"torch": torch.__version__}}, b""
for name in sorted(tensors):
    raw = b"".join(struct.pack("<d", v) for v in tensors[name].detach().reshape(-1).tolist())
    offsets = [len(data), len(data) + len(raw)]
    header[name] = {"dtype": "F64", "shape": list(tensors[name].shape), "data_offsets": offsets}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
Path(__file__).with_name("resnet.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
