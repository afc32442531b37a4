"""The benchmark workloads on JAX: pure functions, jit, optax, donated state.

usage: jax_bench.py MODE WORD...
  MODE  `jit`, with `+rpool` (2×2 max-pooling by reshaping, whose gradient is cheaper than that of
        `reduce_window`)
  WORD  A B C D E F G H I rss cold; XLA uses all processors
"""
from common import BATCH, BLOCKS, DENSE, WORDS, Cycle, batches, main


class Networks:
    """Each network as `name() -> (parameters, statistics)` and `apply`; images are NHWC."""

    def __init__(self, reshape_pool):
        import jax
        import jax.numpy as jnp
        import numpy as np
        self.jax, self.jnp, self.lax = jax, jnp, jax.lax
        self.random, self.np, self.reshape_pool = np.random.default_rng(1), np, reshape_pool

    # Parameters.

    def uniform(self, *shape, fan):
        values = self.random.uniform(-1, 1, shape).astype(self.np.float32)
        return self.jnp.asarray(values / self.np.sqrt(fan))

    def normal(self, *shape):
        return self.jnp.asarray(self.random.standard_normal(shape, dtype=self.np.float32))

    def linear(self, inputs, outputs):
        return dict(w=self.uniform(inputs, outputs, fan=inputs), b=self.jnp.zeros(outputs))

    def filters(self, side, inputs, outputs):
        return self.uniform(side, side, inputs, outputs, fan=side * side * inputs)

    def norm(self, width):
        return dict(g=self.jnp.ones(width), b=self.jnp.zeros(width))

    def statistics(self, width):
        return dict(mean=self.jnp.zeros(width), var=self.jnp.ones(width))

    def init(self, workload):
        if workload in DENSE:
            sizes = DENSE[workload]
            return [self.linear(*pair) for pair in zip(sizes, sizes[1:])], {}
        if workload in "CD":
            flat, hidden = (3136, 512) if workload == "C" else (1600, 64)
            zeros = self.jnp.zeros
            return dict(c1=self.filters(3, 1, 32), b1=zeros(32), c2=self.filters(3, 32, 64),
                        b2=zeros(64), fc=[self.linear(flat, hidden), self.linear(hidden, 10)]), {}
        if workload == "E":
            return dict(embedding=self.normal(WORDS, 128), x=self.linear(128, 512),
                        h=self.uniform(128, 512, fan=128), out=self.linear(128, 2)), {}
        if workload == "F":
            layers = [dict(n1=self.norm(256), n2=self.norm(256), qkv=self.linear(256, 768),
                           proj=self.linear(256, 256), up=self.linear(256, 1024),
                           down=self.linear(1024, 256)) for _ in range(4)]
            return dict(embedding=self.normal(WORDS, 256), positions=0.02 * self.normal(128, 256),
                        layers=layers, norm=self.norm(256), out=self.linear(256, 2)), {}
        return self.residual_init()

    def residual_init(self):
        params = dict(conv=self.filters(3, 3, 64), norm=self.norm(64), out=self.linear(512, 10))
        state = dict(norm=self.statistics(64), blocks=[])
        params["blocks"] = []
        for inputs, outputs, _ in BLOCKS:
            block = dict(c1=self.filters(3, inputs, outputs), n1=self.norm(outputs),
                         c2=self.filters(3, outputs, outputs), n2=self.norm(outputs))
            if inputs != outputs:
                block.update(c3=self.filters(1, inputs, outputs), n3=self.norm(outputs))
            params["blocks"].append(block)
            norms = [name for name in block if name[0] == "n"]
            state["blocks"].append({name: self.statistics(outputs) for name in norms})
        return params, state

    # Layers.

    def dense(self, p, x):
        return x @ p["w"] + p["b"]

    def perceptron(self, layers, x):
        for layer in layers[:-1]:
            x = self.jax.nn.relu(self.dense(layer, x))
        return self.dense(layers[-1], x)

    def convolve(self, x, filters, stride=1, border="SAME"):
        return self.lax.conv_general_dilated(
            x, filters, (stride, stride), border, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def pool(self, x):
        n, h, w, c = x.shape
        if self.reshape_pool:
            x = x[:, :h // 2 * 2, :w // 2 * 2]
            return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        window = (1, 2, 2, 1)
        return self.lax.reduce_window(x, -self.jnp.inf, self.lax.max, window, window, "VALID")

    def dropout(self, key, x):
        return self.jnp.where(self.jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)

    def layer_norm(self, p, x):
        mean = x.mean(-1, keepdims=True)
        var = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * self.lax.rsqrt(var + 1e-5) * p["g"] + p["b"]

    def batch_norm(self, p, state, x, train):
        if train:
            mean = x.mean((0, 1, 2))
            var = (x * x).mean((0, 1, 2)) - mean * mean
            state = dict(mean=0.9 * state["mean"] + 0.1 * mean, var=0.9 * state["var"] + 0.1 * var)
        else:
            mean, var = state["mean"], state["var"]
        scale = p["g"] * self.lax.rsqrt(var + 1e-5)
        return x * scale + (p["b"] - mean * scale), state

    # Networks: parameters, statistics, input, key of the random numbers (None in use).

    def apply(self, workload, params, state, x, key):
        if workload in DENSE:
            return self.perceptron(params, x), state
        if workload in "CD":
            return self.convolutional(workload, params, x, key), state
        if workload == "E":
            return self.recurrent(params, x), state
        if workload == "F":
            return self.encoder(params, x), state
        return self.residual(params, state, x, key is not None)

    def convolutional(self, workload, params, x, key):
        border, relu = "SAME" if workload == "C" else "VALID", self.jax.nn.relu
        for filters, bias in (("c1", "b1"), ("c2", "b2")):
            x = self.convolve(x, params[filters], border=border) + params[bias]
            x = self.pool(relu(x))
        x = x.reshape(x.shape[0], -1)
        keys = [] if key is None or workload == "D" else list(self.jax.random.split(key))
        for layer in params["fc"]:
            x = self.dropout(keys.pop(), x) if keys else x
            x = self.dense(layer, x)
            x = relu(x) if layer is not params["fc"][-1] else x
        return x

    def recurrent(self, params, x):
        steps = self.dense(params["x"], params["embedding"][x].transpose(1, 0, 2))
        sigmoid, tanh = self.jax.nn.sigmoid, self.jnp.tanh

        def cell(carry, step):
            h, c = carry
            i, f, g, o = self.jnp.split(step + h @ params["h"], 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            return (sigmoid(o) * tanh(c), c), None

        zero = self.jnp.zeros((x.shape[0], 128))
        (h, _), _ = self.lax.scan(cell, (zero, zero), steps)
        return self.dense(params["out"], h)

    def encoder(self, params, x):
        x = params["embedding"][x] + params["positions"]
        batch, time, width = x.shape
        for p in params["layers"]:
            qkv = self.dense(p["qkv"], self.layer_norm(p["n1"], x)).reshape(batch, time, 12, 64)
            heads = self.jax.nn.dot_product_attention(*self.jnp.split(qkv, 3, 2))
            x = x + self.dense(p["proj"], heads.reshape(batch, time, width))
            hidden = self.dense(p["up"], self.layer_norm(p["n2"], x))
            x = x + self.dense(p["down"], self.jax.nn.gelu(hidden, approximate=False))
        return self.dense(params["out"], self.layer_norm(params["norm"], x).mean(1))

    def residual(self, params, state, x, train):
        relu, around = self.jax.nn.relu, [(1, 1), (1, 1)]
        x, norm = self.batch_norm(params["norm"], state["norm"],
                                  self.convolve(x, params["conv"], border=around), train)
        x, new = relu(x), dict(norm=norm, blocks=[])
        for (_, _, stride), p, s in zip(BLOCKS, params["blocks"], state["blocks"]):
            y = self.convolve(x, p["c1"], stride, around)
            y, n1 = self.batch_norm(p["n1"], s["n1"], y, train)
            y = self.convolve(relu(y), p["c2"], 1, around)
            y, n2 = self.batch_norm(p["n2"], s["n2"], y, train)
            norms = dict(n1=n1, n2=n2)
            if "c3" in p:
                x = self.convolve(x, p["c3"], stride, "VALID")
                x, norms["n3"] = self.batch_norm(p["n3"], s["n3"], x, train)
            x = relu(y + x)
            new["blocks"].append(norms)
        return self.dense(params["out"], x.mean((1, 2))), new


class Jax:
    def __init__(self, mode):
        import jax
        import optax
        self.jax, self.optax, self.name = jax, optax, f"jax {jax.__version__}"
        self.networks = Networks("rpool" in mode)

    def product(self, n):
        import numpy as np
        random = np.random.default_rng(n)
        a, b = (self.jax.device_put(random.standard_normal((n, n), dtype=np.float32))
                for _ in "ab")
        product = self.jax.jit(lambda a, b: a @ b)
        return (lambda: product(a, b).block_until_ready(),)

    def data(self, workload, n):
        narrow = lambda array: array.astype("int32") if array.dtype == "int64" else array
        return Cycle(tuple(self.jax.device_put(narrow(array)) for array in pair)
                     for pair in batches(workload, n, channels_last=True))

    def optimizer(self, workload):
        if workload in "BG":
            return self.optax.sgd(0.01, momentum=0.9 if workload == "G" else None)
        return self.optax.adam(1e-3)

    def trainer(self, workload):
        jax, optax, networks = self.jax, self.optax, self.networks
        optimizer, data = self.optimizer(workload), self.data(workload, BATCH[workload])

        def loss_of(params, state, x, y, key):
            output, state = networks.apply(workload, params, state, x, key)
            if workload in "HI":
                return ((output - y) ** 2).mean(), state
            losses = optax.softmax_cross_entropy_with_integer_labels(output, y)
            return losses.mean(), state

        def step(everything, x, y):
            params, state, slots, key = everything
            key, now = jax.random.split(key)
            gradient = jax.value_and_grad(loss_of, has_aux=True)
            (loss, state), grads = gradient(params, state, x, y, now)
            updates, slots = optimizer.update(grads, slots, params)
            return (optax.apply_updates(params, updates), state, slots, key), loss

        step = jax.jit(step, donate_argnums=0)
        params, state = networks.init(workload)
        # What the calls hand on: their arguments are donated.
        now = [(params, state, optimizer.init(params), jax.random.key(1))]

        def run():
            now[0], _ = step(now[0], *data())

        return run, lambda: jax.block_until_ready(now[0])

    def user(self, workload, n):
        params, state = self.networks.init(workload)
        forward = self.jax.jit(
            lambda p, s, x: self.networks.apply(workload, p, s, x, None)[0])
        data = self.data(workload, n)
        return lambda: forward(params, state, data()[0]).block_until_ready()


if __name__ == "__main__":
    main(__doc__, ("jit", "rpool"), Jax)
