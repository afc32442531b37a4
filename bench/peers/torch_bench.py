"""The benchmark workloads on PyTorch.

usage: torch_bench.py MODE WORD...
  MODE  `eager` or `compile`, with `+cl` (channels-last images and filters), `+fused` (fused
        optimizer) and `+bf16` (autocast)
  WORD  A A1 B C D E F G H I rss cold, or `export`: the networks as ONNX files in $PEERS/onnx
"""
import os
import sys

from common import BATCH, BLOCKS, DENSE, IMAGES, THREADS, USES, WORDS, Cycle, batches, main


def perceptron(*sizes):
    from torch import nn
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions(padding):
    from torch import nn
    layers = []
    for inputs, outputs in ((1, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
    return layers + [nn.Flatten()]


def networks():
    """The networks of torch.nn, defined once torch is loaded."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 128)
            self.lstm = nn.LSTM(128, 128, batch_first=True)
            self.out = nn.Linear(128, 2)

        def forward(self, x):
            return self.out(self.lstm(self.embedding(x))[0][:, -1])

    class EncoderLayer(nn.Module):
        def __init__(self, width=256, heads=4, hidden=1024):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

        def forward(self, x):
            batch, time, width = x.shape
            qkv = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, width // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            heads = functional.scaled_dot_product_attention(q, k, v)
            x = x + self.projection(heads.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 256)
            self.positions = nn.Parameter(torch.randn(128, 256) * 0.02)
            self.layers = nn.Sequential(*(EncoderLayer() for _ in range(4)))
            self.norm, self.out = nn.LayerNorm(256), nn.Linear(256, 2)

        def forward(self, x):
            x = self.layers(self.embedding(x) + self.positions)
            return self.out(self.norm(x).mean(1))

    def convolution(inputs, outputs, side, stride):
        filters = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
        return nn.Sequential(filters, nn.BatchNorm2d(outputs))

    class Residual(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = convolution(inputs, outputs, 3, stride)
            self.second = convolution(outputs, outputs, 3, 1)
            same = inputs == outputs
            self.past = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

        def forward(self, x):
            y = self.second(functional.relu(self.first(x)))
            return functional.relu(y + self.past(x))

    def resnet():
        blocks = [Residual(*block) for block in BLOCKS]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
        return nn.Sequential(convolution(3, 64, 3, 1), nn.ReLU(), *blocks, *head)

    return {
        **{name: lambda sizes=sizes: perceptron(*sizes) for name, sizes in DENSE.items()},
        "C": lambda: nn.Sequential(
            *convolutions(1), nn.Dropout(0.5), nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(512, 10)),
        "D": lambda: nn.Sequential(*convolutions(0), *perceptron(64 * 5 * 5, 64, 10)),
        "E": Recurrent,
        "F": Encoder,
        "G": resnet,
    }


class Torch:
    def __init__(self, mode):
        os.environ["OMP_NUM_THREADS"] = str(THREADS)
        import torch
        torch.set_num_threads(THREADS)
        torch.manual_seed(1)
        self.torch, self.name = torch, f"torch {torch.__version__.split('+')[0]}"
        self.networks = networks()
        self.compiled = "compile" in mode
        self.channels_last, self.fused, self.bf16 = (w in mode for w in ("cl", "fused", "bf16"))

    def one_thread(self):
        self.torch.set_num_threads(1)

    def all_threads(self):
        self.torch.set_num_threads(THREADS)

    def product(self, n):
        torch = self.torch
        a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        return (lambda: torch.mm(a, b, out=c),)

    def layout(self, workload, thing):
        if self.channels_last and workload in IMAGES:
            return thing.to(memory_format=self.torch.channels_last)
        return thing

    def data(self, workload, n):
        from_numpy = self.torch.from_numpy
        return Cycle((self.layout(workload, from_numpy(x)), from_numpy(y))
                     for x, y in batches(workload, n))

    def autocast(self):
        return self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.bf16)

    def optimizer(self, workload, parameters):
        optim, fused = self.torch.optim, dict(fused=True) if self.fused else {}
        if workload == "B":
            return optim.SGD(parameters, lr=0.01, **fused)
        if workload == "G":
            return optim.SGD(parameters, lr=0.01, momentum=0.9, **fused)
        return optim.Adam(parameters, lr=1e-3, **fused)

    def trainer(self, workload):
        functional = self.torch.nn.functional
        model = self.layout(workload, self.networks[workload]()).train()
        data = self.data(workload, BATCH[workload])
        optimizer = self.optimizer(workload, model.parameters())
        criterion = functional.mse_loss if workload in "HI" else functional.cross_entropy

        def loss_of(x, y):
            with self.autocast():
                output = model(x)
                return criterion(output.float(), y)

        loss_of = self.torch.compile(loss_of) if self.compiled else loss_of

        def step():
            optimizer.zero_grad()
            loss = loss_of(*data())
            loss.backward()
            optimizer.step()

        return step, lambda: None

    def user(self, workload, n):
        model = self.layout(workload, self.networks[workload]()).eval()
        model = self.torch.compile(model) if self.compiled else model
        data = self.data(workload, n)

        def run():
            with self.torch.inference_mode(), self.autocast():
                return model(data()[0])

        return run


def export():
    """The networks as ONNX Runtime wants them: one file for each batch that is measured."""
    folder = os.path.join(os.environ["PEERS"], "onnx")
    os.makedirs(folder, exist_ok=True)
    peer = Torch(set())
    for workload, uses in USES.items():
        for _, n in uses:
            x = peer.torch.from_numpy(next(batches(workload, n, count=1))[0])
            path = os.path.join(folder, f"{workload}_b{n}.onnx")
            # Whole or not at all: the presence of a file says that it need not be made again.
            peer.torch.onnx.export(
                peer.networks[workload]().eval(), (x,), path + ".part", input_names=["x"],
                output_names=["y"], dynamo=True, external_data=False, verbose=False)
            os.replace(path + ".part", path)


if __name__ == "__main__":
    if sys.argv[2:] == ["export"]:
        export()
    else:
        main(__doc__, ("eager", "compile", "cl", "fused", "bf16"), Torch)
