"""Asks ONNX Runtime whether the networks that nerve wrote give what nerve gives.

    onnx_agrees.py FOLDER    with N.onnx and N.values.onnx, as the example onnx_cases writes them, or
                             nerve export RUN -o N.onnx --examples N.values.onnx

Needs onnx and onnxruntime. Ends with 1 if a model is not valid or differs by more than 1e-4.
"""

import pathlib
import sys

import numpy
import onnx
import onnxruntime

TOLERANCE = 1e-4


def differences(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    values = onnx.load(path.with_suffix(".values.onnx"))
    values = {t.name: onnx.numpy_helper.to_array(t) for t in values.graph.initializer}
    given = {i.name for i in model.graph.input}
    for name in given & values.keys():
        if values[name].dtype.kind in "OS":
            decode = lambda t: t.decode() if isinstance(t, bytes) else t
            texts = [decode(t) for t in values[name].ravel()]
            values[name] = numpy.array(texts, dtype=object).reshape(values[name].shape)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {i.name: values[i.name] for i in session.get_inputs()})
    for name, y in zip(names, found):
        expected = values[name]
        if y.dtype.kind in "OSU":
            texts = [t.decode() if isinstance(t, bytes) else t for t in expected.ravel()]
            if list(y.ravel()) != texts:
                yield f"{name} is {list(y.ravel())}, expected {texts}"
        elif y.shape != expected.shape or y.dtype != expected.dtype:
            yield f"{name} is {y.dtype} {y.shape}, expected {expected.dtype} {expected.shape}"
        elif not numpy.issubdtype(y.dtype, numpy.floating):
            if not (y == expected).all():
                yield f"{name} differs in {(y != expected).sum()} of {y.size}"
        elif not numpy.allclose(y, expected, rtol=TOLERANCE, atol=TOLERANCE):
            yield f"{name} differs by {numpy.abs(y - expected).max()}"


def main():
    paths = [p for p in pathlib.Path(sys.argv[1]).glob("*.onnx") if ".values" not in p.name]
    wrong = 0
    for path in sorted(paths, key=lambda p: (len(p.name), p.name)):
        try:
            found = list(differences(path))
        except Exception as error:  # Whatever it is, it is a finding.
            found = [str(error).strip().splitlines()[0][:300]]
        for what in found:
            wrong += 1
            print(f"{path.name}: {what}")
    print(f"{len(paths)} networks, {wrong} differ")
    sys.exit(bool(wrong) or not paths)


main()
