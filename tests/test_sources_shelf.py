"""Known answers of the shelf; skipped where its packages are not installed.

The numbers were taken when the features equalled, to the last bit, those of the network each file
was made for (efficientnet_lite_pytorch, the Keras layers one by one, transformers' own loading).
"""

import numpy as np
import pytest
import torch

from headstart.errors import SourceUnavailable
from headstart.sources.catalog import open_backbone, resolve
from headstart.sources.formats import pth
from headstart.sources.weights import weights_path


def on_disk(uri):
    """Resolve a source of the shelf; skip where its package is not there, not where it is lost."""
    try:
        return resolve(uri)
    except SourceUnavailable as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))


def pixels_of(picture, preprocess):
    """Resize the short side, cut the center out and normalize, as the card says."""
    from PIL import Image

    short = round(preprocess.height / preprocess.crop_pct)
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    size = round(width * scale), round(height * scale)
    image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - preprocess.width) // 2, (size[1] - preprocess.height) // 2
    image = image.crop((left, top, left + preprocess.width, top + preprocess.height))
    values = (np.asarray(image, np.float32) * preprocess.scale - preprocess.mean) / preprocess.std
    return torch.from_numpy(values.astype(np.float32).transpose(2, 0, 1)[None])


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_with_its_old_head_it_knows_a_palace(name):
    from sklearn.datasets import load_sample_image

    source = on_disk(f"pkg:{name}")
    pixels = pixels_of(load_sample_image("china.jpg"), source.preprocess)
    state = pth.read(weights_path(source), source.weights_sha256)
    features = open_backbone(source)(pixels).detach().numpy()
    logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert logits.argmax() == 698  # "palace"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet-lite0", [0.00841, 0.0, 2.13482]),
        ("dog-breed-mobilenetv2", [0.05284, 0.35388, 0.0]),
        ("all-minilm-l6-v2", [-0.04281, -0.00238, -0.00324]),
        ("multilingual-e5-small", [0.03683, -0.04821, -0.04767]),
    ],
)
def test_features_of_the_example_are_the_known_ones(name, expected):
    source = on_disk(f"pkg:{name}")
    backbone = open_backbone(source)
    n_parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert n_parameters == source.n_parameters
    features = backbone(*backbone.example(2)).detach()
    assert features[1, :3].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_tokenizer_of_e5_is_that_of_xlm_roberta():
    from tokenizers import Tokenizer

    source = on_disk("pkg:multilingual-e5-small")
    tokenizer = Tokenizer.from_file(source.preprocess.tokenizer)
    assert tokenizer.encode("Hello world").ids == [0, 35378, 8999, 2]
    assert source.preprocess.prefix == "query: "


def test_sentences_of_one_meaning_are_near_across_languages():
    from tokenizers import Tokenizer

    source = on_disk("pkg:multilingual-e5-small")
    tokenizer = Tokenizer.from_file(source.preprocess.tokenizer)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    texts = ["The cat sleeps.", "Le chat dort.", "Interest rates rose again."]
    rows = tokenizer.encode_batch([source.preprocess.prefix + text for text in texts])
    ids = torch.tensor([row.ids for row in rows])
    mask = torch.tensor([row.attention_mask for row in rows])
    vectors = torch.nn.functional.normalize(open_backbone(source)(ids, mask)).detach()
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > far + 0.05
