"""Asks a running `nerve serve` everything that the client of Triton can ask, in JSON and in bytes.

    pip install tritonclient[http] prometheus_client numpy
    nerve serve small --http 127.0.0.1:8000 --control --exact
    python .ci/serve_clients.py 127.0.0.1:8000 small

The model has number columns in and one category out.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException
from urllib.request import urlopen

address, model = sys.argv[1:3]
client = triton.InferenceServerClient(address, concurrency=8)


def fails(call, says):
    try:
        call()
    except InferenceServerException as error:
        assert says in str(error), error
    else:
        raise AssertionError(f"should fail with `{says}`")


assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
assert client.is_model_ready(model, "1") and not client.is_model_ready("none")
assert client.get_server_metadata()["name"] == "nerve"
about = client.get_model_metadata(model)
assert client.get_model_metadata(model, "1") == about
inputs = [tensor["name"] for tensor in about["inputs"]]
assert all(tensor["datatype"] == "FP64" for tensor in about["inputs"]), about
label = about["outputs"][0]["name"]
shares = about["outputs"][1]["name"]
assert client.get_model_config(model)["max_batch_size"] >= 1
assert [line["name"] for line in client.get_model_repository_index()] == [model]


def tensors(rows, binary, dtype=np.float64):
    made = []
    for at, name in enumerate(inputs):
        values = np.arange(rows, dtype=dtype) + at
        tensor = triton.InferInput(name, [rows], "FP64" if dtype == np.float64 else "FP32")
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


def outputs(binary, classes=0):
    return [
        triton.InferRequestedOutput(label, binary_data=binary),
        triton.InferRequestedOutput(shares, binary_data=binary, class_count=classes),
    ]


answers = []
for binary_in in [True, False]:
    for binary_out in [True, False]:
        for dtype in [np.float64, np.float32]:
            answer = client.infer(
                model, tensors(5, binary_in, dtype), outputs=outputs(binary_out), request_id="7", timeout=5_000_000
            )
            assert answer.get_response()["id"] == "7"
            answers.append((answer.as_numpy(label).tolist(), answer.as_numpy(shares).tolist()))
names = [[n.decode() if isinstance(n, bytes) else n for n in answer[0]] for answer in answers]
assert all(one == names[0] for one in names)
assert all(np.array_equal(np.float32(answer[1]), np.float32(answers[0][1])) for answer in answers)
everything = client.infer(model, tensors(3, True))
assert everything.as_numpy(shares).shape[0] == 3 and everything.as_numpy(label).shape == (3,)
best = client.infer(model, tensors(2, True), outputs=outputs(True, 2)).as_numpy(shares)
value, index, name = best[0][0].decode().split(":")
assert best.shape == (2, 2) and float(value) >= float(best[0][1].decode().split(":")[0])
assert name == everything.as_numpy(label)[0].decode()

text = triton.InferInput(inputs[0], [2], "BYTES")
text.set_data_from_numpy(np.array(["0", "1"], dtype=object))
same = client.infer(model, [text] + tensors(2, True)[1:]).as_numpy(shares)
assert np.array_equal(same, everything.as_numpy(shares)[:2])

waiting = [client.async_infer(model, tensors(4, True)) for _ in range(50)]
alone = client.infer(model, tensors(4, True)).as_numpy(shares)
assert all(np.array_equal(one.get_result().as_numpy(shares), alone) for one in waiting)
with ThreadPoolExecutor(8) as pool:
    clients = [triton.InferenceServerClient(address) for _ in range(8)]
    many = pool.map(lambda i: clients[i % 8].infer(model, tensors(1 + i % 4, True)).as_numpy(shares), range(8))
    assert all(np.array_equal(one, alone[: len(one)]) for one in many)

fails(lambda: client.infer("none", tensors(1, True)), "unknown model")
fails(lambda: client.infer(model, tensors(1, True)[1:]), "is missing")
fails(lambda: client.infer(model, tensors(1, True), outputs=[triton.InferRequestedOutput("z")]), "no output `z`")
fails(lambda: client.infer(model, tensors(1, True), model_version="99"), "no version")

stats = client.get_inference_statistics(model)["model_stats"][0]
assert stats["inference_stats"]["success"]["count"] >= 60 and stats["inference_count"] >= stats["execution_count"]
assert client.get_inference_statistics()["model_stats"]
client.unload_model(model)
assert not client.is_model_ready(model)
client.load_model(model)
assert client.is_model_ready(model)
text = urlopen(f"http://{address}/metrics").read().decode()
families = {family.name: family for family in text_string_to_metric_families(text)}
assert families["nerve_request_seconds"].type == "histogram" and "nerve_rows" in families, families.keys()
print("all calls answered")
