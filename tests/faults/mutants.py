"""R12: pictures and tables that were cut, changed, or are something else.

Each is read, or named as unreadable; nothing else may happen, and the counts must agree.
"""

import io
import json
import random
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from headstart.errors import HeadstartError, UnreadableRow


@dataclass
class Mutants:
    """What came of reading damaged inputs."""

    what: str
    n: int = 0
    n_read: int = 0
    n_named: int = 0
    wrong: list[str] = field(default_factory=list)


def seeds_of_pictures():
    """Whole pictures of every kind that people have."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 255, (24, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    found = {}
    for name, format, options in (
        ("jpeg", "JPEG", {}), ("progressive", "JPEG", {"progressive": True}), ("png", "PNG", {}),
        ("webp", "WEBP", {}), ("gif", "GIF", {}), ("bmp", "BMP", {}), ("tiff", "TIFF", {}),
        ("tiff lzw", "TIFF", {"compression": "tiff_lzw"}),
    ):  # fmt: skip
        found[name] = _encoded(picture, format, **options)
    found["cmyk"] = _encoded(picture.convert("CMYK"), "JPEG")
    found["alpha"] = _encoded(picture.convert("RGBA"), "PNG")
    found["palette"] = _encoded(picture.convert("P"), "PNG")
    found["16 bits"] = _encoded(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    found["turned"] = _encoded(picture, "JPEG", exif=turned)
    frames = [picture, picture.rotate(90)]
    found["animated"] = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return found


def _encoded(picture, format, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def mutated(content, chance):
    """Return bytes that were changed in one of the ways that disks, networks and people have."""
    ways = (
        lambda c: c[: chance.randrange(len(c))],
        lambda c: _with(c, [(chance.randrange(len(c)), chance.randrange(256)) for _ in range(3)]),
        lambda c: _with(c, [(i, chance.randrange(256)) for i in range(min(len(c), 12))]),
        lambda c: c + chance.randbytes(20),
        lambda c: (at := chance.randrange(len(c)), c[:at] + bytes(64) + c[at + 64 :])[1],
        lambda c: chance.randbytes(len(c)),
        lambda c: b"<html>404 not found</html>",
        lambda c: b"",
        lambda c: (at := chance.randrange(len(c)), c[:at] + c[at : at + 9] * 40 + c[at:])[1],
        lambda c: _with(c, [(chance.randrange(min(64, len(c))), 255)]),
    )
    return chance.choice(ways)(content)


def _with(content, changes):
    changed = bytearray(content)
    for at, value in changes:
        changed[at] = value
    return bytes(changed)


def pictures(n, seed=0):
    """Decode damaged pictures: pixels, or one error of ours."""
    from headstart.data.pictures import decode

    chance, found = random.Random(seed), Mutants("pictures")
    whole = list(seeds_of_pictures().items())
    for content in dict(whole).values():
        decode(content)
    for _ in range(n):
        name, content = chance.choice(whole)
        content = mutated(content, chance)
        found.n += 1
        try:
            picture = decode(content)
            assert picture.mode == "RGB" and min(picture.size) > 0
            np.asarray(picture)
            found.n_read += 1
        except UnreadableRow as error:
            found.n_named += 1
            if len(str(error)) > 500:
                found.wrong.append(f"{name}: an error of {len(str(error))} characters")
        except BaseException as error:
            found.wrong.append(f"{name}: {type(error).__name__}: {error}")
    return found


TABLES = {
    ".csv": b'text,label\n"a, b",x\nc,y\nd,x\n"e ""f""",y\n',
    ".tsv": b"text\tlabel\na\tx\nb\ty\nc\tx\n",
    ".jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n{"text": "c", "label": 1}\n',
    ".conll": b"ann B-PER\nlives O\n\nin O\nbonn B-LOC\n",
    ".parquet": b"",
}


