"""Writes the seeds of the fuzz targets, corpus/TARGET/NAME: small files that are in order, or nearly so.

    pip install numpy==2.4.6 onnx==1.22.0 pillow && python make_corpus.py
"""

import base64
import gzip
import io
import json
import pathlib
import pickle
import struct
import tarfile
import wave
import zipfile
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

HERE = pathlib.Path(__file__).parent / "corpus"


def seed(target, name, data):
    path = HERE / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def buffered(write):
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


seed("safetensors", "empty", safetensors({}))
tensors = {"a.weight": ("F32", [2, 1], bytes(8)), "b": ("BF16", [1], b"\x80\x3f"), "n": ("I64", [], bytes(8))}
seed("safetensors", "three", safetensors(tensors, {"format": "pt"}))
seed("safetensors", "nan", safetensors({"x": ("F16", [2], b"\x00\x7c\x00\x7e")}))

x = np.arange(6, dtype="<f4").reshape(2, 3)
seed("npy", "f4", buffered(lambda out: np.save(out, x)))
seed("npy", "fortran", buffered(lambda out: np.save(out, np.asfortranarray(x))))
seed("npy", "big", buffered(lambda out: np.save(out, x.astype(">f8"))))
seed("npy", "bool", buffered(lambda out: np.save(out, np.array([True, False]))))
seed("npz", "plain", buffered(lambda out: np.savez(out, x=x, y=np.arange(2))))
seed("npz", "packed", buffered(lambda out: np.savez_compressed(out, x=x)))


def packed(mode):
    def write(out):
        with tarfile.open(fileobj=out, mode=mode) as tar:
            info = tarfile.TarInfo("data/x.txt")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))

    return buffered(write)


seed("archive", "tar", packed("w"))
seed("archive", "tar.gz", packed("w:gz"))
seed("archive", "tar.xz", packed("w:xz"))
seed("archive", "zip", buffered(lambda out: zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED).writestr("a/b", "hello")))
member = b"data.tar/       0           0     0     644     10240     `\n"
seed("archive", "deb", b"!<arch>\ndebian-binary   0           0     0     644     4         `\n2.0\n" + member + packed("w"))

labels = struct.pack(">HBBI", 0, 8, 1, 3) + bytes([7, 2, 1])
seed("idx", "labels", labels)
seed("idx", "labels.gz", gzip.compress(labels, mtime=0))
seed("idx", "floats", struct.pack(">HBBII", 0, 0x0D, 2, 1, 2) + struct.pack(">ff", 1, -1))
for protocol in (2, 4):
    seed("pickle", f"protocol{protocol}", pickle.dumps({"a": [1, 2.5, None, b"x", (1, "y")], 3: {4}}, protocol))
seed("rdata", "nothing", b"RDX2\nX\n" + struct.pack(">iiii", 2, 0x30000, 0x20300, 0xFE))


def sound(width):
    def write(out):
        with wave.open(out, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(width)
            file.setframerate(8000)
            file.writeframes(bytes(range(4 * width)))

    return buffered(write)


for width in (1, 2, 3):
    seed("wav", f"{8 * width}bit", sound(width))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data):
    def masked(part):
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


version = b"\x09" + struct.pack("<d", 1.0) + b"\x1a\x0dbrain.Event:2"
scalar = b"\x09" + struct.pack("<d", 2.0) + b"\x10\x05\x2a\x0d\x0a\x0b\x0a\x04loss\x15" + struct.pack("<f", 0.5)
seed("tfevents", "scalar", record(version) + record(scalar))

weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4])
branch = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "b", [], [helper.make_tensor_value_info("b", 1, None)])
nodes = [
    helper.make_node("MatMul", ["x", "w"], ["y"]),
    helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch),
]
graph = helper.make_graph(
    nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 2]), helper.make_tensor_value_info("c", 9, [])],
    [helper.make_tensor_value_info("y", 1, ["n", 2])], [weight],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
seed("onnx", "branches", model.SerializeToString())
for name, start in [("onnx", model.SerializeToString()[:64]), ("zip", b"PK\x03\x04 net/data.pkl"), ("gguf", b"GGUF\3\0\0\0")]:
    seed("kind", name, start)

seed("csv", "quoted", 'a,b\n1,"x, y"\n2,"say ""hi"""\n')
seed("csv", "semicolons", "a;b\r\n1,5;x\r\n")
seed("json", "lines", '{"a": 1, "b": "x"}\n{"a": null, "b": "\\u00e9"}\n')
seed("json", "list", '[{"a": {"c": 1e3}}, {"a": {"c": -0.5}}]')

