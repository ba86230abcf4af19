"""Candidates: the sources that may be ranked, and why the others may not."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.errors import HeadstartError, UsageError, first_line
from headstart.ranking.ranking import LeftOut
from headstart.sources.catalog import resolve, shelf
from headstart.sources.source import Source
from headstart.task import Modality

#: Licenses that ask for no more than to be named.
PERMISSIVE = ("0BSD", "Apache", "BSD", "CC0", "CC-BY-4.0", "ISC", "MIT", "Unlicense", "Zlib")
#: What may stand between parentheses beside a license and say nothing of another: plain words.
_REMARK = re.compile(r"\([a-z' ,;]*\)")
#: What a card says a part is the license of.
_OF = ("", "weights", "package", "code", "model", "data")
#: What may follow a license's name and change nothing: a version, a number of clauses.
_VERSION = r"([- ]v?\d+(\.\d+)*)?([- ]\d-clause)?([- ](only|or-later|universal|license))?"


@dataclass(frozen=True)
class Limits:
    """What a source may be.

    Parameters
    ----------
    license
        "permissive", or names of licenses separated by commas; None: any.
    max_params
        Parameters of the trunk.
    max_latency_ms
        To read one row and run the trunk; measured.
    """

    license: str | None = None
    max_params: float | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_params", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value!r}; expected a number above 0, or none.")

    def refusal(self, source: Source) -> str:
        """Return why a source may not be used; empty if it may."""
        if self.license is not None and not allows(self.license, source.license):
            return f"its license is {source.license}; asked for: {self.license}"
        n = n_parameters(source)
        if self.max_params is not None and n > self.max_params:
            return f"{n / 1e6:.1f} M parameters; at most {self.max_params / 1e6:.1f} M asked for"
        return ""


def n_parameters(source: Source) -> int:
    """Return the parameters of the trunk; guessed from the file where the card does not say."""
    return source.n_parameters or source.size_bytes // 4


def allows(asked: str, license: str) -> bool:
    """Return whether a card's license is one of those asked for; what cannot be read is not.

    Every part of it must be allowed; of parts put together by OR one is enough.

    >>> allows("permissive", "BSD-2-Clause (weights), MIT (package)"), allows("mit", "Apache-2.0")
    (True, False)
    >>> allows("permissive", "MIT, CC-BY-NC-4.0"), allows("permissive", "unknown")
    (False, False)
    >>> allows("permissive", "GPL-3.0 OR MIT"), allows("permissive", "MIT (weights CC-BY-NC-4.0)")
    (True, False)
    """
    named = [name.strip() for name in asked.split(",")]
    if "permissive" in map(str.lower, named):
        named += PERMISSIVE
    parts = re.split(r"[,;/+&()]|\bAND\b", _REMARK.sub("", license), flags=re.I)
    said = [part.strip() for part in parts if part.strip().lower() not in _OF]
    return bool(said) and all(
        any(_is_one_of(one.strip(), named) for one in re.split(r"\bOR\b", part, flags=re.I))
        for part in said
    )


def _is_one_of(part: str, named: Sequence[str]) -> bool:
    return any(re.fullmatch(re.escape(name) + _VERSION, part, re.I) for name in named if name)


def candidates(
    modality: Modality, uris: Sequence[str] | None, limits: Limits, seed: int
) -> tuple[list[Source], list[LeftOut]]:
    """Return the sources to measure, and those left out.

    Parameters
    ----------
    modality
        What the rows are.
    uris
        None: those of the shelf that read such rows.
    limits
        What a source may be.
    seed
        Of a `scratch:` source.
    """
    found: list[Source] = []
    left: list[LeftOut] = []
    for uri in dict.fromkeys(_shelved(modality) if uris is None else uris):
        try:
            source = resolve(uri, seed=seed)
        except (HeadstartError, OSError) as error:
            left.append(LeftOut(uri, first_line(error)))
            continue
        reason = _misfit(source, modality) or limits.refusal(source)
        if reason:
            left.append(LeftOut(uri, reason))
        else:
            found.append(source)
    return found, left


def _shelved(modality: Modality) -> list[str]:
    return [one.source.uri for one in shelf() if one.source.modality is modality]


def _misfit(source: Source, modality: Modality) -> str:
    if source.modality is not modality:
        return f"it reads {source.modality} rows, the data hold {modality} rows"
    needed, there = 4 * n_parameters(source), _memory_bytes()
    if needed > there:
        return f"its weights take {needed / 1e9:.0f} GB, this machine has {there / 1e9:.0f} GB"
    return ""


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
