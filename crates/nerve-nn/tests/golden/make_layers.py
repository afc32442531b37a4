"""Makes layers.safetensors: what the layers of the catalogue of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0 torchvision==0.29.2 numpy
    env/bin/python make_layers.py

Everything is computed in f64 by PyTorch, from the random numbers of one seed. Each case is a layer as a recipe
of nerve writes it beside the same in PyTorch; the recipe's words stand in the metadata of the file under the
name of the case, with versions and seed. Names of tensors are as in make.py: `x`, `y`, `dy`, `dx`, parameters
and `d.PARAMETER`; `b.BUFFER` is a buffer after the pass.
"""

import importlib
import json
import struct
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

SEED = 20240302
torch.manual_seed(SEED)
torch.set_default_dtype(torch.float64)
tensors, metadata = {}, {"torch": torch.__version__, "torchvision": torchvision.__version__, "seed": str(SEED)}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32. Never 0, where functions have their corners.
    x = (torch.randn(*shape) * 256).round() / 256
    return torch.where(x == 0, 1 / 256, x)


class Function(nn.Module):
    """A function, or several modules with names, as a module."""

    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for key, part in parts.items():
            setattr(self, key, part)

    def forward(self, x):
        return self.f(self, x) if list(self.children()) or list(self.parameters()) else self.f(x)


def case(recipe, module, *shape, x=None):
    """`recipe`: the type, a space, the arguments. The name of the case is its number."""
    name = f"case{len(metadata)}"
    metadata[name] = recipe
    if not isinstance(module, nn.Module):
        module = Function(module)
    module.train()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(random(*p.shape) / 2)
    x = (random(*shape) if x is None else x).requires_grad_()
    # Where buffers are not constants to begin with, `a.BUFFER` is what they were before the pass.
    keep = {f"a.{key}": b.clone() for key, b in module.named_buffers() if "parametrizations" in key}
    y = module(x)
    dy = random(*y.shape)
    (y * dy).sum().backward()
    keep |= {"x": x, "y": y, "dy": dy, "dx": x.grad}
    for key, p in module.named_parameters():
        keep |= {key: p, f"d.{key}": p.grad}
    for key, b in module.named_buffers():
        if b.is_floating_point():
            keep[f"b.{key}"] = b
    tensors.update({f"{name}/{key}": t.detach().contiguous() for key, t in keep.items()})


# Convolutions. `same` with a stride is that of Keras: ceil(n / stride) windows, the odd zero behind.
case("Conv3d filters = 3, kernel = [2, 3, 1], padding = [1, 0, 2], stride = [2, 1, 1]",
     nn.Conv3d(2, 3, (2, 3, 1), (2, 1, 1), (1, 0, 2)), 2, 2, 3, 4, 2)
case("Conv3d filters = 4, kernel = 2, dilation = [2, 1, 1], groups = 2, bias = false",
     nn.Conv3d(2, 4, 2, dilation=(2, 1, 1), groups=2, bias=False), 1, 2, 4, 3, 3)
case("Conv3d filters = 2, kernel = 3, padding = 'same'", nn.Conv3d(1, 2, 3, padding="same"), 1, 1, 3, 2, 4)
causal = Function(lambda m, x: m.conv(F.pad(x, (4, 0))), conv=nn.Conv1d(2, 3, 3, dilation=2))
causal.named_parameters = causal.conv.named_parameters
case("Conv1d filters = 3, kernel = 3, dilation = 2, padding = 'causal'", causal, 2, 2, 6)
same = Function(lambda m, x: m.conv(F.pad(x, (0, 1, 1, 1))), conv=nn.Conv2d(2, 2, 3, 2))
same.named_parameters = same.conv.named_parameters
case("Conv2d filters = 2, kernel = 3, stride = 2, padding = 'same'", same, 1, 2, 5, 6)
case("DepthwiseConv2d kernel = 3, multiplier = 2, padding = 1", nn.Conv2d(3, 6, 3, padding=1, groups=3), 2, 3, 4, 3)
case("SeparableConv2d filters = 3, kernel = 2, stride = 2",
     Function(lambda m, x: m.pointwise(m.depthwise(x)), depthwise=nn.Conv2d(2, 2, 2, 2, groups=2, bias=False),
              pointwise=nn.Conv2d(2, 3, 1)), 2, 2, 4, 5)
