"""Makes transformer.safetensors: what attention and transformer layers of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0
    env/bin/python make_transformer.py

Everything is computed in f64 by PyTorch, from the random numbers of one seed; versions and seed stand in the
metadata of the file. For each case `x` is the input (and `memory` what it looks at), `dy` a random gradient of
the output; `y`, `dx`, `dmemory` and `d.NAME` are the output and the gradients of sum(y * dy).
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn

SEED = 20240229
torch.set_default_dtype(torch.float64)
torch.manual_seed(SEED)
tensors = {}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return torch.round(torch.randn(*shape) * 256) / 256


def case(name, module, run, *inputs):
    """Keeps parameters, inputs, output and gradients of run(*inputs)."""
    module.train()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(random(*p.shape) / 2)
    inputs = [random(*shape).requires_grad_() for shape in inputs]
    y = run(*inputs)
    dy = random(*y.shape)
    (y * dy).sum().backward()
    keep = {"y": y, "dy": dy}
    for key, x in zip(["x", "memory"], inputs):
        keep |= {key: x, f"d{key}": x.grad}
    for key, p in module.named_parameters():
        keep |= {key: p, f"d.{key}": p.grad}
    tensors.update({f"{name}/{key}": t.detach() for key, t in keep.items()})


BATCH, TIME, KEYS, FEATURES, HEADS, HIDDEN = 2, 5, 4, 6, 2, 7
X, MEMORY = (BATCH, TIME, FEATURES), (BATCH, KEYS, FEATURES)


def attention(**options):
    return nn.MultiheadAttention(FEATURES, HEADS, batch_first=True, **options)


m = attention()
case("self_attention", m, lambda x: m(x, x, x, need_weights=False)[0], X)
m = attention(bias=False)
hidden = torch.triu(torch.ones(TIME, TIME, dtype=torch.bool), 1)
case("causal_attention", m, lambda x: m(x, x, x, attn_mask=hidden, need_weights=False)[0], X)
m = attention()
# The last key of the first example, and the last two of the second, are padding.
padding = torch.tensor([[False, False, False, True], [False, False, True, True]])
case(
    "cross_attention", m,
    lambda x, k: m(x, k, k, key_padding_mask=padding, need_weights=False)[0], X, MEMORY,
)
for name, first, activation in [("post_norm", False, "relu"), ("pre_norm", True, "gelu")]:
    m = nn.TransformerEncoderLayer(
        FEATURES, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=first
    )
    case(f"{name}_layer", m, m, X)
    stack = nn.TransformerEncoder(m, 2, norm=nn.LayerNorm(FEATURES) if first else None, enable_nested_tensor=False)
    case(f"{name}_encoder", stack, stack, X)

header = {"__metadata__": {"torch": torch.__version__, "seed": str(SEED)}}
data = b""
for name in sorted(tensors):
    raw = tensors[name].contiguous().numpy().tobytes()
    shape, span = list(tensors[name].shape), [len(data), len(data) + len(raw)]
    header[name] = {"dtype": "F64", "shape": shape, "data_offsets": span}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("transformer.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
