"""The same small table model behind FastAPI and ONNX Runtime: what `nerve serve` is measured against.

    pip install fastapi uvicorn onnxruntime onnx numpy
    taskset -c 0 python fastapi_ort.py --port 8100

POST /predict with {"a": 1.0, "b": 2.0} or a list of such rows. The network (2-16-3, softmax) is built here with
random weights: what is measured is the server, whose time hardly depends on them.
"""

import argparse

import numpy as np
import onnx
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, Request
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


options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(network(), options, providers=["CPUExecutionProvider"])
app = FastAPI()
CLASSES = ["x", "y", "z"]
MEAN, DEVIATION = np.array([3.0, 2.0], np.float32), np.array([2.0, 1.4], np.float32)


@app.post("/predict")
async def predict(request: Request):
    rows = await request.json()
    one = isinstance(rows, dict)
    rows = [rows] if one else rows
    x = (np.array([[row["a"], row["b"]] for row in rows], np.float32) - MEAN) / DEVIATION
    answers = []
    for p in session.run(None, {"x": x})[0]:
        answers.append({"c": CLASSES[int(p.argmax())], "c_probabilities": dict(zip(CLASSES, p.tolist()))})
    return answers[0] if one else answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8100)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="error", access_log=False)
