"""The data of `headstart demo`: what it promises, counted."""

import csv
import io
import zipfile
from collections import Counter, defaultdict

import pytest
from PIL import Image

from headstart.cli import demo
from headstart.errors import IntegrityError, UsageError

STYLES = {"noto", "twemoji", "fluent"}
SPLITS = {"train", "validation", "test"}


@pytest.fixture(scope="module")
def archive():
    with zipfile.ZipFile(demo.DATA / "pictures.zip") as opened:
        yield opened


@pytest.fixture(scope="module")
def members(archive):
    """(split, class, concept, style) of each picture."""
    parts = [name.removesuffix(".webp").split("/") for name in archive.namelist()]
    return [(split, label, *stem.rsplit("-", 1)) for split, label, stem in parts]


def rows(language):
    with demo.names(language).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_of_it_stays_under_five_megabytes():
    assert sum(path.stat().st_size for path in demo.DATA.iterdir()) <= 5_000_000


def test_every_picture_opens_at_its_size(archive):
    for name in archive.namelist():
        with Image.open(io.BytesIO(archive.read(name))) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (160, 160)), name


def test_no_picture_is_twice_or_blank(archive):
    contents = [archive.read(name) for name in archive.namelist()]
    assert len(set(contents)) == len(contents)
    assert min(map(len, contents)) > 500


def test_every_class_is_in_every_style_and_split(members):
    styles, splits = defaultdict(set), defaultdict(set)
    for split, label, _, style in members:
        styles[label].add(style)
        splits[label].add(split)
    assert len(styles) == 12
    assert all(found == STYLES for found in styles.values())
    assert all(found == SPLITS for found in splits.values())


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_classes_are_balanced_enough_for_accuracy(members, split):
    labels = Counter(label for side, label, *_ in members if side == split)
    assert max(labels.values()) <= 3 * min(labels.values())
    for language in ("en", "fr"):
        groups = Counter(row["group"] for row in rows(language) if row["split"] == split)
        assert max(groups.values()) <= 3 * min(groups.values())


def test_one_style_is_kept_for_the_test(members):
    assert {style for split, *_, style in members if split != "test"} == {"noto", "twemoji"}
    assert {style for split, *_, style in members if split == "test"} == STYLES


def test_no_concept_crosses_splits(members):
    where = defaultdict(set)
    for split, label, concept, _ in members:
        where[label, concept].add(split)
    assert all(len(splits) == 1 for splits in where.values())
    cats = {split for split, _, concept, _ in members if concept in ("cat", "black-cat")}
    assert len(cats) == 1  # relatives stay together


@pytest.mark.parametrize("language", ["en", "fr"])
def test_names_have_their_groups_and_splits(language):
    found = rows(language)
    assert set(found[0]) == {"text", "group", "split"}
    assert 1_000 < len(found) < 1_500
    assert len({row["group"] for row in found}) == 12
    for split in SPLITS:
        assert len({row["group"] for row in found if row["split"] == split}) == 12


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_name_is_empty_or_twice(language):
    texts = [row["text"].strip().lower() for row in rows(language)]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_a_name_is_where_it_should_be():
    found = {row["text"]: row["group"] for row in rows("en")}
    assert found["dolphin"] == "animals"
    assert {row["text"]: row["group"] for row in rows("fr")}["fusée"] == "transport"


def test_every_maker_and_license_is_named():
    text = (demo.DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for word in ("Apache-2.0", "CC-BY-4.0", "MIT", "Google", "Twitter", "Microsoft", "Emojibase"):
        assert word in text


def test_pictures_are_unpacked_once_and_repaired(tmp_path, archive):
    root = demo.pictures(tmp_path)
    assert {path.name for path in root.iterdir()} == SPLITS
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) == len(archive.namelist())
    kept = files[0].stat().st_mtime_ns
    assert demo.pictures(tmp_path) == root
    assert files[0].stat().st_mtime_ns == kept
    whole = files[0].read_bytes()
    files[0].write_bytes(b"changed")
    demo.pictures(tmp_path)
    assert files[0].read_bytes() == whole


@pytest.mark.parametrize("name", ["../out.webp", "/out.webp", "a/../../out.webp", "..\\out.webp"])
def test_no_file_leaves_the_folder(tmp_path, name):
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as opened:
        opened.writestr(name, b"x")
    with pytest.raises(IntegrityError, match="inside the folder"):
        demo.unpack(evil, tmp_path / "in")
    assert not (tmp_path / "out.webp").exists()


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.webp", bytes(demo.MAX_PICTURE_BYTES + 1))
    with pytest.raises(IntegrityError, match="at most"):
        demo.unpack(bomb, tmp_path / "in")


def test_an_unknown_language_is_refused():
    with pytest.raises(UsageError, match="en, fr"):
        demo.names("de")
