"""Makes features.safetensors: a network of two inputs and two outputs, trained for five steps.

    python -m venv env && env/bin/pip install torch==2.15.0 safetensors==0.8.0 numpy
    env/bin/python make_features.py

In f32. Inputs: three numbers `x`, a category `c` of five. Encoders: the numbers as they are, an embedding
[5, 4]. Combiner: side by side, a linear layer of 6, ReLU. Outputs: a number (squared error, weight 0.5) and
one of three classes (cross-entropy). Plain SGD, rate 0.1, all rows in each step. `start/PATH` and `end/PATH` are
the parameters, `price` and `kind` the outputs before the first step, `losses` the loss of each step.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(20261122)
ROWS = 8


def random(*shape):
    # A few digits suffice.
    return (torch.randn(*shape) * 256).round() / 256


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(5, 4), nn.Linear(7, 6)
        self.price, self.kind = nn.Linear(6, 1), nn.Linear(6, 3)

    def forward(self, x, c):
        h = torch.relu(self.linear(torch.cat([x, self.embedding(c)], 1)))
        return self.price(h), self.kind(h)


PATHS = {
    "embedding": "encoders.region.0", "linear": "combiner.0", "price": "decoders.price.0", "kind": "decoders.kind.0",
}
network = Network()
with torch.no_grad():
    for parameter in network.parameters():
        parameter.copy_(random(*parameter.shape))


def state(prefix):
    named = (name.split(".") for name, _ in network.named_parameters())
    return {
        f"{prefix}/{PATHS[a]}.{b}": getattr(getattr(network, a), b).detach().clone() for a, b in named
    }


x, c = random(ROWS, 3), torch.randint(0, 5, (ROWS,))
y, k = random(ROWS, 1), torch.randint(0, 3, (ROWS,))
tensors = state("start")
with torch.no_grad():
    price, kind = network(x, c)
optimizer, losses = torch.optim.SGD(network.parameters(), lr=0.1), []
for _ in range(5):
    a, b = network(x, c)
    loss = 0.5 * nn.functional.mse_loss(a, y) + nn.functional.cross_entropy(b, k)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.detach())
tensors |= state("end")
tensors |= {"x": x, "c": c.int(), "y": y, "k": k.int(), "price": price, "kind": kind, "losses": torch.stack(losses)}
metadata = {"torch": torch.__version__, "seed": "20261122"}
save_file(tensors, Path(__file__).with_name("features.safetensors"), metadata)
