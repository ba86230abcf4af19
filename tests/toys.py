"""Two tiny sources made by hand: what every test of the steps above can transfer from in a second.

`toy_picture_source` is a card beside a safetensors file; `toy_text_source` a folder in the layout
of the hub. Both hold random weights from a fixed seed, and BatchNorm statistics that are not the
identity, so that a trunk run in training mode is caught.
"""

import hashlib
import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file

from headstart.extras import import_timm, import_transformers

WORDS = ["the", "good", "bad", "cat", "dog", "red", "blue", "great", "awful", "film"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

PICTURE_CARD = """\
title = "Toy EfficientNet"
modality = "image"
format = "safetensors"
weights_sha256 = "{sha256}"
size_bytes = {size}
trained_on = "nothing"
license = "Apache-2.0"

[location]
path = "toy.safetensors"

[architecture]
library = "timm"
name = "{name}"

[preprocess]
height = {pixels}
width = {pixels}
crop_pct = 1.0
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""


def toy_picture_source(folder: Path, *, pixels: int = 32, seed: int = 0) -> str:
    """Write a random `test_efficientnet` and its card into `folder`; return its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "test_efficientnet"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = import_timm().create_model(name, num_classes=0)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    weights = folder / "toy.safetensors"
    save_file(network.state_dict(), weights)
    card = PICTURE_CARD.format(
        name=name,
        pixels=pixels,
        size=weights.stat().st_size,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )
    (folder / "toy.toml").write_text(card, encoding="utf-8")
    return f"file:{folder / 'toy.toml'}"


def toy_vocabulary() -> list[str]:
    """Return ten words, and every ASCII character alone and inside a word."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    return [*SPECIAL, *WORDS, *characters, *(f"##{character}" for character in characters)]


def toy_tokenizer_json() -> str:
    """Return a lower-casing WordPiece tokenizer over `toy_vocabulary`, as JSON."""
    vocabulary = {piece: at for at, piece in enumerate(toy_vocabulary())}
    special = [
        {"id": at, "content": piece, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for at, piece in enumerate(SPECIAL)
    ]
    pair = {"cls": ["[CLS]", vocabulary["[CLS]"]], "sep": ["[SEP]", vocabulary["[SEP]"]]}
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", **pair},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
    return json.dumps(values)


def toy_text_source(folder: Path, *, n_layers: int = 3, seed: int = 0) -> str:
    """Write a random `BertModel` of width 32 in the hub's layout into `folder`; return its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    transformers = import_transformers()
    config = transformers.BertConfig(
        vocab_size=len(toy_vocabulary()),
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = transformers.BertModel(config, add_pooling_layer=False)
    config.save_pretrained(folder)
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_text(toy_tokenizer_json(), encoding="utf-8")
    return f"file:{folder}"
