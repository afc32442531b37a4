"""Writes small ONNX files, each with values and what ONNX Runtime makes of them.

    pip install onnxruntime==1.32.0 onnx==1.23.2
    python make.py
"""

import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

here = os.path.dirname(os.path.abspath(__file__))
random = np.random.RandomState(0)


def write(name, node, **inputs):
    infos = [helper.make_tensor_value_info(key, TensorProto.FLOAT, list(value.shape)) for key, value in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], name, infos, [output]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = os.path.join(here, name)
    onnx.save(model, path + ".onnx")
    session = onnxruntime.InferenceSession(path + ".onnx", providers=["CPUExecutionProvider"])
    values = {**inputs, "y": session.run(None, inputs)[0]}
    tensors = [numpy_helper.from_array(value, key) for key, value in values.items()]
    onnx.save(helper.make_model(helper.make_graph([], name, [], [], tensors), ir_version=8), path + ".values.onnx")


x = random.randn(2, 3, 9, 12).astype(np.float32)
# Whole and broken corners, of one element, over the edge, and turned around.
rois = [[0, 0, 0, 11, 8], [1, 2, 1, 7, 7], [1, 3, 3, 3, 3], [0, 5.4, 2.6, 40, 30], [0, 8, 6, 2, 1], [1, -5, -4, 1, 2]]
rois = np.array(rois, dtype=np.float32)
write("max_roi_pool", helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[3, 4]), x=x, rois=rois)
node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2, 2], spatial_scale=0.5)
write("max_roi_pool_scaled", node, x=x, rois=rois * np.array([1, 2, 2, 1.9, 2.1], dtype=np.float32))
