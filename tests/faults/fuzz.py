"""S3, S20: every parser of ours with changed files; whatever comes, the errors are ours.

The changes are blind (bits, cuts, repeats, numbers put in); `guided.py` has those that coverage
chooses. HDF5 is left out: its own library loops for ever on some changed files, which is why it is
read in a process apart.
"""

import io
import random
import time

import numpy as np

from headstart.errors import HeadstartError
from tests.faults.mutants import TABLES, Mutants, mutated

#: Numbers that length fields do not expect.
ODD = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
]


def wholes(folder):
    """A whole file of each format, by name."""
    import onnx
    import torch
    from onnx import helper

    from headstart.io import write_safetensors
    from tests.test_sources_formats import packed_file
    from tests.toys import PICTURE_CARD

    state = {"a": torch.ones(2, 3), "b": torch.arange(4)}
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    write_safetensors(
        folder / "w.safetensors", {"a": np.ones((2, 3)), "b": np.arange(4)}, {"k": "v"}
    )
    packed_file(folder / "q4.bin")
    x, y = (helper.make_tensor_value_info(n, 1, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph), folder / "g.onnx")
    array = io.BytesIO()
    np.save(array, np.ones((3, 2)))
    (folder / "v.npy").write_bytes(array.getvalue())
    card = PICTURE_CARD.format(name="test_efficientnet", pixels=32, size=1, sha256="0" * 64)
    (folder / "c.toml").write_text(card)
    for suffix in (".csv", ".jsonl", ".conll"):
        (folder / f"t{suffix}").write_bytes(TABLES[suffix])
    (folder / "manifest.json").write_text('{"files": {"a.txt": {"sha256": "00", "size": 1}}}')
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parser(name, path):
    """What reads such a file."""
    from headstart.data.readers import read
    from headstart.data.unlabelled import read_rows
    from headstart.features.graphs import cut
    from headstart.io import verify_folder
    from headstart.sources.card import outline
    from headstart.sources.weights import read_file
    from headstart.task import Modality

    suffix = name.rpartition(".")[2]
    if suffix == "toml":
        return lambda: outline(path, "file:x")
    if suffix == "json":
        return lambda: verify_folder(path.parent)
    if f".{suffix}" in TABLES:
        return lambda: read(path)
    if suffix == "npy":
        return lambda: read_rows([str(path)], Modality.VECTOR)
    if suffix == "onnx":
        return lambda: (read_file("onnx", path, ""), cut(path, "y", "out"))
    format = {"pth": "pth", "safetensors": "safetensors", "bin": "q4"}[suffix]
    return lambda: read_file(format, path, str(random.random()))


def changed(content, chance):
    """Return a file changed at random; often in a field of 4 or 8 bytes."""
    if chance.random() < 0.5:
        return mutated(content, chance)
    size, at = chance.choice([1, 4, 8]), chance.randrange(max(1, len(content) - 8))
    value = chance.choice(ODD) & ((1 << 8 * size) - 1)
    return (
        content[:at] + value.to_bytes(size, chance.choice(["little", "big"])) + content[at + size :]
    )


def fuzzed(folder, n, seed=0, seconds=float("inf")):
    """Read so many changed files of each format, or for so long; return what came of each."""
    found = []
    (folder / "whole").mkdir(parents=True)
    for name, content in wholes(folder / "whole").items():
        chance, tally = random.Random(f"{seed} {name}"), Mutants(name)
        at = folder / name.replace(".", "-") / name
        at.parent.mkdir()
        read, began = parser(name, at), time.monotonic()
        while tally.n < n and time.monotonic() - began < seconds:
            at.write_bytes(changed(content, chance))
            tally.n += 1
            try:
                read()
                tally.n_read += 1
            except HeadstartError:
                tally.n_named += 1
            except BaseException as error:
                tally.wrong.append(f"{type(error).__name__}: {error}"[:200])
        found.append(tally)
    return found
