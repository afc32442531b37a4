"""Writes the tiny BERT in tiny/, with what transformers makes of some texts.

    pip install torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 && python make_bert.py

Two layers of eight features with random weights; tokens are word pieces of a small vocabulary.
expected.json: for each text its tokens, the mean of the rows of its tokens divided by its length, and the
row of the first token alone.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HERE = pathlib.Path(__file__).parent / "tiny"
WORDS = "[PAD] [UNK] [CLS] [SEP] the a cat dog sat on mat run ##s ##ning eat ##en , . ! e ##t ##e".split()
TEXTS = [
    "The cat sat on the mat.",
    "A dog runs, eaten!",
    "running   RUNNING cafés dog",
    "",
    "the cat the dog the cat the dog the cat the dog the cat the dog the cat the dog the cat the dog",
    "été",
]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


torch.manual_seed(7)
config = BertConfig(
    vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=24, layer_norm_eps=1e-12, initializer_range=0.3,
)
model = BertModel(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "bias" in name or "LayerNorm" in name:
            parameter.add_(0.1 * torch.randn_like(parameter))

vocab = {word: i for i, word in enumerate(WORDS)}
tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer()
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
HERE.mkdir(exist_ok=True)
tokenizer.save(str(HERE / "tokenizer.json"))
tokenizer.enable_truncation(12)

rows = []
for text in TEXTS:
    ids = tokenizer.encode(text).ids
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    mean = torch.nn.functional.normalize(hidden.mean(0), dim=0)
    rows.append({"text": text, "tokens": ids, "mean": mean.tolist(), "first": hidden[0].tolist()})
write(HERE / "expected.json", rows)
state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
save_file(state, HERE / "model.safetensors", metadata={"format": "pt"})
keep = [
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "layer_norm_eps", "vocab_size", "hidden_act", "type_vocab_size", "pad_token_id", "model_type",
]
write(HERE / "config.json", {key: value for key, value in config.to_dict().items() if key in keep})
write(HERE / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
kinds = ["Transformer", "Pooling", "Normalize"]
modules = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]
write(HERE / "modules.json", modules)
write(HERE / "1_Pooling/config.json", {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
