"""The same small table model behind FastAPI and ONNX Runtime: what `nerve serve` is measured against.

    pip install fastapi uvicorn onnxruntime onnx numpy
    taskset -c 0 python fastapi_ort.py --port 8100

POST /predict with {"a": 1.0, "b": 2.0} or a list of such rows.
"""

import argparse

import numpy as np
import small
import uvicorn
from fastapi import FastAPI, Request


session = small.session()
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
