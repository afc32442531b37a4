"""Reads what `nerve runs export --to tensorboard` writes with TensorBoard's own readers, and compares every value.

    python -m venv env && env/bin/pip install tensorboard==2.21.0
    env/bin/python .ci/reads_tensorboard.py target/release/nerve

The run folder is made here, line by line as the format of events.jsonl says: scalars, histograms, an image, texts, a
run that was continued from an earlier step, its end. The export is done in two steps, as of a run that grows.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

RECIPE = 'seed = 7\nname = "ä"\n[trainer]\nshuffle = true\noptimizer = { type = "adam", lr = 0.001 }\n'


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def begin(t, step):
    return dict(t=t, k="begin", format=1, nerve="0", pid=4711, epochs=2, steps_per_epoch=None, metrics=[],
                goal=None, maximize=False, step=step)


def scalar(t, step, tag, v):
    return dict(t=t, k="scalar", step=step, epoch=1, tag=tag, v=v)


EDGES, COUNTS = [-2.0, -0.5, 0.0, 3.5], [1, 0, 7]
FIRST = [
    begin(1000.5, 0),
    *(scalar(1000 + s, s, "loss/train", 1 / s) for s in range(1, 6)),
    scalar(1003.25, 3, "loss/val", "NaN"),
    scalar(1003.25, 4, "loss/val", "Infinity"),
    dict(t=1002, k="hist", step=2, epoch=1, tag="weights/a", edges=EDGES, counts=COUNTS),
    dict(t=1002, k="image", step=2, tag="samples/0", file="a.png", caption="x"),
    dict(t=1002, k="text", step=2, tag="answer", text="**ä** <b>"),
    dict(t=1002, k="hologram", depth=3),
    dict(t=1002, k="layer", step=2, epoch=1, tag="2.ReLU", values=dict(dead=0.25)),
    dict(t=1002, k="confusion", step=2, tag="val/y", labels=["a", "b"], counts=[[3, 1], [0, 2]]),
]
# Killed after step 5, continued from the checkpoint of step 3.
SECOND = [
    begin(2000.0, 3),
    *(scalar(2000 + s, s, "loss/train", 10 / s) for s in range(4, 8)),
    dict(t=2010.0, k="end", status="done", reason="", step=7),
]


def main(nerve):
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "runs", "a")
        run.mkdir(parents=True)
        (run / "resolved.toml").write_text(RECIPE)
        (run / "a.png").write_bytes(png(5, 4))
        for events in (FIRST, SECOND):
            with open(run / "events.jsonl", "a") as file:
                file.writelines(json.dumps(event) + "\n" for event in events)
            command = [nerve, "runs", "export", str(run), "--to", "tensorboard"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        check(str(run / "tb"))
    print("TensorBoard reads what was written")


def check(folder):
    found = EventAccumulator(folder, size_guidance=dict(scalars=0, histograms=0, images=0, tensors=0))
    found.Reload()
    tags = found.Tags()
    assert sorted(tags["scalars"]) == ["dead/2.ReLU", "loss/train", "loss/val"], tags
    loss = [(e.step, e.wall_time, e.value) for e in found.Scalars("loss/train")]
    expected = [(s, 1000 + s, 1 / s) for s in range(1, 4)] + [(s, 2000 + s, 10 / s) for s in range(4, 8)]
    assert loss == [(s, t, np.float32(v)) for s, t, v in expected], loss
    val = found.Scalars("loss/val")
    assert [e.step for e in val] == [3] and np.isnan(val[0].value), "what came after step 3 is dropped"
    [hist] = found.Histograms("weights/a")
    value = hist.histogram_value
    assert (hist.step, value.min, value.max, value.num) == (2, -2.0, 3.5, 8), value
    assert list(value.bucket_limit) == EDGES[1:] and list(value.bucket) == COUNTS, value
    [image] = found.Images("samples/0")
    assert (image.width, image.height, image.encoded_image_string) == (5, 4, png(5, 4))

    # As the plugins of today see it: everything a tensor.
    found = PluginAccumulator(folder)
    found.Reload()
    text = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in
            found.PluginTagToContent("text")}
    assert text["answer"] == "**ä** <b>" and RECIPE in text["recipe"], text
    assert text["confusion/val/y"].splitlines()[2] == "| a | 3 | 1 |", text
    buckets = tensor_util.make_ndarray(found.Tensors("weights/a")[0].tensor_proto)
    assert buckets.tolist() == [[l, r, c] for l, r, c in zip(EDGES, EDGES[1:], COUNTS)], buckets
    hparams = found.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(hparams["_hparams_/session_start_info"]).session_start_info
    settings = {key: getattr(v, v.WhichOneof("kind")) for key, v in start.hparams.items()}
    assert settings == {"seed": 7.0, "name": "ä", "trainer.shuffle": True, "trainer.optimizer.type": "adam",
                        "trainer.optimizer.lr": 0.001}, settings
    end = plugin_data_pb2.HParamsPluginData.FromString(hparams["_hparams_/session_end_info"]).session_end_info
    assert (end.status, end.end_time_secs) == (1, 2010.0), end


main(sys.argv[1])
