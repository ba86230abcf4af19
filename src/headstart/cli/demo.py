"""The packaged demo: its data, and the run over them.

Pictures are emoji of 12 classes in three drawing styles; texts are their names. `train` and
`validation` hold two of the styles, noto and twemoji; `test` holds all three, so a third of it is
in a style, fluent, that nothing was fitted on. Concepts never cross: a concept, with all its
relatives ("cat", "black cat", "cat face"), lies in one split only. A test score thus says
how well the model knows birds it has not seen, not how well it remembers a swan.

Names follow the same rule: a name and the keywords of the same emoji lie in the same split.
How the data were made: `scripts/make_demo_data.py`; by whom they were drawn:
`demo_data/ATTRIBUTION.md`.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headstart.data.dataset import Dataset, untested
from headstart.data.readers import read
from headstart.errors import IntegrityError, UsageError
from headstart.io import is_whole, sealed_folder, sha256_file, write_bytes
from headstart.machine import home
from headstart.transfer.transfer import Transfer

DATA = Path(__file__).parent / "demo_data"
LANGUAGES = ("en", "fr")
PICTURES, NAMES = "demo-pictures", "demo-names"
MAX_PICTURE_BYTES = 50_000  # ten times the largest: what is bigger is not ours


def pictures(folder: Path) -> Path:
    """Unpack the demo pictures below `folder` and return the root of their class folders.

    The tree is `train/`, `validation/`, `test/`, each with a folder a class. A second call finds
    the pictures there, checks every byte, and unpacks again only if something was changed.
    """
    archive = DATA / "pictures.zip"
    sealed = folder / f"emoji-{sha256_file(archive)[:8]}"
    if not is_whole(sealed):
        with sealed_folder(sealed) as inside:
            unpack(archive, inside / "pictures")
    return sealed / "pictures"


def names(language: str) -> Path:
    """Return the CSV file of emoji names, columns text, group and split; "en" or "fr"."""
    if language not in LANGUAGES:
        raise UsageError(
            f"language={language!r} has no demo names.\nExpected one of {', '.join(LANGUAGES)}."
        )
    return DATA / f"names_{language}.csv"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack small files only, and none outside `folder`, whatever their names say."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir():
                    write_bytes(folder / _inner(archive, member), opened.read(member))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise IntegrityError(
            f"{archive} is damaged: {error}.\nInstall headstart again: this file was changed."
        ) from error


def _inner(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    is_inside = not path.is_absolute() and ".." not in path.parts and "\\" not in member.filename
    if not is_inside or member.file_size > MAX_PICTURE_BYTES:
        raise IntegrityError(
            f"{archive} holds {member.filename!r} of {member.file_size} bytes.\n"
            f"Expected pictures of at most {MAX_PICTURE_BYTES} bytes inside the folder.\n"
            "Install headstart again: this file was changed."
        )
    return path


@dataclass(frozen=True, eq=False)
class Part:
    """One half of the demo, done: its data, the fitted model, the run's folder."""

    name: str
    data: Dataset
    model: Transfer
    folder: Path


def run(out: Path, tell: Callable[[str], None], proved: str = "") -> Iterator[Part]:
    """Do the main job twice, on the pictures and on the English names; yield each as it is done.

    Parameters
    ----------
    out
        The folder the two runs go to: `demo-pictures` and `demo-names`.
    tell
        Prints a line for people.
    proved
        The part that will be proved.
    """
    for name, title, path in (
        (PICTURES, "Emoji in three drawing styles: which of 12 classes?", pictures(home())),
        (NAMES, "English names of emoji: which of 12 classes?", names("en")),
    ):
        tell(f"\n{title}")
        data, folder = read(path), out / name
        tell(f"{data.describe()}; kept in {folder}\n")
        # The proof is to be the first to read the labels of the test rows.
        model = Transfer(run=folder).fit(untested(data) if name == proved else data)
        model.save(folder / "model")
        yield Part(name, data, model, folder)
