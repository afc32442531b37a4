"""Makes audio.safetensors: what the front ends of nerve-data are tested against.

    python -m venv env && env/bin/pip install librosa==0.11.0 scipy==1.17.1 numpy==2.4.6
    env/bin/python make_audio.py

`sound` is a chirp over noise at 16 kHz. Spectra without centring, windows as long as the transform.
"""

import json
import struct
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import scipy.signal

rng = np.random.default_rng(20261122)
time = np.arange(2400) / 16_000
chirp = 0.5 * np.sin(2 * np.pi * (200 * time + 20_000 * time**2)) * np.hanning(2400)
sound = (chirp + 0.003 * rng.standard_normal(2400)).astype(np.float32)
tensors = {"sound": sound}

for rate, to in [(16_000, 8_000), (8_000, 16_000), (44_100, 16_000), (16_000, 11_025)]:
    common = np.gcd(rate, to)
    resampled = scipy.signal.resample_poly(sound.astype(np.float64), to // common, rate // common)
    tensors[f"resampled.{rate}.{to}"] = resampled


def mel(window, hop, bands, low, high):
    power = librosa.feature.melspectrogram(
        y=sound.astype(np.float64), sr=16_000, n_fft=window, hop_length=hop, win_length=window,
        window="hann", center=False, power=2.0, n_mels=bands, fmin=low, fmax=high,
    )
    return np.log(np.maximum(power, 1e-6))


tensors["log_mel.default"] = mel(480, 160, 40, 20.0, 8000.0).T
tensors["log_mel.other"] = mel(400, 100, 26, 100.0, 6000.0).T
tensors["mfcc.default"] = librosa.feature.mfcc(S=mel(480, 160, 40, 20.0, 8000.0), n_mfcc=13).T
quiet = np.concatenate([1e-3 * sound, sound, np.zeros(900, np.float32), 1e-3 * sound])
_, (first, last) = librosa.effects.trim(quiet, top_db=30, frame_length=480, hop_length=160)
tensors["trim"] = np.array([first, last], np.float64)

header, data = {}, b""
for name, values in tensors.items():
    values = np.ascontiguousarray(values, np.float32)
    header[name] = {
        "dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]
    }
    data += values.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("audio.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
