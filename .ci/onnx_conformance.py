"""Writes the node tests of the installed `onnx` package to OUT, in the form that the example `conformance` of
nerve-onnx reads: OUT/NAME/{model.onnx,input_K.pb,output_K.pb} and OUT/cases.txt.

Usage: python onnx_conformance.py OUT        (onnx from 1.23 on builds the cases in memory; 1.22 ships them as files)
"""

import os
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
np.random.seed(0)  # some cases draw their numbers when they are built

import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

ORDINARY = {"FLOAT", "DOUBLE", "INT8", "INT32", "INT64", "UINT8", "BOOL"}


def serialized(value, info):
    """The bytes of one value of the type that the model says."""
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString()
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name).SerializeToString()
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name).SerializeToString()
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name).SerializeToString()
    return numpy_helper.from_array(np.asarray(value), info.name).SerializeToString()


def kind(info):
    """The type of elements, or what else it is."""
    if info.type.HasField("tensor_type"):
        return TensorProto.DataType.Name(info.type.tensor_type.elem_type)
    return info.type.WhichOneof("value")


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def from_files(case):
    """Model, inputs and outputs of a case that the package ships as files."""
    model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
    folder = os.path.join(case.model_dir, "test_data_set_0")

    def read(what, count):
        return [open(os.path.join(folder, f"{what}_{i}.pb"), "rb").read() for i in range(count)]

    return model, read("input", len(model.graph.input)), read("output", len(model.graph.output))


def main(out):
    lines = []
    for case in load_model_tests(kind="node"):
        folder = os.path.join(out, case.name)
        os.makedirs(folder, exist_ok=True)
        if case.model is None:
            model, inputs, outputs = from_files(case)
        else:
            model = case.model
            given, wanted = case.data_sets[0]
            inputs = [serialized(v, i) for v, i in zip(given, model.graph.input)]
            outputs = [serialized(v, i) for v, i in zip(wanted, model.graph.output)]
        write(os.path.join(folder, "model.onnx"), model.SerializeToString(deterministic=True))
        for what, values in (("input", inputs), ("output", outputs)):
            for i, data in enumerate(values):
                write(os.path.join(folder, f"{what}_{i}.pb"), data)
        kinds = {kind(info) for info in list(model.graph.input) + list(model.graph.output)}
        version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        ops = " ".join(sorted({node.op_type for node in model.graph.node}))
        lines.append(f"{case.name}\t{version}\t{int(kinds <= ORDINARY)}\t{case.rtol}\t{case.atol}\t{ops}\n")
    with open(os.path.join(out, "cases.txt"), "w") as file:
        file.writelines(sorted(lines))
    print(f"{len(lines)} cases of onnx {onnx.__version__}")


main(sys.argv[1])
