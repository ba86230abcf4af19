"""Catalog: a URI becomes a source; the shelf lists what can be transferred from.

Nothing here imports torch, apart from `open_backbone`.
"""

import dataclasses
import difflib
import errno
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import HeadstartError, SourceUnavailable, UnknownSource, UsageError
from headstart.sources import added, packages, weights
from headstart.sources.added import Added, Addition
from headstart.sources.card import outline, read_card
from headstart.sources.files import from_file, from_run
from headstart.sources.hubs import from_hf, from_timm, looking, why_offline
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess, VectorPreprocess
from headstart.sources.source import Source
from headstart.task import Modality

if TYPE_CHECKING:
    from headstart.sources.backbone import Backbone

verify = weights.verify
weights_path = weights.weights_path

IDENTITY = "identity:"


@dataclass(frozen=True)
class Shelved:
    """A source of the shelf, and whether it can be used on this machine.

    Parameters
    ----------
    source
        Its card.
    on_disk
        Whether the weights are there.
    why
        If not, what to do.
    """

    source: Source
    on_disk: bool
    why: str = ""


def resolve(uri: str, *, seed: int = 0) -> Source:
    """Return the card a URI names.

    The weights are looked for, not read: they are verified when they are opened.

    Parameters
    ----------
    uri
        "pkg:NAME", "timm:NAME", "hf:OWNER/NAME", "file:PATH", "run:PATH", "scratch:URI" or
        "identity:".
    seed
        Of the random weights of a "scratch:" source.

    Raises
    ------
    UnknownSource
        Where the URI names nothing; it lists the nearest names.
    SourceUnavailable
        Where the weights are not on this machine.

    Examples
    --------
    >>> resolve("scratch:pkg:efficientnet-lite0", seed=3).location
    {'seed': '3'}
    """
    scheme, colon, name = uri.partition(":")
    if scheme == "scratch":
        return _scratch(name, seed)
    if uri == IDENTITY:
        return Source(IDENTITY, Modality.VECTOR, VectorPreprocess(), "", "none",
                      title="the numbers themselves", trained_on="nothing",
                      is_trainable=False)  # fmt: skip
    if not colon or not name or scheme not in SCHEMES:
        raise _unknown(uri)
    return added.as_added(_named(scheme, name, uri))


def _named(scheme: str, name: str, uri: str) -> Source:
    try:
        return SCHEMES[scheme](name, uri)
    except (OSError, ValueError) as error:
        if isinstance(error, HeadstartError):
            raise
        if "\0" in name or getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise _unknown(uri[:200]) from error
        raise SourceUnavailable(
            f"{uri} cannot be read: {error}.\n"
            "Restore what was damaged, and see that you may read it; or choose another source."
        ) from error


def add(uri: str) -> Addition:
    """Put a source on the shelf: its weights are verified, opened, and pinned by their hash.

    A file or a folder is known by its absolute path from then on.

    Raises
    ------
    UsageError
        Of a URI that names no pretrained weights.
    """
    scheme, _, name = uri.partition(":")
    if scheme in ("scratch", "identity"):
        raise UsageError(f"{uri!r} has no pretrained weights.\nExpected timm:, hf:, file: or run:.")
    if scheme not in SCHEMES or not name:
        raise _unknown(uri)
    uri = added.absolute(uri)
    source = _named(scheme, uri.partition(":")[2], uri)
    verify(source)
    if source.is_trainable:
        open_backbone(source)  # a network that cannot be made is told now
    return added.keep(source)


def _from_package(name: str, uri: str) -> Source:
    path = packages.card_of(name)
    if path is None:
        raise _unknown(uri)
    return read_card(path, uri)


def _anchored(name: str) -> Path:
    """Return a path that is found wherever the process goes: parts of a source are read late."""
    return Path(name).expanduser().absolute()


SCHEMES: dict[str, Callable[[str, str], Source]] = {
    "pkg": _from_package,
    "timm": from_timm,
    "hf": from_hf,
    "file": lambda name, uri: from_file(_anchored(name), uri),
    "run": lambda name, uri: from_run(_anchored(name), uri),
}


def _unknown(uri: str) -> UnknownSource:
    bare = uri.rpartition(":")[2]
    near = difflib.get_close_matches(bare, packages.cards(), n=3, cutoff=0.5)
    names = ", ".join(f"'pkg:{name}'" for name in near) or "'pkg:efficientnet-lite0'"
    return UnknownSource(
        f"source={uri!r} names no known source.\n"
        f"Expected 'origin:name', with origin one of {', '.join(SCHEMES)}, scratch, identity.\n"
        f"For example {names}; `headstart sources` lists the shelf."
    )