case("ConvTranspose1d filters = 3, kernel = 4, stride = 3, padding = 1, output_padding = 2",
     nn.ConvTranspose1d(2, 3, 4, 3, 1, 2), 2, 2, 4)
case("ConvTranspose2d filters = 4, kernel = [3, 2], stride = [2, 1], padding = [1, 0], output_padding = [1, 0], groups = 2",
     nn.ConvTranspose2d(2, 4, (3, 2), (2, 1), (1, 0), (1, 0), groups=2), 2, 2, 3, 4)
case("ConvTranspose2d filters = 2, kernel = 3, dilation = 2, bias = false",
     nn.ConvTranspose2d(3, 2, 3, dilation=2, bias=False), 1, 3, 2, 3)
case("ConvTranspose3d filters = 2, kernel = [2, 3, 2], stride = [2, 1, 3], padding = [0, 1, 0]",
     nn.ConvTranspose3d(2, 2, (2, 3, 2), (2, 1, 3), (0, 1, 0)), 1, 2, 2, 3, 2)
# Keras' `same`: stride times as long; 3 with stride 2 cuts 1 at the end.
cut = Function(lambda m, x: m.conv(x)[..., :-1], conv=nn.ConvTranspose1d(2, 2, 3, 2))
cut.named_parameters = cut.conv.named_parameters
case("ConvTranspose1d filters = 2, kernel = 3, stride = 2, padding = 'same'", cut, 2, 2, 4)

# Pooling.
case("MaxPool1d pool = 3, stride = 2, padding = 1", nn.MaxPool1d(3, 2, 1), 2, 2, 7)
case("MaxPool2d pool = [3, 2], stride = 2, padding = [1, 0], ceil_mode = true",
     nn.MaxPool2d((3, 2), 2, (1, 0), ceil_mode=True), 1, 2, 6, 5)
case("MaxPool3d pool = 2, stride = [1, 2, 2], ceil_mode = true", nn.MaxPool3d(2, (1, 2, 2), ceil_mode=True), 1, 2, 3, 4, 5)
case("MaxPool3d pool = 3, stride = 2, padding = 1", nn.MaxPool3d(3, 2, 1), 1, 2, 3, 4, 5)
case("AvgPool1d pool = 3, stride = 2, padding = 1, ceil_mode = true", nn.AvgPool1d(3, 2, 1, ceil_mode=True), 2, 2, 6)
for count in ["true", "false"]:
    case(f"AvgPool2d pool = 3, stride = 2, padding = 1, ceil_mode = true, count_include_pad = {count}",
         nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=count == "true"), 1, 2, 6, 5)
    case(f"AvgPool3d pool = [2, 3, 2], padding = [1, 1, 0], count_include_pad = {count}",
         nn.AvgPool3d((2, 3, 2), padding=(1, 1, 0), count_include_pad=count == "true"), 1, 2, 3, 4, 5)
case("LpPool1d p = 3, pool = 3, stride = 2", nn.LPPool1d(3, 3, 2), 2, 2, 7, x=random(2, 2, 7).abs() + 1 / 256)
case("LpPool2d pool = [2, 3]", nn.LPPool2d(2, (2, 3)), 2, 2, 4, 7)
case("LpPool3d p = 2, pool = 2, stride = 1", nn.LPPool3d(2, 2, 1), 1, 1, 3, 2, 3)
case("AdaptiveAvgPool1d size = 4", nn.AdaptiveAvgPool1d(4), 2, 2, 7)
case("AdaptiveAvgPool2d size = [3, 5]", nn.AdaptiveAvgPool2d((3, 5)), 1, 2, 7, 4)
case("AdaptiveAvgPool3d size = [2, 3, 1]", nn.AdaptiveAvgPool3d((2, 3, 1)), 1, 2, 3, 6, 2)
case("AdaptiveMaxPool1d size = 3", nn.AdaptiveMaxPool1d(3), 2, 2, 8)
case("AdaptiveMaxPool2d size = [2, 3]", nn.AdaptiveMaxPool2d((2, 3)), 1, 2, 5, 6)
case("AdaptiveMaxPool3d size = 2", nn.AdaptiveMaxPool3d(2), 1, 1, 3, 4, 5)

