"""Make the data of `headstart demo` again, from four npm packages with clear licenses.

    python scripts/make_demo_data.py [--packages FOLDER]

Needs `npm` and `pip install resvg-py pillow`. Every package is pinned by version and SHA-256; the
same inputs give the same bytes. What is made, and how rows are split, is told in
`headstart.cli.demo`; who drew it is told in ATTRIBUTION.md beside the data.
"""

import argparse
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

OUT = Path(__file__).parent.parent / "src" / "headstart" / "cli" / "demo_data"
SIDE = 160  # pixels
QUALITY = 82  # WebP; outlines stay clean, and a picture takes about 2.5 kB

PACKAGES = {  # package → version, SHA-256 of the archive that `npm pack` fetches
    "@iconify-json/noto": (
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "@iconify-json/twemoji": (
        "1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
    "@iconify-json/fluent-emoji-flat": (
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "emojibase-data": (
        "17.0.0",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    ),
}
STYLES = {
    "noto": "@iconify-json/noto",
    "twemoji": "@iconify-json/twemoji",
    "fluent": "@iconify-json/fluent-emoji-flat",
}
STYLES_OF = {
    "train": ("noto", "twemoji"),
    "validation": ("noto", "twemoji"),
    "test": ("noto", "twemoji", "fluent"),
}

PICTURE_CLASSES = {  # class → Unicode subgroups
    "bird": ("animal-bird",),
    "bug": ("animal-bug",),
    "building": ("place-building", "place-religious"),
    "clothing": ("clothing",),
    "drink": ("drink",),
    "fruit": ("food-fruit",),
    "mammal": ("animal-mammal",),
    "meal": ("food-prepared", "food-asian"),
    "plant": ("plant-flower", "plant-other"),
    "sea-animal": ("animal-marine",),
    "vegetable": ("food-vegetable",),
    "vehicle": ("transport-ground", "transport-water", "transport-air"),
}
# Members of a subgroup that are not what their class says.
NOT_PICTURED = frozenset(
    """
    wing; feather; spider web; microbe; pig nose; paw prints; spiral shell; coral;
    building construction; brick; rock; wood; wedding; kaaba; Statue of Liberty;
    rosette; empty nest; nest with eggs; mushroom; sheaf of rice; ice; pouring liquid; baby bottle;
    egg; cooking; salt; butter; takeout box; anchor; ring buoy; parachute; seat; station;
    bus stop; motorway; railway track; oil drum; fuel pump; wheel; police car light;
    horizontal traffic light; vertical traffic light; stop sign; construction; satellite;
    airplane departure; airplane arrival; folding hand fan; shopping bags; lipstick; ring;
    gem stone; prayer beads; hair pick; crown; map of Japan; manual wheelchair;
    motorized wheelchair; suspension railway; mountain cableway; aerial tramway; mountain railway
    """.replace("\n    ", " ")
    .strip()
    .split("; ")
)
MAX_CONCEPTS = 32  # a class; keeps the largest class within three times the smallest

TEXT_GROUPS = {  # group → prefixes of Unicode subgroups
    "animals": ("animal-",),
    "countries": ("country-flag",),
    "faces": ("face-", "cat-face", "monkey-face"),
    "food": ("food-", "drink", "dishware"),
    "leisure": ("event", "award-medal", "sport", "game", "arts-crafts"),
    "objects": (
        *("clothing", "sound", "music", "phone", "computer", "light-video", "book-paper", "money"),
        *("mail", "writing", "office", "lock", "tool", "science", "medical", "household"),
    ),
    "people": ("person", "hand-", "hands", "body-parts"),
    "places": ("place-", "hotel"),
    "plants": ("plant-",),
    "signs": (
        *("transport-sign", "warning", "arrow", "religion", "zodiac", "av-symbol", "math"),
        *("punctuation", "currency", "other-symbol", "alphanum", "geometric"),
    ),
    "transport": ("transport-ground", "transport-water", "transport-air"),
    "weather": ("sky-weather",),
}
MAX_NAMES = 60  # concepts a group; balanced in the same way
MAX_KEYWORDS = 6


@dataclass(frozen=True)
class Concept:
    """One emoji, whoever draws it.

    Parameters
    ----------
    code
        Its code points in hexadecimal, joined by "-".
    label
        Its English name.
    subgroup
        Its Unicode subgroup.
    """

    code: str
    label: str
    subgroup: str

    @property
    def family(self) -> str:
        """What it is of: "cat", "black cat", "cats" and "cat with wry smile" are one family."""
        head = re.split(r" (?:with|without|of|in|fluttering) ", self.label)[0]
        if head in ("face", "person"):
            head = self.label
        word = head.removesuffix(" face").split()[-1].lower()
        return word.rstrip("es") or word  # a rough singular: "house" and "houses" meet


@dataclass(frozen=True)
class Style:
    """One set of drawings, as an Iconify package keeps it."""

    icons: dict[str, Any]
    names: dict[str, str]

    def has(self, code: str) -> bool:
        """Whether this set draws the emoji."""
        return _plain(code) in self.names

    def picture(self, code: str) -> bytes:
        """Return the emoji on white, as WebP."""
        icon = self.icons | self.icons["icons"][self.names[_plain(code)]]
        width, height = icon["width"], icon["height"]
        side = max(width, height)  # a drawing that is not square is centered on a square
        left = icon.get("left", 0) - (side - width) / 2
        top = icon.get("top", 0) - (side - height) / 2
        return _drawn(icon["body"], f"{left:g} {top:g} {side:g} {side:g}")


def _plain(code: str) -> str:
    # The sets disagree on whether U+FE0F (draw in color) is part of a name: leave it out.
    return code.lower().replace("-fe0f", "")


def _drawn(body: str, view: str) -> bytes:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{body}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, background="white"))
    out = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.save(out, "WEBP", quality=QUALITY, method=6)
    return out.getvalue()


def fetched(folder: Path) -> dict[str, Path]:
    """Fetch the packages that are not in `folder` yet, check and unpack each: name → folder."""
    return {
        name: _unpacked(_archive(folder, name, version), digest)
        for name, (version, digest) in PACKAGES.items()
    }


def _archive(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not path.exists():
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True)
    return path


def _unpacked(archive: Path, digest: str) -> Path:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"{archive}: SHA-256 is {found}, expected {digest}: not the pinned package.")
    folder = archive.with_suffix("")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def style(package: Path) -> Style:
    """Read one set of drawings."""
    icons = {"width": 16, "height": 16} | _json(package / "icons.json")  # Iconify's defaults
    names = {_plain(code): name for code, name in _json(package / "chars.json").items()}
    return Style(icons, names)


