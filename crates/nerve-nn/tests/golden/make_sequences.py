"""Makes sequences.safetensors: what masks, attention and decoders of nerve-nn are tested against.

    python -m venv env && env/bin/pip install torch==2.15.0
    env/bin/python make_sequences.py

Everything is computed in f64 by PyTorch, from the random numbers of one seed; versions and seed stand in the
metadata of the file. For each case `x` is the input (and `memory` what it looks at), `dy` a random gradient of
the output; `y`, `dx`, `dmemory` and `d.NAME` are the output and the gradients of sum(y * dy); what else a case
gives stands under its own name.
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SEED = 20240302
torch.set_default_dtype(torch.float64)
torch.manual_seed(SEED)
tensors = {}


def random(*shape):
    # A few digits suffice, and are the same numbers in f32.
    return torch.round(torch.randn(*shape) * 256) / 256


def case(name, module, run, *inputs):
    """Keeps parameters, inputs, output and gradients of run(*inputs); what else it returns, too."""
    module.train()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(random(*p.shape) / 2)
    inputs = [random(*shape).requires_grad_() for shape in inputs]
    y, more = run(*inputs), {}
    if isinstance(y, tuple):
        y, more = y
    dy = random(*y.shape)
    (y * dy).sum().backward()
    keep = {"y": y, "dy": dy} | more
    for key, x in zip(["x", "memory", "third"], inputs):
        keep |= {key: x, f"d{key}": x.grad}
    for key, p in module.named_parameters():
        keep |= {key: p, f"d.{key}": p.grad}
    tensors.update({f"{name}/{key}": t.detach().clone() for key, t in keep.items()})


LENGTHS = torch.tensor([5, 2, 3])


def packed(module):
    def run(x):
        y, last = module(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))
        y = pad_packed_sequence(y, batch_first=True, total_length=6)[0]
        return y, dict(zip("hc", last if isinstance(last, tuple) else [last]))

    return run


for name, kind in [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)]:
    m = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    case(f"packed_{name}", m, packed(m), (3, 6, 3))

BATCH, TIME, KEYS, FEATURES, HEADS, HIDDEN = 2, 5, 4, 6, 2, 7
X, MEMORY = (BATCH, TIME, FEATURES), (BATCH, KEYS, FEATURES)
PADDING = torch.arange(TIME)[None] >= torch.tensor([[3], [5]])  # True: no real element
m = nn.MultiheadAttention(FEATURES, HEADS, batch_first=True)
case("padded_attention", m, lambda x: m(x, x, x, key_padding_mask=PADDING, need_weights=False)[0], X)
bias = random(TIME, TIME)
m = nn.MultiheadAttention(FEATURES, HEADS, batch_first=True)
case(
    "biased_attention", m,
    lambda x: (m(x, x, x, attn_mask=bias, need_weights=False)[0], {"bias": bias}), X,
)

later = torch.triu(torch.ones(TIME, TIME, dtype=torch.bool), 1)
hidden = torch.arange(KEYS)[None] >= torch.tensor([[3], [2]])
for name, first, activation in [("post_norm", False, "relu"), ("pre_norm", True, "gelu")]:
    m = nn.TransformerDecoderLayer(
        FEATURES, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=first
    )
    run = lambda m: lambda x, k: m(x, k, tgt_mask=later, memory_key_padding_mask=hidden)
    stack = nn.TransformerDecoder(m, 2, norm=nn.LayerNorm(FEATURES) if first else None)
    case(f"{name}_decoder", stack, run(stack), X, MEMORY)
    case(f"{name}_decoder_layer", m, run(m), X, MEMORY)


class Nothing(nn.Module):
    pass


attend = nn.functional.scaled_dot_product_attention
case(
    "grouped_query", Nothing(),
    lambda q, k, v: attend(q, k, v, is_causal=True, enable_gqa=True), (2, 4, 3, 5), (2, 2, 3, 5), (2, 2, 3, 5),
)

header = {"__metadata__": {"torch": torch.__version__, "seed": str(SEED)}}
data = b""
for name in sorted(tensors):
    raw = tensors[name].contiguous().numpy().tobytes()
    shape, span = list(tensors[name].shape), [len(data), len(data) + len(raw)]
    header[name] = {"dtype": "F64", "shape": shape, "data_offsets": span}
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("sequences.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(path.stat().st_size, "bytes")
