"""Make the reference statistics that lie beside the cards of the shelf.

    python scripts/make_references.py --stamps DIR --photos DIR --texts FILE [NAME …]

A reference says what the features of a source look like on rows of the kind it was trained on, so
that `headstart rank` can tell how far other rows lie from them. The training sets themselves
(ImageNet, a billion sentence pairs) are in no package; what stands for them is real and packaged:

* pictures of things: the photographs among the stamps of Debian's tuxpaint-stamps-default
  2022.06.04-1 (`--stamps …/usr/share/tuxpaint/stamps`): PNG files outside `cartoon` and `symbols`
  folders, both sides of 100 pixels or more, over 1,500 colors. Cut out as they are, each is laid
  on a crop of a photograph, drawn with a fixed seed, of Debian's mate-backgrounds 1.26.0-1 and
  ukui-wallpapers 20.04.3-1.1 (`--photos …/usr/share/backgrounds`).
* lines of text, for the recognizer: the sentences below, in Pillow's own font.
* English sentences: tweets, news, reviews of films and of goods from the source distribution of
  PyPI's vaderSentiment 3.3.2 (`--texts …/additional_resources/hutto_ICWSM_2014.tar.gz`), 300 of
  each. The multilingual encoder has the same: its reference is English only.

Only means and standard deviations are kept, a few kilobytes a card; no picture and no sentence is.
"""

import argparse
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headstart.data.dataset import Dataset
from headstart.features.extract import extract
from headstart.io import write_safetensors
from headstart.sources.catalog import resolve
from headstart.sources.packages import CARDS
from headstart.task import Modality

SIDE, LEAST_SIDE, LEAST_COLORS = 320, 100, 1500
TEXTS_A_FILE = 300
RECOGNIZER = "ppocr-recognizer"


def stamps(folder: Path) -> Iterator[Image.Image]:
    """Yield the photographs among the stamps, in the order of their names."""
    for path in sorted(folder.rglob("*.png")):
        if {"cartoon", "symbols"} & set(path.parts):
            continue
        picture = Image.open(path).convert("RGBA")
        pixels = np.asarray(picture)
        seen = pixels[pixels[..., 3] > 200][:, :3] // 4
        colors = len(np.unique(seen.reshape(-1, 3), axis=0))
        if min(picture.size) >= LEAST_SIDE and colors > LEAST_COLORS:
            yield picture


def pictures(folder: Path, photos: Path) -> list[Any]:
    """Return stamps on crops of photographs, as arrays (side, side, 3)."""
    rng = np.random.default_rng(0)
    grounds = [Image.open(path).convert("RGB") for path in sorted(photos.rglob("*.jpg"))]
    return [np.asarray(_laid(one, grounds, rng)) for one in stamps(folder)]


def _laid(
    stamp: Image.Image, grounds: Sequence[Image.Image], rng: np.random.Generator
) -> Image.Image:
    ground = grounds[rng.integers(len(grounds))]
    side = int(min(ground.size) * rng.uniform(0.3, 1.0))
    left, top = (int(rng.integers(size - side + 1)) for size in ground.size)
    made = ground.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    size = int(SIDE * rng.uniform(0.6, 1.0))
    stamp.thumbnail((size, size))
    place = tuple(int(rng.integers(SIDE - n + 1)) for n in stamp.size)
    made.paste(stamp, place, stamp)
    return made


def texts(archive: Path) -> list[str]:
    """Return the first sentences of every rated file; the text is the last column."""
    found: list[str] = []
    with tarfile.open(archive) as opened:
        for member in sorted(opened.getmembers(), key=lambda member: member.name):
            if member.name.endswith("_GroundTruth.txt"):
                file = opened.extractfile(member)
                assert file is not None
                lines = file.read().decode("utf-8", errors="replace").splitlines()
                found += [line.split("\t")[-1] for line in lines[:TEXTS_A_FILE]]
    return [text for text in found if text.strip()]


def written(sentences: Sequence[str]) -> list[Any]:
    """Return pictures of the first words of sentences, black on white, a line each."""
    font = ImageFont.load_default(32)
    made = []
    for sentence in sentences:
        line = " ".join(sentence.split())[:12] or "."
        box = font.getbbox(line)
        picture = Image.new("RGB", (int(box[2]) + 16, 48), "white")
        ImageDraw.Draw(picture).text((8, 4), line, "black", font)
        made.append(np.asarray(picture))
    return made


def make(name: str, rows: Sequence[Any], said: str) -> None:
    """Write the reference of one card."""
    source = resolve(f"pkg:{name}")
    values = extract(source, Dataset(source.modality, tuple(rows))).array().astype(np.float64)
    arrays = {"mean": values.mean(axis=0), "std": values.std(axis=0)}
    write_safetensors(
        CARDS / f"{name}.safetensors",
        {key: value.astype(np.float32) for key, value in arrays.items()},
        {"weights_sha256": source.weights_sha256, "rows": said, "n_rows": str(len(values))},
    )


def main() -> None:
    """Read the command line, and make the references asked for; all without a name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("stamps", "photos", "texts"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    sentences = texts(given.texts)
    things = pictures(given.stamps, given.photos)
    for path in sorted(CARDS.glob("*.toml")):
        name = path.stem
        if given.names and name not in given.names:
            continue
        if resolve(f"pkg:{name}").modality is Modality.TEXT:
            make(name, sentences, "English sentences: tweets, news, reviews")
        elif name == RECOGNIZER:
            make(name, written(sentences[:600]), "lines of English text, black on white")
        else:
            make(name, things, "photographs of things, cut out, on photographs")


if __name__ == "__main__":
    main()