def concepts(package: Path) -> list[Concept]:
    """Read the emoji, skin tones and man/woman variants aside, in Unicode's order."""
    subgroups = _json(package / "meta" / "groups.json")["subgroups"]
    rows = [row for row in _json(package / "en" / "data.json") if "subgroup" in row]
    made = [Concept(r["hexcode"], r["label"], subgroups[str(r["subgroup"])]) for r in rows]
    variant = re.compile(r"^(wo)?m[ae]n[ :]|^person: ")
    return [c for c in made if not (c.subgroup.startswith("person") and variant.match(c.label))]


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def chosen(members: Iterable[Concept], limit: int) -> list[Concept]:
    """Return at most `limit` of them, whichever hash first: no hand picks an easy one."""
    return sorted(sorted(members, key=lambda c: _order(c.label))[:limit], key=lambda c: c.code)


def split(members: Sequence[Concept]) -> dict[str, str]:
    """Assign whole families to test (a quarter), validation (a seventh), train: code → split."""
    families = defaultdict(list)
    for concept in members:
        families[concept.family].append(concept.code)
    assigned: dict[str, str] = {}
    for family in sorted(families, key=_order):
        side = _first_short(assigned, len(members))
        assigned |= dict.fromkeys(families[family], side)
    return assigned


def _first_short(assigned: dict[str, str], n: int) -> str:
    sides = list(assigned.values())
    for side, share in (("test", 1 / 4), ("validation", 1 / 7)):
        if sides.count(side) < share * n:
            return side
    return "train"


def pictures(all_concepts: list[Concept], styles: dict[str, Style]) -> dict[str, bytes]:
    """Draw the picture set: path inside the archive → WebP bytes."""
    files: dict[str, bytes] = {}
    for label, subgroups in PICTURE_CLASSES.items():
        members = [
            concept
            for concept in all_concepts
            if concept.subgroup in subgroups
            and concept.label not in NOT_PICTURED
            and all(s.has(concept.code) for s in styles.values())
        ]
        members = chosen(members, MAX_CONCEPTS)
        sides = split(members)
        for concept in members:
            side = sides[concept.code]
            for name in STYLES_OF[side]:
                path = f"{side}/{label}/{_slug(concept.label)}-{name}.webp"
                files[path] = styles[name].picture(concept.code)
    return files


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def write_pictures(path: Path, files: dict[str, bytes]) -> None:
    """Write the archive, with nothing in it that depends on the day it was made."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), files[name])


def names(all_concepts: list[Concept], package: Path, language: str) -> list[tuple[str, str, str]]:
    """Return rows (text, group, split): a name, then its keywords; both of one split."""
    words = {row["hexcode"]: row for row in _json(package / language / "data.json")}
    rows: list[tuple[str, str, str]] = []
    for group, prefixes in TEXT_GROUPS.items():
        members = chosen((c for c in all_concepts if c.subgroup.startswith(prefixes)), MAX_NAMES)
        sides = split(members)
        for concept in members:
            texts = _texts(words[concept.code])
            rows += [(text, group, sides[concept.code]) for text in texts]
    return _unambiguous(rows)


def _texts(row: dict[str, Any]) -> list[str]:
    # "flag: France" would give the group away: the country alone is asked for.
    name = re.sub(r"^(flag|drapeau)\s*:\s*", "", row["label"]).replace("\u202f", " ")
    said = set(name.lower().split())
    extra = [t for t in row.get("tags", ()) if t.lower() not in said and not t.isupper()]
    extra = [t for t in extra if t not in ("flag", "drapeau")]
    keywords = ", ".join(extra[:MAX_KEYWORDS])
    return [name, keywords] if len(extra) >= 2 else [name]


def _unambiguous(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    # A text that two emoji share is kept once if they agree, and left out if they do not.
    seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for text, group, side in rows:
        seen[text.lower()].add((group, side))
    first: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        if len(seen[row[0].lower()]) == 1:
            first.setdefault(row[0].lower(), row)
    return list(first.values())


def write_names(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write one CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", "group", "split"))
        writer.writerows(rows)


def make(folder: Path) -> None:
    """Make all of it, and say how large it is."""
    packages = fetched(folder)
    styles = {name: style(packages[package]) for name, package in STYLES.items()}
    emoji = concepts(packages["emojibase-data"])
    OUT.mkdir(parents=True, exist_ok=True)
    write_pictures(OUT / "pictures.zip", pictures(emoji, styles))
    for language in ("en", "fr"):
        rows = names(emoji, packages["emojibase-data"], language)
        write_names(OUT / f"names_{language}.csv", rows)
    for path in sorted(OUT.iterdir()):
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, help="where the .tgz files are, or shall be kept")
    folder = parser.parse_args().packages
    if folder:
        return make(folder)
    with tempfile.TemporaryDirectory() as temporary:
        return make(Path(temporary))


if __name__ == "__main__":
    main()