def tables(n, folder, seed=0):
    """Read damaged tables: rows, or one error of ours."""
    chance, found = random.Random(seed), Mutants("tables")
    whole = dict(TABLES)
    try:
        import pandas

        frame = pandas.DataFrame({"text": ["a", "b", "c"], "label": ["x", "y", "x"]})
        frame.to_parquet(folder / "whole.parquet")
        whole[".parquet"] = (folder / "whole.parquet").read_bytes()
    except ImportError:
        del whole[".parquet"]
    for _ in range(n):
        suffix = chance.choice(list(whole))
        content = mutated(whole[suffix], chance)
        if chance.random() < 0.2:
            content = content.decode("latin-1").encode(chance.choice(["utf-16", "utf-8", "cp1252"]),
                                                       "replace")  # fmt: skip
        path = folder / f"t{suffix}"
        path.write_bytes(content)
        _tried(found, f"{suffix} {content[:80]!r}", path)
    return found


def _tried(found, name, path, **options):
    """Read a table, and count what came of it."""
    from headstart.data.readers import read

    found.n += 1
    try:
        rows = read(path, **options)
        assert len(rows.rows) == len(rows)
        found.n_read += 1
    except HeadstartError:
        found.n_named += 1
    except BaseException as error:
        found.wrong.append(f"{name}: {type(error).__name__}: {error}")


#: What JSON can hold in a cell, and columns that mean something.
VALUES = (
    None, True, 0, 1, -1, 0.5, float("inf"), 10**400, "", "a", "b", "red;blue", "red", "x y z",
    "nan", "a.png", "O", "B-PER", "\0", "\ud83d", "1", [], {}, [[]], [{}], {"a": 1}, [1, 0],
    ["B-PER", None], {"start": 0, "end": 1, "label": "A"}, [0, 1, "A"],
    {"bytes": "x", "path": "\0"}, [{"start": 0, "end": 10**400, "label": "A"}],
    [{"start": 0.5, "end": 1, "label": []}],
)  # fmt: skip
COLUMNS = ("text", "label", "labels", "tokens", "tags", "ner_tags", "spans", "image", "split", "a")


def objects(n, folder, seed=0):
    """Read tables of JSON whose cells are whatever JSON can hold: rows, or one error of ours."""
    chance, found, path = random.Random(seed), Mutants("objects"), folder / "t.jsonl"
    for _ in range(n):
        names = chance.sample(COLUMNS, chance.randrange(1, 4))
        usual = {name: _value(chance) for name in names}
        rows = [
            {
                name: chance.choice([usual[name], f"some words {i}", _value(chance)])
                for name in names
            }
            for i in range(chance.randrange(1, 10))
        ]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        kind = chance.choice([None, None, "multiclass", "multilabel", "regression"])
        _tried(found, f"{rows!r:.200}", path, kind=kind)
    return found


def _value(chance, depth=0):
    if depth > 2 or chance.random() < 0.7:
        return chance.choice(VALUES)
    inner = [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return inner if chance.random() < 0.5 else dict(zip("abc", inner, strict=False))


def counted(folder, n_bad, n_good, seed=0):
    """Extract a folder with so many unreadable pictures; every one must be named, no other."""
    from headstart.data.pictures import decode
    from headstart.data.readers import read
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve
    from tests.toys import toy_picture_source

    chance, found = random.Random(seed), Mutants("counts")
    whole, bad = list(seeds_of_pictures().values()), set()
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
    for i in range(n_bad + n_good):
        path = folder / "data" / "ab"[i % 2] / f"{i:04}.png"
        content = chance.choice(whole)
        while i < n_bad and _is_readable(decode, content):
            content = mutated(chance.choice(whole), chance)
        path.write_bytes(content + (b"" if i < n_bad else str(i).encode()))
        if i < n_bad:
            bad.add(str(path))
    rows = read(folder / "data", max_skipped=1.0)
    features = extract(resolve(toy_picture_source(folder / "source")), rows)
    told = {skipped.row for skipped in (*rows.skipped, *features.skipped)}
    found.n, found.n_named, found.n_read = n_bad + n_good, len(told), len(features)
    if told != {one for one in bad} and {_last(t) for t in told} != {_last(b) for b in bad}:
        found.wrong.append(f"{len(bad)} were bad, {len(told)} were named")
    if len(features) != n_good:
        found.wrong.append(f"{n_good} were good, {len(features)} were read")
    return found


def _last(name):
    return name.rpartition("/")[2]


def _is_readable(decode, content):
    try:
        decode(content)
    except UnreadableRow:
        return False
    return True