# Activations.
ACTIVATIONS = {
    "selu": F.selu, "celu alpha = 0.5": lambda x: F.celu(x, 0.5), "log_sigmoid": F.logsigmoid, "mish": F.mish,
    "softsign": F.softsign, "exponential": torch.exp, "squareplus": lambda x: (x + (x * x + 4).sqrt()) / 2,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu6": F.relu6, "hard_sigmoid": lambda x: (x + 3).clamp(0, 6) / 6,  # F.hardsigmoid has 1/6 in f32.
   
    "hard_swish": F.hardswish, "hard_tanh low = -0.5, high = 2": lambda x: F.hardtanh(x, -0.5, 2.0),
    "hard_shrink": F.hardshrink, "soft_shrink lambda = 0.75": lambda x: F.softshrink(x, 0.75),
    "tanh_shrink": F.tanhshrink, "threshold threshold = 0.5, value = -2": lambda x: F.threshold(x, 0.5, -2.0),
    "softmin": lambda x: F.softmin(x, -1),
    "elu alpha = 0.5": lambda x: F.elu(x, 0.5), "leaky_relu slope = 0.25": lambda x: F.leaky_relu(x, 0.25),
    "GLU": lambda x: F.glu(x, 1), "ReGLU": lambda x: x[:, 4:].relu() * x[:, :4],
    "GEGLU": lambda x: F.gelu(x[:, 4:]) * x[:, :4], "SwiGLU": lambda x: F.silu(x[:, 4:]) * x[:, :4],
    "Maxout pieces = 2": lambda x: x.reshape(3, 4, 2).amax(-1),
}
for recipe, f in ACTIVATIONS.items():
    case(recipe, f, x=random(3, 8) * 3)
case("PReLU", nn.PReLU(3), 2, 3, 4)
case("PReLU shared = true", nn.PReLU(), 2, 3, 4)
case("GLU axis = -1", lambda x: F.glu(x, -1), 2, 3, 4)

# Normalisation.
case("GroupNorm groups = 2", nn.GroupNorm(2, 4), 3, 4, 2, 3)
case("GroupNorm groups = 3, affine = false, eps = 1e-3", nn.GroupNorm(3, 6, 1e-3, False), 2, 6, 4)
case("InstanceNorm", nn.InstanceNorm1d(3), 2, 3, 5)
case("InstanceNorm affine = true", nn.InstanceNorm2d(2, affine=True), 2, 2, 3, 3)
case("RMSNorm", nn.RMSNorm(6, eps=1e-6), 2, 3, 6)
case("LocalResponseNorm size = 3, alpha = 0.5, beta = 0.6, k = 2", nn.LocalResponseNorm(3, 0.5, 0.6, 2.0), 2, 5, 3)
case("LRN size = 4, alpha = 1", nn.LocalResponseNorm(4, 1.0), 1, 6, 2, 2)
case("UnitNorm axis = 1, p = 3", lambda x: F.normalize(x, 3.0, 1), 2, 3, 4)
case("BatchNorm", nn.BatchNorm3d(2), 2, 2, 3, 2, 2)
# Padding, up-sampling, moves.
case("ZeroPad2d padding = [[0, 1], [2, 0]]", nn.ZeroPad2d((2, 0, 0, 1)), 1, 2, 3, 2)
case("ReflectionPad1d padding = [[2, 1]]", nn.ReflectionPad1d((2, 1)), 2, 2, 4)
case("ReflectionPad2d padding = [[1, 2], [0, 1]]", nn.ReflectionPad2d((0, 1, 1, 2)), 1, 2, 3, 4)
case("ReflectionPad3d padding = 1", nn.ReflectionPad3d(1), 1, 1, 2, 3, 2)
case("ReplicationPad2d padding = [[1, 3], [2, 0]]", nn.ReplicationPad2d((2, 0, 1, 3)), 1, 2, 3, 2)
case("CircularPad2d padding = [[1, 2], [0, 1]]", nn.CircularPad2d((0, 1, 1, 2)), 1, 2, 3, 2)
case("Upsample1d factor = 3, mode = 'linear'", nn.Upsample(scale_factor=3, mode="linear"), 2, 2, 4)
case("Upsample2d factor = [2, 3], mode = 'bilinear'", nn.Upsample(scale_factor=(2, 3), mode="bilinear"), 1, 2, 3, 2)
case("Upsample2d factor = 2, mode = 'bilinear', align_corners = true",
     nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), 1, 2, 3, 2)
