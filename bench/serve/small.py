"""The small table model of the peers: a network (2-16-3, softmax) with random weights, in ONNX Runtime on one thread. What is
measured is the server around it, whose time hardly depends on the weights."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def network():
    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.normal(size=(2, 16)), "b1": np.zeros(16), "w2": rng.normal(size=(16, 3)), "b2": np.zeros(3)
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def session():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(network(), options, providers=["CPUExecutionProvider"])