grey = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(5, 6))
palette = grey.convert("P")
for name, image, kind in [("grey.png", grey, "PNG"), ("palette.png", palette, "PNG"), ("grey.jpg", grey, "JPEG"), ("rgb.jpg", grey.convert("RGB"), "JPEG")]:
    seed("image", name, buffered(lambda out: image.save(out, kind)))

begin = '{"t":1.0,"k":"begin","format":1,"nerve":"0.1.0","pid":1,"epochs":2,"steps_per_epoch":3,"metrics":[],"goal":null,"maximize":false,"step":0}\n'
seed("events", "begin", begin + '{"t":2.0,"k":"scalar","step":1,"epoch":1,"tag":"loss/train","v":0.5}\n')
seed("checkpoint", "manifest", '{"bytes": 10, "epoch": 1, "file": "state.safetensors", "format": 1, "samples": 0, "step": 1}\n')
layers = '[{ type = "Dense", units = 2 }]'
recipe = f'[data]\npath = "x.csv"\n[[input]]\nname = ["a", "b"]\ntype = "number"\n[[output]]\nname = "c"\ntype = "category"\n[model]\nlayers = {layers}\n'
seed("recipe", "numbers", recipe)
seed("recipe", "text", '[data]\npath = "t"\n[[input]]\nname = "t"\ntype = "text"\nencoder = { type = "bert", heads = 2 }\n[[output]]\nname = "c"\ntype = "binary"\n')
seed("recipe", "short", 'seed = 1\n[model]\nlayers = ["Conv2D(32, 3, relu)", "Flatten", "Dropout(0.5)"]\n[trainer]\noptimizer = { type = "adam", lr = 1e-3 }\n')
seed("card", "numbers", '{"input": {"a": {}}}\n' + recipe)
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["!", 4], "cls": ["a", 3]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "cat": 2, "a": 3, "!": 4, "##s": 5}},
}
seed("tokenizer", "word_pieces", json.dumps(tokenizer))
pairs = {"type": "BPE", "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"], "unk_token": "<unk>"}
seed("tokenizer", "byte_pairs", json.dumps({"version": "1.0", "added_tokens": [], "model": pairs, "pre_tokenizer": {"type": "Whitespace"}}))
config = {
    "model_type": "bert", "vocab_size": 22, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 24, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
}
seed("bert", "config", json.dumps(config))
assert zlib.crc32(b"") == 0 and onnx.__version__


def tensor(name, shape, datatype, **more):
    return {"name": name, "shape": shape, "datatype": datatype, **more}


def request(inputs, data=b"", **more):
    """A request of the Open Inference Protocol; with data, the length of its head in two bytes, and the data."""
    head = json.dumps({"id": "1", "inputs": inputs, **more}).encode()
    return struct.pack("<H", len(head) if data else 0) + head + data


texts = [tensor("colour", [1], "BYTES", data=["red"]), tensor("note", [1, 1], "BYTES", data=[["one \u00e9"]])]
pixels = tensor("image", [1, 1, 3, 2], "UINT8", data=[[[[0, 1], [2, 255], [4, 5]]]])
seed("infer", "json", request([tensor("a", [1], "FP64", data=[-1.5e-3])] + texts + [pixels]))
wanted = [{"name": "c_probabilities", "parameters": {"binary_data": True, "classification": 2}}]
seed("infer", "outputs", request([tensor("a", [1], "INT64", data=[7])] + texts + [pixels], outputs=wanted))


def held(size):
    return {"parameters": {"binary_data_size": size}}


inputs = [
    tensor("a", [2], "FP16", **held(4)), tensor("colour", [2], "BYTES", **held(15)),
    tensor("note", [2], "BYTES", **held(8)), tensor("image", [2, 1, 3, 2], "UINT8", **held(12)),
]
data = struct.pack("<ee", 1.5, -2) + b"\3\0\0\0red\4\0\0\0blue" + bytes(8) + bytes(range(12))
seed("infer", "binary", request(inputs, data, parameters={"binary_data_output": True}))
picture = base64.b64encode(buffered(lambda out: Image.new("L", (2, 3), 7).save(out, "png"))).decode()
row = {"a": 1.5, "colour": "red", "note": "one \n\u4e8c", "image": picture, "other": [None, {"x": True}]}
seed("rows_json", "row", json.dumps(row))
seed("rows_json", "rows", json.dumps([row, {**row, "a": None}]))
seed("rows_csv", "rows", f'note,a,colour,image\n"one ""two""",1e3,red,{picture}\n,,blue,{picture}\n')
seed("rows_csv", "semicolons", f"\ufeffa;colour;image;note\r\n1;red;data:image/png;base64,{picture};x\r\n")