case("Upsample2d size = [5, 3], mode = 'bilinear'", nn.Upsample(size=(5, 3), mode="bilinear"), 1, 2, 3, 4)
case("Upsample2d size = [5, 2]", nn.Upsample(size=(5, 2)), 1, 2, 3, 4)
case("Upsample3d factor = 2", nn.Upsample(scale_factor=2), 1, 1, 2, 1, 3)
case("Upsample3d size = [3, 4, 2], mode = 'trilinear', align_corners = true",
     nn.Upsample(size=(3, 4, 2), mode="trilinear", align_corners=True), 1, 1, 2, 3, 1)
case("PixelShuffle factor = 2", nn.PixelShuffle(2), 1, 8, 2, 3)
case("PixelUnshuffle factor = 2", nn.PixelUnshuffle(2), 1, 2, 4, 2)
case("ChannelShuffle groups = 3", nn.ChannelShuffle(3), 1, 6, 2)

norm = nn.utils.parametrizations
case("WeightNorm layer = { type = 'Dense', units = 4 }", norm.weight_norm(nn.Linear(3, 4)), 2, 3)
case("WeightNorm layer = { type = 'Conv2d', filters = 2, kernel = 2 }", norm.weight_norm(nn.Conv2d(3, 2, 2)), 2, 3, 3, 3)

for recipe, module in [
    ("Dense', units = 4", nn.Linear(3, 4)), ("ConvTranspose1d', filters = 4, kernel = 2, groups = 2", nn.ConvTranspose1d(2, 4, 2, groups=2)),
]:
    shape = (2, 3) if "Dense" in recipe else (2, 2, 3)
    case(f"SpectralNorm layer = {{ type = '{recipe} }}, iterations = 2", norm.spectral_norm(module, n_power_iterations=2), *shape)

# Blocks.
def of(module, kind):
    return getattr(importlib.import_module(f"torchvision.models.{module}"), kind)


case("SqueezeExcitation reduction = 2, activation = 'silu'", torchvision.ops.SqueezeExcitation(4, 2, nn.SiLU), 2, 4, 2, 3)
case("InvertedResidual filters = 3, expansion = 2", of("mobilenetv2", "InvertedResidual")(3, 3, 1, 2), 2, 3, 3, 4)
case("InvertedResidual filters = 2, stride = 2, expansion = 1", of("mobilenetv2", "InvertedResidual")(3, 2, 2, 1), 2, 3, 4, 3)
case("DenseBlock n = 2, growth = 2, bottleneck = 2", of("densenet", "_DenseBlock")(2, 3, 2, 2, 0.0), 2, 3, 3, 2)
case("Inception one = 2, three_reduce = 1, three = 2, five_reduce = 2, five = 1, pool = 2, five_kernel = '3'",
     of("googlenet", "Inception")(3, 2, 1, 2, 2, 1, 2), 2, 3, 3, 4)
case("ShuffleUnit filters = 4", of("shufflenetv2", "InvertedResidual")(4, 4, 1), 2, 4, 3, 2)
case("ShuffleUnit filters = 6, stride = 2", of("shufflenetv2", "InvertedResidual")(3, 6, 2), 2, 3, 4, 3)

# MORE

header, data = {"__metadata__": metadata}, b""
small = lambda t: t.dtype == torch.float64 and bool((t.float().double() == t).all())
packed = {name: t.float() if small(t) else t for name, t in tensors.items()}
NAMES = {torch.float64: "F64", torch.float32: "F32"}
# The widest first, so that everything is aligned.
for name in sorted(packed, key=lambda n: (-packed[n].itemsize, n)):
    raw = packed[name].numpy().tobytes()
    offsets = [len(data), len(data) + len(raw)]
    header[name] = {"dtype": NAMES[packed[name].dtype], "shape": list(packed[name].shape), "data_offsets": offsets}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("layers.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(len(metadata) - 3, "cases,", path.stat().st_size, "bytes")
