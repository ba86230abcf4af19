"""`pkg:` sources: weights inside installed packages, each described by a card.

The cards of Headstart lie in `cards/`; another package adds its own folder of cards through the
entry-point group "headstart.sources" (the entry is the path of the folder).
"""

import functools
import importlib.metadata
from pathlib import Path

CARDS = Path(__file__).parent / "cards"
GROUP = "headstart.sources"


def card_of(name: str) -> Path | None:
    """Return the card of a `pkg:` name, or None."""
    own = CARDS / f"{name}.toml"
    if own.exists() and own.parent == CARDS:
        return own
    return cards().get(name)


def cards() -> dict[str, Path]:
    """Return every card by its `pkg:` name, Headstart's own first."""
    found: dict[str, Path] = {}
    for folder in (CARDS, *_foreign_folders()):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


@functools.cache
def _foreign_folders() -> tuple[Path, ...]:
    entries = importlib.metadata.entry_points(group=GROUP)
    return tuple(Path(entry.load()) for entry in sorted(entries, key=lambda entry: entry.name))
