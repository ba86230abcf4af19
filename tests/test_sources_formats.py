"""Readers of weights files, on files made by hand."""

import json
import pickle
import struct
import time
from io import BytesIO

import numpy as np
import pytest
import torch

from headstart import io, machine
from headstart.errors import IntegrityError
from headstart.sources.formats import h5, pth, q4, safetensors
from headstart.sources.formats.opcodes import Refused, Storage, Strided, followed
from headstart.sources.networks import by_order
from headstart.sources.weights import read_file


def test_a_state_dictionary_is_read_in_its_order_and_kept(fresh_home, tmp_path):
    path = tmp_path / "weights.pth"
    state = {"z": torch.ones(2, 3), "a": torch.arange(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.save({"state_dict": state, "epoch": 3}, path)
    digest = io.sha256_file(path)
    arrays = pth.read(path, digest)
    assert list(arrays) == ["z", "a", "b"]
    assert arrays["b"].dtype == np.float32
    path.unlink()  # the kept copy serves from now on
    again = pth.read(path, digest)
    assert all((again[name] == arrays[name]).all() for name in arrays)


def test_a_damaged_copy_is_made_again(fresh_home, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(4)}, path)
    digest = io.sha256_file(path)
    pth.read(path, digest)
    (kept,) = (machine.home() / "sources").glob("*/weights.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1] + b"\x07")
    assert pth.read(path, digest)["a"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("damage", ["{", "{}", '{"files": {}}', None])
def test_a_copy_whose_manifest_is_damaged_is_made_again(damage, fresh_home, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(4)}, path)
    digest = io.sha256_file(path)
    pth.read(path, digest)
    (manifest,) = (machine.home() / "sources").glob("*.state/manifest.json")
    manifest.unlink() if damage is None else manifest.write_text(damage)
    assert pth.read(path, digest)["a"].tolist() == [1, 1, 1, 1]
    assert io.is_whole(manifest.parent)


class Harmful:
    """A pickle that would run code when it is loaded."""

    def __reduce__(self):
        return (open, ("harm", "w"))


def test_a_pickle_that_holds_code_is_refused(fresh_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(IntegrityError, match="more than tensors"):
        pth.read(path, io.sha256_file(path))
    assert not (tmp_path / "harm").exists()


def keras_file(path):
    """Write a Keras model of a convolution, its normalization and a dense layer."""
    import h5py

    layers = [
        {"class_name": "InputLayer", "config": {"name": "in"}},
        {"class_name": "Conv2D", "config": {"name": "z_first"}},
        {"class_name": "BatchNormalization", "config": {"name": "bn"}},
        {"class_name": "Dense", "config": {"name": "a_last"}},
    ]
    inner = {"class_name": "Functional", "config": {"name": "net", "layers": layers}}
    config = {"class_name": "Functional", "config": {"name": "outer", "layers": [inner]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file["model_weights/net/z_first/kernel"] = np.arange(6.0).reshape(1, 1, 2, 3)
        for name in ("beta", "gamma", "moving_mean", "moving_variance"):
            file[f"model_weights/net/bn/{name}"] = np.zeros(3)
        file["model_weights/a_last/a_last/bias:0"] = np.zeros(2)
        file["model_weights/a_last/a_last/kernel:0"] = np.zeros((3, 2))


def test_keras_layers_come_in_the_order_of_the_network(tmp_path):
    keras_file(tmp_path / "x.h5")
    arrays = h5.read(tmp_path / "x.h5", "")
    assert list(arrays) == [
        "z_first/kernel",
        "bn/gamma",
        "bn/beta",
        "bn/moving_mean",
        "bn/moving_variance",
        "a_last/kernel",
        "a_last/bias",
    ]
    assert arrays["z_first/kernel"][:, :, 0, 0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["a_last/kernel"].shape == (2, 3)


def looping(content):
    """Return an HDF5 file whose first heap has free space of no size: it is read for ever."""
    at = content.index(b"GCOL") + 16  # its first object: 8 bytes of facts, 8 of size, the content
    size = int.from_bytes(content[at + 8 : at + 16], "little")
    free = at + 16 + (size + 7) // 8 * 8
    assert content[free : free + 8] == bytes(8)  # the object of number 0 is what is free
    return content[: free + 8] + bytes(8) + content[free + 16 :]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("patience", "change", "said"),
    [
        (3, looping, "HDF5's library did not come to an end in 3 s"),
        (30, lambda content: content[:2000], "OSError"),
        (30, lambda content: content.replace(b'"config"', b'"cinfog"'), "KeyError: 'config'"),
    ],
)
def test_a_broken_file_of_keras_is_refused_in_time(tmp_path, monkeypatch, patience, change, said):
    monkeypatch.setattr(h5, "PATIENCE_S", patience)
    keras_file(tmp_path / "x.h5")
    (tmp_path / "x.h5").write_bytes(change((tmp_path / "x.h5").read_bytes()))
    with pytest.raises(IntegrityError, match=f"cannot be read as h5: ValueError: {said}"):
        read_file("h5", tmp_path / "x.h5", "")


def test_a_file_of_keras_that_takes_all_memory_is_refused(tmp_path, monkeypatch):
    """Arrays that nothing was written into are small in the file, each within measure."""
    import h5py

    monkeypatch.setattr(h5, "MOST_BYTES", 200 << 20)
    monkeypatch.setattr(h5, "MOST_TIMES", 0)
    keras_file(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        for i in range(20):
            file.create_dataset(f"model_weights/b/{i}", (1 << 24,), "u1", chunks=True)
        file["much"] = np.zeros(1 << 18, "u1")
    with pytest.raises(IntegrityError, match="Unable to allocate"):
        read_file("h5", tmp_path / "x.h5", "")


def test_bfloat16_becomes_float32(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.tensor([1.5], dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    array = safetensors.read(tmp_path / "x.safetensors", "")["a"]
    assert (array.dtype, array.tolist()) == (np.float32, [1.5])


def packed_file(path):
    """Write an E5S1 file of one layer's first matrix, one vector and five pieces."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁a"]
    blob = "".join(pieces).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7i", 1, 32, 1, 1, 32, 5, 8, 1) + struct.pack("<fi", 1e-12, 32)
    head += struct.pack("<5i", len(pieces), 0, 2, 1, 3) + struct.pack("<Q", len(blob))
    head += ends.tobytes() + np.array([0, 0, 0, 0, -1], "<f4").tobytes() + blob
    head += struct.pack("<iI", 0, 0)
    matrix = np.zeros(1, q4.BLOCK)
    matrix["scale"], matrix["pairs"] = 0.5, 0x9A  # low half 10 → 1.0, high half 9 → 0.5
    parts = {"l0.q.w": (1, matrix.tobytes()), "l0.q.b": (0, np.ones(2, "<f4").tobytes())}
    at = len(head) + 4 + sum(2 + len(name) + 21 for name in parts)
    directory = struct.pack("<i", len(parts))
    for name, (kind, data) in parts.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, 0, at, len(data))
        at += len(data)
    path.write_bytes(head + directory + b"".join(data for _, data in parts.values()))


def test_four_bit_blocks_are_read(tmp_path):
    packed_file(tmp_path / "x.bin")
    arrays = q4.read(tmp_path / "x.bin", "")
    weight = arrays["encoder.layer.0.attention.self.query.weight"]
    assert weight.tolist() == [[1.0] * 16 + [0.5] * 16]
    assert arrays["encoder.layer.0.attention.self.query.bias"].tolist() == [1, 1]


def test_its_tokenizer_is_written_with_the_same_bytes_each_time(tmp_path):
    from tokenizers import Tokenizer

    packed_file(tmp_path / "x.bin")
    text = q4.tokenizer(tmp_path / "x.bin")
    assert text == q4.tokenizer(tmp_path / "x.bin")
    tokenizer = Tokenizer.from_str(text)
    assert tokenizer.encode(" a\t a\x00").ids[:3] == [0, 4, 4]
    assert tokenizer.encode("a b").tokens == ["<s>", "▁a", "▁b", "</s>"]


def test_another_file_is_not_taken_for_it(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(IntegrityError, match="GGUF"):
        q4.read(tmp_path / "x.bin", "")


def test_order_needs_equal_shapes(tmp_path):
    own = {"a": torch.zeros(2), "counter.num_batches_tracked": torch.tensor(0)}
    assert by_order(own, {"x": torch.ones(2), "old_head": torch.ones(9)}, tmp_path)["a"].sum() == 2
    with pytest.raises(IntegrityError, match=r"x has shape \(3,\); a, the next"):
        by_order(own, {"x": torch.ones(3)}, tmp_path)


@pytest.mark.parametrize("is_zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_of_every_kind_are_those_that_were_saved(tmp_path, is_zipped, protocol):
    path = tmp_path / "weights.pth"
    state = {
        "turned": torch.arange(12.0).reshape(3, 4).t(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3),
        "brain": torch.tensor([1.0, -2.5], dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3),
        "part": torch.arange(10)[2:5],
        "flags": torch.tensor([True, False]),
    }
    other = {"epoch": 3, "rates": [0.1, None, (1, 2)], "name": "é"}
    torch.save(
        {"model": state, **other},
        path,
        _use_new_zipfile_serialization=is_zipped,
        pickle_protocol=protocol,
    )
    found = pth.tensors(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        is_brain = tensor.dtype == torch.bfloat16
        expected = (tensor.float() if is_brain else tensor).detach().numpy()
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].shape == expected.shape


def test_tensors_that_reach_outside_their_numbers_are_refused():
    storage, numbers = Storage("0", "torch FloatStorage", 4), np.arange(4, dtype=np.float32)
    assert Strided(storage, 1, (3,), (1,)).of(numbers).tolist() == [1, 2, 3]
    for offset, shape, steps in (
        (1, (4,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 2), (-1, 1)),
        (0, (10**9,), (0,)),  # one number, repeated until the memory is full
        (0, (10**18, 10**18), (0, 0)),
        (0, (1,), (10**30,)),
    ):
        with pytest.raises(Refused, match="reaches outside"):
            Strided(storage, offset, shape, steps).of(numbers)


#: A tuple of two of the one before, thirty times over: 2 ** 30 values in 100 bytes.
DOUBLED = b"K\x00" + b"".join(b"q%cq%ch%c\x86" % (n, n, n) for n in range(30))
KIND = b"ctorch\nFloatStorage\n"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"})" + b"\x85" * 150_000 + b"K\x01s.",  # a key so deep that its hash ends the process
        b"}(" + b")" + b"\x85" * 150_000 + b"K\x01u.",
        DOUBLED + b"X\x01\0\0\0a\x93.",
        b"(X\x07\0\0\0storage" + KIND + DOUBLED + b"X\x03\0\0\0cpuK\x01tQ.",
        b"(X\x07\0\0\0storage" + DOUBLED + b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ.",
        b"ctorch._utils\n_rebuild_tensor\n((X\x07\0\0\0storage" + KIND
        + b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\x00" + DOUBLED + b")tR.",
    ],
    ids=["deep key", "deep keys", "name", "storage's key", "storage's type", "shape"],
)  # fmt: skip
def test_what_is_nested_or_doubled_is_neither_hashed_nor_shown(opcodes):
    with pytest.raises(Refused):
        followed(io_of(opcodes))


def test_many_marks_take_no_longer_each():
    began = time.perf_counter()
    found = followed(io_of(b"](" + b"K\x00" * 60_000 + b"(K\x01t" * 20_000 + b"e."))
    assert len(found) == 80_000
    assert time.perf_counter() - began < 5


def test_many_names_of_one_storage_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    numbers = torch.ones(100_000)
    torch.save({"tied": numbers, "again": numbers.reshape(100, 1_000)}, path)
    assert pth.tensors(path)["again"].shape == (100, 1_000)
    torch.save({str(n): numbers for n in range(100)}, path)
    with pytest.raises(IntegrityError, match="more than 4 times its bytes"):
        pth.tensors(path)


@pytest.mark.parametrize("name", ["a\nb", "\ud800"])
def test_names_that_are_no_text_are_refused(tmp_path, name):
    torch.save({name: torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(IntegrityError, match="no line of text"):
        pth.tensors(tmp_path / "weights.pth")


def test_dictionaries_doubled_through_the_memo_are_walked_once():
    state = {}
    for _ in range(60):
        state = {"a": state, "b": state}
    assert pth._storages(state) == {}
    state["itself"] = state
    assert pth._storages(state) == {}


def io_of(opcodes):
    return BytesIO(b"\x80\x02" + opcodes)
