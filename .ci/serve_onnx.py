"""Asks a running `nerve serve RUN net=RUN.onnx` for the same rows by both models, with the client of Triton.

    nerve export small -o small.onnx
    nerve serve small net=small.onnx --http 127.0.0.1:8000
    python .ci/serve_onnx.py 127.0.0.1:8000 small net

The run has number columns in and one category out; the file is its export.
"""

import sys
import numpy as np
import tritonclient.http as triton

address, run, file = sys.argv[1:4]
client = triton.InferenceServerClient(address, concurrency=4)
about = client.get_model_metadata(file)
assert about["platform"] == "onnx_onnxv1" and "together" in about["properties"]["batching"], about
assert client.get_model_config(file)["max_batch_size"] > 0
rows = 40


def tensors(model, kind, rows, binary=True):
    made = []
    for at, tensor in enumerate(client.get_model_metadata(model)["inputs"]):
        shape = [rows if extent == -1 else extent for extent in tensor["shape"]]
        values = (np.arange(rows) % (5 + at)).reshape(shape).astype(kind)
        part = triton.InferInput(tensor["name"], shape, tensor["datatype"])
        made.append(part.set_data_from_numpy(values, binary_data=binary))
    return made


def shares_of(answer):
    shares = [o["name"] for o in answer.get_response()["outputs"] if o["name"].endswith("probabilities")]
    return answer.as_numpy(shares[0])


def ask(model, kind, rows, binary=True):
    return shares_of(client.infer(model, tensors(model, kind, rows, binary)))


kinds = {"FP64": np.float64, "FP32": np.float32}
kind = {model: kinds[client.get_model_metadata(model)["inputs"][0]["datatype"]] for model in [run, file]}
expected = ask(run, kind[run], rows)
for binary in [True, False]:
    found = ask(file, kind[file], rows, binary)
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-5, np.abs(found - expected).max()
# Four at a time, which the server may run together.
under_way = [client.async_infer(file, tensors(file, kind[file], 1 + i % 7)) for i in range(40)]
some = [shares_of(request.get_result()) for request in under_way]
assert all(np.abs(one - expected[: len(one)]).max() < 1e-5 for one in some)
print("an exported network answers as it did before")
