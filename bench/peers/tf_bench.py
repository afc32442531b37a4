"""The benchmark workloads on TensorFlow, with the layers of Keras 3.

usage: tf_bench.py MODE WORD...
  MODE  `fn` (the step as a tf.function) or `xla` (the same with jit_compile)
  WORD  A B C D E F G H I rss cold
"""
import os

from common import BATCH, BLOCKS, DENSE, THREADS, WORDS, Cycle, batches, main


def networks():
    """The networks of Keras, defined once it is loaded."""
    import keras
    from keras import layers

    def perceptron(sizes):
        hidden = [layers.Dense(size, activation="relu") for size in sizes[1:-1]]
        return keras.Sequential([layers.Input(sizes[:1]), *hidden, layers.Dense(sizes[-1])])

    def convolutions(border):
        yield layers.Input((28, 28, 1))
        for filters in (32, 64):
            yield layers.Conv2D(filters, 3, padding=border, activation="relu")
            yield layers.MaxPooling2D()
        yield layers.Flatten()

    def tutorial():
        head = [layers.Dropout(0.5), layers.Dense(512, activation="relu"), layers.Dropout(0.5)]
        return keras.Sequential([*convolutions("same"), *head, layers.Dense(10)])

    def keras_tutorial():
        head = [layers.Dense(64, activation="relu"), layers.Dense(10)]
        return keras.Sequential([*convolutions("valid"), *head])

    def recurrent():
        return keras.Sequential([layers.Input((100,), dtype="int32"), layers.Embedding(WORDS, 128),
                                 layers.LSTM(128), layers.Dense(2)])

    def layer_norm():
        return layers.LayerNormalization(epsilon=1e-5)

    class Positions(layers.Layer):
        def build(self, _):
            self.table = self.add_weight(shape=(128, 256), initializer="random_normal")

        def call(self, x):
            return x + self.table

    class EncoderLayer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = layer_norm(), layer_norm()
            self.attention = layers.MultiHeadAttention(4, 64)
            self.up, self.down = layers.Dense(1024, activation="gelu"), layers.Dense(256)

        def call(self, x):
            normal = self.norm1(x)
            x = x + self.attention(normal, normal)
            return x + self.down(self.up(self.norm2(x)))

    def encoder():
        return keras.Sequential([
            layers.Input((128,), dtype="int32"), layers.Embedding(WORDS, 256), Positions(),
            *(EncoderLayer() for _ in range(4)), layer_norm(),
            layers.GlobalAveragePooling1D(), layers.Dense(2)])

    def convolution(x, filters, side, stride):
        x = layers.Conv2D(filters, side, stride, "same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def residual(x, inputs, outputs, stride):
        y = layers.ReLU()(convolution(x, outputs, 3, stride))
        y = convolution(y, outputs, 3, 1)
        past = x if inputs == outputs else convolution(x, outputs, 1, stride)
        return layers.ReLU()(y + past)

    def resnet():
        images = layers.Input((32, 32, 3))
        x = layers.ReLU()(convolution(images, 64, 3, 1))
        for block in BLOCKS:
            x = residual(x, *block)
        return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))

    return {
        **{name: lambda sizes=sizes: perceptron(sizes) for name, sizes in DENSE.items()},
        "C": tutorial, "D": keras_tutorial, "E": recurrent, "F": encoder, "G": resnet,
    }


class TensorFlow:
    def __init__(self, mode):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import tensorflow
        tensorflow.config.threading.set_intra_op_parallelism_threads(THREADS)
        tensorflow.config.threading.set_inter_op_parallelism_threads(THREADS)
        self.tf, self.xla = tensorflow, "xla" in mode
        self.name = f"tensorflow {tensorflow.__version__}"
        self.networks = networks()

    def function(self, body):
        return self.tf.function(body, jit_compile=self.xla)

    def product(self, n):
        import numpy as np
        a, b = self.tf.random.normal((n, n)), self.tf.random.normal((n, n))
        product, last = self.function(self.tf.matmul), [None]

        def run():
            last[0] = product(a, b)

        return run, lambda: np.asarray(last[0])

    def data(self, workload, n):
        narrow = lambda array: array.astype("int32") if array.dtype == "int64" else array
        return Cycle(tuple(self.tf.constant(narrow(array)) for array in pair)
                     for pair in batches(workload, n, channels_last=True))

    def trainer(self, workload):
        import keras
        import numpy as np
        model, data = self.networks[workload](), self.data(workload, BATCH[workload])
        if workload in "BG":
            momentum = 0.9 if workload == "G" else 0.0
            optimizer = keras.optimizers.SGD(0.01, momentum=momentum)
        else:
            optimizer = keras.optimizers.Adam(1e-3)
        criterion = (keras.losses.MeanSquaredError() if workload in "HI"
                     else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        variables, last = model.trainable_variables, [None]
        optimizer.build(variables)

        @self.function
        def step(x, y):
            with self.tf.GradientTape() as tape:
                loss = criterion(y, model(x, training=True))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
            return loss

        def run():
            last[0] = step(*data())

        return run, lambda: np.asarray(last[0])

    def user(self, workload, n):
        model, data = self.networks[workload](), self.data(workload, n)
        forward = self.function(lambda x: model(x, training=False))
        return lambda: forward(data()[0]).numpy()


if __name__ == "__main__":
    main(__doc__, ("fn", "xla"), TensorFlow)