def _scratch(uri: str, seed: int) -> Source:
    """Return the same architecture with random weights, which only the seed decides."""
    source = _outlined(uri)
    if source.modality is Modality.VECTOR:
        raise UsageError(
            "'scratch:identity:' has no weights to draw.\nGive a picture or text source."
        )
    title = f"{source.title or uri}, random weights"
    if not source.is_trainable:
        stand_in = smallest_trainable(source.modality)
        title = f"{stand_in.title}, random weights (in place of {uri}, which is frozen only)"
        source = dataclasses.replace(stand_in, preprocess=source.preprocess)
    identity = f"scratch\n{uri}\n{seed}"
    return dataclasses.replace(
        source,
        uri=f"scratch:{uri}",
        weights_sha256=hashlib.sha256(identity.encode()).hexdigest(),
        format="none",
        location={"seed": str(seed)},
        trained_on="nothing",
        size_bytes=0,
        title=title,
        prior=0.0,
    )


def _outlined(uri: str) -> Source:
    """Return the card; for pictures of the shelf the weights need not be there."""
    scheme, _, name = uri.partition(":")
    path = packages.card_of(name) if scheme == "pkg" else None
    if path is None:
        return resolve(uri)
    source = outline(path, uri)
    return source if source.modality is Modality.IMAGE else resolve(uri)


def smallest_trainable(modality: Modality) -> Source:
    """Return the card of what random weights are drawn for in place of a frozen-only source."""
    sources = (outline(path, f"pkg:{name}") for name, path in packages.cards().items())
    found = [source for source in sources if source.modality is modality and source.is_trainable]
    return min(found, key=lambda source: source.n_parameters)


def shelf() -> tuple[Shelved, ...]:
    """Return every source of the shelf, by modality, the best first guess first."""
    cards = {one.uri: one for one in added.added()}
    found = [_shelved(name, path, cards) for name, path in packages.cards().items()]
    uris = {one.source.uri for one in found}
    found += [_as_shelved(one) for uri, one in cards.items() if uri not in uris]
    return tuple(sorted(found, key=lambda s: (s.source.modality, -s.source.prior, s.source.uri)))


def _shelved(name: str, path: Path, cards: Mapping[str, Added]) -> Shelved:
    source = outline(path, f"pkg:{name}")
    if source.uri in cards:
        source = cards[source.uri].told_of(source)
    try:
        weights.weights_path(source)
    except SourceUnavailable as error:
        return Shelved(source, on_disk=False, why=str(error))
    return Shelved(source, on_disk=True)


def _as_shelved(one: Added) -> Shelved:
    """Return an added source as the shelf shows it, for which nothing is fetched."""
    try:
        with looking():
            return Shelved(resolve(one.uri), on_disk=True)
    except (HeadstartError, OSError) as error:
        is_text = one.modality is Modality.TEXT
        preprocess = TextPreprocess("", "") if is_text else PicturePreprocess()
        source = Source(preprocess=preprocess, format="hub", **vars(one))
        return Shelved(source, on_disk=False, why=str(error))


def at_hand(modality: Modality) -> list[Source]:
    """Return the sources of the shelf that a fit may start from, the best first guess first.

    Those on disk come before those that were added and are to be fetched from a hub again.
    """
    found = [one for one in shelf() if one.source.modality is modality]
    here = [one.source for one in found if one.on_disk]
    if why_offline():
        return here
    far = [one.source for one in found if not one.on_disk]
    return here + [one for one in far if one.uri.startswith(("hf:", "timm:"))]


def default(modality: Modality | str) -> str:
    """Return the URI of the best first guess for a modality."""
    modality = Modality(modality)
    if modality is Modality.VECTOR:
        return IDENTITY
    for source in at_hand(modality):
        return source.uri
    raise SourceUnavailable(
        f"No source for {modality} is on this machine.\n"
        "pip install 'headstart[shelf]' brings some; or name one, such as "
        f"'{'timm:resnet18.a1_in1k' if modality is Modality.IMAGE else 'hf:bert-base-uncased'}'."
    )


def tokenizer_path(source: Source) -> Path:
    """Return the `tokenizer.json` of a text source."""
    if not isinstance(source.preprocess, TextPreprocess):
        raise HeadstartError(f"{source.uri} reads {source.modality} rows: it has no tokenizer.")
    return Path(source.preprocess.tokenizer)


def open_backbone(source: Source) -> "Backbone":
    """Return the network of a source as ordered stages; its weights are verified and read here.

    Raises
    ------
    UsageError
        Where the source is frozen only.
    IntegrityError
        Where the weights are not those the card speaks of.
    """
    from headstart.sources.backbone import Backbone

    return Backbone(source)
