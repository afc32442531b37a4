#!/bin/sh
# All rows of README.md but the long ones: the server on core 0, the client on core 1.
#   sh run.sh FOLDER    with nerve, nerve-load and nerve-echo of a release build in PATH; in FOLDER the runs `small`, `cnn` and `mlp`
set -e
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
at=127.0.0.1:8099

python3 - <<'PY'
import json, random, struct

random.seed(1)
json.dump({"a": 1.0, "b": 2.0}, open("row.json", "w"))


def request(name, column, shape, datatype, code, data):
    tensor = {"name": column, "shape": shape, "datatype": datatype}
    json.dump({"inputs": [{**tensor, "data": data}]}, open(f"{name}.json", "w"), separators=(",", ":"))
    packed = struct.pack(f"<{len(data)}{code}", *data)
    tensor["parameters"] = {"binary_data_size": len(packed)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    open(f"{name}.bin", "wb").write(head + packed)
    open(f"{name}.head", "w").write(str(len(head)))


pixels = [0 if random.random() < 0.8 else random.randrange(256) for _ in range(784)]
request("cnn", "image", [1, 1, 28, 28], "UINT8", "B", pixels)
request("mlp", "x", [1, 784], "FP32", "f", [round(random.random(), 6) for _ in range(784)])
PY

serve() { # model, arguments
    taskset -c 0 nerve serve "$@" --http $at >/dev/null &
    server=$!
    until curl -sf http://$at/v2/health/ready >/dev/null; do sleep 0.02; done
}
load() { # label, arguments of nerve-load
    label=$1
    shift
    echo "$label: $(taskset -c 1 nerve-load "$@" --seconds 3 --warm 0.5)"
}
end() {
    kill $server
    wait $server || true
}
numbers() { load "$2, JSON" $at /v2/models/"$1"/infer --body "$1".json --connections 32; }
bytes() {
    load "$2, bytes" $at /v2/models/"$1"/infer --body "$1".bin --type application/octet-stream \
        --header "Inference-Header-Content-Length: $(cat "$1".head)" --connections 32
}

serve small
load "small, 64 connections" $at /predict --body row.json --connections 64
load "small, one connection" $at /predict --body row.json --connections 1
load "small, 5000 a second" $at /predict --body row.json --connections 64 --rate 5000
end
taskset -c 0 nerve-echo $at &
server=$!
sleep 0.2
load "a server that does nothing, 5000 a second" $at /predict --body row.json --connections 64 --rate 5000
end
for model in cnn mlp; do
    for most in 1 32; do
        serve $model --max-batch $most
        numbers $model "$model, batches of $most"
        bytes $model "$model, batches of $most"
        end
    done
done
for model in small cnn; do
    begun=$(date +%s%N)
    taskset -c 0 nerve serve $model --http $at >/dev/null &
    server=$!
    body=$([ $model = small ] && echo row.json || echo cnn.json)
    path=$([ $model = small ] && echo predict || echo v2/models/cnn/infer)
    until curl -sf -H "Content-Type: application/json" --data-binary @$body http://$at/$path >/dev/null; do :; done
    echo "$model, start to first answer: $((($(date +%s%N) - begun) / 1000)) microseconds"
    end
done
if python3 -c "import fastapi, onnxruntime, uvicorn" 2>/dev/null; then
    taskset -c 0 python3 "$here"/fastapi_ort.py --port 8098 >/dev/null 2>&1 &
    server=$!
    until curl -sf -H "Content-Type: application/json" --data-binary @row.json http://127.0.0.1:8098/predict >/dev/null; do sleep 0.1; done
    load "FastAPI + ONNX Runtime, 64 connections" 127.0.0.1:8098 /predict --body row.json --connections 64
    load "FastAPI + ONNX Runtime, one connection" 127.0.0.1:8098 /predict --body row.json --connections 1
    end
fi
if python3 -c "import mlserver, onnxruntime" 2>/dev/null; then
    (cd "$here"/mlserver && PYTHONPATH=..:. exec taskset -c 0 mlserver start . >/dev/null 2>&1) &
    server=$!
    until curl -sf http://127.0.0.1:8097/v2/models/small/ready >/dev/null; do sleep 0.1; done
    echo '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.0,2.0]}]}' >mlserver.json
    for connections in 64 1; do
        load "MLServer + ONNX Runtime, $connections connections" 127.0.0.1:8097 /v2/models/small/infer --body mlserver.json --connections $connections
    done
    end
fi
