"""Search: names of sources that a word finds: on the shelf, in timm's own list, on the hub."""

import fnmatch
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import HeadstartError
from headstart.sources.catalog import shelf
from headstart.sources.hubs import why_offline

#: Names a place may give.
MOST = 20
#: Seconds after which a hub that does not answer is not asked.
REACHED_S = 3.0


@dataclass(frozen=True)
class Hit:
    """A name that can be given as a source.

    Parameters
    ----------
    uri
        The name.
    where
        "shelf", "timm" or "hub".
    about
        What is known of it.
    """

    uri: str
    where: str
    about: str = ""


def search(word: str, most: int = MOST) -> tuple[tuple[Hit, ...], tuple[str, ...]]:
    """Return what a word finds, and a sentence for each place that could not be asked.

    Parameters
    ----------
    word
        Part of a name; `*` and `?` stand for any letters.
    most
        Names a place may give.
    """
    hits: list[Hit] = []
    notes: list[str] = []
    places: dict[str, Callable[[str, int], list[Hit]]] = {
        "the shelf": _shelf, "timm": _timm, "the hub": _hub,
    }  # fmt: skip
    for place, ask in places.items():
        try:
            hits += ask(word, most)
        except Exception as error:  # a client of the hub raises those of its HTTP library too
            what = str(error).strip().splitlines() or [type(error).__name__]
            notes.append(f"{place} could not be asked: {what[0]}")
    return tuple(hits), tuple(notes)


def _shelf(word: str, most: int) -> list[Hit]:
    found = []
    for one in shelf():
        source = one.source
        said = _alike(f"{source.uri} {source.title} {source.trained_on}")
        if fnmatch.fnmatch(said, f"*{_alike(word)}*"):
            found.append(Hit(source.uri, "shelf", source.title))
    return found[:most]


def _alike(text: str) -> str:
    return text.lower().replace("_", "-")


def _timm(word: str, most: int) -> list[Hit]:
    """Ask timm's own list, which needs no network."""
    from headstart.extras import import_timm

    names = import_timm().list_pretrained(f"*{word.lower()}*")
    return [Hit(f"timm:{name}", "timm") for name in names[:most]]


def _hub(word: str, most: int) -> list[Hit]:
    if why := why_offline():
        raise HeadstartError(why)
    import huggingface_hub

    _check_reachable(huggingface_hub.constants.ENDPOINT)
    found = huggingface_hub.HfApi().list_models(search=word.strip("*"), limit=most)
    return [Hit(f"hf:{model.id}", "hub", model.pipeline_tag or "") for model in found]


def _check_reachable(endpoint: str) -> None:
    """Refuse a hub that does not answer, at once: its own library tries for half a minute.

    Raises
    ------
    HeadstartError
        Where no connection is made; with a proxy that is for the proxy to say.
    """
    place = urllib.parse.urlsplit(endpoint)
    if urllib.request.getproxies().get(place.scheme):
        return
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        socket.create_connection((place.hostname or "", port), REACHED_S).close()
    except OSError as error:
        why = error.strerror or error
        raise HeadstartError(f"{place.hostname} is not reachable ({why})") from error
